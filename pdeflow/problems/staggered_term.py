"""Values at nodes or at the faces half-way between them, and the differences that lead from one to the other.

At an end where a condition gives the normal derivative of the unknown
(:mod:`~pdeflow.problems.closed_grid`), the end itself counts as the outermost face: it holds the values of
the end node, or the derivative there, and the equation of that node is the one of its half cell (S. V.
Patankar, "Numerical Heat Transfer and Fluid Flow", 1980, 4.2). So nothing is needed from outside of the box,
and self-adjoint equations keep their symmetry.
"""

from __future__ import annotations

import copy
import functools
import operator
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.problems.closed_grid import closed_ends

Operation = Callable[[Any, Any], Tensor]
T = TypeVar("T", bound="Term")

End = tuple[int, int]
"""An axis, and 0 for its lower end or 1 for its upper."""

Slopes = dict[End, Callable[[], "Term"]]
"""Derivatives along the axis of an end, at that end, each worked out where it is asked for."""


class Term:
    """Values at one kind of place: nodes or faces along each axis.

    Places along an axis are counted in half spacings from the lower end: node i is 2i, the face above it
    2i + 1. On an axis that does not wrap, every difference or average costs half a spacing at both ends. An
    end that is closed costs nothing: it is the face -1, or 2n - 1, as well as a node.

    Parameters
    ----------
    values
        (batch, n1, ..., nd); the batch and any constant axis may have length 1.
    grid
        The grid whose spacing and wrapping apply.
    first
        The place of the first entry along each axis; None where the function does not vary, length 1.
    """

    def __init__(self, values: Tensor, grid: Grid, first: tuple[int | None, ...]) -> None:
        self.values, self.grid, self.first = values, grid, first
        self.slopes: Slopes = {}
        self._averages: dict[int, Term] = {}

    def with_slopes(self: T, slopes: Slopes) -> T:
        """The same, its derivatives along an axis at closed ends of it being known.

        Only of terms at the nodes of that axis; the derivatives do not vary along it.
        """
        term = copy.copy(self)
        term.slopes, term._averages = slopes, {}
        return term

    def _keeping(self, term: T, change: Callable[[Term], Term], but: int | None = None) -> T:
        """``term``, made of this by a linear map along axis ``but``, with slopes changed in the same way."""
        if not self.slopes:
            return term
        kept = {end: slope for end, slope in self.slopes.items() if end[0] != but}
        return term.with_slopes(
            {end: functools.partial(_changed, change, slope) for end, slope in kept.items()}
        )

    def map(self, function: Callable[[Tensor], Tensor]) -> Term:
        """``function`` of the values, entry by entry."""
        term = Term(function(self.values), self.grid, self.first)
        if not self.slopes:
            return term
        return term.with_slopes({end: functools.partial(self._chained, function, end) for end in self.slopes})

    def _chained(self, function: Callable[[Tensor], Tensor], end: End) -> Term:
        """The slope of ``function`` of the values, by the chain rule."""
        here, slope = self.at(*end), self.slope(*end)
        result = here.combine(slope, functools.partial(_tangent, function))
        # Of complex values the modulus has no derivative but along one direction: none along other ends.
        return result.with_slopes({}) if here.values.is_complex() else result

    def __neg__(self) -> Term:
        return self.map(operator.neg)

    def scaled(self, operation: Operation, number: Any) -> Term:
        """``operation`` with a number, one that distributes over sums."""
        term = Term(operation(self.values, number), self.grid, self.first)
        return self._keeping(term, lambda slope: slope.scaled(operation, number))

    def at(self, k: int, end: int, number: int = 0) -> Term:
        """Its values at one place, counted from an end of axis k, as a term that does not vary along it."""
        if self.first[k] is None:
            return self
        size = self.values.shape[k + 1]
        values = self.values.narrow(k + 1, size - 1 - number if end else number, 1)
        term = Term(values, self.grid, (*self.first[:k], None, *self.first[k + 1 :]))
        return self._keeping(term, lambda slope: slope.at(k, end, number), but=k)

    def slope(self, k: int, end: int) -> Term:
        """The derivative along axis k at an end of it: the known one, or a one-sided one of order 2."""
        if (k, end) in self.slopes:
            return self.slopes[k, end]()
        if self.first[k] is None:
            return self.scaled(operator.mul, 0.0)
        if self.places(k) < 3:
            raise self._too_short(k)
        step = 2 * self.grid.spacing[k] * (-1 if end else 1)
        parts = [self.at(k, end, j).scaled(operator.mul, w / step) for j, w in enumerate((-3.0, 4.0, -1.0))]
        return functools.reduce(lambda a, b: a.combine(b, operator.add), parts)

    def places(self, k: int) -> int:
        """How many there are along axis k."""
        return self.values.shape[k + 1]

    def _too_short(self, k: int) -> InvalidInput:
        return InvalidInput(
            f"points of axis {self.grid.axes[k]!r}",
            self.grid.points[k],
            "more points than the residual's stencil is wide",
            "Take a finer grid.",
        )

    def _pair(self, k: int, operation: Operation) -> Term:
        """``operation(left, right)`` of neighbours along axis k, placed half-way between them."""
        first, values, dim = self.first[k], self.values, k + 1
        assert first is not None
        if self.grid.periodic[k]:
            if first == 0:
                left, right, place = values, values.roll(-1, dim), 1
            else:
                left, right, place = values.roll(1, dim), values, 0
        else:
            length = values.shape[dim] - 1
            if length < 1:
                raise self._too_short(k)
            left, right, place = values.narrow(dim, 0, length), values.narrow(dim, 1, length), first + 1
        return Term(operation(left, right), self.grid, (*self.first[:k], place, *self.first[k + 1 :]))

    def average(self, k: int) -> Term:
        """The mean of neighbours along axis k: nodes to faces, or faces to nodes; kept, for parameters.

        At a closed end the value there.
        """
        if self.first[k] is None:
            return self
        if k not in self._averages:
            mean = self._pair(k, lambda left, right: (left + right).mul_(0.5))
            mean = self._with_ends(k, mean, lambda end: self.at(k, end).values)
            self._averages[k] = self._keeping(mean, lambda slope: slope.average(k), but=k)
        return self._averages[k]

    def difference(self, k: int) -> Term:
        """The difference of neighbours along axis k over the spacing.

        At a closed end, from nodes to faces, the derivative there; from faces to nodes, the difference over
        the half cell.
        """
        if self.first[k] is None:
            return self.map(torch.zeros_like)
        step = self._pair(k, lambda left, right: (right - left).div_(self.grid.spacing[k]))

        def at_end(end: int) -> Tensor:
            return self.slope(k, end).values if _at_nodes(self, k) else 2 * step.at(k, end).values

        return self._keeping(self._with_ends(k, step, at_end), lambda slope: slope.difference(k), but=k)

    def _with_ends(self, k: int, inner: Term, at_end: Callable[[int], Tensor]) -> Term:
        """What lies between neighbours along axis k, with what there is at closed ends."""
        low, high = closed_ends(self.grid, k)
        if not (low or high):
            return inner
        place = inner.first[k]
        assert place is not None
        values, dim = inner.values, k + 1
        if _at_nodes(self, k):
            place -= 2 * low
        else:  # the pairs of an end and the face next to it make way
            values = values.narrow(dim, int(low), values.shape[dim] - low - high)
        parts = [*([at_end(0)] if low else []), values, *([at_end(1)] if high else [])]
        shape = torch.broadcast_shapes(*(part.narrow(dim, 0, 1).shape for part in parts))
        parts = [part.expand(*shape[:dim], part.shape[dim], *shape[dim + 1 :]) for part in parts]
        return Term(torch.cat(parts, dim), self.grid, (*self.first[:k], place, *self.first[k + 1 :]))

    def beside(self, places: tuple[int | None, ...]) -> Term:
        """Averaged to faces along the axes where these places are faces, to nodes along the others."""
        pairs = enumerate(zip(self.first, places))
        moved = [k for k, (mine, theirs) in pairs if mine is not None and (mine - (theirs or 0)) % 2]
        return functools.reduce(lambda term, k: term.average(k), moved, self)

    def to_nodes(self) -> Term:
        """Averaged along every axis where it is at the faces."""
        return self.beside((0,) * self.grid.dim)

    def narrowed(self, k: int, low: int, high: int) -> Term:
        """The entries of axis k whose places lie in low..high, both included."""
        first = self.first[k]
        if first is None:
            return self
        values = self.values.narrow(k + 1, (low - first) // 2, (high - low) // 2 + 1)
        term = Term(values, self.grid, (*self.first[:k], low, *self.first[k + 1 :]))
        return self._keeping(term, lambda slope: slope.narrowed(k, low, high))

    def last(self, k: int) -> int:
        """The place of the last entry along axis k."""
        return (self.first[k] or 0) + 2 * (self.places(k) - 1)

    def is_beside(self, other: Term) -> bool:
        """Whether along some axis one is at nodes and the other at faces."""
        pairs = zip(self.first, other.first)
        return any(p is not None and q is not None and (p - q) % 2 for p, q in pairs)

    def combine(self, other: Term, operation: Operation) -> Term:
        """``operation`` where both are known, after averages to the faces along axes where one is there."""
        a, b = self, other
        for k, wraps in enumerate(self.grid.periodic):
            place_a, place_b = a.first[k], b.first[k]
            if place_a is None or place_b is None:
                continue
            if (place_a - place_b) % 2:
                a, b = (a, b.average(k)) if place_a % 2 else (a.average(k), b)
                place_a, place_b = a.first[k], b.first[k]
                assert place_a is not None
                assert place_b is not None
            if not wraps:
                low, high = max(place_a, place_b), min(a.last(k), b.last(k))
                a, b = a.narrowed(k, low, high), b.narrowed(k, low, high)
        first = tuple(p if q is None else q for p, q in zip(a.first, b.first))
        result = a.joined(b, operation, first)
        ends = a.slopes.keys() | b.slopes.keys()
        if not ends:
            return result
        return result.with_slopes({end: functools.partial(_slope, a, b, end, operation) for end in ends})

    def joined(self, other: Term, operation: Operation, first: tuple[int | None, ...]) -> Term:
        """``operation`` of this and another term at the same places."""
        return other.joined_to(self, operation, first)

    def joined_to(self, other: Term, operation: Operation, first: tuple[int | None, ...]) -> Term:
        """``operation`` of another term and this, which know what kind they are."""
        return Term(operation(other.values, self.values), self.grid, first)


def _changed(change: Callable[[Term], Term], slope: Callable[[], Term]) -> Term:
    return change(slope())


def _tangent(function: Callable[[Tensor], Tensor], x: Tensor, along: Tensor) -> Tensor:
    """The derivative of ``function``, entry by entry, at x along a direction."""
    x, along = torch.broadcast_tensors(x, along)
    return torch.func.jvp(function, (x.contiguous(),), (along.contiguous(),))[1]


def _slope(a: Term, b: Term, end: End, operation: Operation) -> Term:
    """The derivative of ``operation`` of two terms at the same places, by the chain rule.

    Sums, products and quotients are written out, because the unknown of a linear equation goes through them
    as well; other operations never meet it.
    """
    a_here, b_here = a.at(*end), b.at(*end)
    if operation is operator.add:
        return a.slope(*end).combine(b.slope(*end), operator.add)
    if operation is operator.mul:
        right = a_here.combine(b.slope(*end), operator.mul)
        return a.slope(*end).combine(b_here, operator.mul).combine(right, operator.add)
    if operation is operator.truediv:
        right = -a_here.combine(b_here, operator.truediv).combine(b.slope(*end), operator.mul)
        return a.slope(*end).combine(right, operator.add).combine(b_here, operator.truediv)
    # Not along an operand that does not vary: u**2 has a derivative where log(u), by the exponent, has none.
    parts = [
        a_here.combine(b_here, functools.partial(_partial, operation, number)).combine(
            term.slope(*end), operator.mul
        )
        for number, term in enumerate((a, b))
        if term.first[end[0]] is not None or end in term.slopes
    ]
    return functools.reduce(lambda left, right: left.combine(right, operator.add), parts)


def _partial(operation: Operation, number: int, a: Tensor, b: Tensor) -> Tensor:
    """The derivative of ``operation(a, b)``, entry by entry, by its first operand (0) or its second (1)."""

    def of_one(x: Tensor) -> Tensor:
        return operation(a, x) if number else operation(x, b)

    x = b if number else a
    return _tangent(of_one, x, torch.ones_like(x))


def _at_nodes(term: Term, k: int) -> bool:
    return (term.first[k] or 0) % 2 == 0
