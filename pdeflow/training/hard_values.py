"""Given values that a field meets by its form."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import sympy
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.fields import Field, HardConditions, Lagrangian
from pdeflow.fields.bounds import freed
from pdeflow.fields.hard_conditions import box_distance, transfinite_lift
from pdeflow.fields.inverse_distance import factor, inverse_distance_lift
from pdeflow.problems import Problem, symbolic
from pdeflow.problems.corners import contradictions
from pdeflow.problems.domain import Box
from pdeflow.problems.initial import TIME
from pdeflow.training.bounded_numbers import BoundedNumbers

Values = Mapping[str, tuple[float, list[sympy.Expr]]]
"""Side to its place on its axis and what is given there; see `given_values`."""

NONE = (-math.inf, math.inf)
"""No bounds."""


def check_corners(problem: Problem, given: Mapping[str, Values], numbers: BoundedNumbers, hard: bool) -> None:
    """Values of an unknown on sides that meet have to agree there: say where they do not.

    Raises
    ------
    InvalidInput
        If they contradict each other and are to be met by form, whatever the unknown numbers in them are;
        where they are learned, it is a warning, of what no number can mend.
    """
    found = _contradictions(problem, given, numbers.values())
    if numbers.start:
        others = _contradictions(problem, given, numbers.elsewhere())
        found = list(dict.fromkeys([*found, *others])) if hard else [x for x in found if x in others]
    if not found:
        return
    key = f"conditions of {problem.name}"
    if hard:
        hint = "Give values that agree, or learn them: objective.init_args.hard: false."
        raise InvalidInput(key, "; ".join(found[:2]), "values that agree where sides meet", hint)
    rank_zero_warn(f"{key}: {'; '.join(found[:2])}. No smooth solution meets both.")


def _contradictions(
    problem: Problem, given: Mapping[str, Values], numbers: Mapping[str, Tensor]
) -> list[str]:
    """What `contradictions` says of each unknown, where the numbers in its values are these."""
    at, several = symbolic.coordinates(problem), len(given) > 1
    known: dict[Any, Any] = {
        symbolic.parameter(name): float(number.detach()) for name, number in numbers.items()
    }
    put = {
        name: {side: (place, [part.subs(known) for part in parts]) for side, (place, parts) in values.items()}
        for name, values in given.items()
    }
    return [
        f"{name}: {words}" if several else words
        for name, values in put.items()
        for words in contradictions(problem.domain, at, values)
    ]


def hard_field(
    problem: Problem,
    held: Mapping[str, Values],
    network: Field,
    numbers: Callable[[], Mapping[str, Tensor]],
) -> Field:
    """The field that meets the values of its unknowns, and keeps the bounds of its coefficients.

    An unknown that has neither is left as it is. Where the field moves with the flow, so does what is given
    at the start. Numbers are those unknown ones that the values may depend on.

    Raises
    ------
    InvalidInput
        If it does, and there is more given than values at the start. If a value is given of a coefficient
        that is not within its bounds, or a rate of one that has bounds.
    """
    between = {c.name: (c.lower, c.upper) for c in problem.coefficients}
    bounds = [between.get(name, NONE) for name in problem.fields]
    if not held and all(pair == NONE for pair in bounds):
        return network
    held = {name: _free(problem, name, values, between.get(name, NONE)) for name, values in held.items()}
    lifts, distances = zip(*(_form(problem, held.get(name, {})) for name in problem.fields))
    at = symbolic.coordinates(problem)
    if isinstance(network, Lagrangian):
        lifts = [
            _moved(problem, held.get(name, {}), lift, network) for name, lift in zip(problem.fields, lifts)
        ]
    return HardConditions(network, lifts, distances, at, bounds=bounds, numbers=numbers)


def _free(problem: Problem, unknown: str, held: Values, between: tuple[float, float]) -> Values:
    """Values of an unknown as what is mapped to them within its bounds."""
    if between == NONE:
        return held
    low, high = between
    key, expected = f"conditions of {problem.name}", f"values of {unknown} above {low:g} and below {high:g}"
    found = {}
    for side, (place, given) in held.items():
        if len(given) > 1:
            got, hint = f"a rate of {unknown} on {side}", "Leave out the bounds of its Coefficient."
            raise InvalidInput(key, got, f"values alone of {unknown}, which has bounds", hint)
        value = given[0]
        if value.is_number and not low < float(value) < high:
            raise InvalidInput(key, f"{float(value):g} on {side}", expected)
        found[side] = place, [freed(value, low, high)]
    return found


def _moved(problem: Problem, held: Values, lift: sympy.Expr, network: Lagrangian) -> sympy.Expr:
    """Values at the start, carried along the characteristics of a field."""
    start = f"{TIME}-"
    if more := [side for side, (_, given) in held.items() if side != start or len(given) > 1]:
        got = f"Lagrangian, with values or rates given on {', '.join(more)}"
        expected = "a field that stands still, where more than values at the start are met by its form"
        raise InvalidInput("model", got, expected, "Learn them: objective.init_args.hard: false.")
    assert network.velocity is not None
    at = symbolic.coordinates(problem)
    since = at[TIME] - problem.domain.lower[-1]
    places = list(at.values())[:-1]
    stated: Any = lift
    return stated.subs({x: x - c * since for x, c in zip(places, network.velocity)}, simultaneous=True)


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
