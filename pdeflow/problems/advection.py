"""Transport by a constant wind."""

from __future__ import annotations

from typing import Any

from pdeflow.problems.calculus import D
from pdeflow.problems.distributions import Distribution, Uniform
from pdeflow.problems.domain import unit_box
from pdeflow.problems.evolution import Evolution
from pdeflow.problems.parameter import Parameter
from pdeflow.problems.random_fields import GaussianField


class Advection(Evolution):
    r""":math:`u_t + v \cdot \nabla u = 0` on the unit interval, square or cube, which wraps around.

    Parameters
    ----------
    dim
        1, 2 or 3.
    velocity
        Of each component of v, which are drawn independently of each other: numbers.
    initial
        Of u0, a field; by default a smooth Gaussian field of standard deviation 1.
    """

    def __init__(
        self,
        dim: int = 1,
        velocity: Distribution = Uniform(-1.0, 1.0),  # noqa: B008, immutable
        initial: Distribution = GaussianField(std=1.0),  # noqa: B008, immutable
    ) -> None:
        self.domain = unit_box(dim, periodic=True)
        for axis in self.domain.axes:
            setattr(self, f"v{axis}", Parameter(velocity))
        self.u0 = Parameter(initial)

    def rate(self, u: Any, p: Any) -> Any:
        """``-v . grad u``."""
        return -sum(getattr(p, f"v{axis}") * D(u, axis) for axis in self.domain.axes)
