"""A curriculum over a parameter: an easy equation first, and in steps the one that is stated.

A. Krishnapriyan, A. Gholami, S. Zhe, R. M. Kirby, M. W. Mahoney, "Characterizing possible failure modes in
physics-informed neural networks", NeurIPS 2021: their curriculum regularisation.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from typing import ClassVar

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.problems import ParametricFamily, Problem
from pdeflow.problems.compiled_statement import CompiledStatement
from pdeflow.training.course import Course, StagedCourse


class Curriculum(StagedCourse):
    r"""In stage k of K a parameter of the statement, p, counts as

    .. math:: p_0 + \frac{k - 1}{K - 1}\, (p - p_0),

    in the residual and in the conditions that are learned, wherever these read it: every stage goes on from
    the solution of the one before. In training only: validation, and with it the best epoch and a wanted
    residual, is of the equation as it is stated from the first epoch on, and so are tests. So is what is made
    once, before the first step: values that a field meets by its form, the factors of preconditioned waves,
    the velocity of a `Lagrangian`.

    Parameters
    ----------
    parameter
        Its name; a number that the problem has.
    start
        :math:`p_0`, for which the equation is easy: a slow stream, a large viscosity.
    steps
        Of the optimiser in a stage, unless it stalls before.
    stages
        K; the last one, of the equation as it is stated, has all steps that are left.

    Raises
    ------
    InvalidInput
        If there are not at least two stages and one step, or the start is not finite.
    """

    key: ClassVar[str] = "objective.curriculum"
    remedy: ClassVar[str] = "Give it more epochs, or fewer stages or steps."

    def __init__(self, parameter: str, start: float, steps: int, stages: int = 10) -> None:
        if not math.isfinite(start):
            raise InvalidInput(f"{self.key}.start", start, "a finite number")
        if stages < 2:
            raise InvalidInput(f"{self.key}.stages", stages, "at least 2")
        if steps < 1:
            raise InvalidInput(f"{self.key}.steps", steps, "at least 1, of each stage")
        super().__init__(steps)
        self.parameter, self.start, self.stated = parameter, start, math.nan
        self._stages = stages

    @property
    def stages(self) -> int:
        """How many there are."""
        return self._stages

    def begin(self, problem: Problem, unknown: Collection[str], beside: Course | None = None) -> None:
        """Know what the parameter is in the end.

        Parameters
        ----------
        problem
            The statement.
        unknown
            Names of parameters that are to be found.
        beside
            Another course of the same training: there must be none.

        Raises
        ------
        InvalidInput
            If there is one, there is no such parameter, it is to be found, is a coordinate of a family or a
            field, or the start is what it is in the end, or a number that it must not be.
        """
        if beside is not None:  # stages of time would be over with another parameter
            got = f"{type(self).__name__} beside {type(beside).__name__}"
            raise InvalidInput(self.key, got, "one of both", "Leave out either.")
        name, key, known = self.parameter, f"{self.key}.parameter", problem.parameters
        if name in unknown:
            expected = f"a parameter that is given: {name} is to be found"
            raise InvalidInput(key, name, expected, "Take it out of objective.unknown, or leave this out.")
        if isinstance(problem, ParametricFamily) and name in problem.ranges:
            expected = f"a parameter without a range: {name} is a coordinate of the family"
            raise InvalidInput(key, name, expected, "Take it out of either.")
        if name not in known:
            raise InvalidInput(key, name, f"a parameter of {problem.name}", choices=known)
        stated = known[name].distribution.fixed
        if not isinstance(stated, int | float):
            raise InvalidInput(key, name, f"a number: {name} of {problem.name} is a field")
        key = f"{self.key}.start"
        if self.start == stated:
            hint = "Start where the equation is easier, or leave the curriculum out."
            raise InvalidInput(key, self.start, f"another number than {stated:g}, which {name} is", hint)
        if known[name].positive and self.start <= 0:
            raise InvalidInput(key, self.start, f"a number above 0, for {name} has to be positive")
        self.stated = float(stated)

    def check_read(self, statements: Iterable[CompiledStatement]) -> None:
        """Raise InvalidInput where nothing that is learned contains the parameter: no stage would differ."""
        if not any(self.parameter in statement.reads for statement in statements):
            expected = "a parameter in the equation, or in a condition that is learned"
            raise InvalidInput(f"{self.key}.parameter", self.parameter, expected)

    def values(self) -> dict[str, float]:
        """The parameter by its name: in training that of the present stage, else as it is stated."""
        last = self._stages - 1
        if not self.training or self.stage == last:
            return {self.parameter: self.stated}
        return {self.parameter: self.start + (self.stated - self.start) * self.stage / last}

    def progress(self) -> dict[str, Tensor]:
        """See :meth:`Course.progress`."""
        return {f"{self.parameter} of the stage": torch.tensor(self.values()[self.parameter])}
