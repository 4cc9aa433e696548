"""Equations in time that finite volumes solve: their grids are cells."""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.problems.evolution import Evolution
from pdeflow.problems.resolution import require_nodes

FEWEST_CELLS = 8

CELLS_PER_WAVE = 10
"""A sine wave that moves by four of its lengths keeps a fifth of its height (measured; three quarters with 20
cells, a seventeenth with 8, nothing with 5): with fewer, what is solved does not start as it was drawn."""


class CellEvolution(Evolution, abc.ABC):
    """An equation in time on a box whose axes, unlike those of other equations in time, need not wrap.

    A grid of it consists of cells: its nodes are their centres, so that the first lies half a cell from the
    end of an axis that does not wrap. What is stored at a node is the mean over its cell.
    """

    def grid(self, points: Any) -> Grid:
        """The centres of so many equal cells along each axis."""
        grid = self.domain.grid(points)
        extents = zip(grid.lower, grid.upper, grid.points, grid.periodic)
        halves = [0.0 if wraps else (high - low) / n / 2 for low, high, n, wraps in extents]
        lower = tuple(low + half for low, half in zip(grid.lower, halves))
        upper = tuple(high - half for high, half in zip(grid.upper, halves))
        return Grid(grid.axes, lower, upper, grid.points, grid.periodic)

    def check_grid(self, grid: Grid) -> None:
        """Raise InvalidInput unless the nodes are the centres of cells that fill the domain."""
        expected = self.grid(grid.points)
        same = (grid.axes, grid.periodic) == (expected.axes, expected.periodic) and np.allclose(
            (grid.lower, grid.upper), (expected.lower, expected.upper), rtol=1e-6, atol=0.0
        )
        if not same:
            hint = f"Make it with {type(self).__name__}().grid(points)."
            raise InvalidInput("grid", grid, f"centres of equal cells of {self.domain}", hint)

    def check_cells(self, grid: Grid) -> None:
        """Raise InvalidInput unless there are cells enough, in pairs for the estimate of the error."""
        require_nodes(grid, FEWEST_CELLS, "which are the cells", "Take a finer grid.")
        for n in grid.points:
            if n % 2:
                expected = "an even number of cells, so that half as many give an estimate of the error"
                raise InvalidInput("resolution", n, expected, f"Try {n + 1}.")

    def check_resolution(self, grid: Grid) -> None:
        """Raise InvalidInput unless there are cells enough, ten for each of the shortest waves drawn.

        A front needs none, because it stays a cell or two wide at the right place.
        """
        self.check_cells(grid)
        for name, parameter in self.parameters.items():
            for axis, n, waves in zip(grid.axes, grid.points, parameter.distribution.most_waves(self.domain)):
                needed = math.ceil(CELLS_PER_WAVE * waves - 1e-9)
                if n < needed:
                    reason = f"ten cells for each of the {waves:g} shortest waves of parameter {name!r}"
                    expected = f"at least {needed} along {axis}, {reason}"
                    raise InvalidInput("resolution", n, expected, "Take a finer grid, or longer waves.")
        super().check_resolution(grid)

    def rate_on_grid(self, u: Tensor, grid: Grid, parameters: Mapping[str, Any]) -> Tensor:
        """Refused: there is no rate at a shock, and none at the ends without what is beyond them."""
        raise self._no_steady("rate on a grid", "Use evolve, or residual_at_points.")
