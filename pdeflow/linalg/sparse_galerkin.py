"""Coarse operators ``R A P`` of sparse matrices, for many samples through the same R and P."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pdeflow.linalg.sparse_matrix import SparseMatrix, SparsePattern


class Coarsening:
    """One step from a fine level to a coarse one.

    The entries of ``R A P`` are linear in those of A: ``values of A P = first * values of A`` and
    ``values of R (A P) = second * values of A P``, with two sparse matrices that are worked out once for a
    pattern and serve every sample.

    Parameters
    ----------
    pattern
        Of the fine level.
    prolongation, restriction
        P and R as SciPy CSR arrays.
    """

    def __init__(
        self,
        pattern: SparsePattern,
        prolongation: Any,
        restriction: Any,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.fine = pattern
        self.prolongation, self.restriction = prolongation, restriction
        coarse_size = prolongation.shape[1]
        # Entry (i, j) of A meets row j of P, and then entry (i, J) of A P meets column i of R.
        met = prolongation[pattern.indices.numpy()]
        rows, columns = pattern.row_numbers[_sources(met)], torch.from_numpy(met.indices).long()
        product, first = _collect(rows, columns, (pattern.rows, coarse_size), met)
        met = restriction.T.tocsr()[product.row_numbers.numpy()]
        rows, columns = torch.from_numpy(met.indices).long(), product.indices[_sources(met)]
        self.coarse, second = _collect(rows, columns, (coarse_size, coarse_size), met)
        self.first, self.second = (_matrix(m, dtype, device) for m in (first, second))
        self.P, self.R = (_matrix(_stored(m), dtype, device) for m in (prolongation, restriction))

    def galerkin(self, values: Tensor) -> Tensor:
        """The values of ``R A P``, ``(batch, nnz)``, from those of A."""
        between = values.new_empty((values.shape[0], self.first.pattern.rows))
        self.first.multiply(values, between)
        return self.second.multiply(between, values.new_empty((values.shape[0], self.coarse.nnz)))

    def to(self, dtype: torch.dtype, device: torch.device) -> Coarsening:
        """The same in another dtype or on another device."""
        other = object.__new__(Coarsening)
        other.__dict__.update(self.__dict__)
        for name in ("first", "second", "P", "R"):
            matrix: SparseMatrix = getattr(self, name)
            moved = SparseMatrix(matrix.pattern, matrix.values.to(dtype=dtype, device=device))
            setattr(other, name, moved)
        return other


Stored = tuple[SparsePattern, Tensor]


def _stored(matrix: Any) -> Stored:
    matrix = matrix.copy()
    matrix.sum_duplicates()
    indptr, indices = torch.from_numpy(matrix.indptr), torch.from_numpy(matrix.indices)
    return SparsePattern(indptr, indices, matrix.shape[1]), torch.from_numpy(matrix.data)


def _matrix(stored: Stored, dtype: torch.dtype, device: torch.device) -> SparseMatrix:
    pattern, values = stored
    return SparseMatrix(pattern, values.to(dtype=dtype, device=device)[None])


def _sources(met: Any) -> Tensor:
    """The row of every stored entry."""
    counts = torch.from_numpy(met.indptr).long().diff()
    return torch.repeat_interleave(torch.arange(counts.numel(), device="cpu"), counts)


def _collect(rows: Tensor, columns: Tensor, shape: tuple[int, int], met: Any) -> tuple[SparsePattern, Stored]:
    """The pattern of all (row, column), and the matrix that sums what meets there, weighted as in ``met``."""
    height, width = shape
    keys, order = torch.sort(rows * width + columns, stable=True)
    entries, counts = torch.unique_consecutive(keys, return_counts=True)
    per_row = torch.bincount(entries // width, minlength=height)
    zero = torch.zeros(1, dtype=torch.int64, device="cpu")
    pattern = SparsePattern(torch.cat([zero, per_row.cumsum(0)]), entries % width, width)
    sums = SparsePattern(torch.cat([zero, counts.cumsum(0)]), _sources(met)[order], met.shape[0])
    return pattern, (sums, torch.from_numpy(met.data)[order])
