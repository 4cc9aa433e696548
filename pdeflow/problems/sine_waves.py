"""Fields of a few sine waves, some of them folded or cut off: the initial fields of PDEBench in 1D."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.problems.distributions import random_generator
from pdeflow.problems.domain import Domain
from pdeflow.problems.random_fields import Field

START, END = (0.1, 0.45), (0.55, 0.9)
"""Where a window may open and close, in lengths of the axis."""

EDGE = 0.01
"""Width of the edges of a window, in lengths of the axis."""

PLACES = 4096
"""At how many places the extrema of a rescaled sample are looked for, whatever the grid."""


@dataclass(frozen=True)
class SineWaves(Field):
    r"""A superposition of sine waves along one axis of length L:

    .. math::

        \sum_{k=1}^{K} A_k \sin(2 \pi c_k k x / L + \varphi_k)

    where :math:`c_k` says how often k is among some whole numbers drawn from 1 to K, the amplitudes are
    uniform between 0 and 1 and the phases between 0 and 2 pi. A wave that was not drawn is a constant. In a
    share of the samples the absolute value is taken; then each gets a random sign; and a share of them is
    multiplied by a window with edges :math:`\tanh` at random places, 0 outside of it.

    These are the initial fields in 1D of M. Takamoto, T. Praditia, R. Leiteritz, D. MacKinlay, F. Alesiani,
    D. Pflueger, M. Niepert, "PDEBench: An Extensive Benchmark for Scientific Machine Learning", NeurIPS 2022,
    as its released generator draws them; the paper's formula has no constants.

    A seed gives the very same function on every grid.

    Parameters
    ----------
    highest
        K.
    drawn
        How many numbers are drawn.
    folded, windowed
        The shares of the samples of which the absolute value is taken, and that are seen through a window.
    rescaled
        Whether each sample is moved and scaled to the range from 0 to 1, as for fields that are densities.

    Raises
    ------
    InvalidInput
        If a number is out of range; on sampling, if there are several axes.
    """

    highest: int = 4
    drawn: int = 2
    folded: float = 0.1
    windowed: float = 0.1
    rescaled: bool = False

    def __post_init__(self) -> None:
        for name in ("highest", "drawn"):
            if getattr(self, name) < 1:
                raise InvalidInput(name, getattr(self, name), "a whole number of at least 1")
        for name in ("folded", "windowed"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise InvalidInput(name, getattr(self, name), "a share between 0 and 1")

    @property
    def positive(self) -> bool:
        """False: a wave changes its sign, and a rescaled sample is 0 somewhere."""
        return False

    @property
    def bounds(self) -> tuple[float, float]:
        """What no value is below, and what none is above."""
        return (0.0, 1.0) if self.rescaled else (-float(self.highest), float(self.highest))

    def most_waves(self, domain: Domain) -> tuple[float, ...]:
        """Those of the highest number, drawn every time."""
        return (float(self.highest * self.drawn),) * domain.dim

    def deviation(self, domain: Domain) -> float:
        """The root of the mean square about the mean of samples as they are drawn, unfolded, not windowed.

        A wave of amplitude uniform between 0 and 1 has the mean square 1/6, and there are as many as numbers
        that were drawn at least once. That of rescaled samples is not known.
        """
        different = self.highest * (1 - (1 - 1 / self.highest) ** self.drawn)
        return 0.0 if self.rescaled else math.sqrt(different / 6)

    def sample(
        self,
        seeds: Sequence[np.random.SeedSequence],
        grid: Grid,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """One sample a seed; see :meth:`Distribution.sample`."""
        if grid.dim != 1:
            raise InvalidInput("axes of the grid", grid.axes, "one axis", "Take GaussianField in 2D and 3D.")
        (nodes,), (low,), (high,) = grid.coordinates(torch.float64, device), grid.lower, grid.upper
        x = (nodes - low) / (high - low)
        everywhere = torch.arange(PLACES, dtype=torch.float64, device=device) / PLACES
        out = torch.empty((len(seeds), *grid.shape), dtype=dtype, device=device)
        for row, seed in zip(out, seeds):
            function = self._function(seed)
            u = function(x)
            if self.rescaled:
                least, most = function(everywhere).aminmax()
                u = ((u - least) / (most - least)).clamp(0.0, 1.0)
            row.copy_(u)
        return out

    def _function(self, seed: np.random.SeedSequence) -> Callable[[Tensor], Tensor]:
        """The sample of a seed, of places in lengths of the axis. All is drawn, whether it is used or not."""
        generator = random_generator(seed)
        numbers = generator.integers(1, self.highest, self.drawn, endpoint=True)
        times = np.bincount(numbers, minlength=self.highest + 1)[1:]
        waves = (2 * math.pi * np.arange(1, self.highest + 1) * times).tolist()
        amplitudes = generator.random(self.highest).tolist()
        phases = (2 * math.pi * generator.random(self.highest)).tolist()
        is_folded, is_windowed, is_negative = generator.random(3) < (self.folded, self.windowed, 0.5)
        start, end = generator.uniform(*START), generator.uniform(*END)

        def function(x: Tensor) -> Tensor:
            u = torch.zeros_like(x)
            for wave, amplitude, phase in zip(waves, amplitudes, phases):
                u = u + amplitude * torch.sin(wave * x + phase)
            u = u.abs() if is_folded else u
            u = -u if is_negative else u
            if is_windowed:
                u = u * (torch.tanh((x - start) / EDGE) - torch.tanh((x - end) / EDGE)) / 2
            return u

        return function

    def __str__(self) -> str:
        scale = ", scaled to the range from 0 to 1" if self.rescaled else ""
        return (
            f"{self.drawn} of {self.highest} sine waves of random amplitude and phase, the others constants; "
            f"{self.folded:.3g} of the samples folded, {self.windowed:.3g} seen through a window{scale}"
        )
