"""Darcy flow through a porous medium."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pdeflow.problems.calculus import D
from pdeflow.problems.conditions import Condition, Dirichlet, conditions_on, require_positive_robin
from pdeflow.problems.distributions import Constant, Distribution
from pdeflow.problems.domain import unit_box
from pdeflow.problems.parameter import Parameter
from pdeflow.problems.problem import Problem
from pdeflow.problems.random_fields import ThresholdedField


class Darcy(Problem):
    r""":math:`-\nabla \cdot (a \nabla u) = f` on the unit interval, square or cube, u = 0 on the boundary.

    The defaults are the data set of Li et al., "Fourier Neural Operator for Parametric Partial Differential
    Equations", ICLR 2021: a is 12 or 3 by the sign of a Gaussian field, f = 1.

    Parameters
    ----------
    dim
        1, 2 or 3.
    coefficient
        Of the permeability a, positive: :class:`ThresholdedField`, :class:`LogNormalField`, or a scalar.
    source
        Of f, a field or a number.
    conditions
        Side (``x-``, ``x+``, ...) or axis, for both of its sides, to :class:`Dirichlet`, :class:`Neumann`, or
        :class:`Robin` with a coefficient of at least 0; u = 0 on the others.
        Where none fixes the level of u, see :class:`~pdeflow.problems.discretise.System`.
    periodic
        Axes that wrap around, such as ``["x"]``; they have no sides.

    Raises
    ------
    InvalidInput
        If ``dim`` is out of range or the coefficient's samples may fail to be positive.
    """

    def __init__(
        self,
        dim: int = 2,
        coefficient: Distribution = ThresholdedField(),  # noqa: B008, immutable
        source: Distribution = Constant(1.0),  # noqa: B008, immutable
        conditions: Mapping[str, Condition] | None = None,
        periodic: Sequence[str] = (),
    ) -> None:
        self.domain = unit_box(dim, periodic=periodic)
        self.conditions = conditions_on(conditions, self.domain, Dirichlet(0.0))
        require_positive_robin(self.conditions, self.domain)
        self.a = Parameter(coefficient, positive=True, argument="coefficient")
        self.f = Parameter(source)

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        """``-div(a grad u) - f``."""
        return -sum(D(p.a * D(u, axis), axis) for axis in self.domain.axes) - p.f
