"""The porous medium equation: diffusion that stops where there is nothing."""

from __future__ import annotations

from typing import Any

from pdeflow.problems.calculus import relu
from pdeflow.problems.conservation_law import ConservationLaw
from pdeflow.problems.distributions import Distribution, Uniform
from pdeflow.problems.domain import unit_box
from pdeflow.problems.problem import Parameter


class PorousMedium(ConservationLaw):
    r""":math:`u_t = (u^m u_x)_x` on the unit interval, empty at first, filled from the left.

    The front moves with speed 1, and the steeper the larger m is: up to time 1 the solution is
    :math:`(m \max(t - x, 0))^{1/m}`, whose values at the ends are the boundary values. J. L. Vazquez, "The
    Porous Medium Equation" (2007); with these data D. C. Maddix, L. Sampaio, M. Gerritsen, J. Comput. Phys.
    361 (2018).

    Parameters
    ----------
    exponent
        Of m, positive.
    """

    name = "porous_medium"

    def __init__(self, exponent: Distribution = Uniform(1.0, 6.0)) -> None:  # noqa: B008, immutable
        self.domain = unit_box(1)
        self.m = Parameter(exponent, positive=True, argument="exponent")

    def potential(self, u: Any, p: Any) -> Any:
        """``u^(m+1) / (m+1)``, 0 below 0."""
        return relu(u) ** (p.m + 1) / (p.m + 1)

    def start(self, at: Any, p: Any) -> Any:
        """0."""
        return 0.0

    def boundary(self, at: Any, p: Any) -> Any:
        """Those of the exact solution."""
        return self.exact(at, p)

    def exact(self, at: Any, p: Any) -> Any:
        """``(m max(t - x, 0))^(1/m)``, for t up to 1."""
        return (p.m * relu(at.t - at.x)) ** (1 / p.m)

    def mass(self, t: Any, p: Any) -> Any:
        """``m^(1 + 1/m) t^(1 + 1/m) / (m + 1)``, for t up to 1."""
        return (p.m * t) ** (1 + 1 / p.m) / (p.m + 1)
