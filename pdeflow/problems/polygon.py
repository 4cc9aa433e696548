"""Polygons with holes, and the distribution that random ones are drawn from."""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pdeflow.errors import InvalidInput
from pdeflow.problems import polygon_distance
from pdeflow.problems.distributions import random_generator
from pdeflow.problems.domain import Box, Domain, Piece

GAP = 0.12
"""What lies between a hole and the outer boundary, or another hole, at least."""
LEAST_ANGLE = math.radians(60)
"""Between neighbouring edges, on both sides."""
_TRIES = 100  # of a polygon, and of a hole in it


@dataclass(frozen=True)
class Polygon(Domain):
    """A plane domain bounded by straight edges.

    Parameters
    ----------
    loops
        Corners (n, 2) of the outer boundary, counterclockwise, then of each hole, clockwise: the domain lies
        to the left of every edge. No loop is closed by its first corner a second time.
    names
        For each edge the name of its side, in the order of `segments`; by default ``"outer"`` and
        ``"holes"``.
    """

    loops: tuple[np.ndarray, ...]
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        corners = self.loops[0]
        set_attribute = functools.partial(object.__setattr__, self)
        set_attribute("axes", ("x", "y"))
        set_attribute("periodic", (False, False))
        set_attribute("lower", tuple(corners.min(axis=0).tolist()))
        set_attribute("upper", tuple(corners.max(axis=0).tolist()))
        if not self.names:
            inner = sum(map(len, self.loops[1:]))
            set_attribute("names", ("outer",) * len(corners) + ("holes",) * inner)

    @classmethod
    def of(
        cls,
        corners: Sequence[Sequence[float]],
        holes: Sequence[Sequence[Sequence[float]]] = (),
        sides: Sequence[str] = (),
    ) -> Polygon:
        """A polygon by its corners and those of its holes, each counterclockwise.

        Parameters
        ----------
        corners, holes
            Pairs of numbers.
        sides
            For each edge of the outer boundary, from the first corner to the second on, the name of its side.
            All of it is ``"outer"`` by default, and the boundary of the holes ``"holes"``.

        Raises
        ------
        InvalidInput
            If a loop has fewer than three corners, goes round clockwise, or has numbers that are not finite;
            if edges meet that are no neighbours; if a hole lies outside; or there are not as many names as
            edges.
        """
        loops = [np.array(loop, dtype=float) for loop in (corners, *holes)]
        for number, loop in enumerate(loops):
            name = f"hole {number} of Polygon" if number else "corners of Polygon"
            if loop.ndim != 2 or loop.shape[1:] != (2,) or len(loop) < 3 or not np.isfinite(loop).all():
                raise InvalidInput(name, loop.tolist(), "at least three pairs of finite numbers")
            if cls((loop,)).area <= 0:
                raise InvalidInput(
                    name, loop.tolist(), "corners counterclockwise", "Turn their order around."
                )
        if sides and len(sides) != len(loops[0]):
            raise InvalidInput("sides of Polygon", list(sides), f"{len(loops[0])} names, one an edge")
        inner = ("holes",) * sum(map(len, loops[1:]))
        whole = cls((loops[0], *(hole[::-1] for hole in loops[1:])), (*sides, *inner) if sides else ())
        _require_simple(whole)
        return whole

    @property
    def segments(self) -> tuple[np.ndarray, np.ndarray]:
        """Start and end, (edges, 2) each, of the edges of all loops."""
        starts = np.concatenate(self.loops)
        return starts, np.concatenate([np.roll(loop, -1, axis=0) for loop in self.loops])

    @property
    def area(self) -> float:
        """The area of the domain, without the holes."""
        a, b = self.segments
        return float(0.5 * (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum())

    def contains(self, points: np.ndarray) -> np.ndarray:
        """(n,) whether the points (n, 2) lie inside, by the number of edges that a ray to the right meets."""
        a, b = self.segments
        x, y = points[:, :1], points[:, 1:]
        straddles = (a[:, 1] > y) != (b[:, 1] > y)
        rise = np.where(a[:, 1] == b[:, 1], 1.0, b[:, 1] - a[:, 1])
        crossing = a[:, 0] + (y - a[:, 1]) * (b[:, 0] - a[:, 0]) / rise
        return (straddles & (x < crossing)).sum(axis=1) % 2 == 1

    def distance(self, points: np.ndarray) -> np.ndarray:
        """(n,) the distance of the points (n, 2) from the boundary."""
        a, b = self.segments
        along = b - a
        t = ((points[:, None] - a) * along).sum(axis=2) / (along**2).sum(axis=1)
        nearest = a + np.clip(t, 0.0, 1.0)[..., None] * along
        return np.sqrt(((points[:, None] - nearest) ** 2).sum(axis=2).min(axis=1))

    @property
    def volume(self) -> float:
        """The area."""
        return self.area

    def pieces(self) -> tuple[Piece, ...]:
        """See :meth:`Domain.pieces`: the edges."""
        starts, ends = self.segments
        lengths = np.linalg.norm(ends - starts, axis=1)
        return tuple(
            Piece(name, float(length), functools.partial(self._place, k))
            for k, (name, length) in enumerate(zip(self.names, lengths))
        )

    def _place(self, edge: int, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points of an edge and normals, which point to its right."""
        starts, ends = self.segments
        start, along = starts[edge], ends[edge] - starts[edge]
        normal = np.array([along[1], -along[0]]) / np.hypot(*along)
        return start + unit * along, np.broadcast_to(normal, (len(unit), 2))

    def signed_distance(self, at: Any) -> Any:
        """See :meth:`Domain.signed_distance`."""
        return polygon_distance.signed_distance(self, at)

    def vanishing(self, at: Any, sides: Collection[str]) -> Any:
        """See :meth:`Domain.vanishing`: where it can be, a product of lines and of functions of corners."""
        self.check_sides("sides", sides)
        return polygon_distance.vanishing(self, at, [k for k, name in enumerate(self.names) if name in sides])

    def __repr__(self) -> str:
        outer, *holes = self.loops
        return f"Polygon of {len(outer)} corners{f' with {len(holes)} holes' if holes else ''}"


@dataclass(frozen=True)
class RandomPolygon:
    """Star-shaped polygons around the origin, inside the circle of radius 1, with holes.

    The corners of the outer boundary lie in directions that differ by 1/2 to 3/2 of an equal share of the
    circle, at distances that are uniform in ``radii``. A hole is a star of 4 to 7 corners, its size uniform
    in ``hole_radii``, its centre uniform in the polygon. What has an angle below 60 degrees between
    neighbouring edges, or less than 0.12 between two loops, is drawn again from the same stream of random
    numbers: the distribution is conditional on that.

    Parameters
    ----------
    corners
        Least and largest number of corners of the outer boundary; each number is as likely.
    holes
        Least and largest number of holes.
    radii
        Least and largest distance of a corner from the origin, at most 1.
    hole_radii
        Least and largest radius of the circle around a hole.

    Raises
    ------
    InvalidInput
        If a range is empty or out of bounds.
    """

    corners: tuple[int, int] = (5, 9)
    holes: tuple[int, int] = (0, 3)
    radii: tuple[float, float] = (0.6, 1.0)
    hole_radii: tuple[float, float] = (0.1, 0.2)

    def __post_init__(self) -> None:
        limits = {"corners": (4, 12), "holes": (0, 8), "radii": (0.3, 1.0), "hole_radii": (0.05, 0.5)}
        for name, (low, high) in limits.items():
            value = tuple(getattr(self, name))
            object.__setattr__(self, name, value)
            if len(value) != 2 or not low <= value[0] <= value[1] <= high:
                raise InvalidInput(name, value, f"a least and a largest number within {low:g} to {high:g}")

    @property
    def box(self) -> Box:
        """The square around every polygon."""
        return Box(x=(-1, 1), y=(-1, 1))

    @property
    def detail(self) -> float:
        """What no edge, and no gap between two loops, is shorter than."""
        outer = 2 * self.radii[0] * math.sin(_turn(self.corners[1], _LOOSE) / 2)
        if not self.holes[1]:
            return outer
        return min(outer, GAP, 2 * _HOLE_RADII[0] * self.hole_radii[0] * math.sin(_turn(7, _TIGHT) / 2))

    def draw(self, seed: np.random.SeedSequence) -> Polygon:
        """The polygon of one seed.

        Raises
        ------
        InvalidInput
            If the holes hardly ever fit.
        """
        generator = random_generator(seed)
        for _ in range(_TRIES):
            polygon = self._try(generator)
            if polygon is not None:
                return polygon
        hint = "Ask for fewer or smaller holes, or larger radii."
        raise InvalidInput("holes", (self.holes, self.hole_radii), "holes that fit into the polygons", hint)

    def _try(self, generator: np.random.Generator) -> Polygon | None:
        """A polygon; None where it is too narrow somewhere."""
        corners = int(generator.integers(self.corners[0], self.corners[1] + 1))
        outer = _star(generator, corners, self.radii, _LOOSE)
        loops = [outer]
        for _ in range(int(generator.integers(self.holes[0], self.holes[1] + 1))):
            hole = self._hole(generator, Polygon(tuple(loops)))
            if hole is None:
                return None
            loops.append(hole)
        return Polygon(tuple(loops)) if min(map(_least_angle, loops)) >= LEAST_ANGLE else None

    def _hole(self, generator: np.random.Generator, domain: Polygon) -> np.ndarray | None:
        """Corners of a hole, clockwise, that keeps its distance; None where none was found."""
        for _ in range(_TRIES):
            radius, centre = generator.uniform(*self.hole_radii), generator.uniform(-1, 1, (1, 2))
            star = _star(generator, int(generator.integers(4, 8)), _HOLE_RADII, _TIGHT)
            if domain.contains(centre)[0] and domain.distance(centre)[0] >= radius + GAP:
                return (centre + radius * star)[::-1]
        return None

    def __str__(self) -> str:
        corners, holes = (f"{low} to {high}" for low, high in (self.corners, self.holes))
        return f"a random star-shaped polygon of {corners} corners with {holes} holes in {self.box}"


# By how much of their equal share the directions of corners may be off.
_LOOSE, _TIGHT = 0.25, 0.05
_HOLE_RADII = (0.8, 1.0)


def _turn(corners: int, spread: float) -> float:
    """The smallest angle between the directions of two neighbours."""
    return (1 - 2 * spread) * 2 * math.pi / corners


def _star(
    generator: np.random.Generator, corners: int, radii: tuple[float, float], spread: float
) -> np.ndarray:
    """Corners (n, 2) around the origin, counterclockwise."""
    shares = np.arange(corners) + generator.uniform(-spread, spread, corners)
    directions = 2 * np.pi * (shares / corners + generator.uniform())
    distances = generator.uniform(*radii, corners)
    return distances[:, None] * np.stack([np.cos(directions), np.sin(directions)], axis=1)


def _least_angle(loop: np.ndarray) -> float:
    """The smallest angle between an edge and the next one, measured on either side."""
    back, ahead = np.roll(loop, 1, axis=0) - loop, np.roll(loop, -1, axis=0) - loop
    cosines = (back * ahead).sum(axis=1) / np.hypot(*back.T) / np.hypot(*ahead.T)
    return float(np.arccos(np.clip(cosines, -1.0, 1.0)).min())


def _require_simple(polygon: Polygon) -> None:
    """Raise InvalidInput where edges meet that are no neighbours, or a hole does not lie inside."""
    outer, *holes = polygon.loops
    for number, hole in enumerate(holes, 1):
        if not Polygon((outer,)).contains(hole).all():
            raise InvalidInput(
                f"hole {number} of Polygon", hole[::-1].tolist(), "corners inside of the polygon"
            )
    starts, ends = polygon.segments
    for a, b in zip(starts, ends):
        # Neighbours share an end. Others have to be to one side of this edge, or it to one side of them.
        apart = (_heights(a, b, starts) * _heights(a, b, ends) > 0) | (
            _heights(starts, ends, a) * _heights(starts, ends, b) > 0
        )
        above = np.minimum(starts, ends) > np.maximum(a, b)
        below = np.maximum(starts, ends) < np.minimum(a, b)
        apart |= (above | below).any(axis=1)
        apart |= (starts == b).all(axis=1) | (ends == a).all(axis=1) | (starts == a).all(axis=1)
        crossed = np.flatnonzero(~apart)
        if len(crossed):
            other = [starts[crossed[0]].tolist(), ends[crossed[0]].tolist()]
            raise InvalidInput(
                "corners of Polygon", [a.tolist(), b.tolist()], f"an edge that does not meet {other}"
            )


def _heights(a: np.ndarray, b: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Twice the signed areas of triangles a, b, point."""
    return (b - a)[..., 0] * (points - a)[..., 1] - (b - a)[..., 1] * (points - a)[..., 0]
