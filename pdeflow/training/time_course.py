"""How training goes through time."""

from __future__ import annotations

import abc

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn


class TimeCourse(nn.Module):
    """Where in time the residual counts while a solution is learned; here everywhere, all the time.

    Subclasses weigh the squares of the residual by time, or move the times of the points. Both stay the same
    within a step of the optimiser, and are in checkpoints. Validation knows nothing of them, so that epochs
    compare.
    """

    start: float
    stop: float

    def begin(self, start: float, stop: float) -> None:
        """Know from when to when the equation holds."""
        self.start, self.stop = start, stop

    def begin_step(self, step: int) -> None:
        """Told before each step of the optimiser how many there were."""

    def adapt(self, times: Tensor, squares: Tensor, initial: Tensor) -> None:
        """Follow the model, at the start of a step.

        Parameters
        ----------
        times, squares
            Of the points inside, (N,), and of their residuals, summed over equations; without a tape.
        initial
            What the initial conditions that are learned contribute to the loss; 0 where there are none.
        """

    def advance(self, step: int) -> bool:
        """Told after so many steps that the optimiser has stalled: go on; whether there was where to."""
        return False

    def weigh(self, times: Tensor) -> Tensor:
        """Factors (N,) of the squares of the residual at times (N,)."""
        return torch.ones_like(times)

    def place(self, times: Tensor) -> Tensor:
        """Where in time points are (N,) that lie anywhere in it, (N,)."""
        return times

    def progress(self) -> dict[str, Tensor]:
        """Numbers that tell how far it has come, by name."""
        return {}

    def missing(self) -> str | None:
        """How far it is from its end, in words; None where it has come there."""
        return None

    def tell(self) -> None:
        """Warn of what training has not come to."""
        if (missing := self.missing()) is not None:
            rank_zero_warn(
                f"objective.time_course: training ended before {type(self).__name__} was through: {missing}. "
                "Give it more epochs, or fewer steps, intervals or smaller tolerances."
            )


class StagedCourse(TimeCourse, abc.ABC):
    """One that has stages: the next one begins after so many steps, or when the optimiser stalls."""

    stage: Tensor
    began: Tensor

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps
        self.register_buffer("stage", torch.zeros((), dtype=torch.int64))
        self.register_buffer("began", torch.zeros((), dtype=torch.int64))

    @property
    @abc.abstractmethod
    def stages(self) -> int:
        """How many there are."""

    def begin_step(self, step: int) -> None:
        """See :meth:`TimeCourse.begin_step`."""
        due = (step - self.began >= self.steps) & (self.stage < self.stages - 1)
        self.stage += due
        self.began.copy_(torch.where(due, step, self.began))

    def advance(self, step: int) -> bool:
        """See :meth:`TimeCourse.advance`."""
        if int(self.stage) == self.stages - 1:
            return False
        self.stage += 1
        self.began.fill_(step)
        return True

    def missing(self) -> str | None:
        """See :meth:`TimeCourse.missing`."""
        stage = int(self.stage) + 1
        return f"it came to stage {stage} of {self.stages}" if stage < self.stages else None
