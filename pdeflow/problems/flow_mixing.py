"""A vortex that winds up a front."""

from __future__ import annotations

from typing import Any

from pdeflow.problems.calculus import D, cos, cosh, sin, sqrt, tanh
from pdeflow.problems.conditions import Dirichlet
from pdeflow.problems.domain import Box
from pdeflow.problems.initial import Initial
from pdeflow.problems.problem import Problem

FASTEST = 0.385
"""Nearly the largest value of tanh(r) / cosh(r)^2."""
TINY = 1e-24
"""Of the square of a radius: at the axis the rate of turning is then its limit, where r / r would be NaN."""


class FlowMixing(Problem):
    r""":math:`u_t - \omega y\, u_x + \omega x\, u_y = 0` on :math:`[-4, 4]^2 \times [0, T]`.

    The fluid turns with :math:`\omega = \tanh(r) / (0.385\, r \cosh^2 r)`, r the distance from the axis. The
    solution is :math:`-\tanh(\tfrac12 (y \cos \omega t - x \sin \omega t))`, and given on all sides, as in J.
    Cho et al., "Separable physics-informed neural networks", NeurIPS 2023. The flow is that of P. Tamamidis,
    D. N. Assanis, Int. J. Numer. Methods Fluids 16 (1993).

    Parameters
    ----------
    stop
        T.
    """

    name = "flow_mixing"

    def __init__(self, stop: float = 4.0) -> None:
        self.domain = Box(x=(-4.0, 4.0), y=(-4.0, 4.0), t=(0.0, stop))
        self.conditions = (
            Dirichlet(self.exact),
            Initial(lambda at, p: -tanh(at.y / 2)),
        )

    def turning(self, at: Any) -> Any:
        """The angular velocity."""
        r = sqrt(at.x**2 + at.y**2 + TINY)
        return tanh(r) / (FASTEST * r * cosh(r) ** 2)

    def exact(self, at: Any, p: Any) -> Any:
        """The front, wound up."""
        angle = self.turning(at) * at.t
        return -tanh((at.y * cos(angle) - at.x * sin(angle)) / 2)

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        """``u_t - omega y u_x + omega x u_y``."""
        turning = self.turning(at)
        return D(u, "t") - turning * at.y * D(u, "x") + turning * at.x * D(u, "y")
