"""From a stated equation to the linear systems of its finite differences."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.linalg import StencilOperator
from pdeflow.problems.conditions import sides
from pdeflow.problems.grid_function import GridFunction, evaluate, node_function
from pdeflow.problems.stencil_structure import structure_tags

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


def _boundary_extension(problem: Problem, grid: Grid, device: torch.device | None) -> Tensor:
    """(1, *grid.shape) in float64: the Dirichlet values on the boundary, 0 inside."""
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


def _star_colours(grid: Grid, device: torch.device | None) -> tuple[Tensor, int] | None:
    """Colours of the nodes such that a node and its 2d neighbours along the axes all differ.

    None if a wrapping axis has no such pattern.
    """
    count = 2 * grid.dim + 1
    if any(wraps and n % count for n, wraps in zip(grid.points, grid.periodic)):
        return None
    colours = torch.zeros(grid.shape, dtype=torch.int64, device=device)
    for k, n in enumerate(grid.points):
        colours += (k + 1) * torch.arange(n, device=device).reshape(-1, *(1,) * (grid.dim - 1 - k))
    return colours % count, count


def _axis_colours(points: int, periodic: bool) -> list[int]:
    """Colours along one axis, any three neighbours different."""
    colours = [i % 3 for i in range(points)]
    if periodic and points % 3:
        # Blocks 0 1 2 closed by blocks 0 1 2 3 or, on five points, by 0 1 2 3 4.
        long = [[0, 1, 2, 3]] * (points % 3) if points != 5 else [[0, 1, 2, 3, 4]]
        rest = points - sum(map(len, long))
        colours = [i % 3 for i in range(rest)] + [colour for block in long for colour in block]
    return colours


def _box_colours(grid: Grid, device: torch.device | None) -> tuple[Tensor, int]:
    """Colours of the nodes such that all in a block of three nodes an axis differ."""
    colours, count = torch.zeros(grid.shape, dtype=torch.int64, device=device), 1
    for k, (n, wraps) in enumerate(zip(grid.points, grid.periodic)):
        along = torch.tensor(_axis_colours(n, wraps), device=device)
        colours = colours + count * along.reshape(-1, *(1,) * (grid.dim - 1 - k))
        count *= max(_axis_colours(n, wraps)) + 1
    return colours, count


def _star_offsets(dim: int) -> list[tuple[int, ...]]:
    units = [tuple(int(j == k) for j in range(dim)) for k in range(dim)]
    return [(0,) * dim, *units, *(tuple(-c for c in unit) for unit in units)]


def _box_offsets(dim: int) -> list[tuple[int, ...]]:
    return sorted(itertools.product((-1, 0, 1), repeat=dim), key=lambda o: (sum(map(abs, o)), o))


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
        self.interior = (
            slice(None),
            *(slice(None) if wraps else slice(1, -1) for wraps in grid.periodic),
        )
        self.unknowns = tuple(n if wraps else n - 2 for n, wraps in zip(grid.points, grid.periodic))
        self.at_zero = self.residual(torch.zeros((1, *grid.shape), dtype=torch.float64, device=device))

    def residual(self, u: Tensor) -> Tensor:
        """The residual of a function on the whole grid."""
        return self.problem.evaluate_residual(node_function(u, self.grid), self.parameters)

    def linear(self, direction: Tensor) -> Tensor:
        """The residual's linear part applied to this direction, exact to the last bits.

        The direction is made so high, by a power of two, that the inhomogeneous part is below its last bit.
        """
        return (self.residual(direction * _HEIGHT) - self.at_zero) / _HEIGHT

    def coefficients(self, colours: Tensor, count: int, offsets: list[tuple[int, ...]], batch: int) -> Tensor:
        """The stencil, (batch, offsets, *unknowns), from one evaluation a colour.

        The direction of a colour is 1 at the unknowns that wear it. A node sees at most one of them among
        its neighbours, so that what it answers is the coefficient of that one.
        """
        inside = torch.zeros_like(colours, dtype=torch.bool)
        inside[self.interior[1:]] = True
        dims = tuple(range(self.grid.dim))
        worn = torch.where(inside, colours, -1)
        responses = torch.empty((batch, count, *self.unknowns), dtype=torch.float64, device=colours.device)
        for colour in range(count):
            raised = self.residual((worn == colour).to(torch.float64)[None] * _HEIGHT)
            slot = responses[:, colour]
            torch.sub(raised.expand_as(slot), self.at_zero, out=slot)
        responses /= _HEIGHT
        out = torch.empty((batch, len(offsets), *self.unknowns), dtype=torch.float64, device=colours.device)
        for k, offset in enumerate(offsets):
            # The colour of the neighbour at this offset, -1 where that is a boundary node.
            neighbour = worn.roll([-c for c in offset], dims)[self.interior[1:]][None, None]
            answer = responses.gather(1, neighbour.clamp(min=0).expand(batch, 1, *self.unknowns))
            out[:, k] = answer.masked_fill_(neighbour < 0, 0.0)[:, 0]
        return out


def _check_size(grid: Grid) -> None:
    for axis, n in zip(grid.axes, grid.points):
        if n < 3:
            raise InvalidInput(f"points of axis {axis!r}", n, "at least 3", "Take a finer grid.")


def _check_values(problem: Problem, functions: Mapping[str, GridFunction]) -> None:
    for name, function in functions.items():
        if not bool(torch.isfinite(function.values).all()):
            raise InvalidInput(f"parameter {name!r}", "NaN or Inf", "finite values")
        if problem.parameters[name].positive and not bool((function.values > 0).all()):
            raise InvalidInput(f"parameter {name!r}", float(function.values.min()), "positive values")


def _batch(functions: Mapping[str, GridFunction]) -> int:
    sizes = {name: function.values.shape[0] for name, function in functions.items()}
    batch = max(sizes.values(), default=1)
    if set(sizes.values()) - {1, batch}:
        raise InvalidInput("samples of the parameters", sizes, "as many of each, or a single one")
    return batch


def _largest(values: Tensor) -> Tensor:
    """The largest magnitude of each sample."""
    return values.abs().flatten(1).amax(1)


def _differs(a: Tensor, b: Tensor, tolerance: Tensor) -> bool:
    """Whether a and b differ by more than a tolerance a sample; infinities and NaN do."""
    error = _largest(a - b)
    return not bool((torch.isfinite(error) & (error <= tolerance)).all())


def _stencil(probe: _Probe, batch: int, device: torch.device | None) -> tuple[list[tuple[int, ...]], Tensor]:
    """Offsets and coefficients of the linear part, checked against the residual itself.

    Raises
    ------
    InvalidInput
        If the residual is not linear in u, or couples nodes further apart than neighbours.
    """
    grid, dim = probe.grid, probe.grid.dim
    name = f"{type(probe.problem).__name__}.residual"
    if device is not None and device.type == "meta":
        offsets = _box_offsets(dim)
        return offsets, probe.coefficients(*_box_colours(grid, device), offsets, batch)

    trial = torch.zeros((1, *grid.shape), dtype=torch.float64, device=device)
    # The same numbers on every device.
    generator = torch.Generator("cpu").manual_seed(0)
    noise = torch.rand((1, *probe.unknowns), dtype=torch.float64, device="cpu", generator=generator)
    trial[probe.interior] = noise.to(trial.device) - 0.5
    at_zero, at_trial = probe.at_zero, probe.residual(trial)
    if tuple(at_trial.shape[1:]) != probe.unknowns:
        raise InvalidInput(
            name,
            "a stencil wider than one node each way",
            "derivatives of at most second order along a bounded axis",
            "Write a fourth-order equation as two of second order.",
        )
    # Probed downwards, so that what is homogeneous without being linear (|u|) is told apart as well.
    linear = -probe.linear(-trial)
    if not bool(torch.isfinite(at_zero).all()):
        raise InvalidInput(
            f"{name} of u = 0",
            "NaN or Inf",
            "finite values",
            "Either the equation is not linear in u, or a formula of `at` is singular at a node.",
        )
    tolerance = 1e-10 * _largest(linear)
    round_off = 64 * torch.finfo(torch.float64).eps * _largest(at_zero)
    if _differs(at_trial - at_zero, linear, tolerance + round_off):
        raise InvalidInput(
            name,
            "a residual that is not linear in u",
            "a linear equation, which discretise() turns into A x = b",
            "residual_on_grid() and residual_at_points() evaluate nonlinear equations.",
        )

    candidates = [(_box_offsets(dim), _box_colours(grid, device))]
    star = _star_colours(grid, device)
    if dim > 1 and star is not None:
        candidates.insert(0, (_star_offsets(dim), star))
    for offsets, pattern in candidates:
        coefficients = probe.coefficients(*pattern, offsets, batch)
        applied = StencilOperator(offsets, coefficients, grid.periodic).apply(
            trial[probe.interior].expand(batch, *probe.unknowns)
        )
        if not _differs(applied, linear, tolerance):
            return offsets, coefficients
    raise InvalidInput(
        name,
        "a stencil wider than one node each way",
        "derivatives of at most second order",
        "Write a fourth-order equation as two of second order.",
    )


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
        If a side has no condition, the equation is not linear or its stencil too wide, a parameter is
        missing, has another shape, is not finite, or not positive where it has to be.
    """
    problem.check_grid(grid)
    _check_size(grid)
    tensors = [value for value in parameters.values() if isinstance(value, Tensor)]
    device = tensors[0].device if tensors else None
    dtype = tensors[0].dtype if tensors else torch.float64
    meta = device is not None and device.type == "meta"

    functions = problem.parameters_on_grid(grid, parameters, torch.float64, device)
    batch = _batch(functions)
    if not meta:
        _check_values(problem, functions)
    probe = _Probe(problem, grid, functions, device)
    boundary = _boundary_extension(problem, grid, device)
    offsets, coefficients = _stencil(probe, batch, device)
    rhs = -probe.residual(boundary).expand(batch, *probe.unknowns)

    tags = frozenset()
    if not meta:
        used = coefficients.abs().amax(dim=(0, *range(2, grid.dim + 2))).tolist()
        kept = [k for k, (offset, size) in enumerate(zip(offsets, used)) if size > 0 or not any(offset)]
        if len(kept) < len(offsets):
            offsets, coefficients = [offsets[k] for k in kept], coefficients[:, kept]
        tags = structure_tags(StencilOperator(offsets, coefficients, grid.periodic))
    operator = StencilOperator(offsets, coefficients.to(dtype), grid.periodic, tags)
    return System(operator, rhs.to(dtype), boundary.to(dtype), probe.interior)
