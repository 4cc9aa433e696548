"""Programs of sums of products over flattened arrays, which multigrid is written in.

On a structured grid a neighbour is a shift of the memory, so that a relaxation, a residual, a transfer
between grids and a Galerkin product are all of one form::

    out[i] = scale[i] (init[i] + sign sum_t a_t[i] y_t[i])

An :class:`Arena` hands out places for arrays; it is the same for every sample and every batch. A program is
a list of operations on such places, planned once for a grid. A :class:`Memory` is the arena filled with a
batch, one row a sample. A :class:`Program` runs in torch, one operation after the other over the whole batch,
on any device; or, for real numbers on a CPU, in a compiled interpreter that takes one sample after the other,
whose arrays then stay in the cache. Both give the same numbers up to rounding.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from pdeflow.linalg import native

LINE = 16  # numbers: a cache line of float32
PAGE = 1024  # numbers: a page of float32
STAGGER = 5 * LINE

SAMPLE, CONSTANT = 0, 1
NOWHERE = (-1, 0)  # the array that an operation does without


class Span(NamedTuple):
    """A place in the memory of every sample, or (``slot`` CONSTANT) in what all samples share."""

    slot: int
    start: int

    def shifted(self, by: int) -> Span:
        """The place that many numbers further on."""
        return Span(self.slot, self.start + by)


class OuterSpan(NamedTuple):
    """A place in an array that the caller hands over at each run: ``slot`` says which, from 1."""

    slot: int
    start: int
    batch_stride: int

    def box(self, array: Tensor, shape: Sequence[int], strides: Sequence[int]) -> Tensor:
        """``(batch, *shape)`` of that array, with these strides."""
        start = array.storage_offset() + self.start
        return array.as_strided((array.shape[0], *shape), (self.batch_stride, *strides), start)


class OuterArray(NamedTuple):
    """What a run is given for a slot: a contiguous tensor and a factor a sample, ``(batch,)`` in float64."""

    values: Tensor
    factor: Tensor | None = None


class Arena:
    """Places for arrays, handed out one after the other; memory starts as zeros."""

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self.dtype, self.device = dtype, device
        self.size = 0
        self._constants: list[Tensor] = []
        self._constant_size = 0

    def new(self, length: int) -> Span:
        """A place for that many numbers."""
        start, length = self.size, -(-length // LINE) * LINE
        # Arrays a page apart evict one another from the cache.
        self.size = start + length + (STAGGER if length % PAGE < STAGGER else 0)
        return Span(SAMPLE, start)

    def constant(self, values: Tensor) -> Span:
        """A place for these numbers, the same for all samples."""
        start = self._constant_size
        self._constants.append(values.to(self.device, self.dtype))
        self._constant_size += values.numel()
        return Span(CONSTANT, start)

    @property
    def constants(self) -> Tensor:
        """All constants, one after the other."""
        if len(self._constants) != 1:
            empty = torch.zeros(0, dtype=self.dtype, device=self.device)
            self._constants = [torch.cat([empty, *self._constants])]
        return self._constants[0]


class Memory:
    """An arena filled with a batch."""

    def __init__(self, arena: Arena, batch: int) -> None:
        self.batch = batch
        row = -(-max(1, arena.size) // PAGE) * PAGE + STAGGER
        self.values = torch.zeros((batch, row), dtype=arena.dtype, device=arena.device)
        self.constants = arena.constants
        self._views: dict[tuple[int, int, int], Tensor] = {}

    def view(self, span: Span, n: int) -> Tensor:
        """``(batch, n)`` numbers from there on, or ``(1, n)`` shared ones."""
        key = (span.slot, span.start, n)
        if key not in self._views:
            values = self.values if span.slot == SAMPLE else self.constants[None]
            self._views[key] = values[:, span.start : span.start + n]
        return self._views[key]

    def box(self, span: Span, shape: Sequence[int], strides: Sequence[int]) -> Tensor:
        """``(batch, *shape)`` with these strides, of the sample's own memory."""
        values = self.values
        start = values.storage_offset() + span.start
        return values.as_strided((self.batch, *shape), (values.stride(0), *strides), start)


@dataclass(frozen=True)
class Products:
    """``out = scale (init + sign sum_t a_t y_t)`` over n places; ``out`` may be ``init``."""

    n: int
    out: Span
    terms: Sequence[tuple[Span, Span]]
    init: Span | None = None
    sign: int = 1
    scale: Span | None = None

    def run(self, memory: Memory, outer: Sequence[OuterArray]) -> None:
        """In torch."""
        n = self.n
        out = memory.view(self.out, n)
        rest = iter([(memory.view(a, n), memory.view(y, n)) for a, y in self.terms])
        first = None if self.init == self.out else next(rest, None)
        if first is None:
            if self.init is None:
                out.zero_()
            elif self.init != self.out:
                out.copy_(memory.view(self.init, n))
        elif self.init is None:
            torch.mul(*first, out=out)
            if self.sign < 0:
                out.neg_()
        else:
            torch.addcmul(memory.view(self.init, n), *first, value=self.sign, out=out)
        for a, y in rest:
            out.addcmul_(a, y, value=self.sign)
        if self.scale is not None:
            out.mul_(memory.view(self.scale, n))

    def encode(self) -> list[int]:
        """For the interpreter."""
        spans = [self.out, self.init or NOWHERE, self.scale or NOWHERE]
        spans += [span for term in self.terms for span in term]
        return [
            0,
            11 + 4 * len(self.terms),
            self.n,
            len(self.terms),
            self.sign,
            *(i for s in spans for i in s),
        ]


@dataclass(frozen=True)
class Strips:
    """Products over the same n places, in order, strip by strip.

    None may read, at a place ahead, what another of them writes.
    """

    n: int
    products: Sequence[Products]

    def run(self, memory: Memory, outer: Sequence[OuterArray]) -> None:
        """In torch: each over all places at once."""
        for operation in self.products:
            operation.run(memory, outer)

    def encode(self) -> list[int]:
        """For the interpreter."""
        inner = [i for operation in self.products for i in operation.encode()]
        return [6, 3 + len(inner), self.n, *inner]


@dataclass(frozen=True)
class Reciprocal:
    """``out = 1 / values``, and 0 where that is 0."""

    n: int
    out: Span
    values: Span

    def run(self, memory: Memory, outer: Sequence[OuterArray]) -> None:
        """In torch."""
        out, values = memory.view(self.out, self.n), memory.view(self.values, self.n)
        out.copy_(torch.where(values == 0, 0, values.reciprocal()))

    def encode(self) -> list[int]:
        """For the interpreter."""
        return [1, 7, self.n, *self.out, *self.values]


@dataclass(frozen=True)
class Conjugate:
    """``out = conj(values)``; only complex programs have it."""

    n: int
    out: Span
    values: Span

    def run(self, memory: Memory, outer: Sequence[OuterArray]) -> None:
        """In torch."""
        memory.view(self.out, self.n).copy_(memory.view(self.values, self.n).conj())

    def encode(self) -> list[int]:
        """Complex programs are not compiled."""
        raise TypeError("complex numbers are not compiled")


@dataclass(frozen=True)
class Copy:
    """A box of up to three axes copied from one place to another, or added to what is there.

    One of the two may be in an outer array, whose factor it is multiplied by.
    """

    shape: tuple[int, ...]
    out: Span | OuterSpan
    out_strides: tuple[int, ...]
    values: Span | OuterSpan
    strides: tuple[int, ...]
    add: bool = False

    def run(self, memory: Memory, outer: Sequence[OuterArray]) -> None:
        """In torch."""
        out, _ = _box(memory, outer, self.out, self.shape, self.out_strides)
        values, _ = _box(memory, outer, self.values, self.shape, self.strides)
        for span in (self.out, self.values):
            if isinstance(span, OuterSpan):
                values = _times(values, *outer[span.slot - 1])
        out.add_(values) if self.add else out.copy_(values)

    def encode(self) -> list[int]:
        """For the interpreter."""
        fill = 3 - len(self.shape)
        code = [2, 20, *(1,) * fill, *self.shape]
        for span, strides in ((self.out, self.out_strides), (self.values, self.strides)):
            place = (*span, 0, 0) if isinstance(span, Span) else (*span, 1)
            code += [*place, *(0,) * fill, *strides]
        return [*code, int(self.add)]


def _box(
    memory: Memory,
    outer: Sequence[OuterArray],
    span: Span | OuterSpan,
    shape: Sequence[int],
    strides: Sequence[int],
) -> tuple[Tensor, OuterArray | None]:
    if isinstance(span, Span):
        return memory.box(span, shape, strides), None
    array = outer[span.slot - 1]
    return span.box(array.values, shape, strides), array


def _times(values: Tensor, array: Tensor, factor: Tensor | None) -> Tensor:
    """In the outer dtype, because the factor may be beyond the range of the inner one."""
    if factor is None:
        return values
    return values.to(array.dtype) * factor.to(array.dtype).reshape(-1, *(1,) * (values.ndim - 1))


@dataclass(frozen=True)
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

    def run(self, memory: Memory, outer: Sequence[OuterArray]) -> None:
        """In torch."""
        whole, array = _box(memory, outer, self.values, (*self.rows, self.n), (*self.strides, 1))
        for first, part in ((0, self.even), (1, self.odd)):
            count = (self.n - first + 1) // 2
            if not count:
                continue
            values = whole[..., first::2]
            kept = memory.box(part, (*self.rows, count), (*self.part_strides, 1))
            to, at = (values, kept) if self.merge else (kept, values)
            to.copy_(at if array is None else _times(at, *array))

    def encode(self) -> list[int]:
        """For the interpreter."""
        fill = (0,) * (2 - len(self.rows))
        whole = (*self.values, 0) if isinstance(self.values, Span) else self.values
        code = [
            4 if self.merge else 3,
            17,
            *(1 for _ in fill),
            *self.rows,
            self.n,
            *whole,
            *fill,
            *self.strides,
        ]
        return [
            *code,
            *self.even,
            *self.odd,
            *fill,
            *self.part_strides,
            int(isinstance(self.values, OuterSpan)),
        ]


@dataclass(frozen=True)
class Dense:
    """``out = matrix values`` for a dense matrix a sample, stored by columns."""

    n: int
    matrix: Span
    out: Span
    values: Span

    def run(self, memory: Memory, outer: Sequence[OuterArray]) -> None:
        """In torch."""
        matrix = memory.box(self.matrix, (self.n, self.n), (1, self.n))
        out, values = (memory.view(span, self.n).unsqueeze(2) for span in (self.out, self.values))
        torch.matmul(matrix, values, out=out)

    def encode(self) -> list[int]:
        """For the interpreter."""
        return [5, 9, self.n, *self.matrix, *self.values, *self.out]


@dataclass(frozen=True)
class Invert:
    """The inverse of a dense matrix a sample, in place, worked out in double precision.

    A zero on the diagonal becomes a 1. Where the matrix maps constants to zero, they are given the largest
    diagonal entry as eigenvalue first: the inverse is then that of A plus a multiple of the matrix of ones.
    """

    n: int
    matrix: Span

    def run(self, memory: Memory, outer: Sequence[OuterArray]) -> None:
        """In torch."""
        n, flat = self.n, memory.view(self.matrix, self.n**2)
        dense = flat.to(torch.complex128 if flat.is_complex() else torch.float64).view(-1, n, n).clone()
        diagonal = torch.diagonal(dense, dim1=1, dim2=2)
        largest = diagonal.abs().amax(1)
        null = dense.sum(1).abs().amax(1) <= 1e-5 * largest
        diagonal += (diagonal == 0).to(dense.dtype)
        dense += torch.where(null, largest / n, 0.0).reshape(-1, 1, 1)
        flat.copy_(torch.linalg.inv_ex(dense)[0].flatten(1))

    def encode(self) -> list[int]:
        """For the interpreter."""
        return [7, 5, self.n, *self.matrix]


Operation = Products | Strips | Reciprocal | Conjugate | Copy | Rows | Dense | Invert


class _Outer(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("factor", ctypes.c_void_p), ("single", ctypes.c_int64))


class ProgramCall(ctypes.Structure):
    """A program, the memory that it runs on and its outer arrays, as the interpreter takes them."""

    _fields_ = (
        ("code", ctypes.c_void_p),
        ("length", ctypes.c_int64),
        ("single", ctypes.c_int64),
        ("memory", ctypes.c_void_p),
        ("constants", ctypes.c_void_p),
        ("stride", ctypes.c_int64),
        ("outer", _Outer * 2),
    )


class Program:
    """Operations on the memory of one arena, in the order in which they run."""

    def __init__(self, operations: Iterable[Operation], arena: Arena) -> None:
        self.operations = list(operations)
        self.dtype, self.device = arena.dtype, arena.device
        self._code: Tensor | None = None

    @property
    def compiled(self) -> ctypes.CDLL | None:
        """The interpreter, where it can run this program."""
        real = self.dtype in (torch.float32, torch.float64)
        return native.library("program") if real and self.device.type == "cpu" else None

    def call(self, memory: Memory, outer: Sequence[OuterArray] = ()) -> ProgramCall:
        """The arguments of the interpreter; what they point to must outlive the call.

        A memory of one sample serves them all in turn.
        """
        if self._code is None:
            self._code = torch.tensor([i for op in self.operations for i in op.encode()], dtype=torch.int64)
        call = ProgramCall(code=self._code.data_ptr(), length=self._code.numel())
        call.single = int(self.dtype == torch.float32)
        call.memory = memory.values.data_ptr()
        call.stride = memory.values.stride(0) if memory.batch > 1 else 0
        call.constants = memory.constants.data_ptr()
        for slot, (values, factor) in zip(call.outer, outer):
            slot.base = values.data_ptr()
            slot.factor = None if factor is None else factor.data_ptr()
            slot.single = int(values.dtype == torch.float32)
        return call

    def run(self, memory: Memory, *outer: OuterArray) -> None:
        """Run on the batch; ``outer`` are the arrays of the slots 1 and 2."""
        library = self.compiled
        real = all(array.values.dtype in (torch.float32, torch.float64) for array in outer)
        if library is None or not real:
            for operation in self.operations:
                operation.run(memory, outer)
        else:
            library.run_program(ctypes.byref(self.call(memory, outer)), ctypes.c_int64(memory.batch))
