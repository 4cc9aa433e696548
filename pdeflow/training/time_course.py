"""How training goes through time."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.fields import Field
from pdeflow.problems import Box, Cylinder, Problem
from pdeflow.problems.compiled_statement import CompiledStatement
from pdeflow.problems.initial import TIME
from pdeflow.training.course import Course, StagedCourse

KEY = "objective.time_course"


class TimeCourse(Course):
    """Where in time the residual counts while a solution is learned.

    Subclasses weigh the squares of the residual by time, or move the times of the points.
    """

    key: ClassVar[str] = KEY
    start: float
    stop: float
    axis: int
    """Of time, among those of the domain."""

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

    def adapt(self, times: Tensor, squares: Tensor, initial: Tensor) -> None:
        """Follow the model, at the start of a step.

        Parameters
        ----------
        times, squares
            Of the points inside, (N,), and of their residuals, summed over equations; without a tape.
        initial
            What the initial conditions that are learned contribute to the loss; 0 where there are none.
        """

    def weigh(self, times: Tensor) -> Tensor:
        """Factors (N,) of the squares of the residual at times (N,)."""
        return torch.ones_like(times)

    def place(self, times: Tensor) -> Tensor:
        """Where in time points are (N,) that lie anywhere in it, (N,)."""
        return times


class StagedTimeCourse(StagedCourse, TimeCourse):
    """One that moves points, in stages.

    Points stay inside of the domain, and on their sides, where it is the same at all times.
    """

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
