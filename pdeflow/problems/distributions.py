"""Distributions of scalar parameters, one seed a sample."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.problems.domain import Box


def random_generator(seed: np.random.SeedSequence) -> np.random.Generator:
    """The stream of one sample: PCG64DXSM, the same on every machine and device."""
    return np.random.Generator(np.random.PCG64DXSM(seed))


class Distribution(abc.ABC):
    """What a parameter is drawn from. ``str()`` of it is a phrase for cards."""

    is_field: ClassVar[bool] = False
    """Whether a sample is a function of position rather than a number."""

    @property
    def fixed(self) -> float | Callable[[Any], Any] | None:
        """What every sample is, a number or a formula of ``at``; None where samples differ."""
        return None

    @property
    @abc.abstractmethod
    def positive(self) -> bool:
        """Whether every sample is certainly positive."""

    @property
    def bounds(self) -> tuple[float, float]:
        """What no sample is below, and what none is above; infinite where there is no such number."""
        return (0.0 if self.positive else -math.inf), math.inf

    def most_waves(self, domain: Box) -> tuple[float, ...]:
        """How many waves at most lie side by side along each axis; 0 where no such number is known."""
        return (0.0,) * domain.dim

    def fewest_nodes(self, domain: Box) -> tuple[int, ...]:
        """The fewest nodes along each axis that tell the samples from others; 1 where no number is known.

        More than two for each of the shortest waves (Nyquist); the last node of an axis that does not wrap
        begins none.
        """
        waves = zip(self.most_waves(domain), domain.periodic)
        return tuple(math.floor(2 * w + 1e-9) + (1 if wraps else 2) if w else 1 for w, wraps in waves)

    def deviation(self, domain: Box) -> float:
        """The standard deviation in space of a typical sample, about its own average, which does not count.

        0 where it has none or none is known.
        """
        return 0.0

    @abc.abstractmethod
    def sample(
        self,
        seeds: Sequence[np.random.SeedSequence],
        grid: Grid,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """One sample a seed, each depending on its own seed and the grid alone.

        Returns
        -------
        Tensor
            (n,) for a scalar, (n, *grid.shape) for a field.
        """


class ScalarDistribution(Distribution):
    """A distribution of numbers."""

    @property
    @abc.abstractmethod
    def bounds(self) -> tuple[float, float]:
        """What no sample is below, and what none is above."""

    @property
    def positive(self) -> bool:
        """Whether every sample is certainly positive."""
        return self.bounds[0] > 0

    @abc.abstractmethod
    def draw(self, generator: np.random.Generator) -> float:
        """One number."""

    def sample(
        self,
        seeds: Sequence[np.random.SeedSequence],
        grid: Grid,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """One sample a seed; see :meth:`Distribution.sample`."""
        numbers = [self.draw(random_generator(seed)) for seed in seeds]
        return torch.tensor(numbers, dtype=dtype, device=device)


def _check_range(lower: float, upper: float) -> None:
    if not (math.isfinite(lower) and math.isfinite(upper) and lower < upper):
        raise InvalidInput("lower, upper", (lower, upper), "finite numbers, lower < upper")


@dataclass(frozen=True)
class Constant(ScalarDistribution):
    """The same number every time."""

    value: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise InvalidInput("value", self.value, "a finite number")

    @property
    def fixed(self) -> float:
        """The number."""
        return self.value

    @property
    def bounds(self) -> tuple[float, float]:
        """What no sample is below, and what none is above."""
        return self.value, self.value

    def draw(self, generator: np.random.Generator) -> float:
        """One number."""
        return self.value

    def __str__(self) -> str:
        return f"{self.value:g}"


@dataclass(frozen=True)
class Uniform(ScalarDistribution):
    """Uniform between ``lower`` and ``upper``."""

    lower: float
    upper: float

    def __post_init__(self) -> None:
        _check_range(self.lower, self.upper)

    @property
    def bounds(self) -> tuple[float, float]:
        """What no sample is below, and what none is above."""
        return self.lower, self.upper

    def draw(self, generator: np.random.Generator) -> float:
        """One number."""
        return generator.uniform(self.lower, self.upper)

    def __str__(self) -> str:
        return f"uniform between {self.lower:g} and {self.upper:g}"


@dataclass(frozen=True)
class LogUniform(ScalarDistribution):
    """A number whose logarithm is uniform; ``lower`` must be positive."""

    lower: float
    upper: float

    def __post_init__(self) -> None:
        _check_range(self.lower, self.upper)
        if self.lower <= 0:
            raise InvalidInput("lower", self.lower, "a positive number", "Use Uniform for a range across 0.")

    @property
    def bounds(self) -> tuple[float, float]:
        """What no sample is below, and what none is above."""
        return self.lower, self.upper

    def draw(self, generator: np.random.Generator) -> float:
        """One number."""
        return math.exp(generator.uniform(math.log(self.lower), math.log(self.upper)))

    def __str__(self) -> str:
        return f"log-uniform between {self.lower:g} and {self.upper:g}"


@dataclass(frozen=True)
class Choice(ScalarDistribution):
    """One of ``values``, each as likely as the others."""

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(self.values))
        if not self.values or not all(math.isfinite(value) for value in self.values):
            raise InvalidInput("values", self.values, "at least one number, all finite")

    @property
    def bounds(self) -> tuple[float, float]:
        """What no sample is below, and what none is above."""
        return min(self.values), max(self.values)

    def draw(self, generator: np.random.Generator) -> float:
        """One number."""
        return self.values[generator.integers(len(self.values))]

    def __str__(self) -> str:
        return f"one of {', '.join(f'{value:g}' for value in self.values)}"
