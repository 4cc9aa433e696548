"""The Helmholtz equation with a known solution."""

from __future__ import annotations

import math
from typing import Any

from pdeflow.problems.calculus import D, sin
from pdeflow.problems.conditions import Dirichlet
from pdeflow.problems.domain import Box
from pdeflow.problems.problem import Problem


class SineHelmholtz(Problem):
    r""":math:`\Delta u + k^2 u = q` on the square :math:`[-1, 1]^2`, u = 0 on its boundary.

    The solution is :math:`\sin(a_1 \pi x) \sin(a_2 \pi y)`, as in S. Wang, Y. Teng, P. Perdikaris, SIAM J.
    Sci. Comput. 43 (2021).

    Parameters
    ----------
    a1, a2
        Whole numbers of half waves along x and y.
    k
        Wave number.
    """

    name = "sine_helmholtz"
    domain = Box(x=(-1.0, 1.0), y=(-1.0, 1.0))
    conditions = (Dirichlet(0.0),)

    def __init__(self, a1: int = 1, a2: int = 4, k: float = 1.0) -> None:
        self.a1, self.a2, self.k = a1, a2, k

    def exact(self, at: Any, p: Any) -> Any:
        """The product of sines."""
        return sin(self.a1 * math.pi * at.x) * sin(self.a2 * math.pi * at.y)

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        """``laplace u + k^2 u - q``."""
        q = (self.k**2 - (self.a1**2 + self.a2**2) * math.pi**2) * self.exact(at, p)
        return D(u, "x", 2) + D(u, "y", 2) + self.k**2 * u - q
