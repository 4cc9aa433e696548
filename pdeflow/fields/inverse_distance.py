r"""Hard conditions on any domain: values on its sides, blended by inverse distances.

With :math:`\omega_k` that vanish on the sides k alone, to the order that their values need,

.. math:: \sum_k w_k g_k, \qquad w_k = \prod_{j \ne k} \omega_j \Big/ \sum_i \prod_{j \ne i} \omega_j

takes the values :math:`g_k`, and a product of all :math:`\omega_k` times a network adds nothing to them.

V. L. Rvachev, T. I. Sheiko, V. Shapiro, I. Tsukanov, "Transfinite interpolation over implicitly defined
sets", Comput. Aided Geom. Des. 18 (2001); for networks N. Sukumar, A. Srivastava, "Exact imposition of
boundary conditions with distance functions in physics-informed deep neural networks", Comput. Methods Appl.
Mech. Eng. 389 (2022).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import sympy
import torch

from pdeflow.problems.calculus import Names
from pdeflow.problems.domain import Domain
from pdeflow.problems.initial import TIME
from pdeflow.problems.space_filling import space_filling

_STEP, _PLACES = 1e-4, 64  # of the size of a domain, and points of a side, to measure slopes
_TINY = 1e-20
"""Added to distances, so that weights are equal, and not 0 / 0, where two of these vanish."""

Values = Mapping[str, Sequence[sympy.Expr]]
"""Side to what is given there: of the unknown, and at the start also of its time derivative."""


def factor(domain: Domain, coordinates: Mapping[str, sympy.Symbol], values: Values) -> sympy.Expr:
    """An expression that is 0 on sides where values are given, with as many derivatives as are given.

    Raises
    ------
    InvalidInput
        If the domain has none for these sides without the others.
    """
    result = _vanishing(domain, coordinates, values)
    for side, given in values.items():
        if len(given) > 1:
            result *= _vanishing(domain, coordinates, [side]) ** (len(given) - 1)
    return result


def inverse_distance_lift(
    domain: Domain, coordinates: Mapping[str, sympy.Symbol], values: Values
) -> sympy.Expr:
    """An expression that takes given values on sides of a domain.

    Sides with the same values are blended as one. Where sides meet it is the mean of their values.

    Raises
    ------
    InvalidInput
        If the domain has no factor for sides with the same values without the others.
    """
    groups: dict[tuple[sympy.Expr, ...], list[str]] = {}
    for side, given in values.items():
        groups.setdefault(tuple(map(sympy.sympify, given)), []).append(side)
    taken = [_taylor(domain, coordinates, given) for given in groups]
    if len(groups) == 1:
        return taken[0]
    # Times pi, which is no number to SymPy: it would merge constants of different distances, and of a sum of
    # what vanishes only rounding would be left.
    factors = [
        sympy.pi * _distance(domain, coordinates, sides) ** len(given) + _TINY
        for given, sides in groups.items()
    ]
    others = [sympy.Mul(*(f for j, f in enumerate(factors) if j != k)) for k in range(len(factors))]
    return sympy.Add(*(w * g for w, g in zip(others, taken))) / sympy.Add(*others)


def _vanishing(domain: Domain, coordinates: Mapping[str, sympy.Symbol], sides: Collection[str]) -> sympy.Expr:
    return sympy.sympify(domain.vanishing(Names("coordinate", coordinates), list(sides)))


def _distance(domain: Domain, coordinates: Mapping[str, sympy.Symbol], sides: Collection[str]) -> sympy.Expr:
    """What vanishes on sides, with a slope of about 1 there, so that all reach as far inside."""
    expression = _vanishing(domain, coordinates, sides)
    slopes, step = [], _STEP * domain.size
    for side in sides:
        points, normals = domain.on_side(side, _PLACES, _spread)
        inside = torch.from_numpy(points - step * normals)
        slopes.append(
            domain.vanishing(Names("coordinate", dict(zip(domain.axes, inside.unbind(1)))), list(sides))
        )
    return expression * (step / float(torch.cat(slopes).median()))


def _spread(n: int, dim: int) -> np.ndarray:
    return space_filling("halton", n, dim, np.random.SeedSequence(0))


def _taylor(
    domain: Domain, coordinates: Mapping[str, sympy.Symbol], given: Sequence[sympy.Expr]
) -> sympy.Expr:
    """What has these time derivatives at the start; of one value, that value."""
    if len(given) == 1:
        return given[0]
    since = coordinates[TIME] - domain.lower[domain.axes.index(TIME)]
    return sympy.Add(*(value * since**order / math.factorial(order) for order, value in enumerate(given)))
