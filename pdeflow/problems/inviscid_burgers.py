"""Burgers' equation without viscosity: a ramp that becomes a shock."""

from __future__ import annotations

from typing import Any

from pdeflow.problems.calculus import relu
from pdeflow.problems.conservation_law import ConservationLaw
from pdeflow.problems.distributions import Distribution, Uniform
from pdeflow.problems.domain import Box
from pdeflow.problems.problem import Parameter

NARROWEST = 1e-12
"""Width of the ramp that stands for a shock in the exact solution."""


class InviscidBurgers(ConservationLaw):
    r""":math:`u_t + (u^2 / 2)_x = 0` on [-1, 1], a ramp from a at x = -1 to 0 at x = 0 at first.

    The ramp steepens until the time 1 / a, and from then on is a shock that moves with the speed a / 2 (P. D.
    Lax, Comm. Pure Appl. Math. 10, 1957), until it leaves at the time 3 / a. What comes in on the left is a.

    Parameters
    ----------
    slope
        Of a, positive.
    """

    name = "inviscid_burgers"

    def __init__(self, slope: Distribution = Uniform(1.0, 4.0)) -> None:  # noqa: B008, immutable
        self.domain = Box(x=(-1.0, 1.0))
        self.a = Parameter(slope, positive=True, argument="slope")

    def flux(self, u: Any, p: Any) -> Any:
        """``u^2 / 2``."""
        return u**2 / 2

    def start(self, at: Any, p: Any) -> Any:
        """``a max(-x, 0)``."""
        return p.a * relu(-at.x)

    def boundary(self, at: Any, p: Any) -> Any:
        """a on the left, 0 on the right."""
        return p.a * (1 - at.x) / 2

    def exact(self, at: Any, p: Any) -> Any:
        """a to the left of a ramp of width ``1 - a t`` that ends at 0, or of a shock at ``(a t - 1) / 2``."""
        behind = relu(p.a * at.t - 1) / 2 - at.x
        height = relu(behind / (relu(1 - p.a * at.t) + NARROWEST))
        return p.a * (1 - relu(1 - height))

    def mass(self, t: Any, p: Any) -> Any:
        """``a (1 + a t) / 2``, until the shock leaves."""
        return p.a * (1 + p.a * t) / 2
