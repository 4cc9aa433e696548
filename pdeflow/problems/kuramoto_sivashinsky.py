"""The Kuramoto-Sivashinsky equation: flame fronts and thin films."""

from __future__ import annotations

import math
from typing import Any

from pdeflow.grid import Grid
from pdeflow.problems.calculus import D
from pdeflow.problems.distributions import Distribution
from pdeflow.problems.domain import Box
from pdeflow.problems.evolution import Evolution
from pdeflow.problems.parameter import Parameter
from pdeflow.problems.random_fields import GaussianField
from pdeflow.problems.resolution import require_nodes

HIGHEST_WAVE_NUMBER = 2.0


class KuramotoSivashinsky(Evolution):
    r""":math:`u_t + u\, u_x + u_{xx} + u_{xxxx} = 0` on an interval that wraps around: chaos.

    Parameters
    ----------
    length
        Of the interval; motion is chaotic from about 22 on.
    initial
        Of u0, a field; by default a smooth Gaussian field of standard deviation 1.

    Raises
    ------
    InvalidInput
        If the length is not positive; from :meth:`check_resolution`, if the grid has too few decaying waves.
    """

    name = "kuramoto_sivashinsky"

    def __init__(
        self,
        length: float = 64.0,
        initial: Distribution = GaussianField(alpha=4.0, tau=0.4, std=1.0),  # noqa: B008, immutable
    ) -> None:
        self.domain = Box(x=(0.0, length), periodic=("x",))
        self.u0 = Parameter(initial)

    def rate(self, u: Any, p: Any) -> Any:
        """``-u_xx - u_xxxx - (u^2 / 2)_x``."""
        return -D(u, "x", 2) - D(u, "x", 4) - D(u**2, "x") / 2

    def check_resolution(self, grid: Grid) -> None:
        """Raise InvalidInput unless the grid has waves up to wave number 2.

        Waves below k = 1 grow, at the rate k^2 - k^4 of at most 1/4, and those above take up what they gain,
        at k = 2 at the rate 12. Without these the solution grows without end.
        """
        super().check_resolution(grid)
        waves = math.ceil(HIGHEST_WAVE_NUMBER * (grid.upper[0] - grid.lower[0]) / (2 * math.pi))
        needed = 2 * waves + 1
        reason = f"two for each wave up to wave number {HIGHEST_WAVE_NUMBER:g}, where energy is taken away"
        require_nodes(grid, needed, reason, "Take a finer grid, or a smaller length.")
