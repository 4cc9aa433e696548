"""One level of a geometric multigrid hierarchy, stored by the parity of its points.

Along every axis the points are parted into even and odd ones, so a field is 2^d contiguous arrays of a
quarter (2D) or an eighth (3D) of the points. The points of one array are not coupled to each other by a
stencil within {-1, 0, 1}^d: the arrays are the colours of a Gauss-Seidel sweep, and those with all
indices odd are the coarse grid. Every neighbour of an array lies in one other array at a fixed shift, so
no operation needs strided memory.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from pdeflow.linalg.stencil import Box, boxes

Offset = tuple[int, ...]

# Galerkin products along one axis: for the coarse offset D, the terms (fine offset, weight) of the odd row
# 2j+1, of the even row 2j before it and of the even row 2j+2 after it, under linear interpolation.
GALERKIN = {
    -1: (((-1, 0.5),), ((0, 0.25), (-1, 0.5)), ()),
    0: (((-1, 0.5), (0, 1.0), (1, 0.5)), ((0, 0.25), (1, 0.5)), ((-1, 0.5), (0, 0.25))),
    1: (((1, 0.5),), (), ((0, 0.25), (1, 0.5))),
}


class Couplings(NamedTuple):
    """Products ``a y`` to be added to one colour, as views into the buffers of a level.

    ``first`` covers the whole colour and can therefore start the sum; the others are (target, a, y).
    """

    first: tuple[Tensor, Tensor] | None
    others: list[tuple[Tensor, Tensor, Tensor]]


class Level:
    """A stencil by colours, with the buffers of one cycle.

    Parameters
    ----------
    offsets
        Of the stencil, all within {-1, 0, 1}^d, the centre among them.
    shape
        Points along each axis.
    periodic
        Whether each axis wraps around; such an axis has an even number of points.
    batch, dtype, device
        Of all buffers.
    """

    def __init__(
        self,
        offsets: Iterable[Offset],
        shape: Sequence[int],
        periodic: Sequence[bool],
        batch: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.offsets = sorted(offsets, key=lambda offset: (any(offset), offset))
        self.batch, self.shape = batch, tuple(shape)
        self.dim, self.periodic = len(self.shape), tuple(periodic)
        self.half = tuple((n + 1) // 2 for n in self.shape)
        parities = itertools.product((0, 1), repeat=self.dim)
        # Points whose parities have an even sum first: for a 5- or 7-point stencil this is red-black.
        self.colours: list[Offset] = sorted(parities, key=lambda parity: (sum(parity) % 2, parity))
        self._natural = torch.zeros((batch, *(2 * m for m in self.half)), dtype=dtype, device=device)
        self._parted = torch.Size((batch, *(2,) * self.dim, *self.half))
        self.coefficients = {offset: self._new() for offset in self.offsets}
        self.inverse_diagonal, self.b, self.x = (self._new() for _ in range(3))
        self.r = torch.zeros_like(self.x)
        self._plan_sweeps()
        self._plan_galerkin()

    def _new(self) -> Tensor:
        return self._natural.new_empty(self._parted)

    def fill(self, coefficients: Iterable[tuple[Offset, Tensor]]) -> None:
        """Take the values of the stencil, pairs of an offset and ``(batch, *shape)``."""
        for offset, values in coefficients:
            self._inside().copy_(values)
            for axis, step in enumerate(offset):
                if step and not self.periodic[axis]:
                    # What leaves a bounded axis is never used, and the sweeps count on a zero there.
                    edge = self.shape[axis] - 1 if step > 0 else 0
                    self._natural.select(axis + 1, edge).zero_()
            self._part_natural(self.coefficients[offset])
        diagonal = self.coefficients[(0,) * self.dim]
        torch.reciprocal(diagonal, out=self.inverse_diagonal)
        # The padding has a zero diagonal, and with a zero inverse it stays zero.
        self.inverse_diagonal.masked_fill_(diagonal == 0, 0)

    def part(self, values: Tensor, out: Tensor) -> None:
        """``(batch, *shape)`` of any dtype -> ``(batch, 2, ..., 2, *half)``, padded with zeros."""
        self._inside().copy_(values)
        self._part_natural(out)

    def _inside(self) -> Tensor:
        return self._natural[(slice(None), *(slice(0, n) for n in self.shape))]

    def _part_natural(self, out: Tensor) -> None:
        for axis, (n, m) in enumerate(zip(self.shape, self.half)):
            if n < 2 * m:
                self._natural.select(axis + 1, n).zero_()
        d = self.dim
        paired = self._natural.view(self.batch, *(s for m in self.half for s in (m, 2)))
        out.copy_(paired.permute(0, *(2 * a + 2 for a in range(d)), *(2 * a + 1 for a in range(d))))

    def join(self, values: Tensor) -> Tensor:
        """The inverse of :meth:`part`: a view of a buffer, ``(batch, *shape)``."""
        every = slice(None)
        for parity in self.colours:
            strided = (every, *(slice(p, None, 2) for p in parity))
            self._natural[strided].copy_(values[(every, *parity)])
        return self._inside()

    def _plan_sweeps(self) -> None:
        """For every colour its couplings to earlier colours, to later ones, and to all."""
        self._plans = []
        for rank, colour in enumerate(self.colours):
            earlier, later = [], []
            for offset in self.offsets[1:]:
                other = tuple((p + o) % 2 for p, o in zip(colour, offset))
                shift = tuple((p + o - q) // 2 for p, o, q in zip(colour, offset, other))
                a, y = self._of(self.coefficients[offset], colour), self._of(self.x, other)
                pairs = [(to, a[to], y[at]) for to, at in self._shifted(shift)]
                (earlier if self.colours.index(other) < rank else later).extend(pairs)
            x, b, r, inverse = (self._of(t, colour) for t in (self.x, self.b, self.r, self.inverse_diagonal))
            self._plans.append((x, b, r, inverse, _sum(x, earlier), _sum(r, later), _sum(x, earlier + later)))

    def _of(self, parted: Tensor, colour: Offset) -> Tensor:
        """The array of one colour: on bounded axes flattened, where a shift is a shift of the memory."""
        array = parted[(slice(None), *colour)]
        return array if any(self.periodic) else array.flatten(1)

    def _shifted(self, shift: Offset) -> list[tuple[Box, Box]]:
        every = slice(None)
        if any(self.periodic):
            return [((every, *to), (every, *at)) for to, at in boxes(self.half, shift, self.periodic)]
        # A neighbour outside of the box wraps to some other row here, but its coefficient is zero.
        size, step = math.prod(self.half), 0
        for n, s in zip(self.half, shift):
            step = step * n + s
        return [((every, *to), (every, *at)) for to, at in boxes((size,), (step,), (False,))]

    def smooth_down(self) -> None:
        """``x = (D + L)^-1 b`` and minus the residual that it leaves in ``r``."""
        for x, b, _, inverse, earlier, _, _ in self._plans:
            _subtract(b, earlier, x, inverse)
        for _, _, r, _, _, later, _ in self._plans:
            if later.first is not None:
                torch.mul(*later.first, out=r)
            elif later.others:
                r.zero_()
            for to, a, y in later.others:
                to.addcmul_(a, y)

    def smooth_up(self) -> None:
        """``x += (D + U)^-1 (b - A x)``, the adjoint of the sweep down where A is Hermitian."""
        for x, b, _, inverse, _, _, everything in reversed(self._plans):
            _subtract(b, everything, x, inverse)

    def restrict(self) -> Tensor:
        """The transpose of linear interpolation applied to ``r``: ``(batch, *half)``."""
        values = self.r
        for axis in range(self.dim):
            even, odd = values.select(1, 0), values.select(1, 1)
            values = torch.add(odd, even, alpha=0.5)
            # Parities of this and the earlier axes are gone, those of the later ones still stand.
            self._add_next(values, even, axis, 0.5)
        return values

    def prolong(self, coarse: Tensor) -> None:
        """Subtract from x the linear interpolation of ``coarse``, ``(batch, *half)``."""
        for axis in range(self.dim - 1, 0, -1):
            finer = torch.empty((self.batch, 2, *coarse.shape[1:]), dtype=coarse.dtype, device=coarse.device)
            finer.select(1, 1).copy_(coarse)
            torch.mul(coarse, 0.5, out=finer.select(1, 0))
            self._add_previous(finer.select(1, 0), coarse, axis, 0.5)
            coarse = finer
        self.x.select(1, 1).sub_(coarse)
        even = self.x.select(1, 0)
        even.sub_(coarse, alpha=0.5)
        self._add_previous(even, coarse, 0, -0.5)

    def _add_next(self, out: Tensor, values: Tensor, axis: int, weight: float) -> None:
        """``out[j] += weight values[j + 1]`` along a grid axis."""
        dim, m = axis - self.dim, self.half[axis]
        out.narrow(dim, 0, m - 1).add_(values.narrow(dim, 1, m - 1), alpha=weight)
        if self.periodic[axis]:
            out.narrow(dim, m - 1, 1).add_(values.narrow(dim, 0, 1), alpha=weight)

    def _add_previous(self, out: Tensor, values: Tensor, axis: int, weight: float) -> None:
        """``out[j] += weight values[j - 1]`` along a grid axis."""
        dim, m = axis - self.dim, self.half[axis]
        out.narrow(dim, 1, m - 1).add_(values.narrow(dim, 0, m - 1), alpha=weight)
        if self.periodic[axis]:
            out.narrow(dim, 0, 1).add_(values.narrow(dim, m - 1, 1), alpha=weight)

    def _plan_galerkin(self) -> None:
        """The products along one axis after the other, as (out, values, weight, fresh)."""
        self._products: list[tuple[Tensor, Tensor, float, bool]] = []
        fine = self.coefficients
        for axis in range(self.dim):
            coarse: dict[Offset, Tensor] = {}
            for before, after in sorted({(o[:axis], o[axis + 1 :]) for o in fine}):
                for target, parts in GALERKIN.items():
                    terms = [
                        (row, fine[(*before, step, *after)].select(1, int(row == 0)), weight)
                        for row, products in enumerate(parts)
                        for step, weight in products
                        if (*before, step, *after) in fine
                    ]
                    if terms:
                        out = torch.zeros_like(terms[0][1], memory_format=torch.contiguous_format)
                        coarse[(*before, target, *after)] = out
                        self._plan_product(out, terms, axis)
            fine = coarse
        self.coarse = fine

    def _plan_product(self, out: Tensor, terms: list[tuple[int, Tensor, float]], axis: int) -> None:
        fresh = True
        for row, values, weight in terms:
            if row < 2:
                self._products.append((out, values, weight, fresh))
            else:
                if fresh:
                    self._products.append((out, values, 0.0, True))
                dim, m = axis - self.dim, self.half[axis]
                first, last = out.narrow(dim, 0, m - 1), values.narrow(dim, 1, m - 1)
                self._products.append((first, last, weight, False))
                if self.periodic[axis]:
                    ends = out.narrow(dim, m - 1, 1), values.narrow(dim, 0, 1)
                    self._products.append((*ends, weight, False))
            fresh = False

    def galerkin(self) -> dict[Offset, Tensor]:
        """The coefficients of ``P^T A P`` on the coarse grid, offset -> ``(batch, *half)``.

        One axis at a time: the triple product of a tensor-product interpolation factors. The next call
        writes to the same tensors.
        """
        for out, values, weight, fresh in self._products:
            if fresh:
                torch.mul(values, weight, out=out)
            else:
                out.add_(values, alpha=weight)
        return self.coarse


def _sum(out: Tensor, pairs: list[tuple[Box, Tensor, Tensor]]) -> Couplings:
    whole = [k for k, (_, a, _) in enumerate(pairs) if a.shape == out.shape]
    first = pairs[whole[0]][1:] if whole else None
    others = [(out[to], a, y) for k, (to, a, y) in enumerate(pairs) if not whole or k != whole[0]]
    return Couplings(first, others)


def _subtract(b: Tensor, couplings: Couplings, x: Tensor, inverse: Tensor) -> None:
    """``x = inverse (b - sum a y)``."""
    if couplings.first is not None:
        torch.addcmul(b, *couplings.first, value=-1, out=x)
    elif couplings.others:
        x.copy_(b)
    else:
        torch.mul(b, inverse, out=x)
        return
    for to, a, y in couplings.others:
        to.addcmul_(a, y, value=-1)
    x.mul_(inverse)
