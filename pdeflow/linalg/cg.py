"""The conjugate gradient method, for a batch of systems in lockstep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from pdeflow.linalg.compiled_recurrence import CompiledRecurrence, takes
from pdeflow.linalg.conjugate_directions import ConjugateDirections, precondition
from pdeflow.linalg.lockstep import RUNNING, Prepared
from pdeflow.linalg.multigrid import Multigrid
from pdeflow.linalg.operator import LinearOperator, column
from pdeflow.linalg.preconditioner import Preconditioner


@dataclass(frozen=True)
class CG(CompiledRecurrence, ConjugateDirections):
    """Preconditioned conjugate gradients for Hermitian positive definite systems.

    With ``r = b - A x``, ``z = M r``, ``p = z``, every step does::

        alpha = r* z / p* A p;  x += alpha p;  r -= alpha A p
        z = M r;  beta = (r* z)_new / (r* z)_old;  p = z + beta p

    All systems step together; one that has ended is masked out and keeps its x. The curvatures p* A p and
    r* M r are checked in every step, without the host looking: it reads only whether any system is still
    running, every ``check_every`` steps. When all have ended, the residual is recomputed in float64 from x;
    where it belies the recursive one, the iteration starts again from it, and ends as ``STAGNATED`` once
    that does not halve it.

    On a CPU, for float64 stencils and sparse matrices with no preconditioner, Jacobi, multigrid
    or IC, the same steps are compiled and take one system after the other, whose vectors then
    stay in the cache.

    Reference: M. R. Hestenes and E. Stiefel, "Methods of conjugate gradients for solving linear systems",
    J. Res. Nat. Bur. Standards 49 (1952).

    Parameters
    ----------
    check_every
        Steps between two looks of the host at the stopping test. By default 1 on a CPU, where looking
        costs nothing, and 8 elsewhere. The compiled form, which looks in every step, is used only by default.
    """

    source: ClassVar[str] = "cg"
    passed: ClassVar[tuple[str, ...]] = (
        *("x", "r", "p", "q", "z", "rz", "norm"),
        *("target", "status", "iterations"),
    )

    def init(
        self, A: LinearOperator, preconditioner: Preconditioner | None = None, previous: Any = None
    ) -> Prepared:
        """Prepare the preconditioner, reusing that of ``previous`` where it fits."""
        if not isinstance(preconditioner, Multigrid) or self.check_every or not takes(A):
            return super().init(A, preconditioner, previous)
        state = super().init(A)
        state.M = preconditioner.init(A, None if previous is None else previous.M, in_turn=True)
        return state

    def turn(self, state: Any, s: Any) -> None:
        """``p = z + beta p``; nothing is read by the host."""
        rz = precondition(state, s)
        running = s.status == RUNNING
        # A system that has ended keeps its p: where the curvature failed, p tells why.
        beta = torch.where(running, rz / s.rz, 1.0)
        s.p.mul_(column(beta, s.p).to(s.p.dtype)).addcmul_(column(running, s.p).to(s.p.dtype), s.z)
        s.rz = rz
