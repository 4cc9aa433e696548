"""The heat equation on an interval with a known solution."""

from __future__ import annotations

import math
from typing import Any

from pdeflow.problems.calculus import D, exp, sin
from pdeflow.problems.conditions import Dirichlet
from pdeflow.problems.distributions import Constant
from pdeflow.problems.domain import Box
from pdeflow.problems.initial import Initial
from pdeflow.problems.parameter import Parameter
from pdeflow.problems.problem import Problem


class HeatedRod(Problem):
    r""":math:`u_t = a u_{xx}` on :math:`[0, 1] \times [0, T]`, u = 0 at the ends, from :math:`\sin \pi x`.

    The solution is :math:`e^{-a \pi^2 t} \sin \pi x`.

    Parameters
    ----------
    diffusivity
        a, positive.
    stop
        T.
    """

    name = "heated_rod"
    conditions = (Dirichlet(0.0, on=("x-", "x+")), Initial(lambda at, p: sin(math.pi * at.x)))

    def __init__(self, diffusivity: float = 0.4, stop: float = 1.0) -> None:
        self.domain = Box(x=(0.0, 1.0), t=(0.0, stop))
        self.a = Parameter(Constant(diffusivity), positive=True, argument="diffusivity")

    def exact(self, at: Any, p: Any) -> Any:
        """The mode that decays."""
        return exp(-p.a * math.pi**2 * at.t) * sin(math.pi * at.x)

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        """``u_t - a u_xx``."""
        return D(u, "t") - p.a * D(u, "x", 2)
