"""Sparse triangular systems and incomplete factors, level by level.

An unknown of a triangular system can be worked out as soon as those that its row couples to are there. The
level of an unknown is the length of the longest chain of couplings that ends in it; all unknowns of one level
are independent, and one gather and one product serve them all, in every system of the batch. On a grid in
natural order with a 5- or 7-point stencil the levels are the wavefronts i + j (+ k) = const. Levels depend on
the pattern only, and are found once for it.

Reference: E. Anderson and Y. Saad, "Solving sparse triangular linear systems on parallel computers",
Int. J. High Speed Computing 1 (1989).
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor


def longest_chains(source: Tensor, target: Tensor, count: int) -> Tensor:
    """For each of ``count`` nodes, the length of the longest path to it by edges ``source -> target``."""
    order = torch.argsort(source)
    target = target[order]
    start = torch.zeros(count + 1, dtype=torch.int64, device="cpu")
    start[1:] = torch.bincount(source, minlength=count).cumsum(0)
    waits = torch.bincount(target, minlength=count)
    level = torch.zeros(count, dtype=torch.int64, device="cpu")
    ready, now = (waits == 0).nonzero()[:, 0], 0
    while len(ready):
        level[ready] = now
        reached = target[ranges(start[ready], start[ready + 1])]
        waits.index_add_(0, reached, torch.full_like(reached, -1))
        ready = torch.unique(reached[waits[reached] == 0])
        now += 1
    return level


def ranges(start: Tensor, stop: Tensor) -> Tensor:
    """``start[0], ..., stop[0] - 1, start[1], ...``: many ranges in one array."""
    length = stop - start
    first = length.cumsum(0) - length
    return torch.arange(int(length.sum()), device="cpu") + torch.repeat_interleave(start - first, length)


class Sweep:
    """Solves ``(1 + T) y = b`` for a strictly triangular T whose entries have these rows and columns.

    ``entries`` are the places of the entries of T in the values that :meth:`gather` gets, ``(batch, nnz)``.
    """

    def __init__(
        self, rows: Tensor, columns: Tensor, entries: Tensor, size: int, device: torch.device
    ) -> None:
        level = longest_chains(columns, rows, size)
        order = torch.argsort(level, stable=True)
        position = torch.empty_like(order)
        position[order] = torch.arange(size, device="cpu")
        self._size, self._order, self._position = size, order.to(device), position.to(device)
        by_row = torch.argsort(position[rows], stable=True)
        rows, columns, entries = position[rows[by_row]], position[columns[by_row]], entries[by_row]
        length = torch.bincount(rows, minlength=size)
        place = torch.arange(len(rows), device="cpu") - (length.cumsum(0) - length)[rows]
        bounds = torch.bincount(level, minlength=1).cumsum(0).tolist()
        # Short rows are filled up with a zero entry that meets a zero unknown, both one past the last.
        self._levels: list[tuple[slice, Tensor, Tensor, Tensor]] = []
        begin = int(length[: bounds[0]].sum())
        for first, last in itertools.pairwise(bounds):
            end = begin + int(length[first:last].sum())
            part = slice(begin, end)
            at = (rows[part] - first, place[part])
            wide = (last - first, int(length[first:last].max()))
            taken, unknown = torch.full(wide, 0, device="cpu"), torch.full(wide, size, device="cpu")
            filled = torch.zeros(wide, dtype=torch.bool, device="cpu")
            taken[at], unknown[at], filled[at] = entries[part], columns[part], True
            unknown, taken, filled = (t.to(device) for t in (unknown, taken, filled))
            self._levels.append((slice(first, last), unknown, taken, filled))
            begin = end

    def gather(self, values: Tensor) -> list[Tensor]:
        """The entries of T, ``(batch, unknowns, entries)`` for every level."""
        return [values[:, taken].masked_fill_(~filled, 0) for _, _, taken, filled in self._levels]

    def solve(self, entries: list[Tensor], b: Tensor) -> Tensor:
        """y for b, ``(batch, size)``, and the entries from :meth:`gather`."""
        y = b.new_zeros((b.shape[0], self._size + 1))
        y[:, : self._size].copy_(b[:, self._order])
        for (level, unknown, _, _), values in zip(self._levels, entries):
            y[:, level] -= (values * y[:, unknown]).sum(-1)
        return y[:, self._position]


class Step(NamedTuple):
    """What becomes known at one level of an elimination: places in the values.

    ``values[into] -= values[left] values[right]``, or a share of it where the place of the product was
    ``dropped`` and ``into`` is the diagonal instead; then ``lower`` is divided by ``pivot``, and the
    ``diagonal`` of ``row`` is a pivot.
    """

    into: Tensor
    left: Tensor
    right: Tensor
    dropped: Tensor
    lower: Tensor
    pivot: Tensor
    diagonal: Tensor
    row: Tensor


class Elimination:
    """Gaussian elimination without fill: L and U have the pattern of the matrix.

    Parameters
    ----------
    rows, columns
        Of the entries of the matrix, ascending by rows, then columns, with the whole diagonal.
    size
        Rows of the matrix.
    relaxed
        Whether a share of the dropped fill goes to the diagonal.
    device
        Of the values.
    """

    def __init__(self, rows: Tensor, columns: Tensor, size: int, relaxed: bool, device: torch.device) -> None:
        below, above = (rows > columns).nonzero()[:, 0], (rows < columns).nonzero()[:, 0]
        diagonal = (rows == columns).nonzero()[:, 0]
        # For every entry (i, k) below the diagonal all (k, j) above it, and the place of (i, j), if any.
        pivot = diagonal[columns[below]]
        start, stop = pivot + 1, torch.bincount(rows, minlength=size).cumsum(0)[columns[below]]
        left, right = torch.repeat_interleave(below, stop - start), ranges(start, stop)
        keys, wanted = rows * size + columns, rows[left] * size + columns[right]
        into = torch.searchsorted(keys, wanted).clamp(max=len(keys) - 1)
        dropped = keys[into] != wanted
        into = torch.where(dropped, diagonal[rows[left]], into)
        if not relaxed:
            into, left, right, dropped = (t[~dropped] for t in (into, left, right, dropped))
        edges = torch.cat([left, right, pivot]), torch.cat([into, into, below])
        level = longest_chains(*edges, len(rows))
        count = int(level.max()) + 1
        cut = [
            *(_by_level(level[into], t, count) for t in (into, left, right, dropped)),
            *(_by_level(level[below], t, count) for t in (below, pivot)),
            *(_by_level(level[diagonal], t, count) for t in (diagonal, torch.arange(size, device="cpu"))),
        ]
        self._steps = [Step(*(t.to(device) for t in step)) for step in zip(*cut)]
        self._above, self._pivot_above = above.to(device), diagonal[rows[above]].to(device)
        self.diagonal = diagonal.to(device)

    def factor(self, values: Tensor, smallest: float, positive: bool, relaxation: float) -> None:
        """Replace the values, ``(batch, nnz)``, by those of L, D and ``D^-1 U``, without the unit diagonals.

        A pivot no larger than ``smallest`` times the diagonal of the matrix, in magnitude or, where it should
        be ``positive``, with its sign, is replaced by that diagonal, or by one where that is zero.
        """
        original = values[:, self.diagonal]
        for step in self._steps:
            if len(step.into):
                products = values[:, step.left] * values[:, step.right]
                # The diagonal of a Hermitian matrix stays real.
                share = relaxation * (products.real if positive else products)
                products = torch.where(step.dropped, share.to(products.dtype), products)
                values.index_add_(1, step.into, products, alpha=-1)
            if len(step.lower):
                values[:, step.lower] = values[:, step.lower] / values[:, step.pivot]
            if len(step.diagonal):
                pivot, whole = values[:, step.diagonal], original[:, step.row]
                if positive:
                    spoilt = pivot.real <= smallest * whole.real
                else:
                    spoilt = pivot.abs() <= smallest * whole.abs()
                values[:, step.diagonal] = torch.where(spoilt, torch.where(whole == 0, 1.0, whole), pivot)
        values[:, self._above] = values[:, self._above] / values[:, self._pivot_above]


def _by_level(level: Tensor, places: Tensor, count: int) -> list[Tensor]:
    """The places cut by their level, from 0 to ``count - 1``."""
    order = torch.argsort(level, stable=True)
    return list(places[order].split(torch.bincount(level, minlength=count).tolist()))
