"""The Allen-Cahn equation: two phases and the fronts between them."""

from __future__ import annotations

from typing import Any

from pdeflow.grid import Grid
from pdeflow.problems.calculus import D
from pdeflow.problems.distributions import Constant, Distribution
from pdeflow.problems.domain import unit_box
from pdeflow.problems.evolution import Evolution
from pdeflow.problems.parameter import Parameter
from pdeflow.problems.random_fields import GaussianField
from pdeflow.problems.resolution import require_nodes


class AllenCahn(Evolution):
    r""":math:`u_t = \epsilon^2 \Delta u + u - u^3` on the unit interval, square or cube, which wraps around.

    A front is :math:`\tanh(x / (\sqrt 2\, \epsilon))`. Its Fourier coefficients have fallen by
    :math:`2 \exp(-\pi^2 \epsilon / (\sqrt 2\, h))` where a grid of spacing h ends: to two thousandths at
    h = epsilon, which is the widest that is accepted.

    Parameters
    ----------
    dim
        1, 2 or 3.
    width
        Of epsilon, positive.
    initial
        Of u0, a field; by default a smooth Gaussian field of standard deviation 0.5.

    Raises
    ------
    InvalidInput
        If ``dim`` is out of range; from :meth:`check_resolution`, if fronts are thinner than the spacing.
    """

    name = "allen_cahn"

    def __init__(
        self,
        dim: int = 2,
        width: Distribution = Constant(0.03),  # noqa: B008, immutable
        initial: Distribution = GaussianField(alpha=4.0, tau=10.0, std=0.5),  # noqa: B008, immutable
    ) -> None:
        self.domain = unit_box(dim, periodic=True)
        self.epsilon = Parameter(width, positive=True, argument="width")
        self.u0 = Parameter(initial)

    def rate(self, u: Any, p: Any) -> Any:
        """``epsilon^2 div(grad u) + u - u^3``."""
        return p.epsilon**2 * sum(D(u, axis, 2) for axis in self.domain.axes) + u - u**3

    def check_resolution(self, grid: Grid) -> None:
        """Raise InvalidInput unless the spacing is at most the least width of a front."""
        super().check_resolution(grid)
        least = self.epsilon.distribution.bounds[0]
        if least > 0:  # else some front may be too thin for any grid
            needed = max((high - low) / least for low, high in zip(grid.lower, grid.upper))
            reason = f"one for each width epsilon = {least:.3g} of a front"
            require_nodes(grid, needed, reason, "Take a finer grid, or wider fronts.")
