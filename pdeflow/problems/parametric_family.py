"""A statement for a range of its parameters, as one statement of more coordinates."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NoReturn

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.problems.calculus import Names
from pdeflow.problems.conditions import Condition
from pdeflow.problems.domain import Box
from pdeflow.problems.mesh_problem import MeshProblem
from pdeflow.problems.observed import Observed
from pdeflow.problems.parameter import Parameter
from pdeflow.problems.problem import Problem


class ParametricFamily(Problem):
    r"""One solution :math:`u(x, t; p)` for all p of a range: :math:`R(u(\cdot, \cdot; p); p) = 0`.

    Each parameter that has a range is a coordinate of the unknown, after those of the statement. Nothing is
    differentiated by it, and it has no sides: where the statement is learned, residual and conditions hold at
    points (x, t, p). So does the exact solution, where it is known. L. Sun, H. Gao, S. Pan, J.-X. Wang,
    "Surrogate modeling for fluid flows based on physics-constrained deep learning without simulation data",
    Comput. Methods Appl. Mech. Engrg. 361 (2020).

    Parameters
    ----------
    statement
        Of each member, on a box that time is an axis of, where there is a time.
    ranges
        Names of parameters that are numbers, with the lower and the upper end: ``{"a": (0.1, 1.0)}``.

    Raises
    ------
    InvalidInput
        If the statement is on no box, is itself a family, has complex values, coefficients that are to be
        found, or values at points (`Observed`), which belong to one member. If there is no such parameter,
        its name is that of a coordinate or an unknown, or its range is empty, not finite, or holds numbers
        that it must not be.
    """

    def __init__(self, statement: Problem, ranges: Mapping[str, tuple[float, float]]) -> None:
        _check_statement(statement)
        self.member, self.name, self.fields = statement, statement.name, statement.fields
        self.ranges = {name: _checked_range(statement, name, pair) for name, pair in ranges.items()}
        if not ranges:
            hint = f"For example {{{next(iter(statement.parameters), 'a')}: [0.5, 2.0]}}."
            raise InvalidInput("problem.ranges", {}, "at least one parameter with its range", hint)
        assert isinstance(statement.domain, Box)
        self.domain = FamilyBox(statement.domain, self.ranges)
        self.conditions = tuple(self._of_family(condition) for condition in statement.conditions)

    @property
    def parameters(self) -> dict[str, Parameter]:
        """Those that have no range."""
        return {name: stated for name, stated in self.member.parameters.items() if name not in self.ranges}

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        """That of the member whose parameters the point has."""
        return self.member.residual(u, at, self._parameters_at(at, p))

    def exact(self, at: Any, p: Any) -> Any:
        """That of the member, where it is known."""
        return self.member.exact(at, self._parameters_at(at, p))

    def grid(self, points: Any) -> Grid:
        """A grid of a member."""
        return self.member.grid(points)

    def check_grid(self, grid: Grid) -> NoReturn:
        """There is no grid to compute a family on.

        Raises
        ------
        InvalidInput
            Always.
        """
        expected = f"{self.member.name} itself, to compute on a grid"
        hint = "Learn a family from its statement: objective PhysicsInformed, data Collocation."
        raise InvalidInput("problem", f"{type(self).__name__} of {self.member.name}", expected, hint)

    def sections(self) -> dict[str, dict[str, float]]:
        """Three members to look at, by the parameters: all the lowest, in the middle, and the highest."""
        shares = {"lowest": 0.0, "middle": 0.5, "highest": 1.0}
        return {
            where: {name: (1 - share) * low + share * high for name, (low, high) in self.ranges.items()}
            for where, share in shares.items()
        }

    def describe(self) -> dict[str, Any]:
        """See :meth:`Problem.describe`: the ranges are among the parameters."""
        told = super().describe()
        ranges = {name: f"all from {low:g} to {high:g}" for name, (low, high) in self.ranges.items()}
        return {
            **told,
            "name": f"{self.member.name}, a family",
            "domain": str(self.member.domain),
            "parameters": {**told["parameters"], **ranges},
        }

    def _parameters_at(self, at: Any, p: Any) -> Names:
        """All parameters of the member; those with ranges are coordinates."""
        fixed = {name: getattr(p, name) for name in self.parameters}
        return Names("parameter", {**fixed, **{name: getattr(at, name) for name in self.ranges}})

    def _of_family(self, condition: Condition) -> Condition:
        """A condition with formulas of ``at`` and ``p``, of which the coordinates have a part."""

        def everywhere(formula: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
            return lambda at, p: formula(at, self._parameters_at(at, p))

        parts = {key: getattr(condition, key, None) for key in ("coefficient", "value")}
        formulas = {key: everywhere(part) for key, part in parts.items() if callable(part)}
        stated: Any = condition
        return replace(stated, **formulas) if formulas else condition


class FamilyBox(Box):
    """A box times the ranges of parameters, which are axes without sides.

    Parameters
    ----------
    member
        Of the other coordinates, which come first.
    ranges
        Name to lower and upper end.
    """

    def __init__(self, member: Box, ranges: Mapping[str, tuple[float, float]]) -> None:
        wraps = [axis for axis, periodic in zip(member.axes, member.periodic) if periodic]
        extents = {axis: (low, high) for axis, low, high in zip(member.axes, member.lower, member.upper)}
        super().__init__(periodic=wraps, **extents, **ranges)
        self.member, self.ranges = member, dict(ranges)

    @functools.cached_property
    def sides(self) -> tuple[str, ...]:
        """Those of a member."""
        return self.member.sides

    def __repr__(self) -> str:
        ranges = [f"{name} from {low:g} to {high:g}" for name, (low, high) in self.ranges.items()]
        return f"{self.member} for {' and '.join(ranges)}"


def _check_statement(statement: Problem) -> None:
    """Raise InvalidInput unless there can be a family of it; see `ParametricFamily`."""
    key, name = "problem.statement", type(statement).__name__
    if isinstance(statement, ParametricFamily):
        raise InvalidInput(key, name, "what is no family", "Give all ranges at once.")
    if isinstance(statement, MeshProblem) or statement.coordinates != statement.domain.axes:
        expected, hint = "an equation on a box of all coordinates", "State it with time as an axis t."
        raise InvalidInput(key, name, expected, hint)
    if not isinstance(statement.domain, Box):
        hint = "Families on other domains are not built yet."
        raise InvalidInput(key, f"{name} on {statement.domain}", "an equation on a Box", hint)
    if statement.complex_valued:
        raise InvalidInput(key, name, "an equation for a real unknown")
    if statement.coefficients:
        names = ", ".join(coefficient.name for coefficient in statement.coefficients)
        raise InvalidInput(key, f"{name}, where {names} is to be found", "an equation of known coefficients")
    if any(isinstance(condition, Observed) for condition in statement.conditions):
        expected = "conditions that hold for all values of the parameters"
        raise InvalidInput(key, f"{name}, with Observed values", expected)


def _checked_range(statement: Problem, name: str, ends: tuple[float, float]) -> tuple[float, float]:
    """The ends as numbers; InvalidInput unless a parameter of the statement may have them as its range."""
    key, known = f"problem.ranges.{name}", statement.parameters
    if name not in known:
        raise InvalidInput("problem.ranges", name, f"a parameter of {statement.name}", choices=known)
    if name in (*statement.coordinates, *statement.fields):
        expected = "a parameter whose name is not that of a coordinate or an unknown too"
        raise InvalidInput("problem.ranges", name, expected)
    if len(ends) != 2 or not -math.inf < ends[0] < ends[1] < math.inf:
        hint = "For one value give the parameter itself, without a range."
        raise InvalidInput(key, list(ends), "a lower end and a higher upper one, both finite", hint)
    if known[name].positive and ends[0] <= 0:
        raise InvalidInput(key, list(ends), f"numbers above 0, for {name} has to be positive")
    return float(ends[0]), float(ends[1])
