"""Fewer modes where the others are empty: a smooth solution is stepped on the modes that it has.

What a mode holds, or is about to gather from the others, is weighed against the largest of its sample. A
band keeps some room above the highest mode that is not negligible; steps after which that room has begun to
fill are taken again on a wider one. What a mode is about to gather is read off the rate on the whole grid,
for a spectrum may have gaps: of a lone wave of number m, a square fills 2m next, and nothing in between.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from pdeflow.grid import Grid
from pdeflow.problems.spectral_function import kept_modes

ROOM = 1.2
"""A new band over the highest mode in use."""

FULL = 1.1
"""A band over the highest mode in use, below which it counts as full."""


def highest_modes(size: Tensor, dim: int, tail: float, scale: Tensor | None = None) -> tuple[int, ...]:
    """The highest wave number along each axis that holds more than ``tail`` times its sample's largest.

    Parameters
    ----------
    size
        Moduli (..., *modes); every entry of the leading axes is a sample.
    dim
        How many axes the modes have.
    tail
        What is negligible.
    scale
        (..., 1, ..., 1), what it is weighed against, if not the largest of ``size``.
    """
    axes = tuple(range(-dim, 0))
    # Of what is not finite, nothing is above anything: such a sample does not ask for modes.
    largest = size.amax(axes, keepdim=True) if scale is None else scale
    used = (size > tail * largest).reshape(-1, *size.shape[-dim:]).any(0)
    result = []
    for axis in range(dim):
        others = [k for k in range(dim) if k != axis]
        line = used.amax(others) if others else used
        places = torch.nonzero(line).flatten()
        if axis < dim - 1:
            places = torch.minimum(places, len(line) - places)
        result.append(int(places.max()) if len(places) else 0)
    return tuple(result)


def band_grid(grid: Grid, highest: Sequence[int]) -> Grid:
    """The coarsest grid with a fast transform that has room above these modes; at most ``grid`` itself."""
    points = [_points(int(ROOM * k) + 4, n) for k, n in zip(highest, grid.points)]
    return Grid(grid.axes, grid.lower, grid.upper, tuple(points), grid.periodic)


@functools.lru_cache(maxsize=256)
def _points(modes: int, most: int) -> int:
    """Nodes for so many modes whose refinement by 3/2 is a product of 2, 3 and 5."""
    lengths = (6 * 2**a * 3**b * 5**c for a in range(12) for b in range(3) for c in range(2))
    found = min((n for n in (2 * f // 3 for f in lengths) if modes <= (n - 1) // 2), default=most)
    return min(found, most)


def resized(v: Tensor, old: Grid, new: Grid) -> Tensor:
    """Coefficients (..., *modes) on one grid as those on another: modes cut off, or filled with 0."""
    for axis, (had, has) in enumerate(zip(kept_modes(old), kept_modes(new))):
        place, kept = axis - old.dim, min(had, has)
        if had == has:
            continue
        last = axis == old.dim - 1
        parts = [v.narrow(place, 0, kept + 1)]
        if has > had:
            shape = list(v.shape)
            shape[place] = (has - had) * (1 if last else 2)
            parts.append(v.new_zeros(shape))
        if not last and kept:
            parts.append(v.narrow(place, v.shape[place] - kept, kept))
        v = torch.cat(parts, place)
    return v
