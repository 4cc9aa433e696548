"""Equations as a user of another framework writes them: a residual, and a form that meets the conditions.

Where DeepXDE's and PINA's documentation has soft conditions and hard ones, the hard ones are the better
recipe (Poisson: 3e-6 against 8e-4 after 30 s), so that both are given those where a form is at hand. Widths
and the seconds of Adam are those with which DeepXDE came to 1e-3 first on Poisson and heat: (20, 20) of (20,
20), (32, 32), (64, 64) and (20, 20, 20), and about one of 0.04, 0.6, 2 and 4 s; other problems were not
swept. The problems are in ``pinn_cases.py``; how each peer differentiates is theirs.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from benchmarks.physics_reference import reference_at_points
from pdeflow.problems import Problem
from pdeflow.problems.domain import Design
from pdeflow.problems.space_filling import space_filling

TESTED = 101
"""Nodes along each axis at which errors are taken; in three dimensions a fifth of them."""

ADAM_SECONDS = 1.0
"""After them L-BFGS goes on, if the statement does not say otherwise."""
WEIGHT = 10.0
"""Of values that are learned, likewise."""


class Derivatives(Protocol):
    """The field at the points of a batch, each (N, 1)."""

    u: Tensor
    unknown: Tensor
    """Of an inverse problem the number that is looked for."""

    def at(self, axis: str) -> Tensor:
        """The coordinate."""
        ...

    def d(self, axis: str) -> Tensor:
        """The first derivative."""
        ...

    def d2(self, axis: str) -> Tensor:
        """The second derivative along one axis."""
        ...


Coordinates = Mapping[str, Tensor]


def as_they_are(at: Coordinates) -> list[Tensor]:
    """The coordinates are the inputs of the network."""
    return list(at.values())


@dataclass(frozen=True)
class Statement:
    """One problem.

    Parameters
    ----------
    lower, upper
        The box, by its axes.
    residual
        (N, 1), which vanishes.
    exact
        The solution (N, 1).
    form
        Of coordinates and the network's output, u: it meets the conditions whatever the output.
    inputs
        What the network is given, periodic where u is.
    hidden
        Widths of a tanh network.
    points
        Inside.
    learned
        Sides on which the values of the solution are learned instead, at a tenth as many points each.
    weight
        Of these.
    adam
        Seconds, half of all at most.
    tests
        Nodes along each axis at which errors are taken, those of the first test grid of our config.
    """

    lower: Mapping[str, float]
    upper: Mapping[str, float]
    residual: Callable[[Derivatives], Tensor]
    exact: Callable[[Coordinates], Tensor]
    form: Callable[[Coordinates, Tensor], Tensor]
    inputs: Callable[[Coordinates], list[Tensor]] = as_they_are
    hidden: tuple[int, ...] = (20, 20)
    points: int = 900
    learned: tuple[str, ...] = ()
    weight: float = WEIGHT
    adam: float = ADAM_SECONDS
    tests: int = TESTED

    @property
    def axes(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.lower)

    def coordinates(self, points: Tensor) -> dict[str, Tensor]:
        """Of points (N, d), each (N, 1)."""
        return {axis: points[:, k : k + 1] for k, axis in enumerate(self.axes)}

    def on(self, side: str, seed: int) -> Tensor:
        """Points (N, d) on a side, drawn evenly."""
        generator = torch.Generator().manual_seed(seed)
        unit = torch.rand(self.points // 10, len(self.axes), generator=generator, dtype=torch.float64)
        low, high = (torch.tensor([ends[a] for a in self.axes]) for ends in (self.lower, self.upper))
        points = low + (high - low) * unit
        k = self.axes.index(side[0])
        points[:, k] = (low if side[1] == "-" else high)[k]
        return points

    def value(self, side: str, points: Tensor) -> Tensor:
        """What is learned (N, 1) at points (N, d) on a side."""
        return self.exact(self.coordinates(points))

    def inside(self, seed: int) -> Tensor | None:
        """Points (N, d) inside, where the peer does not draw them in the box."""
        return None

    def tested(self) -> tuple[Tensor, Tensor]:
        """Points (N, d) of a grid, float64, and the solution there (N, 1)."""
        n = self.tests if len(self.axes) < 3 else self.tests // 5 + 1
        lines = [torch.linspace(self.lower[a], self.upper[a], n, dtype=torch.float64) for a in self.axes]
        points = torch.cartesian_prod(*lines)
        return points, self.exact(self.coordinates(points))


@dataclass(frozen=True, kw_only=True)
class Inverse(Statement):
    """A problem with a number that is looked for, and values that were measured.

    Parameters
    ----------
    start, most
        Of the number, which is positive.
    truth
        What it is.
    measured
        Points (N, d) and values (N, 1), learned like those of a side.
    """

    start: float
    most: float
    truth: float
    measured: tuple[Tensor, Tensor]

    def on(self, side: str, seed: int) -> Tensor:
        """See `Statement.on`: where it was measured."""
        return self.measured[0]

    def value(self, side: str, points: Tensor) -> Tensor:
        """See `Statement.value`."""
        return self.measured[1]

    def tested(self) -> tuple[Tensor, Tensor]:
        """No points, and the number: what is compared is no field."""
        return torch.empty(0, len(self.axes)), torch.tensor([[self.truth]], dtype=torch.float64)


@dataclass(frozen=True, kw_only=True)
class OnDomain(Statement):
    """A problem on what is no box: peers get points that are drawn as ours are, and our reference to compare.

    Parameters
    ----------
    problem
        Ours, without parameters.
    held
        Values on its sides, all of which are learned; their keys are `learned`.
    """

    problem: Problem
    held: Mapping[str, float]

    def _design(self, *key: int) -> Design:
        seed = np.random.SeedSequence(key)
        return lambda n, dim: space_filling("sobol", n, dim, seed)

    def inside(self, seed: int) -> Tensor:
        """See `Statement.inside`."""
        return torch.from_numpy(self.problem.domain.inside(self.points, self._design(seed, 0)))

    def on(self, side: str, seed: int) -> Tensor:
        """See `Statement.on`."""
        points, _ = self.problem.domain.on_side(side, self.points // 10, self._design(seed, 1))
        return torch.from_numpy(points)

    def value(self, side: str, points: Tensor) -> Tensor:
        """See `Statement.value`."""
        return torch.full_like(points[:, :1], self.held[side])

    def tested(self) -> tuple[Tensor, Tensor]:
        """Points (N, d) inside, float64, and our reference there (N, 1)."""
        return reference_at_points(self.problem)


def on_domain(
    problem: Problem, held: Mapping[str, float], residual: Callable[[Derivatives], Tensor], points: int
) -> OnDomain:
    """The statement of a problem with these values on its sides."""
    domain = problem.domain
    return OnDomain(
        dict(zip(domain.axes, domain.lower)),
        dict(zip(domain.axes, domain.upper)),
        residual,
        lambda at: torch.from_numpy(problem.reference(torch.cat(list(at.values()), dim=1).numpy()))[:, None],
        lambda at, out: out,
        hidden=(50, 50, 50, 50),
        points=points,
        learned=tuple(held),
        adam=60.0,
        problem=problem,
        held=held,
    )


class Curve:
    """The error against the seconds of training; the time in which errors are taken is not counted.

    The clock stands until `start`, and from `stop` to the next `start`.

    Parameters
    ----------
    statement
        With the solution.
    seconds
        When to end.
    """

    def __init__(self, statement: Statement, seconds: float) -> None:
        self.points, self.solution = statement.tested()
        self.seconds = seconds
        self.looks: list[tuple[float, float]] = []
        self._before, self._next = 0.0, 0.0
        self._start: float | None = None

    def start(self) -> None:
        """Training begins, or goes on."""
        self._start = time.perf_counter()

    def stop(self) -> None:
        """Training is over, or is being prepared to go on."""
        self._before, self._start = self.taken, None

    @property
    def taken(self) -> float:
        """Seconds of training."""
        return self._before + (0.0 if self._start is None else time.perf_counter() - self._start)

    @property
    def over(self) -> bool:
        """Whether the training has had its seconds."""
        return self.taken >= self.seconds

    def look(self, field: Callable[[Tensor], Tensor], always: bool = False) -> None:
        """Take the error if it is time to: every quarter of a second, later every twentieth of the time."""
        taken = self.taken
        if not always and taken < self._next:
            return
        runs = self._start is not None
        self.stop()
        with torch.no_grad():
            difference = field(self.points) - self.solution
        self.looks.append((taken, float(difference.norm() / self.solution.norm())))
        self._next = taken + max(0.25, 0.05 * taken)
        if runs:
            self.start()
