"""The convolution of the Fourier operators; imports neuraloperator, so itself imported on first use."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from typing import Any

import torch
from neuralop.layers.spectral_convolution import SpectralConv
from torch import Tensor, nn

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
            low = self._products(low)
            y = from_modes(low, output_shape or points, self.fft_norm)
        return y if self.bias is None else y + self.bias

    def without_complex_numbers(self) -> None:
        """Turn the weights into real matrices, for compilers that know no complex numbers; for good.

        Weights that are factorised are multiplied out. The answers stay the same, to round-off.
        """
        if not isinstance(self.weight, _RealProducts):
            self.weight: Any = _RealProducts(self.weight.to_tensor().detach())

    def _products(self, low: Tensor) -> Tensor:
        """``R_k v^(k)``: ``(batch, in_channels, 2, *modes)`` to ``(batch, out_channels, 2, *modes)``."""
        if isinstance(self.weight, _RealProducts):
            return self.weight(low)
        if torch.compiler.is_compiling() or low.dtype == torch.float64:
            # Inductor has no code for complex numbers, and the library's einsum breaks its graph; and
            # ``module.double()`` leaves complex weights in single precision.
            return _multiplied(low, _real_matrices(self.weight.to_tensor()).to(low.dtype))
        low = torch.complex(low[:, :, 0], low[:, :, 1])
        low = self._contract(low, self.weight, separable=self.separable)
        return torch.stack((low.real, low.imag), dim=2)


class _RealProducts(nn.Module):
    """Holds the weights as `_real_matrices`."""

    matrices: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("matrices", _real_matrices(weight))

    def forward(self, low: Tensor) -> Tensor:
        """``(batch, in_channels, 2, *modes)`` to ``(batch, out_channels, 2, *modes)``."""
        return _multiplied(low, self.matrices.to(low.dtype))


def _real_matrices(weight: Tensor) -> Tensor:
    """``[[A, B], [-B, A]]`` of the weights ``A + i B``, (in_channels, out_channels, *modes).

    (modes, 2 in_channels, 2 out_channels), rows and columns by channel, real and imaginary part in turn.
    """
    parts = torch.view_as_real(weight).flatten(2, -2).permute(2, 0, 1, 3)
    real, imaginary = parts.unbind(-1)  # (modes, in_channels, out_channels)
    above, below = torch.stack((real, imaginary), -1), torch.stack((-imaginary, real), -1)
    return torch.stack((above, below), 2).flatten(3).flatten(1, 2)


def _multiplied(low: Tensor, matrices: Tensor) -> Tensor:
    """The products of all modes, ``(batch, in_channels, 2, *modes)`` by `_real_matrices`."""
    batch, channels, _, *modes = low.shape
    y = low.reshape(batch, 2 * channels, math.prod(modes)).permute(2, 0, 1) @ matrices
    return y.permute(1, 2, 0).reshape(batch, -1, 2, *modes)
