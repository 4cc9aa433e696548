"""Incomplete factors ``A ~ L D U`` without fill, row after row, by the loops of ``native/sparse_factors.c``.

:mod:`~pdeflow.linalg.level_factors` is the eager form, with the same numbers up to rounding.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from pdeflow.linalg import native
from pdeflow.linalg.compiled_factors import call
from pdeflow.linalg.level_factors import SPOILT, factor_pattern
from pdeflow.linalg.operator import LinearOperator
from pdeflow.linalg.sparse import SparseOperator
from pdeflow.linalg.sparse_matrix import SparsePattern

_NAMES = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.complex64: "complex64",
    torch.complex128: "complex128",
}


class RowFactorsCall(ctypes.Structure):
    """The struct ``RowFactors`` of ``native/recurrence.h``: what a solve in double precision takes."""

    _fields_ = (
        ("solve", ctypes.c_void_p),
        ("entries", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("start", "diagonal", "column", "values")),
        *((name, ctypes.c_int64) for name in ("symmetric", "turned")),
        *((name, ctypes.c_void_p) for name in ("scale", "work")),
    )


def usable(A: LinearOperator) -> bool:
    """Whether the loops take A: it is on the CPU, and a C compiler is there."""
    return A.device.type == "cpu" and native.library("sparse_factors") is not None


class SparseFactors:
    """Factors of every system of a batch; ``symmetric`` makes them L D L*, from the lower part of A.

    ``relaxation`` is the share of the dropped fill that is added to the diagonal.

    They own a buffer, so one thread at a time may use them.
    """

    def __init__(self, A: SparseOperator, symmetric: bool, dtype: torch.dtype, relaxation: float) -> None:
        self._plan = factor_pattern(A.pattern, symmetric, A.device)
        self._symmetric, self._dtype, self._relaxation = symmetric, dtype, relaxation
        whole = self._plan.pattern
        # U = L* is not kept, so that a solve reads half.
        self._kept = (whole.indices <= whole.row_numbers).nonzero()[:, 0] if symmetric else None
        self._pattern = whole if self._kept is None else _part(whole, self._kept)
        self._work = torch.empty(A.size, dtype=dtype, device="cpu")
        library = native.library("sparse_factors")
        assert library is not None
        self._library = library

    def fill(self, A: SparseOperator, scale: Tensor) -> None:
        """Factor ``scale A``, with one scale a system."""
        whole = self._plan.pattern
        values = self._plan.values(A, scale, self._dtype).contiguous()
        call(
            getattr(self._library, f"factor_{_NAMES[self._dtype]}"),
            *(A.batch, whole.rows, whole.nnz, whole.indptr, whole.diagonal, whole.narrow_indices),
            *(SPOILT * torch.finfo(self._dtype).eps, int(self._symmetric), float(self._relaxation)),
            *(torch.full((whole.rows,), -1, device="cpu"), values),
        )
        self._values = values if self._kept is None else values.index_select(1, self._kept)
        self._scale = scale.to(torch.float64)

    def solve(self, x: Tensor, out: Tensor) -> None:
        """``out = scale U^-1 D^-1 L^-1 x``."""
        self._solve(x, out, turned=False)

    def solve_adjoint(self, x: Tensor, out: Tensor) -> None:
        """``out = scale L^-* D^-* U^-* x``."""
        self._solve(x, out, turned=True)

    def call(self, adjoint: bool) -> RowFactorsCall | None:
        """For compiled loops, the solve with one system at a time; None for any but float64 factors."""
        if self._dtype != torch.float64:
            return None
        pattern = self._pattern
        call = RowFactorsCall(entries=pattern.nnz, symmetric=int(self._symmetric), turned=int(adjoint))
        call.solve = ctypes.cast(self._library.solve_float64_float64, ctypes.c_void_p).value
        arrays = {"start": pattern.indptr, "diagonal": pattern.diagonal, "column": pattern.narrow_indices}
        arrays |= {"values": self._values, "scale": self._scale, "work": self._work}
        for name, tensor in arrays.items():
            setattr(call, name, tensor.data_ptr())
        return call

    def _solve(self, x: Tensor, out: Tensor, turned: bool) -> None:
        vector = torch.promote_types(x.dtype, self._dtype)
        x = x.to(vector).resolve_conj().contiguous()
        result = out if out.dtype == vector and out.is_contiguous() else torch.empty_like(x)
        pattern = self._pattern
        call(
            getattr(self._library, f"solve_{_NAMES[self._dtype]}_{_NAMES[vector]}"),
            *(x.shape[0], pattern.rows, pattern.nnz),
            *(pattern.indptr, pattern.diagonal, pattern.narrow_indices, self._values),
            *(int(self._symmetric), int(turned), self._scale, x, result, self._work),
        )
        if result is not out:
            out.copy_(result)


def _part(pattern: SparsePattern, entries: Tensor) -> SparsePattern:
    """The pattern of some of the entries, given in their order."""
    counts = torch.bincount(pattern.row_numbers[entries], minlength=pattern.rows)
    indptr = torch.cat([torch.zeros(1, dtype=torch.int64, device="cpu"), counts.cumsum(0)])
    return SparsePattern(indptr, pattern.indices[entries], pattern.columns)
