"""The Korteweg-de Vries equation: long waves in shallow water."""

from __future__ import annotations

from typing import Any

from pdeflow.problems.calculus import D
from pdeflow.problems.distributions import Distribution
from pdeflow.problems.domain import Box
from pdeflow.problems.evolution import Evolution
from pdeflow.problems.parameter import Parameter
from pdeflow.problems.random_fields import GaussianField


class KortewegDeVries(Evolution):
    r""":math:`u_t + 6\, u\, u_x + u_{xxx} = 0` on an interval that wraps around: solitons.

    Parameters
    ----------
    length
        Of the interval.
    initial
        Of u0, a field; by default a smooth Gaussian field of standard deviation 0.5.

    Raises
    ------
    InvalidInput
        If the length is not positive.
    """

    name = "korteweg_de_vries"

    def __init__(
        self,
        length: float = 32.0,
        initial: Distribution = GaussianField(alpha=4.0, tau=0.5, std=0.5),  # noqa: B008, immutable
    ) -> None:
        self.domain = Box(x=(0.0, length), periodic=("x",))
        self.u0 = Parameter(initial)

    def rate(self, u: Any, p: Any) -> Any:
        """``-u_xxx - (3 u^2)_x``."""
        return -D(u, "x", 3) - 3 * D(u**2, "x")
