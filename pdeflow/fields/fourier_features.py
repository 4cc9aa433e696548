"""A sum of plane waves of fixed frequencies, of which the amplitudes are trained."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pdeflow.errors import InvalidInput
from pdeflow.fields.field import Field
from pdeflow.problems.compiled_statement import MultiIndex


class FourierFeatures(Field):
    r"""Linear in its parameters: a constant, and cosines and sines of fixed frequencies.

    .. math::

        u(x) = p_0 w_0 + \sum_k p_k \big(a_k \cos \omega_k \cdot (x - c)
               + b_k \sin \omega_k \cdot (x - c)\big),
        \qquad \omega_{kj} = \frac{2 \pi k_j}{\text{period}_j},\quad |k_j| \le \text{modes}_j,

    with the middle c of the box. Of k and -k, which have the same waves, one is there. A differential
    operator with constant coefficients only turns and scales each pair of waves, by the modulus of its
    symbol; the factors p make training well conditioned
    (:mod:`~pdeflow.fields.operator_preconditioner`).

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
    scales
        The factors p, one for each of the `wave_vectors`; all 1 if empty.

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
        scales: Sequence[float] = (),
    ) -> None:
        settings = {
            "lower": list(lower),
            "upper": list(upper),
            "components": components,
            "periodic": list(periodic),
            "modes": list(modes),
            "periods": list(periods),
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
        # Numbers and not buffers, which would be rounded to the precision in which the field is made.
        self.centre = [(low + high) / 2 for low, high in zip(lower, upper)]
        rates = [2 * math.pi / (p * (high - low)) for p, low, high in zip(longest, lower, upper)]
        counts = itertools.product(*(range(-mode, mode + 1) for mode in modes))
        kept = [k for k in counts if k >= (0,) * self.dim]
        self.wave_vectors = [[rate * number for rate, number in zip(rates, k)] for k in sorted(kept)]
        """Each omega, that of the constant first."""
        self.weight = nn.Parameter(torch.empty(components, 2 * len(self.wave_vectors) - 1))
        nn.init.xavier_normal_(self.weight)
        self.rescale(scales or [1.0] * len(self.wave_vectors))

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
        self.scales = [float(p) for p in scales]
        self.settings["scales"] = self.scales

    def derivatives(self, points: Tensor, wanted: Sequence[MultiIndex]) -> dict[MultiIndex, Tensor]:
        """See :meth:`Field.derivatives`: a derivative multiplies amplitudes, and swaps sine and cosine."""
        self.check_points(points)
        waves, cosines, sines = self._waves(points)
        first, *others = self.scales
        constant = first * self.weight[:, 0]
        a, b = (points.new_tensor(others + others) * self.weight[:, 1:]).split(len(others), dim=1)
        turned = ((a, b), (b, -a), (-a, -b), (-b, a))
        found = {}
        for index in wanted:
            factor, (of_cosine, of_sine) = _power(waves, index), turned[sum(index) % 4]
            value = cosines @ (factor * of_cosine).T + sines @ (factor * of_sine).T
            found[tuple(index)] = value if any(index) else value + constant
        return found

    @torch.no_grad()
    def pointwise_gradients(
        self, points: Tensor, cotangents: Mapping[MultiIndex, Tensor]
    ) -> dict[str, Tensor]:
        """See :meth:`Field.pointwise_gradients`: products of the waves, whatever the parameters are."""
        self.check_points(points)
        waves, cosines, sines = self._waves(points)
        first, *others = self.scales
        scales = points.new_tensor(others)
        constant = points.new_zeros(len(points), self.out_channels, 1)
        # What multiplies a wave itself, and its derivative by the phase.
        itself, turned = (points.new_zeros(len(points), self.out_channels, len(others)) for _ in range(2))
        for index, cotangent in cotangents.items():
            order = sum(index) % 4
            term = (1 if order < 2 else -1) * cotangent[:, :, None] * (scales * _power(waves, index))
            if order % 2:
                turned = turned + term
            else:
                itself = itself + term
            if not any(index):
                constant = first * cotangent[:, :, None]
        cosines, sines = cosines[:, None], sines[:, None]
        parts = (constant, cosines * itself - sines * turned, sines * itself + cosines * turned)
        return {"weight": torch.cat(parts, dim=2)}

    def _waves(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Wave vectors (waves, dim) but for the constant's, and their cosines and sines (N, waves)."""
        waves = points.new_tensor(self.wave_vectors[1:])
        phase = (points - points.new_tensor(self.centre)) @ waves.T
        return waves, phase.cos(), phase.sin()


def _power(waves: Tensor, index: MultiIndex) -> Tensor:
    """The product (waves,) of the components of each vector, to these powers."""
    result = torch.ones_like(waves[:, 0])
    for component, order in zip(waves.unbind(1), index):
        if order:
            result = result * component**order
    return result
