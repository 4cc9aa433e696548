"""Whether the values that are given on sides of a box agree where the sides meet."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import sympy

from pdeflow.problems.domain import Box

_PLACES = (0.137, 0.391, 0.618, 0.873)
"""Where along the other axes it is looked, as shares of their lengths."""
_SLACK = 1e-8
"""What counts as agreement, relative to the size of the values."""


def contradictions(
    domain: Box,
    coordinates: Mapping[str, sympy.Symbol],
    values: Mapping[str, tuple[float, Sequence[sympy.Expr]]],
) -> Iterator[str]:
    """Sentences on pairs of sides that meet in an edge or a corner and give it different values there.

    With g_i the i-th derivative along a that is given on a side of axis a, and h_j likewise of axis b, there
    is a smooth function only if the j-th derivative of g_i along b is the i-th of h_j along a, where the
    sides meet.

    Parameters
    ----------
    domain
        The box.
    coordinates
        Axis to symbol.
    values
        Side to where it lies, and to the values there of the function and of its derivatives along the axis.
    """
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
                found = [complex(sympy.N(side.subs(here))) for side in (left, right)]
                if not abs(found[0] - found[1]) <= _SLACK * max(1.0, *map(abs, found)):
                    words = [
                        f"{side} gives {value.real:.6g}" + f", derivative {order} along {axis}" * bool(order)
                        for side, value, order, axis in zip((one, two), found, (j, i), (b, a))
                    ]
                    yield f"{' and '.join(words)} where they meet ({a} = {p:g}, {b} = {q:g})"
                    break
