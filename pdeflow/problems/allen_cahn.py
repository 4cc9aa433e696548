"""The Allen-Cahn equation: two phases and the fronts between them."""

from __future__ import annotations

from typing import Any

from pdeflow.problems.calculus import D
from pdeflow.problems.distributions import Constant, Distribution
from pdeflow.problems.domain import unit_box
from pdeflow.problems.evolution import Evolution
from pdeflow.problems.parameter import Parameter
from pdeflow.problems.random_fields import GaussianField


class AllenCahn(Evolution):
    r""":math:`u_t = \epsilon^2 \Delta u + u - u^3` on the unit interval, square or cube, which wraps around.

    A front is :math:`\tanh(x / (\sqrt 2\, \epsilon))`; the grid must resolve it.

    Parameters
    ----------
    dim
        1, 2 or 3.
    width
        Of epsilon, positive.
    initial
        Of u0, a field; by default a smooth Gaussian field of standard deviation 0.5.
    """

    name = "allen_cahn"

    def __init__(
        self,
        dim: int = 2,
        width: Distribution = Constant(0.03),  # noqa: B008, immutable
        initial: Distribution = GaussianField(alpha=4.0, tau=10.0, std=0.5),  # noqa: B008, immutable
    ) -> None:
        self.domain = unit_box(dim, periodic=True)
        self.epsilon = Parameter(width, positive=True)
        self.u0 = Parameter(initial)

    def rate(self, u: Any, p: Any) -> Any:
        """``epsilon^2 div(grad u) + u - u^3``."""
        return p.epsilon**2 * sum(D(u, axis, 2) for axis in self.domain.axes) + u - u**3
