"""What every batched iteration shares: scaling, masks, true residuals and honest endings.

The systems of a batch step together. One that has ended is masked out and keeps its x; nothing that
happens to it reaches the others. A method brings its recurrence; when it starts, what it claims at the
end, and what the caller is told are worked out here, the same for all.
"""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg.arguments import check_count
from pdeflow.linalg.operator import LinearOperator, Tag, column, double_precision, magnitude
from pdeflow.linalg.preconditioner import Preconditioner
from pdeflow.linalg.solution import Solution, Status
from pdeflow.linalg.solver import Solver

RUNNING = -1  # a system that has no status yet
# Of what the terms of a sum add up to without their signs: how little may be left of A v, and of v* A v.
LEFT_OF_IMAGE, LEFT_OF_FORM = 1e-5, 1e-12


@dataclass
class Prepared:
    """An operator, the same in float64 for true residuals, and its preconditioner."""

    A: LinearOperator
    exact: LinearOperator
    M: LinearOperator | None


@dataclass
class Iterate:
    """The vectors of one solve, ``(batch, *shape)``, and its numbers, ``(batch,)``, for b divided by scale.

    ``b`` and the norms are in double precision; ``norm`` is what the recursion says of r, ``true_norm``
    was worked out from x. The status is ``RUNNING`` or a Status. A method adds what it needs beyond this.
    """

    b: Tensor
    b_norm: Tensor
    scale: Tensor
    target: Tensor
    x: Tensor
    r: Tensor
    norm: Tensor
    true_norm: Tensor
    status: Tensor
    iterations: Tensor
    history: list[Tensor]


class Lockstep(Solver):
    """A solver whose systems step together; a method fills in :meth:`start` and :meth:`run`."""

    def init(
        self, A: LinearOperator, preconditioner: Preconditioner | None = None, previous: Any = None
    ) -> Any:
        """Prepare the preconditioner, reusing that of ``previous`` where it fits."""
        return prepare(A, preconditioner, previous)

    def solve(
        self,
        state: Any,
        b: Tensor,
        x0: Tensor | None = None,
        *,
        rtol: float,
        atol: float,
        max_iterations: int | None,
    ) -> tuple[Solution, Any]:
        """Iterate from x0, or from zero."""
        limit = min(10 * state.A.size + 100, 20_000) if max_iterations is None else max_iterations
        s = self.start(state, b, x0, rtol, atol)
        self.run(state, s, limit)
        self.learn(state, s)
        return finish(state, s, self.suspects(s)), state

    @abc.abstractmethod
    def start(self, state: Any, b: Tensor, x0: Tensor | None, rtol: float, atol: float) -> Any:
        """All that the first step needs, from :func:`begin`."""

    @abc.abstractmethod
    def run(self, state: Any, s: Any, limit: int) -> None:
        """Iterate until every system has ended or ``limit`` iterations are taken, the last x being true."""

    def learn(self, state: Any, s: Any) -> None:
        """Put into the state what a similar system can use."""
        return

    def suspects(self, s: Any) -> tuple[Tensor, ...]:
        """Vectors besides r and x that come near a null vector of A where the method fails."""
        return ()


@dataclass(frozen=True)
class ShortRecurrence(Lockstep):
    """A method that steps from a few vectors and can start again from any x.

    The host reads only whether any system is still running, every ``check_every`` steps. When all have
    ended, the residual is recomputed in float64 from x; where it belies the recursive one, the iteration
    starts again from it, and ends as ``STAGNATED`` once that does not halve it.
    """

    check_every: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.check_every is not None:
            check_count("check_every", self.check_every, 1, "a whole number, at least 1, or None")

    @abc.abstractmethod
    def step(self, state: Any, s: Any) -> None:
        """One iteration of every system that runs; nothing is read by the host."""

    def advance(self, state: Any, s: Any, steps: int) -> list[Tensor]:
        """Up to ``steps`` iterations; gives residual norms for the history, at least those at the end."""
        for _ in range(steps):
            self.step(state, s)
        return [s.norm.clone()]

    def steps_between_looks(self, state: Any) -> int:
        """After how many steps the host looks at the status."""
        return self.check_every or (1 if state.A.device.type == "cpu" else 8)

    @abc.abstractmethod
    def restart(self, state: Any, s: Any, again: Tensor) -> None:
        """Forget the directions of the systems in the mask ``again``, which go on from the r in place."""

    def run(self, state: Any, s: Any, limit: int) -> None:
        """Advance, look, and at the end of all verify."""
        every = self.steps_between_looks(state)
        best, taken = s.norm.clone(), 0
        while taken < limit and bool((s.status == RUNNING).any()):
            while taken < limit:
                steps = min(every, limit - taken)
                s.history += self.advance(state, s, steps)
                taken += steps
                if not bool((s.status == RUNNING).any()):
                    break
            best = self._verify(state, s, best)

    def _verify(self, state: Prepared, s: Iterate, best: Tensor) -> Tensor:
        """Recompute the residual from x; where it is not there after all, but halved, run again."""
        image = state.exact.apply(s.x.to(s.b.dtype))
        r = torch.sub(s.b, image, out=image)
        s.true_norm = norm(r)
        belied = (s.status == Status.CONVERGED) & (s.true_norm > s.target)
        again = belied & (s.true_norm <= 0.5 * best)
        s.status = mark(s.status, belied, Status.STAGNATED)
        s.status = torch.where(again, torch.full_like(s.status, RUNNING), s.status)
        if bool(again.any()):
            s.r.copy_(torch.where(column(again, r), r.to(s.r.dtype), s.r))
            s.norm = torch.where(again, s.true_norm, s.norm)
            self.restart(state, s, again)
        return torch.where(again, s.true_norm, best)


def prepare(
    A: LinearOperator,
    preconditioner: Preconditioner | None,
    previous: Prepared | None,
    dtype: torch.dtype | None = None,
) -> Prepared:
    """What every method needs of an operator, to iterate in ``dtype`` or else in that of A.

    ``previous`` gives the parts of its preconditioner for reuse.
    """
    double = double_precision(A.dtype)
    exact = A if A.dtype == double else A.to(double)
    working = A if dtype in (None, A.dtype) else A.to(dtype)
    earlier = None if previous is None else previous.M
    M = None if preconditioner is None else _fitted(preconditioner.init(working, earlier), working)
    return Prepared(working, exact, M)


def _fitted(M: LinearOperator, A: LinearOperator) -> LinearOperator:
    """M for every system of A; one of another form would read and leave memory that is not meant."""
    M = M.expand(A.batch) if M.batch == 1 < A.batch else M
    made, wanted = ((X.shape, X.batch, X.dtype, X.device) for X in (M, A))
    if made != wanted:
        hint = "Preconditioner.init(A) gives an operator of the form of A, or of batch 1 for all systems."
        raise InvalidInput("preconditioner", f"(shape, batch, dtype, device) = {made}", f"{wanted}", hint)
    return M


def begin(state: Prepared, b: Tensor, x0: Tensor | None, rtol: float, atol: float) -> Iterate:
    """The first residual and status, for b scaled to order one.

    The scale is a power of two, so that no number is rounded; it keeps norms within the range of the
    dtype, and residuals within that of a float32 preconditioner.
    """
    largest = magnitude(b)
    usable = torch.isfinite(largest) & (largest > 0)
    # Not below the smallest normal number, so that the reciprocal is finite too.
    largest_or_one = torch.where(usable, largest, 1.0).clamp(min=torch.finfo(largest.dtype).tiny)
    scale = torch.ldexp(torch.ones_like(largest), torch.frexp(largest_or_one)[1] - 1)
    b = (b * column(scale.reciprocal(), b)).contiguous()
    finite = state.exact.is_finite() & torch.isfinite(largest)
    x = torch.zeros_like(b)
    if x0 is not None:
        finite = finite & torch.isfinite(magnitude(x0))
        # With b = 0 the answer is 0, whatever the guess.
        x = torch.where(column(largest > 0, b), x0 * column(scale.reciprocal(), b), x).contiguous()
    exact_b = b.to(state.exact.dtype)
    true = exact_b if x0 is None else exact_b - state.exact.apply(x.to(exact_b.dtype))
    r = true.clone() if b.dtype == true.dtype else true.to(b.dtype)
    b_norm, first = norm(exact_b), norm(true)
    scale = scale.to(torch.float64)
    target = torch.maximum(rtol * b_norm, atol / scale)
    status = torch.full((b.shape[0],), RUNNING, dtype=torch.int8, device=b.device)
    status = mark(status, first <= target, Status.CONVERGED)
    status = mark(status, ~finite, Status.NONFINITE_INPUT)
    return Iterate(
        b=exact_b,
        b_norm=b_norm,
        scale=scale,
        target=target,
        x=x,
        r=r,
        norm=first.clone(),  # a method may change it in place
        true_norm=first,
        status=status,
        iterations=torch.zeros(b.shape[0], dtype=torch.int64, device=b.device),
        history=[first],
    )


def finish(state: Prepared, s: Iterate, suspects: tuple[Tensor, ...] = ()) -> Solution:
    """Judge the systems that still run, look into failures, and undo the scaling."""
    s.status = mark(s.status, s.status == RUNNING, Status.MAX_ITERATIONS)
    at_goal = (s.status == Status.MAX_ITERATIONS) & (s.true_norm <= s.target)
    s.status = mark(s.status, at_goal, Status.CONVERGED)
    far = _leaves_range(s)
    failed = s.status != Status.CONVERGED
    if bool((failed | far).any()):
        if bool(failed.any()):
            _examine_failures(state, s, suspects)
        _round_to_range(state, s, far)
    x = s.x.mul_(column(s.scale, s.x).to(s.x.dtype))
    # Relative to b, which has been scaled like r; absolute where b is zero.
    unit = torch.where(s.b_norm > 0, s.b_norm, s.scale.reciprocal())
    return Solution(x, s.status, s.iterations, s.true_norm / unit, torch.stack(s.history) / unit)


def _leaves_range(s: Iterate) -> Tensor:
    """Where x, scaled back, may overflow, or be so small that underflow takes digits of it."""
    limits = torch.finfo(s.x.dtype)
    length = norm(s.x) * s.scale
    return length.clamp(limits.tiny / limits.eps, limits.max) != length


def _round_to_range(state: Prepared, s: Iterate, far: Tensor) -> None:
    """Judge the systems in the mask ``far`` by what the dtype can hold of their x; what overflows is zero."""
    far = far & (s.status != Status.NONFINITE_INPUT)  # their x is NaN
    returned = s.x * column(s.scale, s.x).to(s.x.dtype)
    overflows = far & ~torch.isfinite(magnitude(returned))
    s.x.masked_fill_(column(overflows, s.x), 0)
    held = returned.to(s.b.dtype) * column(s.scale.reciprocal(), s.b)
    held.masked_fill_(column(overflows, held), 0)
    s.true_norm = torch.where(far, norm(s.b - state.exact.apply(held)), s.true_norm)
    lost = far & (overflows | (s.true_norm > s.target))
    s.status = mark(s.status, lost & (s.status == Status.CONVERGED), Status.BREAKDOWN)


def _examine_failures(state: Prepared, s: Iterate, suspects: tuple[Tensor, ...]) -> None:
    """Give failed systems a finite x if there is one, and tell a singular operator from other causes."""
    s.x.masked_fill_(column(~torch.isfinite(magnitude(s.x)), s.x), 0)
    r = s.b - state.exact.apply(s.x.to(s.b.dtype))
    lost = column(~torch.isfinite(norm(r)), r)
    s.x.masked_fill_(lost, 0)
    s.x.masked_fill_(column(s.status == Status.NONFINITE_INPUT, s.x), float("nan"))
    x, r = s.x.to(s.b.dtype), torch.where(lost, s.b, r)
    s.true_norm = norm(r)
    undecided = (s.status != Status.CONVERGED) & (s.status != Status.NONFINITE_INPUT)
    is_null = _null_test(state.exact, r)
    null = torch.zeros_like(undecided)
    for v in (r, x, *(suspect.to(r.dtype) for suspect in suspects)):
        null |= is_null(v)
    # Where the iteration could not go on, the usual null vector of a differential operator counts too.
    stuck = (s.status == Status.STAGNATED) | (s.status == Status.BREAKDOWN)
    if bool(stuck.any()):
        null |= stuck & is_null(torch.ones_like(r))
    if Tag.SYMMETRIC not in state.exact.tags:
        # What no x can reach is a null vector of the adjoint, which another A need not share.
        with contextlib.suppress(InvalidInput):  # an operator need not know it
            null |= _null_test(state.exact.adjoint, r)(r)
    s.status = mark(s.status, undecided & null, Status.SINGULAR)


def dot(x: Tensor, y: Tensor) -> Tensor:
    """The real part of ``x* y`` of every system."""
    product = torch.linalg.vecdot(x.flatten(1), y.flatten(1))
    return product.real if product.is_complex() else product


def norm(x: Tensor) -> Tensor:
    """The 2-norm of every system, in float64."""
    return torch.linalg.vector_norm(x.flatten(1), dim=1).to(torch.float64)


def mark(status: Tensor, where: Tensor, value: Status) -> Tensor:
    """The status with ``value`` in place of what is in the mask."""
    return torch.where(where, torch.full_like(status, int(value)), status)


def _null_test(A: LinearOperator, like: Tensor) -> Callable[[Tensor], Tensor]:
    """What tells where a vector of the form of ``like`` is a null vector of A up to rounding, ``(batch,)``.

    Both A v and v* A v must be tiny. The latter is quadratically small near a null vector, so it tells one
    from a small eigenvalue; A v guards against the sign changes of an indefinite operator.

    Where the entries of A are at hand, tiny means against ``|A| |v|``: the terms cancel. The rows of A v
    are divided by the sums of those of ``|A|``, so that great coefficients do not hide the rows of small
    ones. Elsewhere tiny means against ``||A||``, bounded below by power steps, so that an A with parts of
    very different size looks singular in the smaller ones.
    """
    absolute = A.absolute
    if absolute is None:
        w = torch.linspace(1, 2, A.size, dtype=torch.float64, device=like.device).sin()
        w = w.reshape(1, *A.shape).to(like.dtype).expand_as(like)
        before = w
        for _ in range(4):
            before = w / column(_or_one(magnitude(w)), w)
            w = A.apply(before)
        largest = _or_one(magnitude(w))
        stretch = largest * norm(w / column(largest, w)) / _or_one(norm(before))
    else:
        sums = absolute.apply(torch.ones_like(like.real))
        weight = _or_one(sums).reciprocal()

    def test(v: Tensor) -> Tensor:
        size = magnitude(v)
        usable = torch.isfinite(size) & (size > 0)
        v = v / column(torch.where(usable, size, 1.0), v)
        image = A.apply(v)
        if absolute is None:
            largest = _or_one(torch.maximum(magnitude(image), stretch))
            left, form = norm(image / column(largest, image)), dot(v, image) / largest
            whole = torch.maximum(norm(v) * stretch / largest, left)
            bound = norm(v) * whole
        else:
            terms = absolute.apply(v.abs())
            left, whole = norm(image * weight), norm(terms * weight)
            form, bound = dot(v, image), dot(v.abs(), terms)
        known = usable & torch.isfinite(whole) & torch.isfinite(bound)
        return known & (left <= LEFT_OF_IMAGE * whole) & (form.abs() <= LEFT_OF_FORM * bound)

    return test


def _or_one(size: Tensor) -> Tensor:
    """The sizes, with 1 in place of zero."""
    return torch.where(size > 0, size, 1.0)
