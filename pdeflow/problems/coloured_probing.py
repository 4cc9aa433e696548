"""Stencils read off a linear map of grid functions, all nodes of one colour at a time.

A. R. Curtis, M. J. D. Powell, J. K. Reid, "On the estimation of sparse Jacobian matrices", J. Inst. Math.
Appl. 13 (1974).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.linalg import StencilOperator
from pdeflow.problems.closed_grid import interior, unknowns

LinearMap = Callable[[Tensor], Tensor]
"""From (1, *grid.shape), 0 on the boundary, to (1 or batch, *unknowns)."""


@dataclass(frozen=True, eq=False)
class Pattern:
    """Which neighbours a stencil may reach, and colours that tell them apart.

    Attributes
    ----------
    offsets
        Of the neighbours, the node itself among them.
    colours
        (*grid.shape), int64: among the neighbours of a node all differ.
    count
        How many colours there are.
    """

    offsets: list[tuple[int, ...]]
    colours: Tensor
    count: int


def star_pattern(grid: Grid, device: torch.device | None) -> Pattern | None:
    """A node and its 2d neighbours along the axes; None if a wrapping axis has no such colours."""
    count = 2 * grid.dim + 1
    if any(wraps and n % count for n, wraps in zip(grid.points, grid.periodic)):
        return None
    colours = torch.zeros(grid.shape, dtype=torch.int64, device=device)
    for k, n in enumerate(grid.points):
        colours += (k + 1) * torch.arange(n, device=device).reshape(-1, *(1,) * (grid.dim - 1 - k))
    units = [tuple(int(j == k) for j in range(grid.dim)) for k in range(grid.dim)]
    offsets = [(0,) * grid.dim, *units, *(tuple(-c for c in unit) for unit in units)]
    return Pattern(offsets, colours % count, count)


def _axis_colours(points: int, periodic: bool) -> list[int]:
    """Colours along one axis, any three neighbours different."""
    colours = [i % 3 for i in range(points)]
    if periodic and points % 3:
        # Blocks 0 1 2 closed by blocks 0 1 2 3 or, on five points, by 0 1 2 3 4.
        long = [[0, 1, 2, 3]] * (points % 3) if points != 5 else [[0, 1, 2, 3, 4]]
        rest = points - sum(map(len, long))
        colours = [i % 3 for i in range(rest)] + [colour for block in long for colour in block]
    return colours


def box_pattern(grid: Grid, device: torch.device | None) -> Pattern:
    """All nodes in a block of three an axis."""
    colours, count = torch.zeros(grid.shape, dtype=torch.int64, device=device), 1
    for k, (n, wraps) in enumerate(zip(grid.points, grid.periodic)):
        along = torch.tensor(_axis_colours(n, wraps), device=device)
        colours = colours + count * along.reshape(-1, *(1,) * (grid.dim - 1 - k))
        count *= max(_axis_colours(n, wraps)) + 1
    offsets = itertools.product((-1, 0, 1), repeat=grid.dim)
    return Pattern(sorted(offsets, key=lambda o: (sum(map(abs, o)), o)), colours, count)


def patterns(grid: Grid, device: torch.device | None) -> list[Pattern]:
    """Those that a stencil of neighbours can have, the one with the fewest colours first."""
    star = star_pattern(grid, device) if grid.dim > 1 else None
    return [*([] if star is None else [star]), box_pattern(grid, device)]


def rough_function(grid: Grid, device: torch.device | None) -> Tensor:
    """(1, *grid.shape) in float64: noise at the unknowns, the same on every device, 0 on the boundary."""
    function = torch.zeros((1, *grid.shape), dtype=torch.float64, device=device)
    inside = interior(grid)
    generator = torch.Generator("cpu").manual_seed(0)
    noise = torch.rand(function[inside].shape, dtype=torch.float64, device="cpu", generator=generator)
    function[inside] = noise.to(function.device) - 0.5
    return function


def coefficients(linear: LinearMap, pattern: Pattern, grid: Grid, batch: int) -> Tensor:
    """The stencil, (batch, offsets, *unknowns), in float64, from one product a colour.

    The direction of a colour is 1 at the unknowns that wear it. A node sees at most one of them among its
    neighbours, so that what it answers is the coefficient of that one.
    """
    inside = interior(grid)
    unknown = torch.zeros_like(pattern.colours, dtype=torch.bool)
    unknown[inside[1:]] = True
    worn, dims = torch.where(unknown, pattern.colours, -1), tuple(range(grid.dim))
    # Nobody wears a colour outside of the box, beyond ends that are closed.
    rim = [0 if wraps else 1 for wraps in grid.periodic]
    around = torch.nn.functional.pad(worn, [r for r in reversed(rim) for _ in range(2)], value=-1)
    nodes = tuple(slice(r, r + n) for r, n in zip(rim, grid.points))
    shape, device = tuple(worn[inside[1:]].shape), pattern.colours.device
    responses = torch.empty((batch, pattern.count, *shape), dtype=torch.float64, device=device)
    for colour in range(pattern.count):
        responses[:, colour] = linear((worn == colour).to(torch.float64)[None])
    out = torch.empty((batch, len(pattern.offsets), *shape), dtype=torch.float64, device=device)
    for k, offset in enumerate(pattern.offsets):
        # The colour of the neighbour at this offset, -1 where that is a boundary node or none at all.
        neighbour = around.roll([-c for c in offset], dims)[nodes][inside[1:]][None, None]
        answer = responses.gather(1, neighbour.clamp(min=0).expand(batch, 1, *shape))
        out[:, k] = answer.masked_fill_(neighbour < 0, 0.0)[:, 0]
    return out


def largest(values: Tensor) -> Tensor:
    """The largest magnitude of each sample."""
    return values.abs().flatten(1).amax(1)


def read_stencil(
    name: str, linear: LinearMap, candidates: Sequence[Pattern], grid: Grid, batch: int, response: Tensor
) -> tuple[Pattern, Tensor]:
    """The first pattern whose stencil gives back the response to `rough_function`, and its coefficients.

    Parameters
    ----------
    name
        Of the map, for the error.
    response
        What ``linear`` makes of the rough function, (1 or batch, *unknowns). A sample that is not finite
        there is not looked at.

    Raises
    ------
    InvalidInput
        If no pattern does.
    """
    device = candidates[0].colours.device
    direction = rough_function(grid, device)[interior(grid)]
    size = largest(response)
    for pattern in candidates:
        found = coefficients(linear, pattern, grid, batch)
        stencil = StencilOperator(pattern.offsets, found, grid.periodic)
        error = largest(stencil.apply(direction.expand(batch, *direction.shape[1:])) - response)
        if bool(((error <= 1e-10 * size) | ~torch.isfinite(size)).all()):
            return pattern, found
    raise InvalidInput(
        name,
        "a stencil wider than one node each way",
        "derivatives of at most second order",
        "Write a fourth-order equation as two of second order.",
    )


def check_width(name: str, residual: Tensor, grid: Grid) -> None:
    """Raise InvalidInput unless the residual has a value at every unknown."""
    if tuple(residual.shape[1:]) != unknowns(grid):
        raise InvalidInput(
            name,
            "a stencil wider than one node each way",
            "derivatives of at most second order along a bounded axis",
            "Write a fourth-order equation as two of second order.",
        )
