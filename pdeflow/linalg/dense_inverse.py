"""The coarsest level of a multigrid hierarchy: a batch of small dense inverses."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from pdeflow.linalg.array_program import Dense, Span
from pdeflow.linalg.stencil import boxes


class DenseInverse:
    """The inverse of a stencil on a few points, one dense matrix a sample.

    Where the matrix maps constants to zero, constants are given a positive eigenvalue instead: the
    inverse is then that of A plus a multiple of the matrix of ones.

    Attributes
    ----------
    b, x
        ``(batch, size)``: what ``operation`` reads, and where it writes the product.
    """

    def __init__(
        self,
        offsets: Iterable[tuple[int, ...]],
        shape: Sequence[int],
        periodic: Sequence[bool],
        batch: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.shape = tuple(shape)
        self._size = math.prod(shape)
        self._double = torch.complex128 if dtype.is_complex else torch.float64
        number = torch.arange(self._size).reshape(self.shape)
        self._rows = {
            offset: [
                ((slice(None), *rows), (number[rows] * self._size + number[columns]).flatten().to(device))
                for rows, columns in boxes(shape, offset, periodic)
            ]
            for offset in offsets
        }
        self._dense = torch.zeros((batch, self._size**2), dtype=self._double, device=device)
        self._inverse = torch.zeros((batch, self._size**2), dtype=dtype, device=device)
        self.b, self.x = (torch.zeros((batch, self._size), dtype=dtype, device=device) for _ in range(2))
        self.operation = Dense(self._size, Span(self._inverse, 0), Span(self.x, 0), Span(self.b, 0))

    def fill(self, coefficients: Iterable[tuple[tuple[int, ...], Tensor]]) -> None:
        """Invert, in double precision, the stencil with these values: pairs (offset, ``(batch, *shape)``)."""
        self._dense.zero_()
        for offset, values in coefficients:
            for rows, entries in self._rows[offset]:
                self._dense.index_add_(1, entries, values[rows].flatten(1).to(self._double))
        dense = self._dense.view(-1, self._size, self._size)
        diagonal = torch.diagonal(dense, dim1=1, dim2=2)
        largest = diagonal.abs().amax(1)
        null = dense.sum(2).abs().amax(1) <= 1e-5 * largest
        diagonal += (diagonal == 0).to(self._double)
        dense = dense + torch.where(null, largest / self._size, 0.0).reshape(-1, 1, 1)
        # By columns, as the operation wants it.
        self._inverse.copy_(torch.linalg.inv_ex(dense)[0].mT.flatten(1))
