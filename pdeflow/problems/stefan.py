"""Stefan's problem: a front of melting."""

from __future__ import annotations

import math
from typing import Any

from pdeflow.errors import InvalidInput
from pdeflow.problems.calculus import erf, exp, relu, sqrt, step
from pdeflow.problems.conservation_law import ConservationLaw
from pdeflow.problems.distributions import Distribution, Uniform
from pdeflow.problems.domain import unit_box
from pdeflow.problems.problem import Parameter

NEWTON_STEPS = 60
"""Enough from the start that is used, for thresholds from ``LOWEST`` on."""

LOWEST = 0.02


class Stefan(ConservationLaw):
    r""":math:`u_t = (k(u) u_x)_x` on the unit interval, k 1 where :math:`u \ge u^*` and 0 below; u(0) = 1.

    u is the enthalpy: below u* nothing diffuses, and u falls from u* to 0 at a front, at
    :math:`2 z \sqrt t`. Neumann's solution (H. S. Carslaw, J. C. Jaeger, "Conduction of Heat in Solids"
    (1959), section 11.2) holds until the front has come to the right end, at time :math:`1 / (4 z^2)`.

    Parameters
    ----------
    threshold
        Of u*, between 0.02 and 1.
    """

    def __init__(self, threshold: Distribution = Uniform(0.55, 0.7)) -> None:  # noqa: B008, immutable
        low, high = threshold.bounds
        if not (low >= LOWEST and high < 1):
            raise InvalidInput("threshold", threshold, f"numbers from {LOWEST} to below 1")
        self.domain = unit_box(1)
        self.u_star = Parameter(threshold, positive=True, argument="threshold")

    def potential(self, u: Any, p: Any) -> Any:
        """``max(u - u*, 0)``, the temperature."""
        return relu(u - p.u_star)

    def start(self, at: Any, p: Any) -> Any:
        """0."""
        return 0.0

    def boundary(self, at: Any, p: Any) -> Any:
        """1 on the left, 0 on the right."""
        return 1.0 - at.x

    def front(self, p: Any) -> Any:
        """z, the root of ``u* erf(z) z exp(z^2) = (1 - u*) / sqrt(pi)``, by Newton's method.

        The left side is convex, and not below the right one at the start, from where the iterates fall to the
        root.
        """
        wanted = (1 - p.u_star) / (p.u_star * math.sqrt(math.pi))
        z = sqrt((1 - p.u_star) / (2 * p.u_star))
        for _ in range(NEWTON_STEPS):
            # Both sides are divided by exp(z^2).
            bell = exp(-(z**2))
            slope = erf(z) * (1 + 2 * z**2) + 2 / math.sqrt(math.pi) * z * bell
            z = z - (z * erf(z) - wanted * bell) / slope
        return z

    def exact(self, at: Any, p: Any) -> Any:
        """``1 - (1 - u*) erf(x / (2 sqrt(t))) / erf(z)`` up to the front, 0 beyond it; t positive."""
        z, spread = self.front(p), 2 * sqrt(at.t)
        return (1 - (1 - p.u_star) / erf(z) * erf(at.x / spread)) * step(z * spread - at.x)

    def mass(self, t: Any, p: Any) -> Any:
        """``2 (1 - u*) / erf(z) sqrt(t / pi)``, until the front is at the right end."""
        return 2 * (1 - p.u_star) / erf(self.front(p)) * sqrt(t / math.pi)
