"""The multilayer perceptron as a field, differentiated in Taylor mode."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pdeflow.errors import InvalidInput
from pdeflow.fields.activations import ACTIVATIONS
from pdeflow.fields.affine_series import AffineSeries, weighted_slopes
from pdeflow.fields.field import Field
from pdeflow.fields.scaled_coordinates import ScaledCoordinates
from pdeflow.fields.taylor_series import Orders
from pdeflow.problems.compiled_statement import MultiIndex


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
        self.seen = ScaledCoordinates(lower, upper, self.periodic)
        sizes = [self.seen.features, *widths, components]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        for layer in self.layers:
            assert isinstance(layer, nn.Linear)
            nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def derivatives(self, points: Tensor, wanted: Sequence[MultiIndex]) -> dict[MultiIndex, Tensor]:
        """See :meth:`Field.derivatives`."""
        self.check_points(points)
        orders = Orders.of(wanted)
        return orders.derivatives(self._deeper(orders, self._first(orders, points), AffineSeries()))

    def pointwise_gradients(
        self, points: Tensor, cotangents: Mapping[MultiIndex, Tensor]
    ) -> dict[str, Tensor]:
        """See :meth:`Field.pointwise_gradients`: one backward pass for all points."""
        self.check_points(points)
        orders, affine = Orders.of(cotangents), AffineSeries(self)
        learned = {name: p.requires_grad for name, p in self.layers[0].named_parameters()}
        with torch.no_grad():
            inputs, first = self.seen.series(points, orders), self._first(orders, points)
        started = [None if s is None else s.expand(len(points), -1) for s in first]
        leaves = {
            k: s.requires_grad_() for k, s in enumerate(started) if s is not None and any(learned.values())
        }
        with torch.enable_grad():
            found = orders.derivatives(self._deeper(orders, started, affine))
            wanted = [found[index] for index in cotangents]
            slopes = weighted_slopes(wanted, [*leaves.values(), *affine.outputs], list(cotangents.values()))
        named = affine.gradients(slopes[len(leaves) :])
        by_first = dict(zip(leaves, slopes))
        if learned["bias"]:
            named["layers.0.bias"] = by_first[0]
        if learned["weight"]:
            named["layers.0.weight"] = self._by_first_weight(orders, inputs, by_first)
        return named

    def _by_first_weight(
        self, orders: Orders, inputs: Sequence[Sequence[Tensor]], by_first: Mapping[int, Tensor]
    ) -> Tensor:
        """Gradients (N, out, in) by the first matrix, from those by the series after it."""
        columns = []
        for k, features in enumerate(inputs):
            total = by_first[0][:, :, None] * features[0][:, None]
            for place, order in self.seen.places(orders, k, len(features)):
                total = total + by_first[place][:, :, None] * features[order][:, None]
            columns.append(total)
        return torch.cat(columns, dim=2)

    def _first(self, orders: Orders, points: Tensor) -> list[Tensor | None]:
        """The series after the first affine map; None where it is 0."""
        first = self.layers[0]
        assert isinstance(first, nn.Linear)
        series = self.seen.mapped(first.weight, points, orders)
        assert series[0] is not None
        series[0] = series[0] + first.bias
        return series

    def _deeper(self, orders: Orders, series: list[Tensor | None], affine: AffineSeries) -> list[Tensor]:
        """The series of the unknowns, from that after the first affine map."""
        coefficients, found = ACTIVATIONS[self.activation], series
        for layer in list(self.layers)[1:]:
            assert isinstance(layer, nn.Linear)
            found = affine.apply(layer, orders.compose(coefficients, found))
        return found  # pyright: ignore[reportReturnType]
