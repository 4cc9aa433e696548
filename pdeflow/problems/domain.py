"""The domain an equation is posed on."""

from __future__ import annotations

import abc
import functools
import itertools
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.problems.r_functions import conjunction

if TYPE_CHECKING:
    from pdeflow.problems.constructive_geometry import Difference, Intersection, Named, Union

Design = Callable[[int, int], np.ndarray]
"""Of a number n and a dimension d, about n points (n, d) of the unit cube, the same whenever it is asked."""

STEP = 1e-7
"""From a point of the boundary to either side of it, in diagonals of the box around the domain."""
TRIALS = 4096
"""Places at which it is asked what share of a box, or of pieces of a boundary, belongs to a domain."""
MORE_TRIALS = 64 * TRIALS
"""Where none of those belongs to a side, before it is said that nothing does."""


@dataclass(frozen=True)
class Piece:
    """A smooth piece of a boundary.

    Parameters
    ----------
    side
        The name of the side that it belongs to.
    measure
        Its length, or its area; 1 for a point.
    place
        Points of the unit cube (n, dim - 1) to points (n, dim) of the piece, uniformly, and to the normals
        there (n, dim) that point out of the domain.
    repeated
        Which points (n, dim) with such normals (n, dim) belong to another piece too; none where it is None.
    """

    side: str
    measure: float
    place: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    repeated: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None


class Domain(abc.ABC):
    """An open set of points with named coordinates, inside of a box; its boundary has named sides.

    Domains of the same axes are combined by ``first | second``, ``first & second`` and ``first - second``
    (:mod:`~pdeflow.problems.constructive_geometry`). What belongs to a side keeps its name, and all that has
    the same name is one side; `named` gives another one.
    """

    axes: tuple[str, ...]
    lower: tuple[float, ...]
    """The lower corner of the box around it, and ``upper`` the upper one."""
    upper: tuple[float, ...]
    periodic: tuple[bool, ...]
    """For each axis whether it wraps around; only a `Box` has such axes."""

    @property
    def dim(self) -> int:
        """Number of axes."""
        return len(self.axes)

    def grid(self, points: int | Sequence[int]) -> Grid:
        """The uniform grid of the box around it with this many nodes along each axis."""
        counts = (points,) * self.dim if isinstance(points, int) else tuple(points)
        return Grid(self.axes, self.lower, self.upper, counts, self.periodic)

    @functools.cached_property
    def sides(self) -> tuple[str, ...]:
        """Names of the sides of the boundary; axes that wrap around have none."""
        named = dict.fromkeys(piece.side for piece in self.pieces())
        return tuple(side for side in named if self._share_of_pieces(side))

    @abc.abstractmethod
    def contains(self, points: np.ndarray) -> np.ndarray:
        """(n,) whether the points (n, dim) lie inside."""

    @abc.abstractmethod
    def pieces(self) -> tuple[Piece, ...]:
        """Pieces that hold the boundary, of a combination perhaps more than it: `on_boundary` tells."""

    @abc.abstractmethod
    def signed_distance(self, at: Any) -> Any:
        """A formula of ``at`` that is positive inside, 0 on the boundary and negative outside.

        Near the boundary, away from corners, it is about the distance from there; elsewhere only its sign
        means something. It is smooth inside. Written with the functions of :mod:`~pdeflow.problems.calculus`.
        """

    @abc.abstractmethod
    def vanishing(self, at: Any, sides: Collection[str]) -> Any:
        """A formula of ``at`` that is 0 on these sides, positive inside, and of order one in the middle.

        Raises
        ------
        InvalidInput
            If there is none for these sides without the others.
        """

    def vanishing_outside(self, at: Any) -> Any:
        """A formula of ``at`` that is 0 on the whole boundary and positive outside.

        ``d / (d + size)`` with the distance d, whose slope at the boundary is 1 / size.
        """
        away = -self.signed_distance(at)
        return away / (away + self.size)

    @property
    def size(self) -> float:
        """Half of the shortest extent."""
        return min(high - low for low, high in zip(self.lower, self.upper)) / 2

    def check_sides(self, name: str, chosen: Collection[str]) -> None:
        """Raise InvalidInput, by ``name``, for a side that the domain does not have."""
        for side in chosen:
            if side not in self.sides:
                raise InvalidInput(name, side, "'all' or sides of the domain", choices=self.sides)

    def on_boundary(self, points: np.ndarray, normals: np.ndarray) -> np.ndarray:
        """(n,) whether the domain ends at points (n, dim), seen along unit vectors (n, dim)."""
        extent = np.subtract(self.upper, self.lower)
        step = STEP * float(np.sqrt((extent**2).sum())) * normals
        return self.contains(points - step) & ~self.contains(points + step)

    def reaches(self, points: np.ndarray) -> np.ndarray:
        """(n,) whether the points (n, dim) lie inside or on the boundary, but for round-off."""
        return np.logical_or.reduce(self._contains_around(points))

    def surrounds(self, points: np.ndarray) -> np.ndarray:
        """(n,) whether the points (n, dim) lie inside and not on the boundary, but for round-off."""
        return np.logical_and.reduce(self._contains_around(points))

    def _contains_around(self, points: np.ndarray) -> np.ndarray:
        """(3^dim, n) whether the points and their nearest neighbours lie inside."""
        step = STEP * np.subtract(self.upper, self.lower)
        around = itertools.product((0.0, -1.0, 1.0), repeat=self.dim)
        return np.stack([self.contains(points + step * away) for away in around])

    def inside(self, n: int, design: Design) -> np.ndarray:
        """About n points (m, dim) inside, uniformly: a design in the box, less what lies outside."""
        low, extent = np.array(self.lower), np.subtract(self.upper, self.lower)

        def drawn(count: int) -> np.ndarray:
            points = low + extent * design(count, self.dim)
            return points[self.contains(points)]

        return _as_many(n, drawn, self.share_of_box)

    def on_side(self, side: str, n: int, design: Design) -> tuple[np.ndarray, np.ndarray]:
        """About n points (m, dim) of a side, uniformly, and the outward normals (m, dim) there.

        Raises
        ------
        InvalidInput
            If there is no such side.
        """
        self.check_sides("side", [side])

        def drawn(count: int) -> np.ndarray:
            return np.concatenate(self._placed(side, design(count, self.dim - 1)), axis=1)

        if self.dim == 1:
            found = np.concatenate(self._placed(side, np.zeros((1, 0))), axis=1)
        else:
            found = _as_many(n, drawn, self._share_of_pieces(side))
        return found[:, : self.dim], found[:, self.dim :]

    def across(self, axis: int, place: float, n: int, design: Design, argument: str = "place") -> np.ndarray:
        """About n points (m, dim) inside, on the plane that crosses an axis there; in one dimension one.

        Where the boundary lies in the plane, the domain is on one side alone, and there are no points.

        Parameters
        ----------
        argument
            The key under which the user gave the place, for the error that refuses it.

        Raises
        ------
        InvalidInput
            If the plane does not part the domain.
        """
        low, extent = np.delete(self.lower, axis), np.delete(np.subtract(self.upper, self.lower), axis)
        step = np.zeros(self.dim)
        step[axis] = STEP * (self.upper[axis] - self.lower[axis])

        def placed(unit: np.ndarray) -> np.ndarray:
            points = np.insert(low + extent * unit, axis, place, axis=1)
            return points[self.contains(points - step) & self.contains(points + step)]

        trial = placed(_trial_places(self.dim - 1, TRIALS) if self.dim > 1 else np.zeros((1, 0)))
        if not len(trial):
            raise InvalidInput(argument, f"{self.axes[axis]} = {place:g}", f"a plane that crosses {self}")
        if self.dim == 1:
            return trial
        return _as_many(n, lambda count: placed(design(count, self.dim - 1)), len(trial) / TRIALS)

    def measure(self, side: str) -> float:
        """The length of a side, or its area; of a combination what thousands of places tell of it."""
        whole = sum(piece.measure for piece in self.pieces() if piece.side == side)
        return whole * self._share_of_pieces(side)

    @property
    def volume(self) -> float:
        """The length, area or volume; where no formula is known, what 4096 places tell of it."""
        return float(np.prod(np.subtract(self.upper, self.lower))) * self.share_of_box

    @functools.cached_property
    def share_of_box(self) -> float:
        """The share of the box around it that lies inside."""
        low, extent = np.array(self.lower), np.subtract(self.upper, self.lower)
        return float(self.contains(low + extent * _trial_places(self.dim, TRIALS)).mean())

    def _share_of_pieces(self, side: str) -> float:
        """What is left of the pieces of a side, or of those that are points the share."""
        if self.dim == 1:
            pieces = sum(piece.side == side for piece in self.pieces())
            return len(self._placed(side, np.zeros((1, 0)))[0]) / pieces
        left = len(self._placed(side, _trial_places(self.dim - 1, TRIALS))[0])
        if left:
            return left / TRIALS
        return len(self._placed(side, _trial_places(self.dim - 1, MORE_TRIALS))[0]) / MORE_TRIALS

    def _placed(self, side: str, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points and normals of what is left of a side; the first column also chooses the piece."""
        pieces = [piece for piece in self.pieces() if piece.side == side]
        if self.dim == 1:
            pairs = [piece.place(unit) for piece in pieces]
            points, normals = (np.concatenate(part) for part in zip(*pairs))
            kept = self.on_boundary(points, normals)
            return points[kept], normals[kept]
        ends = np.cumsum([piece.measure for piece in pieces])
        ends = ends / ends[-1]
        number = np.minimum(np.searchsorted(ends, unit[:, 0], side="right"), len(pieces) - 1)
        starts = np.concatenate([[0.0], ends[:-1]])
        points, normals = np.empty((len(unit), self.dim)), np.empty((len(unit), self.dim))
        once = np.ones(len(unit), dtype=bool)
        for k, piece in enumerate(pieces):
            here = number == k
            local = unit[here].copy()
            local[:, 0] = (local[:, 0] - starts[k]) / (ends[k] - starts[k])
            points[here], normals[here] = piece.place(local)
            if piece.repeated is not None:
                once[here] = ~piece.repeated(points[here], normals[here])
        kept = once & self.on_boundary(points, normals)
        return points[kept], normals[kept]

    def named(self, side: str) -> Named:
        """The same domain, its whole boundary one side of this name: ``square - Box(...).named("step")``."""
        from pdeflow.problems.constructive_geometry import Named

        return Named(self, side)

    def __or__(self, other: Domain) -> Union:
        from pdeflow.problems.constructive_geometry import Union

        return Union(self, other)

    def __and__(self, other: Domain) -> Intersection:
        from pdeflow.problems.constructive_geometry import Intersection

        return Intersection(self, other)

    def __sub__(self, other: Domain) -> Difference:
        from pdeflow.problems.constructive_geometry import Difference

        return Difference(self, other)


class Box(Domain):
    """A product of intervals, some of which may wrap around. Its sides are ``"x-"``, ``"x+"``, ``"y-"``, ...

    Parameters
    ----------
    periodic
        Names of the axes that wrap.
    extents
        Axis name to (lower, upper), in the order of the tensor dimensions: ``Box(x=(0, 1), y=(-1, 1))``.

    Raises
    ------
    InvalidInput
        If there is no axis, an extent is empty or not finite, or ``periodic`` names an unknown axis.
    """

    def __init__(self, *, periodic: Sequence[str] = (), **extents: tuple[float, float]) -> None:
        if not extents:
            raise InvalidInput("extents of Box", extents, "at least one axis, for example x=(0, 1)")
        for axis in periodic:
            if axis not in extents:
                hint = "An axis wraps as a whole: name it, without - or +, and give it no condition."
                raise InvalidInput("periodic", axis, "an axis of the box", hint, choices=extents)
        self.axes = tuple(extents)
        self.lower = tuple(float(low) for low, _ in extents.values())
        self.upper = tuple(float(high) for _, high in extents.values())
        self.periodic = tuple(axis in periodic for axis in self.axes)
        self.grid(2)

    @functools.cached_property
    def sides(self) -> tuple[str, ...]:
        """See :attr:`Domain.sides`."""
        return tuple(axis + end for axis, wraps in zip(self.axes, self.periodic) if not wraps for end in "-+")

    def contains(self, points: np.ndarray) -> np.ndarray:
        """See :meth:`Domain.contains`; along an axis that wraps around, everything does."""
        between = (np.array(self.lower) < points) & (points < np.array(self.upper))
        return np.all(between | np.array(self.periodic), axis=1)

    def pieces(self) -> tuple[Piece, ...]:
        """See :meth:`Domain.pieces`."""
        lengths = np.subtract(self.upper, self.lower)
        found = []
        for k, (axis, wraps) in enumerate(zip(self.axes, self.periodic)):
            for end in () if wraps else "-+":
                measure = float(np.prod(np.delete(lengths, k)))
                found.append(Piece(axis + end, measure, functools.partial(self._place, k, end == "+")))
        return tuple(found)

    def _place(self, k: int, upper: bool, unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points and normals of one end of axis k."""
        low, extent = np.array(self.lower), np.subtract(self.upper, self.lower)
        points = low + extent * np.insert(unit, k, float(upper), axis=1)
        normals = np.zeros_like(points)
        normals[:, k] = 1.0 if upper else -1.0
        return points, normals

    def signed_distance(self, at: Any) -> Any:
        """See :meth:`Domain.signed_distance`."""
        parts = []
        for axis, low, high, wraps in zip(self.axes, self.lower, self.upper, self.periodic):
            if not wraps:
                x = getattr(at, axis)
                parts.append((x - low) * (high - x) / (high - low))
        if not parts:
            raise InvalidInput("domain", self, "a box with sides", "All its axes wrap around.")
        return functools.reduce(conjunction, parts)

    def vanishing(self, at: Any, sides: Collection[str]) -> Any:
        """See :meth:`Domain.vanishing`: a product of linear functions."""
        self.check_sides("sides", sides)
        result: Any = 1.0
        for axis, low, high in zip(self.axes, self.lower, self.upper):
            x = getattr(at, axis)
            ends = [away for side, away in ((f"{axis}-", x - low), (f"{axis}+", high - x)) if side in sides]
            for away in ends:
                result = result * (away * (len(ends) / (high - low)))
        return result

    def __repr__(self) -> str:
        wraps = [axis for axis, wraps in zip(self.axes, self.periodic) if wraps]
        extents = [f"{a}=({low:g}, {high:g})" for a, low, high in zip(self.axes, self.lower, self.upper)]
        return f"Box({', '.join(extents)}{f', periodic={wraps}' if wraps else ''})"


def unit_box(dim: int, *, periodic: bool | Sequence[str] = ()) -> Box:
    """The unit interval, square or cube; along every axis or those named it wraps around.

    Raises
    ------
    InvalidInput
        If ``dim`` is not 1, 2 or 3, or there is no such axis.
    """
    if dim not in (1, 2, 3):
        raise InvalidInput("dim", dim, "1, 2 or 3")
    axes = "xyz"[:dim]
    wrapping = axes if periodic is True else periodic or ()
    return Box(periodic=wrapping, **{axis: (0.0, 1.0) for axis in axes})


def _as_many(n: int, drawn: Callable[[int], np.ndarray], share: float) -> np.ndarray:
    """What is drawn of so many that about n are left, and in any case one."""
    count = math.ceil(n / share)
    while not len(found := drawn(count)):
        count *= 2
    return found


def _trial_places(dim: int, count: int) -> np.ndarray:
    """Places (count, dim) of the unit cube, spread evenly; the count is a power of two."""
    from scipy.stats import qmc

    return qmc.Sobol(dim, scramble=False).random(count) + 0.5 / count
