"""A field with one value inside a disc and another one outside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.problems.distributions import random_generator
from pdeflow.problems.domain import Domain
from pdeflow.problems.random_fields import Field

PARTS = 8
"""Places along each axis of a cell at which it is asked whether they are in the disc."""


@dataclass(frozen=True)
class Disc(Field):
    """``inside`` within a disc around the middle of the box, ``outside`` elsewhere, the radius random.

    In one dimension the disc is an interval, in three a ball. A node is given the mean over the cell around
    it, one spacing wide, so that the edge is no staircase.

    Parameters
    ----------
    outside, inside
        The two values.
    radius
        The least and the largest, between which it is uniform, in the units of the coordinates.

    Raises
    ------
    InvalidInput
        If a number is out of range.
    """

    outside: float = 1.0
    inside: float = 2.0
    radius: tuple[float, float] = (0.3, 0.7)

    def __post_init__(self) -> None:
        object.__setattr__(self, "radius", tuple(self.radius))
        values = (self.outside, self.inside)
        if not all(map(math.isfinite, values)) or self.outside == self.inside:
            raise InvalidInput("outside, inside", values, "two different finite numbers")
        if len(self.radius) != 2 or not 0 < self.radius[0] <= self.radius[1] < math.inf:
            raise InvalidInput("radius", self.radius, "two positive numbers, the least one first")

    @property
    def positive(self) -> bool:
        """Whether every sample is certainly positive."""
        return self.bounds[0] > 0

    @property
    def bounds(self) -> tuple[float, float]:
        """The two values, the smaller one first."""
        return min(self.outside, self.inside), max(self.outside, self.inside)

    def fewest_nodes(self, domain: Domain) -> tuple[int, ...]:
        """So many that the least disc has a node in it wherever the grid lies: h sqrt(dim) / 2 <= radius."""
        spacings = math.sqrt(domain.dim) / (2 * self.radius[0])
        extents = zip(domain.lower, domain.upper, domain.periodic)
        return tuple(math.ceil((high - low) * spacings - 1e-9) + (not wraps) for low, high, wraps in extents)

    def sample(
        self,
        seeds: Sequence[np.random.SeedSequence],
        grid: Grid,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """One sample a seed; see :meth:`Distribution.sample`."""
        offsets = (torch.arange(PARTS, dtype=torch.float64, device=device) + 0.5) / PARTS - 0.5
        square = torch.zeros((), dtype=torch.float64, device=device)
        for k, x in enumerate(grid.coordinates(torch.float64, device)):
            middle = (grid.lower[k] + grid.upper[k]) / 2
            places = x[:, None] + grid.spacing[k] * offsets - middle
            square = square[..., None] + places.flatten() ** 2
        out = torch.empty((len(seeds), *grid.shape), dtype=dtype, device=device)
        for row, seed in zip(out, seeds):
            share = (square <= random_generator(seed).uniform(*self.radius) ** 2).to(torch.float64)
            for axis in range(-grid.dim, 0):
                share = share.unflatten(axis, (-1, PARTS)).mean(dim=axis)
            row.copy_(self.outside + (self.inside - self.outside) * share)
        return out

    def __str__(self) -> str:
        small, large = self.radius
        size = f"{small:g}" if small == large else f"{small:g} to {large:g}"
        return f"{self.inside:g} in a disc of radius {size}, {self.outside:g} around it"
