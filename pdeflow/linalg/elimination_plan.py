"""The order in which the points of a plane grid are eliminated, and the bookkeeping of doing it by fronts."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

LEAF = 16  # points up to which a part of the grid is eliminated as a whole
COLUMNS = 13  # of the table, as in native/nested_dissection.c


@dataclass(frozen=True)
class Front:
    """Points that are eliminated together, and those that they are coupled to then; natural numbers."""

    pivots: np.ndarray
    border: np.ndarray
    children: tuple[int, ...]


def dissection(shape: tuple[int, int], corners: bool) -> list[Front]:
    """The fronts of a grid in their order: halves before the line of points that parts them.

    Parameters
    ----------
    shape
        Points along both axes.
    corners
        Whether points are coupled across corners too.
    """
    fronts: list[Front] = []
    rows, columns = shape

    def border(top: int, bottom: int, left: int, right: int) -> np.ndarray:
        i, parts = np.arange(top, bottom), []
        for outside, there in ((top - 1, top > 0), (bottom, bottom < rows)):
            if there:
                low, high = left - corners, right + corners
                parts.append(outside * columns + np.arange(max(low, 0), min(high, columns)))
        for outside, there in ((left - 1, left > 0), (right, right < columns)):
            if there:
                parts.append(i * columns + outside)
        return np.concatenate([np.empty(0, dtype=np.int64), *parts])

    def add(top: int, bottom: int, left: int, right: int) -> int:
        height, width = bottom - top, right - left
        children: list[int] = []
        if height * width <= LEAF or max(height, width) < 3:
            i, j = np.arange(top, bottom)[:, None], np.arange(left, right)
        elif height >= width:
            line = (top + bottom) // 2
            children = [add(top, line, left, right), add(line + 1, bottom, left, right)]
            i, j = np.array([[line]]), np.arange(left, right)
        else:
            line = (left + right) // 2
            children = [add(top, bottom, left, line), add(top, bottom, line + 1, right)]
            i, j = np.arange(top, bottom)[:, None], np.array([line])
        fronts.append(Front((i * columns + j).ravel(), border(top, bottom, left, right), tuple(children)))
        return len(fronts) - 1

    add(0, rows, 0, columns)
    order = np.concatenate([front.pivots for front in fronts])
    number = np.empty_like(order)
    number[order] = np.arange(order.size)
    return [Front(f.pivots, f.border[np.argsort(number[f.border])], f.children) for f in fronts]


@dataclass(frozen=True)
class EliminationPlan:
    """What the elimination of all matrices of a pattern has in common; see the table in the C source.

    Attributes
    ----------
    fronts
        The points of all fronts.
    table, front, source, target, map
        As the loops take them.
    total
        Numbers in the factors of a system.
    largest, stack
        Points of the largest front; numbers in the update matrices that wait at a time.
    """

    fronts: list[Front]
    table: Tensor
    front: Tensor
    source: Tensor
    target: Tensor
    map: Tensor
    total: int
    largest: int
    stack: int


@functools.lru_cache(maxsize=8)
def elimination_plan(
    shape: tuple[int, int], offsets: tuple[tuple[int, int], ...], symmetric: bool
) -> EliminationPlan:
    """The plan of stencils with these offsets; of symmetric ones the part above the diagonal is kept."""
    n, columns = shape[0] * shape[1], shape[1]
    steps = np.array(offsets)
    fronts = dissection(shape, corners=any(a and b for a, b in offsets))
    table = np.zeros((len(fronts), COLUMNS), dtype=np.int64)
    place = np.full(n, -1, dtype=np.int64)
    places, sources, targets, maps = [], [], [], []
    at, done = {"front": 0, "assembly": 0, "map": 0, "kept": 0}, 0
    top, deepest, left = 0, 0, np.zeros(len(fronts), dtype=np.int64)
    for k, front in enumerate(fronts):
        points = np.concatenate([front.pivots, front.border])
        s, m = front.pivots.size, points.size
        place[points] = np.arange(m)
        entry = table[k]
        entry[:4] = s, m, at["front"], at["assembly"]
        i, j = np.divmod(front.pivots, columns)
        for turned in (False,) if symmetric else (False, True):
            # The entries of row p and column p + o, or, turned, those of row p - o and column p.
            sign = -1 if turned else 1
            row, column = i + sign * steps[:, :1], j + sign * steps[:, 1:]
            slots, pivots = np.nonzero((row >= 0) & (row < shape[0]) & (column >= 0) & (column < columns))
            here, there = front.pivots[pivots], (row * columns + column)[slots, pivots]
            # Those that are not in the front have been eliminated; a pair of pivots is met twice.
            least = place[here] if symmetric else s if turned else 0
            kept = place[there] >= least
            here, there, slots = here[kept], there[kept], slots[kept]
            if turned:
                here, there = there, here
            sources.append(slots * n + here)
            targets.append(place[here] * m + place[there])
        at["assembly"] += sum(part.size for part in sources[done:])
        done = len(sources)
        entry[4], entry[5] = at["assembly"], at["kept"]
        for number, child in enumerate(front.children):
            border = fronts[child].border
            entry[7 + 3 * number : 10 + 3 * number] = border.size, at["map"], left[child]
            maps.append(place[border])
            at["map"] += border.size
        if front.children:
            top = left[front.children[0]]
        left[k] = entry[6] = top
        top += (m - s) ** 2
        deepest = max(deepest, top)
        places.append(points)
        at["front"] += m
        at["kept"] += s * m + (0 if symmetric else (m - s) * s)
        place[points] = -1

    def narrow(parts: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.concatenate([np.empty(0, dtype=np.int64), *parts]).astype(np.int32))

    return EliminationPlan(
        fronts,
        table=torch.from_numpy(table),
        front=narrow(places),
        source=narrow(sources),
        target=narrow(targets),
        map=narrow(maps),
        total=at["kept"],
        largest=int(table[:, 1].max()),
        stack=int(deepest),
    )
