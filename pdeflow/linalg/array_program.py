"""Programs of sums of products over flattened arrays, which multigrid is written in.

On a structured grid a neighbour is a shift of the memory, so that a relaxation, a residual, a transfer
between grids and a Galerkin product are all of one form::

    out[i] = scale[i] (init[i] + sign sum_t a_t[i] y_t[i])

An :class:`~pdeflow.linalg.arena.Arena` hands out places for arrays, the same for every sample and every
batch, and a program, planned once for a grid, is a list of :mod:`~pdeflow.linalg.array_operations` on such
places. It runs on a :class:`~pdeflow.linalg.arena.Memory`, the arena filled with a batch: in torch, one
operation after the other over the whole batch, on any device; or, for real numbers on a CPU, in a compiled
interpreter that takes one sample after the other, whose arrays then stay in the cache. Both give the same
numbers up to rounding.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from pdeflow.linalg import native
from pdeflow.linalg.arena import Arena, Memory, OuterArray
from pdeflow.linalg.array_operations import Operation


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
            numbers = [number for operation in self.operations for number in operation.encode()]
            self._code = torch.tensor(numbers, dtype=torch.int64, device="cpu")
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
