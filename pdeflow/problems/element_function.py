"""Functions on the triangles of a mesh, and what a residual in divergence form is to a test function.

A residual ``s + sum_i D(F_i, axis_i)``, where the source s and the fluxes F hold derivatives of the first
order at most, is multiplied by a test function v and integrated by parts: ``int s v - sum_i F_i D(v,
axis_i)``. So the statement that points and symbols evaluate gives the matrices of finite elements too.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.problems.calculus import Function, check_axis, check_operand

FLUX_HINT = "Write second derivatives in flux form, D(a * D(u, axis), axis), times numbers only."


class ElementFunction(Function):
    """Values at the quadrature points of the triangles.

    Parameters
    ----------
    values
        (triangles, points).
    gradient
        Axis name to values of the derivative, where they are known: of unknowns. What has none is taken as
        a flux when ``D`` differentiates it.
    """

    def __init__(self, values: Tensor, gradient: Mapping[str, Tensor] | None = None) -> None:
        self.values, self.gradient = values, gradient

    def map(self, function: Callable[[Tensor], Tensor]) -> ElementFunction:
        """``function`` of the values, entry by entry."""
        return ElementFunction(function(self.values))

    def derivative(self, axis: str, order: int) -> ElementFunction | WeakResidual:
        """The derivative along the named axis, or the term of a residual whose flux this is."""
        check_axis(axis, ("x", "y"))
        if order > (2 if self.gradient else 1):
            raise InvalidInput("order of D", order, "at most two derivatives of the unknown", FLUX_HINT)
        if self.gradient is None:
            return WeakResidual(torch.zeros_like(self.values), {axis: self.values})
        first = ElementFunction(self.gradient[axis])
        return first if order == 1 else first.derivative(axis, 1)

    def _combine(self, other: Any, operation: Callable[[Any, Any], Any]) -> Function:
        if isinstance(other, WeakResidual):
            return WeakResidual(self.values, {})._combine(other, operation)
        check_operand(other)
        values = other.values if isinstance(other, ElementFunction) else other
        return ElementFunction(operation(self.values, values))


class WeakResidual(Function):
    """The residual ``source + sum D(flux, axis)`` before it meets a test function.

    Parameters
    ----------
    source
        (triangles, points).
    fluxes
        Axis name to (triangles, points).
    """

    def __init__(self, source: Tensor, fluxes: Mapping[str, Tensor]) -> None:
        self.values, self.fluxes = source, dict(fluxes)

    @classmethod
    def of(cls, value: Any, like: Tensor) -> WeakResidual:
        """A residual without second derivatives, a number among them, as one of this kind."""
        if isinstance(value, WeakResidual):
            return value
        if isinstance(value, ElementFunction):
            return cls(value.values, {})
        return cls(torch.zeros_like(like) + value, {})

    def flux(self, axis: str) -> Tensor:
        """The flux along an axis; zero where there is none."""
        return self.fluxes.get(axis, torch.zeros_like(self.values))

    def minus(self, other: WeakResidual) -> WeakResidual:
        """The difference of two residuals."""
        axes = dict.fromkeys((*self.fluxes, *other.fluxes))
        fluxes = {axis: self.flux(axis) - other.flux(axis) for axis in axes}
        return WeakResidual(self.values - other.values, fluxes)

    def map(self, function: Callable[[Tensor], Tensor]) -> WeakResidual:
        """Refused but for a change of sign: a flux under another function is none."""
        if function is not operator.neg:
            raise InvalidInput("function of a second derivative", function, "none", FLUX_HINT)
        return self.scaled(-1.0)

    def scaled(self, factor: Any) -> WeakResidual:
        """The residual times a number."""
        return WeakResidual(factor * self.values, {axis: factor * f for axis, f in self.fluxes.items()})

    def derivative(self, axis: str, order: int) -> WeakResidual:
        """Refused: linear elements have no third derivatives."""
        raise InvalidInput("order of D", order, "at most two derivatives of the unknown", FLUX_HINT)

    def _combine(self, other: Any, operation: Callable[[Any, Any], Any]) -> WeakResidual:
        number = isinstance(other, (int, float)) or (isinstance(other, Tensor) and other.ndim == 0)
        if operation is operator.mul and number:
            return self.scaled(other)
        if operation is operator.truediv and number:
            return self.scaled(1.0 / other)
        if operation is operator.sub:
            return self.minus(WeakResidual.of(other, self.values))
        if operation is operator.add:
            return self.minus(WeakResidual.of(other, self.values).scaled(-1.0))
        raise InvalidInput("product with a second derivative", type(other).__name__, "a number", FLUX_HINT)
