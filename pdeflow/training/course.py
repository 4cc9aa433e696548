"""How the loss of training changes on the way to the one that is wanted."""

from __future__ import annotations

import abc
from typing import ClassVar

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from pdeflow.fields import Field


class Course(nn.Module, abc.ABC):
    """Other losses before the one that is wanted.

    A loss stays the same within a step of the optimiser, and how far the course has come is in checkpoints.
    Validation knows nothing of it, so that epochs compare.
    """

    key: ClassVar[str]
    """Where a config has it."""
    remedy: ClassVar[str]
    """What to do where training ends before it is through."""

    def begin_step(self, step: int, model: Field) -> None:
        """Told before each step of the optimiser how many there were."""

    def advance(self, step: int) -> str | None:
        """Told after so many steps that the optimiser has stalled: go on; to what, if there was anything."""
        return None

    @abc.abstractmethod
    def progress(self) -> dict[str, Tensor]:
        """Numbers that tell how far it has come, by name."""

    @abc.abstractmethod
    def missing(self) -> str | None:
        """How far it is from its end, in words; None where it has come there."""

    def tell(self) -> None:
        """Warn of what training has not come to."""
        if (missing := self.missing()) is not None:
            name = type(self).__name__
            rank_zero_warn(f"{self.key}: training ended before {name} was through: {missing}. {self.remedy}")


class StagedCourse(Course):
    """One that goes by stages: each lasts so many steps, or until the optimiser stalls."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps, self.stage, self.began = steps, 0, 0

    def get_extra_state(self) -> Tensor:
        """The stage and the step in which it began, for checkpoints: both are known on the host."""
        return torch.tensor([self.stage, self.began])

    def set_extra_state(self, state: Tensor) -> None:
        """Go on from there."""
        self.stage, self.began = state.tolist()

    @property
    @abc.abstractmethod
    def stages(self) -> int:
        """How many there are."""

    def begin_step(self, step: int, model: Field) -> None:
        """See :meth:`Course.begin_step`."""
        if step - self.began >= self.steps and self.stage < self.stages - 1:
            self.stage, self.began = self.stage + 1, step

    def advance(self, step: int) -> str | None:
        """See :meth:`Course.advance`."""
        if self.stage == self.stages - 1:
            return None
        self.stage, self.began = self.stage + 1, step
        return f"stage {self.stage + 1} of {self.stages} of {type(self).__name__}"

    def missing(self) -> str | None:
        """See :meth:`Course.missing`."""
        stage = self.stage + 1
        return f"it came to stage {stage} of {self.stages}" if stage < self.stages else None
