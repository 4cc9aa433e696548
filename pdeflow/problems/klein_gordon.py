"""The Klein-Gordon equation with a known solution."""

from __future__ import annotations

from typing import Any

from pdeflow.problems.calculus import D, cos, sin
from pdeflow.problems.conditions import Dirichlet
from pdeflow.problems.domain import Box
from pdeflow.problems.initial import Initial
from pdeflow.problems.problem import Problem


class KleinGordon(Problem):
    r""":math:`u_{tt} - \Delta u + u^2 = f` on :math:`[-1, 1]^2 \times [0, T]`.

    The solution is :math:`(x + y) \cos 2t + x y \sin 2t`, as in J. Cho et al., "Separable physics-informed
    neural networks", NeurIPS 2023.

    Parameters
    ----------
    stop
        T.
    """

    name = "klein_gordon"

    def __init__(self, stop: float = 10.0) -> None:
        self.domain = Box(x=(-1.0, 1.0), y=(-1.0, 1.0), t=(0.0, stop))
        self.conditions = (
            Dirichlet(self.exact),
            Initial(lambda at, p: at.x + at.y),
            Initial(lambda at, p: 2 * at.x * at.y, order=1),
        )

    def exact(self, at: Any, p: Any) -> Any:
        """The standing waves."""
        return (at.x + at.y) * cos(2 * at.t) + at.x * at.y * sin(2 * at.t)

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        """``u_tt - laplace u + u^2 - f``."""
        exact = self.exact(at, p)
        f = exact**2 - 4 * exact
        return D(u, "t", 2) - D(u, "x", 2) - D(u, "y", 2) + u**2 - f
