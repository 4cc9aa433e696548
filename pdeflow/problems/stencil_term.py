"""The unknown of a grid in place of its values: a residual of it is the stencil of its linear part.

A term holds one coefficient for each neighbour that it depends on, and goes through differences, averages and
products with what is known like values do (:mod:`~pdeflow.problems.grid_function`), each once; what does not
depend on the unknown falls away. Two such terms multiplied, or a function of one, would not be linear.
Numbers are kept apart from the values that they multiply until the stencil is written down: spacings, signs
and weights then cost no pass over the grid.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pdeflow.grid import Grid
from pdeflow.problems.closed_grid import closed_ends
from pdeflow.problems.grid_function import GridFunction
from pdeflow.problems.staggered_term import Operation, Term

Offset = tuple[int, ...]


class DependsNonlinearly(Exception):
    """Something other than a linear function of the unknown was asked for."""


@dataclass(frozen=True)
class Coefficient:
    """A number times values (batch or 1, n1 or 1, ..., nd or 1); values that are None are 1."""

    number: complex
    values: Tensor | None = None

    def write(self, out: Tensor) -> None:
        """Write it into ``out`` (batch, n1, ..., nd)."""
        if self.values is None:
            out.fill_(self.number)
        else:
            torch.mul(self.values.expand_as(out), self.number, out=out)

    @property
    def is_complex(self) -> bool:
        """Whether it is no real number or function."""
        return isinstance(self.number, complex) or (self.values is not None and self.values.is_complex())

    def map(self, function: Callable[[Tensor], Tensor]) -> Coefficient:
        """A linear ``function`` of the values, which does not change what is 1 everywhere."""
        return self if self.values is None else replace(self, values=function(self.values))

    def __add__(self, other: Coefficient) -> Coefficient:
        a, b = (other, self) if self.values is None else (self, other)
        if a.values is None:
            return Coefficient(a.number + b.number)
        if a.number == 0:
            return b
        ratio = b.number / a.number
        if b.values is None:
            return Coefficient(a.number, a.values + ratio)
        if isinstance(ratio, complex):  # torch adds no complex multiples of what is real
            return Coefficient(1.0, a.values * a.number + b.values * b.number)
        return Coefficient(a.number, torch.add(a.values, b.values, alpha=ratio))


class StencilTerm(Term):
    """``sum_o c_o(x) u(x + o)`` at one kind of place.

    Parameters
    ----------
    coefficients
        Offset o in half spacings to c_o.
    grid
        The grid.
    first
        As of :class:`Term`; an integer along every axis.
    sizes
        How many places there are along each axis.
    one
        A 1 of shape (1, ..., 1), in place of values: it says on which device and in which precision.
    """

    def __init__(
        self,
        coefficients: Mapping[Offset, Coefficient],
        grid: Grid,
        first: tuple[int | None, ...],
        sizes: tuple[int, ...],
        one: Tensor,
    ) -> None:
        super().__init__(one, grid, first)
        self.coefficients, self.sizes = dict(coefficients), sizes

    def map(self, function: Callable[[Tensor], Tensor]) -> StencilTerm:
        """Of the functions of values, minus alone is linear."""
        if function is not operator.neg:
            raise DependsNonlinearly
        return self._keeping(self._each(lambda c: replace(c, number=-c.number)), lambda slope: -slope)

    def scaled(self, operation: Operation, number: object) -> StencilTerm:
        """Times a number, or over it."""
        if operation not in (operator.mul, operator.truediv):
            raise DependsNonlinearly
        if isinstance(number, Tensor) or number == 0:  # Python raises where it divides by 0, tensors do not
            term = self._each(lambda c: replace(c, values=operation(self._of(c), number)))
        else:
            term = self._each(lambda c: replace(c, number=operation(c.number, number)))
        return self._keeping(term, lambda slope: slope.scaled(operation, number))

    def _each(self, function: Callable[[Coefficient], Coefficient]) -> StencilTerm:
        changed = {offset: function(c) for offset, c in self.coefficients.items()}
        return self._with(changed, self.first, self.sizes)

    def _with(
        self,
        coefficients: Mapping[Offset, Coefficient],
        first: tuple[int | None, ...],
        sizes: tuple[int, ...],
    ) -> StencilTerm:
        return StencilTerm(coefficients, self.grid, first, sizes, self.values)

    def _of(self, c: Coefficient) -> Tensor:
        """The values of a coefficient, where something has to be done to them that numbers do not know."""
        return self.values if c.values is None else c.values

    def places(self, k: int) -> int:
        """How many there are along axis k."""
        return self.sizes[k]

    def at(self, k: int, end: int, number: int = 0) -> StencilTerm:
        """The term at one place, counted from an end of axis k; offsets along the axis start at the end."""
        if self.first[k] is None:
            return self
        index = self.sizes[k] - 1 - number if end else number
        found = {
            (*o[:k], o[k] + 2 * number * (-1 if end else 1), *o[k + 1 :]): c.map(
                lambda values: values if values.shape[k + 1] == 1 else values.narrow(k + 1, index, 1)
            )
            for o, c in self.coefficients.items()
        }
        first, sizes = (
            (*self.first[:k], None, *self.first[k + 1 :]),
            (*self.sizes[:k], 1, *self.sizes[k + 1 :]),
        )
        term = self._with(found, first, sizes)
        return self._keeping(term, lambda slope: slope.at(k, end, number), but=k)

    def average(self, k: int) -> StencilTerm:
        """The mean of neighbours along axis k."""
        mean = self._neighbours(k, 2.0, 2.0, lambda end: self.at(k, end), (2.0, 0.0))
        return self._keeping(mean, lambda slope: slope.average(k), but=k)

    def difference(self, k: int) -> StencilTerm:
        """The difference of neighbours along axis k over the spacing."""
        h = self.grid.spacing[k]
        step = self._neighbours(k, -h, h, lambda end: self.slope(k, end), (2.0, 2.0))
        return self._keeping(step, lambda slope: slope.difference(k), but=k)

    def _neighbours(
        self, k: int, left: float, right: float, at_end: Callable[[int], Term], shares: tuple[float, float]
    ) -> StencilTerm:
        """What is at the left over one number and what is at the right over another, half-way between.

        ``at_end`` gives what faces at closed ends are, ``shares`` by what the outer and the inner neighbour
        of a node there are multiplied.
        """
        place, dim, size = self.first[k], k + 1, self.sizes[k]
        assert place is not None
        closed, to_faces = closed_ends(self.grid, k), place % 2 == 0
        periodic = self.grid.periodic[k]
        found: dict[Offset, Coefficient] = {}
        for side, divisor in ((0, left), (1, right)):
            # Round the seam the face after a node has its number, the node after a face the next one's.
            shift = (side if place == 0 else side - 1) if periodic else side
            for offset, c in self.coefficients.items():
                values = c.values
                if values is None or values.shape[dim] == 1:
                    there = values
                elif periodic:
                    there = values.roll(-shift, dim) if shift else values
                else:
                    there = values.narrow(dim, side, size - 1)
                value = Coefficient(c.number / divisor, there)
                if any(closed):
                    values = self._of(value)
                    if to_faces:
                        values = _padded(values, dim, size - 1, *closed)
                    else:
                        outer, inner = shares if side == 0 else (shares[1], shares[0])
                        values = _weighted(values, dim, size - 1, closed, (outer, inner))
                    value = replace(value, values=values)
                o = (*offset[:k], offset[k] + 2 * side - 1, *offset[k + 1 :])
                found[o] = found[o] + value if o in found else value
        count = size if periodic else size - 1
        where = (1 - place) if periodic else place + 1
        if to_faces and any(closed):
            for end in (0, 1):
                if closed[end]:
                    self._add_end(found, k, end, at_end(end))
            where, count = where - 2 * closed[0], count + sum(closed)
        sizes = (*self.sizes[:k], count, *self.sizes[k + 1 :])
        first = (*self.first[:k], where, *self.first[k + 1 :])
        return self._with(found, first, sizes)

    def _add_end(self, found: dict[Offset, Coefficient], k: int, end: int, term: Term) -> None:
        """Add what the face at a closed end is, to coefficients that have room for it."""
        if not isinstance(term, StencilTerm):  # it does not depend on the unknown
            return
        size = self.sizes[k] - 1 + sum(closed_ends(self.grid, k))
        for o, c in term.coefficients.items():
            # The face lies half a spacing outside of the end, from which o counts.
            offset = (*o[:k], o[k] + (-1 if end else 1), *o[k + 1 :])
            before, after = (size - 1, 0) if end else (0, size - 1)
            values = self._of(c)
            padded = torch.nn.functional.pad(values, _padding(values.ndim, k + 1, before, after))
            value = replace(c, values=padded)
            found[offset] = found[offset] + value if offset in found else value

    def narrowed(self, k: int, low: int, high: int) -> StencilTerm:
        """The entries of axis k whose places lie in low..high, both included."""
        first = self.first[k]
        if first is None:
            return self
        start, size = (low - first) // 2, (high - low) // 2 + 1
        kept = {
            o: c.map(lambda values: values if values.shape[k + 1] == 1 else values.narrow(k + 1, start, size))
            for o, c in self.coefficients.items()
        }
        places, sizes = (
            (*self.first[:k], low, *self.first[k + 1 :]),
            (*self.sizes[:k], size, *self.sizes[k + 1 :]),
        )
        term = self._with(kept, places, sizes)
        return self._keeping(term, lambda slope: slope.narrowed(k, low, high))

    def joined(self, other: Term, operation: Operation, first: tuple[int | None, ...]) -> StencilTerm:
        """This and another term at the same places, in this order."""
        if operation is operator.add:
            if not isinstance(other, StencilTerm):
                return self
            found = dict(self.coefficients)
            for o, c in other.coefficients.items():
                found[o] = found[o] + c if o in found else c
            return self._with(found, first, self.sizes)
        if isinstance(other, StencilTerm) or operation not in (operator.mul, operator.truediv):
            raise DependsNonlinearly
        changed = {
            o: replace(c, values=other.values)
            if c.values is None and operation is operator.mul
            else replace(c, values=operation(self._of(c), other.values))
            for o, c in self.coefficients.items()
        }
        return self._with(changed, first, self.sizes)

    def joined_to(self, other: Term, operation: Operation, first: tuple[int | None, ...]) -> StencilTerm:
        """The same in the other order, ``other`` not depending on the unknown."""
        if operation not in (operator.add, operator.mul):
            raise DependsNonlinearly
        return self.joined(other, operation, first)


def _padding(ndim: int, dim: int, before: int, after: int) -> tuple[int, ...]:
    """What torch's pad is told to add along one dimension."""
    return (0, 0) * (ndim - 1 - dim) + (before, after)


def _padded(c: Tensor, dim: int, size: int, low: bool, high: bool) -> Tensor:
    """Zeros for the faces at closed ends, beside what has ``size`` places or is constant."""
    full = c.expand(*c.shape[:dim], size, *c.shape[dim + 1 :])
    return torch.nn.functional.pad(full, _padding(c.ndim, dim, int(low), int(high)))


def _weighted(
    c: Tensor, dim: int, size: int, closed: tuple[bool, bool], shares: tuple[float, float]
) -> Tensor:
    """Times a share at the node of a lower and of an upper closed end."""
    factors = torch.ones(size, dtype=torch.float64, device=c.device)
    factors[:1] *= shares[0] if closed[0] else 1.0
    factors[-1:] *= shares[1] if closed[1] else 1.0
    return c * factors.reshape(-1, *(1,) * (c.ndim - 1 - dim))


def unknown_function(grid: Grid, device: torch.device | None = None) -> GridFunction:
    """The unknown at all nodes."""
    one = torch.ones((1,) * (grid.dim + 1), dtype=torch.float64, device=device)
    none = (0,) * grid.dim
    return GridFunction([StencilTerm({none: Coefficient(1.0)}, grid, none, grid.points, one)])
