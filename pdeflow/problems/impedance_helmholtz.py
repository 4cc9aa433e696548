"""The Helmholtz equation in a box that lets waves out: complex amplitudes, impedance conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pdeflow.problems.calculus import i_times
from pdeflow.problems.conditions import Condition, Robin, conditions_on
from pdeflow.problems.distributions import Distribution, Uniform
from pdeflow.problems.helmholtz import Helmholtz
from pdeflow.problems.random_fields import GaussianField


def _impedance(at: Any, p: Any) -> Any:
    return -i_times(p.k)


class ImpedanceHelmholtz(Helmholtz):
    r""":math:`-\Delta u - k^2 u = f` on an interval, square or cube, :math:`\partial u / \partial n = i k u`.

    u is the complex amplitude of a wave that goes like :math:`u e^{-i \omega t}` in time. What comes to the
    boundary at right angles leaves: in one dimension with constant k, u is the wave that f sends out on the
    whole line. At an angle t the share :math:`(1 - \cos t) / (1 + \cos t)` of the amplitude is reflected
    (B. Engquist, A. Majda, "Absorbing boundary conditions for the numerical simulation of waves", Math. Comp.
    31, 1977; this is their first condition). Where a side lets waves out,
    there is one solution for every k, without damping.

    Parameters
    ----------
    dim
        1, 2 or 3.
    wave_number
        Of k: a number, or a field where the medium varies.
    source
        Of f, real, a field or a number; by default a smooth Gaussian field of standard deviation 1.
    conditions
        Side or axis to :class:`Dirichlet`, :class:`Neumann` or :class:`Robin`, where waves are reflected; the
        other sides let them out.
    periodic
        Axes that wrap around.

    Raises
    ------
    InvalidInput
        If ``dim`` is out of range; from :meth:`check_resolution`, for fewer than ten nodes a wavelength
        2 pi / k.
    """

    name = "impedance_helmholtz"
    complex_valued = True

    def __init__(
        self,
        dim: int = 2,
        wave_number: Distribution = Uniform(10.0, 30.0),  # noqa: B008, immutable
        source: Distribution = GaussianField(std=1.0),  # noqa: B008, immutable
        conditions: Mapping[str, Condition] | None = None,
        periodic: Sequence[str] = (),
    ) -> None:
        super().__init__(dim, wave_number, source, periodic=periodic)
        self.conditions = conditions_on(conditions, self.domain, Robin(_impedance))
