"""The multi-layer deep operator network."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from pdeflow.operators.branch_trunk import BranchTrunkOperator
from pdeflow.operators.fourier import Positions


class MultiONet(BranchTrunkOperator):
    """DeepONet that averages over layers: ``G(u)(y) = 1/L sum_l <w_l, b_l(u) * t_l(y)> + b_0``.

    ``b_l`` and ``t_l``, vectors of ``width`` numbers, are what layer ``l`` of the branch and of the
    trunk gives: each layer's product is an answer already, and the output is the mean of all. The
    weights ``w_l``, published as ones, are learned: they are what tells several outputs apart.

    Input, output, sensors and other grids are as in ``DeepONet``.

    Parameters
    ----------
    sensors, in_channels, out_channels, positions
        As in ``DeepONet``.
    width
        Numbers in each layer of the branch and of the trunk.
    layers
        Layers ``L`` of the branch and of the trunk.

    Raises
    ------
    InvalidInput
        As ``DeepONet``.

    References
    ----------
    Zang, Koutsourelakis: DGenNO: a novel physics-aware neural operator for solving forward and inverse
    PDE problems based on deep, generative probabilistic modeling. 2025. arXiv:2502.06250.
    """

    def __init__(
        self,
        sensors: list[int],
        width: int = 128,
        layers: int = 5,
        in_channels: int = 1,
        out_channels: int = 1,
        positions: Positions = "bounded",
    ) -> None:
        settings = {
            "sensors": list(sensors),
            "width": width,
            "layers": layers,
            "in_channels": in_channels,
            "out_channels": out_channels,
            "positions": positions,
        }
        super().__init__(settings)
        hidden = [width] * layers
        self.branch = _affine_maps([self.branch_reads, *hidden])
        self.trunk = _affine_maps([self.trunk_reads, *hidden])
        self.weights = nn.Parameter(torch.randn(layers, out_channels, width))
        self.bias = nn.Parameter(torch.zeros(out_channels, 1))

    def combine(self, values: Tensor, places: Tensor) -> Tensor:
        """The mean over the layers."""
        answers = []
        for branch, trunk, weights in zip(self.branch, self.trunk, self.weights):
            values, places = gelu(branch(values)), gelu(trunk(places))
            answers.append(values.unsqueeze(1) * weights @ places.T)
        return torch.stack(answers).mean(0) + self.bias


def _affine_maps(sizes: list[int]) -> nn.ModuleList:
    return nn.ModuleList(nn.Linear(read, given) for read, given in pairwise(sizes))
