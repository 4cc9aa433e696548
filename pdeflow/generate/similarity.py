"""An order of the samples in which neighbours have similar parameters.

The systems of a chain in this order differ little, so that what a solver carries along fits: S. Wang, Z. Hao,
J. Wang et al., "Accelerating Data Generation for Neural Operators via Krylov Subspace Recycling", ICLR 2024,
algorithm 1. Up to some thousands of samples the order is greedy: from the first sample on, always the nearest
that is left. Beyond, the samples are put along a Hilbert curve through the plane of their two principal
components, cut into pieces, and each piece is ordered greedily.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

GREEDY = 4096  # samples whose distances, all to all, are looked at
MODES = 8  # along each axis, of the Fourier coefficients that stand for a field
HILBERT_BITS = 12


def low_frequencies(parameters: Mapping[str, Tensor], dim: int) -> list[Tensor]:
    """What the distance of two samples is taken of: ``(n, numbers)`` in double precision for each parameter.

    A number stands for itself, and a field, ``(n, *shape)``, for its Fourier coefficients of low frequency.
    """
    parts = []
    for values in parameters.values():
        values = values.to(device="cpu", dtype=torch.float64)
        if values.ndim == 1:
            parts.append(values[:, None])
            continue
        axes = tuple(range(1, dim + 1))
        spectrum = torch.fft.rfftn(values, dim=axes, norm="ortho")
        for axis in axes:
            count = spectrum.shape[axis]
            # Along the last axis a real field has no others; along these the negative ones come last.
            negative = 0 if axis == dim else max(0, min(MODES - 1, count - MODES))
            parts_kept = [spectrum.narrow(axis, 0, min(MODES, count))]
            parts_kept += [spectrum.narrow(axis, count - negative, negative)] if negative else []
            spectrum = torch.cat(parts_kept, axis)
        parts.append(torch.view_as_real(spectrum).flatten(1))
    return parts


def standardised(pieces: Sequence[Sequence[Tensor]]) -> Tensor:
    """The parameters of all pieces side by side, ``(n, numbers)``, each with a total variance of one."""
    columns = []
    for parts in zip(*pieces):
        values = torch.cat(parts)
        values = values - values.mean(0)
        spread = values.square().sum(1).mean().sqrt()
        columns.append(values / spread if spread > 0 else values)
    return torch.cat(columns, 1)


def similar_order(points: Tensor) -> list[int]:
    """The rows of ``points``, (n, numbers), so that neighbours are near each other; the first one is 0."""
    n = points.shape[0]
    if n <= GREEDY:
        return greedy_order(points, 0)
    centred = points - points.mean(0)
    plane = centred @ torch.linalg.svd(centred, full_matrices=False)[2][:2].mT
    if plane.shape[1] < 2:
        plane = torch.cat([plane, torch.zeros_like(plane)], 1)
    low, high = plane.amin(0), plane.amax(0)
    cells = (plane - low) / torch.where(high > low, high - low, torch.ones_like(low)) * (2**HILBERT_BITS - 1)
    along = np.argsort(hilbert_index(cells.round().to(torch.int64).numpy()), kind="stable")
    # The curve is a loop cut open at sample 0, so that the order begins there.
    along = np.roll(along, -int(np.flatnonzero(along == 0)[0]))
    order: list[int] = []
    for piece in np.array_split(along, -(-n // GREEDY)):
        rows = points[torch.from_numpy(piece)]
        first = 0 if not order else int((rows - points[order[-1]]).square().sum(1).argmin())
        order += [int(piece[i]) for i in greedy_order(rows, first)]
    return order


def greedy_order(points: Tensor, first: int) -> list[int]:
    """From ``first`` on always the nearest of those that are left; the lower number where two are as near."""
    left = torch.ones(points.shape[0], dtype=torch.bool)
    order = [first]
    left[first] = False
    squares = points.square().sum(1)
    for _ in range(points.shape[0] - 1):
        distance = squares - 2 * (points @ points[order[-1]])
        nearest = int(torch.where(left, distance, float("inf")).argmin())
        order.append(nearest)
        left[nearest] = False
    return order


def hilbert_index(cells: np.ndarray) -> np.ndarray:
    """The place along the Hilbert curve of cells ``(n, 2)`` of a square of ``2**HILBERT_BITS`` cells a side.

    The algorithm of J. K. Lawder, "Calculation of mappings between one and n-dimensional values using the
    Hilbert space-filling curve", Birkbeck College 2000, in its well-known form for the plane.
    """
    x, y = cells[:, 0].copy(), cells[:, 1].copy()
    index = np.zeros(len(cells), dtype=np.int64)
    side = 2 ** (HILBERT_BITS - 1)
    while side > 0:
        right, up = (x & side) > 0, (y & side) > 0
        index += side * side * ((3 * right) ^ up.astype(np.int64))
        mirrored = ~up & right
        x, y = np.where(mirrored, side - 1 - x, x), np.where(mirrored, side - 1 - y, y)
        x, y = np.where(~up, y, x), np.where(~up, x, y)
        x, y = x & (side - 1), y & (side - 1)
        side //= 2
    return index
