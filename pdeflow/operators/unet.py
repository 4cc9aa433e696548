"""The U-Net."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from pdeflow.errors import InvalidInput
from pdeflow.operators.operator import Operator

_CONVOLUTION = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_POOLING = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
_INTERPOLATION = {1: "linear", 2: "bilinear", 3: "trilinear"}


class UNet(Operator):
    """U-Net: convolutions on the grid and on ever coarser ones, joined again on the way back.

    Twice a convolution of 3 nodes an axis, normalisation and ReLU; then the maximum of each two nodes,
    ``depth`` times, while the channels double. On the way back the function is interpolated linearly
    to the finer grid, beside what was there before, and again two convolutions follow. The
    normalisation is by sample (group norm), so that a sample does not depend on its batch.

    A baseline, not a map between functions: its kernels are a number of nodes wide, and on a finer grid
    see less of the domain. It takes any grid, but expect the error to grow away from the one trained on.

    Input ``(batch, in_channels, *points)``, output ``(batch, out_channels, *points)``, float32, in 1D to
    3D, with at least ``2^(depth + 1)`` points along each axis.

    Parameters
    ----------
    dim
        Number of axes, 1 to 3.
    width
        Channels on the finest grid.
    depth
        How often the grid is halved.
    in_channels, out_channels
        Number of functions read and given.
    periodic
        Whether the convolutions wrap around all axes; otherwise they see zeros beyond the ends.

    Raises
    ------
    InvalidInput
        For settings out of range; in ``check`` and on a call, for a tensor it cannot take.

    References
    ----------
    Ronneberger, Fischer, Brox: U-Net: convolutional networks for biomedical image segmentation. MICCAI
    2015. arXiv:1505.04597.
    """

    def __init__(
        self,
        dim: int,
        width: int = 32,
        depth: int = 3,
        in_channels: int = 1,
        out_channels: int = 1,
        periodic: bool = False,
    ) -> None:
        if not 1 <= dim <= 3:
            raise InvalidInput("model.dim", dim, "1, 2 or 3")
        for name, value in (("width", width), ("depth", depth)):
            if value < 1:
                raise InvalidInput(f"model.{name}", value, "at least 1")
        settings = {
            "dim": dim,
            "width": width,
            "depth": depth,
            "in_channels": in_channels,
            "out_channels": out_channels,
            "periodic": periodic,
        }
        super().__init__(settings, dim=dim, in_channels=in_channels, out_channels=out_channels)
        self.depth = depth
        channels = [width << level for level in range(depth + 1)]
        self.halve = _POOLING[dim](2)
        self.down = nn.ModuleList(
            _convolutions(dim, read, given, periodic)
            for read, given in zip([in_channels, *channels], channels)
        )
        self.up = nn.ModuleList(
            _convolutions(dim, coarse + fine, fine, periodic) for fine, coarse in pairwise(channels)
        )
        self.projection = _CONVOLUTION[dim](width, out_channels, 1)

    def check_resolution(self, points: Sequence[int]) -> None:
        """Raise InvalidInput where fewer than two nodes would be left on the coarsest grid."""
        least = 2 << self.depth
        for axis, count in enumerate(points):
            if count < least:
                raise InvalidInput(
                    f"resolution of axis {axis}",
                    count,
                    f"at least {least} points, which are halved {self.depth} times",
                    "Use a finer grid, or a smaller model.depth.",
                )

    def evaluate(self, x: Tensor) -> Tensor:
        """Down, keeping what each grid saw, and up again."""
        seen = []
        for level, convolutions in enumerate(self.down):
            x = convolutions(self.halve(x) if level else x)
            seen.append(x)
        for level in reversed(range(self.depth)):
            finer = interpolate(x, size=seen[level].shape[2:], mode=_INTERPOLATION[self.dim])
            x = self.up[level](torch.cat((seen[level], finer), dim=1))
        return self.projection(x)


def _convolutions(dim: int, read: int, given: int, periodic: bool) -> nn.Sequential:
    mode = "circular" if periodic else "zeros"
    layers: list[nn.Module] = []
    for channels in (read, given):
        convolution = _CONVOLUTION[dim](channels, given, 3, padding=1, padding_mode=mode, bias=False)
        layers += [convolution, nn.GroupNorm(1, given), nn.ReLU()]
    return nn.Sequential(*layers)
