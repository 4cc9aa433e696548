"""Operators whose entries are stored by rows: one sparsity pattern, values for every sample."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg.arguments import ONE_AXIS, coefficient_tensor, whole_numbers, wide_dtype
from pdeflow.linalg.operator import LinearOperator, Tag, magnitude
from pdeflow.linalg.sparse_matrix import SparseMatrix, SparsePattern
from pdeflow.linalg.stencil import StencilOperator, boxes

if TYPE_CHECKING:
    import numpy as np
    import scipy.sparse

ROUNDING = 8.0  # units in the last place of the largest entry within which A = A* is believed


class SparseOperator(LinearOperator):
    """``(A x)[i] = sum_k values[k] x[indices[k]]``, k from ``indptr[i]`` to ``indptr[i + 1] - 1``.

    Made by :meth:`from_scipy`, :meth:`from_torch`, :meth:`from_csr` or ``StencilOperator.to_sparse``.

    Parameters
    ----------
    pattern
        Of a square matrix that acts on ``x.flatten()``.
    values
        ``(batch, nnz)``, real or complex, a tensor or a NumPy array. They are used as they are, not copied:
        do not change them afterwards.
    shape
        Shape of one unknown; ``(rows,)`` by default.
    tags
        Properties that the caller vouches for.

    Raises
    ------
    InvalidInput
        If the shapes do not fit together, or an argument is of the wrong kind.
    """

    broadcasts = True

    def __init__(
        self,
        pattern: SparsePattern,
        values: Tensor | np.ndarray,
        shape: Sequence[int] | None = None,
        tags: Iterable[Tag] = (),
    ) -> None:
        if not isinstance(pattern, SparsePattern):
            hint = "Use SparseOperator.from_scipy, from_torch or from_csr."
            raise InvalidInput("pattern", type(pattern).__name__, "a SparsePattern", hint)
        values = coefficient_tensor("values", values)
        if pattern.rows != pattern.columns:
            raise InvalidInput("A.shape", (pattern.rows, pattern.columns), "a square matrix")
        if values.ndim != 2 or values.shape[1] != pattern.nnz:
            raise InvalidInput("values.shape", tuple(values.shape), f"(batch, nnz) = (batch, {pattern.nnz})")
        shape = (pattern.rows,) if shape is None else whole_numbers("shape", shape, ONE_AXIS)
        if math.prod(shape) != pattern.rows:
            raise InvalidInput("shape", shape, f"a shape of {pattern.rows} unknowns")
        super().__init__(shape, values.shape[0], values.dtype, values.device, tags)
        self.pattern, self.values = pattern, values
        self._matrix = SparseMatrix(pattern, values)

    @classmethod
    def from_csr(
        cls,
        indptr: Tensor | np.ndarray,
        indices: Tensor | np.ndarray,
        values: Tensor | np.ndarray,
        shape: Sequence[int] | None = None,
        tags: Iterable[Tag] = (),
    ) -> SparseOperator:
        """From compressed rows; ``values`` is ``(nnz,)`` or ``(batch, nnz)``; columns in any order."""
        values = coefficient_tensor("values", values)
        indptr, indices = torch.as_tensor(indptr, device="cpu"), torch.as_tensor(indices, device="cpu")
        values = values[None] if values.ndim == 1 else values
        rows = indptr.numel() - 1
        counts = indptr.diff()
        if indptr.ndim == 1 and not bool((counts < 0).any()) and int(counts.sum()) == indices.numel():
            keys = torch.repeat_interleave(torch.arange(rows, device="cpu"), counts) * rows + indices
            if bool((keys.diff() < 0).any()):
                order = torch.argsort(keys)
                indices, values = indices[order], values.index_select(1, order.to(values.device))
        return cls(SparsePattern(indptr, indices, rows), values, shape, tags)

    @classmethod
    def from_scipy(
        cls,
        matrices: Any,
        shape: Sequence[int] | None = None,
        tags: Iterable[Tag] | None = None,
    ) -> SparseOperator:
        """From one SciPy sparse matrix, or a sequence with the same stored entries; integers become float64.

        Where no tags are given, every matrix is compared with its conjugate transpose: ``SYMMETRIC`` if
        they agree up to rounding.
        """
        import numpy as np
        import scipy.sparse

        several = [matrices] if scipy.sparse.issparse(matrices) else matrices
        dense = isinstance(several, np.ndarray) and several.dtype != object
        several = list(several) if isinstance(several, Iterable) and not dense else []
        if not several or not all(scipy.sparse.issparse(matrix) and matrix.ndim == 2 for matrix in several):
            hint = "For a dense matrix use pdeflow.linalg.from_scipy." if dense else ""
            hint = "For a tensor use SparseOperator.from_torch." if isinstance(matrices, Tensor) else hint
            raise InvalidInput("matrices", type(matrices).__name__, "SciPy sparse matrices", hint)
        parts = [scipy.sparse.csr_array(matrix) for matrix in several]
        parts = [part if part.has_canonical_format else part.copy() for part in parts]
        for part in parts:
            part.sum_duplicates()
        first: Any = parts[0]
        pattern = SparsePattern(
            torch.from_numpy(first.indptr), torch.from_numpy(first.indices), first.shape[1]
        )
        for k, part in enumerate(parts[1:], 1):
            same = part.shape == first.shape and part.nnz == first.nnz
            if not (same and (part.indptr == first.indptr).all() and (part.indices == first.indices).all()):
                hint = "Store explicit zeros where an entry is missing, or make one operator a pattern."
                raise InvalidInput(f"matrices[{k}]", part.shape, "the stored entries of matrices[0]", hint)
        data = np.stack([part.data for part in parts])
        values = torch.from_numpy(data if data.dtype.char in "fdFD" else data.astype(wide_dtype(data.dtype)))
        if tags is None:
            tags = {Tag.SYMMETRIC} if is_hermitian(pattern, values) else ()
        return cls(pattern, values, shape, tags)

    @classmethod
    def from_torch(
        cls, matrix: Tensor, shape: Sequence[int] | None = None, tags: Iterable[Tag] = ()
    ) -> SparseOperator:
        """From a torch sparse tensor: CSR, batched CSR with one pattern, or COO."""
        if not isinstance(matrix, Tensor):
            hint = "Use pdeflow.linalg.from_scipy for matrices of SciPy and NumPy."
            raise InvalidInput("matrix", type(matrix).__name__, "a sparse torch.Tensor", hint)
        if matrix.layout == torch.sparse_coo and matrix.sparse_dim() == 2 and matrix.dense_dim() == 0:
            matrix = matrix.coalesce()
            rows, columns = matrix.indices()
            counts = torch.bincount(rows, minlength=matrix.shape[0]).cpu()
            indptr = torch.cat([torch.zeros(1, dtype=torch.int64, device="cpu"), counts.cumsum(0)])
            pattern = SparsePattern(indptr, columns, matrix.shape[1])
            return cls(pattern, matrix.values()[None], shape, tags)
        if matrix.layout != torch.sparse_csr or matrix.ndim > 3:
            raise InvalidInput(
                "matrix.layout",
                matrix.layout,
                "sparse CSR or COO, without dense dimensions",
                "Use matrix.to_sparse_csr().",
            )
        indptr, indices = matrix.crow_indices(), matrix.col_indices()
        if matrix.ndim == 3:
            if not (
                torch.equal(indptr, indptr[:1].expand_as(indptr)) and bool((indices == indices[:1]).all())
            ):
                raise InvalidInput("matrix", "samples with different patterns", "one pattern for all samples")
            indptr, indices = indptr[0], indices[0]
        if matrix.shape[-1] != matrix.shape[-2]:
            raise InvalidInput("matrix.shape", tuple(matrix.shape), "square matrices")
        return cls.from_csr(indptr, indices, matrix.values(), shape, tags)

    @classmethod
    def from_stencil(cls, A: StencilOperator) -> SparseOperator:
        """The entries of a stencil, by rows; a derivative by the values reaches its coefficients."""
        pattern, source, target = _stencil_pattern(A.offsets, A.shape, A.periodic)
        flat = A.coefficients.flatten(1).index_select(1, source.to(A.device))
        if target is None:
            return cls(pattern, flat, A.shape, A.tags)
        values = flat.new_zeros((A.batch, pattern.nnz)).index_add(1, target.to(A.device), flat)
        return cls(pattern, values, A.shape, A.tags)

    def apply(self, x: Tensor) -> Tensor:
        """``A x``."""
        return self.apply_into(x, torch.empty_like(x, memory_format=torch.contiguous_format))

    def apply_into(self, x: Tensor, out: Tensor) -> Tensor:
        """``A x`` written into ``out``, which must not share memory with x."""
        if len(self.shape) == 1:
            return self._matrix.multiply(x, out)
        if out.is_contiguous():
            self._matrix.multiply(x.flatten(1), out.view(out.shape[0], -1))
            return out
        return out.copy_(self.apply(x))

    def diagonal(self) -> Tensor:
        """The diagonal of every system, ``(batch, *shape)``; zero where no entry is stored."""
        values = torch.cat([self.values, self.values.new_zeros((self.batch, 1))], 1)
        diagonal = values.index_select(1, self.pattern.placed("diagonal", self.device))
        return diagonal.reshape(self.batch, *self.shape)

    @property
    def adjoint(self) -> SparseOperator:
        """The conjugate transpose: the values in the order of the transposed pattern."""
        turned = self._matrix.adjoint()
        return SparseOperator(turned.pattern, turned.values, self.shape, self.tags)

    def to(
        self, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> SparseOperator:
        """The same operator in another dtype or on another device."""
        return self.with_parameter(self.values.to(device=device or self.device, dtype=dtype or self.dtype))

    @property
    def parameter(self) -> Tensor:
        """The values."""
        return self.values

    def with_parameter(self, parameter: Tensor) -> SparseOperator:
        """The same pattern with other values."""
        return SparseOperator(self.pattern, parameter, self.shape, self.tags)

    def parameter_gradient(self, x: Tensor, y: Tensor) -> Tensor:
        """``y[row] conj(x[column])`` of every entry."""
        rows, columns = (self.pattern.placed(name, self.device) for name in ("row_numbers", "indices"))
        return y.flatten(1).index_select(1, rows) * x.flatten(1).index_select(1, columns).conj()

    @property
    def absolute(self) -> SparseOperator:
        """The matrix of the absolute values."""
        return self.with_parameter(self.values.detach().abs())

    def is_finite(self) -> Tensor:
        """Which systems have only finite values."""
        return torch.isfinite(magnitude(self.values)) if self.pattern.nnz else super().is_finite()

    def pieces(self, samples: int) -> list[SparseOperator]:
        """The batch cut into runs of at most ``samples`` systems, sharing pattern and values."""
        if samples >= self.batch:
            return [self]
        return [self.with_parameter(part) for part in self.values.split(samples)]

    def to_scipy(self, index: int = 0) -> scipy.sparse.csr_array:
        """The matrix of one sample, on ``x.flatten()`` in row-major order, as a SciPy CSR array."""
        import scipy.sparse

        if not -self.batch <= index < self.batch:
            raise InvalidInput("index", index, f"a sample of a batch of {self.batch}")
        values = self.values[index].detach().cpu().resolve_conj().numpy().copy()
        parts = (values, self.pattern.indices.numpy().copy(), self.pattern.indptr.numpy().copy())
        return scipy.sparse.csr_array(parts, shape=(self.size, self.size))


def explicit_matrix(A: LinearOperator) -> SparseOperator:
    """The operator with its entries stored by rows.

    Raises
    ------
    InvalidInput
        If A is neither a StencilOperator nor a SparseOperator.
    """
    if isinstance(A, StencilOperator):
        return A.to_sparse()
    if isinstance(A, SparseOperator):
        return A
    hint = "Use Jacobi() or none for an operator without a matrix."
    raise InvalidInput("A", type(A).__name__, "a StencilOperator or SparseOperator", hint)


def is_hermitian(pattern: SparsePattern, values: Tensor) -> bool:
    """Whether every sample equals its conjugate transpose up to rounding."""
    if pattern.rows != pattern.columns:
        return False
    turned, order = pattern.transposed
    if turned != pattern:
        return False
    if not pattern.nnz:
        return True
    difference = magnitude(values - values.index_select(1, order).conj())
    return bool((difference <= ROUNDING * torch.finfo(values.dtype).eps * magnitude(values)).all())


@functools.lru_cache(maxsize=16)
def _stencil_pattern(
    offsets: tuple[tuple[int, ...], ...], shape: tuple[int, ...], periodic: tuple[bool, ...]
) -> tuple[SparsePattern, Tensor, Tensor | None]:
    """Pattern, the number of each entry among all coefficients, and, if offsets meet, where it goes."""
    size = math.prod(shape)
    number = torch.arange(size, device="cpu").reshape(shape)
    none = torch.empty(0, dtype=torch.int64, device="cpu")
    keys, sources = [none], [none]
    for k, offset in enumerate(offsets):
        for rows, columns in boxes(shape, offset, periodic):
            keys.append((number[rows] * size + number[columns]).flatten())
            sources.append(number[rows].flatten() + k * size)
    ordered, order = torch.sort(torch.cat(keys))
    source = torch.cat(sources)[order]
    entries, target = torch.unique_consecutive(ordered, return_inverse=True)
    counts = torch.bincount(entries // size, minlength=size)
    indptr = torch.cat([torch.zeros(1, dtype=torch.int64, device="cpu"), counts.cumsum(0)])
    pattern = SparsePattern(indptr, entries % size, size)
    return pattern, source, target if entries.numel() < ordered.numel() else None
