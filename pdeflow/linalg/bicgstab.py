"""The stabilised biconjugate gradient method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from pdeflow.linalg.compiled_recurrence import CompiledRecurrence
from pdeflow.linalg.lockstep import RUNNING, Iterate, begin, mark, norm
from pdeflow.linalg.operator import column, double_precision, magnitude
from pdeflow.linalg.solution import Status


@dataclass
class BiDirections(Iterate):
    """Adds the vectors of :class:`BiCGStab` by their names there, and whether the next step starts afresh."""

    shadow: Tensor
    p: Tensor
    v: Tensor
    t: Tensor
    z: Tensor
    rho: Tensor
    alpha: Tensor
    omega: Tensor
    fresh: Tensor


@dataclass(frozen=True)
class BiCGStab(CompiledRecurrence):
    """BiCGStab for any nonsingular system, in little memory, preconditioned from the right.

    With a shadow residual w, the first r, every step does::

        rho = w* r;  beta = (rho / rho_old) (alpha / omega);  p = r + beta (p - omega v)
        v = A M p;  alpha = rho / w* v;  x += alpha M p;  r -= alpha v
        t = A M r;  omega = t* r / t* t;  x += omega M r;  r -= omega t

    with two products and, at both updates of r, the stopping test. Where rho, w* v or omega is zero up to
    rounding, the next step starts afresh, with w = r; a step that moves nothing at all, right after such a
    start, ends as ``BREAKDOWN``. The residual may wander far before it falls: where that has cost digits, the
    residual recomputed in float64 at the end belies the recursive one, and the iteration starts again
    from it, or ends as ``STAGNATED`` once that does not halve it.

    On a CPU, for float64 stencils and sparse matrices with no preconditioner, Jacobi, multigrid
    or incomplete factors, the same steps are compiled and take one system after the other, whose vectors then
    stay in the cache.

    Reference: H. A. van der Vorst, "Bi-CGSTAB: a fast and smoothly converging variant of Bi-CG for the
    solution of nonsymmetric linear systems", SIAM J. Sci. Stat. Comput. 13 (1992).

    Parameters
    ----------
    check_every
        Steps between two looks of the host at the stopping test. By default 1 on a CPU, and 8 elsewhere.
        The compiled form, which looks in every step, is used only by default.
    """

    source: ClassVar[str] = "bicgstab"
    passed: ClassVar[tuple[str, ...]] = (
        *("x", "r", "shadow", "p", "v", "t", "z"),
        *("rho", "alpha", "omega", "norm", "fresh"),
        *("target", "status", "iterations"),
    )

    def start(self, state: Any, b: Tensor, x0: Tensor | None, rtol: float, atol: float) -> BiDirections:
        """The first residual."""
        first = begin(state, b, x0, rtol, atol)
        one = torch.ones(first.r.shape[0], dtype=first.b.dtype, device=b.device)
        return BiDirections(
            **vars(first),
            shadow=torch.zeros_like(first.r),
            p=torch.zeros_like(first.r),
            v=torch.zeros_like(first.r),
            t=torch.zeros_like(first.r),
            z=torch.zeros_like(first.r),
            rho=one,
            alpha=one.clone(),  # the compiled form writes in place
            omega=one.clone(),
            fresh=torch.ones_like(first.status, dtype=torch.bool),
        )

    def restart(self, state: Any, s: Any, again: Tensor) -> None:
        """The next step starts afresh."""
        s.fresh = s.fresh | again

    def step(self, state: Any, s: Any) -> None:
        """One step along p and one along r; nothing is read by the host."""
        running = s.status == RUNNING
        s.iterations += running
        epsilon = torch.finfo(s.r.dtype).eps
        rho, size = _inner(s.shadow, s.r), norm(s.shadow) * s.norm
        fresh = s.fresh | (rho.abs() <= epsilon * size)
        s.shadow.copy_(torch.where(column(fresh, s.r), s.r, s.shadow))
        rho = torch.where(fresh, s.norm.square().to(rho.dtype), rho)
        beta = torch.where(running & ~fresh, rho / s.rho * (s.alpha / s.omega), 0.0)
        s.p.addcmul_(column(s.omega, s.p).to(s.p.dtype), s.v, value=-1)
        # A product with beta = 0 would keep what is not finite.
        s.p.copy_(torch.where(column(beta != 0, s.p), s.p * column(beta, s.p).to(s.p.dtype) + s.r, s.r))

        self._apply(state, s, s.p, s.v)
        across = _inner(s.shadow, s.v)
        lost = across.abs() <= epsilon * norm(s.shadow) * magnitude(s.v)
        alpha = torch.where(running & ~lost, rho / across, 0.0)
        self._move(state, s, s.p, s.v, alpha)

        running_still = s.status == RUNNING
        self._apply(state, s, s.r, s.t)
        # A power of two keeps the square of t within the range.
        largest = magnitude(s.t)
        usable = torch.isfinite(largest) & (largest > 0)
        down = torch.ldexp(torch.ones_like(largest), -torch.frexp(torch.where(usable, largest, 1.0))[1])
        for vector in (s.t, s.z):
            vector.mul_(column(down, vector))
        length = norm(s.t)
        along = _inner(s.t, s.r)
        flat = along.abs() <= epsilon * length * s.norm
        omega = torch.where(running_still & ~flat, along / length / length, 0.0)
        self._move(state, s, s.r, s.t, omega)

        s.status = mark(s.status, (s.status == RUNNING) & fresh & lost & flat, Status.BREAKDOWN)
        s.fresh = lost | flat
        omega = omega * down
        s.rho, s.alpha, s.omega = rho, alpha, torch.where(omega == 0, torch.ones_like(omega), omega)

    def _apply(self, state: Any, s: Any, vector: Tensor, out: Tensor) -> None:
        """``A M vector``, with ``M vector`` left in z."""
        if state.M is None:
            s.z.copy_(vector)
        else:
            state.M.apply_into(vector, s.z)
        state.A.apply_into(s.z, out)

    def _move(self, state: Any, s: Any, vector: Tensor, image: Tensor, weight: Tensor) -> None:
        """``x += weight z``, ``r -= weight A z``, and the stopping test."""
        running = s.status == RUNNING
        broken = running & ~torch.isfinite(weight)
        s.status = mark(s.status, broken, Status.BREAKDOWN)
        taken = column(torch.where(s.status == RUNNING, weight, 0.0), s.x).to(s.x.dtype)
        s.x.addcmul_(taken, s.z)
        s.r.addcmul_(taken, image, value=-1)
        running = s.status == RUNNING
        s.norm = torch.where(running, norm(s.r), s.norm)
        s.status = mark(s.status, running & ~torch.isfinite(s.norm), Status.BREAKDOWN)
        s.status = mark(s.status, running & (s.norm <= s.target), Status.CONVERGED)


def _inner(x: Tensor, y: Tensor) -> Tensor:
    """``x* y`` in double precision."""
    product = torch.linalg.vecdot(x.flatten(1), y.flatten(1))
    return product.to(double_precision(product.dtype))
