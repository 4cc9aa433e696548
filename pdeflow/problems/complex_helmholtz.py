"""The Helmholtz equation in a medium that absorbs: complex amplitudes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pdeflow.problems.calculus import D, i_times
from pdeflow.problems.conditions import Condition
from pdeflow.problems.distributions import Constant, Distribution, Uniform
from pdeflow.problems.helmholtz import Helmholtz
from pdeflow.problems.parameter import Parameter
from pdeflow.problems.random_fields import GaussianField


class ComplexHelmholtz(Helmholtz):
    r""":math:`-\Delta u - k^2 (1 + i \eta) u = f` on the unit interval, square or cube.

    u is the complex amplitude of a wave that goes like :math:`u e^{-i \omega t}` in time; it loses the factor
    :math:`e^{-\pi \eta}` in amplitude over a wavelength where :math:`\eta` is small. The operator is regular
    for every k as long as :math:`\eta > 0`.

    Parameters
    ----------
    dim
        1, 2 or 3.
    wave_number
        Of k: a number, or a field where the medium varies.
    damping
        Of eta, positive: a number, or a field, large in a layer that is to let waves out.
    source
        Of f, real, a field or a number; by default a smooth Gaussian field of standard deviation 1.
    conditions, periodic
        As of :class:`Helmholtz`.

    Raises
    ------
    InvalidInput
        If ``dim`` is out of range, or the samples of ``damping`` may fail to be positive; from
        :meth:`check_resolution`, for fewer than ten nodes a wavelength 2 pi / k.
    """

    name = "complex_helmholtz"
    complex_valued = True

    def __init__(
        self,
        dim: int = 2,
        wave_number: Distribution = Uniform(10.0, 30.0),  # noqa: B008, immutable
        damping: Distribution = Constant(0.1),  # noqa: B008, immutable
        source: Distribution = GaussianField(std=1.0),  # noqa: B008, immutable
        conditions: Mapping[str, Condition] | None = None,
        periodic: Sequence[str] = (),
    ) -> None:
        super().__init__(dim, wave_number, source, conditions, periodic)
        self.eta = Parameter(damping, positive=True, argument="damping")

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        """``-div(grad u) - k^2 (1 + i eta) u - f``."""
        return -sum(D(u, axis, 2) for axis in self.domain.axes) - p.k**2 * (1 + i_times(p.eta)) * u - p.f
