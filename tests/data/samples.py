"""Small data sets with known content, for the tests of this room."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pdeflow.data import WellWriter
from pdeflow.grid import Grid

AXES = ("x", "y", "z")


def box(dim: int = 2, points: int = 9, periodic: tuple[str, ...] = ()) -> Grid:
    """Different extents and numbers of nodes along each axis, so that a swapped axis shows."""
    axes = AXES[:dim]
    return Grid(
        axes,
        (0.0, -1.0, 2.0)[:dim],
        (1.0, 1.0, 2.3)[:dim],
        tuple(points - k for k in range(dim)),
        tuple(axis in periodic for axis in axes),
    )


def steady_arrays(grid: Grid, n: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Constant field ``a``, vector ``b``, scalar ``k``, solution ``u = 2 a + 1``, diagnostic ``residual``."""
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((n, *grid.shape))
    return {
        "a": a,
        "b": rng.standard_normal((n, *grid.shape, grid.dim)),
        "u": np.stack([np.zeros_like(a), 2 * a + 1], axis=1),
        "k": rng.uniform(1, 2, n),
        "residual": rng.uniform(1e-9, 1e-8, n),
    }


def steady_writer(path: Path, grid: Grid, n: int, **changes) -> WellWriter:
    """A writer for :func:`steady_arrays`."""
    settings = {
        "name": "steady",
        "fields": {"u": 0},
        "constant_fields": {"a": 0, "b": 1},
        "times": (0.0, 1.0),
        "scalars": ["k"],
        "attributes": {"steady": True},
        "diagnostics": {"residual": "float64"},
        **changes,
    }
    return WellWriter(path, grid=grid, n=n, **settings)


def write_steady(path: Path, grid: Grid | None = None, n: int = 20, seed: int = 0) -> dict[str, np.ndarray]:
    """Write a steady file and give what is in it."""
    grid = grid or box()
    arrays = steady_arrays(grid, n, seed)
    with steady_writer(path, grid, n) as writer:
        writer.write(0, arrays)
    return arrays
