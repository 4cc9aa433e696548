"""The unknown of a grid in place of its values: a residual of it is the stencil of its linear part.

A term holds one coefficient for each neighbour that it depends on, and goes through differences, averages and
products with what is known like values do (:mod:`~pdeflow.problems.grid_function`), each once; what does not
depend on the unknown falls away. Two such terms multiplied, or a function of one, would not be linear.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from pdeflow.grid import Grid
from pdeflow.problems.grid_function import GridFunction, Operation, Term

Offset = tuple[int, ...]


class DependsNonlinearly(Exception):
    """Something other than a linear function of the unknown was asked for."""


class StencilTerm(Term):
    """``sum_o c_o(x) u(x + o)`` at one kind of place.

    Parameters
    ----------
    coefficients
        Offset o in half spacings to c_o, (batch or 1, n1 or 1, ..., nd or 1).
    grid
        The grid.
    first
        As of :class:`Term`; an integer along every axis.
    sizes
        How many places there are along each axis.
    """

    def __init__(
        self,
        coefficients: Mapping[Offset, Tensor],
        grid: Grid,
        first: tuple[int | None, ...],
        sizes: tuple[int, ...],
    ) -> None:
        super().__init__(next(iter(coefficients.values())), grid, first)
        self.coefficients, self.sizes = dict(coefficients), sizes

    def map(self, function: Callable[[Tensor], Tensor]) -> StencilTerm:
        """Of the functions of values, minus alone is linear."""
        if function is not operator.neg:
            raise DependsNonlinearly
        return self._each(operator.neg)

    def scaled(self, operation: Operation, number: object) -> StencilTerm:
        """Times a number, or over it."""
        if operation not in (operator.mul, operator.truediv):
            raise DependsNonlinearly
        return self._each(lambda c: operation(c, number))

    def _each(self, function: Callable[[Tensor], Tensor]) -> StencilTerm:
        changed = {offset: function(c) for offset, c in self.coefficients.items()}
        return StencilTerm(changed, self.grid, self.first, self.sizes)

    def average(self, k: int) -> StencilTerm:
        """The mean of neighbours along axis k."""
        return self._neighbours(k, 2.0, 2.0)

    def difference(self, k: int) -> StencilTerm:
        """The difference of neighbours along axis k over the spacing."""
        return self._neighbours(k, -self.grid.spacing[k], self.grid.spacing[k])

    def _neighbours(self, k: int, left: float, right: float) -> StencilTerm:
        """What is at the left over one number and what is at the right over another, half-way between."""
        place, dim, size = self.first[k], k + 1, self.sizes[k]
        assert place is not None
        periodic = self.grid.periodic[k]
        found: dict[Offset, Tensor] = {}
        for side, divisor in ((0, left), (1, right)):
            # Round the seam the face after a node has its number, the node after a face the next one's.
            shift = (side if place == 0 else side - 1) if periodic else side
            for offset, c in self.coefficients.items():
                if c.shape[dim] == 1:
                    there = c
                elif periodic:
                    there = c.roll(-shift, dim) if shift else c
                else:
                    there = c.narrow(dim, side, size - 1)
                value = there / divisor
                o = (*offset[:k], offset[k] + 2 * side - 1, *offset[k + 1 :])
                found[o] = found[o] + value if o in found else value
        where = (1 - place) if periodic else place + 1
        sizes = self.sizes if periodic else (*self.sizes[:k], size - 1, *self.sizes[k + 1 :])
        first = (*self.first[:k], where, *self.first[k + 1 :])
        return StencilTerm(found, self.grid, first, sizes)

    def narrowed(self, k: int, low: int, high: int) -> StencilTerm:
        """The entries of axis k whose places lie in low..high, both included."""
        first = self.first[k]
        assert first is not None
        start, size = (low - first) // 2, (high - low) // 2 + 1
        kept = {
            o: c if c.shape[k + 1] == 1 else c.narrow(k + 1, start, size)
            for o, c in self.coefficients.items()
        }
        return StencilTerm(
            kept,
            self.grid,
            (*self.first[:k], low, *self.first[k + 1 :]),
            (*self.sizes[:k], size, *self.sizes[k + 1 :]),
        )

    def last(self, k: int) -> int:
        """The place of the last entry along axis k."""
        return (self.first[k] or 0) + 2 * (self.sizes[k] - 1)

    def joined(self, other: Term, operation: Operation, first: tuple[int | None, ...]) -> StencilTerm:
        """This and another term at the same places, in this order."""
        if operation is operator.add:
            if not isinstance(other, StencilTerm):
                return self
            found = dict(self.coefficients)
            for o, c in other.coefficients.items():
                found[o] = found[o] + c if o in found else c
            return StencilTerm(found, self.grid, first, self.sizes)
        if isinstance(other, StencilTerm) or operation not in (operator.mul, operator.truediv):
            raise DependsNonlinearly
        changed = {o: operation(c, other.values) for o, c in self.coefficients.items()}
        return StencilTerm(changed, self.grid, first, self.sizes)

    def joined_to(self, other: Term, operation: Operation, first: tuple[int | None, ...]) -> StencilTerm:
        """The same in the other order, ``other`` not depending on the unknown."""
        if operation not in (operator.add, operator.mul):
            raise DependsNonlinearly
        return self.joined(other, operation, first)


def unknown_function(grid: Grid, device: torch.device | None = None) -> GridFunction:
    """The unknown at all nodes."""
    one = torch.ones((1,) * (grid.dim + 1), dtype=torch.float64, device=device)
    none = (0,) * grid.dim
    return GridFunction([StencilTerm({none: one}, grid, none, grid.points)])
