"""Systems whose operator maps constants, or other known vectors, to zero: periodic and floating problems."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg.function_operator import FunctionOperator
from pdeflow.linalg.operator import LinearOperator, Tag, column, double_precision, magnitude, rough_vector
from pdeflow.linalg.preconditioner import Preconditioner
from pdeflow.linalg.solution import Solution, Status
from pdeflow.linalg.solver import Run, Solver, deliver, solve_with

# Shares of the tolerance: what b may have outside of the range, and what is left for the solver. Together
# they are less than the whole: 0.1^2 + 0.99^2 < 1.
OUTSIDE, FOR_THE_SOLVER = 0.1, 0.99
# Units of rounding by which a given null space may be wrong.
ROUNDING = 1000

Projection = Callable[[Tensor], Tensor]


def without_mean(x: Tensor) -> Tensor:
    """The orthogonal projection of every sample onto what constants are orthogonal to."""
    return x - x.mean(tuple(range(1, x.ndim)), keepdim=True)


class Without:
    """The orthogonal projection of every sample onto what given vectors are orthogonal to.

    ``vectors`` are ``(k, *shape)`` of a floating or complex dtype; they are made orthonormal by a singular
    value decomposition in double precision. Samples ``(batch, *shape)`` may have any dtype.
    """

    def __init__(self, vectors: Tensor) -> None:
        self._basis = torch.linalg.svd(_unit(vectors), full_matrices=False)[2]
        self._rows: dict[torch.dtype, Tensor] = {}

    def __call__(self, x: Tensor) -> Tensor:
        """``x - Q* Q x`` with orthonormal rows Q."""
        if x.dtype not in self._rows:
            self._rows[x.dtype] = self._basis.to(x.dtype)
        rows, flat = self._rows[x.dtype], x.flatten(1)
        return torch.addmm(flat, flat @ rows.mH, rows, alpha=-1).reshape(x.shape)


def _unit(vectors: Tensor) -> Tensor:
    """The vectors as rows of length one, in double precision."""
    rows = vectors.detach().flatten(1)
    rows = rows.to(double_precision(rows.dtype))
    return rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)


def projection(A: LinearOperator, vectors: Tensor | None) -> Projection | None:
    """The projection onto the range of A, whose null space is tagged or given; None where it has none.

    Raises
    ------
    InvalidInput
        If the vectors do not fit A, depend on each other, or are not mapped to zero by it; if A is not
        tagged ``SYMMETRIC``, or its null space is tagged as well.
    """
    constants = Tag.CONSTANT_NULL_SPACE in A.tags
    if vectors is None:
        return without_mean if constants else None
    if constants or Tag.SYMMETRIC not in A.tags:
        expected = "SYMMETRIC, and not CONSTANT_NULL_SPACE, where a null space is given"
        hint = "Of an operator that is not self-adjoint the range is not orthogonal to the null space."
        raise InvalidInput("A.tags", sorted(tag.name for tag in A.tags), expected, "" if constants else hint)
    if not isinstance(vectors, Tensor):
        raise InvalidInput("null_space", type(vectors).__name__, "a torch.Tensor")
    if tuple(vectors.shape[1:]) != A.shape or not 1 <= vectors.shape[0] < A.size:
        hint = "One vector still has k = 1." if tuple(vectors.shape) == A.shape else ""
        raise InvalidInput("null_space.shape", tuple(vectors.shape), f"(k, *shape) = (k, *{A.shape})", hint)
    if vectors.dtype != A.dtype or vectors.device.type != A.device.type:
        expected = f"the operator's {A.dtype} on {A.device}"
        raise InvalidInput("null_space", f"{vectors.dtype} on {vectors.device}", expected)
    rows = _unit(vectors)
    if not bool(torch.isfinite(rows).all()):
        raise InvalidInput(
            "null_space", "NaN, infinity or a vector of zeros", "finite vectors that are not zero"
        )
    limit = ROUNDING * torch.finfo(A.dtype).eps
    smallest = float(torch.linalg.svdvals(rows).min())
    if smallest < limit:
        raise InvalidInput("null_space", "vectors that depend on each other", "linearly independent vectors")
    _check_annihilated(A, rows.to(A.dtype).reshape(vectors.shape), limit)
    return Without(vectors)


@torch.no_grad()
def _check_annihilated(A: LinearOperator, vectors: Tensor, limit: float) -> None:
    """Raise InvalidInput unless A maps vectors of length one to rounding errors, by k + 1 products."""

    def stretched(z: Tensor) -> Tensor:
        image = A.apply(z.expand(A.batch, *A.shape).contiguous())
        return torch.linalg.vector_norm(image.flatten(1), dim=1)

    # A vector of many frequencies is stretched by about the root mean square of the eigenvalues.
    other = rough_vector(A)
    usual = stretched((other / torch.linalg.vector_norm(other)).to(A.dtype))
    for i, z in enumerate(vectors):
        ratio = torch.nan_to_num(stretched(z) / usual, nan=0.0, posinf=0.0)  # a system of NaN has its status
        worst = max(ratio.tolist(), default=0.0)
        if worst > limit:
            raise InvalidInput(
                "null_space",
                f"vector {i}, which A stretches {worst:.1e} times as much as other vectors",
                f"vectors that A maps to zero, up to {limit:.1e}",
                "Give the vectors to the precision of A, and only those that all systems have in common.",
            )


def solve_in_range(
    run: Run,
    A: LinearOperator,
    b: Tensor,
    project: Projection,
    *,
    solver: Solver | None,
    preconditioner: Preconditioner | None,
    x0: Tensor | None,
    rtol: float,
    atol: float,
    on_failure: Literal["raise", "return"],
    **options: Any,
) -> Solution:
    """Solve ``A x = b`` where A and A* have the same null space; the x of least norm.

    ``project`` is the orthogonal projection P onto the range of A, which is what the null space is orthogonal
    to: ``P = I - 1 1*/n`` for constants. The solver is given ``P b`` and ``P x0``, and ``P M P`` for a
    preconditioner M, so that every residual of a Krylov method stays in the range; its answer is projected
    too, which gives the solution of least norm.

    b is consistent if ``||b - P b|| <= 0.1 max(rtol ||b||, atol)``. If it is not, no x brings the residual
    below the tolerance: the status is ``SINGULAR`` and x the least-squares solution of least norm. Who wants
    that one projects b beforehand.
    """
    wrap = partial(Projected, project=project)
    in_range = project(b)
    outside = torch.linalg.vector_norm((b - in_range).flatten(1), dim=1).double()
    norm = torch.linalg.vector_norm(b.flatten(1), dim=1).double()
    consistent = outside <= OUTSIDE * torch.clamp(rtol * norm, min=atol)
    # Of a b in the null space only rounding is left in the range, and that is no right-hand side.
    noise = magnitude(in_range) <= 8 * torch.finfo(b.dtype).eps * magnitude(b)
    in_range = in_range.masked_fill(column(noise, b), 0)
    solution = solve_with(
        run,
        A.retagged(A.tags - {Tag.CONSTANT_NULL_SPACE}),
        in_range,
        solver=None if solver is None else solver.adapted(A, wrap),
        preconditioner=None if preconditioner is None else wrap(preconditioner),
        x0=None if x0 is None else project(x0),
        rtol=FOR_THE_SOLVER * rtol,
        atol=FOR_THE_SOLVER * atol,
        on_failure="return",
        null_space=None,
        **options,
    )
    inside = torch.linalg.vector_norm(in_range.flatten(1), dim=1).double()
    total = torch.hypot(solution.residual_norm * torch.where(inside > 0, inside, 1.0), outside)
    inconsistent = solution.converged & ~consistent
    solution = dataclasses.replace(
        solution,
        x=project(solution.x),
        status=torch.where(inconsistent, int(Status.SINGULAR), solution.status).to(torch.int8),
        residual_norm=total / torch.where(norm > 0, norm, 1.0),
    )
    return deliver(solution, on_failure)


@dataclasses.dataclass(frozen=True)
class Projected(Preconditioner):
    """``P M P`` with the M of another preconditioner and the projection P onto the range."""

    preconditioner: Preconditioner
    project: Projection = without_mean

    def init(self, A: LinearOperator, previous: LinearOperator | None = None) -> LinearOperator:
        """Prepare M for A, reusing that of ``previous``."""
        earlier = previous.inner if isinstance(previous, ProjectedOperator) else None
        if self.project is without_mean:
            A = A.retagged(A.tags | {Tag.CONSTANT_NULL_SPACE})
        return ProjectedOperator(self.preconditioner.init(A, earlier), self.project)


class ProjectedOperator(FunctionOperator):
    """``P M P``."""

    traced = False

    def __init__(self, inner: LinearOperator, project: Projection) -> None:
        self.inner = inner
        super().__init__(
            lambda x: project(inner.apply(project(x))),
            inner.shape,
            inner.batch,
            inner.dtype,
            inner.device,
            inner.tags,
            lambda x: project(inner.adjoint.apply(project(x))),
        )
