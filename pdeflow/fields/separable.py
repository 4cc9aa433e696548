r"""Separable physics-informed networks: sums of products of networks of one coordinate each (SPINN).

J. Cho, S. Nam, H. Yang, S.-B. Yun, Y. Hong, E. Park, "Separable physics-informed neural networks", NeurIPS
2023.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pdeflow.errors import InvalidInput
from pdeflow.fields.field import Field
from pdeflow.fields.mlp import MLP
from pdeflow.fields.product_sums import product_sums
from pdeflow.problems.compiled_statement import MultiIndex


class Separable(Field):
    r"""One network an axis, whose outputs are multiplied and summed.

    .. math:: u_c(x) = \sum_{r=1}^R \prod_{k=1}^d f_{k c r}(x_k)

    A derivative is a sum of products of derivatives of functions of one coordinate, which come in Taylor mode
    out of one pass through each `MLP`. On a product of axes each network sees the points of its axis alone, n
    d points in place of :math:`n^d`, and the sum is a product of matrices: train with ``sampler: grid``.

    Parameters
    ----------
    lower, upper, components, periodic
        As of `MLP`; an axis that wraps around is seen as sine and cosine.
    rank
        R, of each component.
    widths, activation
        Of each axis's network, as of `MLP`.

    Raises
    ------
    InvalidInput
        As `MLP`, and if the rank is below 1.
    """

    def __init__(
        self,
        lower: Sequence[float] = (-1.0,),
        upper: Sequence[float] = (1.0,),
        components: int = 1,
        periodic: Sequence[bool] = (),
        rank: int = 32,
        widths: Sequence[int] = (32, 32),
        activation: str = "tanh",
    ) -> None:
        settings = {
            "lower": list(lower),
            "upper": list(upper),
            "components": components,
            "periodic": list(periodic),
            "rank": rank,
            "widths": list(widths),
            "activation": activation,
        }
        super().__init__(settings, lower=lower, upper=upper, periodic=periodic, components=components)
        if rank < 1:
            raise InvalidInput("model.rank", rank, "a whole number of at least 1")
        self.rank = rank
        self.axes = nn.ModuleList(
            MLP([low], [high], components * rank, [wraps], widths, activation)
            for low, high, wraps in zip(self.lower, self.upper, self.periodic)
        )

    def derivatives(self, points: Tensor, wanted: Sequence[MultiIndex]) -> dict[MultiIndex, Tensor]:
        """See :meth:`Field.derivatives`."""
        self.check_points(points)
        tables = self._tables(points.unbind(1), wanted)
        found = {}
        for index in wanted:
            product = functools.reduce(torch.mul, [tables[k][order] for k, order in enumerate(index)])
            found[index] = product.unflatten(1, (-1, self.rank)).sum(2)
        return found

    def pointwise_gradients(
        self, points: Tensor, cotangents: Mapping[MultiIndex, Tensor]
    ) -> dict[str, Tensor]:
        """See :meth:`Field.pointwise_gradients`: those of each axis's network, times the other networks."""
        self.check_points(points)
        with torch.no_grad():
            tables = self._tables(points.unbind(1), tuple(cotangents))
        named = {}
        for k, network in enumerate(self._networks()):
            within: dict[MultiIndex, Tensor] = {}
            for index, cotangent in cotangents.items():
                others = [tables[j][order] for j, order in enumerate(index) if j != k]
                weight = cotangent.repeat_interleave(self.rank, dim=1)
                weight = functools.reduce(torch.mul, others, weight)
                order = (index[k],)
                within[order] = within[order] + weight if order in within else weight
            found = network.pointwise_gradients(points[:, k : k + 1], within)
            named |= {f"axes.{k}.{name}": value for name, value in found.items()}
        return named

    def derivatives_on_product(
        self, axes: Sequence[Tensor], wanted: Sequence[MultiIndex]
    ) -> dict[MultiIndex, Tensor]:
        """See :meth:`Field.derivatives_on_product`: networks at points of axes, products for nodes."""
        tables = [
            {order: value.T.unflatten(0, (-1, self.rank)) for order, value in table.items()}
            for table in self._tables(axes, wanted)
        ]
        return product_sums(tables, wanted)

    def _networks(self) -> list[MLP]:
        networks = list(self.axes)
        assert all(isinstance(network, MLP) for network in networks)
        return networks  # pyright: ignore[reportReturnType]

    def _tables(self, coordinates: Sequence[Tensor], wanted: Sequence[MultiIndex]) -> list[dict[int, Tensor]]:
        """For each axis by order the derivatives (points, components * rank) of its network."""
        tables = []
        for k, (network, values) in enumerate(zip(self._networks(), coordinates)):
            orders = sorted({(index[k],) for index in wanted})
            found = network.derivatives(values[:, None], orders)
            tables.append({order: found[order,] for (order,) in orders})
        return tables
