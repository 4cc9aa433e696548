"""Arrays that lie in one memory a sample, at places that are the same for every batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

LINE = 16  # numbers: a cache line of float32
PAGE = 1024  # numbers: a page of float32
STAGGER = 5 * LINE

SAMPLE, CONSTANT = 0, 1


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
