"""Incompressible flow in a periodic square, stated by its vorticity."""

from __future__ import annotations

import math
from typing import Any

from pdeflow.grid import Grid
from pdeflow.problems.calculus import D, inverse_laplacian
from pdeflow.problems.distributions import Constant, Distribution
from pdeflow.problems.domain import unit_box
from pdeflow.problems.evolution import Evolution
from pdeflow.problems.parameter import Parameter
from pdeflow.problems.plane_wave import PlaneWave
from pdeflow.problems.random_fields import GaussianField
from pdeflow.problems.resolution import require_nodes

FNO_STD = 0.26196
"""Standard deviation of the field that the FNO paper's released code draws; see `NavierStokes`."""

FEWEST_NODES = 16

FNO_FORCING = PlaneWave(0.1 * math.sqrt(2), {"x": 1, "y": 1}, math.pi / 4)
"""0.1 (sin(2 pi (x + y)) + cos(2 pi (x + y)))."""


class NavierStokes(Evolution):
    r"""The two-dimensional Navier-Stokes equations in vorticity form on the unit square, which wraps around.

    .. math::

        w_t + \nabla \cdot (v\, w) = \nu \Delta w + f, \qquad
        v = (\psi_y, -\psi_x), \qquad \Delta \psi = -w.

    The unknown is the vorticity w; the velocity v has no divergence and mean 0. Transport is stated as the
    curl of the flux of momentum,
    :math:`(\partial_{xx} - \partial_{yy}) v_1 v_2 + \partial_{xy} (v_2^2 - v_1^2)`: four transforms, where
    those of v and w are five (C. Basdevant, "Technical improvements for direct numerical simulation of
    homogeneous three-dimensional turbulence", J. Comput. Phys. 50, 1983).

    The statement is not local, so it has no residual at scattered points. How thin its layers become, about
    sqrt(nu / |w|), depends on the forcing and the time, and no number of nodes that is enough follows from
    the parameters: a grid is refused only where it does not carry the forcing or a band-limited initial
    field, or has fewer than 16 nodes along an axis, whose products have five waves free of aliasing and so
    no eddies.

    Parameters
    ----------
    viscosity
        Of nu, positive. The FNO paper has 1e-3, 1e-4 and 1e-5.
    forcing
        Of f, a field; by default the FNO paper's (Li et al., ICLR 2021, section 5.3),
        0.1 (sin(2 pi (x + y)) + cos(2 pi (x + y))). Kolmogorov's is ``PlaneWave(amplitude, {"y": 4})``.
    initial
        Of w0, a field; by default that of the FNO paper's released code, N(0, 2 * 343 (-Laplace + 49)^-2.5).
        The paper itself prints the factor 7^(3/2) instead, a field a sixth as strong.
    """

    name = "navier_stokes"
    fields = ("w",)

    def __init__(
        self,
        viscosity: Distribution = Constant(1e-3),  # noqa: B008, immutable
        forcing: Distribution = FNO_FORCING,
        initial: Distribution = GaussianField(alpha=2.5, tau=7.0, std=FNO_STD),  # noqa: B008, immutable
    ) -> None:
        self.domain = unit_box(2, periodic=True)
        self.nu = Parameter(viscosity, positive=True, argument="viscosity")
        self.f = Parameter(forcing)
        self.w0 = Parameter(initial)

    def check_resolution(self, grid: Grid) -> None:
        """Raise InvalidInput unless the grid carries eddies at all."""
        super().check_resolution(grid)
        hint = "Take a finer grid: 64 nodes for nu = 1e-3."
        require_nodes(grid, FEWEST_NODES, "which have five waves free of aliasing", hint)

    def rate(self, u: Any, p: Any) -> Any:
        """``nu Laplace w + f``, less the curl of the flux of momentum."""
        psi = -inverse_laplacian(u, self.domain.axes)
        v1, v2 = D(psi, "y"), -D(psi, "x")
        shear = v1 * v2
        transport = D(shear, "x", 2) - D(shear, "y", 2) + D(D(v2 * v2 - v1 * v1, "x"), "y")
        return p.nu * (D(u, "x", 2) + D(u, "y", 2)) + p.f - transport
