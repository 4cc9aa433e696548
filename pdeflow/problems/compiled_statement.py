"""Residuals and conditions compiled from symbols to functions of derivatives at points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
        ready = [expression.xreplace(replaced) for expression in expanded]
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
        self.needs = tuple(key for key, symbol in atoms.items() if symbol in used)
        symbols = [atoms[key] for key in self.needs]
        self._function = sympy.lambdify(
            [*axes, *scalars.values(), *symbols], ready, modules=[_TABLE], cse=True
        )

    @property
    def wanted(self) -> tuple[MultiIndex, ...]:
        """The derivatives that are needed, of whichever unknown."""
        return tuple(dict.fromkeys(index for _, index in self.needs))

    def __call__(
        self, points: Tensor, derivatives: Mapping[MultiIndex, Tensor], scalars: Mapping[str, Any]
    ) -> Tensor:
        """Values (N, expressions) at points (N, d), from derivatives that are (N, unknowns) each."""
        values = self._function(
            *points.unbind(1),
            *(scalars[name] for name in self.scalars),
            *(derivatives[index][:, number] for number, index in self.needs),
        )
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
