"""The relative L2 loss."""

from __future__ import annotations

from torch import Tensor

from pdeflow.grid import Grid
from pdeflow.mesh_nodes import MeshNodes
from pdeflow.training.losses.loss import Loss
from pdeflow.training.norms import squared_l2


class RelativeL2(Loss):
    """Mean over samples of ``||p - t|| / ||t||``, the norms taken over all channels and nodes together,
    on meshes with the areas that nodes stand for as weights.

    A target that is zero everywhere has no relative error: the loss is then infinite or NaN, and the
    NonFiniteLoss callback names the sample.
    """

    def __call__(self, prediction: Tensor, target: Tensor, grid: Grid | MeshNodes) -> Tensor:
        """The mean over the batch; shapes as in Loss."""
        return (squared_l2(prediction - target, grid) / squared_l2(target, grid)).sqrt().mean()


class L2(RelativeL2):
    """RelativeL2 under the short name that configs use beside H1."""
