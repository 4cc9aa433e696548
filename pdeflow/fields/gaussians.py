r"""Physics-Informed Gaussians: sums of Gaussians with trainable centres and widths, mixed by a light network.

N. Kang, J. Oh, Y. Hong, E. Park, "PIG: Physics-Informed Gaussians as Adaptive Parametric Mesh
Representations", ICLR 2025.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from pdeflow.errors import InvalidInput
from pdeflow.fields.activations import ACTIVATIONS, cos, exp
from pdeflow.fields.affine_series import AffineSeries, weighted_slopes
from pdeflow.fields.field import Field
from pdeflow.fields.product_sums import contracted, product_sums
from pdeflow.fields.taylor_series import Orders
from pdeflow.problems.compiled_statement import MultiIndex

Covariance = Literal["diagonal", "full"]


class Gaussians(Field):
    r"""Features that are sums of Gaussians, and one hidden layer on top of them.

    .. math::

        f_k(x) = \sum_g w_{kg} \exp\Big(-\tfrac12 \sum_d \big((x_d - \mu_{kgd}) / \sigma_{kgd}\big)^2\Big),
        \qquad u = W_2 \tanh(W_1 f + b_1) + b_2.

    Derivatives are closed: those of a Gaussian along one axis are Hermite polynomials times it. On a product
    of axes every derivative of a feature is one matrix product, ``(E_y * w) E_x^T``.

    With a full covariance the exponent is :math:`-\tfrac12 |\mathrm{diag}(1 / \sigma) (I + S_{kg}) (x -
    \mu_{kg})|^2`, where S is strictly lower triangular (``shear``) and starts at 0: every covariance that
    there is, once. There are then no factors for axes, and products of axes are taken point by point.

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
    covariance
        ``"diagonal"`` or ``"full"``.
    least_squares
        Whether the statement gives the weights their values before the first step of training
        (:func:`~pdeflow.training.last_layer.fit_last_layer`), where there is no hidden layer. They are then
        large and cancel: good for many Gaussians that stay about where they are, while few that have to move
        are learned better from small weights.

    Raises
    ------
    InvalidInput
        As `Field`, and if a number is out of its range, a full covariance is asked for along one axis alone
        or where an axis wraps around, or least squares below a hidden layer.
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
        covariance: Covariance = "diagonal",
        least_squares: bool = False,
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
            "covariance": covariance,
            "least_squares": least_squares,
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
        if covariance not in get_args(Covariance):
            raise InvalidInput("model.covariance", covariance, "a known one", choices=get_args(Covariance))
        if covariance == "full" and (self.dim < 2 or any(self.periodic)):
            hint = "Leave covariance out."
            raise InvalidInput("model.covariance", covariance, "diagonal on one axis or a periodic one", hint)
        if least_squares and hidden:
            hint = "Say hidden: 0, or leave least_squares out."
            raise InvalidInput("model.least_squares", True, f"false, for hidden is {hidden}", hint)
        self.covariance, self.least_squares = covariance, least_squares
        shape = (features, gaussians, self.dim)
        drawn = torch.rand(shape)
        low, high = drawn.new_tensor(list(lower)), drawn.new_tensor(list(upper))
        self.centres = nn.Parameter(low + (high - low) * drawn)
        self.log_sigma = nn.Parameter(torch.full(shape, math.log(sigma)))
        self.weights = nn.Parameter(0.1 * torch.randn(features, gaussians))
        if covariance == "full":
            self.shear = nn.Parameter(torch.zeros(features, gaussians, self.dim * (self.dim - 1) // 2))
        widths = [features, hidden, components] if hidden else [features, components]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))

    @property
    def linear_parameters(self) -> tuple[str, ...]:
        """See :attr:`Field.linear_parameters`: the weights of the Gaussians, where that is asked for."""
        return ("weights", "layers.0.bias") if self.least_squares else ()

    def derivatives(self, points: Tensor, wanted: Sequence[MultiIndex]) -> dict[MultiIndex, Tensor]:
        """See :meth:`Field.derivatives`."""
        self.check_points(points)
        orders = Orders.of(wanted)
        shared = {name: parameter[..., None] for name, parameter in self._own().items()}
        return orders.derivatives(self._mixed(orders, self._features(orders, points, shared), AffineSeries()))

    def pointwise_gradients(
        self, points: Tensor, cotangents: Mapping[MultiIndex, Tensor]
    ) -> dict[str, Tensor]:
        """See :meth:`Field.pointwise_gradients`: one backward pass for all points.

        The features depend on centres, widths and weights point by point, so each point is given its own.
        """
        self.check_points(points)
        orders, affine = Orders.of(cotangents), AffineSeries(self)
        own = {name: p.detach()[..., None] for name, p in self._own().items()}
        leaves = {
            name: own[name].expand(*p.shape, len(points)).requires_grad_()
            for name, p in self._own().items()
            if p.requires_grad
        }
        with torch.enable_grad():
            series = self._features(orders, points, own | leaves)
            found = orders.derivatives(self._mixed(orders, series, affine))
            wanted = [found[index] for index in cotangents]
            slopes = weighted_slopes(wanted, [*leaves.values(), *affine.outputs], list(cotangents.values()))
        named = {name: slope.movedim(-1, 0) for name, slope in zip(leaves, slopes)}
        return named | affine.gradients(slopes[len(leaves) :])

    def derivatives_on_product(
        self, axes: Sequence[Tensor], wanted: Sequence[MultiIndex]
    ) -> dict[MultiIndex, Tensor]:
        """See :meth:`Field.derivatives_on_product`: exponentials for points of axes, products for nodes."""
        if self.covariance == "full":
            return super().derivatives_on_product(axes, wanted)
        orders = Orders.of(wanted)
        series = self._features_on_product(orders, self._tables(orders, axes))
        return orders.derivatives(self._mixed(orders, series, AffineSeries()))

    def pointwise_gradients_on_product(
        self, axes: Sequence[Tensor], cotangents: Mapping[MultiIndex, Tensor]
    ) -> dict[str, Tensor]:
        """See :meth:`Field.pointwise_gradients_on_product`: derivatives of factors for points of axes."""
        if self.covariance == "full":
            return super().pointwise_gradients_on_product(axes, cotangents)
        orders, affine = Orders.of(cotangents), AffineSeries(self)
        learned = [name for name, p in self._own().items() if p.requires_grad]
        with torch.no_grad():
            series = self._features_on_product(orders, self._tables(orders, axes))
        leaves = [value.requires_grad_() for value in series] if learned else []
        with torch.enable_grad():
            found = orders.derivatives(self._mixed(orders, series, affine))
            wanted = [found[index] for index in cotangents]
            slopes = weighted_slopes(wanted, [*leaves, *affine.outputs], list(cotangents.values()))
        of_layers = affine.gradients(slopes[len(leaves) :])
        if not learned:
            return of_layers
        # Weights of the factors' products at each node, (points, ..., features, 1).
        shape = (*(len(axis) for axis in axes), len(self.weights), 1)
        summed = {"weights": {a: c.reshape(shape) for a, c in zip(orders.indices, slopes)}}
        for k in reversed(range(self.dim)):
            plain, by_centre, by_log_sigma = self._slopes_along(k, axes[k], orders)
            through = {name: contracted(part, plain) for name, part in summed.items()}
            through[f"centres {k}"] = contracted(summed["weights"], by_centre)
            through[f"log_sigma {k}"] = contracted(summed["weights"], by_log_sigma)
            summed = through
        of = {name: part[()].flatten(0, -3) for name, part in summed.items()}
        named = {"weights": of["weights"]}
        for name in ("centres", "log_sigma"):
            named[name] = torch.stack([of[f"{name} {k}"] for k in range(self.dim)], dim=-1)
        return {name: named[name] for name in learned} | of_layers

    def _own(self) -> dict[str, nn.Parameter]:
        """The parameters of the Gaussians by name."""
        names = ("centres", "log_sigma", "weights", *(("shear",) if self.covariance == "full" else ()))
        return {name: getattr(self, name) for name in names}

    def _features(self, orders: Orders, points: Tensor, own: Mapping[str, Tensor]) -> list[Tensor]:
        """The series of the features, (N, features) each; parameters have an axis of points, or of one."""
        if self.covariance == "full":
            series = orders.compose(exp, self._exponent(orders, points, own))
            return [(own["weights"] * value).sum(1).T for value in series]
        factors = [
            self._along(k, points[:, k], orders, own["centres"][..., k, :], own["log_sigma"][..., k, :])
            for k in range(self.dim)
        ]
        series = []
        for index in orders.indices:
            product = own["weights"]
            for k, order in enumerate(index):
                product = product * factors[k][order]
            series.append(product.sum(1).T)
        return series

    def _exponent(self, orders: Orders, points: Tensor, own: Mapping[str, Tensor]) -> list[Tensor | None]:
        """The series of the exponents with a full covariance, a quadratic form: None where it is 0."""
        inverse = (-own["log_sigma"]).exp()
        away = points.T - own["centres"]
        rows, number = [], 0
        for i in range(self.dim):
            row = [own["shear"][..., number + j, :] * inverse[..., i, :] for j in range(i)]
            rows.append([*row, inverse[..., i, :]])
            number += i
        z = [_added([part * away[..., j, :] for j, part in enumerate(row)]) for row in rows]
        series: list[Tensor | None] = []
        for index in orders.indices:
            axes = [k for k, order in enumerate(index) for _ in range(order)]
            if len(axes) > 2:
                series.append(None)
            elif not axes:
                series.append(-0.5 * _added([value * value for value in z]))
            elif len(axes) == 1:
                series.append(-_added([z[i] * rows[i][axes[0]] for i in range(axes[0], self.dim)]))
            else:
                first, last = axes
                half = 0.5 if first == last else 1.0
                terms = [rows[i][first] * rows[i][last] for i in range(last, self.dim)]
                series.append(-half * _added(terms))
        return series

    def _tables(self, orders: Orders, axes: Sequence[Tensor]) -> list[dict[int, Tensor]]:
        """For each axis by order the Taylor coefficients (features, gaussians, points of the axis)."""
        factors = [
            self._along(k, values, orders, self.centres[..., k, None], self.log_sigma[..., k, None])
            for k, values in enumerate(axes)
        ]
        return [dict(enumerate(part)) for part in factors]

    def _features_on_product(self, orders: Orders, tables: Sequence[Mapping[int, Tensor]]) -> list[Tensor]:
        """The series of the features at all nodes, (N, features) each."""
        first = {order: self.weights[..., None] * value for order, value in tables[0].items()}
        summed = product_sums([first, *tables[1:]], orders.indices)
        return [summed[index] for index in orders.indices]

    def _slopes_along(
        self, k: int, values: Tensor, orders: Orders
    ) -> tuple[dict[int, Tensor], dict[int, Tensor], dict[int, Tensor]]:
        """By order the coefficients along an axis; their derivatives by centres and by logarithms of widths.

        The derivatives are times the weights. Each (points of the axis, 1 for each axis after it, features,
        gaussians).
        """
        shape = (*self.weights.shape, len(values))
        with torch.enable_grad():
            own = [
                p.detach()[..., k, None].expand(shape).requires_grad_()
                for p in (self.centres, self.log_sigma)
            ]
            coefficients = self._along(k, values, orders, *own)
            weights = self.weights.detach()[..., None].expand(shape)
            slopes = [torch.autograd.grad(value, own, weights, retain_graph=True) for value in coefficients]
        # At nodes (points, ..., features, gaussians) an axis stands in its place.
        place = (len(values), *(1,) * (self.dim - 1 - k), *self.weights.shape)
        plain, by_centre, by_log_sigma = (
            {order: value.detach().movedim(-1, 0).reshape(place) for order, value in enumerate(part)}
            for part in (coefficients, *zip(*slopes))
        )
        return plain, by_centre, by_log_sigma

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


def _added(terms: Sequence[Tensor]) -> Tensor:
    return functools.reduce(torch.add, terms)
