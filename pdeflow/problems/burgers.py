"""Burgers' equation: steepening against viscosity."""

from __future__ import annotations

from typing import Any

from pdeflow.problems.calculus import D
from pdeflow.problems.distributions import Constant, Distribution
from pdeflow.problems.domain import unit_box
from pdeflow.problems.evolution import Evolution
from pdeflow.problems.parameter import Parameter
from pdeflow.problems.random_fields import GaussianField

FNO_STD = 0.5937
"""Standard deviation of N(0, 625 (-Laplace + 25)^-2) on [0, 1] without its mean."""


class Burgers(Evolution):
    r""":math:`u_t + u\, u_x = \nu\, u_{xx}` on the unit interval, which wraps around.

    A front is about 8 nu wide over the height of its jump; the grid must resolve it.

    Parameters
    ----------
    viscosity
        Of nu, positive.
    initial
        Of u0, a field; by default that of the FNO paper (Li et al., ICLR 2021, section 5.1),
        N(0, 625 (-Laplace + 25)^-2).
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
