"""Incomplete factors ``A ~ L D U`` without fill, level by level: the eager form, on any device.

:mod:`~pdeflow.linalg.compiled_factors` and :mod:`~pdeflow.linalg.sparse_factors` have the same numbers, up to
rounding, one unknown after the other.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from pdeflow.linalg.sparse import SparseOperator
from pdeflow.linalg.sparse_matrix import SparsePattern
from pdeflow.linalg.triangular import Elimination, Sweep

# A pivot is spoilt where it is this many roundings of the diagonal, or less.
SPOILT = 64.0


class LevelFactors:
    """Factors of every system of a batch; ``symmetric`` makes them L D L*, from the lower part of A.

    ``relaxation`` is the share of the dropped fill that is added to the diagonal.
    """

    def __init__(self, A: SparseOperator, symmetric: bool, dtype: torch.dtype, relaxation: float) -> None:
        self._plan = factor_pattern(A.pattern, symmetric, A.device)
        self._levels = _levels(self._plan.pattern, relaxation > 0, A.device)
        self._symmetric, self._dtype, self._relaxation = symmetric, dtype, relaxation

    def fill(self, A: SparseOperator, scale: Tensor) -> None:
        """Factor ``scale A``, with one scale a system."""
        levels, values = self._levels, self._plan.values(A, scale, self._dtype)
        self._scale = scale.reshape(-1, *(1,) * len(A.shape))
        smallest = SPOILT * torch.finfo(self._dtype).eps
        levels.elimination.factor(values, smallest, self._symmetric, self._relaxation)
        self._values = values
        self._inverse = values[:, levels.elimination.diagonal].reciprocal()
        self._entries = [levels.lower.gather(values), levels.upper.gather(values)]
        self._adjoint_entries: list[list[Tensor]] | None = None

    def solve(self, x: Tensor, out: Tensor) -> None:
        """``out = scale U^-1 D^-1 L^-1 x``."""
        y = self._levels.lower.solve(self._entries[0], x.to(self._dtype).flatten(1))
        y = self._levels.upper.solve(self._entries[1], y * self._inverse)
        # In the operator's dtype, because the scale may be beyond the range of float32.
        out.copy_(y.reshape(x.shape)).mul_(self._scale)

    def solve_adjoint(self, x: Tensor, out: Tensor) -> None:
        """``out = scale L^-* D^-* U^-* x``."""
        levels = self._levels
        if self._adjoint_entries is None:
            conjugate = self._values.conj().resolve_conj()
            self._adjoint_entries = [
                levels.upper_turned.gather(conjugate),
                levels.lower_turned.gather(conjugate),
            ]
        y = levels.upper_turned.solve(self._adjoint_entries[0], x.to(self._dtype).flatten(1))
        y = levels.lower_turned.solve(self._adjoint_entries[1], y * self._inverse.conj())
        # In the operator's dtype, because the scale may be beyond the range of float32.
        out.copy_(y.reshape(x.shape)).mul_(self._scale)


class FactorPattern:
    """Which entries the factors of a matrix have, and where their values come from.

    They are those of the matrix, or, for a Hermitian one, those of its lower part and their mirror images.
    """

    def __init__(self, pattern: SparsePattern, symmetric: bool, device: torch.device) -> None:
        self.pattern, self._source = pattern, None
        if symmetric:
            size, rows, columns = pattern.rows, pattern.row_numbers, pattern.indices
            low = (rows >= columns).nonzero()[:, 0]
            keys, turned = (rows * size + columns)[low], (columns * size + rows)[low]
            merged = torch.unique(torch.cat([keys, turned]))
            rows, columns = merged // size, merged % size
            below = torch.maximum(rows, columns) * size + torch.minimum(rows, columns)
            self._source = low[torch.searchsorted(keys, below)].to(device)
            self._above = (rows < columns).to(device)
            counts = torch.bincount(rows, minlength=size)
            indptr = torch.cat([torch.zeros(1, dtype=torch.int64, device="cpu"), counts.cumsum(0)])
            self.pattern = SparsePattern(indptr, columns, size)

    def values(self, A: SparseOperator, scale: Tensor, dtype: torch.dtype) -> Tensor:
        """Those of ``scale A``, ``(batch, entries)``, in memory of their own."""
        values = A.values.detach()
        if self._source is not None:
            values = values.index_select(1, self._source)
            values = torch.where(self._above, values.conj(), values) if values.is_complex() else values
        return (values * scale[:, None]).to(dtype)


class _Levels:
    """What the pattern decides: the order of the elimination and of the sweeps."""

    def __init__(self, pattern: SparsePattern, relaxed: bool, device: torch.device) -> None:
        self._rows, self._columns, self._size = pattern.row_numbers, pattern.indices, pattern.rows
        self._device = device
        self.elimination = Elimination(self._rows, self._columns, self._size, relaxed, device)

    def _sweep(self, below: bool, turned: bool) -> Sweep:
        rows, columns = self._rows, self._columns
        entries = ((rows > columns) if below else (rows < columns)).nonzero()[:, 0]
        rows, columns = rows[entries], columns[entries]
        if turned:
            rows, columns = columns, rows
        return Sweep(rows, columns, entries, self._size, self._device)

    lower = functools.cached_property(lambda self: self._sweep(below=True, turned=False))
    upper = functools.cached_property(lambda self: self._sweep(below=False, turned=False))
    lower_turned = functools.cached_property(lambda self: self._sweep(below=True, turned=True))
    upper_turned = functools.cached_property(lambda self: self._sweep(below=False, turned=True))


@functools.lru_cache(maxsize=8)
def factor_pattern(pattern: SparsePattern, symmetric: bool, device: torch.device) -> FactorPattern:
    """The pattern of the factors, found once for that of the matrix."""
    return FactorPattern(pattern, symmetric, device)


@functools.lru_cache(maxsize=8)
def _levels(pattern: SparsePattern, relaxed: bool, device: torch.device) -> _Levels:
    return _Levels(pattern, relaxed, device)
