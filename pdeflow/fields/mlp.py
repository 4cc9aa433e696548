"""The multilayer perceptron as a field, differentiated in Taylor mode."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pdeflow.errors import InvalidInput
from pdeflow.fields.activations import ACTIVATIONS
from pdeflow.fields.field import Field
from pdeflow.fields.taylor_series import MultiIndex, Orders


class MLP(Field):
    """Layers of ``activation(W x + b)`` between affine maps.

    All derivatives come out of one pass that carries a truncated Taylor series through the layers
    (:mod:`~pdeflow.fields.taylor_series`), exact to round-off and without a tape of the coordinates.

    Parameters
    ----------
    dim, components
        As of `Field`.
    widths
        Of the hidden layers.
    activation
        ``"tanh"`` or ``"sin"``.
    """

    def __init__(
        self,
        dim: int,
        components: int = 1,
        widths: Sequence[int] = (64, 64),
        activation: str = "tanh",
    ) -> None:
        super().__init__(dim, components)
        if not widths or any(width < 1 for width in widths):
            raise InvalidInput("widths", list(widths), "at least one number of at least 1")
        if activation not in ACTIVATIONS:
            raise InvalidInput("activation", activation, "a known one", choices=ACTIVATIONS)
        self.activation = activation
        sizes = [dim, *widths, components]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in zip(sizes, sizes[1:]))
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
        series: list[Tensor | None] = [None] * len(orders.indices)
        for index, place in orders.place.items():
            if sum(index) == 1:
                series[place] = first.weight[:, index.index(1)]
        series[0] = first(points)
        for layer in others:
            assert isinstance(layer, nn.Linear)
            stacked = torch.stack(orders.compose(coefficients, series))
            flat = stacked.flatten(0, 1) @ layer.weight.T
            series = list(flat.reshape(*stacked.shape[:2], -1).unbind(0))
            series[0] = series[0] + layer.bias
        return orders.derivatives(series)  # pyright: ignore[reportArgumentType]
