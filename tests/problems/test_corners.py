"""Values on sides that meet agree there, or are told of."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy

from pdeflow.problems import Ball, Box, Cylinder, Polygon
from pdeflow.problems.corners import contradictions
from pdeflow.problems.domain import Domain
from pdeflow.problems.meeting_sides import meeting_points, places

X, T = sympy.symbols("x t", real=True)
AT = {"x": X, "t": T}
BOX = Box(x=(0.0, 1.0), t=(0.0, 2.0))


def found(**values: list) -> list[str]:
    places = {"x_low": ("x-", 0.0), "x_high": ("x+", 1.0), "start": ("t-", 0.0)}
    sides = {
        places[name][0]: (places[name][1], list(map(sympy.sympify, given))) for name, given in values.items()
    }
    return list(contradictions(BOX, AT, sides))


def test_values_of_one_solution_agree() -> None:
    u = sympy.exp(-T) * sympy.sin(3 * X) + T * X
    start = [u.subs(T, 0), u.diff(T).subs(T, 0)]
    assert found(x_low=[u.subs(X, 0)], x_high=[u.subs(X, 1)], start=start) == []


def test_opposite_sides_never_meet() -> None:
    assert found(x_low=[0], x_high=[1]) == []


def test_a_jump_in_a_corner() -> None:
    (told,) = found(x_low=[0], x_high=[0], start=[X])
    assert told == "x+ gives 0 and t- gives 1 where they meet (x = 1, t = 0)"


def test_a_slope_that_a_side_contradicts() -> None:
    (told,) = found(x_low=[T], start=[0, 0])
    assert told == "x- gives 1, derivative 1 along t and t- gives 0 where they meet (x = 0, t = 0)"


def test_somewhere_along_an_edge() -> None:
    """The sides agree in the ends of the edge, and not between them."""
    y = sympy.Symbol("y", real=True)
    box = Box(x=(0.0, 1.0), y=(0.0, 1.0), t=(0.0, 1.0))
    values = {"x-": (0.0, [y * (1 - y)]), "t-": (0.0, [sympy.Integer(0)])}
    assert len(list(contradictions(box, {"x": X, "y": y, "t": T}, values))) == 1


SQUARE = Polygon.of([(0, 0), (1, 0), (1, 1), (0, 1)], sides=("floor", "east", "top", "west"))
BITTEN = Box(x=(0.0, 1.0), y=(0.0, 1.0)) - Ball(0.3, "bite", x=0.0, y=0.5)
DISCS = Ball(1.0, "left", x=0.0, y=0.0) | Ball(1.0, "right", x=1.0, y=0.0)
HEIGHT = math.sqrt(3) / 2


@pytest.mark.parametrize(
    ("domain", "one", "two", "expected"),
    [
        (SQUARE, "floor", "east", [[1.0, 0.0]]),
        (SQUARE, "floor", "top", []),
        (BITTEN, "x-", "bite", [[0.0, 0.2], [0.0, 0.8]]),
        (BITTEN, "y-", "bite", []),
        (DISCS, "left", "right", [[0.5, -HEIGHT], [0.5, HEIGHT]]),
        (Ball(1.0, x=0.0, y=0.0) & Box(x=(-2.0, 2.0), y=(0.0, 2.0)), "rim", "y-", [[-1.0, 0.0], [1.0, 0.0]]),
    ],
)
def test_where_sides_meet(domain: Domain, one: str, two: str, expected: list[list[float]]) -> None:
    found = meeting_points(domain, places(domain, one), places(domain, two))
    assert found.shape == (len(expected), 2)
    if expected:
        np.testing.assert_allclose(found[np.lexsort(found.round(6).T)], expected, atol=1e-9)


def test_all_along_an_edge_sides_meet() -> None:
    domain = Cylinder(Ball(1.0, x=0.0, y=0.0), t=(0.5, 1.0))
    found = meeting_points(domain, places(domain, "rim"), places(domain, "t-"))
    np.testing.assert_allclose(np.hypot(found[:, 0], found[:, 1]), 1.0, atol=1e-9)
    np.testing.assert_allclose(found[:, 2], 0.5, atol=1e-9)
    angles = np.sort(np.arctan2(found[:, 1], found[:, 0]))
    assert np.diff(angles).max() < 0.3


def differing(domain: Domain, **values: list) -> list[str]:
    sides = {
        name.replace("_", "-"): (math.nan, list(map(sympy.sympify, given))) for name, given in values.items()
    }
    return list(contradictions(domain, dict(zip(domain.axes, sympy.symbols("x y t", real=True))), sides))


def test_values_on_domains_that_are_no_boxes() -> None:
    x, y = sympy.symbols("x y", real=True)
    assert differing(SQUARE, floor=[0], west=[y], top=[1 - x], east=[0]) == []
    (told,) = differing(SQUARE, floor=[0], east=[1])
    assert told == "floor gives 0 and east gives 1 where they meet (x = 1, y = 0)"
    assert differing(BITTEN, bite=[1], x_=[sympy.cos(2 * sympy.pi * (y - 0.2) / 0.6)]) == []
    (told,) = differing(BITTEN, bite=[1], x_=[1 + 10 * (y - 0.2)])
    assert told.endswith("bite gives 1 and x- gives 7 where they meet (x = 0, y = 0.8)")
    assert differing(Ball(1.0, x=0.0) | Box(x=(0.0, 2.0)), rim=[0], x_=[1]) == []


def test_the_start_and_the_rim() -> None:
    x, y, t = sympy.symbols("x y t", real=True)
    domain = Cylinder(Ball(1.0, x=0.0, y=0.0), t=(0.5, 1.0))
    assert differing(domain, rim=[t * x], t_=[x / 2, x]) == []
    (told,) = differing(domain, rim=[t * x], t_=[x / 2, 3 * x])
    assert "derivative 1 along t and t- gives" in told
    (told,) = differing(domain, rim=[1], t_=[x**2 + 2 * y**2])
    assert "rim gives 1 and t- gives" in told
