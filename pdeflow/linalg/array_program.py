"""Programs of sums of products over flattened arrays, which multigrid is written in.

On a structured grid a neighbour is a shift of the memory, so that a relaxation, a residual, a transfer between
grids and a Galerkin product are all of one form::

    out[i] = scale[i] (init[i] + sign sum_t a_t[i] y_t[i])

A :class:`Program` is a list of such operations on buffers that it was built with. It runs in torch, one
operation after the other over the whole batch, on any device; or, for real numbers on a CPU, in a compiled
interpreter that takes one sample after the other, whose arrays then stay in the cache. Both give the same
numbers up to rounding.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from pdeflow.linalg import native

NOWHERE = (-1, 0, 0)  # the array that an operation does without


class Span(NamedTuple):
    """A run inside of a buffer ``(batch, length)``; a batch stride of 0 shares it among the samples."""

    buffer: Tensor
    start: int

    def shifted(self, by: int) -> Span:
        """The run that many places further on."""
        return Span(self.buffer, self.start + by)

    def is_same(self, other: Span) -> bool:
        """Whether it begins at the same place of the same buffer."""
        return self.buffer is other.buffer and self.start == other.start

    def view(self, n: int) -> Tensor:
        """``(batch, n)``."""
        return self.buffer[:, self.start : self.start + n]

    def box(self, shape: Sequence[int], strides: Sequence[int]) -> Tensor:
        """``(batch, *shape)`` with these strides."""
        buffer = self.buffer
        start = buffer.storage_offset() + self.start
        return buffer.as_strided((buffer.shape[0], *shape), (buffer.stride(0), *strides), start)

    def encode(self) -> tuple[int, int, int]:
        """Slot, address and batch stride for the interpreter."""
        place = self.buffer.data_ptr() + self.start * self.buffer.element_size()
        return 0, place, self.buffer.stride(0)


class OuterSpan(NamedTuple):
    """A run inside of an array that the caller hands over at each run: ``slot`` says which, from 1."""

    slot: int
    start: int
    batch_stride: int

    def box(self, array: Tensor, shape: Sequence[int], strides: Sequence[int]) -> Tensor:
        """``(batch, *shape)`` of that array, with these strides."""
        start = array.storage_offset() + self.start
        return array.as_strided((array.shape[0], *shape), (self.batch_stride, *strides), start)

    def encode(self) -> tuple[int, int, int]:
        """Slot, number of elements and batch stride for the interpreter."""
        return self.slot, self.start, self.batch_stride


class OuterArray(NamedTuple):
    """What a run is given for a slot: a contiguous tensor and a factor a sample, ``(batch,)`` in float64."""

    values: Tensor
    factor: Tensor | None = None


@dataclass
class Products:
    """``out = scale (init + sign sum_t a_t y_t)`` over n places; ``out`` may be ``init``."""

    n: int
    out: Span
    terms: Sequence[tuple[Span, Span]]
    init: Span | None = None
    sign: int = 1
    scale: Span | None = None
    _views: tuple[Tensor, Tensor | None, Tensor | None, list[tuple[Tensor, Tensor]]] = field(init=False)

    def __post_init__(self) -> None:
        init, scale = (None if span is None else span.view(self.n) for span in (self.init, self.scale))
        terms = [(a.view(self.n), y.view(self.n)) for a, y in self.terms]
        self._views = self.out.view(self.n), init, scale, terms

    @property
    def in_place(self) -> bool:
        """Whether ``out`` is ``init``."""
        return self.init is not None and self.out.is_same(self.init)

    def run(self, outer: Sequence[OuterArray]) -> None:
        """In torch."""
        out, init, scale, terms = self._views
        rest = iter(terms)
        if init is None:
            a, y = next(rest, (None, None))
            if a is None or y is None:
                out.zero_()
            else:
                torch.mul(a, y, out=out)
                if self.sign < 0:
                    out.neg_()
        elif not self.in_place:
            first = next(rest, None)
            if first is None:
                out.copy_(init)
            else:
                torch.addcmul(init, *first, value=self.sign, out=out)
        for a, y in rest:
            out.addcmul_(a, y, value=self.sign)
        if scale is not None:
            out.mul_(scale)

    def encode(self) -> list[int]:
        """For the interpreter."""
        spans = [self.out.encode()]
        spans += [NOWHERE if span is None else span.encode() for span in (self.init, self.scale)]
        spans += [span.encode() for term in self.terms for span in term]
        return [0, 14 + 6 * len(self.terms), self.n, len(self.terms), self.sign, *(i for s in spans for i in s)]


@dataclass
class Strips:
    """Products over the same n places, in order, strip by strip.

    None may read, at a place ahead, what another of them writes.
    """

    n: int
    products: Sequence[Products]

    def run(self, outer: Sequence[OuterArray]) -> None:
        """In torch: each over all places at once."""
        for operation in self.products:
            operation.run(outer)

    def encode(self) -> list[int]:
        """For the interpreter."""
        inner = [i for operation in self.products for i in operation.encode()]
        return [6, 3 + len(inner), self.n, *inner]


@dataclass
class Reciprocal:
    """``out = 1 / values``, and 0 where that is 0."""

    n: int
    out: Span
    values: Span

    def run(self, outer: Sequence[OuterArray]) -> None:
        """In torch."""
        out, values = self.out.view(self.n), self.values.view(self.n)
        zero = values == 0
        torch.reciprocal(values, out=out)
        out.masked_fill_(zero, 0)

    def encode(self) -> list[int]:
        """For the interpreter."""
        return [1, 9, self.n, *self.out.encode(), *self.values.encode()]


@dataclass
class Conjugate:
    """``out = conj(values)``; only complex programs have it."""

    n: int
    out: Span
    values: Span

    def run(self, outer: Sequence[OuterArray]) -> None:
        """In torch."""
        self.out.view(self.n).copy_(self.values.view(self.n).conj())

    def encode(self) -> list[int]:
        """Complex programs are not compiled."""
        raise TypeError("complex numbers are not compiled")


@dataclass
class Copy:
    """A box of up to three axes copied from one place to another, or added to what is there."""

    shape: tuple[int, ...]
    out: Span
    out_strides: tuple[int, ...]
    values: Span
    strides: tuple[int, ...]
    add: bool = False

    def run(self, outer: Sequence[OuterArray]) -> None:
        """In torch."""
        out, values = self.out.box(self.shape, self.out_strides), self.values.box(self.shape, self.strides)
        out.add_(values) if self.add else out.copy_(values)

    def encode(self) -> list[int]:
        """For the interpreter."""
        fill = 3 - len(self.shape)
        code = [2, 18, *(1,) * fill, *self.shape]
        code += [*self.out.encode(), *(0,) * fill, *self.out_strides]
        return [*code, *self.values.encode(), *(0,) * fill, *self.strides, int(self.add)]


@dataclass
class Rows:
    """Rows parted into the numbers of even and of odd place, or (``merge``) put together from them.

    ``values`` holds the whole rows, ``even`` and ``odd`` the parts, each with its strides from row to row. An
    outer array is multiplied by the factor of its sample, after the merge or before the split.
    """

    rows: tuple[int, ...]
    n: int
    values: Span | OuterSpan
    strides: tuple[int, ...]
    even: Span
    odd: Span
    part_strides: tuple[int, ...]
    merge: bool = False

    def run(self, outer: Sequence[OuterArray]) -> None:
        """In torch."""
        whole_shape, strides, factor = (*self.rows, self.n), (*self.strides, 1), None
        if isinstance(self.values, Span):
            whole = self.values.box(whole_shape, strides)
        else:
            array, factor = outer[self.values.slot - 1]
            whole = self.values.box(array, whole_shape, strides)
        for first, part in ((0, self.even), (1, self.odd)):
            count = (self.n - first + 1) // 2
            if not count:
                continue
            values = whole[..., first::2]
            kept = part.box((*self.rows, count), (*self.part_strides, 1))
            to, at = (values, kept) if self.merge else (kept, values)
            if factor is None:
                to.copy_(at)
            else:
                # In the outer dtype, because the factor may be beyond the range of the inner one.
                to.copy_(at.to(values.dtype) * factor.to(values.dtype).reshape(-1, *(1,) * len(whole_shape)))

    def encode(self) -> list[int]:
        """For the interpreter."""
        fill = (0,) * (2 - len(self.rows))
        code = [4 if self.merge else 3, 20, *(1 for _ in fill), *self.rows, self.n]
        code += [*self.values.encode(), *fill, *self.strides]
        for part in (self.even, self.odd):
            code += [*part.encode(), *fill, *self.part_strides]
        return code


@dataclass
class Dense:
    """``out = matrix values`` for a dense matrix a sample, stored by columns."""

    n: int
    matrix: Span
    out: Span
    values: Span

    def run(self, outer: Sequence[OuterArray]) -> None:
        """In torch."""
        matrix = self.matrix.box((self.n, self.n), (1, self.n))
        out, values = (span.view(self.n).unsqueeze(2) for span in (self.out, self.values))
        torch.matmul(matrix, values, out=out)

    def encode(self) -> list[int]:
        """For the interpreter."""
        return [5, 12, self.n, *self.matrix.encode(), *self.values.encode(), *self.out.encode()]


Operation = Products | Strips | Reciprocal | Conjugate | Copy | Rows | Dense


class _Outer(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("factor", ctypes.c_void_p), ("single", ctypes.c_int64))


class Program:
    """Operations on one set of buffers, in the order in which they run."""

    def __init__(self, operations: Iterable[Operation], batch: int, dtype: torch.dtype, device: torch.device):
        self.operations = list(operations)
        self.batch, self.dtype, self.device = batch, dtype, device
        self._code: Tensor | None = None

    @property
    def compiled(self) -> ctypes.CDLL | None:
        """The interpreter, where it can run this program."""
        real = self.dtype in (torch.float32, torch.float64)
        return native.library("program") if real and self.device.type == "cpu" else None

    @property
    def code(self) -> Tensor:
        """The operations as integers, for the interpreter; it holds addresses of the buffers."""
        if self._code is None:
            self._code = torch.tensor([i for op in self.operations for i in op.encode()], dtype=torch.int64)
        return self._code

    def run(self, *outer: OuterArray) -> None:
        """Run on the batch; ``outer`` are the arrays of the slots 1, 2, ..."""
        library = self.compiled
        real = all(array.values.dtype in (torch.float32, torch.float64) for array in outer)
        if library is None or not real:
            for operation in self.operations:
                operation.run(outer)
            return
        code = self.code
        library.run_program(
            ctypes.c_void_p(code.data_ptr()),
            ctypes.c_int64(code.numel()),
            ctypes.c_int64(self.batch),
            ctypes.byref(outer_arguments(outer)),
            ctypes.c_int64(self.dtype == torch.float32),
        )


def outer_arguments(outer: Sequence[OuterArray]) -> ctypes.Array[_Outer]:
    """The outer arrays as the interpreter takes them; they must outlive the call."""
    made = (_Outer * max(1, len(outer)))()
    for slot, (values, factor) in zip(made, outer):
        slot.base = values.data_ptr()
        slot.factor = None if factor is None else factor.data_ptr()
        slot.single = int(values.dtype == torch.float32)
    return made
