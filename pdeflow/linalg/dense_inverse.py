"""The coarsest level of a multigrid hierarchy: a small dense inverse."""

from __future__ import annotations

import math
from collections.abc import Sequence

from pdeflow.linalg.arena import Arena
from pdeflow.linalg.array_operations import Copy, Dense, Invert, Operation, Products
from pdeflow.linalg.colour_layout import Values, natural_strides
from pdeflow.linalg.stencil import boxes


class DenseInverse:
    """The inverse of a stencil on a few points as a dense matrix; see :class:`Invert` for null spaces.

    Attributes
    ----------
    shape
        Of the grid.
    b, x
        Where ``operation`` reads, and where it writes the product.
    set_up
        The operations that work out the inverse.
    """

    def __init__(self, values: Values, shape: Sequence[int], periodic: Sequence[bool], arena: Arena) -> None:
        self.shape = tuple(shape)
        size = math.prod(shape)
        matrix, self.b, self.x = arena.new(size**2), arena.new(size), arena.new(size)
        self.set_up: list[Operation] = [Products(size**2, matrix, ())]
        natural = natural_strides(shape)
        for offset, (place, strides) in values.items():
            for rows, columns in boxes(shape, offset, periodic):
                # By columns, as the product wants it: from row to row the diagonal is size + 1 numbers on.
                first = sum(
                    stride * (c.start * size + r.start) for stride, r, c in zip(natural, rows, columns)
                )
                source = place._replace(start=place.start + sum(s * r.start for s, r in zip(strides, rows)))
                counts = tuple(r.stop - r.start for r in rows)
                steps = tuple(stride * (size + 1) for stride in natural)
                self.set_up.append(
                    Copy(counts, matrix.shifted(first), steps, source, tuple(strides), add=True)
                )
        self.set_up.append(Invert(size, matrix))
        self.operation = Dense(size, matrix, self.x, self.b)
