"""The conjugate gradient method, for a batch of systems in lockstep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg.operator import LinearOperator, Tag, magnitude
from pdeflow.linalg.preconditioner import Preconditioner
from pdeflow.linalg.solution import Solution, Status
from pdeflow.linalg.solver import Solver

RUNNING = -1  # a system that has no status yet


@dataclass
class CGState:
    """An operator, the same in float64 for true residuals, and its preconditioner."""

    A: LinearOperator
    exact: LinearOperator
    M: LinearOperator | None


@dataclass
class Iterate:
    """The vectors of one solve, ``(batch, *shape)``, and its numbers, ``(batch,)``, for b divided by scale.

    ``b`` and the norms are in double precision; ``norm`` is what the recursion says of r, ``true_norm``
    was worked out from x. The status is ``RUNNING`` or a Status.
    """

    b: Tensor
    b_norm: Tensor
    scale: Tensor
    target: Tensor
    x: Tensor
    r: Tensor
    p: Tensor
    q: Tensor
    z: Tensor
    rz: Tensor
    norm: Tensor
    true_norm: Tensor
    status: Tensor
    iterations: Tensor
    history: list[Tensor]


@dataclass(frozen=True)
class CG(Solver):
    """Preconditioned conjugate gradients for Hermitian positive definite systems.

    With ``r = b - A x``, ``z = M r``, ``p = z``, every step does::

        alpha = r* z / p* A p;  x += alpha p;  r -= alpha A p
        z = M r;  beta = (r* z)_new / (r* z)_old;  p = z + beta p

    All systems step together; one that has ended is masked out and keeps its x. The curvatures p* A p and
    r* M r are checked in every step, without the host looking: it reads only whether any system is still
    running, every ``check_every`` steps. When all have ended, the residual is recomputed in float64 from x;
    where it belies the recursive one, the iteration starts again from it, and ends as ``STAGNATED`` once
    that does not halve it.

    Reference: M. R. Hestenes and E. Stiefel, "Methods of conjugate gradients for solving linear systems",
    J. Res. Nat. Bur. Standards 49 (1952).

    Parameters
    ----------
    check_every
        Steps between two looks of the host at the stopping test. By default 1 on a CPU, where looking
        costs nothing, and 8 elsewhere.
    """

    check_every: int | None = None

    requires: ClassVar[frozenset[Tag]] = frozenset({Tag.SYMMETRIC})

    def __post_init__(self) -> None:
        if self.check_every is not None and self.check_every < 1:
            raise InvalidInput("check_every", self.check_every, "at least 1, or None")

    def init(
        self,
        A: LinearOperator,
        preconditioner: Preconditioner | None = None,
        previous: CGState | None = None,
    ) -> CGState:
        """Prepare the preconditioner, reusing that of ``previous`` where it fits."""
        double = torch.complex128 if A.dtype.is_complex else torch.float64
        exact = A if A.dtype == double else A.to(double)
        earlier = None if previous is None else previous.M
        return CGState(A, exact, None if preconditioner is None else preconditioner.init(A, earlier))

    def solve(
        self,
        state: CGState,
        b: Tensor,
        x0: Tensor | None = None,
        *,
        rtol: float,
        atol: float,
        max_iterations: int | None,
    ) -> tuple[Solution, CGState]:
        """Iterate from x0, or from zero."""
        A = state.A
        limit = min(10 * A.size + 100, 20_000) if max_iterations is None else max_iterations
        every = self.check_every or (1 if A.device.type == "cpu" else 8)
        s = self.start(state, b, x0, rtol, atol)
        best, taken = s.norm, 0
        while taken < limit and bool((s.status == RUNNING).any()):
            while taken < limit:
                self.step(state, s)
                taken += 1
                if taken % every == 0 or taken == limit:
                    s.history.append(s.norm)
                    if not bool((s.status == RUNNING).any()):
                        break
                self.turn(state, s)
            best = self._verify(state, s, best)
        return self._finish(state, s), state

    def start(self, state: CGState, b: Tensor, x0: Tensor | None, rtol: float, atol: float) -> Iterate:
        """The first residual and direction, for b scaled to order one.

        The scale is a power of two, so that no number is rounded; it keeps norms within the range of the
        dtype, and residuals within that of a float32 preconditioner.
        """
        largest = magnitude(b)
        usable = torch.isfinite(largest) & (largest > 0)
        # Not below the smallest normal number, so that the reciprocal is finite too.
        largest_or_one = torch.where(usable, largest, 1.0).clamp(min=torch.finfo(largest.dtype).tiny)
        scale = torch.ldexp(torch.ones_like(largest), torch.frexp(largest_or_one)[1] - 1)
        b = (b * _column(scale.reciprocal(), b)).contiguous()
        finite = state.A.is_finite() & torch.isfinite(largest)
        x = torch.zeros_like(b)
        if x0 is not None:
            finite = finite & torch.isfinite(magnitude(x0))
            # With b = 0 the answer is 0, whatever the guess.
            x = torch.where(_column(largest > 0, b), x0 * _column(scale.reciprocal(), b), x).contiguous()
        exact_b = b.to(state.exact.dtype)
        true = exact_b if x0 is None else exact_b - state.exact.apply(x.to(exact_b.dtype))
        r = true.clone() if b.dtype == true.dtype else true.to(b.dtype)
        b_norm, norm = _norm(exact_b), _norm(true)
        scale = scale.to(torch.float64)
        target = torch.maximum(rtol * b_norm, atol / scale)
        status = torch.full((b.shape[0],), RUNNING, dtype=torch.int8, device=b.device)
        status = _mark(status, norm <= target, Status.CONVERGED)
        status = _mark(status, ~finite, Status.NONFINITE_INPUT)
        s = Iterate(
            b=exact_b,
            b_norm=b_norm,
            scale=scale,
            target=target,
            x=x,
            r=r,
            p=torch.zeros_like(r),
            q=torch.empty_like(r),
            z=r if state.M is None else torch.empty_like(r),
            rz=torch.ones_like(norm),
            norm=norm,
            true_norm=norm,
            status=status,
            iterations=torch.zeros(b.shape[0], dtype=torch.int64, device=b.device),
            history=[norm],
        )
        self._restart(state, s)
        return s

    def step(self, state: CGState, s: Iterate) -> None:
        """Move x along p, shorten r, and judge every system; nothing is read by the host."""
        q = state.A.apply_into(s.p, s.q)
        curvature = _dot(s.p, q)
        running = s.status == RUNNING
        s.iterations += running
        s.status = _mark(s.status, running & (curvature <= 0), Status.INDEFINITE_OPERATOR)
        s.status = _mark(s.status, running & ~torch.isfinite(curvature), Status.BREAKDOWN)
        alpha = torch.where(s.status == RUNNING, s.rz / curvature, 0.0)
        weight = _column(alpha, s.x).to(s.x.dtype)
        s.x.addcmul_(weight, s.p)
        s.r.addcmul_(weight, q, value=-1)
        running = s.status == RUNNING
        s.norm = torch.where(running, _norm(s.r), s.norm)
        s.status = _mark(s.status, running & ~torch.isfinite(s.norm), Status.BREAKDOWN)
        s.status = _mark(s.status, running & (s.norm <= s.target), Status.CONVERGED)

    def turn(self, state: CGState, s: Iterate) -> None:
        """The next direction, conjugate to the earlier ones; nothing is read by the host."""
        rz = self._precondition(state, s)
        running = s.status == RUNNING
        # A system that has ended keeps its p: where the curvature failed, p tells why.
        beta = torch.where(running, rz / s.rz, 1.0)
        s.p.mul_(_column(beta, s.p).to(s.p.dtype)).addcmul_(_column(running, s.p).to(s.p.dtype), s.z)
        s.rz = rz

    def _restart(self, state: CGState, s: Iterate) -> None:
        """The first direction of the systems that run; those that have ended keep theirs."""
        s.rz = self._precondition(state, s)
        s.p.copy_(torch.where(_column(s.status == RUNNING, s.p), s.z, s.p))

    def _precondition(self, state: CGState, s: Iterate) -> Tensor:
        """``z = M r`` and ``r* z``, which must be positive."""
        if state.M is not None:
            state.M.apply_into(s.r, s.z)
        rz = _dot(s.r, s.z)
        running = s.status == RUNNING
        s.status = _mark(s.status, running & (rz <= 0), Status.INDEFINITE_PRECONDITIONER)
        s.status = _mark(s.status, running & ~torch.isfinite(rz), Status.BREAKDOWN)
        return rz

    def _verify(self, state: CGState, s: Iterate, best: Tensor) -> Tensor:
        """Recompute the residual from x; where it is not there after all, but halved, run again."""
        r = s.b - state.exact.apply(s.x.to(s.b.dtype))
        s.true_norm = _norm(r)
        belied = (s.status == Status.CONVERGED) & (s.true_norm > s.target)
        again = belied & (s.true_norm <= 0.5 * best)
        s.status = _mark(s.status, belied, Status.STAGNATED)
        s.status = torch.where(again, torch.full_like(s.status, RUNNING), s.status)
        if bool(again.any()):
            s.r.copy_(torch.where(_column(again, r), r.to(s.r.dtype), s.r))
            s.norm = torch.where(again, s.true_norm, s.norm)
            self._restart(state, s)
        return torch.where(again, s.true_norm, best)

    def _finish(self, state: CGState, s: Iterate) -> Solution:
        s.status = _mark(s.status, s.status == RUNNING, Status.MAX_ITERATIONS)
        at_goal = (s.status == Status.MAX_ITERATIONS) & (s.true_norm <= s.target)
        s.status = _mark(s.status, at_goal, Status.CONVERGED)
        if bool((s.status != Status.CONVERGED).any()):
            self._examine_failures(state, s)
        x = s.x.mul_(_column(s.scale, s.x).to(s.x.dtype))
        # Relative to b, which has been scaled like r; absolute where b is zero.
        unit = torch.where(s.b_norm > 0, s.b_norm, s.scale.reciprocal())
        return Solution(x, s.status, s.iterations, s.true_norm / unit, torch.stack(s.history) / unit)

    def _examine_failures(self, state: CGState, s: Iterate) -> None:
        """Give failed systems a finite x if there is one, and tell a singular operator from other causes."""
        s.x.masked_fill_(_column(~torch.isfinite(_norm(s.x)), s.x), 0)
        s.x.masked_fill_(_column(s.status == Status.NONFINITE_INPUT, s.x), float("nan"))
        x = s.x.to(s.b.dtype)
        r = s.b - state.exact.apply(x)
        s.true_norm = _norm(r)
        undecided = (s.status != Status.CONVERGED) & (s.status != Status.NONFINITE_INPUT)
        null = torch.zeros_like(undecided)
        for v in (r, x, s.p.to(r.dtype)):
            null |= _in_null_space(state.exact, v)
        s.status = _mark(s.status, undecided & null, Status.SINGULAR)


def _dot(x: Tensor, y: Tensor) -> Tensor:
    product = torch.linalg.vecdot(x.flatten(1), y.flatten(1))
    return product.real if product.is_complex() else product


def _norm(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x.flatten(1), dim=1).to(torch.float64)


def _column(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(-1, *(1,) * (like.ndim - 1))


def _mark(status: Tensor, where: Tensor, value: Status) -> Tensor:
    return torch.where(where, torch.full_like(status, int(value)), status)


def _in_null_space(A: LinearOperator, v: Tensor) -> Tensor:
    """Where ``v`` is a null vector of A up to rounding: both A v and v* A v are tiny against ||A||.

    v* A v is quadratically small near a null vector, so it tells one from a small eigenvalue; A v guards
    against the sign changes of an indefinite operator. ||A|| is bounded below by four power steps.
    """
    length = _norm(v)
    v = v / _column(length, v)
    image = A.apply(v)
    w = torch.linspace(1, 2, A.size, dtype=torch.float64, device=v.device).sin().reshape(1, *A.shape)
    w = w.to(v.dtype).expand_as(v)
    for _ in range(4):
        w = A.apply(w / _column(_norm(w).clamp(min=1e-300), w))
    largest = torch.maximum(_norm(w), _norm(image))
    known = (length > 0) & torch.isfinite(largest)
    return known & (_norm(image) <= 1e-5 * largest) & (_dot(v, image).abs() <= 1e-12 * largest)
