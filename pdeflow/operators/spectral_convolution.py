"""The convolution of the Fourier operators; imports neuraloperator, so itself imported on first use."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
from neuralop.layers.spectral_convolution import SpectralConv
from torch import Tensor

from pdeflow.operators.truncated_fourier import from_modes, lowest_modes


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
        scaling: Any = self.resolution_scaling_factor  # one factor an axis
        if output_shape is None and scaling is not None:
            output_shape = [round(n * factor) for n, factor in zip(points, scaling)]
        # Half precision is not enough for sums over all nodes, and there are no complex numbers in it.
        kind = x.device.type
        automatic = torch.amp.is_autocast_available(kind)
        with torch.autocast(kind, enabled=False) if automatic else contextlib.nullcontext():
            values = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
            low = lowest_modes(values, self.n_modes, self.fft_norm)
            low = torch.complex(low[:, :, 0], low[:, :, 1])
            low = self._contract(low, self.weight, separable=self.separable)
            y = from_modes(torch.stack((low.real, low.imag), dim=2), output_shape or points, self.fft_norm)
        return y if self.bias is None else y + self.bias
