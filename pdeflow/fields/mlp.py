"""The multilayer perceptron as a field, differentiated in Taylor mode."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pdeflow.errors import InvalidInput
from pdeflow.fields.activations import ACTIVATIONS, cos, sin
from pdeflow.fields.field import Field
from pdeflow.fields.taylor_series import MultiIndex, Orders


class MLP(Field):
    """Layers of ``activation(W x + b)`` between affine maps, of coordinates scaled to [-1, 1].

    Of an axis that wraps around, the network sees the sine and the cosine of the angle, and so is periodic.

    All derivatives come out of one pass that carries a truncated Taylor series through the layers
    (:mod:`~pdeflow.fields.taylor_series`), exact to round-off and without a tape of the coordinates.

    Parameters
    ----------
    lower, upper
        Corners of the box that is scaled to [-1, 1] along every axis.
    components, periodic
        As of `Field`.
    widths
        Of the hidden layers.
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
        widths: Sequence[int] = (32, 32),
        activation: str = "tanh",
    ) -> None:
        settings = {
            "lower": list(lower),
            "upper": list(upper),
            "components": components,
            "periodic": list(periodic),
            "widths": list(widths),
            "activation": activation,
        }
        super().__init__(settings, lower=lower, upper=upper, periodic=periodic, components=components)
        if not widths or any(width < 1 for width in widths):
            raise InvalidInput("model.widths", list(widths), "at least one number of at least 1")
        if activation not in ACTIVATIONS:
            raise InvalidInput("model.activation", activation, "a known one", choices=ACTIVATIONS)
        self.activation = activation
        # Numbers and not buffers, which would be rounded to the precision in which the network is made.
        self.centre = [(low + high) / 2 for low, high in zip(lower, upper)]
        self.scale = [2 / (high - low) for low, high in zip(lower, upper)]
        sizes = [self.dim + sum(self.periodic), *widths, components]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        for layer in self.layers:
            assert isinstance(layer, nn.Linear)
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def derivatives(self, points: Tensor, wanted: Sequence[MultiIndex]) -> dict[MultiIndex, Tensor]:
        """See :meth:`Field.derivatives`."""
        self.check_points(points)
        orders, coefficients = Orders.of(wanted), ACTIVATIONS[self.activation]
        first, *others = self.layers
        assert isinstance(first, nn.Linear)
        scaled = (points - points.new_tensor(self.centre)) * points.new_tensor(self.scale)
        inputs = [self._input(k, scaled[:, k : k + 1], orders) for k in range(self.dim)]
        columns = torch.split(first.weight, [features[0].shape[1] for features in inputs], dim=1)
        series: list[Tensor | None] = [None] * len(orders.indices)
        for index, place in orders.place.items():
            along = [k for k, order in enumerate(index) if order]
            if len(along) == 1 and index[along[0]] < len(inputs[along[0]]):
                series[place] = inputs[along[0]][index[along[0]]] @ columns[along[0]].T
        series[0] = first(torch.cat([features[0] for features in inputs], dim=1))
        for layer in others:
            assert isinstance(layer, nn.Linear)
            stacked = torch.stack(orders.compose(coefficients, series))
            flat = stacked.flatten(0, 1) @ layer.weight.T
            parts = list(flat.reshape(*stacked.shape[:2], -1).unbind(0))
            series = [parts[0] + layer.bias, *parts[1:]]
        return orders.derivatives(series)  # pyright: ignore[reportArgumentType]

    def _input(self, k: int, scaled: Tensor, orders: Orders) -> list[Tensor]:
        """What the network sees of an axis: Taylor coefficients along it, (N, features) each."""
        if not self.periodic[k]:
            return [scaled, scaled.new_full((1, 1), self.scale[k])]
        highest = max(index[k] for index in orders.indices)
        angle, rate = math.pi * scaled, math.pi * self.scale[k]
        features = (sin(angle, highest), cos(angle, highest))
        return [torch.cat(pair, dim=1) * rate**n for n, pair in enumerate(zip(*features))]
