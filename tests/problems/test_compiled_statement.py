"""Statements compiled to functions of derivatives at points."""

from __future__ import annotations

from typing import Any

import pytest
import sympy
import torch

from pdeflow.errors import InvalidInput
from pdeflow.problems import Box, D, Dirichlet, Problem
from pdeflow.problems.calculus import exp, sin
from pdeflow.problems.compiled_statement import CompiledStatement, compile_residual

X, Y, K = sympy.symbols("x y k", real=True)
U = sympy.Function("u")(X, Y)
AT = {"x": X, "y": Y}


class Flux(Problem):
    """A flux form with a coefficient that depends on position, and a term that is not linear."""

    domain = Box(x=(0.0, 1.0), y=(0.0, 2.0))
    conditions = (Dirichlet(0.0),)

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        a = exp(at.x * at.y)
        return D(a * D(u, "x"), "x") + D(D(u, "x"), "y") - u**3 + sin(at.y)


def test_it_is_the_residual_by_automatic_differentiation() -> None:
    points = torch.rand(9, 2, dtype=torch.float64)
    statement = compile_residual(Flux(), {})
    assert set(statement.wanted) == {(0, 0), (1, 0), (2, 0), (1, 1)}
    x, y = points.unbind(1)
    s, c = torch.sin(2 * x + y), torch.cos(2 * x + y)  # u and its derivatives
    derivatives = {(0, 0): s, (1, 0): 2 * c, (2, 0): -4 * s, (1, 1): -2 * s}
    found = statement(points, {index: value[:, None] for index, value in derivatives.items()}, {})
    expected = Flux().residual_at_points(lambda z: torch.sin(2 * z[:, 0] + z[:, 1]), points, {})
    torch.testing.assert_close(found, expected[:, None])


def test_constants_are_made_where_the_points_are() -> None:
    statement = CompiledStatement([sympy.Integer(3), U * K], [U], AT, {"k": K})
    with torch.device("meta"):
        points, values = torch.zeros(5, 2), torch.zeros(5, 1)
    found = statement(points, {(0, 0): values}, {"k": 2.0})
    assert (found.device.type, tuple(found.shape)) == ("meta", (5, 2))
    values = torch.tensor([[1.0], [2.0]])
    found = statement(torch.zeros(2, 2), {(0, 0): values}, {"k": 2.0})
    assert found.tolist() == [[3.0, 2.0], [3.0, 4.0]]


def test_sizes_are_those_of_the_terms() -> None:
    """Products multiplied out; what has no unknown is one term, whatever it is made of."""
    slope = sympy.Derivative(U, X)
    first = 2 * slope - U * (U - 3 * X) + X * (Y - U) + sympy.exp(Y)
    statement = CompiledStatement([first, K * U, sympy.sin(X) - Y], [U], AT, {"k": K})
    points = torch.rand(9, 2, dtype=torch.float64) - 0.5
    x, y = points.unbind(1)
    u, u_x = torch.randn(9, dtype=torch.float64), torch.randn(9, dtype=torch.float64)
    found = statement.sizes(points, {(0, 0): u[:, None], (1, 0): u_x[:, None]}, {"k": -2.0})
    own = (2 * u_x).abs() + (u**2).abs() + (2 * u * x).abs()
    torch.testing.assert_close(found[0], torch.stack([own, (2 * u).abs(), 0 * u], dim=1))
    given = [(x * y + y.exp()).abs(), 0 * u, (x.sin() - y).abs()]
    torch.testing.assert_close(found[1], torch.stack(given, dim=1))
    # What is left never exceeds them.
    values = statement(points, {(0, 0): u[:, None], (1, 0): u_x[:, None]}, {"k": -2.0})
    assert bool((values.abs() <= found[0] + found[1] + 1e-12).all())


@pytest.mark.parametrize(
    ("expression", "name"),
    [
        (sympy.Max(U, 0), r"Max\(0, _u\(x, y\)\)"),
        (sympy.Function("v")(X, Y), r"v\(x, y\)"),
        (U + sympy.Symbol("z"), "z"),
        (sympy.Derivative(sympy.Function("v")(X, Y), X), "Derivative"),
    ],
)
def test_what_points_do_not_have(expression: sympy.Expr, name: str) -> None:
    with pytest.raises(InvalidInput, match=f"expression: got '.*{name}"):
        CompiledStatement([expression], [U], AT, {})
