"""Whether the values that are given on sides of a domain agree where the sides meet."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import sympy

from pdeflow.problems.cylinder import Cylinder
from pdeflow.problems.domain import Box, Domain
from pdeflow.problems.initial import TIME
from pdeflow.problems.meeting_sides import meeting_points, places

_PLACES = (0.137, 0.391, 0.618, 0.873)
"""Where along the other axes of a box it is looked, as shares of their lengths."""
_SLACK, _SLACK_ELSEWHERE = 1e-8, 1e-6
"""What counts as agreement, relative to the size of the values; of points that are not known exactly."""
_MOST = 12
"""Of the points at which two sides of a domain that is no box meet, about so many are looked at."""

Given: TypeAlias = Mapping[str, tuple[float, Sequence[sympy.Expr]]]
"""Side to where it lies, on a box, and to the values there of the function and of its derivatives along the
axis; on other domains only the start, of a `Cylinder`, has derivatives."""


def contradictions(domain: Domain, coordinates: Mapping[str, sympy.Symbol], values: Given) -> Iterator[str]:
    """Sentences on pairs of sides that meet in an edge or a corner and give it different values there.

    With g_i the i-th derivative along a that is given on a side of axis a of a box, and h_j likewise of axis
    b, there is a smooth function only if the j-th derivative of g_i along b is the i-th of h_j along a, where
    the sides meet. On other domains values are compared, and on a `Cylinder` derivatives at the start with
    those of values on the other sides.

    Parameters
    ----------
    domain
        With sides; on an interval they never meet.
    coordinates
        Axis to symbol.
    values
        What is given on its sides.
    """
    if isinstance(domain, Box):
        yield from _on_box(domain, coordinates, values)
    elif domain.dim > 1:
        yield from _elsewhere(domain, coordinates, values)


def _on_box(domain: Box, coordinates: Mapping[str, sympy.Symbol], values: Given) -> Iterator[str]:
    for (one, (p, given)), (two, (q, others)) in itertools.combinations(values.items(), 2):
        a, b = one[:-1], two[:-1]
        if a == b:
            continue
        x, y = coordinates[a], coordinates[b]
        for (i, g), (j, h) in itertools.product(enumerate(given), enumerate(others)):
            left, right = g.diff(y, j).subs(y, q), h.diff(x, i).subs(x, p)
            for share in _PLACES:
                here: dict[Any, Any] = {
                    coordinates[axis]: low + share * (high - low)
                    for axis, low, high in zip(domain.axes, domain.lower, domain.upper)
                }
                found = _differing(left, right, here, _SLACK)
                if found:
                    words = _in_words((one, two), found, (j, i), (b, a))
                    yield f"{words} where they meet ({a} = {p:g}, {b} = {q:g})"
                    break


def _elsewhere(domain: Domain, coordinates: Mapping[str, sympy.Symbol], values: Given) -> Iterator[str]:
    known = {side: places(domain, side) for side in values}
    for (one, (_, given)), (two, (_, others)) in itertools.combinations(values.items(), 2):
        pairs = list(_compared(domain, coordinates, given, others))
        if all(left == right for _, left, right in pairs):
            continue
        meeting = meeting_points(domain, known[one], known[two])
        for order, left, right in pairs:
            for point in meeting[:: max(1, len(meeting) // _MOST)]:
                found = _differing(left, right, dict(zip(coordinates.values(), point)), _SLACK_ELSEWHERE)
                if found:
                    place = np.round(point / domain.size, 9) * domain.size + 0.0  # neither 1e-17 nor -0
                    at = ", ".join(f"{axis} = {x:.6g}" for axis, x in zip(coordinates, place))
                    words = _in_words((one, two), found, (order, order), (TIME, TIME))
                    yield f"{words} where they meet ({at})"
                    break


def _compared(
    domain: Domain,
    coordinates: Mapping[str, sympy.Symbol],
    given: Sequence[sympy.Expr],
    others: Sequence[sympy.Expr],
) -> Iterator[tuple[int, sympy.Expr, sympy.Expr]]:
    """The order of a derivative by time, and what each of two sides says of it."""
    for order in range(max(len(given), len(others)) if isinstance(domain, Cylinder) else 1):
        left, right = (
            side[order] if order < len(side) else side[0].diff(coordinates[TIME], order)
            for side in (given, others)
        )
        yield order, left, right


def _differing(left: sympy.Expr, right: sympy.Expr, here: Mapping[Any, Any], slack: float) -> list[complex]:
    """Both values at a point; none where they agree."""
    found = [complex(sympy.N(side.subs(here))) for side in (left, right)]
    return [] if abs(found[0] - found[1]) <= slack * max(1.0, *map(abs, found)) else found


def _in_words(
    sides: tuple[str, str], found: Sequence[complex], orders: tuple[int, int], axes: tuple[str, str]
) -> str:
    return " and ".join(
        f"{side} gives {value.real:.6g}" + f", derivative {order} along {axis}" * bool(order)
        for side, value, order, axis in zip(sides, found, orders, axes)
    )
