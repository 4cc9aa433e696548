"""Functions known at scattered points, differentiated by automatic differentiation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.problems.calculus import Function, Names, check_axis
from pdeflow.problems.unknowns import components, joined, named, parted

if TYPE_CHECKING:
    from pdeflow.problems.problem import Problem


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


def residual_at_points(
    problem: Problem, u: Callable[[Tensor], Tensor], points: Tensor, parameters: Mapping[str, Any]
) -> Tensor:
    """The residual by automatic differentiation; see :meth:`Problem.residual_at_points`."""
    if points.ndim != 2 or points.shape[1] != len(problem.coordinates):
        raise InvalidInput("shape of points", tuple(points.shape), f"(N, {len(problem.coordinates)})")
    axes, keep = problem.coordinates, torch.is_grad_enabled()
    with torch.enable_grad():
        if not points.requires_grad:
            points = points.detach().requires_grad_()
        at = Names("coordinate", coordinate_functions(points, axes))
        values: dict[str, Any] = {}
        for name, given in problem.complete_parameters(parameters).items():
            value = given(at) if callable(given) else given
            if isinstance(value, Tensor):
                known = callable(given) or value.ndim == 0
                value = PointFunction(value, points, axes, differentiable=known)
            values[name] = value
        value = u(points)
        if not value.requires_grad:
            raise InvalidInput(
                "u",
                "values without a gradient",
                "values computed from the points by differentiable operations",
                "Do not detach them; a constant is `0 * points[:, 0] + c`.",
            )
        columns = (len(points), len(problem.fields))
        if len(problem.fields) > 1 and tuple(value.shape) != columns:
            expected = f"{columns}, a column for each of {', '.join(problem.fields)}"
            raise InvalidInput("shape of u(points)", tuple(value.shape), expected)
        functions = [PointFunction(part, points, axes) for part in parted(problem.fields, value)]
        residual = problem.residual(named(problem.fields, functions), at, Names("parameter", values))
        parts = components(problem.solved, residual, f"{type(problem).__name__}.residual")
    for part in parts:
        if not isinstance(part, PointFunction):
            method = f"{type(problem).__name__}.residual"
            raise InvalidInput(method, type(part).__name__, "an expression in u, at or p")
    result = joined([part.values.expand(len(points)) for part in parts])
    return result if keep else result.detach()
