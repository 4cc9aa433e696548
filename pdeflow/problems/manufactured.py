"""Manufactured solutions: choose u, and compute the source that makes it the solution.

P. J. Roache, "Code verification by the method of manufactured solutions", J. Fluids Eng. 124 (2002).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pdeflow.errors import InvalidInput
from pdeflow.problems import calculus
from pdeflow.problems.calculus import Names
from pdeflow.problems.conditions import Dirichlet, Robin, by_side
from pdeflow.problems.problem import Formula, Problem

_FUNCTIONS = ("sin", "cos", "tan", "sinh", "cosh", "tanh", "exp", "log", "sqrt")


@dataclass(frozen=True)
class Manufactured:
    """A problem together with its exact solution.

    Attributes
    ----------
    problem
        A copy of the original, the values of its conditions those of the solution.
    parameters
        A formula or number for every parameter, the source included; :meth:`Problem.discretise`,
        :meth:`Problem.residual_on_grid` and :meth:`Problem.residual_at_points` take them as they are.
    exact
        The solution, a formula of ``at``.
    """

    problem: Problem
    parameters: dict[str, Formula | float]
    exact: Formula


def _formula(expression: Any, symbols: Mapping[str, Any]) -> Formula:
    """A SymPy expression of the coordinates as a formula of ``at``."""
    import sympy

    table: dict[str, Any] = {name: getattr(calculus, name) for name in _FUNCTIONS}
    table |= {"Abs": abs, "pi": math.pi, "I": 1j}
    for function in expression.atoms(sympy.Function):
        if type(function).__name__ not in table:
            raise InvalidInput(
                "manufactured source", str(function), "a formula of the elementary functions", choices=table
            )
    compiled: Callable[..., Any] = sympy.lambdify(
        tuple(symbols.values()), expression, modules=[table], cse=True
    )
    return lambda at: compiled(*(getattr(at, axis) for axis in symbols))


def _of_parameters(formula: Formula) -> Callable[[Any, Any], Any]:
    """A formula of ``at`` where one of parameters too is asked for."""
    return lambda at, p: formula(at)


def manufacture(
    problem: Problem,
    exact: Formula,
    parameters: Mapping[str, Formula | float] | None = None,
    source: str = "f",
) -> Manufactured:
    """Give the source parameter the formula that makes ``exact`` the solution.

    Parameters
    ----------
    problem
        Its residual must be affine in the source.
    exact
        The solution, a smooth formula of ``at``: ``lambda at: sin(at.x) * exp(at.y)``.
    parameters
        A number, or a smooth formula of ``at``, for every other parameter that is not constant.
    source
        The name of the source parameter.

    Raises
    ------
    InvalidInput
        If there is no such source, the residual is not affine in it, a parameter is missing, or there are
        several unknowns.
    """
    import sympy

    from pdeflow.problems import symbolic

    if len(problem.fields) > 1:
        raise InvalidInput("problem", problem.name, "an equation for one unknown")
    if source not in problem.parameters:
        raise InvalidInput("source", source, f"a parameter of {problem.name}", choices=problem.parameters)
    given = {**(parameters or {}), source: 0.0}
    at = symbolic.coordinates(problem)
    f = sympy.Symbol(source, real=True)
    values = {
        name: f if name == source else value(Names("coordinate", at)) if callable(value) else value
        for name, value in problem.complete_parameters(given).items()
    }
    residual = symbolic.residual(problem, exact(Names("coordinate", at)), at, values).doit()
    slope = sympy.diff(residual, f)
    if slope == 0 or slope.has(f):
        raise InvalidInput("source", source, f"a parameter that the residual of {problem.name} is affine in")
    formula = _formula(-residual.subs(f, 0) / slope, at)

    stated = copy.copy(problem)
    natural = {s: c for s, c in by_side(problem.conditions, problem.domain).items() if isinstance(c, Robin)}
    stated.conditions = (Dirichlet(_of_parameters(exact)),) if problem.domain.sides else ()
    here, p = Names("coordinate", at), Names("parameter", values)
    for side, condition in natural.items():
        slope = sympy.diff(exact(here), at[side[:-1]]) * (1 if side[-1] == "+" else -1)
        c = condition.coefficient(here, p) if callable(condition.coefficient) else condition.coefficient
        value = _of_parameters(_formula(slope + c * exact(here), at))
        stated.conditions += (Robin(condition.coefficient, value, side),)
    return Manufactured(stated, {**given, source: formula}, exact)
