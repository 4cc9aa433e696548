"""A field that is flat but for some patches at random places."""

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
from pdeflow.problems.random_fields import Field


@dataclass(frozen=True)
class GaussianBumps(Field):
    r"""A flat background, and Gaussian bumps at random places.

    .. math::

        b + (a - b) \Bigl(1 - \prod_j \bigl(1 - e^{-d(x, c_j)^2 / (2 w_j^2)}\bigr)\Bigr)

    with the background b, the peak a, centres c uniform in the box and widths w uniform in a range: a at a
    centre, b far from all of them, never beyond where bumps meet. Along an axis of length L that wraps, the
    distance d is the chord :math:`(L / \pi) \sin(\pi (x - c) / L)`, so that the field is smooth there too.

    A seed gives the very same function on every grid. Two distributions with the same ``number`` and
    ``width`` have their bumps at the same places for the same seed, whatever their values:
    ``Parameter(..., same_draw_as="u0")``.

    Parameters
    ----------
    background, peak
        Values far from the bumps and at their centres.
    number
        The least and the largest number of bumps.
    width
        The least and the largest standard deviation of a bump, in the units of the coordinates.

    Raises
    ------
    InvalidInput
        If a number is out of range.
    """

    background: float = 0.0
    peak: float = 1.0
    number: tuple[int, int] = (1, 10)
    width: tuple[float, float] = (0.05, 0.1)

    def __post_init__(self) -> None:
        object.__setattr__(self, "number", tuple(self.number))
        object.__setattr__(self, "width", tuple(self.width))
        ends = (self.background, self.peak)
        if not all(map(math.isfinite, ends)) or self.background == self.peak:
            raise InvalidInput("background, peak", ends, "two different finite numbers")
        if len(self.number) != 2 or not 1 <= self.number[0] <= self.number[1]:
            raise InvalidInput("number", self.number, "two whole numbers from 1 up, the least one first")
        if len(self.width) != 2 or not 0 < self.width[0] <= self.width[1] < math.inf:
            raise InvalidInput("width", self.width, "two positive numbers, the least one first")

    @property
    def positive(self) -> bool:
        """Whether every sample is certainly positive."""
        return self.bounds[0] > 0

    @property
    def bounds(self) -> tuple[float, float]:
        """Background and peak, the smaller one first."""
        return min(self.background, self.peak), max(self.background, self.peak)

    def sample(
        self,
        seeds: Sequence[np.random.SeedSequence],
        grid: Grid,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """One sample a seed; see :meth:`Distribution.sample`."""
        out = torch.empty((len(seeds), *grid.shape), dtype=dtype, device=device)
        for row, seed in zip(out, seeds):
            row.copy_(self.background + (self.peak - self.background) * self._shape(seed, grid, device))
        return out

    def _shape(self, seed: np.random.SeedSequence, grid: Grid, device: torch.device | str | None) -> Tensor:
        """1 at the centres, 0 far from all of them."""
        generator = random_generator(seed)
        count = int(generator.integers(*self.number, endpoint=True))
        centres = generator.random((count, grid.dim))
        widths = generator.uniform(*self.width, count)
        outside = torch.ones(grid.shape, dtype=torch.float64, device=device)
        for centre, width in zip(centres.tolist(), widths.tolist()):
            square = torch.zeros((), dtype=torch.float64, device=device)
            for k, x in enumerate(grid.coordinates(torch.float64, device)):
                low, length = grid.lower[k], grid.upper[k] - grid.lower[k]
                distance = x - (low + length * centre[k])
                if grid.periodic[k]:
                    distance = length / math.pi * torch.sin(math.pi / length * distance)
                square = square[..., None] + distance**2
            outside = outside * -torch.expm1(-square / (2 * width**2))
        return 1 - outside

    def __str__(self) -> str:
        few, many = self.number
        count = f"{few}" if few == many else f"{few} to {many}"
        thin, wide = self.width
        size = f"{thin:g}" if thin == wide else f"{thin:g} to {wide:g}"
        return f"{self.background:g} but for {count} Gaussian bumps of {self.peak:g}, width {size}"
