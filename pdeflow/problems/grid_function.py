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

from pdeflow.grid import Grid
from pdeflow.problems.calculus import Function, Names, check_axis, check_operand
from pdeflow.problems.closed_grid import closed_ends, unknowns
from pdeflow.problems.staggered_term import Operation, Term

_DISTRIBUTIVE = (operator.mul, operator.truediv)


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
    """The function at the nodes that lie at least ``margin`` nodes from every end.

    Ends that wrap or are closed have no margin. Fewer nodes than asked for where the function is not known so
    near the end.
    """
    grid = function.grid
    terms = []
    for term in function.terms:
        term = term.to_nodes()
        for k, (n, wraps) in enumerate(zip(grid.points, grid.periodic)):
            place = term.first[k]
            if place is not None and not wraps:
                low, high = (0 if closed else 2 * margin for closed in closed_ends(grid, k))
                term = term.narrowed(k, max(place, low), min(term.last(k), 2 * (n - 1) - high))
        terms.append(term)
    return functools.reduce(lambda a, b: a.combine(b, operator.add), terms)


def residual_term(function: GridFunction) -> Term:
    """A residual at the nodes of the unknowns, times the share of its cell that a node has inside the box.

    That is a half at a closed end, and less where two meet. The equations of closed ends are those of half
    cells: only if they count by half is the matrix of a self-adjoint equation symmetric.
    """
    term = node_term(function, margin=1)
    for k, n in enumerate(term.grid.points):
        low, high = closed_ends(term.grid, k)
        if low or high:
            values = term.values
            share = torch.ones(n, dtype=values.dtype.to_real(), device=values.device)
            share[:1] *= 0.5 if low else 1.0
            share[-1:] *= 0.5 if high else 1.0
            term = term.combine(_along(k, share, term.grid), operator.mul)
    return term


def _filled(term: Term, sizes: tuple[int, ...]) -> Tensor:
    """Values, (batch, n1, ..., nd), with these sizes along axes where the term does not vary."""
    return term.values.expand(-1, *(n if place is None else -1 for n, place in zip(sizes, term.first)))


def residual_values(function: GridFunction) -> Tensor:
    """Values of the :func:`residual_term`, (batch, n1, ..., nd)."""
    return _filled(residual_term(function), unknowns(function.grid))


def _along(k: int, values: Tensor, grid: Grid) -> Term:
    """Values at the nodes of axis k, (n,), as a term that varies along no other axis."""
    sizes = [-1 if j == k else 1 for j in range(grid.dim)]
    return Term(values.reshape(1, *sizes), grid, tuple(0 if j == k else None for j in range(grid.dim)))


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
        functions[axis] = GridFunction([_along(k, x, grid)])
    return functions


def evaluate(
    formula: Callable[[Any], Any] | float | complex,
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
    return _filled(node_term(value, margin=0), grid.points)
