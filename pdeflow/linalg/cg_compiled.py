"""The compiled form of the conjugate gradient iteration: ``native/cg.c``."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor

from pdeflow.linalg import native
from pdeflow.linalg.jacobi import DiagonalOperator
from pdeflow.linalg.multigrid import MultigridCycle
from pdeflow.linalg.operator import LinearOperator
from pdeflow.linalg.stencil import StencilOperator

IDENTITY, DIAGONAL, CYCLE = range(3)


class _Solve(ctypes.Structure):
    _fields_ = (
        ("samples", ctypes.c_int64),
        ("size", ctypes.c_int64),
        ("steps", ctypes.c_int64),
        ("plan", ctypes.c_void_p),
        ("coefficient_stride", ctypes.c_int64),
        ("coefficients", ctypes.c_void_p),
        ("kind", ctypes.c_int64),
        ("diagonal", ctypes.c_void_p),
        ("set_up", ctypes.c_void_p),
        ("cycle", ctypes.c_void_p),
        *((name, ctypes.c_void_p) for name in ("x", "r", "p", "q", "z", "rz", "norm", "target", "status")),
        ("iterations", ctypes.c_void_p),
        ("history", ctypes.c_void_p),
    )


def takes(A: LinearOperator) -> bool:
    """Whether the compiled form can iterate with this operator: a float64 stencil on a CPU."""
    return isinstance(A, StencilOperator) and A.dtype == torch.float64 and A.compiled is not None


def fits(A: LinearOperator, M: LinearOperator | None) -> bool:
    """Whether it can, with this preconditioner: none, Jacobi or multigrid."""
    known = M.compiled is not None if isinstance(M, MultigridCycle) else isinstance(M, DiagonalOperator)
    return takes(A) and (M is None or known)


def advance(A: StencilOperator, M: LinearOperator | None, s: Any, steps: int) -> list[Tensor]:
    """Up to ``steps`` iterations of every running system; gives the residual norms after each, ``(batch,)``.

    ``s`` is the iterate of :class:`~pdeflow.linalg.conjugate_directions.ConjugateDirections`.
    """
    library = native.library("cg")
    assert library is not None  # fits() has seen that the machine can compile
    library.advance.restype = ctypes.c_int64
    history = torch.empty((steps, A.batch), dtype=torch.float64)
    call = _Solve(samples=A.batch, size=A.size, steps=steps, kind=IDENTITY)
    call.plan = A.plan.data_ptr()
    call.coefficients, call.coefficient_stride = A.coefficients.data_ptr(), A.coefficients.stride(0)
    if isinstance(M, DiagonalOperator):
        call.kind, call.diagonal = DIAGONAL, M.diagonal().data_ptr()
    elif isinstance(M, MultigridCycle):
        set_up, cycle = M.calls(s.r, s.z)
        call.kind, call.cycle = CYCLE, ctypes.addressof(cycle)
        call.set_up = None if set_up is None else ctypes.addressof(set_up)
    for name in ("x", "r", "p", "q", "z", "rz", "norm", "target", "status", "iterations"):
        setattr(call, name, getattr(s, name).data_ptr())
    call.history = history.data_ptr()
    taken = library.advance(ctypes.byref(call))
    return list(history[:taken])
