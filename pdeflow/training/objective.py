"""What training minimises: the part in which methods differ."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn


class Objective(nn.Module, abc.ABC):
    """The loss of a batch, given what the model predicts for it. A module, so that it may hold buffers.

    ``monitor`` is the logged number whose smallest value tells the best epoch.
    """

    monitor: ClassVar[str] = "valid/l2"

    def predict(self, step: Callable[[Any], Tensor], batch: dict[str, Any]) -> Any:
        """What is compared with ``batch["target"]``; here what the operator gives for ``batch["input"]``.

        A tensor, or a `Gaussian` of two, whose mean is then what metrics and callbacks see.

        Parameters
        ----------
        step
            The operator, in physical units.
        batch
            As in ``forward``.
        """
        return step(batch["input"])

    def counts(self, batch: dict[str, Any]) -> int:
        """How many samples the loss of a batch is the mean of; 0 if it has none."""
        return len(batch["index"])

    def satisfied(self, loss: float) -> bool:
        """Whether the validation loss is so small that training is to end; here never."""
        return False

    def found(self) -> dict[str, Tensor]:
        """Numbers that are learned beside the model, by name; here none."""
        return {}

    def begin_step(self, model: nn.Module, step: int) -> None:
        """Told before each step, with the model, how many there were: the loss may change here."""

    @property
    def changes(self) -> bool:
        """Whether the loss of the same batch changes from step to step."""
        return False

    def advance(self, step: int) -> str | None:
        """Told after so many steps that the optimiser has stalled: change the loss, and say what begins."""
        return None

    def ended(self, loss: float) -> None:
        """Told when training has ended: the place to say what the user should know of it.

        Parameters
        ----------
        loss
            Of the last validation; nan if there was none.
        """

    def progress(self) -> dict[str, Tensor]:
        """What changes in the loss while training, by name; here nothing."""
        return {}

    def constrain(self, model: Any) -> Any:
        """The model that is trained; here the one given."""
        return model

    @abc.abstractmethod
    def forward(self, prediction: Any, batch: dict[str, Any]) -> Tensor:
        """A scalar to be made small.

        Parameters
        ----------
        prediction
            What ``predict`` gave, ``(batch, out_channels, *shape)`` in physical units.
        batch
            ``input``, ``target``, ``index`` and ``grid``, as GridData gives them.
        """
