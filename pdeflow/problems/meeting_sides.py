"""Where the sides of a domain meet."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from pdeflow.problems.domain import Domain, Piece
from pdeflow.problems.space_filling import space_filling

_PLACES = 256
"""Points of a piece from which it is looked, of a surface four times as many."""
_STEPS = 60
"""Of an iteration that halves what is left at worst, where pieces touch in a point without crossing."""
_ROUNDING = 1e-15
"""Steps that are no longer, in the coordinates of pieces, are the last ones."""
_DIFFERENCE = 1e-6
"""For slopes along pieces, in their own coordinates."""
_NEAR = 1e-9
"""How near to each other two points are the same, in diagonals of the box around the domain."""

Places: TypeAlias = list[tuple[Piece, np.ndarray, np.ndarray]]
"""For each piece of a side its coordinates (n, dim - 1) and points (n, dim) of the boundary."""


def places(domain: Domain, side: str) -> Places:
    """Points of a side, as `meeting_points` takes them."""
    unit = space_filling("halton", _PLACES * 4 ** (domain.dim - 2), domain.dim - 1, np.random.SeedSequence(0))
    found = []
    for piece in domain.pieces():
        if piece.side == side:
            points, normals = piece.place(unit)
            kept = domain.on_boundary(points, normals)
            if kept.any():
                found.append((piece, unit[kept], points[kept]))
    return found


def meeting_points(domain: Domain, one: Places, two: Places) -> np.ndarray:
    """Points (n, dim) where two sides meet, in space some of each edge; none where they do not.

    Pairs of points of two pieces that are near to each other are moved along the pieces by steps of Gauss and
    Newton, until they are one.

    Parameters
    ----------
    domain
        In two or three dimensions.
    one, two
        What `places` gives of the sides.
    """
    from scipy.spatial import KDTree

    diagonal = float(np.linalg.norm(np.subtract(domain.upper, domain.lower)))
    found = [np.empty((0, domain.dim))]
    for piece, unit, points in one:
        for other, other_unit, other_points in two:
            gaps, nearest = KDTree(other_points).query(points)
            reach = 2.0 * (_spacing(points) + _spacing(other_points))
            near = gaps <= reach
            if not near.any():
                continue
            start = np.concatenate([unit, other_unit[nearest]], axis=1)[near]
            ends, apart = _moved_together(piece, other, start)
            moved = np.linalg.norm(ends - points[near], axis=1)
            kept = (apart <= _NEAR * diagonal) & (moved <= reach) & domain.reaches(ends)
            found.append(ends[kept])
    all_found = np.concatenate(found)
    _, first = np.unique(np.round(all_found / (1e3 * _NEAR * diagonal)), axis=0, return_index=True)
    return all_found[np.sort(first)]


def _spacing(points: np.ndarray) -> float:
    """The largest distance of one of the points (n, dim) from its nearest neighbour; of a single one, inf."""
    from scipy.spatial import KDTree

    return float(KDTree(points).query(points, k=2)[0][:, 1].max())


def _moved_together(one: Piece, two: Piece, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points (n, dim) of the first piece, and how far (n,) from them those of the second are left.

    Starts (n, 2 (dim - 1)) are coordinates on both pieces, which are kept between 0 and 1.
    """
    half = start.shape[1] // 2

    def apart(x: np.ndarray) -> np.ndarray:
        return one.place(x[:, :half])[0] - two.place(x[:, half:])[0]

    x = start
    for _ in range(_STEPS):
        columns = []
        for k in range(x.shape[1]):
            low, high = x.copy(), x.copy()
            low[:, k], high[:, k] = np.maximum(x[:, k] - _DIFFERENCE, 0), np.minimum(x[:, k] + _DIFFERENCE, 1)
            columns.append((apart(high) - apart(low)) / (high - low)[:, k, None])
        jacobian = np.stack(columns, axis=2)
        before = x
        x = np.clip(x - (np.linalg.pinv(jacobian) @ apart(x)[:, :, None])[:, :, 0], 0.0, 1.0)
        if np.abs(x - before).max() < _ROUNDING:
            break
    return one.place(x[:, :half])[0], np.linalg.norm(apart(x), axis=1)
