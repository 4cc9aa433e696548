"""The operations of array programs, each in torch and as integers for the compiled interpreter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pdeflow.linalg.arena import Memory, OuterArray, OuterSpan, Span
from pdeflow.linalg.operator import double_precision

NOWHERE = (-1, 0)  # the array that an operation does without


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
class Magnitudes:
    """``out = sum_t |a_t|`` over n places, or (``add``) that added to what is there."""

    n: int
    out: Span
    terms: Sequence[Span]
    add: bool = False

    def run(self, memory: Memory, outer: Sequence[OuterArray]) -> None:
        """In torch."""
        out = memory.view(self.out, self.n)
        if not self.add:
            out.zero_()
        for a in self.terms:
            out.add_(memory.view(a, self.n).abs())

    def encode(self) -> list[int]:
        """For the interpreter."""
        places = [i for span in (self.out, *self.terms) for i in span]
        return [8, 7 + 2 * len(self.terms), self.n, len(self.terms), int(self.add), *places]


@dataclass(frozen=True)
class Upwind:
    """``out = s max(0, |a - b| / 2 + min(0, s (a + b) / 2))`` with the sign s of ``c + d``."""

    n: int
    out: Span
    a: Span
    b: Span
    c: Span
    d: Span

    def run(self, memory: Memory, outer: Sequence[OuterArray]) -> None:
        """In torch."""
        out, a, b, c, d = (memory.view(s, self.n) for s in (self.out, self.a, self.b, self.c, self.d))
        sign = torch.where(c + d < 0, -1.0, 1.0).to(out.dtype)
        needed = (a - b).abs() / 2 + (sign * (a + b) / 2).clamp(max=0)
        out.copy_(sign * needed.clamp(min=0))

    def encode(self) -> list[int]:
        """For the interpreter."""
        return [9, 13, self.n, *(i for s in (self.out, self.a, self.b, self.c, self.d) for i in s)]


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


def dense_inverse(matrices: Tensor) -> Tensor:
    """The inverses of ``(batch, n, n)`` matrices, worked out in double precision.

    A zero on the diagonal becomes a 1. Where a matrix maps constants to zero, they are given the largest
    diagonal entry as eigenvalue first: the inverse is then that of A plus a multiple of the matrix of ones.
    """
    dense = matrices.to(double_precision(matrices.dtype), copy=True)
    diagonal = torch.diagonal(dense, dim1=1, dim2=2)
    largest = diagonal.abs().amax(1)
    null = dense.sum(2).abs().amax(1) <= 1e-5 * largest
    diagonal += (diagonal == 0).to(dense.dtype)
    dense += torch.where(null, largest / dense.shape[1], 0.0).reshape(-1, 1, 1)
    return torch.linalg.inv_ex(dense)[0].to(matrices.dtype)


@dataclass(frozen=True)
class Invert:
    """:func:`dense_inverse` of a matrix a sample, stored by columns, in place."""

    n: int
    matrix: Span

    def run(self, memory: Memory, outer: Sequence[OuterArray]) -> None:
        """In torch."""
        flat = memory.view(self.matrix, self.n**2)
        by_columns = flat.view(-1, self.n, self.n)
        flat.copy_(dense_inverse(by_columns.mT).mT.flatten(1))

    def encode(self) -> list[int]:
        """For the interpreter."""
        return [7, 5, self.n, *self.matrix]


Operation = Products | Strips | Reciprocal | Magnitudes | Upwind | Conjugate | Copy | Rows | Dense | Invert
