r"""Physics-Informed Gaussians: sums of Gaussians with trainable centres and widths, mixed by a light network.

N. Kang, J. Oh, Y. Hong, E. Park, "PIG: Physics-Informed Gaussians as Adaptive Parametric Mesh
Representations", ICLR 2025.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pdeflow.errors import InvalidInput
from pdeflow.fields.activations import ACTIVATIONS, cos
from pdeflow.fields.affine_series import AffineSeries
from pdeflow.fields.field import Field
from pdeflow.fields.taylor_series import Orders
from pdeflow.problems.compiled_statement import MultiIndex


class Gaussians(Field):
    r"""Features that are sums of Gaussians, and one hidden layer on top of them.

    .. math::

        f_k(x) = \sum_g w_{kg} \exp\Big(-\tfrac12 \sum_d \big((x_d - \mu_{kgd}) / \sigma_{kgd}\big)^2\Big),
        \qquad u = W_2 \tanh(W_1 f + b_1) + b_2.

    Derivatives are closed: those of a Gaussian along one axis are Hermite polynomials times it. On a product
    of axes every derivative of a feature is one matrix product, ``(E_y * w) E_x^T``.

    Along an axis of length L that wraps around, the factor is that of von Mises,
    :math:`\exp\big((L / 2 \pi \sigma)^2 (\cos(2 \pi (x - \mu) / L) - 1)\big)`: periodic with all derivatives,
    and a Gaussian where sigma is small beside L.

    Parameters
    ----------
    lower, upper
        Corners of the box in which the centres are drawn, uniformly.
    components, periodic
        As of `Field`.
    gaussians
        Of each feature.
    features
        How many there are.
    sigma
        Width at the start, along every axis.
    hidden
        Width of the network's layer; 0 for none, when u is an affine map of the features.

    Raises
    ------
    InvalidInput
        As `Field`, and if a number is out of its range.
    """

    def __init__(
        self,
        lower: Sequence[float] = (-1.0,),
        upper: Sequence[float] = (1.0,),
        components: int = 1,
        periodic: Sequence[bool] = (),
        gaussians: int = 200,
        features: int = 4,
        sigma: float = 0.1,
        hidden: int = 16,
    ) -> None:
        settings = {
            "lower": list(lower),
            "upper": list(upper),
            "components": components,
            "periodic": list(periodic),
            "gaussians": gaussians,
            "features": features,
            "sigma": sigma,
            "hidden": hidden,
        }
        super().__init__(settings, lower=lower, upper=upper, periodic=periodic, components=components)
        for name, value, least in (
            ("gaussians", gaussians, 1),
            ("features", features, 1),
            ("hidden", hidden, 0),
        ):
            if value < least:
                raise InvalidInput(f"model.{name}", value, f"a whole number of at least {least}")
        if not (math.isfinite(sigma) and sigma > 0):
            raise InvalidInput("model.sigma", sigma, "a positive number")
        shape = (features, gaussians, self.dim)
        drawn = torch.rand(shape)
        low, high = drawn.new_tensor(list(lower)), drawn.new_tensor(list(upper))
        self.centres = nn.Parameter(low + (high - low) * drawn)
        self.log_sigma = nn.Parameter(torch.full(shape, math.log(sigma)))
        self.weights = nn.Parameter(0.1 * torch.randn(features, gaussians))
        widths = [features, hidden, components] if hidden else [features, components]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))

    def derivatives(self, points: Tensor, wanted: Sequence[MultiIndex]) -> dict[MultiIndex, Tensor]:
        """See :meth:`Field.derivatives`."""
        self.check_points(points)
        orders = Orders.of(wanted)
        shared = (self.centres[..., None], self.log_sigma[..., None], self.weights[..., None])
        series = self._features(orders, points, *shared)
        return orders.derivatives(self._mixed(orders, series, AffineSeries()))

    def pointwise_gradients(
        self, points: Tensor, cotangents: Mapping[MultiIndex, Tensor]
    ) -> dict[str, Tensor]:
        """See :meth:`Field.pointwise_gradients`: one backward pass for all points.

        The features depend on centres, widths and weights point by point, so each point is given its own.
        """
        self.check_points(points)
        orders, affine = Orders.of(cotangents), AffineSeries()
        with torch.enable_grad():
            own = [
                p.detach()[..., None].expand(*p.shape, len(points)).requires_grad_()
                for p in (self.centres, self.log_sigma, self.weights)
            ]
            found = orders.derivatives(self._mixed(orders, self._features(orders, points, *own), affine))
            slopes = torch.autograd.grad(
                [found[index] for index in cotangents],
                [*own, *affine.outputs],
                list(cotangents.values()),
                allow_unused=True,
                materialize_grads=True,
            )
        named: dict[str, Tensor] = {}
        for name, slope in zip(("centres", "log_sigma", "weights"), slopes):
            named[name] = slope.movedim(-1, 0)
        for number, pair in enumerate(affine.gradients(slopes[len(own) :])):
            named |= {f"layers.{number}.{name}": value for name, value in zip(("weight", "bias"), pair)}
        return named

    def _features(
        self, orders: Orders, points: Tensor, centres: Tensor, log_sigma: Tensor, weights: Tensor
    ) -> list[Tensor]:
        """The series of the features, (N, features) each; parameters have an axis of points, or of one."""
        factors = [
            self._along(k, points[:, k], orders, centres[..., k, :], log_sigma[..., k, :])
            for k in range(self.dim)
        ]
        series = []
        for index in orders.indices:
            product = weights
            for k, order in enumerate(index):
                product = product * factors[k][order]
            series.append(product.sum(1).T)
        return series

    def derivatives_on_product(
        self, axes: Sequence[Tensor], wanted: Sequence[MultiIndex]
    ) -> dict[MultiIndex, Tensor]:
        """As :meth:`derivatives`, at all points of a product of axes, the last axis fastest."""
        orders = Orders.of(wanted)
        factors = [
            self._along(k, values, orders, self.centres[..., k, None], self.log_sigma[..., k, None])
            for k, values in enumerate(axes)
        ]
        series = []
        for index in orders.indices:
            # (features, gaussians, points so far): the last axis is summed over the Gaussians.
            product = self.weights[:, :, None]
            for k, order in enumerate(index[:-1]):
                product = (product[..., None] * factors[k][order][:, :, None, :]).flatten(2)
            summed = product.transpose(1, 2) @ factors[-1][index[-1]]
            series.append(summed.flatten(1).T)
        return orders.derivatives(self._mixed(orders, series, AffineSeries()))

    def _along(
        self, k: int, values: Tensor, orders: Orders, centres: Tensor, log_sigma: Tensor
    ) -> list[Tensor]:
        """Taylor coefficients along one axis, of order 0 up, (features, gaussians, values) each."""
        inverse = (-log_sigma).exp()
        away = values - centres
        highest = max(index[k] for index in orders.indices)
        if self.periodic[k]:
            return self._around(away, inverse, 2 * math.pi / (self.upper[k] - self.lower[k]), highest)
        z = away * inverse
        found = [(-0.5 * z * z).exp()]
        # c_{n+1} (n + 1) = -(z c_n + c_{n-1} / sigma) / sigma, from the derivative of exp(-z^2 / 2).
        for n in range(highest):
            step = z * found[n] if n == 0 else z * found[n] + found[n - 1] * inverse
            found.append(step * (-inverse / (n + 1)))
        return found

    @staticmethod
    def _around(away: Tensor, inverse: Tensor, rate: float, highest: int) -> list[Tensor]:
        """The same along an axis that wraps around, by the angle ``rate * away``."""
        concentration = (inverse / rate).square()
        waves = cos(rate * away, highest)
        found = [(concentration * (waves[0] - 1)).exp()]
        # (n + 1) c_{n+1} = sum_j (j + 1) h_{j+1} c_{n-j}, with h the series of the exponent.
        exponent = [concentration * rate**j * waves[j] for j in range(highest + 1)]
        for n in range(highest):
            terms = [(j + 1) * exponent[j + 1] * found[n - j] for j in range(n + 1)]
            found.append(torch.stack(terms).sum(0) / (n + 1))
        return found

    def _mixed(self, orders: Orders, series: Sequence[Tensor], affine: AffineSeries) -> list[Tensor]:
        """The light network, of series of (N, features)."""
        mixed = list(series)
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, nn.Linear)
            if number:
                mixed = orders.compose(ACTIVATIONS["tanh"], mixed)
            mixed = affine.apply(layer, mixed)
        return mixed
