"""Fisher's equation: growth up to a limit, and diffusion."""

from __future__ import annotations

from typing import Any

from pdeflow.problems.calculus import D
from pdeflow.problems.distributions import Constant, Distribution
from pdeflow.problems.domain import unit_box
from pdeflow.problems.evolution import Evolution
from pdeflow.problems.parameter import Parameter
from pdeflow.problems.sine_waves import SineWaves


class Fisher(Evolution):
    r""":math:`u_t = \nu\, u_{xx} + \rho\, u (1 - u)` on the unit interval, which wraps around.

    R. A. Fisher, "The wave of advance of advantageous genes", Annals of Eugenics 7, 1937. With the defaults
    the one-dimensional diffusion-reaction equation of PDEBench (Takamoto and others, NeurIPS 2022). Between 0
    and 1 the solution stays there; below 0 it runs away.

    Parameters
    ----------
    diffusivity
        Of nu, positive.
    growth
        Of rho, positive.
    initial
        Of u0, a field with values from 0 to 1.
    """

    def __init__(
        self,
        diffusivity: Distribution = Constant(0.5),  # noqa: B008, immutable
        growth: Distribution = Constant(1.0),  # noqa: B008, immutable
        initial: Distribution = SineWaves(rescaled=True),  # noqa: B008, immutable
    ) -> None:
        self.domain = unit_box(1, periodic=True)
        self.nu = Parameter(diffusivity, positive=True, argument="diffusivity")
        self.rho = Parameter(growth, positive=True, argument="growth")
        self.u0 = Parameter(initial)

    def rate(self, u: Any, p: Any) -> Any:
        """``nu u_xx + rho u (1 - u)``."""
        return p.nu * D(u, "x", 2) + p.rho * u * (1 - u)
