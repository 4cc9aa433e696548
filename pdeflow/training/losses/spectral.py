"""The loss that keeps short waves from being drowned by long ones."""

from __future__ import annotations

import torch
from torch import Tensor

from pdeflow.grid import Grid
from pdeflow.mesh_nodes import MeshNodes
from pdeflow.training.losses.loss import Loss
from pdeflow.training.sobolev_norm import normal_modes
from pdeflow.training.spectral_error import BANDS


class Spectral(Loss):
    r"""Mean over samples of :math:`\sum_b \|P_b(p - t)\| / \|t\|`, with b the bands of wave numbers of fRMSE.

    :math:`P_b` keeps the modes of a band: below 4 periods of the box, below 12, and the rest. The sum of
    norms, where L2 has the root of the sum of squares, lies between L2 and :math:`\sqrt 3` times that, and
    its gradient in a band does not fade beside a larger error in another. The wave number of a mode is the
    length of the vector of its periods along each axis; modes are Fourier's on axes that wrap and cosines, in
    half periods, on bounded ones. The norms are taken over all channels together, in float64. A target that
    is zero everywhere gives no finite loss, as in RelativeL2.

    Raises
    ------
    InvalidInput
        On a call, for data on meshes.

    References
    ----------
    The bands: M. Takamoto et al., "PDEBench", NeurIPS 2022 (arXiv:2210.07182).
    """

    def __call__(self, prediction: Tensor, target: Tensor, grid: Grid | MeshNodes) -> Tensor:
        """The mean over the batch; shapes as in Loss."""
        error, _ = normal_modes(prediction - target, grid)
        truth, _ = normal_modes(target, grid)
        assert isinstance(grid, Grid)
        square = error.square().sum(1)
        periods = _periods(grid, square.device)
        norms = square.new_zeros(len(square))
        for start, stop in BANDS.values():
            inside = (periods >= start) & (periods < (stop or torch.inf))
            # The root has no slope at 0, which is what a band without modes would give.
            if start <= _highest(grid):
                norms = norms + torch.where(inside, square, 0.0).flatten(1).sum(1).sqrt()
        return (norms / truth.flatten(1).norm(dim=1)).mean().to(prediction.dtype)


def _periods(grid: Grid, device: torch.device) -> Tensor:
    """The wave number of each mode of `normal_modes`, (*grid.shape)."""
    waves = []
    for n, wraps in zip(grid.shape, grid.periodic):
        count = torch.arange(n, dtype=torch.float64, device=device)
        waves.append(torch.minimum(count, n - count) if wraps else count / 2)
    # The small addend keeps a whole number such as |k| = 5 = sqrt(3^2 + 4^2) on its own side of an edge.
    return torch.stack(torch.meshgrid(*waves, indexing="ij")).square().sum(0).sqrt() + 1e-9


def _highest(grid: Grid) -> float:
    """The largest of `_periods`, known without looking at them."""
    highest = [n // 2 if wraps else (n - 1) / 2 for n, wraps in zip(grid.shape, grid.periodic)]
    return sum(k**2 for k in highest) ** 0.5 + 1e-9
