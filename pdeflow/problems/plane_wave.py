"""A field that is the same for every sample: one sine wave."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.problems.calculus import Names, sin
from pdeflow.problems.domain import Domain
from pdeflow.problems.random_fields import Field


@dataclass(frozen=True)
class PlaneWave(Field):
    r"""The field :math:`a \sin(2 \pi \sum_k m_k x_k + \varphi)`.

    Parameters
    ----------
    amplitude
        a.
    frequency
        Axis to m, in waves a unit of length; axes that are left out have none.
    phase
        phi, in radians.

    Raises
    ------
    InvalidInput
        If a number is not finite; on sampling, if an axis is unknown, or the wave does not fit into a box
        that wraps around.
    """

    amplitude: float
    frequency: Mapping[str, float]
    phase: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "frequency", dict(self.frequency))
        for name in ("amplitude", "phase"):
            if not math.isfinite(getattr(self, name)):
                raise InvalidInput(name, getattr(self, name), "a finite number")
        if not self.frequency or not all(math.isfinite(m) for m in self.frequency.values()):
            raise InvalidInput("frequency", self.frequency, "finite numbers by axis, such as {x: 1, y: 1}")

    def _value(self, at: Any) -> Any:
        phase = sum(2 * math.pi * m * getattr(at, axis) for axis, m in self.frequency.items())
        return self.amplitude * sin(phase + self.phase)

    @property
    def fixed(self) -> Callable[[Any], Any]:
        """The formula."""
        return self._value

    @property
    def positive(self) -> bool:
        """False: a sine changes its sign."""
        return False

    @property
    def bounds(self) -> tuple[float, float]:
        """What no value is below, and what none is above."""
        return -abs(self.amplitude), abs(self.amplitude)

    def most_waves(self, domain: Domain) -> tuple[float, ...]:
        """Those of the frequencies."""
        extents = zip(domain.axes, domain.lower, domain.upper)
        return tuple(abs(self.frequency.get(axis, 0.0)) * (high - low) for axis, low, high in extents)

    def deviation(self, domain: Domain) -> float:
        """That of a sine."""
        return abs(self.amplitude) / math.sqrt(2)

    def sample(
        self,
        seeds: Sequence[np.random.SeedSequence],
        grid: Grid,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """The same field a seed; see :meth:`Distribution.sample`."""
        for axis, low, high, wraps in zip(grid.axes, grid.lower, grid.upper, grid.periodic):
            waves = self.frequency.get(axis, 0.0) * (high - low)
            if wraps and abs(waves - round(waves)) > 1e-9:
                raise InvalidInput(
                    f"frequency[{axis!r}]", self.frequency[axis], f"whole waves in {high - low:g}"
                )
        at = Names("coordinate", grid.mesh())
        field = self._value(at).to(device=device, dtype=dtype)
        return field.expand(len(seeds), *grid.shape)

    def __str__(self) -> str:
        terms = " + ".join(f"{m:g} {axis}" for axis, m in self.frequency.items())
        shift = f" + {self.phase:.4g}" if self.phase else ""
        return f"{self.amplitude:.6g} sin(2 pi ({terms}){shift})"
