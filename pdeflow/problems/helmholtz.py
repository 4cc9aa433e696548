"""The Helmholtz equation: waves of one frequency."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from pdeflow.grid import Grid
from pdeflow.problems.calculus import D
from pdeflow.problems.conditions import Condition, Dirichlet, conditions_on
from pdeflow.problems.distributions import Distribution, Uniform
from pdeflow.problems.domain import unit_box
from pdeflow.problems.parameter import Parameter
from pdeflow.problems.problem import Problem
from pdeflow.problems.random_fields import GaussianField
from pdeflow.problems.resolution import require_nodes

POINTS_PER_WAVELENGTH = 10
"""Fewer nodes a wavelength than that leave a second-order stencil with a phase error of several percent."""


class Helmholtz(Problem):
    r""":math:`-\Delta u - k^2 u = f` on the unit interval, square or cube.

    The operator is indefinite once k^2 is above the least eigenvalue of the Laplacian, ``dim pi^2``, and
    nearly singular where k^2 comes close to one of them: the solution then is large, as it is in nature.

    Parameters
    ----------
    dim
        1, 2 or 3.
    wave_number
        Of k: a number, or a field where the medium varies.
    source
        Of f, a field or a number; by default a smooth Gaussian field of standard deviation 1.
    conditions
        Side (``x-``, ``x+``, ...) or axis, for both of its sides, to :class:`Dirichlet`, :class:`Neumann` or
        :class:`Robin`; u = 0 on the others.
    periodic
        Axes that wrap around, such as ``["x"]``; they have no sides.

    Raises
    ------
    InvalidInput
        If ``dim`` is out of range; from :meth:`check_resolution`, for fewer than ten nodes a wavelength
        2 pi / k.
    """

    def __init__(
        self,
        dim: int = 2,
        wave_number: Distribution = Uniform(4.0, 8.0),  # noqa: B008, immutable
        source: Distribution = GaussianField(std=1.0),  # noqa: B008, immutable
        conditions: Mapping[str, Condition] | None = None,
        periodic: Sequence[str] = (),
    ) -> None:
        self.domain = unit_box(dim, periodic=periodic)
        self.conditions = conditions_on(conditions, self.domain, Dirichlet(0.0))
        self.k = Parameter(wave_number)
        self.f = Parameter(source)

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        """``-div(grad u) - k^2 u - f``."""
        return -sum(D(u, axis, 2) for axis in self.domain.axes) - p.k**2 * u - p.f

    def check_resolution(self, grid: Grid) -> None:
        """Raise InvalidInput unless the shortest wavelength of the samples has ten nodes."""
        super().check_resolution(grid)
        largest = max(abs(bound) for bound in self.k.distribution.bounds)
        if largest < math.inf:
            needed = POINTS_PER_WAVELENGTH * largest / (2 * math.pi) + 1
            reason = f"ten for each wavelength at k = {largest:g}"
            require_nodes(grid, needed, reason, "Take a finer grid, or smaller wave numbers.")
