"""The compiled forms of CG, MINRES and BiCGStab: the loops of ``native/cg.c`` and its neighbours."""

from __future__ import annotations

import ctypes
import functools
from typing import Any, ClassVar

import torch
from torch import Tensor

from pdeflow.linalg import native
from pdeflow.linalg.compiled_factors import FactorsCall
from pdeflow.linalg.incomplete_lu import IncompleteInverse
from pdeflow.linalg.jacobi import DiagonalOperator
from pdeflow.linalg.lockstep import Prepared, ShortRecurrence
from pdeflow.linalg.multigrid import MultigridCycle
from pdeflow.linalg.operator import LinearOperator
from pdeflow.linalg.sparse import SparseOperator
from pdeflow.linalg.stencil import StencilOperator

IDENTITY, DIAGONAL, CYCLE, FACTORS, ROW_FACTORS = range(5)
STEPS = 64  # between two looks of the host; every system stops by itself


class System(ctypes.Structure):
    """The struct of ``native/recurrence.h``."""

    _fields_ = (
        ("samples", ctypes.c_int64),
        ("size", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("plan", "start", "column")),
        ("coefficient_stride", ctypes.c_int64),
        ("coefficients", ctypes.c_void_p),
        ("kind", ctypes.c_int64),
        *((name, ctypes.c_void_p) for name in ("diagonal", "set_up", "cycle", "factors", "row_factors")),
    )


class CompiledRecurrence(ShortRecurrence):
    """A recurrence that has a compiled form, which is used unless ``check_every`` is set.

    It takes one system after the other, whose vectors then stay in the cache, and looks in every step.
    """

    source: ClassVar[str]
    passed: ClassVar[tuple[str, ...]]  # the tensors of the iterate that ``source`` takes, in its order

    def advance(self, state: Any, s: Any, steps: int) -> list[Tensor]:
        """Up to ``steps`` iterations of every running system, compiled where that can be."""
        if self._is_compiled(state):
            return advance(self.source, self.passed, state, s, steps)
        return super().advance(state, s, steps)

    def steps_between_looks(self, state: Any) -> int:
        """Many where the loop is compiled, for there each system stops by itself."""
        return STEPS if self._is_compiled(state) else super().steps_between_looks(state)

    def _is_compiled(self, state: Prepared) -> bool:
        return self.check_every is None and fits(state)


def takes(A: LinearOperator) -> bool:
    """Whether the compiled forms can iterate with this operator: a float64 stencil or matrix on a CPU."""
    if A.dtype != torch.float64 or A.device.type != "cpu":
        return False
    if isinstance(A, StencilOperator):
        return A.compiled is not None
    return isinstance(A, SparseOperator) and native.library("sparse") is not None


def fits(state: Prepared) -> bool:
    """Whether they can, with this preconditioner: none, Jacobi, multigrid or incomplete factors."""
    M = state.M
    if isinstance(M, (MultigridCycle, IncompleteInverse)):
        known = M.compiled is not None
    else:
        known = M is None or isinstance(M, DiagonalOperator)
    return known and takes(state.A)


def advance(method: str, names: tuple[str, ...], state: Prepared, s: Any, steps: int) -> list[Tensor]:
    """Up to ``steps`` iterations of every running system; gives the residual norms after each, ``(batch,)``.

    Parameters
    ----------
    method
        The source in ``native``.
    names
        The tensors of the iterate ``s`` that it takes, in its order.
    """
    A, M = state.A, state.M
    system = System(samples=A.batch, size=A.size, kind=IDENTITY)
    if isinstance(A, StencilOperator):
        system.plan, values = A.plan.data_ptr(), A.coefficients
    else:
        assert isinstance(A, SparseOperator)
        values = A.values.contiguous()
        system.start, system.column = A.pattern.indptr.data_ptr(), A.pattern.narrow_indices.data_ptr()
    system.coefficients, system.coefficient_stride = values.data_ptr(), values.stride(0)
    if isinstance(M, DiagonalOperator):
        system.kind, system.diagonal = DIAGONAL, M.diagonal().data_ptr()
    elif isinstance(M, MultigridCycle):
        set_up, cycle = M.calls(s.r, s.z)
        system.kind, system.cycle = CYCLE, ctypes.addressof(cycle)
        system.set_up = None if set_up is None else ctypes.addressof(set_up)
    elif isinstance(M, IncompleteInverse):
        factors = M.compiled
        assert factors is not None
        if isinstance(factors, FactorsCall):
            system.kind, system.factors = FACTORS, ctypes.addressof(factors)
        else:
            system.kind, system.row_factors = ROW_FACTORS, ctypes.addressof(factors)
    history = torch.empty((steps, A.batch), dtype=torch.float64, device="cpu")
    call = _layout(names)(system, steps)
    for name in names:
        setattr(call, name, getattr(s, name).data_ptr())
    call.history = history.data_ptr()
    library = native.library(method)
    assert library is not None  # fits() has seen that the machine can compile
    library.advance.restype = ctypes.c_int64
    taken = library.advance(ctypes.byref(call))
    return list(history[:taken])


@functools.cache
def _layout(names: tuple[str, ...]) -> type[ctypes.Structure]:
    fields = [("system", System), ("steps", ctypes.c_int64)]
    fields += [(name, ctypes.c_void_p) for name in (*names, "history")]
    return type("Solve", (ctypes.Structure,), {"_fields_": tuple(fields)})
