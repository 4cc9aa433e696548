"""A domain of space for a time."""

from __future__ import annotations

import functools
import math
from collections.abc import Collection
from typing import Any

import numpy as np

from pdeflow.errors import InvalidInput
from pdeflow.problems.domain import Box, Domain, Piece
from pdeflow.problems.initial import TIME
from pdeflow.problems.r_functions import conjunction


class Cylinder(Domain):
    """``base x (start, stop)``, the last axis ``t``: the sides of the base, ``"t-"`` and ``"t+"``.

    Parameters
    ----------
    base
        The domain of space, without axes that wrap around.
    t
        Start and stop.

    Raises
    ------
    InvalidInput
        If the base has an axis ``t`` or one that wraps around, or the interval is empty or not finite.
    """

    def __init__(self, base: Domain, t: tuple[float, float]) -> None:
        if TIME in base.axes or any(base.periodic):
            hint = "A box has its time as an axis of its own: Box(x=(0, 1), t=(0, 1))."
            raise InvalidInput("base of Cylinder", base, f"a bounded domain without an axis {TIME!r}", hint)
        self.base, self.interval = base, Box(t=t)
        self.axes = (*base.axes, TIME)
        self.lower, self.upper = (*base.lower, *self.interval.lower), (*base.upper, *self.interval.upper)
        self.periodic = (False,) * self.dim

    @property
    def volume(self) -> float:
        """That of the base, times the time."""
        return self.base.volume * (self.upper[-1] - self.lower[-1])

    def contains(self, points: np.ndarray) -> np.ndarray:
        """See :meth:`Domain.contains`."""
        return self.base.contains(points[:, :-1]) & self.interval.contains(points[:, -1:])

    def pieces(self) -> tuple[Piece, ...]:
        """See :meth:`Domain.pieces`; ``t-`` and ``t+`` are those of the box around the base."""
        around = [
            Piece(
                piece.side,
                piece.measure * (self.upper[-1] - self.lower[-1]),
                functools.partial(self._along, piece),
                None if piece.repeated is None else functools.partial(_repeated, piece.repeated),
            )
            for piece in self.base.pieces()
        ]
        area = math.prod(high - low for low, high in zip(self.base.lower, self.base.upper))
        return (*around, *(Piece(TIME + end, area, functools.partial(self._at, end == "+")) for end in "-+"))

    def _along(self, piece: Piece, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A piece of the base's boundary at all times."""
        points, normals = piece.place(unit[:, :-1])
        time = self.lower[-1] + (self.upper[-1] - self.lower[-1]) * unit[:, -1:]
        return np.hstack([points, time]), np.hstack([normals, np.zeros_like(time)])

    def _at(self, stop: bool, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The base at the start, or at the stop."""
        points = np.array(self.base.lower) + np.subtract(self.base.upper, self.base.lower) * unit
        time = np.full((len(points), 1), self.upper[-1] if stop else self.lower[-1])
        normals = np.zeros((len(points), self.dim))
        normals[:, -1] = 1.0 if stop else -1.0
        return np.hstack([points, time]), normals

    def signed_distance(self, at: Any) -> Any:
        """See :meth:`Domain.signed_distance`."""
        return conjunction(self.base.signed_distance(at), self.interval.signed_distance(at))

    def vanishing(self, at: Any, sides: Collection[str]) -> Any:
        """See :meth:`Domain.vanishing`."""
        self.check_sides("sides", sides)
        ends = [side for side in sides if side in self.interval.sides]
        others = [side for side in sides if side not in ends]
        result = self.interval.vanishing(at, ends)
        return self.base.vanishing(at, others) * result if others else result

    def __repr__(self) -> str:
        return f"Cylinder({self.base}, t=({self.lower[-1]:g}, {self.upper[-1]:g}))"


def _repeated(base: Any, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
    return base(points[:, :-1], normals[:, :-1])
