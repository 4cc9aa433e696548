r"""Rates that are linear and quadratic in one unknown, as sums of multipliers: each transform is made once.

Burgers, Kuramoto-Sivashinsky, Korteweg-de Vries and Navier-Stokes are all of the form

.. math:: \hat r(k) = l(k) \hat u(k) + \hat f(k) + \sum_j m_j(k) \widehat{(a_j u)(b_j u)}(k),

with Fourier multipliers l, m, a, b; products with the same m are added up before they are transformed. The
statement is run once on a `Trace` of the unknown, which reads them off; what is neither of these (a cube, a
quotient, a coefficient that varies) raises `NotQuadratic`, and is evaluated by `SpectralFunction` as it
stands.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.problems.bandwidth import resized
from pdeflow.problems.calculus import Function, Names, check_axis, check_operand
from pdeflow.problems.spectral_function import (
    SpectralFunction,
    at_nodes,
    fine_points,
    from_nodes,
    inverse_laplacian_multiplier,
    kept_modes,
    multiplier,
)

ROUNDING = 1e-13
"""Relative to the symbol: what is left of the linear terms when those integrated exactly are taken out."""


Pair = tuple[int, int, int]
"""Numbers of two factors, and the sign of their product."""


class NotQuadratic(Exception):
    """The expression is not of the form above."""


@dataclass(frozen=True, eq=False)
class Trace(Function):
    """An expression in the unknown: a number, or a sum of what is known, linear and quadratic.

    Tensors are (batch or 1, *modes), of a number (batch or 1, 1, ..., 1). A product has its multiplier and
    those of the unknown in its two factors.
    """

    grid: Grid
    number: Tensor | None = None
    known: Tensor | None = None
    linear: Tensor | None = None
    products: tuple[tuple[Tensor, Tensor, Tensor], ...] = ()

    @classmethod
    def unknown(cls, grid: Grid, device: torch.device) -> Trace:
        """The unknown itself."""
        return cls(grid, linear=torch.ones((1,) * (grid.dim + 1), dtype=torch.complex128, device=device))

    @classmethod
    def parameter(cls, function: SpectralFunction) -> Trace:
        """A number or a field that is known."""
        if function.varies:
            return cls(function.grid, known=function.coefficients)
        return cls(function.grid, number=function.coefficients)

    def _all(self, change: Callable[[Tensor], Tensor]) -> Trace:
        """Every term with another multiplier."""
        if self.number is not None:
            return replace(self, number=change(self.number))
        return Trace(
            self.grid,
            known=None if self.known is None else change(self.known),
            linear=None if self.linear is None else change(self.linear),
            products=tuple((change(m), a, b) for m, a, b in self.products),
        )

    @property
    def _factor(self) -> Tensor:
        """The multiplier of what is linear and nothing else."""
        if self.linear is None or self.known is not None or self.products:
            raise NotQuadratic
        return self.linear

    def map(self, function: Callable[[Tensor], Tensor]) -> Trace:
        """``function`` of a number; of what varies, only the sign may change."""
        if self.number is None and function is not operator.neg:
            raise NotQuadratic
        return self._all(function)

    def derivative(self, axis: str, order: int) -> Trace:
        """The derivative along the named axis."""
        check_axis(axis, self.grid.axes)
        if self.number is not None:
            return replace(self, number=torch.zeros_like(self.number))
        index = self.grid.axes.index(axis)
        return self._all(lambda m: m * multiplier(self.grid, index, order, m.device))

    def inverse_laplacian(self, axes: Sequence[str]) -> Trace:
        """See :func:`~pdeflow.problems.calculus.inverse_laplacian`."""
        if tuple(axes) != self.grid.axes:
            raise InvalidInput("axes of inverse_laplacian", tuple(axes), f"all axes, {self.grid.axes}")
        if self.number is not None:
            return replace(self, number=torch.zeros_like(self.number))
        return self._all(lambda m: m * inverse_laplacian_multiplier(self.grid, m.device))

    def _combine(self, other: Any, operation: Callable[[Any, Any], Any]) -> Trace:
        if not isinstance(other, Trace):
            check_operand(other)
            if operation is operator.pow and other == 2 and self.number is None:
                return self._combine(self, operator.mul)
            value = torch.as_tensor(other, dtype=torch.float64, device="cpu")
            other = Trace(self.grid, number=value.reshape((1,) * (self.grid.dim + 1)))
        if self.number is not None and other.number is not None:
            there = other.number.to(self.number.device) if other.number.numel() == 1 else other.number
            return replace(self, number=operation(self.number, there))
        if operation is operator.sub:
            return self._combine(-other, operator.add)
        if operation is operator.add:
            return self._plus(other)
        factor = other.number
        if factor is not None and operation in (operator.mul, operator.truediv):
            return self._all(lambda m: operation(m, factor.to(m.device)))
        if operation is not operator.mul:
            raise NotQuadratic
        if self.number is not None:
            return other._combine(self, operation)
        one = torch.ones((1,) * (self.grid.dim + 1), dtype=torch.complex128, device=self._factor.device)
        return Trace(self.grid, products=((one, self._factor, other._factor),))

    def _plus(self, other: Trace) -> Trace:
        if self.number is not None:
            return other._plus(self)
        if other.number is not None:
            if bool((other.number == 0).all()):  # where ``sum`` begins
                return self
            raise NotQuadratic  # another constant is of mode 0 alone, not of every mode
        return Trace(
            self.grid,
            known=_sum(self.known, other.known),
            linear=_sum(self.linear, other.linear),
            products=self.products + other.products,
        )


def _sum(a: Tensor | None, b: Tensor | None) -> Tensor | None:
    return b if a is None else a if b is None else a + b


class QuadraticRest:
    """The rate without its symbol, from the trace of it, of coefficients (n, *modes).

    Raises
    ------
    NotQuadratic
        If the trace is a number.
    """

    def __init__(self, rate: Trace, symbol: Tensor) -> None:
        if rate.number is not None:
            raise NotQuadratic
        self.grid, self.known = rate.grid, rate.known
        linear = torch.zeros_like(symbol) if rate.linear is None else rate.linear
        left = linear - symbol
        left = torch.where(left.abs() <= ROUNDING * symbol.abs(), 0.0, left)
        self.left = left if bool((left != 0).any()) else None
        self.factors: list[Tensor] = []
        multipliers: dict[tuple[int, int], Tensor] = {}
        for m, a, b in rate.products:
            first, second = sorted((self._place(a), self._place(b)))
            held = multipliers.get((first, second))
            multipliers[first, second] = m if held is None else held + m
        self.products: list[tuple[tuple[Pair, ...], Tensor]] = []
        for (first, second), m in multipliers.items():
            self._join(first, second, m)
        self.plain = [bool((factor == 1).all()) for factor in self.factors]

    @classmethod
    def of(
        cls, rate: Callable[[Any, Any], Any], grid: Grid, p: Mapping[str, SpectralFunction], symbol: Tensor
    ) -> QuadraticRest:
        """That of a statement in one unknown."""
        parameters = Names("parameter", {name: Trace.parameter(function) for name, function in p.items()})
        found = rate(Trace.unknown(grid, symbol.device), parameters)
        if not isinstance(found, Trace):
            raise NotQuadratic
        return cls(found, symbol)

    def _changed(self, grid: Grid, change: Callable[[Tensor], Tensor]) -> QuadraticRest:
        """On another grid, with other tensors (batch or 1, *modes) of what multiplies."""
        part = copy.copy(self)
        part.grid = grid
        part.factors = [change(m) for m in self.factors]
        part.products = [(pairs, change(m)) for pairs, m in self.products]
        part.left = None if self.left is None else change(self.left)
        part.known = None if self.known is None else change(self.known)
        return part

    def rows(self, rows: Tensor) -> QuadraticRest:
        """Of the samples with these numbers."""
        return self._changed(self.grid, lambda m: m if len(m) == 1 else m[rows])

    def on(self, grid: Grid) -> QuadraticRest:
        """On another grid of the same box."""
        highest = kept_modes(self.grid)
        modes = (*(2 * k + 1 for k in highest[:-1]), highest[-1] + 1)
        return self._changed(grid, lambda m: resized(m.expand(-1, *modes), self.grid, grid))

    def _join(self, first: int, second: int, m: Tensor) -> None:
        """Take a product to those with the same multiplier, but perhaps for its sign."""
        for number, (pairs, held) in enumerate(self.products):
            for sign in (1, -1):
                if held.shape == m.shape and torch.equal(held, sign * m):
                    self.products[number] = ((*pairs, (first, second, sign)), held)
                    return
        self.products.append((((first, second, 1),), m))

    def _place(self, factor: Tensor) -> int:
        for place, held in enumerate(self.factors):
            if held.shape == factor.shape and torch.equal(held, factor):
                return place
        self.factors.append(factor)
        return len(self.factors) - 1

    def __call__(self, v: Tensor) -> Tensor:
        """Of coefficients (n, *modes)."""
        highest, fine = kept_modes(self.grid), fine_points(self.grid)
        values = [
            at_nodes(v if plain else factor * v, highest, fine)
            for factor, plain in zip(self.factors, self.plain)
        ]
        total = None if self.left is None else self.left * v
        for ((first, second, _), *others), m in self.products:
            at = values[first] * values[second]
            for i, j, sign in others:
                at = torch.addcmul(at, values[i], values[j], value=sign)
            part = from_nodes(at, self.grid.dim, highest)
            total = m * part if total is None else torch.addcmul(total, m.expand_as(part), part)
        if self.known is not None:
            total = self.known if total is None else total + self.known
        return torch.zeros_like(v) if total is None else total.expand_as(v)
