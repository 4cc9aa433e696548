"""How training goes through time."""

from __future__ import annotations

import abc
from typing import ClassVar

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from pdeflow.errors import InvalidInput
from pdeflow.fields import Field
from pdeflow.problems import Box, Cylinder, Problem
from pdeflow.problems.compiled_statement import CompiledStatement
from pdeflow.problems.initial import TIME

KEY = "objective.time_course"


class TimeCourse(nn.Module, abc.ABC):
    """Where in time the residual counts while a solution is learned.

    Subclasses weigh the squares of the residual by time, or move the times of the points. Both stay the same
    within a step of the optimiser, and are in checkpoints. Validation knows nothing of them, so that epochs
    compare.
    """

    start: float
    stop: float
    axis: int
    """Of time, among those of the domain."""
    remedy: ClassVar[str]
    """What to do where training ends before it is through."""

    def begin(self, problem: Problem) -> None:
        """Know from when to when an equation holds.

        Raises
        ------
        InvalidInput
            If it has no time, or one that wraps around.
        """
        domain, got = problem.domain, type(self).__name__
        if TIME not in domain.axes:
            raise InvalidInput(KEY, got, f"none, for {problem.name} has no axis {TIME}")
        self.axis = domain.axes.index(TIME)
        if domain.periodic[self.axis]:
            expected = f"none, for the time of {problem.name} wraps around: nothing comes before"
            raise InvalidInput(KEY, got, expected)
        self.start, self.stop = domain.lower[self.axis], domain.upper[self.axis]

    def attach(
        self, problem: Problem, residual: CompiledStatement, learned: tuple[str, ...], field: Field
    ) -> None:
        """Told, once `begin` was, which field is trained; the place to refuse one.

        Parameters
        ----------
        problem, residual
            The statement, and what vanishes inside.
        learned
            Names of unknown parameters.
        field
            The network of the model.
        """

    def begin_step(self, step: int, model: Field) -> None:
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

    def advance(self, step: int) -> str | None:
        """Told after so many steps that the optimiser has stalled: go on; to what, if there was anything."""
        return None

    def weigh(self, times: Tensor) -> Tensor:
        """Factors (N,) of the squares of the residual at times (N,)."""
        return torch.ones_like(times)

    def place(self, times: Tensor) -> Tensor:
        """Where in time points are (N,) that lie anywhere in it, (N,)."""
        return times

    @abc.abstractmethod
    def progress(self) -> dict[str, Tensor]:
        """Numbers that tell how far it has come, by name."""

    @abc.abstractmethod
    def missing(self) -> str | None:
        """How far it is from its end, in words; None where it has come there."""

    def tell(self) -> None:
        """Warn of what training has not come to."""
        if (missing := self.missing()) is not None:
            rank_zero_warn(
                f"{KEY}: training ended before {type(self).__name__} was through: {missing}. {self.remedy}"
            )


class StagedCourse(TimeCourse):
    """One that moves points, in stages: each lasts so many steps, or until the optimiser stalls.

    Points stay inside of the domain, and on their sides, where it is the same at all times.
    """

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

    def begin(self, problem: Problem) -> None:
        """See :meth:`TimeCourse.begin`.

        Raises
        ------
        InvalidInput
            Also if the domain is not the product of one of space and a time.
        """
        super().begin(problem)
        if not isinstance(problem.domain, Box | Cylinder):
            got = f"{type(self).__name__} on {problem.domain!r}"
            expected = "a Box or a Cylinder, in which points can be moved in time"
            raise InvalidInput(KEY, got, expected, "Take CausalWeights, which moves none.")

    def begin_step(self, step: int, model: Field) -> None:
        """See :meth:`TimeCourse.begin_step`."""
        if step - self.began >= self.steps and self.stage < self.stages - 1:
            self.stage, self.began = self.stage + 1, step

    def advance(self, step: int) -> str | None:
        """See :meth:`TimeCourse.advance`."""
        if self.stage == self.stages - 1:
            return None
        self.stage, self.began = self.stage + 1, step
        return f"stage {self.stage + 1} of {self.stages} of {type(self).__name__}"

    def missing(self) -> str | None:
        """See :meth:`TimeCourse.missing`."""
        stage = self.stage + 1
        return f"it came to stage {stage} of {self.stages}" if stage < self.stages else None
