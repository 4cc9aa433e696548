"""The relative H1 loss."""

from __future__ import annotations

from torch import Tensor

from pdeflow.grid import Grid
from pdeflow.mesh_nodes import MeshNodes
from pdeflow.training.losses.loss import Loss
from pdeflow.training.norms import squared_h1


class H1(Loss):
    """Mean over samples of ``||p - t||_H1 / ||t||_H1`` with ``||u||_H1^2 = ||u||^2 + sum_axes ||du/dx||^2``.

    Derivatives are finite differences per unit of length (``derivative.gradient``); the norms are
    taken over all channels and nodes together. A target that is zero everywhere gives no finite loss,
    as in RelativeL2. Not for meshes: InvalidInput.
    """

    def __call__(self, prediction: Tensor, target: Tensor, grid: Grid | MeshNodes) -> Tensor:
        """The mean over the batch; shapes as in Loss."""
        return (squared_h1(prediction - target, grid) / squared_h1(target, grid)).sqrt().mean()
