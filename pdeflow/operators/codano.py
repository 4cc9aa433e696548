"""The codomain attention neural operator."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from pdeflow.errors import InvalidInput
from pdeflow.operators.fourier import FourierOperator, Positions, node_positions


class CODANO(FourierOperator):
    """Codomain attention: every hidden function is a token, and tokens attend to each other.

    A network that all input functions share lifts each of them, with the positions of the nodes, to
    ``width`` hidden functions. In a layer, Fourier operators make a key ``k_i``, a query ``q_i`` and a
    value ``v_i`` of each token ``u_i``, all three again functions; then

        ``u_i <- u_i + sum_j softmax_j(<q_i, k_j>) v_j``,

    with the inner product of functions on a box of size one, followed by Fourier layers on each token.
    Layers and lifting are neuraloperator's. Each input has the same weights, whatever their number; the
    pointwise network at the end is ours and reads the hidden functions of all inputs, so that it tells
    them apart and gives any number of outputs (the published one projects each input by itself).

    Input ``(batch, in_channels, *points)``, output ``(batch, out_channels, *points)``, float32, in 2D
    and 3D (neuraloperator has no normalisation of its tokens in 1D), on any grid with at least as many
    points as modes along each axis (padding counts as points).

    Parameters
    ----------
    modes
        As in ``FNO``, one number an axis (2 or 3 axes).
    width
        Hidden functions an input function.
    layers
        Number of attention layers.
    heads
        Keys, queries and values that each token has.
    in_channels, out_channels, padding, positions
        As in ``FNO``.

    Raises
    ------
    InvalidInput
        As ``FNO``; also for one axis.

    References
    ----------
    Rahman, George, Elleithy, Leibovici, Li, Bonev, White, Berner, Yeh, Kossaifi, Azizzadenesheli,
    Anandkumar: Pretraining codomain attention neural operators for solving multiphysics PDEs. NeurIPS
    2024. arXiv:2403.12553.
    """

    def __init__(
        self,
        modes: list[int],
        width: int = 16,
        layers: int = 3,
        heads: int = 2,
        in_channels: int = 1,
        out_channels: int = 1,
        padding: float = 0.0,
        positions: Positions | None = "bounded",
    ) -> None:
        if len(modes) == 1:
            raise InvalidInput(
                "model.modes", list(modes), "2 or 3 numbers, one for each axis", "Use FNO in 1D."
            )
        if heads < 1:
            raise InvalidInput("model.heads", heads, "at least 1")
        settings = {
            "modes": list(modes),
            "width": width,
            "layers": layers,
            "heads": heads,
            "in_channels": in_channels,
            "out_channels": out_channels,
            "padding": padding,
            "positions": positions,
        }
        super().__init__(settings)
        hidden = in_channels * width
        self.projection = nn.Sequential(
            nn.Linear(hidden, 2 * hidden), nn.GELU(), nn.Linear(2 * hidden, out_channels)
        )

    def make_network(self, channels: int) -> nn.Module:
        """neuraloperator's CODANO up to its projection."""
        from neuralop.models import CODANO as CodomainNetwork

        from pdeflow.operators.spectral_convolution import SpectralConvolution

        width, layers = self.settings["width"], self.settings["layers"]
        network = CodomainNetwork(
            n_layers=layers,
            n_modes=[list(self.modes)] * layers,
            n_heads=[self.settings["heads"]] * layers,
            lifting_channels=2 * width,
            hidden_variable_codimension=width,
            projection_channels=None,  # pyright: ignore[reportArgumentType]
            static_channel_dim=channels - self.in_channels,
            per_layer_scaling_factors=[[1] * self.dim] * layers,
            attention_scaling_factors=[1] * layers,
            domain_padding=self.padding,
            conv_module=SpectralConvolution,
        )
        for layer in network.attention_layers:
            # Constants that a normalisation takes off again, and that would never learn.
            mixer: Any = layer.mixer
            for convolution, pointwise in zip(mixer.convs, mixer.channel_mlp):
                convolution.bias = None
                pointwise.fcs[-1].bias = None
        return network

    def evaluate(self, x: Tensor) -> Tensor:
        """Attend, then project the hidden functions of all inputs at each node."""
        places = torch.cat(node_positions(x, self.positions), dim=1) if self.positions else None
        nodes = math.prod(self._padded(count) for count in x.shape[2:])
        layers: Any = self.network.attention_layers
        for layer in layers:
            # The library divides the sum over the nodes by their root times this: on finer grids its
            # attention would be sharper. Now it is the mean, which tends to the integral.
            layer.temperature = math.sqrt(nodes)
        hidden = self.network(x, static_channel=places)
        return self.projection(hidden.movedim(1, -1)).movedim(-1, 1)
