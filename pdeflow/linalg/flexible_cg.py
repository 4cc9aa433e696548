"""Flexible conjugate gradients, for preconditioners that change or are not symmetric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from pdeflow.linalg.conjugate_directions import ConjugateDirections, inner, precondition
from pdeflow.linalg.lockstep import RUNNING
from pdeflow.linalg.operator import column


@dataclass(frozen=True)
class FlexibleCG(ConjugateDirections):
    """Conjugate gradients with the beta of Polak and Ribiere, for Hermitian positive definite A.

    ::

        alpha = z* r / p* A p;  x += alpha p;  r -= alpha A p
        z = M r;  beta = z* (r - r_old) / (z* r)_old;  p = z + beta p

    This beta makes p conjugate to the direction before it whatever M did, so M may be another iteration, a
    network, or not symmetric; CG relies on M for it. As ``r - r_old = -alpha A p``, it takes no other vector.
    Re r* M r must stay positive, or the status is ``INDEFINITE_PRECONDITIONER``. Stopping and statuses are
    those of :class:`~pdeflow.linalg.cg.CG`, to which it is equal for a fixed Hermitian M.

    References: G. H. Golub and Q. Ye, "Inexact preconditioned conjugate gradient method with inner-outer
    iteration", SIAM J. Sci. Comput. 21 (1999); Y. Notay, "Flexible conjugate gradients", SIAM J. Sci.
    Comput. 22 (2000).

    Parameters
    ----------
    check_every
        Steps between two looks of the host at the stopping test. By default 1 on a CPU, and 8 elsewhere.
    """

    def turn(self, state: Any, s: Any) -> None:
        """``p = z + beta p``; nothing is read by the host."""
        precondition(state, s)
        rz, running = inner(s.z, s.r), s.status == RUNNING
        # Of q = A p the part along z; before the first step alpha is 0 and p is 0.
        beta = torch.where(running, -s.alpha * inner(s.q, s.z) / s.rz, 1.0)
        s.p.mul_(column(beta, s.p).to(s.p.dtype)).addcmul_(column(running, s.p).to(s.p.dtype), s.z)
        s.rz = torch.where(running, rz, torch.ones_like(rz))
