"""Heat conduction through two layers, with a known solution that has a kink."""

from __future__ import annotations

import math
from typing import Any

from pdeflow.errors import InvalidInput
from pdeflow.problems.calculus import D, cos, sin, step
from pdeflow.problems.conditions import Dirichlet
from pdeflow.problems.domain import unit_box
from pdeflow.problems.interface import Interface
from pdeflow.problems.problem import Problem


class LayeredConduction(Problem):
    r""":math:`-\nabla \cdot (k \nabla u) = f` on the unit square, k one number for x < 1/2, another above.

    The solution is :math:`\sin(\pi y) (\cos(\pi (x - 1/2)) + (x - 1/2) / k)`: at x = 1/2 it is continuous,
    as is :math:`k u_x`, and its slope is not. The equation is that of each layer by itself, where k is
    constant, divided by k; how layers meet is a condition.

    Parameters
    ----------
    below, above
        k, positive.

    Raises
    ------
    InvalidInput
        If one is not positive.
    """

    name = "layered_conduction"

    def __init__(self, below: float = 1.0, above: float = 10.0) -> None:
        for name, k in (("below", below), ("above", above)):
            if not 0 < k < math.inf:
                raise InvalidInput(f"problem.{name}", k, "a positive number")
        self.domain, self.below, self.above = unit_box(2), below, above
        self.conditions = (
            Dirichlet(0.0, on=("y-", "y+")),
            Dirichlet(lambda at, p: -0.5 / below * sin(math.pi * at.y), on="x-"),
            Dirichlet(lambda at, p: 0.5 / above * sin(math.pi * at.y), on="x+"),
            Interface("x", 0.5, below=below, above=above),
        )

    def _resistance(self, at: Any) -> Any:
        """1 / k."""
        return 1 / self.below + (1 / self.above - 1 / self.below) * step(at.x - 0.5)

    def exact(self, at: Any, p: Any) -> Any:
        """A wave and a ramp."""
        x = at.x - 0.5
        return sin(math.pi * at.y) * (cos(math.pi * x) + x * self._resistance(at))

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        """``-div(grad u) - f / k``."""
        x = at.x - 0.5
        source = math.pi**2 * sin(math.pi * at.y) * (2 * cos(math.pi * x) + x * self._resistance(at))
        return -D(u, "x", 2) - D(u, "y", 2) - source
