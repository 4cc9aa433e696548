"""The flow behind a grid of Kovasznay, a solution of the Navier-Stokes equations."""

from __future__ import annotations

import math
from typing import Any

from pdeflow.errors import InvalidInput
from pdeflow.problems.calculus import D, cos, exp, sin
from pdeflow.problems.conditions import Dirichlet
from pdeflow.problems.domain import Box
from pdeflow.problems.problem import Problem


class KovasznayFlow(Problem):
    r"""Steady incompressible flow (u, v) with the pressure p on :math:`[-1/2, 1] \times [-1/2, 3/2]`:

    .. math::

        u u_x + v u_y + p_x = \Delta u / Re, \quad u v_x + v v_y + p_y = \Delta v / Re, \quad u_x + v_y = 0.

    With :math:`\lambda = Re / 2 - \sqrt{Re^2 / 4 + 4 \pi^2}` the solution is

    .. math::

        u = 1 - e^{\lambda x} \cos 2 \pi y, \quad
        v = \frac{\lambda}{2 \pi} e^{\lambda x} \sin 2 \pi y, \quad
        p = \frac12 (1 - e^{2 \lambda x}).

    The velocity is given on all sides. That leaves the pressure open up to a constant, so its value is given
    too, on the outflow ``x+`` alone.

    L. I. G. Kovasznay, "Laminar flow behind a two-dimensional grid", Math. Proc. Camb. Philos. Soc. 44
    (1948).

    Parameters
    ----------
    reynolds
        Re, positive.

    Raises
    ------
    InvalidInput
        If it is not.
    """

    name = "kovasznay_flow"
    domain = Box(x=(-0.5, 1.0), y=(-0.5, 1.5))
    fields = ("u", "v", "p")

    def __init__(self, reynolds: float = 40.0) -> None:
        if not 0 < reynolds < math.inf:
            raise InvalidInput("problem.reynolds", reynolds, "a positive number")
        self.reynolds = reynolds
        # Re / 2 - sqrt(Re^2 / 4 + 4 pi^2), without the cancellation of a large Re.
        self.decay = -4 * math.pi**2 / (reynolds / 2 + math.hypot(reynolds / 2, 2 * math.pi))
        self.conditions = (
            Dirichlet(lambda at, p: self.exact(at, p)[0], of="u"),
            Dirichlet(lambda at, p: self.exact(at, p)[1], of="v"),
            Dirichlet(lambda at, p: self.exact(at, p)[2], on="x+", of="p"),
        )

    def exact(self, at: Any, p: Any) -> Any:
        """Kovasznay's u, v and p."""
        away, turn = exp(self.decay * at.x), 2 * math.pi * at.y
        v = self.decay / (2 * math.pi) * away * sin(turn)
        return 1 - away * cos(turn), v, (1 - away**2) / 2

    def residual(self, w: Any, at: Any, p: Any) -> Any:
        """Both of momentum, then continuity."""

        def momentum(f: Any, axis: str) -> Any:
            diffusion = (D(f, "x", 2) + D(f, "y", 2)) / self.reynolds
            return w.u * D(f, "x") + w.v * D(f, "y") + D(w.p, axis) - diffusion

        return momentum(w.u, "x"), momentum(w.v, "y"), D(w.u, "x") + D(w.v, "y")
