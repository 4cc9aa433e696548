"""Burgers' equation where the viscosity is too small for the grid: shocks, by finite volumes."""

from __future__ import annotations

import math
from typing import Any

from pdeflow.problems.conservation_law import ConservationLaw
from pdeflow.problems.distributions import Constant, Distribution
from pdeflow.problems.domain import unit_box
from pdeflow.problems.parameter import Parameter
from pdeflow.problems.sine_waves import SineWaves


class BurgersFronts(ConservationLaw):
    r""":math:`u_t + (u^2 / 2)_x = \nu\, u_{xx}` on the unit interval, which wraps around, by finite volumes.

    The equation of :class:`~pdeflow.problems.burgers.Burgers`. A front is about 8 nu wide over the height of
    its jump; where the cells do not resolve it, Fourier series oscillate, while here it is a shock of a cell
    or two at the right place. First order in the width of the cells; where a front is resolved,
    ``Burgers`` is far more accurate. No number of cells is too small for a front; the waves that it grows out
    of need ten each.

    Parameters
    ----------
    viscosity
        Of nu, positive; by default the least of PDEBench, 0.001 / pi (Takamoto and others, NeurIPS 2022).
    initial
        Of u0, a field, whose values at the centres stand for the averages over the cells.

    Raises
    ------
    InvalidInput
        From :meth:`check_resolution`, for fewer than ten cells a wave of the initial field.
    """

    name = "burgers_fronts"

    def __init__(
        self,
        viscosity: Distribution = Constant(1e-3 / math.pi),  # noqa: B008, immutable
        initial: Distribution = SineWaves(),  # noqa: B008, immutable
    ) -> None:
        self.domain = unit_box(1, periodic=True)
        self.nu = Parameter(viscosity, positive=True, argument="viscosity")
        self.u0 = Parameter(initial)

    def flux(self, u: Any, p: Any) -> Any:
        """``u^2 / 2``."""
        return u**2 / 2

    def potential(self, u: Any, p: Any) -> Any:
        """``nu u``."""
        return p.nu * u
