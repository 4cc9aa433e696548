"""Convection of a sine wave, round and round."""

from __future__ import annotations

import math
from typing import Any

from pdeflow.problems.calculus import D, sin
from pdeflow.problems.distributions import Constant
from pdeflow.problems.domain import Box
from pdeflow.problems.initial import Initial
from pdeflow.problems.parameter import Parameter
from pdeflow.problems.problem import Problem


class ConvectedSine(Problem):
    r""":math:`u_t + \beta u_x = 0` on :math:`[0, 2 \pi] \times [0, T]`, periodic, from :math:`\sin x`.

    The solution is :math:`\sin(x - \beta t)`. Networks fail for large :math:`\beta`: A. Krishnapriyan et al.,
    "Characterizing possible failure modes in physics-informed neural networks", NeurIPS 2021.

    Parameters
    ----------
    beta
        Speed.
    stop
        T.
    """

    name = "convected_sine"
    conditions = (Initial(lambda at, p: sin(at.x)),)

    def __init__(self, beta: float = 40.0, stop: float = 1.0) -> None:
        self.domain = Box(x=(0.0, 2 * math.pi), t=(0.0, stop), periodic=["x"])
        self.beta = Parameter(Constant(beta))

    def exact(self, at: Any, p: Any) -> Any:
        """The wave, moved."""
        return sin(at.x - p.beta * at.t)

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        """``u_t + beta u_x``."""
        return D(u, "t") + p.beta * D(u, "x")
