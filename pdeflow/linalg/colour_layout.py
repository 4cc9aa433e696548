"""Where the points of a grid lie in memory: parted by the parity of their indices.

Along every axis the points are parted into even and odd ones, so a field is 2^d arrays of a quarter (2D) or
an eighth (3D) of the points. The points of one array are not coupled to each other by a stencil within
{-1, 0, 1}^d: the arrays are the colours of a Gauss-Seidel sweep, and those with all indices odd are the
coarse grid. Every neighbour of an array lies in one other array at a fixed shift. Flattened, that is a shift
of the memory: on a bounded axis a neighbour outside of the box wraps to some other row, but its coefficient
is zero; a periodic axis has a ghost point at both ends, which is filled before it is read.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from torch import Tensor

from pdeflow.linalg.arena import LINE, Arena, Memory, OuterSpan, Span
from pdeflow.linalg.array_operations import Copy, Rows

Offset = tuple[int, ...]

Values = dict[Offset, tuple[Span | OuterSpan, Sequence[int]]]
"""Offset -> the coefficients in natural order, with their strides along the axes."""


class ColourLayout:
    """The arrays of one grid.

    Attributes
    ----------
    shape, periodic
        Of the grid; a periodic axis has an even number of points.
    half
        Points of an array along each axis; a bounded axis with an odd number of points has one more that is
        even than odd, and the array of the odd ones ends in a point that is always zero.
    n
        Numbers in an array, ghosts included.
    colours
        The parities, those with an even sum first: for a 5- or 7-point stencil this is red-black.
    """

    def __init__(self, shape: Sequence[int], periodic: Sequence[bool], arena: Arena) -> None:
        self.shape, self.periodic, self.dim = tuple(shape), tuple(periodic), len(shape)
        self.arena = arena
        self.half = tuple((n + 1) // 2 for n in self.shape)
        padded = tuple(m + 2 * wraps for m, wraps in zip(self.half, self.periodic))
        self._padded = padded
        self.strides = tuple(math.prod(padded[axis + 1 :]) for axis in range(self.dim))
        self.n = math.prod(padded)
        parities = itertools.product((0, 1), repeat=self.dim)
        self.colours: list[Offset] = sorted(parities, key=lambda parity: (sum(parity) % 2, parity))
        self.coarse: Offset = (1,) * self.dim
        # Shifted by one along every axis at once, an array must still be inside of its buffer.
        self._guard = aligned(sum(self.strides))
        self._pitch = aligned(self.n + sum(self.strides))
        self._first = sum(stride for stride, wraps in zip(self.strides, self.periodic) if wraps)

    def new(self, arrays: int | None = None) -> Span:
        """A place for one array a colour, or for that many, with the margins that shifts may run into."""
        count = len(self.colours) if arrays is None else arrays
        return self.arena.new(self._guard + count * self._pitch)

    def array(self, place: Span, number: int = 0) -> Span:
        """An array of a place."""
        return place.shifted(self._guard + number * self._pitch)

    def colour(self, place: Span, colour: Offset) -> Span:
        """The array of a colour."""
        return self.array(place, self.colours.index(colour))

    def constant(self, values: Tensor | float) -> Span:
        """An array ``(*half)``, or of one number everywhere, that all samples share; ghosts are filled."""
        arena = Arena(self.arena.dtype, self.arena.device)
        single = ColourLayout(self.shape, self.periodic, arena)
        array = single.array(single.new(1))
        memory = Memory(arena, 1)
        if isinstance(values, Tensor):
            memory.box(array.shifted(self._first), self.half, self.strides).copy_(values)
            for copy in single.ghosts(array):
                copy.run(memory, ())
        else:
            memory.values.fill_(values)
        start = array.start - self._guard
        length = self._guard + self._pitch
        return self.array(self.arena.constant(memory.values[0, start : start + length]))

    def shift(self, steps: Offset) -> int:
        """The distance in memory to the neighbour that many places on along each axis."""
        return sum(step * stride for step, stride in zip(steps, self.strides))

    def neighbour(self, colour: Offset, offset: Offset) -> tuple[Offset, Offset]:
        """The colour of the neighbours at an offset, and how far along they are in its array."""
        other = tuple((p + o) % 2 for p, o in zip(colour, offset))
        return other, tuple((p + o - q) // 2 for p, o, q in zip(colour, offset, other))

    def ghosts(self, array: Span, fold: bool = False) -> list[Copy]:
        """Fill the ghosts of an array, one periodic axis after the other so that the corners come right.

        With ``fold`` what the ghosts hold is added to the points that they stand for instead.
        """
        copies = []
        for axis, wraps in enumerate(self.periodic):
            if wraps:
                strip = (*self._padded[:axis], 1, *self._padded[axis + 1 :])
                m, stride = self.half[axis], self.strides[axis]
                for to, at in ((0, m), (m + 1, 1)):
                    to, at = (at, to) if fold else (to, at)
                    ends = array.shifted(to * stride), array.shifted(at * stride)
                    copies.append(Copy(strip, ends[0], self.strides, ends[1], self.strides, fold))
        return copies

    def rows(
        self,
        place: Span,
        values: Span | OuterSpan,
        strides: Sequence[int],
        box: Sequence[tuple[int, int]] | None = None,
        merge: bool = False,
    ) -> list[Rows]:
        """Part values in natural order, with these strides along the axes, into the arrays of the colours.

        ``box`` limits the points to a range along each axis; the others keep what is there. With ``merge``
        the values are put together from the arrays instead.
        """
        box = [(0, n) for n in self.shape] if box is None else list(box)
        operations = []
        first, stop = box[-1]
        for parities in itertools.product((0, 1), repeat=self.dim - 1):
            starts = [low + (low + p) % 2 for (low, _), p in zip(box, parities)]
            counts = tuple((high - start + 1) // 2 for start, (_, high) in zip(starts, box))
            if stop <= first or min(counts, default=1) <= 0:
                continue
            begin = sum(s * stride for s, stride in zip((*starts, first), strides))
            parts: list[Span] = []
            for number in (first, first + 1):
                index = (*starts, number)
                at = sum((i // 2) * stride for i, stride in zip(index, self.strides)) + self._first
                parity = tuple(i % 2 for i in index)
                parts.append(self.colour(place, parity).shifted(at))
            values_at = values._replace(start=values.start + begin)
            row_strides = tuple(2 * stride for stride in strides[:-1])
            operations.append(
                Rows(
                    counts, stop - first, values_at, row_strides, parts[0], parts[1], self.strides[:-1], merge
                )
            )
        return operations

    def coarse_rows(self, array: Span) -> tuple[Span, tuple[int, ...]]:
        """A function on the coarse grid, kept as one array, as values with strides for :meth:`rows`."""
        return array.shifted(self._first), self.strides


def aligned(n: int) -> int:
    """The next multiple of a cache line."""
    return -(-n // LINE) * LINE


def natural_strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Of a contiguous array."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
