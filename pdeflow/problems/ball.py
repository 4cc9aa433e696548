"""Balls: intervals, discs and balls, as domains."""

from __future__ import annotations

import functools
import math
from collections.abc import Collection
from typing import Any

import numpy as np

from pdeflow.errors import InvalidInput
from pdeflow.problems.calculus import log, sqrt
from pdeflow.problems.domain import Domain, Piece


class Ball(Domain):
    """The points nearer to a centre than a radius: in the plane a disc.

    Parameters
    ----------
    radius
        Positive.
    side
        The name of its boundary.
    centre
        Axis name to coordinate, one to three: ``Ball(0.1, x=0.3, y=-0.3)``.

    Raises
    ------
    InvalidInput
        If the radius is not positive, a number is not finite, or there are no or more than three axes.
    """

    def __init__(self, radius: float, side: str = "rim", **centre: float) -> None:
        if not (math.isfinite(radius) and radius > 0):
            raise InvalidInput("radius of Ball", radius, "a positive number")
        if len(centre) not in (1, 2, 3) or not all(map(math.isfinite, centre.values())):
            raise InvalidInput(
                "centre of Ball", centre, "one to three finite coordinates, such as x=0.0, y=0.5"
            )
        self.radius, self.side = float(radius), side
        self.axes, self.centre = tuple(centre), tuple(map(float, centre.values()))
        self.lower = tuple(c - self.radius for c in self.centre)
        self.upper = tuple(c + self.radius for c in self.centre)
        self.periodic = (False,) * self.dim

    def contains(self, points: np.ndarray) -> np.ndarray:
        """See :meth:`Domain.contains`."""
        return ((points - np.array(self.centre)) ** 2).sum(axis=1) < self.radius**2

    def pieces(self) -> tuple[Piece, ...]:
        """See :meth:`Domain.pieces`."""
        if self.dim == 1:
            return tuple(
                Piece(self.side, 1.0, functools.partial(self._place, sign=sign)) for sign in (-1.0, 1.0)
            )
        measure = 2 * math.pi * self.radius if self.dim == 2 else 4 * math.pi * self.radius**2
        return (Piece(self.side, measure, self._place),)

    def _place(self, unit: np.ndarray, sign: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
        """On the sphere the height is uniform (Archimedes)."""
        if self.dim == 1:
            normals = np.full((len(unit), 1), sign)
        else:
            angle = 2 * math.pi * unit[:, 0]
            around = np.stack([np.cos(angle), np.sin(angle)], axis=1)
            height = 2 * unit[:, 1:] - 1
            normals = around if self.dim == 2 else np.hstack([np.sqrt(1 - height**2) * around, height])
        return np.array(self.centre) + self.radius * normals, normals

    @property
    def volume(self) -> float:
        """The length, area or volume."""
        return {1: 2.0, 2: math.pi, 3: 4 / 3 * math.pi}[self.dim] * self.radius**self.dim

    def signed_distance(self, at: Any) -> Any:
        """See :meth:`Domain.signed_distance`."""
        return (self.radius**2 - self._squares(at)) / (2 * self.radius)

    def _squares(self, at: Any) -> Any:
        """The squared distance from the centre."""
        return sum((getattr(at, axis) - c) ** 2 for axis, c in zip(self.axes, self.centre))

    def vanishing(self, at: Any, sides: Collection[str]) -> Any:
        """See :meth:`Domain.vanishing`."""
        self.check_sides("sides", sides)
        return self.signed_distance(at) * (2 / self.radius) if sides else 1.0

    def vanishing_outside(self, at: Any) -> Any:
        """See :meth:`Domain.vanishing_outside`: in two and three dimensions harmonic, as solutions nearly
        are.

        ``log(r / radius)`` and ``1 - radius / r``.
        """
        if self.dim == 1:
            return super().vanishing_outside(at)
        relative = self._squares(at) / self.radius**2
        return log(relative) / 2 if self.dim == 2 else (sqrt(relative) - 1.0) / sqrt(relative)

    def __repr__(self) -> str:
        at = ", ".join(f"{axis}={c:g}" for axis, c in zip(self.axes, self.centre))
        return f"Ball({self.radius:g}, {at})"
