"""The language that a residual is written in: ``D`` and the elementary functions.

The same expression is evaluated on three kinds of operand: a function known at scattered points
(:class:`~pdeflow.problems.point_function.PointFunction`, derivatives by autograd), a function known on a
grid (:class:`~pdeflow.problems.grid_function.GridFunction`, derivatives by compact finite differences), and
a SymPy expression (exact derivatives, left unevaluated). Plain numbers are constants to all three.
"""

from __future__ import annotations

import abc
import math
import operator
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput


class Function(abc.ABC):
    """A scalar function known by its values; arithmetic is pointwise and ``D`` differentiates it.

    Operands are other functions of the same kind, numbers, and zero-dimensional tensors.
    """

    values: Tensor

    @abc.abstractmethod
    def map(self, function: Callable[[Tensor], Tensor]) -> Function:
        """``function`` of the values, entry by entry."""

    @abc.abstractmethod
    def derivative(self, axis: str, order: int) -> Function:
        """The derivative of the given order along the named axis."""

    def inverse_laplacian(self, axes: Sequence[str]) -> Function:
        """See :func:`inverse_laplacian`; only where the function is known everywhere, as a Fourier series."""
        raise InvalidInput(
            "u of inverse_laplacian",
            type(self).__name__,
            "a periodic function known on the whole grid: its value anywhere depends on u everywhere",
            "Use rate_on_grid or evolve.",
        )

    @abc.abstractmethod
    def _combine(self, other: Any, operation: Callable[[Any, Any], Any]) -> Function:
        """``operation(self, other)`` entry by entry; a function of the module ``operator``, or its mirror."""

    def __add__(self, other: Any) -> Function:
        return self._combine(other, operator.add)

    def __radd__(self, other: Any) -> Function:
        return self + other

    def __sub__(self, other: Any) -> Function:
        return self._combine(other, operator.sub)

    def __rsub__(self, other: Any) -> Function:
        return -self + other

    def __mul__(self, other: Any) -> Function:
        return self._combine(other, operator.mul)

    def __rmul__(self, other: Any) -> Function:
        return self * other

    def __truediv__(self, other: Any) -> Function:
        return self._combine(other, operator.truediv)

    def __rtruediv__(self, other: Any) -> Function:
        return self._combine(other, lambda a, b: b / a)

    def __pow__(self, other: Any) -> Function:
        return self._combine(other, operator.pow)

    def __rpow__(self, other: Any) -> Function:
        return self._combine(other, lambda a, b: b**a)

    def __neg__(self) -> Function:
        return self.map(operator.neg)

    def __abs__(self) -> Function:
        return self.map(torch.abs)


class Names:
    """Named values read as attributes: ``at.x``, ``p.a``; a wrong name is answered with the known ones."""

    def __init__(self, kind: str, values: Mapping[str, Any]) -> None:
        self._kind, self._values = kind, dict(values)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._values[name]
        except KeyError:
            raise InvalidInput(
                self._kind, name, f"one of {', '.join(self._values) or 'none'}", choices=self._values
            ) from None


def check_axis(axis: str, axes: Iterable[str]) -> None:
    """Raise InvalidInput unless ``axis`` is one of ``axes``."""
    known = tuple(axes)
    if axis not in known:
        raise InvalidInput("axis of D", axis, f"one of the domain's axes {', '.join(known)}", choices=known)


def check_operand(other: object) -> None:
    """Raise InvalidInput for a tensor of several numbers, which says nothing of where they belong."""
    if isinstance(other, Tensor) and other.ndim:
        raise InvalidInput(
            "operand of a function on a grid or mesh",
            f"a tensor of shape {tuple(other.shape)}",
            "a number or another such function",
            "Make it a Parameter of the problem and write p.NAME.",
        )


def _is_symbolic(value: object) -> bool:
    # An expression can only exist once SymPy is loaded, so there is no need to import it to ask.
    sympy = sys.modules.get("sympy")
    return sympy is not None and isinstance(value, sympy.Basic)


def D(u: Any, axis: str, order: int = 1) -> Any:
    r"""The partial derivative :math:`\partial^{order} u / \partial axis^{order}`.

    Parameters
    ----------
    u
        A function on points or on a grid, a SymPy expression, or a number (whose derivative is 0).
    axis
        A coordinate of the problem's domain, for example ``"x"``.
    order
        At least 1. On a grid each order is one half-step central difference, so that order 2 is the
        three-point stencil and ``D(a * D(u, "x"), "x")`` the conservative flux form.

    Raises
    ------
    InvalidInput
        If the order is not a positive integer, the axis is unknown, or ``u`` is a bare tensor, which does
        not know the coordinates it was computed from.
    """
    if not isinstance(order, int) or order < 1:
        raise InvalidInput("order of D", order, "an integer of at least 1")
    if isinstance(u, Function):
        return u.derivative(axis, order)
    if _is_symbolic(u):
        from pdeflow.problems.symbolic import derivative

        return derivative(u, axis, order)
    if isinstance(u, (int, float)):
        return 0.0
    raise InvalidInput(
        "u of D",
        type(u).__name__,
        "an expression in the unknown, the coordinates `at` and the parameters `p`",
        "Write derivatives inside a residual, or a formula of `at`; a bare tensor has lost its coordinates.",
    )


def inverse_laplacian(u: Any, axes: Sequence[str]) -> Any:
    r"""The periodic v of mean 0 with :math:`\Delta v = u - \bar u`, where the bar is the mean over the box.

    It is not local, so it can be evaluated on Fourier series and symbols, not at scattered points.

    Parameters
    ----------
    u
        A periodic function known on a grid, or a SymPy expression.
    axes
        All axes of the box.

    Raises
    ------
    InvalidInput
        If u is known at points only.
    """
    if isinstance(u, Function):
        return u.inverse_laplacian(axes)
    if _is_symbolic(u):
        from pdeflow.problems.symbolic import InverseLaplacian, coordinate

        return InverseLaplacian(u, *map(coordinate, axes))
    raise InvalidInput("u of inverse_laplacian", type(u).__name__, "an expression in the unknown")


def _elementary(name: str) -> Callable[[Any], Any]:
    on_tensors: Callable[[Tensor], Tensor] = getattr(torch, name)
    on_numbers: Callable[[float], float] = getattr(math, name)

    def function(value: Any) -> Any:
        if isinstance(value, Function):
            return value.map(on_tensors)
        if isinstance(value, Tensor):
            return on_tensors(value)
        if _is_symbolic(value):
            return getattr(sys.modules["sympy"], name)(value)
        return on_numbers(value)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = (
        f"``{name}`` of a function on points or a grid, a tensor, a SymPy expression or a number."
    )
    return function


sin = _elementary("sin")
cos = _elementary("cos")
tan = _elementary("tan")
atan = _elementary("atan")
sinh = _elementary("sinh")
cosh = _elementary("cosh")
tanh = _elementary("tanh")
exp = _elementary("exp")
log = _elementary("log")
sqrt = _elementary("sqrt")
erf = _elementary("erf")


def i_times(value: Any) -> Any:
    """The imaginary unit times a function on points or a grid, a tensor, a SymPy expression or a number."""
    return sys.modules["sympy"].I * value if _is_symbolic(value) else 1j * value


def relu(value: Any) -> Any:
    """``max(value, 0)`` of a function on points or a grid, a tensor, a SymPy expression or a number."""
    if isinstance(value, Function):
        return value.map(torch.relu)
    if isinstance(value, Tensor):
        return torch.relu(value)
    return sys.modules["sympy"].Max(value, 0) if _is_symbolic(value) else max(value, 0.0)


def step(value: Any) -> Any:
    """1 where ``value`` is not negative, else 0; of the same kinds as :func:`relu`."""
    if isinstance(value, Function):
        return value.map(step)
    if isinstance(value, Tensor):
        return (value >= 0).to(value.dtype)
    return sys.modules["sympy"].Heaviside(value, 1) if _is_symbolic(value) else float(value >= 0)
