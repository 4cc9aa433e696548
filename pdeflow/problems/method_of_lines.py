r"""A statement whose coordinates include time, marched by the method of lines.

Space is discretised, and what is left is a system of ordinary differential equations, one for each node:
W. E. Schiesser, "The Numerical Method of Lines", Academic Press, 1991. Of a statement
:math:`c\, u_t + R(u) = 0` the nodes' equations are those that :mod:`~pdeflow.problems.discretise` makes of R,
with the conditions on the sides of space, and the steps in time are those of
:mod:`~pdeflow.problems.rosenbrock`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from pdeflow.grid import Grid
from pdeflow.problems.calculus import Names
from pdeflow.problems.distributions import Uniform
from pdeflow.problems.domain import Box
from pdeflow.problems.evolution import Evolution
from pdeflow.problems.grid_function import (
    GridFunction,
    constant_function,
    coordinate_functions,
    evaluate,
)
from pdeflow.problems.initial import TIME
from pdeflow.problems.mesh_problem import MeshProblem
from pdeflow.problems.parabolic_equation import ParabolicEquation
from pdeflow.problems.parameter import Parameter
from pdeflow.problems.parametric_family import ParametricFamily
from pdeflow.problems.problem import Problem


class MethodOfLines(ParabolicEquation):
    r"""A statement :math:`c\, u_t + R(u) = 0` with an axis ``t``, as an equation marched on grids of space.

    What a network learns from its statement alone is so solved on a grid as well; `Recipe` does it to such
    statements by itself. It has order 2 in space and in time. First derivatives are central differences, so a
    front needs a few nodes across it: without, u oscillates there.

    Parameters
    ----------
    statement
        Of one real unknown, on a `Box` with an axis ``t`` from 0 on and at least one of space, with an
        `Initial` value, and `Dirichlet`, `Neumann` or `Robin` conditions on the sides of space. ``D(u, "t")``
        may have a number as its factor; neither the equation nor the conditions depend on ``at.t`` otherwise,
        but an initial value may: t is 0 there. Parameters that are fields vary in space alone. Of a
        `ParametricFamily` the parameters with ranges are drawn from these, evenly.

    Attributes
    ----------
    end
        The last instant of the statement.

    Raises
    ------
    InvalidInput
        If it is no such statement, saying what it has instead.
    """

    name = "method_of_lines"

    def __init__(self, statement: Problem) -> None:
        from pdeflow.problems import time_terms

        stated = _drawn(statement) if isinstance(statement, ParametricFamily) else statement
        time_terms.check_marched(stated)
        self._initial = time_terms.initial_value(stated)
        self.conditions = time_terms.conditions_in_space(stated)
        self._factor = time_terms.time_factor(stated)
        self.stated = stated
        self.name, self.fields = stated.name, stated.fields
        domain = stated.domain
        extents = {axis: (low, high) for axis, low, high in zip(domain.axes, domain.lower, domain.upper)}
        _, self.end = extents.pop(TIME)
        wraps = [axis for axis, periodic in zip(domain.axes, domain.periodic) if periodic]
        self.domain = Box(periodic=wraps, **extents)

    def __reduce__(self) -> tuple[type[MethodOfLines], tuple[Problem]]:
        # Its own conditions may hold formulas that the statement has in its class, which is pickled by name.
        return type(self), (self.stated,)

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Those of the statement."""
        return self.stated.parameters

    @property
    def coordinates(self) -> tuple[str, ...]:
        """Those of the statement, in its order."""
        return self.stated.coordinates

    @property
    def initials(self) -> tuple[str, ...]:
        """None: the initial field is a condition of the statement."""
        return ()

    def initial_field(self, grid: Grid, functions: Mapping[str, GridFunction]) -> Tensor:
        """(n or 1, *grid.shape), the value of the `Initial` condition."""
        p, value = Names("parameter", functions), self._initial.value
        device = next((function.values.device for function in functions.values()), None)

        def formula(at: Names) -> Any:
            here = {axis: getattr(at, axis) for axis in grid.axes}
            return value(Names("coordinate", {**here, TIME: 0.0}), p) if callable(value) else value

        return evaluate(formula, grid, torch.float64, device)

    def rate(self, u: Any, p: Any) -> Any:
        """``-R(u) / c``, of u on a grid of space."""
        like: Tensor = u.terms[0].values
        at = Names("coordinate", coordinate_functions(u.grid, like.dtype.to_real(), like.device))
        rest = self.stated.residual(_Still(u.terms), at, p)
        return -rest if self._factor == 1 else rest / -self._factor

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        """That of the statement."""
        return self.stated.residual(u, at, p)

    def exact(self, at: Any, p: Any) -> Any:
        """That of the statement."""
        return self.stated.exact(at, p)

    def statement(self) -> dict[str, Any]:
        """That of the statement, with time among its coordinates and its initial condition."""
        return self.stated.statement()

    def describe(self) -> dict[str, Any]:
        """That of the statement."""
        return self.stated.describe()

    def latex(self) -> str:
        """That of the statement."""
        return self.stated.latex()


class _Still(GridFunction):
    """The unknown at an instant, its derivative by time left out."""

    def derivative(self, axis: str, order: int) -> GridFunction:
        if axis == TIME:
            like = self.terms[0].values
            return constant_function(torch.zeros(1, dtype=like.dtype, device=like.device), self.grid)
        return super().derivative(axis, order)


def has_time_axis(problem: Problem) -> bool:
    """Whether a statement counts time among the axes of its domain."""
    return not isinstance(problem, (Evolution, MeshProblem)) and TIME in problem.domain.axes


def _drawn(family: ParametricFamily) -> Problem:
    """The member, whose parameters with ranges are drawn from them."""
    member = copy.copy(family.member)
    for name, (low, high) in family.ranges.items():
        setattr(member, name, Parameter(Uniform(low, high), positive=member.parameters[name].positive))
    return member
