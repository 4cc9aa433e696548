"""From a stated equation to the linear systems of its finite differences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.linalg import StencilOperator, Tag
from pdeflow.linalg.operator import magnitude
from pdeflow.problems.calculus import Names
from pdeflow.problems.closed_grid import cell_shares, closed_grid, interior, unknowns
from pdeflow.problems.coloured_probing import largest, rough_function
from pdeflow.problems.conditions import Dirichlet, by_side, check_conditions
from pdeflow.problems.grid_function import GridFunction, evaluate, node_function, residual_term
from pdeflow.problems.interface import interfaces
from pdeflow.problems.stencil_structure import tagged_stencil
from pdeflow.problems.stencil_term import Coefficient, DependsNonlinearly, StencilTerm, unknown_function

if TYPE_CHECKING:
    from pdeflow.problems.problem import Problem


@dataclass(frozen=True)
class System:
    """Linear systems A x = b for the unknowns of a grid, one a sample.

    Where the conditions leave u open up to a constant (Neumann or periodic on every side, and no term in u
    itself), A is tagged ``Tag.CONSTANT_NULL_SPACE``, and by the Fredholm alternative there is a solution only
    if b sums to 0: what the source brings has to leave through the sides. For any other source
    `made_solvable` states the nearest equation that has one, and `embed` gives the u whose integral is 0.

    Attributes
    ----------
    operator
        A, acting on (batch, *interior). The unknowns of an axis are all of its nodes where it wraps; else its
        interior nodes, and those of its sides with a Robin or Neumann condition.
    rhs
        b, (batch, *interior).
    boundary
        (batch or 1, *grid.shape): the boundary values, 0 at the unknowns.
    interior
        Slices that pick the unknowns out of a function on the grid, the batch dimension included.
    shares
        (*interior): the share of a whole cell that each equation is for, 1/2 on a closed side, 1/4 in an edge
        of two; None unless A maps constants to 0.
    """

    operator: StencilOperator
    rhs: Tensor
    boundary: Tensor
    interior: tuple[slice, ...]
    shares: Tensor | None = None

    def solvable(self, values: Tensor) -> Tensor:
        """The part of a right-hand side or residual (n, *interior) for which there is a solution.

        ``b - c w`` with the cell shares w and the number ``c = sum(b) / sum(w)``: b of the source less c. All
        of b where A is regular.
        """
        if self.shares is None:
            return values
        return values - self.shares.to(values.dtype) * self._mean(values / self.shares)

    def made_solvable(self) -> System:
        """The systems of the equation whose source is less the constant that stands in the way of a solution.

        Raises
        ------
        InvalidInput
            If nothing but round-off in b's dtype is left of b in any of them, so that u = 0: the source is
            the same everywhere.
        """
        if self.shares is None:
            return self
        rhs = self.solvable(self.rhs)
        left, given = (values.flatten(1).norm(dim=1) for values in (rhs, self.rhs))
        round_off = 64 * torch.finfo(rhs.dtype).eps
        if bool(((left <= round_off * given) & (given > 0)).all()):
            raise InvalidInput(
                "source of the equation",
                "the same value everywhere",
                "one that varies, because no condition fixes the level of u and its mean does not count",
                "Take a field such as GaussianField, or give a side a Dirichlet condition.",
            )
        return replace(self, rhs=rhs)

    def _mean(self, x: Tensor) -> Tensor:
        """(n, 1, ..., 1): the means of x (n, *interior) over the domain, by the trapezoidal rule."""
        assert self.shares is not None
        dims = tuple(range(1, x.ndim))
        return (x * self.shares).sum(dims, keepdim=True) / self.shares.sum()

    def embed(self, x: Tensor) -> Tensor:
        """The function on the whole grid, (batch, *grid.shape), whose unknowns are x (batch, *interior).

        Where A maps constants to 0, less the constant that makes its integral 0.
        """
        x = x if self.shares is None else x - self._mean(x)
        u = self.boundary.to(x.dtype).expand(x.shape[0], *self.boundary.shape[1:]).clone()
        u[self.interior] = x
        return u


class NotLinear(InvalidInput):
    """A residual that is not linear in the unknown, where a linear one is needed."""


def boundary_extension(
    problem: Problem,
    grid: Grid,
    parameters: Mapping[str, GridFunction],
    device: torch.device | None = None,
) -> Tensor:
    """(n or 1, *grid.shape) in float64 or complex128: the Dirichlet values on the boundary, 0 inside.

    Parameters
    ----------
    problem
        The statement.
    grid
        Of its domain.
    parameters
        What :meth:`Problem.parameters_on_grid` gives in float64. Where a value depends on one of them that
        differs from sample to sample, there is a boundary for each.
    device
        Where the values are made.

    Raises
    ------
    InvalidInput
        If a side has no condition, or there is an interface.
    """
    for interface in interfaces(problem):
        hint = "Learn it at points by PhysicsInformed, or state one flux with a coefficient that changes."
        key = f"{type(problem).__name__}.conditions"
        raise InvalidInput(key, str(interface), "conditions on sides: a grid does not know others", hint)
    dtype = torch.complex128 if problem.complex_valued else torch.float64
    extension = torch.zeros((1, *grid.shape), dtype=dtype, device=device)
    grid, p = closed_grid(problem, grid), Names("parameter", parameters)
    check_conditions(problem.conditions, problem.domain, f"{type(problem).__name__}.conditions")
    kinds = by_side(problem.conditions, problem.domain)
    for condition in problem.conditions:
        if not isinstance(condition, Dirichlet):
            continue
        values = evaluate(_with_parameters(condition.value, p), grid, torch.float64, device)
        if len(values) > len(extension):
            extension = extension.repeat(len(values), *(1,) * grid.dim)
        if values.is_complex() and not problem.complex_valued:
            raise _complex(problem)
        for side in condition.sides(problem.domain):
            if not isinstance(kinds[side], Dirichlet):
                continue
            index: list[slice | int] = [slice(None)] * (grid.dim + 1)
            index[1 + grid.axes.index(side[:-1])] = 0 if side[-1] == "-" else -1
            extension[tuple(index)] = values[tuple(index)]
    return extension


def _with_parameters(value: Any, p: Names) -> Any:
    """A formula of ``at`` and parameters as one of ``at`` alone; a number as it is."""
    return (lambda at: value(at, p)) if callable(value) else value


def _complex(problem: Problem) -> InvalidInput:
    name = type(problem).__name__
    hint = f"Set complex_valued = True in {name}."
    return InvalidInput(
        f"{name}.residual or conditions", "complex", "real, as the unknown is said to be", hint
    )


def check_size(grid: Grid) -> None:
    """Raise InvalidInput unless every axis has an unknown."""
    for axis, n in zip(grid.axes, grid.points):
        if n < 3:
            raise InvalidInput(f"points of axis {axis!r}", n, "at least 3", "Take a finer grid.")


def check_values(problem: Problem, functions: Mapping[str, GridFunction]) -> None:
    """Raise InvalidInput unless the parameters are finite, and positive where they have to be."""
    hint = "If it was drawn, its distribution reaches beyond floating point: take a narrower one."
    for name, function in functions.items():
        if not bool(torch.isfinite(magnitude(function.values)).all()):
            raise InvalidInput(f"parameter {name!r}", "NaN or Inf", "finite values", hint)
        if problem.parameters[name].positive and not bool((function.values.flatten(1).amin(1) > 0).all()):
            raise InvalidInput(f"parameter {name!r}", float(function.values.min()), "positive values", hint)


def batch_size(functions: Mapping[str, GridFunction]) -> int:
    """How many samples the parameters are for; InvalidInput if they disagree."""
    sizes = {name: function.values.shape[0] for name, function in functions.items()}
    batch = max(sizes.values(), default=1)
    if set(sizes.values()) - {1, batch}:
        raise InvalidInput("samples of the parameters", sizes, "as many of each, or a single one")
    return batch


def _stencil(
    problem: Problem,
    grid: Grid,
    functions: Mapping[str, GridFunction],
    batch: int,
    device: torch.device | None,
) -> tuple[list[tuple[int, ...]], Tensor]:
    """Offsets, and coefficients (batch, offsets, *unknowns), of the linear part.

    Raises
    ------
    NotLinear
        If the residual is not linear in u.
    InvalidInput
        If it couples nodes further apart than neighbours.
    """
    name = f"{type(problem).__name__}.residual"
    sizes = unknowns(grid)
    try:
        term = residual_term(problem.residual_function(unknown_function(grid, device), functions))
    except DependsNonlinearly:
        raise _not_linear(name) from None
    found = term.coefficients if isinstance(term, StencilTerm) else {}
    wide = any(half % 2 or abs(half) > 2 for offset in found for half in offset)
    if wide or (isinstance(term, StencilTerm) and term.sizes != sizes):
        raise InvalidInput(
            name,
            "a stencil wider than one node each way",
            "derivatives of at most second order",
            "Write a fourth-order equation as two of second order.",
        )
    none = (0,) * grid.dim
    offsets = sorted({none, *found}, key=lambda o: (sum(map(abs, o)), o))
    dtype = torch.complex128 if problem.complex_valued else torch.float64
    if not problem.complex_valued and any(c.is_complex for c in found.values()):
        raise _complex(problem)
    out = torch.empty((batch, len(offsets), *sizes), dtype=dtype, device=device)
    for k, offset in enumerate(offsets):
        found.get(offset, Coefficient(0.0)).write(out[:, k])
        for axis, (half, wraps) in enumerate(zip(offset, grid.periodic)):
            if half and not wraps:  # the neighbour of the last unknown is a boundary node, or none
                out[:, k].select(axis + 1, 0 if half < 0 else -1).zero_()
    return [tuple(half // 2 for half in offset) for offset in offsets], out


def _not_linear(name: str) -> NotLinear:
    return NotLinear(
        name,
        "a residual that is not linear in u",
        "a linear equation, which discretise() turns into A x = b",
        "newton() solves equations that are not linear.",
    )


def _check_stencil(
    problem: Problem,
    operator: StencilOperator,
    functions: Mapping[str, GridFunction],
    boundary: Tensor,
    at_boundary: Tensor,
    grid: Grid,
) -> None:
    """Raise NotLinear unless the stencil of one sample gives what a rough function adds to its residual."""
    name = f"{type(problem).__name__}.residual"
    rough = rough_function(grid, boundary.device).to(boundary.dtype)
    added = problem.evaluate_residual(node_function(boundary + rough, grid), functions) - at_boundary
    expected = operator.apply(rough[interior(grid)])
    error = largest(added - expected)
    round_off = 64 * torch.finfo(torch.float64).eps * largest(at_boundary)
    if not bool((error <= 1e-10 * largest(expected) + round_off).all()):
        raise _not_linear(name)


def _first(value: Any) -> Any:
    """The first sample of a parameter."""
    return value[:1] if isinstance(value, Tensor) and value.ndim else value


def discretise(problem: Problem, grid: Grid, parameters: Mapping[str, Any]) -> System:
    """The linear systems A x = b equivalent to ``problem.residual_on_grid(embed(x)) == 0``.

    A is read off the residual itself, so that it cannot disagree with the statement: the residual is
    evaluated once with the unknown in place of values (:mod:`~pdeflow.problems.stencil_term`). The
    right-hand side is minus the residual of the boundary values continued by 0. Both are made in float64, or
    complex128, and handed over in the parameters' dtype. The algebra of that unknown has linear operations
    alone, and any other raises `NotLinear`. As a second net, the stencil of the first sample has to give back
    the residual of a random function.

    Parameters
    ----------
    problem
        A linear equation of at most second order.
    grid
        Of the problem's domain; at least 3 points an axis.
    parameters
        As in :meth:`Problem.parameters_on_grid`; with their dtype and on their device the systems are made.

    Returns
    -------
    System
        The operator is tagged SYMMETRIC if its matrices are, up to round-off, and POSITIVE_DEFINITE if they
        are moreover diagonally dominant with a positive diagonal and not singular; CONSTANT_NULL_SPACE if
        constants are all that they and their transposes map to 0. Offsets whose coefficients all vanish are
        dropped. On the meta device nothing is checked, tagged or dropped.

    Raises
    ------
    InvalidInput
        If a side has no condition, the equation is not linear (a `NotLinear`) or its stencil too wide, a
        parameter is missing, has another shape, is not finite, or not positive where it has to be.
    """
    problem.check_grid(grid)
    check_size(grid)
    grid = closed_grid(problem, grid)
    tensors = [value for value in parameters.values() if isinstance(value, Tensor)]
    device = tensors[0].device if tensors else None
    dtype = tensors[0].dtype if tensors else torch.float64
    if problem.complex_valued:
        dtype = dtype.to_complex()
    meta = device is not None and device.type == "meta"

    functions = problem.parameters_on_grid(grid, parameters, torch.float64, device)
    batch = batch_size(functions)
    if not meta:
        check_values(problem, functions)
    offsets, stencil = _stencil(problem, grid, functions, batch, device)
    boundary = boundary_extension(problem, grid, functions, device)
    at_boundary = problem.evaluate_residual(node_function(boundary, grid), functions)
    if at_boundary.is_complex() and not problem.complex_valued:
        raise _complex(problem)
    rhs = -at_boundary.expand(batch, *stencil.shape[2:])
    if meta:
        operator = StencilOperator(offsets, stencil, grid.periodic)
    else:
        if not bool(torch.isfinite(magnitude(at_boundary)).all()):
            hint = "Either the equation is not linear in u, or a formula of `at` is singular at a node."
            residual = f"{type(problem).__name__}.residual of u = 0"
            raise InvalidInput(residual, "NaN or Inf", "finite values", hint)
        operator = tagged_stencil(offsets, stencil, grid.periodic)
        # That it is linear is sure already: the trace refuses all that is not, whatever the numbers. This is
        # a second net, for mistakes in the algebra itself, and one sample serves.
        one = {name: _first(value) for name, value in parameters.items()}
        first = problem.parameters_on_grid(grid, one, torch.float64, device)
        system = StencilOperator(operator.offsets, operator.coefficients[:1], grid.periodic)
        _check_stencil(problem, system, first, boundary[:1], at_boundary[:1], grid)
    floating = Tag.CONSTANT_NULL_SPACE in operator.tags
    shares = cell_shares(grid, dtype.to_real(), device) if floating else None
    return System(operator.to(dtype), rhs.to(dtype), boundary.to(dtype), interior(grid), shares)
