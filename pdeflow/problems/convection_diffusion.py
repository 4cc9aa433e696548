"""Transport by a wind and by diffusion."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.problems.calculus import D
from pdeflow.problems.conditions import (
    Condition,
    Dirichlet,
    conditions_on,
    require_level,
    require_positive_robin,
)
from pdeflow.problems.distributions import Distribution, LogUniform, Uniform
from pdeflow.problems.domain import unit_box
from pdeflow.problems.parameter import Parameter
from pdeflow.problems.problem import Problem
from pdeflow.problems.random_fields import Field, GaussianField
from pdeflow.problems.resolution import require_nodes

LARGEST_PECLET = 2.0
"""Where |v| h / d is larger, the central differences of a boundary layer oscillate."""


class ConvectionDiffusion(Problem):
    r""":math:`-d\, \Delta u + v \cdot \nabla u = f` on the unit interval, square or cube.

    Parameters
    ----------
    dim
        1, 2 or 3.
    diffusion
        Of d, positive.
    velocity
        Of each component of v, which are drawn independently of each other.
    source
        Of f, a field or a number; by default a smooth Gaussian field of standard deviation 1.
    conditions
        Side (``x-``, ``x+``, ...) or axis, for both of its sides, to :class:`Dirichlet`, :class:`Neumann`, or
        :class:`Robin` with a coefficient of at least 0; u = 0 on the others. Unless all axes wrap,
        some side needs a value, or a Robin coefficient above 0. If all wrap, u is open up to a constant: the
        mean of f is dropped, and that of u is 0 (:class:`~pdeflow.problems.discretise.System`).
    periodic
        Axes that wrap around, such as ``["x"]``; they have no sides.

    Raises
    ------
    InvalidInput
        If ``dim`` is out of range, the diffusion may fail to be positive, a condition does not suit, or all
        axes wrap and the wind or the diffusion is a field; from :meth:`check_resolution`,
        where the cell Peclet number |v| h / d of some sample may exceed 2.
    """

    name = "convection_diffusion"

    def __init__(
        self,
        dim: int = 2,
        diffusion: Distribution = LogUniform(0.02, 0.5),  # noqa: B008, immutable
        velocity: Distribution = Uniform(-1.0, 1.0),  # noqa: B008, immutable
        source: Distribution = GaussianField(std=1.0),  # noqa: B008, immutable
        conditions: Mapping[str, Condition] | None = None,
        periodic: Sequence[str] = (),
    ) -> None:
        self.domain = unit_box(dim, periodic=periodic)
        self.conditions = conditions_on(conditions, self.domain, Dirichlet(0.0))
        require_positive_robin(self.conditions, self.domain)
        if all(self.domain.periodic):
            for name, given in (("diffusion", diffusion), ("velocity", velocity)):
                if isinstance(given, Field):
                    expected = "numbers, for a wind that varies suits no source on a box that wraps around"
                    raise InvalidInput(name, given, expected, "Give an axis a side with a condition.")
        else:
            why = "without, only sources that suit the wind have a solution"
            require_level(self.conditions, self.domain, why)
        self.d = Parameter(diffusion, positive=True, argument="diffusion")
        for axis in self.domain.axes:
            setattr(self, f"v{axis}", Parameter(velocity))
        self.f = Parameter(source)

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        """``-d div(grad u) + v . grad u - f``."""
        axes = self.domain.axes
        wind = sum(getattr(p, f"v{axis}") * D(u, axis) for axis in axes)
        return -p.d * sum(D(u, axis, 2) for axis in axes) + wind - p.f

    def check_resolution(self, grid: Grid) -> None:
        """Raise InvalidInput unless the cell Peclet number of every sample is at most 2."""
        super().check_resolution(grid)
        velocity = self.parameters[f"v{grid.axes[0]}"].distribution
        fastest, least = max(abs(bound) for bound in velocity.bounds), self.d.distribution.bounds[0]
        if fastest < math.inf and least > 0:  # else some sample may be too fast on any grid
            needed = fastest / least / LARGEST_PECLET + 1
            reason = "so that the cell Peclet number stays below 2"
            require_nodes(grid, needed, reason, "Take a finer grid, more diffusion, or less wind.")
