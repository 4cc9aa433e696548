r"""Formulas that vanish on the edges of a polygon.

The sign of a point is that of a combination of half-planes by R-functions, one for each edge, along the tree
of convex hulls: the hull is the intersection of what its edges cut off, and where the hull leaves the
polygon, the edges of that pocket are combined the other way (S. B. Tor, A. E. Middleditch, "Convex
decomposition of simple polygons", ACM Trans. Graph. 3, 1984; D. Dobkin, L. Guibas, J. Hershberger, J.
Snoeyink, "An efficient algorithm for finding the CSG representation of a simple polygon", SIGGRAPH 1988).

At a corner of angle :math:`\omega > \pi` a solution of an elliptic equation behaves like
:math:`r^{\pi/\omega} \cos(\pi\theta/\omega)`, :math:`\theta` from the bisector, and no smooth factor of a
polynomial does (P. Grisvard, "Elliptic problems in nonsmooth domains", 1985); so that is the factor there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pdeflow.problems.calculus import atan, cos, sqrt
from pdeflow.problems.r_functions import conjunction, disjunction

if TYPE_CHECKING:
    from pdeflow.problems.polygon import Polygon

_NEAR = 1e-9  # of the size of a polygon: what counts as on its boundary, or as no bend
_TINY = 1e-18  # the distance from a corner at the corner, where the angle has no value


def signed_distance(polygon: Polygon, at: Any) -> Any:
    """Positive inside, 0 on the boundary, negative outside."""
    outer, *holes = polygon.loops
    parts = [_of_loop(outer, at), *(-1.0 * _of_loop(hole[::-1], at) for hole in holes)]
    return _joined(parts, conjunction)


def vanishing(polygon: Polygon, at: Any, chosen: Collection[int]) -> Any:
    """Zero on the chosen edges, positive inside.

    A product of lines, and of the harmonic function of a corner for both edges of a re-entrant one. Where a
    line or a ray would come back into the polygon, instead the signed distance, if all edges are chosen; else
    the distance from the edge alone.
    """
    starts, ends = polygon.segments
    factors, left = [], set(chosen)
    for edge, before, angle in _corners(polygon):
        rays = ((starts[edge], ends[edge]), (ends[before], starts[before]))
        if (
            angle > math.pi * (1 + _NEAR)
            and {edge, before} <= left
            and not any(_comes_back(polygon, *ray, both=False) for ray in rays)
        ):
            factors.append(_corner(starts[edge], ends[edge] - starts[edge], angle, polygon.size, at))
            left -= {edge, before}
    for edge in sorted(left):
        if not _comes_back(polygon, starts[edge], ends[edge], both=True):
            factors.append(_line(starts[edge], ends[edge], at) / polygon.size)
        elif len(chosen) == len(starts):
            return signed_distance(polygon, at) / polygon.size
        else:
            factors.append(_segment(starts[edge], ends[edge], at) / polygon.size)
    return math.prod(factors[1:], start=factors[0]) if factors else 1.0


def _line(start: np.ndarray, end: np.ndarray, at: Any) -> Any:
    """The distance from a line, positive to its left."""
    dx, dy = (float(d) for d in (end - start) / np.hypot(*(end - start)))
    return dx * (at.y - float(start[1])) - dy * (at.x - float(start[0]))


def _segment(start: np.ndarray, end: np.ndarray, at: Any) -> Any:
    """About the distance from a segment (A. Biswas, V. Shapiro, Graph. Models 66, 2004)."""
    length, middle = float(np.hypot(*(end - start))), (start + end) / 2
    f = _line(start, end, at)
    away = (at.x - float(middle[0])) ** 2 + (at.y - float(middle[1])) ** 2
    t = (length**2 / 4 - away) / length
    return sqrt(f**2 + ((sqrt(t**2 + f**4) - t) / 2) ** 2)


def _corner(corner: np.ndarray, along: np.ndarray, angle: float, size: float, at: Any) -> Any:
    """``(r / size)^(pi / angle) cos(pi theta / angle)``, 0 on both edges of a corner."""
    bisector = math.atan2(along[1], along[0]) + angle / 2
    x, y = ((at.x - float(corner[0])) / size, (at.y - float(corner[1])) / size)
    ahead = math.cos(bisector) * x + math.sin(bisector) * y
    aside = math.cos(bisector) * y - math.sin(bisector) * x
    r = sqrt(ahead**2 + aside**2 + _TINY**2)
    theta = 2.0 * atan(aside / (r + ahead))
    power = math.pi / angle
    return r**power * cos(power * theta)


def _of_loop(loop: np.ndarray, at: Any) -> Any:
    """The signed distance from a loop that goes round counterclockwise."""
    start = int(np.lexsort(loop.T[::-1])[0])  # a corner of the hull
    return _of_chain(np.roll(loop, -start, axis=0)[[*range(len(loop)), 0]], conjunction, at)


def _of_chain(chain: np.ndarray, join: Callable[[Any, Any], Any], at: Any) -> Any:
    """Of a chain of edges whose ends are neighbours on its hull, or the same."""
    if len(chain) == 2:
        return _line(chain[0], chain[1], at)
    other = disjunction if join is conjunction else conjunction
    on_hull = _on_hull(chain)
    parts = [_of_chain(chain[i : j + 1], other, at) for i, j in itertools.pairwise(on_hull)]
    return _joined(parts, join)


def _on_hull(chain: np.ndarray) -> list[int]:
    """Which of the corners lie on the boundary of the hull of a chain."""
    from scipy.spatial import ConvexHull

    hull = ConvexHull(chain)
    outside = (chain @ hull.equations[:, :2].T + hull.equations[:, 2]).max(axis=1)
    return [int(k) for k in np.flatnonzero(outside >= -_NEAR * np.ptp(chain))]


def _joined(parts: Sequence[Any], join: Callable[[Any, Any], Any]) -> Any:
    """All parts, as a tree that is no deeper than it has to be."""
    if len(parts) == 1:
        return parts[0]
    half = len(parts) // 2
    return join(_joined(parts[:half], join), _joined(parts[half:], join))


def _corners(polygon: Polygon) -> list[tuple[int, int, float]]:
    """For each corner the edge that starts there, the one that ends there, and the angle inside."""
    starts, ends = polygon.segments
    found, first = [], 0
    for loop in polygon.loops:
        for k in range(len(loop)):
            edge, before = first + k, first + (k - 1) % len(loop)
            ahead, back = ends[edge] - starts[edge], starts[before] - ends[before]
            turned = math.atan2(back[1], back[0]) - math.atan2(ahead[1], ahead[0])
            found.append((edge, before, turned % (2 * math.pi)))
        first += len(loop)
    return found


def _comes_back(polygon: Polygon, start: np.ndarray, end: np.ndarray, *, both: bool) -> bool:
    """Whether a segment, prolonged beyond its end, or both of them, meets the polygon again."""
    a, b = polygon.segments
    along, size = end - start, polygon.size
    heights = [along[0] * (p[:, 1] - start[1]) - along[1] * (p[:, 0] - start[0]) for p in (a, b)]
    near = _NEAR * size * float(np.hypot(*along))
    places = [(p - start) @ along / (along @ along) for p in (a, b)]
    flat = np.abs(heights[0] - heights[1]) <= near
    share = np.where(flat, 0.0, heights[0] / np.where(flat, 1.0, heights[0] - heights[1]))
    meets = ~flat & (share >= -_NEAR) & (share <= 1 + _NEAR)
    crossings = (places[0] + share * (places[1] - places[0]))[meets]
    on_it = [place[np.abs(height) <= near] for place, height in zip(places, heights)]
    marks = np.unique(np.concatenate([crossings, *on_it, [0.0, 1.0]]))
    middles = (marks[:-1] + marks[1:]) / 2
    beyond = middles[(np.diff(marks) > _NEAR) & ((middles > 1) | (both & (middles < 0)))]
    points = start + beyond[:, None] * along
    if not len(points):
        return False
    return bool((polygon.contains(points) | (polygon.distance(points) < _NEAR * size)).any())
