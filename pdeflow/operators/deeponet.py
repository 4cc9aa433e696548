"""The deep operator network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pdeflow.errors import InvalidInput
from pdeflow.operators.branch_trunk import BranchTrunkOperator
from pdeflow.operators.fourier import Positions
from pdeflow.operators.mlp import mlp


class DeepONet(BranchTrunkOperator):
    """Deep operator network: ``G(u)(y) = sum_k b_k(u(x_1), ..., u(x_m)) t_k(y) + b_0``.

    The branch, a fully connected network, reads the input at the sensors ``x_1, ..., x_m`` and gives
    the coefficients ``b_k`` of the output in the basis ``t_k``, which the trunk, another one, gives at
    a place ``y`` in [0, 1]^d. Several outputs share the basis and have coefficients of their own.

    Input ``(batch, in_channels, *points)``, output ``(batch, out_channels, *points)``, float32, in 1D to
    3D. On a grid that is not the sensors' the input is interpolated linearly to the sensors, without
    error where they are among the nodes, and the trunk is asked at the nodes of that grid.

    Parameters
    ----------
    sensors
        Nodes along each axis of the grid at which the branch reads, as a rule the one trained on.
    width
        Numbers in each hidden layer of the branch and of the trunk.
    layers
        Hidden layers of the branch and of the trunk.
    basis
        Number of functions ``t_k``.
    in_channels, out_channels
        Number of functions read and given.
    positions
        ``bounded`` for grids that include both ends of each axis; ``periodic`` for grids that leave the
        upper end out, where the trunk reads the cosine and the sine of ``2 pi y``.

    Raises
    ------
    InvalidInput
        For settings out of range; in ``check`` and on a call, for a tensor it cannot take.

    References
    ----------
    Lu, Jin, Pang, Zhang, Karniadakis: Learning nonlinear operators via DeepONet based on the universal
    approximation theorem of operators. Nature Machine Intelligence 3, 2021. arXiv:1910.03193. Several
    outputs and periodic places: Lu et al., A comprehensive and fair comparison of two neural operators.
    CMAME 393, 2022. arXiv:2111.05512.
    """

    def __init__(
        self,
        sensors: list[int],
        width: int = 128,
        layers: int = 3,
        basis: int = 128,
        in_channels: int = 1,
        out_channels: int = 1,
        positions: Positions = "bounded",
    ) -> None:
        if basis < 1:
            raise InvalidInput("model.basis", basis, "at least 1")
        settings = {
            "sensors": list(sensors),
            "width": width,
            "layers": layers,
            "basis": basis,
            "in_channels": in_channels,
            "out_channels": out_channels,
            "positions": positions,
        }
        super().__init__(settings)
        hidden = [width] * layers
        self.branch = mlp([self.branch_reads, *hidden, out_channels * basis])
        self.trunk = mlp([self.trunk_reads, *hidden, basis])
        self.bias = nn.Parameter(torch.zeros(out_channels, 1))

    def combine(self, values: Tensor, places: Tensor) -> Tensor:
        """The sum over the basis."""
        coefficients = self.branch(values).unflatten(1, (self.out_channels, -1))
        return coefficients @ self.trunk(places).T + self.bias
