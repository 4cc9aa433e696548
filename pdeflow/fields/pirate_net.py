r"""PirateNets: residual blocks that start as the identity, on random Fourier features.

S. Wang, B. Li, Y. Chen, P. Perdikaris, "PirateNets: physics-informed deep learning with residual adaptive
networks", J. Mach. Learn. Res. 25 (2024).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pdeflow.errors import InvalidInput
from pdeflow.fields.activations import ACTIVATIONS, cos, sin
from pdeflow.fields.affine_series import AffineSeries, weighted_slopes
from pdeflow.fields.field import Field
from pdeflow.fields.scaled_coordinates import ScaledCoordinates
from pdeflow.fields.taylor_series import Orders
from pdeflow.problems.compiled_statement import MultiIndex


class PirateNet(Field):
    r"""Residual blocks between two gates, of a random Fourier embedding of the coordinates.

    .. math::

        \Phi = (\cos B s, \sin B s), \quad U = \sigma(W_U \Phi + b_U), \quad V = \sigma(W_V \Phi + b_V),

    and from :math:`h = \Phi` on, block after block with :math:`G(f) = f \odot U + (1 - f) \odot V`,

    .. math::

        f = G(\sigma(W_1 h + b_1)), \quad g = G(\sigma(W_2 f + b_2)), \quad
        h \leftarrow \alpha\, \sigma(W_3 g + b_3) + (1 - \alpha)\, h,

    :math:`u = W h + b`. Of the coordinates s, scaled to [-1, 1], an axis that wraps around is there as sine
    and cosine. The numbers alpha, one a block, start at 0: the network is then a sum of the features, and
    grows deeper as they are learned. W and b, in which it is linear, are given values by the statement before
    the first step of training (:func:`~pdeflow.training.last_layer.fit_last_layer`).

    Derivatives are carried through the layers as truncated Taylor series, as by `MLP`.

    Parameters
    ----------
    lower, upper, components, periodic
        As of `MLP`.
    width
        Of all layers and of the embedding, an even number.
    blocks
        Of three layers each.
    frequency
        Standard deviation of the entries of B, which are not trained.
    activation
        ``"tanh"`` or ``"sin"``.

    Raises
    ------
    InvalidInput
        As `Field`, and if a number is out of its range, or the activation is unknown.
    """

    def __init__(
        self,
        lower: Sequence[float] = (-1.0,),
        upper: Sequence[float] = (1.0,),
        components: int = 1,
        periodic: Sequence[bool] = (),
        width: int = 64,
        blocks: int = 2,
        frequency: float = 2.0,
        activation: str = "tanh",
    ) -> None:
        settings = {
            "lower": list(lower),
            "upper": list(upper),
            "components": components,
            "periodic": list(periodic),
            "width": width,
            "blocks": blocks,
            "frequency": frequency,
            "activation": activation,
        }
        super().__init__(settings, lower=lower, upper=upper, periodic=periodic, components=components)
        if width < 2 or width % 2:
            raise InvalidInput("model.width", width, "an even number of at least 2")
        if blocks < 1:
            raise InvalidInput("model.blocks", blocks, "at least 1")
        if not (math.isfinite(frequency) and frequency > 0):
            raise InvalidInput("model.frequency", frequency, "a positive number")
        if activation not in ACTIVATIONS:
            raise InvalidInput("model.activation", activation, "a known one", choices=ACTIVATIONS)
        self.activation = activation
        self.seen = ScaledCoordinates(lower, upper, self.periodic)
        self.frequencies: Tensor
        self.register_buffer("frequencies", frequency * torch.randn(width // 2, self.seen.features))
        self.gates = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(3 * blocks))
        self.alpha = nn.Parameter(torch.zeros(blocks))
        self.last = nn.Linear(width, components)
        for layer in (*self.gates, *self.layers, self.last):
            assert isinstance(layer, nn.Linear)
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)

    @property
    def linear_parameters(self) -> tuple[str, ...]:
        """See :attr:`Field.linear_parameters`."""
        return ("last.weight", "last.bias")

    def derivatives(self, points: Tensor, wanted: Sequence[MultiIndex]) -> dict[MultiIndex, Tensor]:
        """See :meth:`Field.derivatives`."""
        self.check_points(points)
        orders = Orders.of(wanted)
        embedded = self._embedding(orders, points)
        return orders.derivatives(self._deeper(orders, embedded, self.alpha[None], AffineSeries()))

    def pointwise_gradients(
        self, points: Tensor, cotangents: Mapping[MultiIndex, Tensor]
    ) -> dict[str, Tensor]:
        """See :meth:`Field.pointwise_gradients`: one backward pass for all points."""
        self.check_points(points)
        orders, affine = Orders.of(cotangents), AffineSeries(self)
        with torch.no_grad():
            embedded = self._embedding(orders, points)
        alpha = self.alpha.detach().expand(len(points), -1)
        leaves = {"alpha": alpha.requires_grad_()} if self.alpha.requires_grad else {}
        with torch.enable_grad():
            found = orders.derivatives(self._deeper(orders, embedded, alpha, affine))
            wanted = [found[index] for index in cotangents]
            slopes = weighted_slopes(wanted, [*leaves.values(), *affine.outputs], list(cotangents.values()))
        return dict(zip(leaves, slopes)) | affine.gradients(slopes[len(leaves) :])

    def _embedding(self, orders: Orders, points: Tensor) -> list[Tensor]:
        """The series of the random Fourier features, (N, width) each."""
        phase = self.seen.mapped(self.frequencies, points, orders)
        pairs = zip(orders.compose(cos, phase), orders.compose(sin, phase))
        return [torch.cat(pair, dim=1) for pair in pairs]

    def _deeper(
        self, orders: Orders, embedded: list[Tensor], alpha: Tensor, affine: AffineSeries
    ) -> list[Tensor]:
        """The series of the unknowns from that of the embedding; alpha is (N, blocks), or (1, blocks)."""
        coefficients = ACTIVATIONS[self.activation]

        def layer(linear: nn.Module, series: Sequence[Tensor]) -> list[Tensor]:
            assert isinstance(linear, nn.Linear)
            return orders.compose(coefficients, affine.apply(linear, series))

        first, second = (layer(gate, embedded) for gate in self.gates)
        between = [u - v for u, v in zip(first, second)]

        def gated(series: Sequence[Tensor]) -> list[Tensor]:
            return [v + product for v, product in zip(second, orders.multiply(series, between))]

        h, layers = embedded, list(self.layers)
        for block in range(len(layers) // 3):
            inner, middle, outer = layers[3 * block : 3 * block + 3]
            found = layer(outer, gated(layer(middle, gated(layer(inner, h)))))
            share = alpha[:, block : block + 1]
            h = [old + share * (new - old) for old, new in zip(h, found)]
        return affine.apply(self.last, h)
