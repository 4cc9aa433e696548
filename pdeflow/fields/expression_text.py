"""Formulas of coordinates as text, read without evaluating anything.

The text is SymPy's ``srepr``. What reads it knows sums, products, powers, numbers, the coordinates, and the
elementary functions; it is safe for files from anybody, which ``sympy.sympify`` is not.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping
from typing import Any

import sympy

from pdeflow.errors import InvalidInput, UnsafeFile

LONGEST = 1_000_000
"""Characters of a formula."""

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sin": sympy.sin,
    "cos": sympy.cos,
    "tan": sympy.tan,
    "atan": sympy.atan,
    "sinh": sympy.sinh,
    "cosh": sympy.cosh,
    "tanh": sympy.tanh,
    "exp": sympy.exp,
    "log": sympy.log,
    "erf": sympy.erf,
    "Abs": sympy.Abs,
}
_CONSTANTS: dict[str, sympy.Expr] = {"pi": sympy.pi, "E": sympy.E}
_LARGEST = 1e300
_EXPONENT, _BITS = 100, 1024
"""Of exponents and of whole numbers. SymPy works out powers of numbers at once, also of those among the
factors of a base: 9**9**9 would fill the memory."""
_PARTS = 20_000
"""Of a formula."""


def expression_text(expression: sympy.Expr, coordinates: Mapping[str, sympy.Symbol]) -> str:
    """The text of a formula, to be read by `read_expression`.

    Raises
    ------
    InvalidInput
        If it has something in it that would not be read.
    """
    text = sympy.srepr(expression)
    try:
        read_expression(text, coordinates)
    except UnsafeFile as error:
        expected = f"a formula of {', '.join(coordinates)} and elementary functions"
        raise InvalidInput("formula to store", str(expression), expected, str(error)) from error
    return text


def read_expression(text: str, coordinates: Mapping[str, sympy.Symbol]) -> sympy.Expr:
    """The formula that `expression_text` wrote.

    Parameters
    ----------
    text
        As stored.
    coordinates
        The symbols that there may be, by name.

    Raises
    ------
    UnsafeFile
        If it is anything but such a formula.
    """
    if not isinstance(text, str) or len(text) > LONGEST:
        raise UnsafeFile(f"a formula: got {str(text)!r:.80}, expected text of {LONGEST} characters at most.")
    try:
        tree = ast.parse(text, mode="eval")
        if sum(isinstance(node, ast.Call) for node in ast.walk(tree)) > _PARTS:
            raise ValueError(f"it has more than {_PARTS} parts")
        return _read(tree.body, coordinates)
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
        raise UnsafeFile(f"a formula: got {text!r:.80}, which cannot be read ({error}).") from error


def _read(node: ast.expr, coordinates: Mapping[str, sympy.Symbol]) -> sympy.Expr:
    if isinstance(node, ast.Name) and node.id in _CONSTANTS:
        return _CONSTANTS[node.id]
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        raise ValueError(f"no place for {ast.unparse(node)[:40]!r}")
    kind, given = node.func.id, node.args
    if kind == "Symbol":
        name = ast.literal_eval(given[0]) if len(given) == 1 else None
        if not isinstance(name, str) or name not in coordinates:
            raise ValueError(f"{name!r} is not one of the coordinates {', '.join(coordinates)}")
        return coordinates[name]
    if kind in ("Integer", "Rational", "Float"):
        return _number(kind, [ast.literal_eval(part) for part in given])
    parts = [_read(part, coordinates) for part in given]
    if node.keywords:
        raise ValueError(f"{kind} with keywords")
    return _checked(_made(kind, parts))


def _made(kind: str, parts: list[sympy.Expr]) -> sympy.Expr:
    """What SymPy makes of parts whose numbers are small."""
    if kind in ("Add", "Mul"):
        return sympy.Add(*parts) if kind == "Add" else sympy.Mul(*parts)
    if kind == "Pow" and len(parts) == 2:
        return _power(*parts)
    if kind in _FUNCTIONS and len(parts) == 1:
        if parts[0].is_Float and not abs(parts[0]) <= _LARGEST:
            raise ValueError(f"{kind} of a number above {_LARGEST:g}")
        if kind == "exp" and parts[0].has(sympy.log):
            raise ValueError("exp of a logarithm, which is a power")
        return _FUNCTIONS[kind](parts[0])
    raise ValueError(f"{kind} of {len(parts)} arguments is not among what formulas are made of")


def _checked(made: sympy.Expr) -> sympy.Expr:
    """The expression, whose own numbers must be small; those of its parts have been looked at."""
    for part in (made, *made.args, *(p for a in made.args for p in a.args)):
        if isinstance(part, sympy.Rational) and max(part.p.bit_length(), part.q.bit_length()) > _BITS:
            raise ValueError(f"a number of more than {_BITS} bits")
    return made


def _number(kind: str, values: list[Any]) -> sympy.Expr:
    if kind == "Float" and len(values) == 1 and isinstance(values[0], str):
        value = float(values[0])
        if not math.isfinite(value):
            raise ValueError("a number that is not finite")
        return sympy.Float(value)
    wanted = 1 if kind == "Integer" else 2
    if kind == "Float" or len(values) != wanted or any(type(value) is not int for value in values):
        raise ValueError(f"{kind} of {values}")
    if kind == "Rational" and values[1] <= 0:
        raise ValueError("a denominator that is not positive")
    return _checked(sympy.Integer(values[0]) if kind == "Integer" else sympy.Rational(*values))


def _power(base: sympy.Expr, exponent: sympy.Expr) -> sympy.Expr:
    factor = exponent.as_coeff_Mul()[0]
    if not (factor.is_finite and abs(factor) <= _EXPONENT):
        raise ValueError(f"a power with a factor above {_EXPONENT} in the exponent")
    if base == sympy.E and exponent.has(sympy.log):
        raise ValueError("exp of a logarithm, which is a power")
    return sympy.Pow(base, exponent)
