"""Poisson's equation."""

from __future__ import annotations

from typing import Any

from pdeflow.problems.calculus import D
from pdeflow.problems.conditions import Dirichlet
from pdeflow.problems.distributions import Distribution
from pdeflow.problems.domain import unit_box
from pdeflow.problems.parameter import Parameter
from pdeflow.problems.problem import Problem
from pdeflow.problems.random_fields import GaussianField


class Poisson(Problem):
    r""":math:`-\Delta u = f` on the unit interval, square or cube, u = 0 on the boundary.

    Parameters
    ----------
    dim
        1, 2 or 3.
    source
        Of f, a field or a number; by default a smooth Gaussian field of standard deviation 1.
    """

    def __init__(
        self,
        dim: int = 2,
        source: Distribution = GaussianField(std=1.0),  # noqa: B008, immutable
    ) -> None:
        self.domain = unit_box(dim)
        self.conditions = (Dirichlet(0.0),)
        self.f = Parameter(source)

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        """``-div(grad u) - f``."""
        return -sum(D(u, axis, 2) for axis in self.domain.axes) - p.f
