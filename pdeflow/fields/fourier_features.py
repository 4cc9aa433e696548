"""Plane waves of fixed frequencies: a sum of them, or a network on top of them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from pdeflow.errors import InvalidInput
from pdeflow.fields.activations import ACTIVATIONS
from pdeflow.fields.affine_series import AffineSeries, weighted_slopes
from pdeflow.fields.field import Field
from pdeflow.fields.taylor_series import Orders
from pdeflow.problems.compiled_statement import MultiIndex


class FourierFeatures(Field):
    r"""A constant, and cosines and sines of fixed frequencies, whose amplitudes are trained.

    .. math::

        u(x) = p_0 w_0 + \sum_k p_k \big(a_k \cos \omega_k \cdot (x - c)
               + b_k \sin \omega_k \cdot (x - c)\big),
        \qquad \omega_{kj} = \frac{2 \pi k_j}{\text{period}_j},\quad |k_j| \le \text{modes}_j,

    with the middle c of the box. Of k and -k, which have the same waves, one is there. A differential
    operator with constant coefficients only turns and scales each pair of waves, by the modulus of its
    symbol; the factors p make training well conditioned
    (:mod:`~pdeflow.fields.operator_preconditioner`).

    With ``widths`` there are as many such sums as the first of them, and layers of tanh on top, as in M.
    Tancik et al., "Fourier features let networks learn high frequency functions in low dimensional
    domains", NeurIPS 2020.

    T. De Ryck, F. Bonnet, S. Mishra, E. de Bezenac, "An operator preconditioning perspective on training in
    physics-informed machine learning", ICLR 2024.

    Parameters
    ----------
    lower, upper, components, periodic
        As of `Field`.
    modes
        The largest k along each axis.
    periods
        Of the waves along each axis, in lengths of the box; by default 1. Along an axis that does not wrap
        around, a longer one lets the ends differ (J. P. Boyd, "A comparison of numerical algorithms for
        Fourier extension of the first, second, and third kinds", J. Comput. Phys. 178, 2002), but the
        waves are then nearly dependent inside of the box.
    widths
        Of hidden layers on top; none by default, when u is linear in its parameters.
    scales
        The factors p, one for each of the `wave_vectors`; all 1 if empty. They are stored with the weights:
        stored ones replace these.

    Raises
    ------
    InvalidInput
        As `Field`, and if a number is out of its range, or there are not as many as axes or waves.
    """

    def __init__(
        self,
        lower: Sequence[float] = (-1.0,),
        upper: Sequence[float] = (1.0,),
        components: int = 1,
        periodic: Sequence[bool] = (),
        modes: Sequence[int] = (8,),
        periods: Sequence[float] = (),
        widths: Sequence[int] = (),
        scales: Sequence[float] = (),
    ) -> None:
        settings = {
            "lower": list(lower),
            "upper": list(upper),
            "components": components,
            "periodic": list(periodic),
            "modes": list(modes),
            "periods": list(periods),
            "widths": list(widths),
            "scales": list(scales),
        }
        super().__init__(settings, lower=lower, upper=upper, periodic=periodic, components=components)
        if len(modes) != self.dim or any(mode < 0 for mode in modes) or not any(modes):
            expected = f"{self.dim} whole numbers of at least 0, one an axis, and one above 0"
            raise InvalidInput("model.modes", list(modes), expected)
        longest = tuple(periods) or (1.0,) * self.dim
        if len(longest) != self.dim or not all(math.isfinite(p) and p >= 1 for p in longest):
            expected = f"{self.dim} numbers of at least 1, one an axis"
            raise InvalidInput("model.periods", list(periods), expected)
        if any(wraps and period != 1 for wraps, period in zip(self.periodic, longest)):
            raise InvalidInput("model.periods", list(periods), "1 along axes that wrap around")
        if any(width < 1 for width in widths):
            raise InvalidInput("model.widths", list(widths), "numbers of at least 1, or none")
        rates = [2 * math.pi / (p * (high - low)) for p, low, high in zip(longest, lower, upper)]
        counts = itertools.product(*(range(-mode, mode + 1) for mode in modes))
        kept = [k for k in counts if k >= (0,) * self.dim]
        self.wave_vectors = [[rate * number for rate, number in zip(rates, k)] for k in sorted(kept)]
        """Each omega, that of the constant first."""
        # Buffers in double precision, whatever that of the parameters is. NumPy's memory is there even where
        # a field is made without any, to be given stored parameters: these two are not stored.
        centre = np.array([(low + high) / 2 for low, high in zip(lower, upper)])
        self.centre: Tensor
        self.register_buffer("centre", torch.from_numpy(centre), persistent=False)
        self.vectors: Tensor
        self.register_buffer("vectors", torch.from_numpy(np.array(self.wave_vectors[1:])), persistent=False)
        self.scales: Tensor
        self.register_buffer("scales", torch.ones(len(self.wave_vectors), dtype=torch.float64))
        sizes = [*widths, components]
        self.weight = nn.Parameter(torch.empty(sizes[0], 2 * len(self.wave_vectors) - 1))
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))
        for weight in (self.weight, *(layer.weight for layer in self.layers)):
            assert isinstance(weight, nn.Parameter)
            nn.init.xavier_normal_(weight)
        for layer in self.layers:
            assert isinstance(layer, nn.Linear)
            nn.init.zeros_(layer.bias)
        if scales:
            self.rescale(scales)

    def rescale(self, scales: Sequence[float]) -> None:
        """Put other factors p before the waves; the parameters stay, and so u is another function.

        Raises
        ------
        InvalidInput
            If there is not one positive number for each of the `wave_vectors`.
        """
        if len(scales) != len(self.wave_vectors) or not all(math.isfinite(p) and p > 0 for p in scales):
            expected = f"{len(self.wave_vectors)} positive numbers, one a wave"
            raise InvalidInput("model.scales", list(scales), expected)
        self.scales = self.scales.new_tensor(scales)

    def derivatives(self, points: Tensor, wanted: Sequence[MultiIndex]) -> dict[MultiIndex, Tensor]:
        """See :meth:`Field.derivatives`."""
        self.check_points(points)
        if not self.layers:
            return self._sums(points, wanted)
        orders = Orders.of(wanted)
        sums = self._sums(points, orders.indices)
        series = [value / _factorial(index) for index, value in sums.items()]
        return orders.derivatives(self._deeper(orders, series, AffineSeries()))

    def pointwise_gradients(
        self, points: Tensor, cotangents: Mapping[MultiIndex, Tensor]
    ) -> dict[str, Tensor]:
        """See :meth:`Field.pointwise_gradients`: one backward pass for all points, to the sums."""
        self.check_points(points)
        learned = self.weight.requires_grad
        if not self.layers:
            return {"weight": self._gradients_of_sums(points, cotangents)} if learned else {}
        orders, affine = Orders.of(cotangents), AffineSeries(self)
        with torch.no_grad():
            sums = self._sums(points, orders.indices)
            series = [value / _factorial(index) for index, value in sums.items()]
        leaves = [value.requires_grad_() for value in series] if learned else []
        with torch.enable_grad():
            found = orders.derivatives(self._deeper(orders, series, affine))
            wanted = [found[index] for index in cotangents]
            slopes = weighted_slopes(wanted, [*leaves, *affine.outputs], list(cotangents.values()))
        named = affine.gradients(slopes[len(leaves) :])
        if learned:
            by_sum = {index: slope / _factorial(index) for index, slope in zip(orders.indices, slopes)}
            named["weight"] = self._gradients_of_sums(points, by_sum)
        return named

    def _deeper(self, orders: Orders, series: Sequence[Tensor], affine: AffineSeries) -> list[Tensor]:
        """The series of the unknowns, from that of the sums."""
        found = list(series)
        for layer in self.layers:
            assert isinstance(layer, nn.Linear)
            found = affine.apply(layer, orders.compose(ACTIVATIONS["tanh"], found))
        return found

    def _sums(self, points: Tensor, wanted: Sequence[MultiIndex]) -> dict[MultiIndex, Tensor]:
        """Derivatives (N, sums) of the sums of waves: amplitudes multiplied, sine and cosine swapped."""
        waves, cosines, sines = self._waves(points)
        scales = self.scales.to(points)
        first, others = scales[0], scales[1:]
        constant = first * self.weight[:, 0]
        a, b = (others.repeat(2) * self.weight[:, 1:]).split(len(others), dim=1)
        turned = ((a, b), (b, -a), (-a, -b), (-b, a))
        found = {}
        for index in wanted:
            factor, (of_cosine, of_sine) = _power(waves, index), turned[sum(index) % 4]
            value = cosines @ (factor * of_cosine).T + sines @ (factor * of_sine).T
            found[tuple(index)] = value if any(index) else value + constant
        return found

    @torch.no_grad()
    def _gradients_of_sums(self, points: Tensor, cotangents: Mapping[MultiIndex, Tensor]) -> Tensor:
        """By the amplitudes (N, sums, waves), from cotangents (N, sums); whatever the amplitudes are."""
        waves, cosines, sines = self._waves(points)
        scales = self.scales.to(points)
        first, others = scales[0], scales[1:]
        shape = (len(points), len(self.weight))
        constant = points.new_zeros(*shape, 1)
        # What multiplies a wave itself, and its derivative by the phase.
        itself, turned = points.new_zeros(*shape, len(others)), points.new_zeros(*shape, len(others))
        for index, cotangent in cotangents.items():
            order = sum(index) % 4
            term = (1 if order < 2 else -1) * cotangent[:, :, None] * (others * _power(waves, index))
            if order % 2:
                turned = turned + term
            else:
                itself = itself + term
            if not any(index):
                constant = first * cotangent[:, :, None]
        cosines, sines = cosines[:, None], sines[:, None]
        parts = (constant, cosines * itself - sines * turned, sines * itself + cosines * turned)
        return torch.cat(parts, dim=2)

    def _waves(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Wave vectors (waves, dim) but for the constant's, and their cosines and sines (N, waves)."""
        waves = self.vectors.to(points)
        phase = (points - self.centre.to(points)) @ waves.T
        return waves, phase.cos(), phase.sin()


def _power(waves: Tensor, index: MultiIndex) -> Tensor:
    """The product (waves,) of the components of each vector, to these powers."""
    result = torch.ones_like(waves[:, 0])
    for component, order in zip(waves.unbind(1), index):
        if order:
            result = result * component**order
    return result


def _factorial(index: MultiIndex) -> int:
    return math.prod(map(math.factorial, index))
