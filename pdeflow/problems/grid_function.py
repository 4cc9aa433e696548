"""Functions known on a uniform grid, differentiated by compact finite differences on staggered places.

Along every axis a function is known at the nodes or at the faces half-way between them. A first difference
over one spacing takes nodes to faces and faces to nodes and is second-order accurate at the place where it
lands (Harlow and Welch, "Numerical calculation of time-dependent viscous incompressible flow of fluid with
free surface", Phys. Fluids 8, 1965). Factors at different places are averaged to the face between them.
Terms at different places are kept side by side, since a derivative or a factor acts on each, and are averaged
to the nodes only where one value is asked for. Out of these rules come the usual schemes: ``D(u, "x", 2)`` is
the three-point stencil, ``D(a * D(u, "x"), "x")`` the symmetric flux form with a averaged to the faces,
``b * D(u, "x") + u`` the central difference, and a mixed derivative the four corners.

A nonlinear function of terms at different places, such as ``sqrt(1 + D(u, "x") ** 2 + D(u, "y") ** 2)``,
waits for the factor that needs it and is evaluated where that lies, its terms averaged there. So a flux that
depends on the gradient couples a node to its neighbours only.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.problems.calculus import Function, Names, check_axis, check_operand

Operation = Callable[[Any, Any], Tensor]

_DISTRIBUTIVE = (operator.mul, operator.truediv)


class Term:
    """Values at one kind of place: nodes or faces along each axis.

    Places along an axis are counted in half spacings from the lower end: node i is 2i, the face above it
    2i + 1. On an axis that does not wrap, every difference or average costs half a spacing at both ends.

    Parameters
    ----------
    values
        (batch, n1, ..., nd); the batch and any constant axis may have length 1.
    grid
        The grid whose spacing and wrapping apply.
    first
        The place of the first entry along each axis; None where the function does not vary, length 1.
    """

    def __init__(self, values: Tensor, grid: Grid, first: tuple[int | None, ...]) -> None:
        self.values, self.grid, self.first = values, grid, first
        self._averages: dict[int, Term] = {}

    def map(self, function: Callable[[Tensor], Tensor]) -> Term:
        """``function`` of the values, entry by entry."""
        return Term(function(self.values), self.grid, self.first)

    def scaled(self, operation: Operation, number: Any) -> Term:
        """``operation`` with a number, one that distributes over sums."""
        return self.map(lambda values: operation(values, number))

    def _pair(self, k: int, operation: Operation) -> Term:
        """``operation(left, right)`` of neighbours along axis k, placed half-way between them."""
        first, values, dim = self.first[k], self.values, k + 1
        assert first is not None
        if self.grid.periodic[k]:
            if first == 0:
                left, right, place = values, values.roll(-1, dim), 1
            else:
                left, right, place = values.roll(1, dim), values, 0
        else:
            length = values.shape[dim] - 1
            if length < 1:
                raise InvalidInput(
                    f"points of axis {self.grid.axes[k]!r}",
                    self.grid.points[k],
                    "more points than the residual's stencil is wide",
                    "Take a finer grid.",
                )
            left, right, place = values.narrow(dim, 0, length), values.narrow(dim, 1, length), first + 1
        return Term(operation(left, right), self.grid, (*self.first[:k], place, *self.first[k + 1 :]))

    def average(self, k: int) -> Term:
        """The mean of neighbours along axis k: nodes to faces, or faces to nodes; kept, for parameters."""
        if k not in self._averages:
            self._averages[k] = self._pair(k, lambda left, right: (left + right).mul_(0.5))
        return self._averages[k]

    def difference(self, k: int) -> Term:
        """The difference of neighbours along axis k over the spacing."""
        if self.first[k] is None:
            return self.map(torch.zeros_like)
        return self._pair(k, lambda left, right: (right - left).div_(self.grid.spacing[k]))

    def beside(self, places: tuple[int | None, ...]) -> Term:
        """Averaged to faces along the axes where these places are faces, to nodes along the others."""
        pairs = enumerate(zip(self.first, places))
        moved = [k for k, (mine, theirs) in pairs if mine is not None and (mine - (theirs or 0)) % 2]
        return functools.reduce(lambda term, k: term.average(k), moved, self)

    def to_nodes(self) -> Term:
        """Averaged along every axis where it is at the faces."""
        return self.beside((0,) * self.grid.dim)

    def narrowed(self, k: int, low: int, high: int) -> Term:
        """The entries of axis k whose places lie in low..high, both included."""
        first = self.first[k]
        assert first is not None
        values = self.values.narrow(k + 1, (low - first) // 2, (high - low) // 2 + 1)
        return Term(values, self.grid, (*self.first[:k], low, *self.first[k + 1 :]))

    def last(self, k: int) -> int:
        """The place of the last entry along axis k."""
        return (self.first[k] or 0) + 2 * (self.values.shape[k + 1] - 1)

    def is_beside(self, other: Term) -> bool:
        """Whether along some axis one is at nodes and the other at faces."""
        pairs = zip(self.first, other.first)
        return any(p is not None and q is not None and (p - q) % 2 for p, q in pairs)

    def combine(self, other: Term, operation: Operation) -> Term:
        """``operation`` where both are known, after averages to the faces along axes where one is there."""
        a, b = self, other
        for k, wraps in enumerate(self.grid.periodic):
            place_a, place_b = a.first[k], b.first[k]
            if place_a is None or place_b is None:
                continue
            if (place_a - place_b) % 2:
                a, b = (a, b.average(k)) if place_a % 2 else (a.average(k), b)
                place_a, place_b = a.first[k], b.first[k]
                assert place_a is not None
                assert place_b is not None
            if not wraps:
                low, high = max(place_a, place_b), min(a.last(k), b.last(k))
                a, b = a.narrowed(k, low, high), b.narrowed(k, low, high)
        first = tuple(p if q is None else q for p, q in zip(a.first, b.first))
        return a.joined(b, operation, first)

    def joined(self, other: Term, operation: Operation, first: tuple[int | None, ...]) -> Term:
        """``operation`` of this and another term at the same places."""
        return other.joined_to(self, operation, first)

    def joined_to(self, other: Term, operation: Operation, first: tuple[int | None, ...]) -> Term:
        """``operation`` of another term and this, which know what kind they are."""
        return Term(operation(other.values, self.values), self.grid, first)


class GridFunction(Function):
    """A function on a grid: the sum of terms at different places.

    Parameters
    ----------
    terms
        At least one; those at the same places are added up.
    """

    def __init__(self, terms: Iterable[Term]) -> None:
        self.terms: list[Term] = []
        for term in terms:
            for k, mine in enumerate(self.terms):
                if not mine.is_beside(term):
                    self.terms[k] = mine.combine(term, operator.add)
                    break
            else:
                self.terms.append(term)
        self.grid = self.terms[0].grid

    @property
    def _is_number(self) -> bool:
        """Whether it is one number a sample."""
        return len(self.terms) == 1 and all(place is None for place in self.terms[0].first)

    def _beside(self, places: tuple[int | None, ...]) -> Term:
        """The one term it has, or the sum of its terms averaged to where these places are."""
        if len(self.terms) == 1:
            return self.terms[0]
        there = [term.beside(places) for term in self.terms]
        return functools.reduce(lambda a, b: a.combine(b, operator.add), there)

    def _single(self) -> Term:
        """The one term it has, or the sum of its terms at the nodes."""
        return self._beside((0,) * self.grid.dim)

    def _factors(self, other: Term) -> list[Term]:
        """What a product with ``other`` is the sum over."""
        return self.terms

    @property
    def values(self) -> Tensor:
        """Values where the function is known, (batch, n1, ..., nd)."""
        return self._single().values

    def map(self, function: Callable[[Tensor], Tensor]) -> GridFunction:
        """``function`` of the values, entry by entry."""
        return self._through(lambda term: term.map(function))

    def _through(self, outer: Callable[[Term], Term]) -> GridFunction:
        """``outer`` of the one term, or of the sum of several, once a factor says where."""
        if len(self.terms) == 1:
            return GridFunction([outer(self.terms[0])])
        return Composed(self, outer)

    def derivative(self, axis: str, order: int) -> GridFunction:
        """The derivative along the named axis; see :func:`~pdeflow.problems.calculus.D`."""
        check_axis(axis, self.grid.axes)
        k = self.grid.axes.index(axis)
        result = self
        for _ in range(order):
            result = GridFunction([term.difference(k) for term in result.terms])
        return result

    def __neg__(self) -> GridFunction:
        return GridFunction([term.map(operator.neg) for term in self.terms])

    def _combine(self, other: Any, operation: Operation) -> GridFunction:
        check_operand(other)
        additive = operation in (operator.add, operator.sub)
        if isinstance(other, GridFunction):
            if isinstance(other, Composed) and self._is_number:
                return other._through(lambda term: self.terms[0].combine(term, operation))
            if additive:
                return GridFunction([*self.terms, *(other if operation is operator.add else -other).terms])
            if operation is operator.mul:
                return GridFunction([a.combine(b, operation) for a in self.terms for b in other._factors(a)])
            if operation is operator.truediv:
                return GridFunction([a.combine(other._beside(a.first), operation) for a in self.terms])
            return self._through(lambda term: term.combine(other._beside(term.first), operation))
        if additive:
            like = self.terms[0].values
            dtype = like.dtype.to_complex() if isinstance(other, complex) else like.dtype
            number = torch.as_tensor(other, dtype=dtype, device=like.device)
            return self._combine(constant_function(number, self.grid), operation)
        if operation in _DISTRIBUTIVE:
            return GridFunction([term.scaled(operation, other) for term in self.terms])
        return self.map(lambda values: operation(values, other))


class Composed(GridFunction):
    """A nonlinear function of terms at different places: evaluated where a factor is, else at the nodes.

    Parameters
    ----------
    argument
        The terms.
    outer
        The function of their sum, once they are averaged to one place.
    """

    def __init__(self, argument: GridFunction, outer: Callable[[Term], Term]) -> None:
        self._argument, self._outer, self.grid = argument, outer, argument.grid

    @functools.cached_property
    def terms(self) -> list[Term]:
        """The one term at the nodes."""
        return [self._single()]

    @property
    def _is_number(self) -> bool:
        return False

    def _beside(self, places: tuple[int | None, ...]) -> Term:
        return self._outer(self._argument._beside(places))

    def _factors(self, other: Term) -> list[Term]:
        return [self._beside(other.first)]

    def _through(self, outer: Callable[[Term], Term]) -> GridFunction:
        return Composed(self._argument, lambda term: outer(self._outer(term)))

    def __neg__(self) -> GridFunction:
        return self.map(operator.neg)

    def _combine(self, other: Any, operation: Operation) -> GridFunction:
        check_operand(other)
        if not isinstance(other, GridFunction):
            return self.map(lambda values: operation(values, other))
        if other._is_number:
            return self._through(lambda term: term.combine(other.terms[0], operation))
        if operation is operator.mul:
            return GridFunction([a.combine(b, operation) for b in other.terms for a in self._factors(b)])
        return super()._combine(other, operation)


def node_term(function: GridFunction, margin: int) -> Term:
    """The function at the nodes that lie at least ``margin`` nodes from every end that does not wrap.

    Fewer nodes than asked for where the function is not known so near the end.
    """
    grid = function.grid
    terms = []
    for term in function.terms:
        term = term.to_nodes()
        for k, (n, wraps) in enumerate(zip(grid.points, grid.periodic)):
            place = term.first[k]
            if place is not None and not wraps:
                high = min(term.last(k), 2 * (n - 1 - margin))
                term = term.narrowed(k, max(place, 2 * margin), high)
        terms.append(term)
    return functools.reduce(lambda a, b: a.combine(b, operator.add), terms)


def node_values(function: GridFunction, margin: int) -> Tensor:
    """Values there, (batch, n1, ..., nd); see :func:`node_term`."""
    grid, nodes = function.grid, node_term(function, margin)
    inner = (n if wraps else n - 2 * margin for n, wraps in zip(grid.points, grid.periodic))
    return nodes.values.expand(-1, *(n if p is None else -1 for n, p in zip(inner, nodes.first)))


def node_function(values: Tensor, grid: Grid) -> GridFunction:
    """A function given at all nodes, (batch, *grid.shape)."""
    return GridFunction([Term(values, grid, (0,) * grid.dim)])


def constant_function(values: Tensor, grid: Grid) -> GridFunction:
    """A function that is one number a sample, (batch,)."""
    return GridFunction([Term(values.reshape(-1, *(1,) * grid.dim), grid, (None,) * grid.dim)])


def coordinate_functions(
    grid: Grid, dtype: torch.dtype = torch.float64, device: torch.device | str | None = None
) -> dict[str, GridFunction]:
    """Each axis name mapped to its coordinate at the nodes, as a function to compute with.

    On an axis that wraps the coordinate itself jumps at the seam: use it only inside periodic functions.
    """
    functions = {}
    for k, (axis, x) in enumerate(zip(grid.axes, grid.coordinates(dtype, device))):
        sizes = [-1 if j == k else 1 for j in range(grid.dim)]
        first = tuple(0 if j == k else None for j in range(grid.dim))
        functions[axis] = GridFunction([Term(x.reshape(1, *sizes), grid, first)])
    return functions


def evaluate(
    formula: Callable[[Any], Any] | float,
    grid: Grid,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str | None = None,
) -> Tensor:
    """A formula of ``at``, or a number, at all nodes.

    Parameters
    ----------
    formula
        For example ``lambda at: sin(math.pi * at.x)``.

    Returns
    -------
    Tensor
        (1, *grid.shape).
    """
    at = Names("coordinate", coordinate_functions(grid, dtype, device))
    value = formula(at) if callable(formula) else formula
    if not isinstance(value, GridFunction):
        dtype = dtype.to_complex() if isinstance(value, complex) else dtype
        value = constant_function(torch.as_tensor(value, dtype=dtype, device=device), grid)
    return node_values(value, margin=0)
