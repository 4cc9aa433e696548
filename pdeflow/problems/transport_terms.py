"""The terms of a statement that transport its unknown, and those that are left to what moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import sympy

from pdeflow.errors import InvalidInput
from pdeflow.problems import symbolic
from pdeflow.problems.compiled_statement import CompiledStatement
from pdeflow.problems.conditions import Condition, Dirichlet
from pdeflow.problems.domain import Box
from pdeflow.problems.initial import TIME, Initial
from pdeflow.problems.mesh_problem import MeshProblem

if TYPE_CHECKING:
    from pdeflow.problems.problem import Problem


@dataclass(frozen=True)
class TransportTerms:
    r"""A residual as :math:`a\, (u_t + c\, u_x) + f`, with symbols for u and for its slopes along x.

    Parameters
    ----------
    coordinates, scalars
        By name, the symbols that the others are formulas of: place and time, and a number for each parameter.
    space
        The name of x.
    rate, speed, rest
        a, c and f.
    value, slopes
        u, and its slopes by their order.
    """

    coordinates: Mapping[str, sympy.Symbol]
    scalars: Mapping[str, sympy.Symbol]
    space: str
    rate: sympy.Expr
    speed: sympy.Expr
    rest: sympy.Expr
    value: sympy.Dummy
    slopes: Mapping[int, sympy.Dummy]

    def along(self, unknowns: Sequence[sympy.Expr]) -> CompiledStatement:
        """What vanishes of u and of the displacement, as functions of the start and of time.

        Slopes of order n are divided by powers of ``1 + d_x`` up to 2 n - 1. Training would be caught between
        the poles, so the first equation is multiplied by the highest of these powers.
        """
        (u, way), x, t = unknowns, self.coordinates[self.space], self.coordinates[TIME]
        stretch, s, highest = 1 + sympy.Derivative(way, x), sympy.Dummy("stretch"), max(self.slopes)
        slopes: dict[int, sympy.Expr] = {0: u}
        for order in range(1, highest + 1):
            slopes[order] = slopes[order - 1].diff(x) / stretch
        # All at once, or the x in what is put in would be moved again.
        here = {self.value: u, x: x + way, **{slope: slopes[n] for n, slope in self.slopes.items()}}
        rate, speed, rest = (part.xreplace(here) for part in (self.rate, self.speed, self.rest))
        first = (rate * sympy.Derivative(u, t) + rest).xreplace({stretch: s})
        if highest > 1:
            first = sympy.expand(first * s ** (2 * highest - 1))
        stated = [first.xreplace({s: stretch}), sympy.Derivative(way, t) - speed]
        return CompiledStatement(stated, unknowns, self.coordinates, self.scalars)

    def speed_of(self, unknown: sympy.Expr) -> CompiledStatement:
        """The speed where u is, and for the u that is there."""
        speed = self.speed.subs(self.value, unknown)
        return CompiledStatement([speed], [unknown], self.coordinates, self.scalars)


def transport_terms(problem: Problem) -> TransportTerms:
    """Those of an equation, read off its statement.

    Raises
    ------
    InvalidInput
        If it is not of one real unknown of x and t, with numbers for parameters; or transports nothing, not
        in first order of time, or with a speed that depends on slopes.
    """
    _check_statement(problem)
    at, (u,) = symbolic.coordinates(problem), symbolic.unknowns(problem)
    space = next(axis for axis in at if axis != TIME)
    scalars = {name: sympy.Symbol(name, real=True) for name in problem.parameters}
    stated: Any = symbolic.residual(problem, u, at, dict(scalars)).doit()
    value, by_index = sympy.Dummy("u"), dict[tuple[int, int], sympy.Dummy]()
    replaced = {u: value}
    for atom in stated.atoms(sympy.Derivative):
        counts = dict(atom.variable_count)
        index = (int(counts.get(at[space], 0)), int(counts.get(at[TIME], 0)))
        replaced[atom] = by_index.setdefault(index, sympy.Dummy(str(atom)))
    flat = stated.xreplace(replaced)
    if (0, 1) not in by_index:
        raise refused(problem, f"no first derivative by {TIME}")
    if any(in_time and (order, in_time) != (0, 1) for order, in_time in by_index):
        raise refused(problem, f"other derivatives by {TIME} than the first")
    if (1, 0) not in by_index:
        raise refused(problem, f"no first derivative by {space}: nothing moves")
    by_time, by_place = by_index[0, 1], by_index[1, 0]
    rate = flat.diff(by_time)
    speed = sympy.cancel(flat.diff(by_place) / rate)
    if (rate.free_symbols | speed.free_symbols) & set(by_index.values()):
        raise refused(problem, f"a speed that depends on slopes of {problem.fields[0]}")
    rest = flat.xreplace({by_time: sympy.Integer(0), by_place: sympy.Integer(0)})
    slopes = {order: slope for (order, in_time), slope in by_index.items() if not in_time}
    return TransportTerms(at, scalars, space, rate, speed, rest, value, slopes)


def moving_conditions(problem: Problem, terms: TransportTerms, displacement: str) -> tuple[Condition, ...]:
    """Those of a statement, and 0 for the displacement, at the start and at ends where nothing moves.

    Raises
    ------
    InvalidInput
        If something moves there, there is another condition, or none.
    """
    domain, space = problem.domain, terms.space
    k = domain.axes.index(space)
    places = {f"{space}-": domain.lower[k], f"{space}+": domain.upper[k]}
    ends = tuple(side for side in places if side in domain.sides)
    stated: list[Condition] = []
    held: set[str] = set()
    for condition in problem.conditions:
        if isinstance(condition, Initial) and condition.order == 0:
            stated.append(replace(condition, of=problem.fields))
            continue
        if not isinstance(condition, Dirichlet) or not set(sides := condition.sides(domain)) <= set(ends):
            raise refused(problem, f"the condition {type(condition).__name__}")
        (value,) = symbolic.condition_parts(problem, condition)
        for side in sides:
            at_side = {terms.value: value, terms.coordinates[space]: places[side]}
            speed = terms.speed.subs(at_side, simultaneous=True)
            if not speed.is_zero:
                raise refused(problem, f"a speed of {sympy.sstr(speed)} on {side}")
        held |= set(sides)
        stated.append(replace(condition, of=problem.fields))
    if missing := [side for side in ends if side not in held]:
        raise refused(problem, f"no value on {', '.join(missing)}")
    still = [Dirichlet(0.0, on=ends, of=displacement)] if ends else []
    return (*stated, *still, Initial(0.0, of=displacement))


def refused(problem: Problem, has: str) -> InvalidInput:
    """The error that says why a statement has no characteristics to go along."""
    expected = "a (u_t + c u_x) + f = 0 on an axis that wraps around, or with ends where c = 0"
    hint = "Take the statement itself."
    return InvalidInput("problem.statement", f"{problem.name}, which has {has}", expected, hint)


def _check_statement(problem: Problem) -> None:
    domain = problem.domain
    if isinstance(problem, MeshProblem) or problem.coordinates != domain.axes or not isinstance(domain, Box):
        raise refused(problem, "another domain than a box of all coordinates")
    if len(domain.axes) != 2 or TIME not in domain.axes:
        raise refused(problem, f"the coordinates {', '.join(domain.axes)}")
    if domain.periodic[domain.axes.index(TIME)]:
        raise refused(problem, "a time that wraps around")
    if len(problem.fields) > 1 or problem.complex_valued:
        kind = "complex values" if problem.complex_valued else f"the unknowns {', '.join(problem.fields)}"
        raise refused(problem, kind)
    for name, stated in problem.parameters.items():
        if stated.distribution.is_field or callable(stated.distribution.fixed):
            raise refused(problem, f"a parameter {name} that is a field")
