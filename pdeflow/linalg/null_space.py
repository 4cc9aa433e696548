"""Systems whose operator maps constants to zero: pure Neumann and periodic problems."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import torch
from torch import Tensor

from pdeflow.linalg.function_operator import FunctionOperator
from pdeflow.linalg.operator import LinearOperator, Tag, magnitude
from pdeflow.linalg.preconditioner import Preconditioner
from pdeflow.linalg.solution import Solution, Status
from pdeflow.linalg.solver import Run, Solver, deliver, solve_with

# Shares of the tolerance: what b may have outside of the range, and what is left for the solver. Together
# they are less than the whole: 0.1^2 + 0.99^2 < 1.
FOR_THE_MEAN, FOR_THE_SOLVER = 0.1, 0.99


def without_mean(x: Tensor) -> Tensor:
    """The orthogonal projection of every sample onto what constants are orthogonal to."""
    return x - x.mean(tuple(range(1, x.ndim)), keepdim=True)


def solve_without_constants(
    run: Run,
    A: LinearOperator,
    b: Tensor,
    *,
    solver: Solver | None,
    preconditioner: Preconditioner | None,
    x0: Tensor | None,
    rtol: float,
    atol: float,
    on_failure: Literal["raise", "return"],
    **options: Any,
) -> Solution:
    """Solve ``A x = b`` where A and A* map exactly the constants to zero; the x of mean zero.

    The range of A is what is orthogonal to constants. The solver is given ``P b`` and ``P x0`` with
    ``P = I - 1 1*/n``, and ``P M P`` for a preconditioner M, so that every residual of a Krylov method stays
    in the range; from its answer the mean is subtracted, which gives the solution of least norm.

    b is consistent if ``||b - P b|| <= 0.1 max(rtol ||b||, atol)``. If it is not, no x brings the residual
    below the tolerance: the status is ``SINGULAR`` and x the least-squares solution of least norm. Who wants
    that one subtracts the mean of b beforehand.
    """
    in_range = without_mean(b)
    outside = torch.linalg.vector_norm((b - in_range).flatten(1), dim=1).double()
    norm = torch.linalg.vector_norm(b.flatten(1), dim=1).double()
    consistent = outside <= FOR_THE_MEAN * torch.clamp(rtol * norm, min=atol)
    # Of a constant b only rounding is left in the range, and that is no right-hand side.
    noise = magnitude(in_range) <= 8 * torch.finfo(b.dtype).eps * magnitude(b)
    in_range = in_range.masked_fill(noise.reshape(-1, *(1,) * (b.ndim - 1)), 0)
    solution = solve_with(
        run,
        A.retagged(A.tags - {Tag.CONSTANT_NULL_SPACE}),
        in_range,
        solver=None if solver is None else solver.adapted(A, Projected),
        preconditioner=None if preconditioner is None else Projected(preconditioner),
        x0=None if x0 is None else without_mean(x0),
        rtol=FOR_THE_SOLVER * rtol,
        atol=FOR_THE_SOLVER * atol,
        on_failure="return",
        **options,
    )
    inside = torch.linalg.vector_norm(in_range.flatten(1), dim=1).double()
    total = torch.hypot(solution.residual_norm * torch.where(inside > 0, inside, 1.0), outside)
    inconsistent = solution.converged & ~consistent
    solution = dataclasses.replace(
        solution,
        x=without_mean(solution.x),
        status=torch.where(inconsistent, int(Status.SINGULAR), solution.status).to(torch.int8),
        residual_norm=total / torch.where(norm > 0, norm, 1.0),
    )
    return deliver(solution, on_failure)


@dataclasses.dataclass(frozen=True)
class Projected(Preconditioner):
    """``P M P`` with the M of another preconditioner: it leaves the mean of no vector."""

    preconditioner: Preconditioner

    def init(self, A: LinearOperator, previous: LinearOperator | None = None) -> LinearOperator:
        """Prepare M for A, reusing that of ``previous``."""
        earlier = previous.inner if isinstance(previous, ProjectedOperator) else None
        return ProjectedOperator(
            self.preconditioner.init(A.retagged(A.tags | {Tag.CONSTANT_NULL_SPACE}), earlier)
        )


class ProjectedOperator(FunctionOperator):
    """``P M P``."""

    def __init__(self, inner: LinearOperator) -> None:
        self.inner = inner
        super().__init__(
            lambda x: without_mean(inner.apply(without_mean(x))),
            inner.shape,
            inner.batch,
            inner.dtype,
            inner.device,
            inner.tags,
            lambda x: without_mean(inner.adjoint.apply(without_mean(x))),
        )
