"""Conduction of heat in a body whose material varies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pdeflow.problems.calculus import D
from pdeflow.problems.conditions import Condition, Dirichlet, conditions_on, require_positive_robin
from pdeflow.problems.distributions import Constant, Distribution
from pdeflow.problems.domain import unit_box
from pdeflow.problems.parabolic_equation import ParabolicEquation
from pdeflow.problems.parameter import Parameter
from pdeflow.problems.random_fields import GaussianField, LogNormalField


class HeatConduction(ParabolicEquation):
    r""":math:`u_t = \nabla \cdot (a \nabla u) + f` on the unit interval, square or cube.

    J. Fourier, "Theorie analytique de la chaleur", 1822: a is the diffusivity of the material, f what it
    produces; a side is held at a temperature (Dirichlet), let heat through (Neumann) or cools (Robin).

    Parameters
    ----------
    dim
        1, 2 or 3.
    coefficient
        Of a, positive, a field or a number.
    source
        Of f, a field or a number.
    initial
        Of u0, a field. Sides with Dirichlet values have these from the start.
    conditions
        Side (``x-``, ``x+``, ...) or axis, for both of its sides, to :class:`Dirichlet`, :class:`Neumann`, or
        :class:`Robin` with a coefficient of at least 0; u = 0 on the others.
    periodic
        Axes that wrap around, such as ``["x"]``; they have no sides.

    Raises
    ------
    InvalidInput
        If ``dim`` is out of range or the coefficient's samples may fail to be positive.
    """

    name = "heat_conduction"

    def __init__(
        self,
        dim: int = 2,
        coefficient: Distribution = LogNormalField(std=0.5),  # noqa: B008, immutable
        source: Distribution = Constant(1.0),  # noqa: B008, immutable
        initial: Distribution = GaussianField(std=1.0),  # noqa: B008, immutable
        conditions: Mapping[str, Condition] | None = None,
        periodic: Sequence[str] = (),
    ) -> None:
        self.domain = unit_box(dim, periodic=periodic)
        self.conditions = conditions_on(conditions, self.domain, Dirichlet(0.0))
        require_positive_robin(self.conditions, self.domain)
        self.a = Parameter(coefficient, positive=True, argument="coefficient")
        self.f = Parameter(source)
        self.u0 = Parameter(initial)

    def rate(self, u: Any, p: Any) -> Any:
        """``div(a grad u) + f``."""
        return sum(D(p.a * D(u, axis), axis) for axis in self.domain.axes) + p.f
