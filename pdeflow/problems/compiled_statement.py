"""Residuals and conditions compiled from symbols to functions of derivatives at points."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import sympy
import torch
from sympy.core.function import Application, AppliedUndef
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.problems import calculus, symbolic
from pdeflow.problems.calculus import Names

if TYPE_CHECKING:
    from pdeflow.problems.problem import Problem

MultiIndex = tuple[int, ...]
"""How often to differentiate along each axis."""

_FUNCTIONS = ("sin", "cos", "tan", "atan", "sinh", "cosh", "tanh", "exp", "log", "sqrt", "erf")
_TABLE: dict[str, Any] = {name: getattr(calculus, name) for name in _FUNCTIONS}
_TABLE |= {"Abs": abs, "pi": math.pi, "I": 1j, "Heaviside": lambda value, _: calculus.step(value)}


class CompiledStatement:
    """Expressions in unknown functions, their derivatives, coordinates and numbers, as a function of tensors.

    Products under derivatives are expanded by SymPy, so that a flux form needs derivatives of the unknowns
    alone.

    Parameters
    ----------
    expressions
        Of the unknowns of ``unknowns``, of ``coordinates`` and of ``scalars``.
    unknowns
        Undefined functions of all coordinates.
    coordinates, scalars
        The symbols that there may be.

    Raises
    ------
    InvalidInput
        If there is anything else in them.

    Attributes
    ----------
    parts
        How many expressions there are.
    reads
        Names of the scalars that are in them.
    """

    def __init__(
        self,
        expressions: Sequence[sympy.Expr],
        unknowns: Sequence[sympy.Expr],
        coordinates: Mapping[str, sympy.Symbol],
        scalars: Mapping[str, sympy.Symbol],
    ) -> None:
        axes = list(coordinates.values())
        self.scalars, self.parts = tuple(scalars), len(expressions)
        expanded = [sympy.sympify(expression).doit() for expression in expressions]
        atoms: dict[tuple[int, MultiIndex], sympy.Dummy] = {}
        replaced: dict[sympy.Basic, sympy.Dummy] = {}
        for number, u in enumerate(unknowns):
            for expression in expanded:
                found: set[Any] = expression.atoms(sympy.Derivative) | {u}
                for atom in found:
                    if atom != u and atom.expr != u:
                        continue
                    counts = dict(atom.variable_count) if atom != u else {}
                    index = tuple(int(counts.get(axis, 0)) for axis in axes)
                    symbol = atoms.setdefault((number, index), sympy.Dummy(str(atom)))
                    replaced[atom] = symbol
        ready: list[Any] = [expression.xreplace(replaced) for expression in expanded]
        used = set().union(*(expression.free_symbols for expression in ready))
        known = {*axes, *scalars.values(), *atoms.values()}
        for expression in ready:
            strange = expression.atoms(AppliedUndef, sympy.Derivative) | (expression.free_symbols - known)
            strange |= {f for f in expression.atoms(Application) if f.func.__name__ not in _TABLE}
            if strange:
                expected = "unknowns, coordinates, parameters, and functions that have derivatives at points"
                jumps = any(isinstance(atom, sympy.DiracDelta) for atom in strange)
                hint = "What jumps has none: state each part by itself, and an Interface where they meet."
                got = ", ".join(sorted(map(str, strange)))
                raise InvalidInput("expression", got, expected, hint if jumps else "")
        self.reads = tuple(name for name, symbol in scalars.items() if symbol in used)
        self.needs = tuple(key for key, symbol in atoms.items() if symbol in used)
        symbols = [atoms[key] for key in self.needs]
        self._ready, self._symbols = ready, symbols
        self._arguments = [*axes, *scalars.values(), *symbols]
        self._function = self._compiled(ready)

    @property
    def wanted(self) -> tuple[MultiIndex, ...]:
        """The derivatives that are needed, of whichever unknown."""
        return tuple(dict.fromkeys(index for _, index in self.needs))

    def __call__(
        self, points: Tensor, derivatives: Mapping[MultiIndex, Tensor], scalars: Mapping[str, Any]
    ) -> Tensor:
        """Values (N, expressions) at points (N, d), from derivatives that are (N, unknowns) each."""
        return self._columns(self._function, points, derivatives, scalars)

    def evaluate(
        self,
        at: Sequence[Any],
        derivatives: Mapping[tuple[int, MultiIndex], Any],
        scalars: Mapping[str, Any],
    ) -> list[Any]:
        """The expressions, of whatever the functions of :mod:`~pdeflow.problems.calculus` take.

        Parameters
        ----------
        at
            The coordinates, in their order.
        derivatives
            By number of the unknown and how often to differentiate: those of ``needs``.
        scalars
            By name.
        """
        return self._values(self._function, at, derivatives, scalars)

    def sizes(
        self, points: Tensor, derivatives: Mapping[MultiIndex, Tensor], scalars: Mapping[str, Any]
    ) -> tuple[Tensor, Tensor]:
        """How large the terms of each expression are at points, (N, expressions) twice.

        The sum of the absolute values of the terms with an unknown, products multiplied out; and the absolute
        value of what has none, which is one term, as on the right-hand side of an equation. Arguments are as
        of a call.
        """
        function, owners = self._terms
        terms = self._columns(function, points, derivatives, scalars).abs()
        own = terms.new_zeros(len(terms), self.parts).index_add(
            1, owners.to(terms.device), terms[:, self.parts :]
        )
        return own, terms[:, : self.parts]

    @functools.cached_property
    def _terms(self) -> tuple[Callable[..., Any], Tensor]:
        """What gives the part without unknowns of each expression, then all terms; whose these are."""
        given, terms, owners = [], [], []
        for number, expression in enumerate(self._ready):
            rest, own = expression.as_independent(*self._symbols, as_Add=True)
            for term in sympy.Add.make_args(sympy.expand_mul(own)):
                if term.has(*self._symbols):
                    terms.append(term)
                    owners.append(number)
                else:
                    rest += term
            given.append(rest)
        return self._compiled([*given, *terms]), torch.tensor(owners, dtype=torch.int64, device="cpu")

    def _compiled(self, expressions: Sequence[sympy.Expr]) -> Callable[..., Any]:
        return sympy.lambdify(self._arguments, list(expressions), modules=[_TABLE], cse=True)

    def _values(
        self,
        function: Callable[..., Any],
        at: Sequence[Any],
        derivatives: Mapping[tuple[int, MultiIndex], Any],
        scalars: Mapping[str, Any],
    ) -> list[Any]:
        known = (scalars[name] for name in self.scalars)
        return function(*at, *known, *(derivatives[key] for key in self.needs))

    def _columns(
        self,
        function: Callable[..., Any],
        points: Tensor,
        derivatives: Mapping[MultiIndex, Tensor],
        scalars: Mapping[str, Any],
    ) -> Tensor:
        needed = {(number, index): derivatives[index][:, number] for number, index in self.needs}
        values = self._values(function, points.unbind(1), needed, scalars)
        columns = (torch.as_tensor(value, dtype=points.dtype, device=points.device) for value in values)
        return torch.stack([column.expand(points.shape[0]) for column in columns], dim=1)


def compile_residual(problem: Problem, parameters: Mapping[str, Any]) -> CompiledStatement:
    """The residual of a problem; parameters are numbers, formulas of ``at``, or symbols that stay.

    Raises
    ------
    InvalidInput
        If an unknown does not appear in it, or none in one of its equations, or something that points do not
        have.
    """
    at = symbolic.coordinates(problem)
    scalars, values = {}, {}
    for name, value in parameters.items():
        if isinstance(value, sympy.Symbol):
            scalars[name] = value
        values[name] = value(Names("coordinate", at)) if callable(value) else value
    us = symbolic.unknowns(problem)
    parts, key = symbolic.residuals(problem, us, at, values), f"{type(problem).__name__}.residual"
    statement = CompiledStatement(parts, us, at, scalars)
    read = {number for number, _ in statement.needs}
    for number, name in enumerate(problem.fields):
        if number not in read:
            raise InvalidInput(key, f"an expression without {name}", f"one that depends on {name}")
    for number, part in enumerate(parts, 1):
        if not part.doit().has(*us):
            expected = f"{len(parts)} that depend on the unknowns {', '.join(problem.fields)}"
            raise InvalidInput(key, f"equation {number} without an unknown", expected)
    return statement
