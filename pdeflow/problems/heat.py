"""The heat equation."""

from __future__ import annotations

from typing import Any

from pdeflow.problems.calculus import D
from pdeflow.problems.distributions import Constant, Distribution
from pdeflow.problems.domain import unit_box
from pdeflow.problems.evolution import Evolution
from pdeflow.problems.parameter import Parameter
from pdeflow.problems.random_fields import GaussianField


class Heat(Evolution):
    r""":math:`u_t = d\, \Delta u` on the unit interval, square or cube, which wraps around.

    Parameters
    ----------
    dim
        1, 2 or 3.
    diffusion
        Of d, positive.
    initial
        Of u0, a field; by default a smooth Gaussian field of standard deviation 1.
    """

    def __init__(
        self,
        dim: int = 1,
        diffusion: Distribution = Constant(0.01),  # noqa: B008, immutable
        initial: Distribution = GaussianField(std=1.0),  # noqa: B008, immutable
    ) -> None:
        self.domain = unit_box(dim, periodic=True)
        self.d = Parameter(diffusion, positive=True, argument="diffusion")
        self.u0 = Parameter(initial)

    def rate(self, u: Any, p: Any) -> Any:
        """``d div(grad u)``."""
        return p.d * sum(D(u, axis, 2) for axis in self.domain.axes)
