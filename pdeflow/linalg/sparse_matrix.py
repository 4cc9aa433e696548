"""Batches of sparse matrices with one pattern, square or not, and their products with vectors."""

from __future__ import annotations

import ctypes
import functools
import zlib

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg import native

# Rows are padded to the longest one if that stores at most this many times the entries.
PADDING = 2.0

_NAMES = {
    torch.float32: "product_float32",
    torch.float64: "product_float64",
    torch.complex64: "product_complex64",
    torch.complex128: "product_complex128",
}


class SparsePattern:
    """Which entries of a matrix are stored, by rows; it stays in host memory and is shared, never changed.

    Parameters
    ----------
    indptr
        ``(rows + 1,)``: the entries of row i have the numbers ``indptr[i]`` to ``indptr[i + 1] - 1``.
    indices
        ``(nnz,)``: the column of every entry, ascending in each row.
    columns
        Their number.

    Raises
    ------
    InvalidInput
        If the arrays do not describe a matrix, or a row names a column twice or out of order.
    """

    def __init__(self, indptr: Tensor, indices: Tensor, columns: int) -> None:
        self.indptr = torch.as_tensor(indptr, dtype=torch.int64, device="cpu").contiguous()
        self.indices = torch.as_tensor(indices, dtype=torch.int64, device="cpu").contiguous()
        self.rows, self.columns, self.nnz = self.indptr.numel() - 1, int(columns), self.indices.numel()
        counts = self.indptr.diff()
        if self.indptr.ndim != 1 or self.rows < 1 or self.indptr[0] != 0 or bool((counts < 0).any()):
            raise InvalidInput("indptr", indptr, "(rows + 1,) ascending numbers that start at 0")
        if self.indices.ndim != 1 or int(self.indptr[-1]) != self.nnz:
            raise InvalidInput("indices.shape", tuple(self.indices.shape), f"({int(self.indptr[-1])},)")
        if self.nnz and (int(self.indices.min()) < 0 or int(self.indices.max()) >= self.columns):
            raise InvalidInput("indices", indices, f"columns from 0 to {self.columns - 1}")
        self.width = int(counts.max())
        self.row_numbers = torch.repeat_interleave(torch.arange(self.rows, device="cpu"), counts)
        if bool(((self.row_numbers * self.columns + self.indices).diff() <= 0).any()):
            raise InvalidInput(
                "indices",
                indices,
                "ascending columns in each row, each once",
                "Sort them and sum duplicates.",
            )
        self._placed: dict[tuple[str, torch.device], Tensor] = {}

    def placed(self, name: str, device: torch.device) -> Tensor:
        """The index array of this name on a device, copied there once."""
        key = (name, device)
        if key not in self._placed:
            self._placed[key] = getattr(self, name).to(device)
        return self._placed[key]

    @functools.cached_property
    def narrow_indices(self) -> Tensor:
        """The columns in 32 bits, which is less to read."""
        return self.indices.to(torch.int32)

    @functools.cached_property
    def diagonal(self) -> Tensor:
        """The number of the entry on the diagonal of every row, ``nnz`` where there is none."""
        position = torch.full((self.rows,), self.nnz, device="cpu")
        on = self.row_numbers == self.indices
        position[self.row_numbers[on]] = torch.arange(self.nnz, device="cpu")[on]
        return position

    @functools.cached_property
    def transposed(self) -> tuple[SparsePattern, Tensor]:
        """The pattern of the transpose, and for each of its entries the number of that entry here."""
        import scipy.sparse

        numbers = (torch.arange(self.nnz, device="cpu").numpy(), self.indices.numpy(), self.indptr.numpy())
        turned = scipy.sparse.csr_array(numbers, shape=(self.rows, self.columns)).tocsc()
        pattern = SparsePattern(torch.from_numpy(turned.indptr), torch.from_numpy(turned.indices), self.rows)
        return pattern, torch.from_numpy(turned.data)

    @property
    def padded(self) -> bool:
        """Whether the rows are alike enough to be padded to one length."""
        return 0 < self.width * self.rows <= PADDING * self.nnz

    @functools.cached_property
    def padded_entries(self) -> Tensor:
        """``(width * rows,)``: the number of the k-th entry of row i at ``k * rows + i``, else ``nnz``."""
        entries = torch.full((self.width, self.rows), self.nnz, device="cpu")
        numbers = torch.arange(self.nnz, device="cpu")
        entries[numbers - self.indptr[self.row_numbers], self.row_numbers] = numbers
        return entries.flatten()

    @functools.cached_property
    def padded_columns(self) -> Tensor:
        """Their columns; where a row has ended, one that the row holds anyway, or 0."""
        last = torch.where(self.indptr.diff() > 0, self.indptr[1:] - 1, self.nnz)
        entries = self.padded_entries.view(self.width, self.rows)
        entries = torch.where(entries < self.nnz, entries, last)
        return torch.cat([self.indices, torch.zeros(1, dtype=torch.int64, device="cpu")])[entries].flatten()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SparsePattern):
            return NotImplemented
        return self is other or (
            self.columns == other.columns
            and torch.equal(self.indptr, other.indptr)
            and torch.equal(self.indices, other.indices)
        )

    @functools.cached_property
    def _hash(self) -> int:
        # Not hash() of the bytes, which another process that gets this pattern works out differently. Few
        # patterns differ in their columns alone.
        return hash((self.rows, self.columns, self.nnz, zlib.crc32(self.indptr.numpy().tobytes())))

    def __hash__(self) -> int:
        return self._hash


class SparseMatrix:
    """``values (batch, nnz)`` on a pattern; a batch of 1 serves any number of vectors.

    On a CPU a compiled loop runs over the rows. Elsewhere, and without a compiler, x is gathered for all
    entries at once, multiplied and summed by rows: with rows padded to one length where they are alike,
    else with ``index_add_``.
    """

    def __init__(self, pattern: SparsePattern, values: Tensor) -> None:
        self.pattern = pattern
        self.values = values.resolve_conj()  # the compiled loop reads memory as it stands
        self._padded_values: Tensor | None = None

    def multiply(self, x: Tensor, out: Tensor) -> Tensor:
        """``A x`` for x of shape ``(batch, columns)``, written into ``out``, ``(batch, rows)``."""
        if x.device.type == "cpu" and (loop := _loop(x.dtype)) is not None:
            return self._multiply_compiled(loop, x, out)
        return self._multiply_eagerly(x, out)

    def adjoint(self) -> SparseMatrix:
        """The conjugate transpose."""
        pattern, order = self.pattern.transposed
        values = self.values.detach().index_select(1, order.to(self.values.device))
        return SparseMatrix(pattern, values.conj().resolve_conj())

    def _multiply_compiled(self, loop: ctypes._NamedFuncPointer, x: Tensor, out: Tensor) -> Tensor:
        pattern, values = self.pattern, self.values.detach()
        values = values if values.stride(1) == 1 or pattern.nnz < 2 else values.contiguous()
        x = x.detach().resolve_conj()
        x = x if x.stride(1) == 1 or pattern.columns == 1 else x.contiguous()
        result = out if out.stride(1) == 1 or pattern.rows == 1 else out.new_empty(out.shape)
        loop(
            x.shape[0],
            pattern.rows,
            pattern.indptr.data_ptr(),
            pattern.narrow_indices.data_ptr(),
            values.data_ptr(),
            0 if values.shape[0] == 1 else values.stride(0),
            x.data_ptr(),
            x.stride(0),
            result.data_ptr(),
            result.stride(0),
        )
        return out if result is out else out.copy_(result)

    def _multiply_eagerly(self, x: Tensor, out: Tensor) -> Tensor:
        pattern, device = self.pattern, x.device
        if not pattern.padded:
            products = x.index_select(1, pattern.placed("indices", device)).mul_(self.values.detach())
            return out.zero_().index_add_(1, pattern.placed("row_numbers", device), products)
        if self._padded_values is None:
            values = self.values.detach()
            extended = torch.cat([values, values.new_zeros((values.shape[0], 1))], 1)
            padded = extended.index_select(1, pattern.placed("padded_entries", device))
            self._padded_values = padded.view(-1, pattern.width, pattern.rows)
        products = x.index_select(1, pattern.placed("padded_columns", device))
        products = products.view(-1, pattern.width, pattern.rows).mul_(self._padded_values)
        return torch.sum(products, 1, out=out)


@functools.cache
def _typed(library: ctypes.CDLL, name: str) -> ctypes._NamedFuncPointer:
    function = getattr(library, name)
    number, address = ctypes.c_int64, ctypes.c_void_p
    function.argtypes = [number, number, address, address, address, number, address, number, address, number]
    function.restype = None
    return function


def _loop(dtype: torch.dtype) -> ctypes._NamedFuncPointer | None:
    library = native.library("sparse")
    return None if library is None else _typed(library, _NAMES[dtype])
