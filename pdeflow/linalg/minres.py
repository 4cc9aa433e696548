"""The minimal residual method for Hermitian systems that may be indefinite."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from pdeflow.linalg.compiled_recurrence import CompiledRecurrence
from pdeflow.linalg.lockstep import (
    RUNNING,
    Iterate,
    begin,
    dot,
    mark,
    norm,
)
from pdeflow.linalg.operator import Tag, column, magnitude
from pdeflow.linalg.solution import Status


@dataclass
class Lanczos(Iterate):
    """Vectors and numbers of the Lanczos process and of the QR of its tridiagonal matrix.

    ``u = beta v`` is the newest Lanczos vector before it is scaled, ``u_old`` the one before, ``z = M u``;
    ``d`` and ``d_old`` are the last directions of x. ``phi`` is ``||r||`` in the norm of M. The numbers
    are those of ``unit A``: a power of two that brings A M to order one, so that no square leaves the range.
    ``p`` is ``unit M v``, which makes the directions those of A itself.
    """

    u: Tensor
    u_old: Tensor
    z: Tensor
    p: Tensor
    q: Tensor
    d: Tensor
    d_old: Tensor
    beta: Tensor
    beta_old: Tensor
    phi: Tensor
    cosine: Tensor
    sine: Tensor
    delta_bar: Tensor
    epsilon: Tensor
    largest: Tensor
    unit: Tensor


@dataclass(frozen=True)
class MINRES(CompiledRecurrence):
    """Preconditioned MINRES for Hermitian systems, definite or not; M must be positive definite.

    The Lanczos process makes vectors v_j that are orthonormal in the inner product of M, v_1 along r::

        beta_(j+1) v_(j+1) = A M v_j - alpha_j v_j - beta_j v_(j-1)

    Rotations (c, s) bring its tridiagonal matrix to the upper triangle (epsilon, delta, gamma)::

        d_j = (M v_j - epsilon_j d_(j-2) - delta_j d_(j-1)) / gamma_j;  x += c phi d_j;  phi = s phi

    which minimises ``||b - A x||`` in the norm of M. The residual is carried along as
    ``r_j = s^2 r_(j-1) - c phi_j v_(j+1)``, so that the stopping test is on its 2-norm, as everywhere.

    The host reads only whether any system is still running, every ``check_every`` steps; at the end the
    residual is recomputed in float64 from x, and where it belies the recursive one the iteration starts
    again, or ends as ``STAGNATED`` once that does not halve it. So does a system whose residual A maps to
    zero up to rounding: x then solves the least squares problem, and the status is ``SINGULAR``.

    On a CPU, for float64 stencils and sparse matrices with no preconditioner, Jacobi, multigrid
    or IC, the same steps are compiled and take one system after the other, whose vectors then
    stay in the cache.

    Reference: C. C. Paige and M. A. Saunders, "Solution of sparse indefinite systems of linear equations",
    SIAM J. Numer. Anal. 12 (1975); for r: S.-C. T. Choi, C. C. Paige, M. A. Saunders, "MINRES-QLP: a Krylov
    subspace method for indefinite or singular symmetric systems", SIAM J. Sci. Comput. 33 (2011).

    Parameters
    ----------
    check_every
        Steps between two looks of the host at the stopping test. By default 1 on a CPU, and 8 elsewhere.
        The compiled form, which looks in every step, is used only by default.
    """

    requires: ClassVar[frozenset[Tag]] = frozenset({Tag.SYMMETRIC})
    source: ClassVar[str] = "minres"
    passed: ClassVar[tuple[str, ...]] = (
        *("x", "r", "u", "u_old", "z", "p", "q", "d", "d_old"),
        *("beta", "beta_old", "phi", "cosine", "sine", "delta_bar", "epsilon", "largest", "unit", "norm"),
        *("target", "status", "iterations"),
    )

    def start(self, state: Any, b: Tensor, x0: Tensor | None, rtol: float, atol: float) -> Lanczos:
        """The first residual, and of the Lanczos process its first vector."""
        first = begin(state, b, x0, rtol, atol)
        vectors = {name: torch.zeros_like(first.r) for name in ("u", "u_old", "z", "p", "q", "d", "d_old")}
        names = ("phi", "beta", "beta_old", "cosine", "sine", "delta_bar", "epsilon", "largest", "unit")
        numbers = {name: torch.zeros_like(first.norm) for name in names}
        s = Lanczos(**{**vars(first), **vectors, **numbers})
        self.restart(state, s, torch.ones_like(first.status, dtype=torch.bool))
        return s

    def restart(self, state: Any, s: Any, again: Tensor) -> None:
        """v_1 along the r in place, and the QR of nothing."""
        s.u.copy_(torch.where(column(again, s.r), s.r, s.u))
        for vector in (s.u_old, s.d, s.d_old):
            vector.masked_fill_(column(again, vector), 0)
        for number in (s.sine, s.delta_bar, s.epsilon, s.largest, s.unit):
            number.masked_fill_(again, 0)
        s.cosine.masked_fill_(again, -1)
        s.beta_old.masked_fill_(again, 1)
        beta = self._precondition(state, s)
        s.beta.copy_(torch.where(again, beta, s.beta))
        s.phi.copy_(torch.where(again, beta, s.phi))
        if not self._is_compiled(state):  # which finds the unit itself where it is zero
            s.unit.copy_(torch.where(again, self._unit(state, s), s.unit))

    def _unit(self, state: Any, s: Any) -> Tensor:
        """The power of two that brings A M to order one, from the first product."""
        inverse = torch.where(s.beta > 0, s.beta.reciprocal(), 0.0)
        torch.mul(s.z, column(inverse, s.z).to(s.z.dtype), out=s.p)
        state.A.apply_into(s.p, s.q)
        sizes = torch.stack([magnitude(s.p), magnitude(s.q)]).to(torch.float64)
        sizes = torch.where(torch.isfinite(sizes) & (sizes > 0), sizes, 1.0)
        exponent = -torch.frexp(sizes)[1].sum(0)
        return torch.ldexp(torch.ones_like(s.beta), exponent.clamp(-1000, 1000))

    def _precondition(self, state: Any, s: Any) -> Tensor:
        """``z = M u`` and the norm of u in M."""
        if state.M is None:
            s.z.copy_(s.u)
        else:
            state.M.apply_into(s.u, s.z)
        square = dot(s.u, s.z).to(torch.float64)
        running = s.status == RUNNING
        # At the end of a Krylov space u is rounding, and so is the sign of its square.
        negative = (square < 0) & (square.abs().sqrt() > 1e-6 * s.largest)
        s.status = mark(s.status, running & negative, Status.INDEFINITE_PRECONDITIONER)
        s.status = mark(s.status, running & ~torch.isfinite(square), Status.BREAKDOWN)
        return square.clamp(min=0).sqrt()

    def step(self, state: Any, s: Any) -> None:
        """One Lanczos vector, one rotation, one direction; nothing is read by the host."""
        running = s.status == RUNNING
        s.iterations += running
        # A system that has ended goes on with p = 0 and d = 0.
        inverse = torch.where(running & (s.beta > 0), s.beta.reciprocal(), 0.0)
        torch.mul(s.z, column(inverse * s.unit, s.z).to(s.z.dtype), out=s.p)
        q = state.A.apply_into(s.p, s.q)
        q.addcmul_(column(s.beta / s.beta_old, q).to(q.dtype), s.u_old, value=-1)
        alpha = dot(s.p, q).to(torch.float64) / s.unit
        torch.addcmul(q, column(alpha * inverse, q).to(q.dtype), s.u, value=-1, out=s.u_old)
        s.u, s.u_old = s.u_old, s.u
        s.largest = torch.maximum(s.largest, alpha.abs())
        s.beta_old = torch.where(s.beta > 0, s.beta, 1.0)
        s.beta = self._precondition(state, s)
        s.largest = torch.maximum(s.largest, s.beta)

        epsilon, delta = s.epsilon, s.cosine * s.delta_bar + s.sine * alpha
        gamma_bar = s.sine * s.delta_bar - s.cosine * alpha
        s.epsilon, s.delta_bar = s.sine * s.beta, -s.cosine * s.beta
        gamma = torch.hypot(gamma_bar, s.beta)
        running = s.status == RUNNING
        # Of ||A r|| / ||r|| in the norm of M: where that is zero, no x is better than this one.
        rounding = torch.finfo(s.r.dtype).eps ** (2 / 3) * s.largest
        least = torch.hypot(gamma_bar, s.delta_bar) <= rounding
        usable = running & (gamma > rounding)
        inverse = torch.where(usable, gamma.reciprocal(), 0.0)
        s.cosine, s.sine = gamma_bar * inverse, s.beta * inverse

        d = s.d_old.mul_(column(-epsilon, s.p).to(s.p.dtype))
        d.addcmul_(column(delta, d).to(d.dtype), s.d, value=-1).add_(s.p)
        d.mul_(column(inverse, d).to(d.dtype))
        s.d, s.d_old = d, s.d
        along = s.cosine * s.phi
        s.x.addcmul_(column(torch.where(usable, along, 0.0), d).to(d.dtype), d)
        s.r.mul_(column(torch.where(usable, s.sine.square(), 1.0), d).to(d.dtype))
        s.r.addcmul_(column(along * inverse, d).to(d.dtype), s.u, value=-1)
        s.phi = torch.where(usable, s.sine * s.phi, s.phi)
        s.norm = torch.where(running, norm(s.r), s.norm)
        s.status = mark(s.status, running & (least | ~usable), Status.STAGNATED)
        s.status = mark(s.status, running & ~torch.isfinite(s.norm), Status.BREAKDOWN)
        s.status = mark(s.status, running & (s.norm <= s.target), Status.CONVERGED)
