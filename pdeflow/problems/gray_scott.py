"""The Gray-Scott equations: two substances that react and spread into spots, stripes and waves."""

from __future__ import annotations

import math
from typing import Any

from pdeflow.grid import Grid
from pdeflow.problems.calculus import D
from pdeflow.problems.distributions import Constant, Distribution, Uniform
from pdeflow.problems.domain import Box
from pdeflow.problems.evolution import Evolution
from pdeflow.problems.gaussian_bumps import GaussianBumps
from pdeflow.problems.parameter import Parameter
from pdeflow.problems.resolution import require_nodes

WIDEST_SPACING = 1.5
"""Of the nodes, in decay lengths l = sqrt(Dv / (F + k)) of v. A spot is like sech^2(x / 2 l), whose Fourier
coefficients fall as exp(-pi l k): the modes that such nodes leave out are below 2e-3."""


class GrayScott(Evolution):
    r"""A substance u is fed and used up by v, which feeds on it and decays, in a square that wraps around:

    .. math::

        u_t = D_u \Delta u - u v^2 + F (1 - u), \qquad v_t = D_v \Delta v + u v^2 - (F + k) v.

    J. E. Pearson, "Complex patterns in a simple system", Science 261 (1993), whose square has the side 2.5,
    whose D_u is 2e-5 and D_v 1e-5; units are without dimension. What becomes of the patches where v starts,
    spots that divide, stripes, waves or nothing, depends on F and k. A pattern takes some thousand units of
    time.

    Parameters
    ----------
    length
        Side of the square.
    feed, kill
        Of F and k, positive.
    diffusivity_u, diffusivity_v
        Of D_u and D_v, positive.
    initial_u, initial_v
        Of u0 and v0, fields. By default Pearson's values: (1, 0) outside and (1/2, 1/4) inside patches, but
        with smooth patches at random places. v0 has the random numbers of u0: with the same ``number`` and
        ``width``, the patches of both are at the same places.

    Raises
    ------
    InvalidInput
        If the length is not positive; from :meth:`check_resolution`, if the nodes are further apart than
        1.5 sqrt(D_v / (F + k)).
    """

    name = "gray_scott"
    fields = ("u", "v")

    def __init__(
        self,
        length: float = 2.5,
        feed: Distribution = Uniform(0.03, 0.05),  # noqa: B008, immutable
        kill: Distribution = Uniform(0.058, 0.064),  # noqa: B008, immutable
        diffusivity_u: Distribution = Constant(2e-5),  # noqa: B008, immutable
        diffusivity_v: Distribution = Constant(1e-5),  # noqa: B008, immutable
        initial_u: Distribution = GaussianBumps(1.0, 0.5, (10, 40), (0.05, 0.1)),  # noqa: B008, immutable
        initial_v: Distribution = GaussianBumps(0.0, 0.25, (10, 40), (0.05, 0.1)),  # noqa: B008, immutable
    ) -> None:
        self.domain = Box(x=(0.0, length), y=(0.0, length), periodic=("x", "y"))
        self.F = Parameter(feed, positive=True, argument="feed")
        self.k = Parameter(kill, positive=True, argument="kill")
        self.Du = Parameter(diffusivity_u, positive=True, argument="diffusivity_u")
        self.Dv = Parameter(diffusivity_v, positive=True, argument="diffusivity_v")
        self.u0 = Parameter(initial_u)
        self.v0 = Parameter(initial_v, same_draw_as="u0")

    def rate(self, w: Any, p: Any) -> Any:
        """``Du lap u - u v^2 + F (1 - u)`` and ``Dv lap v + u v^2 - (F + k) v``."""
        lap_u, lap_v = (D(f, "x", 2) + D(f, "y", 2) for f in (w.u, w.v))
        reaction = w.u * w.v**2
        return (
            p.Du * lap_u - reaction + p.F * (1 - w.u),
            p.Dv * lap_v + reaction - (p.F + p.k) * w.v,
        )

    def check_resolution(self, grid: Grid) -> None:
        """Raise InvalidInput unless the nodes resolve the narrowest spots of the samples."""
        super().check_resolution(grid)
        decay = self.F.distribution.bounds[1] + self.k.distribution.bounds[1]
        spread = self.Dv.distribution.bounds[0]
        if decay < math.inf and spread > 0:
            width = math.sqrt(spread / decay)
            needed = (grid.upper[0] - grid.lower[0]) / (WIDEST_SPACING * width)
            reason = f"two for three widths sqrt(Dv / (F + k)) = {width:.3g} of a spot"
            require_nodes(grid, needed, reason, "Take a finer grid, or a smaller box (problem.length).")
