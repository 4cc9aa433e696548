"""The differential kernel of LocalNO; imports neuraloperator, so itself imported on first use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from neuralop.layers.differential_conv import FiniteDifferenceConvolution
from torch import Tensor

from pdeflow.operators.spectral_convolution import SpectralConvolution


class SpectralAndDifferential(SpectralConvolution):
    """``K v + D v``: the spectral convolution beside one of three nodes an axis whose weights sum to zero.

    The second is divided by the spacing of the nodes, in units of ``unit``.

    Parameters
    ----------
    bounded
        Whether grids include both ends of each axis; beyond them values are extrapolated by quadratics.
        Otherwise functions wrap around.
    unit
        Of length, in widths of the domain along the last axis.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        n_modes: Sequence[int],
        *,
        bounded: bool,
        unit: float,
        **rest: Any,
    ) -> None:
        super().__init__(in_channels, out_channels, n_modes, **rest)
        self.bounded, self.unit = bounded, unit
        self.differential = FiniteDifferenceConvolution(in_channels, out_channels, self.order)
        # The same weights under a second name; a file of weights takes a tensor only once.
        del self.differential.weight

    def forward(self, x: Tensor, output_shape: Sequence[int] | None = None) -> Tensor:
        """As the spectral convolution, on the grid of ``x``."""
        smooth = super().forward(x, output_shape)
        if not self.bounded:
            return smooth + self.differential(x, 1 / (self.unit * x.shape[-1]))
        spacing = 1 / (self.unit * (x.shape[-1] - 1))
        inside = (..., *(slice(1, -1),) * self.order)
        return smooth + self.differential(_extrapolated(x), spacing)[inside]


def _extrapolated(x: Tensor) -> Tensor:
    """One more node at both ends of each axis, on the parabola through the last three."""
    for axis in range(2, x.ndim):
        last = x.shape[axis] - 1
        ends = []
        for nodes in ((0, 1, 2), (last, last - 1, last - 2)):
            a, b, c = (x.narrow(axis, node, 1) for node in nodes)
            ends.append(3 * (a - b) + c)
        x = torch.cat((ends[0], x, ends[1]), axis)
    return x
