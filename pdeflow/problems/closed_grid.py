"""Grids whose unknowns include the nodes at ends where a condition gives the normal derivative."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pdeflow.grid import Grid
from pdeflow.problems.conditions import Robin, by_side

if TYPE_CHECKING:
    from pdeflow.problems.problem import Problem

Ends = tuple[bool, bool]


@dataclass(frozen=True)
class ClosedGrid(Grid):
    """A grid that knows at which ends the normal derivative of the unknown is given.

    Parameters
    ----------
    closed
        For every axis, whether it is given at the lower and at the upper end.
    """

    closed: tuple[Ends, ...] = ()


def closed_ends(grid: Grid, k: int) -> Ends:
    """Whether the normal derivative is given at the lower and at the upper end of axis k."""
    return grid.closed[k] if isinstance(grid, ClosedGrid) else (False, False)


def closed_grid(problem: Problem, grid: Grid) -> Grid:
    """The grid, closed where the problem's conditions say so.

    Raises
    ------
    InvalidInput
        If a condition names no side of the domain.
    """
    kinds = by_side(problem.conditions, problem.domain)
    closed = tuple(
        (isinstance(kinds.get(axis + "-"), Robin), isinstance(kinds.get(axis + "+"), Robin))
        for axis in grid.axes
    )
    if not any(map(any, closed)):
        return grid
    return ClosedGrid(grid.axes, grid.lower, grid.upper, grid.points, grid.periodic, closed)


def interior(grid: Grid) -> tuple[slice, ...]:
    """Slices that pick the unknowns out of a function on the grid, the batch dimension included.

    The unknowns of an axis are all of its nodes where it wraps; else those between its ends, and the ends
    that are closed.
    """
    slices = [slice(None)]
    for k, wraps in enumerate(grid.periodic):
        low, high = closed_ends(grid, k)
        slices.append(slice(None) if wraps else slice(0 if low else 1, None if high else -1))
    return tuple(slices)


def unknowns(grid: Grid) -> tuple[int, ...]:
    """How many unknowns there are along each axis."""
    return tuple(len(range(*part.indices(n))) for part, n in zip(interior(grid)[1:], grid.points))


def cell_shares(grid: Grid, dtype: torch.dtype, device: torch.device | str | None = None) -> Tensor:
    """(*unknowns): the share of a whole cell around each unknown that lies inside, half at a closed end."""
    shares = torch.ones(unknowns(grid), dtype=dtype, device=device)
    for k in range(grid.dim):
        for index, closed in zip((0, -1), closed_ends(grid, k)):
            if closed:
                shares.select(k, index).mul_(0.5)
    return shares
