"""Equations as a user of another framework writes them: a residual, and a form that meets the conditions.

Where DeepXDE's and PINA's documentation has soft conditions and hard ones, the hard ones are the better
recipe (Poisson: 3e-6 against 8e-4 after 30 s), so that both are given those. Widths and the seconds of Adam
are those with which DeepXDE came to 1e-3 first on Poisson and heat: (20, 20) of (20, 20), (32, 32), (64, 64)
and (20, 20, 20), and about one of 0.04, 0.6, 2 and 4 s; other problems were not swept. What both share is
here; how each differentiates is theirs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

TESTED = 101
"""Nodes along each axis at which errors are taken; in three dimensions a fifth of them."""


ADAM_SECONDS = 1.0
"""After them L-BFGS goes on."""
WEIGHT = 10.0
"""Of values that are learned."""


class Derivatives(Protocol):
    """The field at the points of a batch, each (N, 1)."""

    u: Tensor

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

    def tested(self) -> tuple[Tensor, Tensor]:
        """Points (N, d) of a grid, float64, and the solution there (N, 1)."""
        n = TESTED if len(self.axes) < 3 else TESTED // 5 + 1
        lines = [torch.linspace(self.lower[a], self.upper[a], n, dtype=torch.float64) for a in self.axes]
        points = torch.cartesian_prod(*lines)
        return points, self.exact(self.coordinates(points))


def _sines(at: Coordinates, factors: Mapping[str, float]) -> Tensor:
    product = torch.ones(())
    for axis, factor in factors.items():
        product = product * torch.sin(factor * math.pi * at[axis])
    return product


def _poisson() -> Statement:
    def residual(f: Derivatives) -> Tensor:
        sines = torch.sin(math.pi * f.at("x")) * torch.sin(math.pi * f.at("y"))
        return f.d2("x") + f.d2("y") + 2 * math.pi**2 * sines

    return Statement(
        {"x": 0.0, "y": 0.0},
        {"x": 1.0, "y": 1.0},
        residual,
        lambda at: _sines(at, {"x": 1, "y": 1}),
        lambda at, out: at["x"] * (1 - at["x"]) * at["y"] * (1 - at["y"]) * out,
    )


def _heat() -> Statement:
    a = 0.4
    return Statement(
        {"x": 0.0, "t": 0.0},
        {"x": 1.0, "t": 1.0},
        lambda f: f.d("t") - a * f.d2("x"),
        lambda at: torch.exp(-a * math.pi**2 * at["t"]) * torch.sin(math.pi * at["x"]),
        lambda at, out: torch.sin(math.pi * at["x"]) + at["t"] * at["x"] * (1 - at["x"]) * out,
    )


def _helmholtz(a1: int, a2: int) -> Statement:
    def residual(f: Derivatives) -> Tensor:
        sines = torch.sin(a1 * math.pi * f.at("x")) * torch.sin(a2 * math.pi * f.at("y"))
        return f.d2("x") + f.d2("y") + f.u - (1 - (a1**2 + a2**2) * math.pi**2) * sines

    return Statement(
        {"x": -1.0, "y": -1.0},
        {"x": 1.0, "y": 1.0},
        residual,
        lambda at: _sines(at, {"x": a1, "y": a2}),
        lambda at, out: (1 - at["x"] ** 2) * (1 - at["y"] ** 2) * out,
        hidden=(50, 50, 50, 50),
        points=1600,
    )


def _klein_gordon() -> Statement:
    def exact(at: Coordinates) -> Tensor:
        x, y, t = at["x"], at["y"], at["t"]
        return (x + y) * torch.cos(2 * t) + x * y * torch.sin(2 * t)

    def residual(f: Derivatives) -> Tensor:
        u = exact({axis: f.at(axis) for axis in "xyt"})
        return f.d2("t") - f.d2("x") - f.d2("y") + f.u**2 - (u**2 - 4 * u)

    def form(at: Coordinates, out: Tensor) -> Tensor:
        x, y, t = at["x"], at["y"], at["t"]
        soon = torch.tanh(t)  # t at first, and bounded
        return x + y + 2 * x * y * soon + soon**2 * out

    return Statement(
        {"x": -1.0, "y": -1.0, "t": 0.0},
        {"x": 1.0, "y": 1.0, "t": 10.0},
        residual,
        exact,
        form,
        hidden=(50, 50, 50, 50),
        points=4000,
        # The solution is linear in x and in y: a form that met the values on the sides would be the solution.
        learned=("x-", "x+", "y-", "y+"),
    )


def _convection() -> Statement:
    beta = 40.0
    return Statement(
        {"x": 0.0, "t": 0.0},
        {"x": 2 * math.pi, "t": 1.0},
        lambda f: f.d("t") + beta * f.d("x"),
        lambda at: torch.sin(at["x"] - beta * at["t"]),
        lambda at, out: torch.sin(at["x"]) + at["t"] * out,
        lambda at: [torch.cos(at["x"]), torch.sin(at["x"]), at["t"]],
        hidden=(50, 50, 50, 50),
        points=2500,
    )


STATEMENTS: dict[str, Callable[[], Statement]] = {
    "poisson": _poisson,
    "heat": _heat,
    "helmholtz_4_1": lambda: _helmholtz(4, 1),
    "helmholtz_10_10": lambda: _helmholtz(10, 10),
    "klein_gordon": _klein_gordon,
    "convection_40": _convection,
}


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
