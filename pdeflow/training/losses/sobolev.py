"""The relative loss in a Sobolev norm of any order, negative ones among them."""

from __future__ import annotations

from typing import get_args

from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.mesh_nodes import MeshNodes
from pdeflow.training.losses.loss import Loss
from pdeflow.training.sobolev_norm import Sides, squared_sobolev


class Sobolev(Loss):
    r"""Mean over samples of ``||p - t||_s / ||t||_s`` in the norm of :math:`H^s`, :math:`H^{-1}` by default.

    :math:`\|u\|_s^2 = (u, (I - \Delta_h)^s u)`, with the second differences of the grid, worked out by
    cosines, sines or Fourier modes as the sides are; the norm is taken over all channels together. A negative
    order weighs long waves, a positive one short waves: 1 is close to H1, and 0 is L2 on axes that wrap; on
    bounded ones the nodes on a side count half (``free``) or not at all (``zero``), and in L2 as all others.
    Computed in float64. A target that is zero everywhere gives no finite loss, as in RelativeL2.

    Parameters
    ----------
    order
        s, from -2 to 2.
    sides
        Of bounded axes: ``free`` (the dual of all functions with slopes), or ``zero`` (the dual of those that
        vanish on the sides; what prediction and target are there does not count).

    Raises
    ------
    InvalidInput
        For an order or sides out of range; on a call, for data on meshes, and for no node between two sides.

    References
    ----------
    Negative norms as losses: S. Cao, F. Brarda, R. Li, Y. Xi, "Spectral-Refiner", ICLR 2025
    (arXiv:2405.17211).
    """

    def __init__(self, order: float = -1.0, sides: Sides = "free") -> None:
        if not -2 <= order <= 2:
            raise InvalidInput("loss.order", order, "a number from -2 to 2")
        if sides not in get_args(Sides):
            raise InvalidInput("loss.sides", sides, "free or zero", choices=get_args(Sides))
        self.order = order
        self.sides: Sides = sides

    def __call__(self, prediction: Tensor, target: Tensor, grid: Grid | MeshNodes) -> Tensor:
        """The mean over the batch; shapes as in Loss."""
        square = squared_sobolev(prediction - target, grid, self.order, self.sides)
        ratio = square / squared_sobolev(target, grid, self.order, self.sides)
        return ratio.sqrt().mean().to(prediction.dtype)
