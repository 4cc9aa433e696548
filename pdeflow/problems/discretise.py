"""From a stated equation to the linear systems of its finite differences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.linalg import StencilOperator
from pdeflow.problems.coloured_probing import (
    Pattern,
    box_pattern,
    check_width,
    coefficients,
    interior,
    largest,
    patterns,
    read_stencil,
    rough_function,
)
from pdeflow.problems.conditions import sides
from pdeflow.problems.grid_function import GridFunction, evaluate, node_function
from pdeflow.problems.stencil_structure import tagged_stencil

if TYPE_CHECKING:
    from pdeflow.problems.problem import Problem


_HEIGHT = 2.0**300


@dataclass(frozen=True)
class System:
    """Linear systems A x = b for the unknowns of a grid, one a sample.

    Attributes
    ----------
    operator
        A, acting on (batch, *interior). The unknowns of an axis are its interior nodes, or all of its nodes
        where it wraps.
    rhs
        b, (batch, *interior).
    boundary
        (batch or 1, *grid.shape): the boundary values, 0 at the unknowns.
    interior
        Slices that pick the unknowns out of a function on the grid, the batch dimension included.
    """

    operator: StencilOperator
    rhs: Tensor
    boundary: Tensor
    interior: tuple[slice, ...]

    def embed(self, x: Tensor) -> Tensor:
        """The function on the whole grid, (batch, *grid.shape), whose unknowns are x (batch, *interior)."""
        u = self.boundary.to(x.dtype).expand(x.shape[0], *self.boundary.shape[1:]).clone()
        u[self.interior] = x
        return u


class NotLinear(InvalidInput):
    """A residual that is not linear in the unknown, where a linear one is needed."""


def boundary_extension(problem: Problem, grid: Grid, device: torch.device | None = None) -> Tensor:
    """(1, *grid.shape) in float64: the Dirichlet values on the boundary, 0 inside.

    Raises
    ------
    InvalidInput
        If a side has no condition.
    """
    extension = torch.zeros((1, *grid.shape), dtype=torch.float64, device=device)
    missing = set(sides(problem.domain))
    for condition in problem.conditions:
        values = evaluate(condition.value, grid, torch.float64, device)
        for side in condition.sides(problem.domain):
            index: list[slice | int] = [slice(None)] * (grid.dim + 1)
            index[1 + grid.axes.index(side[:-1])] = 0 if side[-1] == "-" else -1
            extension[tuple(index)] = values[tuple(index)]
            missing.discard(side)
    if missing:
        raise InvalidInput(
            f"{type(problem).__name__}.conditions",
            problem.conditions,
            f"a condition on every side; {', '.join(sorted(missing))} has none",
            "Add Dirichlet(value, on=...), or make the axis periodic in the Box.",
        )
    return extension


class _Probe:
    """The affine map from the unknowns to the residual, and its linear part."""

    def __init__(
        self,
        problem: Problem,
        grid: Grid,
        parameters: Mapping[str, GridFunction],
        device: torch.device | None,
    ) -> None:
        self.problem, self.grid, self.parameters = problem, grid, parameters
        self.at_zero = self.residual(torch.zeros((1, *grid.shape), dtype=torch.float64, device=device))

    def residual(self, u: Tensor) -> Tensor:
        """The residual of a function on the whole grid."""
        return self.problem.evaluate_residual(node_function(u, self.grid), self.parameters)

    def linear(self, direction: Tensor) -> Tensor:
        """The residual's linear part applied to this direction, exact to the last bits.

        The direction is made so high, by a power of two, that the inhomogeneous part is below its last bit.
        """
        raised = self.residual(direction * _HEIGHT)
        return torch.add(-self.at_zero / _HEIGHT, raised, alpha=1 / _HEIGHT)


def check_size(grid: Grid) -> None:
    """Raise InvalidInput unless every axis has an unknown."""
    for axis, n in zip(grid.axes, grid.points):
        if n < 3:
            raise InvalidInput(f"points of axis {axis!r}", n, "at least 3", "Take a finer grid.")


def check_values(problem: Problem, functions: Mapping[str, GridFunction]) -> None:
    """Raise InvalidInput unless the parameters are finite, and positive where they have to be."""
    for name, function in functions.items():
        if not bool(torch.isfinite(function.values).all()):
            raise InvalidInput(f"parameter {name!r}", "NaN or Inf", "finite values")
        if problem.parameters[name].positive and not bool((function.values > 0).all()):
            raise InvalidInput(f"parameter {name!r}", float(function.values.min()), "positive values")


def batch_size(functions: Mapping[str, GridFunction]) -> int:
    """How many samples the parameters are for; InvalidInput if they disagree."""
    sizes = {name: function.values.shape[0] for name, function in functions.items()}
    batch = max(sizes.values(), default=1)
    if set(sizes.values()) - {1, batch}:
        raise InvalidInput("samples of the parameters", sizes, "as many of each, or a single one")
    return batch


def _differs(a: Tensor, b: Tensor, tolerance: Tensor) -> bool:
    """Whether a and b differ by more than a tolerance a sample; infinities and NaN do."""
    error = largest(a - b)
    return not bool((torch.isfinite(error) & (error <= tolerance)).all())


def _stencil(probe: _Probe, batch: int, device: torch.device | None) -> tuple[Pattern, Tensor]:
    """Pattern and coefficients of the linear part, checked against the residual itself.

    Raises
    ------
    NotLinear
        If the residual is not linear in u.
    InvalidInput
        If it couples nodes further apart than neighbours.
    """
    grid = probe.grid
    name = f"{type(probe.problem).__name__}.residual"
    if device is not None and device.type == "meta":
        box = box_pattern(grid, device)
        return box, coefficients(probe.linear, box, grid, batch)

    trial = rough_function(grid, device)
    at_zero, at_trial = probe.at_zero, probe.residual(trial)
    check_width(name, at_trial, grid)
    # Probed downwards, so that what is homogeneous without being linear (|u|) is told apart as well.
    linear = -probe.linear(-trial)
    if not bool(torch.isfinite(at_zero).all()):
        raise InvalidInput(
            f"{name} of u = 0",
            "NaN or Inf",
            "finite values",
            "Either the equation is not linear in u, or a formula of `at` is singular at a node.",
        )
    tolerance = 1e-10 * largest(linear)
    round_off = 64 * torch.finfo(torch.float64).eps * largest(at_zero)
    if _differs(at_trial - at_zero, linear, tolerance + round_off):
        raise NotLinear(
            name,
            "a residual that is not linear in u",
            "a linear equation, which discretise() turns into A x = b",
            "newton() solves equations that are not linear.",
        )
    return read_stencil(name, probe.linear, patterns(grid, device), grid, batch, linear)


def discretise(problem: Problem, grid: Grid, parameters: Mapping[str, Any]) -> System:
    """The linear systems A x = b equivalent to ``problem.residual_on_grid(embed(x)) == 0``.

    A is read off the residual itself, so that it cannot disagree with the statement (Curtis, Powell and Reid,
    "On the estimation of sparse Jacobian matrices", 1974): the residual is applied to all nodes of one colour
    at once, for 2d + 1 colours where it couples a node to its neighbours along the axes only; for 3^d
    otherwise, and some more where the length of a wrapping axis is no multiple of 3. The right-hand side is
    minus the residual of the boundary values continued by 0. Both are made in float64 and handed over in the
    parameters' dtype. That the stencil gives back the residual of a random function is checked every time.

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
        are moreover diagonally dominant with a positive diagonal and not singular. Offsets whose coefficients
        all vanish are dropped. On the meta device nothing is checked, tagged or dropped.

    Raises
    ------
    InvalidInput
        If a side has no condition, the equation is not linear (a `NotLinear`) or its stencil too wide, a
        parameter is missing, has another shape, is not finite, or not positive where it has to be.
    """
    problem.check_grid(grid)
    check_size(grid)
    tensors = [value for value in parameters.values() if isinstance(value, Tensor)]
    device = tensors[0].device if tensors else None
    dtype = tensors[0].dtype if tensors else torch.float64
    meta = device is not None and device.type == "meta"

    functions = problem.parameters_on_grid(grid, parameters, torch.float64, device)
    batch = batch_size(functions)
    if not meta:
        check_values(problem, functions)
    probe = _Probe(problem, grid, functions, device)
    boundary = boundary_extension(problem, grid, device)
    pattern, stencil = _stencil(probe, batch, device)
    rhs = -probe.residual(boundary).expand(batch, *stencil.shape[2:])
    if meta:
        operator = StencilOperator(pattern.offsets, stencil, grid.periodic)
    else:
        operator = tagged_stencil(pattern.offsets, stencil, grid.periodic)
    return System(operator.to(dtype), rhs.to(dtype), boundary.to(dtype), interior(grid))
