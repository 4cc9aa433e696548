"""Burgers' equation: steepening against viscosity."""

from __future__ import annotations

import math
from typing import Any

from pdeflow.grid import Grid
from pdeflow.problems.calculus import D
from pdeflow.problems.distributions import Constant, Distribution
from pdeflow.problems.domain import unit_box
from pdeflow.problems.evolution import Evolution
from pdeflow.problems.parameter import Parameter
from pdeflow.problems.random_fields import GaussianField
from pdeflow.problems.resolution import require_nodes

FNO_STD = 0.5937
"""Standard deviation of N(0, 625 (-Laplace + 25)^-2) on [0, 1] without its mean."""


class Burgers(Evolution):
    r""":math:`u_t + u\, u_x = \nu\, u_{xx}` on the unit interval, which wraps around.

    A front between two values with the difference J is :math:`\tanh(J x / (4 \nu))` (J. D. Cole, Quart. Appl.
    Math. 9, 1951), about 8 nu wide over J. Its Fourier coefficients have fallen by
    :math:`2 \exp(-2 \pi^2 \nu / (J h))` where a grid of spacing h ends: to two thousandths at
    h = 2 sqrt(2) nu / J. J is taken to be two standard deviations of the initial field about its average,
    which moves fronts and does not steepen them: with so many nodes the relative error of the FNO paper's
    fields at the worst of six instants is 0.2 percent in the median and at most 2, with half as many 3 and at
    most 11 (measured, 16 samples, nu = 0.01).

    Parameters
    ----------
    viscosity
        Of nu, positive.
    initial
        Of u0, a field; by default that of the FNO paper (Li et al., ICLR 2021, section 5.1),
        N(0, 625 (-Laplace + 25)^-2).

    Raises
    ------
    InvalidInput
        From :meth:`check_resolution`, where the fronts of a typical sample are thinner than that. Of fields
        whose standard deviation is not known, none are.
    """

    def __init__(
        self,
        viscosity: Distribution = Constant(0.01),  # noqa: B008, immutable
        initial: Distribution = GaussianField(alpha=2.0, tau=5.0, std=FNO_STD),  # noqa: B008, immutable
    ) -> None:
        self.domain = unit_box(1, periodic=True)
        self.nu = Parameter(viscosity, positive=True, argument="viscosity")
        self.u0 = Parameter(initial)

    def rate(self, u: Any, p: Any) -> Any:
        """``nu u_xx - (u^2 / 2)_x``."""
        return p.nu * D(u, "x", 2) - D(u**2, "x") / 2

    def check_resolution(self, grid: Grid) -> None:
        """Raise InvalidInput unless the spacing is at most ``2 sqrt(2) nu / J`` for the least nu."""
        super().check_resolution(grid)
        least, jump = self.nu.distribution.bounds[0], 2 * self.u0.distribution.deviation(self.domain)
        if least > 0:  # else some front may be too thin for any grid
            needed = jump / (2 * math.sqrt(2) * least)
            reason = f"for fronts of height {jump:.3g} at the viscosity {least:.3g}"
            hint = "Take a finer grid, a larger viscosity, or BurgersFronts, which has shocks instead."
            require_nodes(grid, needed, reason, hint)
