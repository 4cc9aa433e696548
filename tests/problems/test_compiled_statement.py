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
