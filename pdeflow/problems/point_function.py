"""Functions known at scattered points, differentiated by automatic differentiation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.problems.calculus import Function, check_axis


class PointFunction(Function):
    """Values at points, on the autograd graph of the points' coordinates.

    Derivatives are exact and themselves differentiable. One reverse pass gives the derivatives along all
    axes at once and is kept, so that a Laplacian in d dimensions costs 1 + d passes.

    Parameters
    ----------
    values
        (N,), entry i computed from row i of ``points`` alone.
    points
        (N, d), requiring gradients.
    axes
        The names of the d columns.
    differentiable
        False where values were handed in without the formula behind them: a derivative is then an error
        rather than 0.
    """

    def __init__(
        self, values: Tensor, points: Tensor, axes: Sequence[str], differentiable: bool = True
    ) -> None:
        if values.shape not in (points.shape[:1], ()):
            raise InvalidInput(
                "values of a function on points",
                tuple(values.shape),
                f"shape ({points.shape[0]},), one value a point",
                "A network that returns (N, 1) needs `.squeeze(-1)`.",
            )
        self.values, self.points, self.axes = values, points, tuple(axes)
        self.differentiable = differentiable
        self._gradient: Tensor | None = None

    def _like(self, values: Tensor) -> PointFunction:
        return PointFunction(values, self.points, self.axes, self.differentiable)

    def map(self, function: Callable[[Tensor], Tensor]) -> PointFunction:
        """``function`` of the values, entry by entry."""
        return self._like(function(self.values))

    def derivative(self, axis: str, order: int) -> PointFunction:
        """The derivative along the named axis; see :func:`~pdeflow.problems.calculus.D`."""
        check_axis(axis, self.axes)
        if not self.differentiable:
            raise InvalidInput(
                "parameter under a derivative",
                "values at the points",
                "a formula of `at`, which can be differentiated",
                "Give `lambda at: ...`; for a constant, a number.",
            )
        if self._gradient is None:
            parts = (self.values.real, self.values.imag) if self.values.is_complex() else (self.values,)
            gradients = [self._reverse(part) for part in parts]
            self._gradient = torch.complex(*gradients) if len(gradients) > 1 else gradients[0]
        first = self._like(self._gradient[:, self.axes.index(axis)])
        return first if order == 1 else first.derivative(axis, order - 1)

    def _reverse(self, values: Tensor) -> Tensor:
        """Derivatives of real values along all axes, (N, d)."""
        if not values.requires_grad:
            return torch.zeros_like(self.points)
        (gradient,) = torch.autograd.grad(
            values.sum(), self.points, create_graph=True, materialize_grads=True
        )
        return gradient

    def _combine(self, other: Any, operation: Callable[[Any, Any], Any]) -> PointFunction:
        values, differentiable = other, self.differentiable
        if isinstance(other, PointFunction):
            values, differentiable = other.values, differentiable and other.differentiable
        elif isinstance(other, Tensor) and other.ndim:
            if other.shape != self.points.shape[:1]:
                expected = f"a number, ({len(self.points)},) values, or another such function"
                raise InvalidInput("operand of a function on points", tuple(other.shape), expected)
            differentiable = False
        return PointFunction(operation(self.values, values), self.points, self.axes, differentiable)


def coordinate_functions(points: Tensor, axes: Sequence[str]) -> dict[str, PointFunction]:
    """Each axis name mapped to its coordinate at the points (N, d), as a function to compute with."""
    return {axis: PointFunction(points[:, k], points, axes) for k, axis in enumerate(axes)}
