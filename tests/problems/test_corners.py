"""Values on sides that meet agree there, or are told of."""

from __future__ import annotations

import sympy

from pdeflow.problems import Box
from pdeflow.problems.corners import contradictions

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
