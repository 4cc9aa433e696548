"""Formulas as text: read as they were written, and nothing else is read."""

from __future__ import annotations

import math

import pytest
import sympy

from pdeflow.errors import InvalidInput, UnsafeFile
from pdeflow.fields import MLP, HardConditions
from pdeflow.fields.expression_text import expression_text, read_expression

X, T = sympy.symbols("x t", real=True)
AT = {"x": X, "t": T}


@pytest.mark.parametrize(
    "formula",
    [
        sympy.Integer(0),
        0.1 * X**2 * sympy.cos(math.pi * X) - sympy.Rational(1, 3),
        sympy.exp(-T) * sympy.sin(sympy.pi * X) / (1 + X**2),
        sympy.sqrt(1 + X**2) + sympy.tanh(T) ** 3 + sympy.log(2 + sympy.cosh(X)) + sympy.erf(T) + abs(X),
        sympy.tan(X) + sympy.sinh(T) + sympy.E,
    ],
)
def test_what_is_written_is_read(formula: sympy.Expr) -> None:
    again = read_expression(expression_text(formula, AT), AT)
    for x, t in ((0.3, 0.7), (-0.9, 0.1)):
        assert float((again - formula).subs({X: x, T: t})) == 0.0
    assert again.free_symbols == formula.free_symbols


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "x.__class__",
        "Symbol('z')",
        "Symbol(['x'])",
        "Lambda(Symbol('x'), Symbol('x'))",
        "Function('f')(Symbol('x'))",
        "Add(*[Integer(1)])",
        "sin(Symbol('x'), evaluate=False)",
        "sin(Symbol('x'), Symbol('x'))",
        "Integer('3')",
        "Integer(True)",
        "Rational(1, 0)",
        "Float('inf')",
        "Float('1e400')",
        "1 + 1",
        "",
        "Add(" * 3000 + ")" * 3000,
        # What SymPy would work out at once, until the memory is full.
        "Pow(Integer(9), Integer(1000000000))",
        "Pow(Pow(Pow(Pow(Integer(9), Integer(99)), Integer(99)), Integer(99)), Integer(99))",
        "sin(exp(exp(Float('1e300'))))",
        "Pow(Mul(Integer(9), Symbol('x')), Integer(1000000000))",
        "Pow(Mul(Integer(9), Symbol('x')), Rational(1000000001, 2))",
        "Pow(" * 4 + "Mul(Integer(9), Symbol('x'))" + ", Integer(99))" * 4,
        "Pow(Integer(9), Mul(Integer(1000000000), Symbol('x')))",
        "exp(Mul(Integer(1000000000), log(Integer(9))))",
        "Pow(E, Mul(Integer(1000000000), log(Integer(9))))",
        f"Integer({2**2000})",
        "Add(" + "Symbol('x'), " * 30000 + "Symbol('x'))",
    ],
)
def test_nothing_else_is_read(text: str) -> None:
    with pytest.raises(UnsafeFile, match="a formula"):
        read_expression(text, AT)


def test_what_is_too_long_is_not_looked_at() -> None:
    with pytest.raises(UnsafeFile, match="1000000 characters at most"):
        read_expression(" " * 1_000_001, AT)


@pytest.mark.parametrize("formula", [sympy.Max(X, 0), sympy.Function("f")(X), sympy.Symbol("z") + X])
def test_what_could_not_be_read_is_not_written(formula: sympy.Expr) -> None:
    with pytest.raises(InvalidInput, match=r"expected a formula of x, t and elementary functions"):
        expression_text(formula, AT)


@pytest.mark.parametrize("name", ["x; import os", "1x", 3])
def test_names_of_coordinates_are_names(name: object) -> None:
    network = MLP([0.0], [1.0])
    with pytest.raises(InvalidInput, match=r"HardConditions.coordinates"):
        HardConditions.from_formulas(network, [name], ["Integer(0)"], ["Integer(1)"])  # type: ignore[list-item]
