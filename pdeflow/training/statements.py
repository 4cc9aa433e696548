"""What a statement asks of points: its checks, the values that it gives on sides, its conditions compiled."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import sympy
import torch

from pdeflow.errors import InvalidInput
from pdeflow.problems import Dirichlet, MeshProblem, ParametricFamily, Problem, Robin, symbolic
from pdeflow.problems.calculus import Names
from pdeflow.problems.coefficient import check_coefficients
from pdeflow.problems.compiled_statement import CompiledStatement
from pdeflow.problems.conditions import Condition, check_numbers
from pdeflow.problems.cylinder import Cylinder
from pdeflow.problems.domain import Box
from pdeflow.problems.initial import TIME, Initial
from pdeflow.problems.unknowns import check_names, joined

NORMAL, VALUE = "normal along ", "value"
"""Names of scalars that change from point to point; no parameter is called so."""


def check_statement(problem: Problem, unknown: Mapping[str, float]) -> None:
    """Raise InvalidInput unless a problem can be asked of points; see `PhysicsInformed`.

    The names of axes are those that differentiation at a point knows: symbols would take another one for a
    function that does not depend on it.
    """
    name = problem.name
    if isinstance(problem, MeshProblem) or problem.coordinates != problem.domain.axes:
        hint = "State it on a Box or Cylinder with time as an axis t, Initial conditions, and a residual."
        raise InvalidInput("problem", name, "an equation on a domain of all coordinates", hint)
    check_names(f"fields of {name}", problem.fields)
    check_coefficients(problem)
    if problem.complex_valued:
        raise InvalidInput("problem", name, "an equation for a real unknown")
    for parameter, start in unknown.items():
        if isinstance(problem, ParametricFamily) and parameter in problem.ranges:
            expected = f"a parameter without a range: {parameter} is a coordinate of the family"
            raise InvalidInput("objective.unknown", parameter, expected, "Take it out of either.")
        known = problem.parameters
        if parameter not in known:
            hint = "It is a function, which is found anyway: leave it out." * (parameter in problem.fields)
            raise InvalidInput("objective.unknown", parameter, f"a parameter of {name}", hint, choices=known)
        low, high = bounds_of(problem, parameter)
        if not low < start < high:
            expected = f"a start above {low:g} and below {high:g}, the bounds of {parameter}"
            raise InvalidInput(f"objective.unknown.{parameter}", start, expected)
    for parameter, stated in problem.parameters.items():
        if parameter not in unknown and stated.distribution.fixed is None:
            hint = (
                f"Give problem.init_args.{parameter} a Constant, a start in objective.init_args.unknown, "
                "or a range by a ParametricFamily."
            )
            raise InvalidInput(f"parameter {parameter!r} of {name}", stated.distribution, "one number", hint)
    for condition in problem.conditions:
        check_numbers(condition)
        condition.unknowns(problem.fields)
    domain = problem.domain
    middle = torch.tensor([[0.4 * low + 0.6 * high for low, high in zip(domain.lower, domain.upper)]])
    count = len(problem.fields)
    problem.residual_at_points(lambda x: joined([x.sum(1).sin()] * count), middle, dict(unknown))


def check_unknown(problem: Problem, statements: Iterable[CompiledStatement], unknown: Iterable[str]) -> None:
    """Raise InvalidInput for parameters that are to be found and are in no statement of the problem."""
    read = {name for statement in statements for name in statement.reads}
    unread = [name for name in unknown if name not in read]
    if unread:
        others = [name for name in problem.parameters if name not in unread]
        expected = f"parameters that the equation or a condition of {problem.name} contains"
        raise InvalidInput("objective.unknown", ", ".join(unread), expected, choices=others)


def bounds_of(problem: Problem, parameter: str) -> tuple[float, float]:
    """Between which numbers a parameter lies: those of its distribution.

    One value is no bound, for the parameter was given it before it was asked for: then above 0 where it is
    positive, or anywhere.
    """
    stated = problem.parameters[parameter]
    if stated.distribution.fixed is None:
        return stated.distribution.bounds
    return (0.0 if stated.positive else -math.inf), math.inf


def given_values(
    problem: Problem, unknown: str, parameters: Mapping[str, Any]
) -> dict[str, tuple[float, list[sympy.Expr]]]:
    """Sides where values of an unknown are given: where they lie, and what is given, lower orders first.

    Parameters are numbers, formulas of ``at``, or symbols that stay.
    """
    found: dict[str, tuple[float, list[sympy.Expr]]] = {}
    at, p = _names(problem, parameters)
    for side, of, condition in in_order(problem):
        if of == unknown and isinstance(condition, (Dirichlet, Initial)):
            place, held = found.get(side, (side_place(problem, side), []))
            value = _symbolic(condition.value, at, p)
            if isinstance(problem.domain, Box) or (
                isinstance(problem.domain, Cylinder) and side == f"{TIME}-"
            ):
                value = value.subs(symbolic.coordinate(side[:-1]), place)  # a formula may hold elsewhere too
            order = condition.order if isinstance(condition, Initial) else 0
            if order > len(held):
                hint = "Give Initial(value) before Initial(slope, order=1)."
                raise InvalidInput(
                    f"conditions of {problem.name}", str(condition), f"one on {of} itself too", hint
                )
            found[side] = place, [*held[:order], value]
    return found


def in_order(problem: Problem) -> list[tuple[str, str, Condition]]:
    """Each side with an unknown and a condition on it that holds there; initial ones by order."""
    fields = problem.fields
    last = {
        (side, fields.index(unknown), getattr(c, "order", 0)): c
        for c in problem.conditions
        for side in c.sides(problem.domain)
        for unknown in c.unknowns(fields)
    }
    return [(side, fields[k], c) for (side, k, _), c in sorted(last.items(), key=lambda item: item[0])]


def statement_name(problem: Problem, name: str, unknown: str) -> str:
    """``"x-:value"``; where there are several unknowns, ``"x-:value of u"``."""
    return name if len(problem.fields) == 1 else f"{name} of {unknown}"


def side_place(problem: Problem, side: str) -> float:
    """Where a side of a box, or the start, lies along its axis; NaN where a side is no such plane."""
    if not isinstance(problem.domain, Box) and side != f"{TIME}-":
        return math.nan
    k = problem.domain.axes.index(side[:-1])
    return problem.domain.lower[k] if side[-1] == "-" else problem.domain.upper[k]


def _names(problem: Problem, parameters: Mapping[str, Any]) -> tuple[Names, Names]:
    """Coordinates and parameters, as formulas read them."""
    at = Names("coordinate", symbolic.coordinates(problem))
    return at, Names("parameter", {n: v(at) if callable(v) else v for n, v in parameters.items()})


def _symbolic(value: Any, at: Names, p: Names) -> sympy.Expr:
    """A number or a formula of ``at`` and ``p`` as an expression."""
    expression: Any = sympy.sympify(value(at, p) if callable(value) else value)
    return expression


def condition_statements(problem: Problem, parameters: Mapping[str, Any]) -> dict[str, CompiledStatement]:
    """What vanishes on each side, by ``"x-:value"``, ``"x-:slope"`` or ``"t-:rate"``; see `statement_name`.

    Slopes on sides of what is no box are stated with the normals as scalars.
    """
    at, us = symbolic.coordinates(problem), symbolic.unknowns(problem)
    here, p = _names(problem, parameters)
    scalars = {name: v for name, v in parameters.items() if isinstance(v, sympy.Symbol)}
    found = {}
    for side, unknown, condition in in_order(problem):
        u = us[problem.fields.index(unknown)]
        if isinstance(condition, Robin):
            if isinstance(problem.domain, Box):
                outwards = sympy.Derivative(u, at[side[:-1]]) * (1 if side[-1] == "+" else -1)
            else:
                normals = {NORMAL + axis: sympy.Dummy(f"n_{axis}", real=True) for axis in at}
                outwards = sum(sympy.Derivative(u, at[axis]) * normals[NORMAL + axis] for axis in at)
                scalars = scalars | normals
            c, g = (_symbolic(part, here, p) for part in (condition.coefficient, condition.value))
            name, expression = f"{side}:slope", outwards + c * u - g
        else:
            assert isinstance(condition, (Dirichlet, Initial))
            order = condition.order if isinstance(condition, Initial) else 0
            value = _symbolic(condition.value, here, p)
            left = sympy.Derivative(u, at[TIME]) if order else u
            name, expression = f"{side}:{'rate' if order else 'value'}", left - value
        found[statement_name(problem, name, unknown)] = CompiledStatement([expression], us, at, scalars)
    return found


def observed_statement(problem: Problem, unknown: str) -> CompiledStatement:
    """What vanishes where values are known: the unknown less the value, which is a scalar."""
    at, us = symbolic.coordinates(problem), symbolic.unknowns(problem)
    value = sympy.Dummy("value", real=True)
    return CompiledStatement([us[problem.fields.index(unknown)] - value], us, at, {VALUE: value})
