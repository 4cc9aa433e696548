"""What a statement says of time: its initial value, and the factor of its first derivative."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sympy

from pdeflow.errors import InvalidInput
from pdeflow.problems import symbolic
from pdeflow.problems.calculus import Names
from pdeflow.problems.conditions import Dirichlet, Robin
from pdeflow.problems.domain import Box
from pdeflow.problems.initial import TIME, Initial
from pdeflow.problems.problem import Problem


def refused(problem: Problem, got: str, expected: str, hint: str = "") -> InvalidInput:
    """The error that says why a statement is not marched in time."""
    hint = hint or "Learn it from its statement: objective PhysicsInformed, data Collocation."
    return InvalidInput(
        "problem", f"{problem.name}, which has {got}", f"{expected}, to be marched in time", hint
    )


def check_marched(problem: Problem) -> None:
    """Raise InvalidInput unless it is stated for one real unknown, on a box of space and a time from 0 on."""
    domain = problem.domain
    if TIME not in domain.axes or problem.coordinates != domain.axes:
        hint = "State it with time as an axis: Box(x=(0, 1), t=(0, 1))."
        raise refused(problem, f"the coordinates {', '.join(problem.coordinates)}", f"an axis {TIME}", hint)
    if not isinstance(domain, Box):
        raise refused(problem, f"the domain {domain}", f"a Box with an axis {TIME}")
    if len(domain.axes) < 2:
        hint = "An ordinary differential equation is solved by scipy.integrate.solve_ivp."
        raise refused(problem, f"no coordinate but {TIME}", "an axis of space", hint)
    k = domain.axes.index(TIME)
    if domain.periodic[k]:
        hint = f"Take {TIME} out of periodic."
        raise refused(problem, "a time that wraps around", "a time with a start", hint)
    if domain.lower[k] != 0:
        hint = "Count the time from there: nothing else may depend on it."
        raise refused(problem, f"a time from {domain.lower[k]:g} on", "a time from 0 on", hint)
    if len(problem.fields) > 1:
        raise refused(problem, f"the unknowns {', '.join(problem.fields)}", "one unknown")
    if problem.complex_valued:
        raise refused(problem, "complex values", "a real unknown")


def initial_value(problem: Problem) -> Initial:
    """The condition on the value at the start, the last one where there are several.

    Raises
    ------
    InvalidInput
        If there is none, or one on the slope too.
    """
    found = [condition for condition in problem.conditions if isinstance(condition, Initial)]
    if any(condition.order for condition in found):
        expected = "the value at the start alone, for an equation of first order in time"
        raise refused(problem, "an initial slope", expected)
    if not found:
        hint = "Add Initial(value), a number or a formula: Initial(lambda at, p: sin(at.x))."
        raise refused(problem, "no initial value", "one", hint)
    return found[-1]


def conditions_in_space(problem: Problem) -> tuple[Dirichlet | Robin, ...]:
    """All others.

    Raises
    ------
    InvalidInput
        If one is of another kind, not on sides of space, or depends on time, or a side has none.
    """
    time, found = symbolic.coordinate(TIME), list[Dirichlet | Robin]()
    for condition in problem.conditions:
        if isinstance(condition, Initial):
            continue
        if not isinstance(condition, (Dirichlet, Robin)):
            kind = type(condition).__name__
            raise refused(problem, f"the condition {kind}", "conditions Dirichlet, Neumann or Robin")
        if ends := {f"{TIME}-", f"{TIME}+"}.intersection(condition.sides(problem.domain)):
            expected = "conditions on sides of space, and Initial"
            raise refused(problem, f"a condition on {', '.join(sorted(ends))}", expected)
        for part in symbolic.condition_parts(problem, condition):
            if part.has(time):
                text = f"a condition {condition.where} that depends on {TIME}, {sympy.sstr(part)}"
                raise refused(problem, text, "conditions that are the same at all times")
        found.append(condition)
    held = {side for condition in found for side in condition.sides(problem.domain)}
    space = [side for side in problem.domain.sides if side[:-1] != TIME]
    if missing := [side for side in space if side not in held]:
        hint = "Add Dirichlet(value, on=...) or Neumann(value, on=...), or make the axis periodic in the Box."
        raise refused(problem, f"no condition on {', '.join(missing)}", "one on every side of space", hint)
    return tuple(found)


def time_factor(problem: Problem) -> float:
    """The number c, of a residual that is ``c u_t`` and something without t.

    Raises
    ------
    InvalidInput
        If it is not.
    """
    coordinates, (u,) = symbolic.coordinates(problem), symbolic.unknowns(problem)
    time = coordinates[TIME]
    written: Any = symbolic.residual(problem, u, coordinates, _symbols_in_space(problem, coordinates))
    first, by_time = sympy.Derivative(u, time), f"D({problem.fields[0]}, '{TIME}')"
    expected = f"{by_time}, and no other derivative by {TIME}"
    for atom in sorted(written.atoms(sympy.Derivative), key=str):
        if atom != first and dict(atom.variable_count).get(time, 0):
            raise refused(problem, f"the derivative {sympy.sstr(atom)}", expected)
    if not written.has(first):
        raise refused(problem, f"no derivative by {TIME}", expected)
    slope, value = sympy.Dummy("u_t"), sympy.Dummy("u")
    stated = written.xreplace({first: slope}).doit()
    factor, rest = sympy.expand(stated.diff(slope)), stated.xreplace({slope: sympy.Integer(0)})
    if not (factor.is_number and factor.is_real and factor.is_finite and factor.is_nonzero):
        got = f"the factor {sympy.sstr(factor.xreplace({slope: first}))} of {by_time}"
        raise refused(problem, got, "a number there", "Divide the equation by it, if it is nowhere 0.")
    derivatives = {atom: sympy.Dummy("slope") for atom in rest.atoms(sympy.Derivative)}
    if rest.xreplace(derivatives).xreplace({u: value}).has(time):
        raise refused(problem, f"at.{TIME} in its residual", "an equation that is the same at all times")
    return float(factor)


def _symbols_in_space(problem: Problem, coordinates: Mapping[str, sympy.Symbol]) -> dict[str, sympy.Expr]:
    """A symbol for each number among the parameters, a function of space for each field."""
    space = [symbol for axis, symbol in coordinates.items() if axis != TIME]
    found: dict[str, sympy.Expr] = {}
    for name, stated in problem.parameters.items():
        field: Any = sympy.Function(name, real=True)(*space)
        found[name] = field if stated.distribution.is_field else symbolic.parameter(name)
        if callable(formula := stated.distribution.fixed):
            value = sympy.sympify(formula(Names("coordinate", dict(coordinates))))
            if value.has(coordinates[TIME]):
                text = f"a parameter {name} that depends on {TIME}: {sympy.sstr(value)}"
                raise refused(problem, text, "parameters that are the same at all times")
    return found
