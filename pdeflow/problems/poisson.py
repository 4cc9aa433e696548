"""Poisson's equation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pdeflow.problems.calculus import D
from pdeflow.problems.conditions import Condition, Dirichlet, conditions_on, require_positive_robin
from pdeflow.problems.distributions import Distribution
from pdeflow.problems.domain import unit_box
from pdeflow.problems.parameter import Parameter
from pdeflow.problems.problem import Problem
from pdeflow.problems.random_fields import GaussianField


class Poisson(Problem):
    r""":math:`-\Delta u = f` on the unit interval, square or cube.

    Parameters
    ----------
    dim
        1, 2 or 3.
    source
        Of f, a field or a number; by default a smooth Gaussian field of standard deviation 1.
    conditions
        Side (``x-``, ``x+``, ...) or axis, for both of its sides, to :class:`Dirichlet`, :class:`Neumann`, or
        :class:`Robin` with a coefficient of at least 0; u = 0 on the others.
        Where none fixes the level of u, the mean of f does not count and that of u is 0:
        :class:`~pdeflow.problems.discretise.System` says which equation is solved then.
    periodic
        Axes that wrap around, such as ``["x"]``; they have no sides.

    Raises
    ------
    InvalidInput
        If ``dim`` is out of range, ``conditions`` or ``periodic`` names no side or axis that there is, or
        one twice, or a Robin coefficient is below 0.
    """

    def __init__(
        self,
        dim: int = 2,
        source: Distribution = GaussianField(std=1.0),  # noqa: B008, immutable
        conditions: Mapping[str, Condition] | None = None,
        periodic: Sequence[str] = (),
    ) -> None:
        self.domain = unit_box(dim, periodic=periodic)
        self.conditions = conditions_on(conditions, self.domain, Dirichlet(0.0))
        require_positive_robin(self.conditions, self.domain)
        self.f = Parameter(source)

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        """``-div(grad u) - f``."""
        return -sum(D(u, axis, 2) for axis in self.domain.axes) - p.f
