"""Interpolation of a function from the nodes of one grid to those of another of the same box."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def interpolate(x: Tensor, points: Sequence[int], periodic: Sequence[bool], degree: int) -> Tensor:
    """The tensor product of piecewise Lagrange interpolation with polynomials of ``degree`` 1 or 3.

    Along each axis a new node takes the polynomial through the ``degree + 1`` nearest old nodes, as many on
    its left as on its right where the axis does not end. A node that both grids have keeps its value. The
    error falls as the spacing to the power ``degree + 1`` where the function is smooth.

    Parameters
    ----------
    x
        ``(batch, channels, *old_points)``; an axis to be changed has at least ``degree + 1`` nodes.
    points
        Nodes of the new grid. Bounded axes include both ends, periodic ones leave the upper one out.
    periodic
        Whether each axis wraps around.
    degree
        1 or 3.

    Returns
    -------
    Tensor
        ``(batch, channels, *points)``, of the dtype of x.
    """
    for axis, (n, wraps) in enumerate(zip(points, periodic), start=2):
        if x.shape[axis] != n:
            weights = _weights(x.shape[axis], n, wraps, degree, x)
            x = F.linear(x.movedim(axis, -1), weights).movedim(-1, axis)
    return x


def _weights(old: int, new: int, wraps: bool, degree: int, like: Tensor) -> Tensor:
    """``(new, old)``: what each old node adds to each new one."""
    cells = (old, new) if wraps else (old - 1, new - 1)
    # The place of node j is j * cells[0] / cells[1] in units of the old spacing, kept in whole numbers, so
    # that shared nodes are met exactly.
    scaled = torch.arange(new, device=like.device) * cells[0]
    first = torch.div(scaled, cells[1], rounding_mode="floor") - (degree - 1) // 2
    if not wraps:
        first = first.clamp(0, old - 1 - degree)
    place = (scaled - first * cells[1]).to(like.dtype) / cells[1]
    weights = torch.zeros(new, old, dtype=like.dtype, device=like.device)
    for node in range(degree + 1):
        value = torch.ones_like(place)
        for other in range(degree + 1):
            if other != node:
                value = value * (place - other) / (node - other)
        weights.scatter_add_(1, ((first + node) % old)[:, None], value[:, None])
    return weights
