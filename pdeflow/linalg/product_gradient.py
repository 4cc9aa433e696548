"""Derivatives of products ``A x``, by the adjoint instead of through the loops that form them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from pdeflow.errors import InvalidInput
from pdeflow.linalg.operator import LinearOperator


def product(A: LinearOperator, x: Tensor) -> Tensor:
    """``A x`` that can be differentiated by x and by the coefficients of A.

    For a loss L with the gradient g by ``A x``::

        dL/dx = A* g,    dL/da = the derivative of g* A x by the coefficients a

    These derivatives have no derivatives themselves, except where ``A.traced``.

    Raises
    ------
    InvalidInput
        If A asks for a derivative and its coefficients are not one tensor; from ``backward``, if A does not
        know its adjoint.
    """
    if A.traced:
        y = A.apply(x)
        if y.requires_grad or not x.requires_grad:
            return y  # else apply consists of more than what torch can follow
    parameter = A.parameter
    if parameter is None:
        if A.requires_grad:
            raise InvalidInput("A", type(A).__name__, "an operator whose coefficients are one tensor")
        parameter = x.new_empty(0)
    result: Any = _Product.apply(x, parameter, A.detach())
    return result


class _Product(torch.autograd.Function):
    """``A(a) x`` as a function of x and a."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, parameter: Tensor, A: LinearOperator) -> Tensor:  # type: ignore[override]
        ctx.A, ctx.parameter_shape = A, parameter.shape
        # The coefficients too, so that torch refuses a backward after they were changed in place.
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, parameter)
        return A.apply(x.detach())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None, None]:  # type: ignore[override]
        A: LinearOperator = ctx.A
        x, _ = ctx.saved_tensors
        g = g.contiguous()
        by_x = A.adjoint.apply(g) if ctx.needs_input_grad[0] else None
        by_parameter = None
        if ctx.needs_input_grad[1]:
            by_parameter = A.parameter_gradient(x, g).sum_to_size(ctx.parameter_shape)
        return by_x, by_parameter, None
