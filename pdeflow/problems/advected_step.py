"""Linear advection of a step: transport of a jump, which must stay one."""

from __future__ import annotations

from typing import Any

from pdeflow.problems.calculus import relu, step
from pdeflow.problems.conservation_law import ConservationLaw
from pdeflow.problems.distributions import Distribution, Uniform
from pdeflow.problems.domain import unit_box
from pdeflow.problems.problem import Parameter


class AdvectedStep(ConservationLaw):
    r""":math:`u_t + \beta u_x = 0` on the unit interval, 1 in the left half at first and coming in.

    Smooth fields on an interval that wraps around are the business of :class:`~pdeflow.problems.Advection`.

    Parameters
    ----------
    velocity
        Of beta, positive.
    """

    name = "advected_step"

    def __init__(self, velocity: Distribution = Uniform(1.0, 5.0)) -> None:  # noqa: B008, immutable
        self.domain = unit_box(1)
        self.beta = Parameter(velocity, positive=True, argument="velocity")

    def flux(self, u: Any, p: Any) -> Any:
        """``beta u``."""
        return p.beta * u

    def start(self, at: Any, p: Any) -> Any:
        """1 up to x = 1/2, then 0."""
        return step(0.5 - at.x)

    def boundary(self, at: Any, p: Any) -> Any:
        """1, which counts on the left, where it comes in."""
        return 1.0

    def exact(self, at: Any, p: Any) -> Any:
        """1 up to ``x = 1/2 + beta t``, then 0."""
        return step(0.5 + p.beta * at.t - at.x)

    def mass(self, t: Any, p: Any) -> Any:
        """``1/2 + min(beta t, 1/2)``."""
        return 1 - relu(0.5 - p.beta * t)
