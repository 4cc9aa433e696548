"""Poisson's equation with a conductivity that depends on the solution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pdeflow.problems.calculus import D
from pdeflow.problems.conditions import (
    Condition,
    Dirichlet,
    conditions_on,
    require_level,
    require_positive_robin,
)
from pdeflow.problems.distributions import Distribution, Uniform
from pdeflow.problems.domain import unit_box
from pdeflow.problems.problem import Parameter, Problem
from pdeflow.problems.random_fields import GaussianField


class NonlinearPoisson(Problem):
    r""":math:`-\nabla \cdot ((1 + b u^2) \nabla u) = f` on the unit interval, square or cube.

    Heat conduction where the conductivity grows with the temperature. There is one solution for every f:
    :math:`u + b u^3 / 3` solves Poisson's equation (Kirchhoff's transformation). The systems are solved by
    :func:`~pdeflow.problems.newton.newton`.

    Parameters
    ----------
    dim
        1, 2 or 3.
    growth
        Of b, positive.
    source
        Of f, a field or a number; by default a smooth Gaussian field of standard deviation 50, which makes u
        as large as 1 or 2.
    conditions
        Side (``x-``, ``x+``, ...) or axis, for both of its sides, to :class:`Dirichlet`, :class:`Neumann`, or
        :class:`Robin` with a coefficient of at least 0; u = 0 on the others. Some side needs a
        value, or a Robin coefficient above 0.
    periodic
        Axes that wrap around, such as ``["x"]``; they have no sides.

    Raises
    ------
    InvalidInput
        If ``dim`` is out of range or b may fail to be positive.
    """

    name = "nonlinear_poisson"

    def __init__(
        self,
        dim: int = 2,
        growth: Distribution = Uniform(0.5, 2.0),  # noqa: B008, immutable
        source: Distribution = GaussianField(std=50.0),  # noqa: B008, immutable
        conditions: Mapping[str, Condition] | None = None,
        periodic: Sequence[str] = (),
    ) -> None:
        self.domain = unit_box(dim, periodic=periodic)
        self.conditions = conditions_on(conditions, self.domain, Dirichlet(0.0))
        require_positive_robin(self.conditions, self.domain)
        require_level(self.conditions, self.domain, "the conductivity depends on it")
        self.b = Parameter(growth, positive=True, argument="growth")
        self.f = Parameter(source)

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        """``-div((1 + b u^2) grad u) - f``."""
        conductivity = 1 + p.b * u**2
        return -sum(D(conductivity * D(u, axis), axis) for axis in self.domain.axes) - p.f
