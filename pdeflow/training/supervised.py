"""Learning from pairs of input and solution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.training.losses import Loss, RelativeL2
from pdeflow.training.objective import Objective


class Supervised(Objective):
    """The loss between the prediction and the known solution, in physical units.

    Parameters
    ----------
    loss
        Such as RelativeL2 (L2 for short), H1 or Sobolev; RelativeL2 where it is null.
    """

    def __init__(self, loss: Loss | None = None) -> None:
        super().__init__()
        self.loss = loss if loss is not None else RelativeL2()

    def predict(self, step: Callable[[Any], Tensor], batch: dict[str, Any]) -> Tensor:
        """What the operator gives for the input."""
        if "state" in batch:
            raise InvalidInput("objective", "Supervised", "Rollout, for the data are trajectories")
        return super().predict(step, batch)

    def forward(self, prediction: Tensor, batch: dict[str, Any]) -> Tensor:
        """The loss of the batch."""
        return self.loss(prediction, batch["target"], batch["grid"])
