"""The block Jacobi preconditioner on sub-boxes of a grid, or runs of consecutive unknowns."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg.arguments import whole_numbers
from pdeflow.linalg.operator import LinearOperator, double_precision
from pdeflow.linalg.preconditioner import Preconditioner
from pdeflow.linalg.sparse import SparseOperator, explicit_matrix

LARGEST = 1024  # unknowns of a block


@dataclass(frozen=True)
class BlockJacobi(Preconditioner):
    """``M = diag(A_1, ..., A_m)^-1`` with A_k the part of A that couples the points of one box of the grid.

    The grid, or ``A.shape`` of a sparse operator, is cut into boxes of the same shape, smaller ones at the
    far ends, and M holds the dense inverses of all their matrices. M is Hermitian, or positive definite,
    where A is. A point that nothing couples to, itself included, is left alone; any other singular block
    makes M non-finite for its system.

    Reference: Y. Saad, *Iterative Methods for Sparse Linear Systems*, 2nd ed., SIAM 2003, section 10.2.

    Parameters
    ----------
    blocks
        Points of a box along each axis, or one number for all axes. In d dimensions a box of b points an axis
        takes ``b^(2d)`` numbers, and as many operations in each application.

    Raises
    ------
    InvalidInput
        If ``blocks`` is not positive; from ``init``, for an operator that is neither a StencilOperator nor a
        SparseOperator, blocks that do not fit its axes, or more than 1024 points in a box.
    """

    blocks: int | tuple[int, ...] = 4

    def __post_init__(self) -> None:
        given = (self.blocks,) if isinstance(self.blocks, int) else self.blocks
        blocks = whole_numbers("blocks", given, "As in 4, or (4, 2).")
        if min(blocks, default=0) < 1:
            raise InvalidInput("blocks", self.blocks, "positive numbers of points")

    def init(self, A: LinearOperator, previous: LinearOperator | None = None) -> BlockInverse:
        """Invert the blocks of A."""
        matrix = explicit_matrix(A)
        wanted = (self.blocks,) * len(A.shape) if isinstance(self.blocks, int) else self.blocks
        if len(wanted) != len(A.shape):
            raise InvalidInput("blocks", self.blocks, f"one number, or one for each of {len(A.shape)} axes")
        box = tuple(min(b, n) for b, n in zip(wanted, A.shape))
        if math.prod(box) > LARGEST:
            raise InvalidInput(
                "blocks", self.blocks, f"at most {LARGEST} points in a box", "Take smaller boxes."
            )
        # In double precision, as blocks may be ill conditioned, and applied in the operator's.
        double = double_precision(A.dtype)
        inverse, info = torch.linalg.inv_ex(_blocks(matrix, box).to(double))
        inverse = inverse.masked_fill(info[..., None, None] != 0, torch.nan)
        return BlockInverse(A, box, inverse.to(A.dtype))


class BlockInverse(LinearOperator):
    """A dense matrix ``(batch, boxes, points, points)`` on every box of a grid like that of A."""

    traced = True

    def __init__(self, A: LinearOperator, box: tuple[int, ...], matrices: Tensor) -> None:
        super().__init__(A.shape, A.batch, A.dtype, A.device, A.tags)
        self._A, self._box, self.matrices = A, box, matrices

    def apply(self, x: Tensor) -> Tensor:
        """``M x``."""
        parts = _cut(x, self._box)
        parts = torch.matmul(self.matrices, parts[..., None])[..., 0]
        return _joined(parts, self._box, self.shape)

    def diagonal(self) -> Tensor:
        """The diagonal of every system, ``(batch, *shape)``."""
        return _joined(torch.diagonal(self.matrices, dim1=2, dim2=3), self._box, self.shape)

    @property
    def adjoint(self) -> BlockInverse:
        """The conjugate transpose, block by block."""
        return BlockInverse(self._A, self._box, self.matrices.mH.resolve_conj())

    def to(self, dtype: torch.dtype | None = None, device: torch.device | str | None = None) -> BlockInverse:
        """The same matrices in another dtype or on another device."""
        A = self._A.to(dtype, device)
        return BlockInverse(A, self._box, self.matrices.to(A.device, A.dtype))


def _cut(x: Tensor, box: Sequence[int]) -> Tensor:
    """``(batch, *shape)`` to ``(batch, boxes, points of a box)``, with zeros where a box leaves the grid."""
    d, counts = len(box), [-(-n // b) for n, b in zip(x.shape[1:], box)]
    if any(n % b for n, b in zip(x.shape[1:], box)):
        padded = x.new_zeros((x.shape[0], *(c * b for c, b in zip(counts, box))))
        padded[(slice(None), *(slice(0, n) for n in x.shape[1:]))] = x
        x = padded
    x = x.reshape(x.shape[0], *itertools.chain.from_iterable(zip(counts, box)))
    return x.permute(0, *range(1, 2 * d, 2), *range(2, 2 * d + 1, 2)).flatten(d + 1).flatten(1, d)


def _joined(parts: Tensor, box: Sequence[int], shape: Sequence[int]) -> Tensor:
    """The inverse of :func:`_cut`."""
    d, counts = len(box), [-(-n // b) for n, b in zip(shape, box)]
    x = parts.reshape(parts.shape[0], *counts, *box)
    order = itertools.chain.from_iterable((1 + axis, 1 + d + axis) for axis in range(d))
    x = x.permute(0, *order).reshape(parts.shape[0], *(c * b for c, b in zip(counts, box)))
    return x[(slice(None), *(slice(0, n) for n in shape))]


def _blocks(A: SparseOperator, box: tuple[int, ...]) -> Tensor:
    """The matrices of the boxes, ``(batch, boxes, points, points)``; one where a row is empty."""
    points, count = math.prod(box), math.prod(-(-n // b) for n, b in zip(A.shape, box))
    # Which box an unknown is in, and which of its points it is.
    number = torch.zeros(A.shape, dtype=torch.int64, device="cpu")
    place = torch.zeros_like(number)
    for axis, (n, b) in enumerate(zip(A.shape, box)):
        at = torch.arange(n, device="cpu").reshape(-1, *(1,) * (len(box) - 1 - axis))
        number, place = number * -(-n // b) + at // b, place * b + at % b
    number, place = number.flatten(), place.flatten()
    rows, columns = A.pattern.row_numbers, A.pattern.indices
    inside = (number[rows] == number[columns]).nonzero()[:, 0]
    rows, columns = rows[inside], columns[inside]
    target = (number[rows] * points + place[rows]) * points + place[columns]
    dense = A.values.new_zeros((A.batch, count * points * points))
    dense[:, target.to(A.device)] = A.values[:, inside.to(A.device)]
    dense = dense.reshape(A.batch, count, points, points)
    empty = (dense == 0).all(3) & (dense == 0).all(2)
    torch.diagonal(dense, dim1=2, dim2=3).add_(empty)
    return dense
