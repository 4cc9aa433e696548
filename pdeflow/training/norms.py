"""Norms of a sample, the part that losses and metrics share."""

from __future__ import annotations

from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.mesh_nodes import MeshNodes
from pdeflow.training.derivative import gradient


def squared_l2(u: Tensor, grid: Grid | MeshNodes) -> Tensor:
    """Mean over the domain of ``|u|^2``, summed over channels: ``(batch, channels, *shape) -> (batch,)``.

    On meshes ``u`` is (nodes, channels) of all samples, and nodes count by the area they stand for.
    """
    if isinstance(grid, MeshNodes):
        return grid.mean(u.square().sum(1, keepdim=True))[:, 0]
    nodes = u[0, 0].numel()
    return u.flatten(1).square().sum(1) / nodes


def squared_h1(u: Tensor, grid: Grid | MeshNodes, *, spectral: bool = False) -> Tensor:
    """``squared_l2(u)`` plus that of every partial derivative: ``(batch, channels, *shape) -> (batch,)``.

    Raises
    ------
    InvalidInput
        On meshes, whose derivatives are not taken.
    """
    if isinstance(grid, MeshNodes):
        raise InvalidInput(
            "loss", "H1", "a loss of values alone, for these data are on meshes", "Use {loss: L2}."
        )
    total = squared_l2(u, grid)
    for derivative in gradient(u, grid, spectral=spectral):
        total = total + squared_l2(derivative, grid)
    return total
