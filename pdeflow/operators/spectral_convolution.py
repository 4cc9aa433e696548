"""The convolution of the Fourier operators; imports neuraloperator, so itself imported on first use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from neuralop.layers.spectral_convolution import SpectralConv
from torch import Tensor


class SpectralConvolution(SpectralConv):
    """``(K v)^(k) = R_k v^(k)`` for the lowest modes ``k``, zero for the others, given on any grid.

    Weights and products are neuraloperator's; where each mode stands in the spectrum is ours.
    neuraloperator 2.0.0 gives every mode to its neighbour where an axis other than the last has an odd
    number of nodes (a constant comes out as a wave), and loses the negative frequencies of those axes
    where the output is on another grid than the input.
    """

    def forward(self, x: Tensor, output_shape: Sequence[int] | None = None) -> Tensor:
        """Convolve.

        Parameters
        ----------
        x
            ``(batch, in_channels, *points)``, with at least as many points as modes along each axis.
        output_shape
            Points of the output; those of ``x`` by default, scaled where the layer is made to.

        Returns
        -------
        Tensor
            ``(batch, out_channels, *output_shape)``.
        """
        points = x.shape[2:]
        axes = tuple(range(2, x.ndim))
        scaling: Any = self.resolution_scaling_factor  # one factor an axis
        if output_shape is None and scaling is not None:
            output_shape = [round(n * factor) for n, factor in zip(points, scaling)]
        wanted = list(output_shape or points)
        low = _lowest(torch.fft.rfftn(x, dim=axes, norm=self.fft_norm), self.n_modes)
        low = self._contract(low, self.weight, separable=self.separable)
        y = torch.fft.irfftn(_in_place(low, wanted), s=wanted, dim=axes, norm=self.fft_norm)
        return y if self.bias is None else y + self.bias


def _lowest(spectrum: Tensor, modes: Sequence[int]) -> Tensor:
    """The modes from ``-m // 2`` up, ``m`` along each axis and from 0 up along the last, in this order."""
    low = spectrum.narrow(-1, 0, modes[-1])
    for axis, count in enumerate(modes[:-1], start=2):
        below = count // 2
        parts = low.narrow(axis, low.shape[axis] - below, below), low.narrow(axis, 0, count - below)
        low = torch.cat(parts, axis)
    return low


def _in_place(low: Tensor, points: Sequence[int]) -> Tensor:
    """The spectrum of a grid of so many points that has these lowest modes; the last axis is left short."""
    for axis, count in enumerate(points[:-1], start=2):
        given = low.shape[axis]
        below = given // 2
        between = low.new_zeros(*low.shape[:axis], count - given, *low.shape[axis + 1 :])
        low = torch.cat((low.narrow(axis, below, given - below), between, low.narrow(axis, 0, below)), axis)
    return low
