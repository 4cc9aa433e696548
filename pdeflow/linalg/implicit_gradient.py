"""Derivatives of solutions, by the adjoint system instead of through the iteration."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pdeflow.errors import InvalidInput
from pdeflow.linalg.null_space import projection
from pdeflow.linalg.operator import LinearOperator, Tag
from pdeflow.linalg.solution import Solution, SolveError
from pdeflow.linalg.solver import Run, solve, solve_with


def solve_with_gradient(
    run: Run, A: LinearOperator, b: Tensor, *, x0: Tensor | None, **options: Any
) -> Solution:
    """``solve_with`` whose x can be differentiated by b and by the coefficients of A.

    For a loss L with the gradient g by x, the adjoint system ``A* y = g`` is solved by the same solver,
    preconditioner and tolerances, alone whatever ``run`` carries along, and gives::

        dL/db = y,    dL/da = - (derivative of y* A x by the coefficients a)

    so that a derivative costs one more solve and no memory for the iteration. x0 gets no derivative, nor
    do the derivatives have derivatives. Where A has a null space the pseudo-inverse is differentiated,
    for changes of the coefficients that keep the null space.

    Reference: M. B. Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
    differentiation", Advances in Automatic Differentiation, Springer 2008.

    Raises
    ------
    SolveError
        From ``backward``: if the adjoint system fails, or if L depends on a system that failed.
    """
    parameter = A.parameter
    if parameter is None:
        if A.requires_grad:
            raise InvalidInput("A", type(A).__name__, "an operator whose coefficients are one tensor")
        parameter = b.new_empty(0)
    else:
        A = A.detach()
    found: list[Solution] = []
    guess = None if x0 is None else x0.detach()
    x: Any = _Solve.apply(b, parameter, A, guess, run, options, found)
    return dataclasses.replace(found[0], x=x)


class _Solve(torch.autograd.Function):
    """``x(b, a)``; the solution with everything else goes into the list ``found``."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        b: Tensor,
        parameter: Tensor,
        A: LinearOperator,
        x0: Tensor | None,
        run: Run,
        options: dict[str, Any],
        found: list[Solution],
    ) -> Tensor:
        solution = solve_with(run, A, b.detach(), x0=x0, **options)
        found.append(solution)
        ctx.A, ctx.options, ctx.converged = A, options, solution.converged
        ctx.solution = dataclasses.replace(solution, x=solution.x.new_empty(0))
        ctx.parameter_shape = parameter.shape
        ctx.save_for_backward(solution.x)
        return solution.x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        A: LinearOperator = ctx.A
        used = (g != 0).flatten(1).any(1)
        if bool((used & ~ctx.converged).any()):
            raise SolveError(dataclasses.replace(ctx.solution, x=x))
        project = projection(A, ctx.options["null_space"])
        if project is not None:
            g = project(g)
        adjoint = A if Tag.SYMMETRIC in A.tags else A.adjoint
        y = solve(adjoint, g.contiguous(), **(ctx.options | {"on_failure": "raise"})).x
        gradient = None
        if ctx.needs_input_grad[1]:
            gradient = -A.parameter_gradient(x, y).sum_to_size(ctx.parameter_shape)
        return (y if ctx.needs_input_grad[0] else None, gradient, None, None, None, None, None)
