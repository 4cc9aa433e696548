"""The Korteweg-de Vries equation: long waves in shallow water."""

from __future__ import annotations

import math
from typing import Any

from pdeflow.grid import Grid
from pdeflow.problems.calculus import D
from pdeflow.problems.distributions import Distribution
from pdeflow.problems.domain import Box
from pdeflow.problems.evolution import Evolution
from pdeflow.problems.parameter import Parameter
from pdeflow.problems.random_fields import GaussianField
from pdeflow.problems.resolution import require_nodes

WIDEST_SPACING = 0.75
"""Of the nodes, in lengths 1 / sqrt(M) for fields of height M."""


class KortewegDeVries(Evolution):
    r""":math:`u_t + 6\, u\, u_x + u_{xxx} = 0` on an interval that wraps around: solitons.

    A soliton of height A is :math:`A\, \mathrm{sech}^2(\sqrt{A / 2}\, x)`. From a field of height M comes
    none higher than A = 2 M, because the Schroedinger operator :math:`-d^2/dx^2 - u_0` has no eigenvalue
    below -M (C. S. Gardner, J. M. Greene, M. D. Kruskal, R. M. Miura, Phys. Rev. Lett. 19, 1967). Its Fourier
    coefficients fall as :math:`\exp(-\pi k / (2 \sqrt M))`: where a grid of spacing h = 3 / (4 sqrt(M))
    ends, to two thousandths. M is taken to be two standard deviations of the initial field about its average
    m: in a frame that moves with 6 m, u - m solves the same equation.

    Parameters
    ----------
    length
        Of the interval.
    initial
        Of u0, a field; by default a smooth Gaussian field of standard deviation 0.5.

    Raises
    ------
    InvalidInput
        If the length is not positive; from :meth:`check_resolution`, if the nodes are further apart than
        that. Where the standard deviation of the initial field is not known, they may be.
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

    def check_resolution(self, grid: Grid) -> None:
        """Raise InvalidInput unless the spacing is at most ``3 / (4 sqrt(M))``."""
        super().check_resolution(grid)
        height = 2 * self.u0.distribution.deviation(self.domain)
        needed = (grid.upper[0] - grid.lower[0]) * math.sqrt(height) / WIDEST_SPACING
        reason = f"for solitons that come from fields of height {height:.3g}"
        require_nodes(grid, needed, reason, "Take a finer grid, a smaller length, or lower fields.")
