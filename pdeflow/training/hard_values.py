"""Given values that a field meets by its form."""

from __future__ import annotations

from collections.abc import Mapping

import sympy
from lightning.pytorch.utilities import rank_zero_warn

from pdeflow.errors import InvalidInput
from pdeflow.fields import Field, HardConditions
from pdeflow.fields.hard_conditions import box_distance, transfinite_lift
from pdeflow.fields.inverse_distance import factor, inverse_distance_lift
from pdeflow.problems import Problem, symbolic
from pdeflow.problems.corners import contradictions
from pdeflow.problems.domain import Box

Values = Mapping[str, tuple[float, list[sympy.Expr]]]
"""Side to its place on its axis and what is given there; see `given_values`."""


def check_corners(problem: Problem, given: Mapping[str, Values], hard: bool) -> None:
    """Values of an unknown on sides that meet have to agree there: say where they do not.

    Raises
    ------
    InvalidInput
        If they contradict each other and are to be met by form; where they are learned, it is a warning.
    """
    at, several = symbolic.coordinates(problem), len(given) > 1
    found = [
        f"{name}: {words}" if several else words
        for name, values in given.items()
        for words in contradictions(problem.domain, at, values)
    ]
    if not found:
        return
    key = f"conditions of {problem.name}"
    if hard:
        hint = "Give values that agree, or learn them: objective.init_args.hard: false."
        raise InvalidInput(key, "; ".join(found[:2]), "values that agree where sides meet", hint)
    rank_zero_warn(f"{key}: {'; '.join(found[:2])}. No smooth solution meets both.")


def hard_field(problem: Problem, held: Mapping[str, Values], network: Field) -> HardConditions:
    """The field that meets the values of its unknowns; one that has none is left as it is."""
    lifts, distances = zip(*(_form(problem, held.get(name, {})) for name in problem.fields))
    return HardConditions(network, lifts, distances, symbolic.coordinates(problem))


def _form(problem: Problem, held: Values) -> tuple[sympy.Expr, sympy.Expr]:
    """What takes the values of an unknown, and what vanishes where they are given.

    In a box by transfinite interpolation, else by inverse distances.
    """
    at, domain = symbolic.coordinates(problem), problem.domain
    if not held:
        return sympy.Integer(0), sympy.Integer(1)
    if not isinstance(domain, Box):
        values = {side: given for side, (_, given) in held.items()}
        return inverse_distance_lift(domain, at, values), factor(domain, at, values)
    lengths = {axis: high - low for axis, low, high in zip(domain.axes, domain.lower, domain.upper)}
    distance = box_distance(at, {side: (p, len(v)) for side, (p, v) in held.items()}, lengths)
    return transfinite_lift(at, held), distance
