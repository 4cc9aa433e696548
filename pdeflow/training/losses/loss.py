"""What every loss is."""

from __future__ import annotations

import abc

from torch import Tensor

from pdeflow.grid import Grid
from pdeflow.mesh_nodes import MeshNodes


class Loss(abc.ABC):
    """A number to be made small, from a prediction and the truth, both in physical units."""

    @abc.abstractmethod
    def __call__(self, prediction: Tensor, target: Tensor, grid: Grid | MeshNodes) -> Tensor:
        """The loss of a batch.

        Parameters
        ----------
        prediction, target
            ``(batch, channels, *grid.shape)``, of the same floating-point dtype; on meshes (nodes, channels).
        grid
            Where the samples lie.

        Returns
        -------
        Tensor
            A scalar: the mean over the samples of the batch.
        """
