"""Norms of a sample, the part that losses and metrics share."""

from __future__ import annotations

from torch import Tensor

from pdeflow.grid import Grid
from pdeflow.training.derivative import gradient


def squared_l2(u: Tensor) -> Tensor:
    """Mean over nodes of ``|u|^2``, summed over channels: ``(batch, channels, *shape) -> (batch,)``."""
    nodes = u[0, 0].numel()
    return u.flatten(1).square().sum(1) / nodes


def squared_h1(u: Tensor, grid: Grid, *, spectral: bool = False) -> Tensor:
    """``squared_l2(u)`` plus that of every partial derivative: ``(batch, channels, *shape) -> (batch,)``."""
    total = squared_l2(u)
    for derivative in gradient(u, grid, spectral=spectral):
        total = total + squared_l2(derivative)
    return total
