"""The Helmholtz equation with a known solution."""

from __future__ import annotations

import math
from typing import Any

from pdeflow.errors import InvalidInput
from pdeflow.problems.calculus import D, sin
from pdeflow.problems.conditions import Dirichlet
from pdeflow.problems.distributions import Constant
from pdeflow.problems.domain import Box
from pdeflow.problems.parameter import Parameter
from pdeflow.problems.problem import Problem


class SineHelmholtz(Problem):
    r""":math:`\Delta u + k^2 u = q` on the square :math:`[-1, 1]^2`, u = 0 on its boundary.

    The solution is :math:`\sin(a_1 \pi x) \sin(a_2 \pi y)`, as in S. Wang, Y. Teng, P. Perdikaris, SIAM J.
    Sci. Comput. 43 (2021). q is that of the k which is given: for another one, of a family or to be found, it
    stays, and the solution is :math:`(k_0^2 - c) / (k^2 - c)` times as large, :math:`c = (a_1^2 + a_2^2)
    \pi^2`.

    Parameters
    ----------
    a1, a2
        Whole numbers of half waves along x and y.
    k
        Wave number, positive.

    Raises
    ------
    InvalidInput
        If it is not, or :math:`k^2 = c`: at resonance there are many solutions.
    """

    name = "sine_helmholtz"
    domain = Box(x=(-1.0, 1.0), y=(-1.0, 1.0))
    conditions = (Dirichlet(0.0),)

    def __init__(self, a1: int = 1, a2: int = 4, k: float = 1.0) -> None:
        self.a1, self.a2 = a1, a2
        self.k = Parameter(Constant(k), positive=True, argument="k")
        self.eigenvalue = (a1**2 + a2**2) * math.pi**2
        self.load = k**2 - self.eigenvalue
        if self.load == 0:
            raise InvalidInput("k", k, "a wave number away from resonance")

    def sines(self, at: Any) -> Any:
        """The product of sines."""
        return sin(self.a1 * math.pi * at.x) * sin(self.a2 * math.pi * at.y)

    def exact(self, at: Any, p: Any) -> Any:
        """That product, or of another k a multiple."""
        return self.load / (p.k**2 - self.eigenvalue) * self.sines(at)

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        """``laplace u + k^2 u - q``."""
        return D(u, "x", 2) + D(u, "y", 2) + p.k**2 * u - self.load * self.sines(at)
