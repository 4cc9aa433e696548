"""Incomplete factors ``A ~ L D U`` without fill, level by level: the eager form, on any device.

:mod:`~pdeflow.linalg.compiled_factors` has the same numbers, up to rounding, point after point.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from pdeflow.linalg.stencil import StencilOperator, boxes
from pdeflow.linalg.triangular import Elimination, Sweep

# A pivot is spoilt where it is this many roundings of the diagonal, or less.
SPOILT = 64.0


class LevelFactors:
    """Factors of every system of a batch; ``symmetric`` makes them L D L*, from the lower part of A."""

    def __init__(self, A: StencilOperator, symmetric: bool, dtype: torch.dtype) -> None:
        self._plan = _plan(A.offsets, A.shape, A.periodic, symmetric, A.device)
        self._symmetric, self._dtype = symmetric, dtype

    def fill(self, A: StencilOperator, scale: Tensor) -> None:
        """Factor ``scale A``, with one scale a system."""
        plan = self._plan
        flat = A.coefficients.flatten(1)[:, plan.source] * scale[:, None]
        values = torch.zeros((A.batch, plan.count), dtype=self._dtype, device=A.device)
        values.index_add_(1, plan.target, flat.to(self._dtype))
        if self._symmetric:
            values[:, plan.above] = values[:, plan.mirrored].conj()
        self._scale = scale.reshape(-1, *(1,) * len(A.shape))
        smallest = SPOILT * torch.finfo(self._dtype).eps
        plan.elimination.factor(values, smallest, self._symmetric)
        self._values = values
        self._inverse = values[:, plan.elimination.diagonal].reciprocal()
        self._entries = [plan.lower.gather(values), plan.upper.gather(values)]
        self._adjoint_entries: list[list[Tensor]] | None = None

    def solve(self, x: Tensor, out: Tensor) -> None:
        """``out = scale U^-1 D^-1 L^-1 x``."""
        y = self._plan.lower.solve(self._entries[0], x.to(self._dtype).flatten(1))
        y = self._plan.upper.solve(self._entries[1], y * self._inverse)
        # In the operator's dtype, because the scale may be beyond the range of float32.
        out.copy_(y.reshape(x.shape)).mul_(self._scale)

    def solve_adjoint(self, x: Tensor, out: Tensor) -> None:
        """``out = scale L^-* D^-* U^-* x``."""
        plan = self._plan
        if self._adjoint_entries is None:
            conjugate = self._values.conj().resolve_conj()
            self._adjoint_entries = [plan.upper_turned.gather(conjugate), plan.lower_turned.gather(conjugate)]
        y = plan.upper_turned.solve(self._adjoint_entries[0], x.to(self._dtype).flatten(1))
        y = plan.lower_turned.solve(self._adjoint_entries[1], y * self._inverse.conj())
        # In the operator's dtype, because the scale may be beyond the range of float32.
        out.copy_(y.reshape(x.shape)).mul_(self._scale)


class _Plan:
    """What the pattern of a stencil decides."""

    def __init__(
        self,
        offsets: Sequence[tuple[int, ...]],
        shape: tuple[int, ...],
        periodic: Sequence[bool],
        symmetric: bool,
        device: torch.device,
    ) -> None:
        self._device, self.size = device, torch.Size(shape).numel()
        number = torch.arange(self.size).reshape(shape)
        pairs = [(k, *pair) for k, offset in enumerate(offsets) for pair in boxes(shape, offset, periodic)]
        rows = torch.cat([number[at].flatten() for _, at, _ in pairs])
        columns = torch.cat([number[at].flatten() for _, _, at in pairs])
        source = torch.cat([k * self.size + number[at].flatten() for k, at, _ in pairs])
        if symmetric:
            low = rows >= columns
            rows, columns, source = rows[low], columns[low], source[low]
        keys = rows * self.size + columns
        every = torch.cat([keys, columns * self.size + rows]) if symmetric else keys
        # Two offsets may lead to the same point of a short periodic axis.
        merged = torch.unique(every)
        self.count = len(merged)
        self.source, self.target = source.to(device), torch.searchsorted(merged, keys).to(device)
        self._rows, self._columns = merged // self.size, merged % self.size
        self.elimination = Elimination(self._rows, self._columns, self.size, device)
        if symmetric:
            above = (self._rows < self._columns).nonzero()[:, 0]
            turned = self._columns[above] * self.size + self._rows[above]
            self.above, self.mirrored = above.to(device), torch.searchsorted(merged, turned).to(device)

    def _sweep(self, below: bool, turned: bool) -> Sweep:
        rows, columns = self._rows, self._columns
        entries = ((rows > columns) if below else (rows < columns)).nonzero()[:, 0]
        rows, columns = rows[entries], columns[entries]
        if turned:
            rows, columns = columns, rows
        return Sweep(rows, columns, entries, self.size, self._device)

    lower = functools.cached_property(lambda self: self._sweep(below=True, turned=False))
    upper = functools.cached_property(lambda self: self._sweep(below=False, turned=False))
    lower_turned = functools.cached_property(lambda self: self._sweep(below=True, turned=True))
    upper_turned = functools.cached_property(lambda self: self._sweep(below=False, turned=True))


@functools.lru_cache(maxsize=8)
def _plan(
    offsets: tuple[tuple[int, ...], ...],
    shape: tuple[int, ...],
    periodic: tuple[bool, ...],
    symmetric: bool,
    device: torch.device,
) -> _Plan:
    return _Plan(offsets, shape, periodic, symmetric, device)
