"""Fields of two values, told apart by a sum of bumps: the coefficient of PDEBench's Darcy flow."""

from __future__ import annotations

import functools
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

QUADRATURE = 64
"""Gauss points for the mean over the spreads."""


@functools.lru_cache(maxsize=8)
def mean_bump(spread: float, lengths: tuple[float, ...]) -> float:
    r"""The mean of one bump over all places, centres and spreads.

    Along an axis of length L the mean over places and centres is
    :math:`(L \sqrt{\pi s}\, \mathrm{erf}(L / \sqrt s) - s (1 - e^{-L^2 / s})) / L^2`; that over s, in whose
    root it is smooth, is taken by Gauss quadrature.
    """
    nodes, weights = np.polynomial.legendre.leggauss(QUADRATURE)
    total = 0.0
    for node, weight in zip(nodes.tolist(), weights.tolist()):
        root = (1 + node) / 2
        s = spread * root**2
        along = [
            (L * math.sqrt(math.pi * s) * math.erf(L / math.sqrt(s)) + s * math.expm1(-(L**2) / s)) / L**2
            for L in lengths
        ]
        total += weight * root * math.prod(along)
    return total


@dataclass(frozen=True)
class ThresholdedBumps(Field):
    r"""``high`` where a sum of Gaussian bumps exceeds its mean over all samples and places, else ``low``.

    .. math:: \sum_j \exp(-|x - c_j|^2 / s_j)

    with centres c uniform in the box and s uniform between 0 and ``spread``. The defaults are the coefficient
    of the Darcy flow of PDEBench (Takamoto and others, NeurIPS 2022), as its released generator draws it.
    There the sum is compared with its mean over the samples of one run; here with the mean over all that may
    be drawn, so that a sample depends on its own seed alone.

    A seed gives the very same function on every grid.

    Parameters
    ----------
    low, high
        The two values.
    number
        How many bumps there are.
    spread
        The largest s, in the square of the units of the coordinates.

    Raises
    ------
    InvalidInput
        If a number is out of range.
    """

    low: float = 0.1
    high: float = 1.0
    number: int = 5
    spread: float = 0.5

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low != self.high):
            raise InvalidInput("low, high", (self.low, self.high), "two different finite numbers")
        if self.number < 1:
            raise InvalidInput("number", self.number, "a whole number of at least 1")
        if not 0 < self.spread < math.inf:
            raise InvalidInput("spread", self.spread, "a positive number")

    @property
    def positive(self) -> bool:
        """Whether every sample is certainly positive."""
        return self.bounds[0] > 0

    @property
    def bounds(self) -> tuple[float, float]:
        """The two values, the smaller one first."""
        return min(self.low, self.high), max(self.low, self.high)

    def sample(
        self,
        seeds: Sequence[np.random.SeedSequence],
        grid: Grid,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """One sample a seed; see :meth:`Distribution.sample`."""
        lengths = tuple(high - low for low, high in zip(grid.lower, grid.upper))
        level = self.number * mean_bump(self.spread, lengths)
        low, high = (torch.tensor(value, dtype=dtype, device=device) for value in (self.low, self.high))
        out = torch.empty((len(seeds), *grid.shape), dtype=dtype, device=device)
        for row, seed in zip(out, seeds):
            row.copy_(torch.where(self._sum(seed, grid, device) > level, high, low))
        return out

    def _sum(self, seed: np.random.SeedSequence, grid: Grid, device: torch.device | str | None) -> Tensor:
        """The sum of the bumps of a seed."""
        generator = random_generator(seed)
        centres = generator.random((self.number, grid.dim)).tolist()
        spreads = (self.spread * (1 - generator.random(self.number))).tolist()  # none is 0
        total = torch.zeros(grid.shape, dtype=torch.float64, device=device)
        for centre, spread in zip(centres, spreads):
            square = torch.zeros((), dtype=torch.float64, device=device)
            for x, c, low, high in zip(
                grid.coordinates(torch.float64, device), centre, grid.lower, grid.upper
            ):
                square = square[..., None] + (x - (low + (high - low) * c)) ** 2
            total = total + torch.exp(-square / spread)
        return total

    def __str__(self) -> str:
        where = f"where a sum of {self.number} Gaussian bumps exceeds its mean"
        return f"{self.high:g} {where}, {self.low:g} elsewhere"
