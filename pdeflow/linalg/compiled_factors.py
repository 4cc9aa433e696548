"""Incomplete factors ``A ~ L D U`` of a stencil, without fill, by the loops of ``native/incomplete.c``.

:mod:`~pdeflow.linalg.level_factors` is the eager form, with the same numbers up to rounding.
"""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

from pdeflow.linalg import native
from pdeflow.linalg.level_factors import SPOILT
from pdeflow.linalg.operator import LinearOperator
from pdeflow.linalg.stencil import StencilOperator, boxes

LANES, MOST = 4, 128  # as in incomplete.c

_NAMES = {torch.float32: "float", torch.float64: "double"}


class FactorsCall(ctypes.Structure):
    """The struct ``Factors`` of ``native/recurrence.h``: what a solve in double precision takes."""

    _fields_ = (
        ("solve", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("row", "margin", "stride", "sample")),
        ("factors", ctypes.c_void_p),
        ("diagonal_slot", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("count", "slot", "moved", "shift", "scale", "work")),
    )


def usable(A: LinearOperator) -> bool:
    """Whether the loops take A: a real stencil, on the CPU, with bounded axes, and a C compiler is there."""
    if not isinstance(A, StencilOperator):
        return False
    fits = A.device.type == "cpu" and A.dtype in _NAMES and not any(A.periodic) and len(A.offsets) <= MOST
    return fits and native.library("incomplete") is not None


class CompiledFactors:
    """Factors of every system of a batch; ``symmetric`` makes them L D L^T.

    ``relaxation`` is the share of the dropped fill that is added to the diagonal.

    They own their buffers, so one thread at a time may use them.
    """

    def __init__(self, A: StencilOperator, symmetric: bool, dtype: torch.dtype, relaxation: float) -> None:
        self._symmetric, self._dtype, self._relaxation = symmetric, dtype, relaxation
        # The fill that is dropped shows only where the upper part is there too.
        self._half = symmetric and not relaxation
        self._batch, self._size, self._row = A.batch, A.size, A.shape[-1]
        strides = [torch.Size(A.shape[axis + 1 :]).numel() for axis in range(len(A.shape))]
        # Offsets longer than the grid lead nowhere; of the others, only the centre has shift zero.
        inside = {k: boxes(A.shape, offset, A.periodic) for k, offset in enumerate(A.offsets)}
        shift = {k: sum(o * s for o, s in zip(A.offsets[k], strides)) for k in inside if inside[k]}
        slots = sorted((k for k in shift if shift[k] <= 0 or not self._half), key=lambda k: shift[k])
        self._sources = [(k, (slice(None), *inside[k][0][0])) for k in slots]
        self._offsets, self._shifts = [A.offsets[k] for k in slots], [shift[k] for k in slots]
        self._lower = sum(s < 0 for s in self._shifts)
        # Between two slots, and around a work vector, lie zeros that stand for points outside of the grid.
        self._margin = max(1, *(abs(s) for s in self._shifts))
        self._stride = A.size + self._margin
        sample = self._margin + len(slots) * self._stride
        self._factors = torch.zeros((A.batch, sample), dtype=dtype, device="cpu")
        self._slots = self._factors[:, self._margin :].unflatten(1, (len(slots), self._stride))
        self._work = torch.zeros(LANES * (A.size + 2 * self._margin), dtype=dtype, device="cpu")
        self._scale = torch.ones(A.batch, dtype=torch.float64, device="cpu")
        self._shift_array = torch.tensor(self._shifts, device="cpu")
        self._products = self._list_products()
        self._sweeps = self._list_sweeps(adjoint=False)
        self._adjoint_sweeps = self._sweeps if symmetric else self._list_sweeps(adjoint=True)
        library = native.library("incomplete")
        assert library is not None
        self._library = library

    def _list_products(self) -> list[Tensor]:
        """For every slot below the diagonal, what its entry is multiplied with and subtracted from.

        The last array has the weights of these products: one, or less where they stand for dropped fill.
        """
        place = {offset: slot for slot, offset in enumerate(self._offsets)}
        below, above = self._offsets[: self._lower], self._offsets[self._lower + 1 :]
        first, factor, into, weight = [0], [], [], []
        for p in below:
            if self._half:
                # Row i + t of L holds, at p - t, what couples it to the pivot's row i + p.
                pairs = [(tuple(a - b for a, b in zip(p, t)), t) for t in below]
                pairs = [(other, t) for other, t in pairs if other in below]
            else:
                pairs = [(q, tuple(a + b for a, b in zip(p, q))) for q in above]
                pairs = [(q, t) for q, t in pairs if t in place or self._relaxation]
            factor += [place[other] for other, _ in pairs]
            into += [place.get(t, self._lower) for _, t in pairs]
            weight += [1.0 if t in place else self._relaxation for _, t in pairs]
            first.append(len(into))
        arrays = [torch.tensor(numbers, dtype=torch.int64, device="cpu") for numbers in (first, factor, into)]
        return [*arrays, torch.tensor(weight, dtype=torch.float64, device="cpu")]

    def _list_sweeps(self, adjoint: bool) -> list[Tensor]:
        """For both sweeps the number of couplings to other rows of the grid and inside a row; then, of each
        coupling, its slot, where its values stand from the point, and where the neighbour does."""
        entries = list(enumerate(self._shifts))
        lower, upper = entries[: self._lower], entries[self._lower + 1 :]
        # A transposed factor is read at the neighbour.
        forward = [(k, -s, -s) for k, s in upper] if adjoint else [(k, 0, s) for k, s in lower]
        turned = adjoint or self._symmetric
        backward = [(k, -s, -s) for k, s in lower] if turned else [(k, 0, s) for k, s in upper]
        counts, couplings = [], []
        for part in (forward, backward):
            far = [entry for entry in part if any(self._offsets[entry[0]][:-1])]
            near = [entry for entry in part if not any(self._offsets[entry[0]][:-1])]
            counts += [len(far), len(near)]
            couplings += far + near
        table = torch.tensor(couplings, dtype=torch.int64, device="cpu").reshape(-1, 3)
        return [torch.tensor(counts, device="cpu"), *(column.contiguous() for column in table.unbind(1))]

    def fill(self, A: StencilOperator, scale: Tensor) -> None:
        """Factor ``scale A``, with one scale a system."""
        column = scale.reshape(-1, *(1,) * len(A.shape))
        values = self._slots[:, :, : A.size].unflatten(2, A.shape)
        values.zero_()
        for slot, (k, rows) in enumerate(self._sources):
            torch.mul(A.coefficients[:, k][rows], column, out=values[:, slot][rows])
        self._scale.copy_(scale)
        kind = "cholesky" if self._half else "lu"
        call(
            getattr(self._library, f"factor_{kind}_{_NAMES[self._dtype]}"),
            *(A.batch, self._factors.shape[1], A.size, self._stride, len(self._sources), self._lower),
            *(self._shift_array, *self._products, SPOILT * torch.finfo(self._dtype).eps),
            *(int(self._symmetric), self._slots),
        )

    def solve(self, x: Tensor, out: Tensor) -> None:
        """``out = scale U^-1 D^-1 L^-1 x``."""
        self._solve(self._sweeps, x, out)

    def solve_adjoint(self, x: Tensor, out: Tensor) -> None:
        """``out = scale L^-T D^-1 U^-T x``."""
        self._solve(self._adjoint_sweeps, x, out)

    def call(self, adjoint: bool) -> FactorsCall | None:
        """For compiled loops, the solve with one system at a time; None for factors in float32."""
        if self._dtype != torch.float64:
            return None
        call = FactorsCall()
        call.solve = ctypes.cast(self._library.solve_double_double, ctypes.c_void_p).value
        call.row, call.margin, call.stride = self._row, self._margin, self._stride
        call.sample, call.diagonal_slot = self._factors.shape[1], self._lower
        sweeps = self._adjoint_sweeps if adjoint else self._sweeps
        arrays = dict(zip(("count", "slot", "moved", "shift"), sweeps))
        arrays |= {"factors": self._slots, "scale": self._scale, "work": self._work}
        for name, tensor in arrays.items():
            setattr(call, name, tensor.data_ptr())
        return call

    def _solve(self, sweeps: list[Tensor], x: Tensor, out: Tensor) -> None:
        vector = torch.promote_types(x.dtype, self._dtype)
        x = x.to(vector).contiguous()
        result = out if out.dtype == vector and out.is_contiguous() else torch.empty_like(x)
        call(
            getattr(self._library, f"solve_{_NAMES[self._dtype]}_{_NAMES[vector]}"),
            *(self._batch, self._size, self._row, self._margin, self._stride, self._factors.shape[1]),
            *(self._slots, self._lower, *sweeps, self._scale, x, result, self._work),
        )
        if result is not out:
            out.copy_(result)


def call(function: Any, *arguments: Tensor | int | float) -> None:
    """Call a function of C with tensors as pointers to their data, and numbers as int64_t or double."""
    converted = [
        ctypes.c_void_p(a.data_ptr())
        if isinstance(a, Tensor)
        else ctypes.c_double(a)
        if isinstance(a, float)
        else ctypes.c_int64(a)
        for a in arguments
    ]
    function(*converted)
