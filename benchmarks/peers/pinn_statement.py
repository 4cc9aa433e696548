"""Equations as a user of another framework writes them: a residual, and a form that meets the conditions.

Where DeepXDE's and PINA's documentation has soft conditions and hard ones, the hard ones are the better
recipe (Poisson: 3e-6 against 8e-4 after 30 s), so that both are given those where a form is at hand. Widths
are those with which DeepXDE came to 1e-3 first on Poisson and heat, (20, 20) of (20, 20), (32, 32), (64, 64)
and (20, 20, 20), those of its examples where it has one (``pinn_cases.py``), else four layers of 50. The
learning rate, the weight and the seconds of Adam are what ``benchmarks.physics_sweep`` found best for the
problem and the peer; they are those of the statement where it did not run. Points are ours
(``pinn_points.py``); how each peer differentiates is theirs.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from benchmarks.peers.pinn_points import tested_at
from benchmarks.physics_reference import reference_at_points
from pdeflow.problems import Problem

RATE, WEIGHT, ADAM_SECONDS = 1e-3, 10.0, 1.0
"""Of Adam, of values that are learned, and after which L-BFGS goes on, if nothing else is said."""
FOREVER = 10**9
"""Steps of an optimiser that ends by the clock."""


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
    learned
        Sides on which the values of the solution are learned instead.
    weight
        Of these.
    rate
        At which Adam learns.
    adam
        Seconds of it, half of all at most.
    """

    lower: Mapping[str, float]
    upper: Mapping[str, float]
    residual: Callable[[Derivatives], Tensor]
    exact: Callable[[Coordinates], Tensor]
    form: Callable[[Coordinates, Tensor], Tensor]
    inputs: Callable[[Coordinates], list[Tensor]] = as_they_are
    hidden: tuple[int, ...] = (20, 20)
    learned: tuple[str, ...] = ()
    weight: float = WEIGHT
    rate: float = RATE
    adam: float = ADAM_SECONDS

    @property
    def axes(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.lower)

    def coordinates(self, points: Tensor) -> dict[str, Tensor]:
        """Of points (N, d), each (N, 1)."""
        return {axis: points[:, k : k + 1] for k, axis in enumerate(self.axes)}

    @property
    def setting(self) -> str:
        """Of what there is to choose, in words."""
        weight = f", weight {self.weight:g}" if self.learned else ""
        return f"rate {self.rate:g}{weight}, Adam {self.adam:g} s"

    def value(self, side: str, points: Tensor) -> Tensor:
        """What is learned (N, 1) at points (N, d) on a side."""
        return self.exact(self.coordinates(points))

    def values(self, points: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
        """Of points (N, d) by sides, those where values are learned, with these (N, 1)."""
        return {side: (points[side], self.value(side, points[side])) for side in self.learned}

    def tested(self, config: str) -> tuple[Tensor, Tensor]:
        """Points (N, d), float64, at which ours by a config is compared, and the solution there (N, 1)."""
        points = tested_at(config)
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
        Points (N, d) and values (N, 1), learned like those of a side, of which `learned` has the name.
    """

    start: float
    most: float
    truth: float
    measured: tuple[Tensor, Tensor]

    def values(self, points: Mapping[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
        """See `Statement.values`: where it was measured."""
        return {"measured": self.measured}

    def tested(self, config: str) -> tuple[Tensor, Tensor]:
        """No points, and the number: what is compared is no field."""
        return torch.empty(0, len(self.axes)), torch.tensor([[self.truth]], dtype=torch.float64)


@dataclass(frozen=True, kw_only=True)
class OnDomain(Statement):
    """A problem on what is no box, which is compared with our reference.

    Parameters
    ----------
    problem
        Ours, without parameters.
    held
        Values on its sides, all of which are learned; their keys are `learned`.
    """

    problem: Problem
    held: Mapping[str, float]

    def value(self, side: str, points: Tensor) -> Tensor:
        """See `Statement.value`."""
        return torch.full_like(points[:, :1], self.held[side])

    def tested(self, config: str) -> tuple[Tensor, Tensor]:
        """Points (N, d) inside, float64, and our reference there (N, 1)."""
        return reference_at_points(self.problem)


def on_domain(
    problem: Problem, held: Mapping[str, float], residual: Callable[[Derivatives], Tensor]
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
        learned=tuple(held),
        adam=60.0,
        problem=problem,
        held=held,
    )


def stated(statement: Statement, job: Mapping[str, Any]) -> Statement:
    """With the settings of a job."""
    return dataclasses.replace(statement, **job["settings"])


def ends(statement: Statement, job: Mapping[str, Any]) -> tuple[tuple[float, int], tuple[float, int]]:
    """Seconds of training at which Adam ends, or steps, and then L-BFGS.

    A job that gives steps ends by them alone, so that it does the same on every machine.
    """
    if job["steps"] is not None:
        return (math.inf, job["steps"]), (math.inf, job["steps"])
    return (min(statement.adam, job["seconds"] / 2), FOREVER), (job["seconds"], FOREVER)


class Curve:
    """The error against the seconds of training; the time in which errors are taken is not counted.

    The clock stands until `start`, and from `stop` to the next `start`.

    Parameters
    ----------
    points, solution
        (N, d) and (N, 1), where the field is compared.
    """

    def __init__(self, points: Tensor, solution: Tensor) -> None:
        self.points, self.solution = points, solution
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
