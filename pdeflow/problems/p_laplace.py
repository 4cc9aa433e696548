"""The p-Laplace equation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pdeflow.errors import InvalidInput
from pdeflow.problems.calculus import D
from pdeflow.problems.conditions import (
    Condition,
    Dirichlet,
    conditions_on,
    require_level,
    require_positive_robin,
)
from pdeflow.problems.distributions import Constant, Distribution, Uniform
from pdeflow.problems.domain import unit_box
from pdeflow.problems.grid_function import GridFunction
from pdeflow.problems.problem import Parameter, Problem
from pdeflow.problems.random_fields import GaussianField


class PLaplace(Problem):
    r""":math:`-\nabla \cdot ((\epsilon^2 + |\nabla u|^2)^{(p-2)/2} \nabla u) = f` on the unit box.

    Flow of ice or of a power-law fluid, 1 < p < 2, and torsional creep, p > 2. With a
    positive :math:`\epsilon` (Carreau's law) the equation stays elliptic where the gradient vanishes, and
    there is one solution for every f; where the gradient is below :math:`\epsilon`, it is not that of the
    p-Laplace equation proper.

    On a grid, the coefficient is evaluated at the faces, with the squares of the other components of the
    gradient averaged there: second-order accurate, within the neighbours of a node. The Jacobian is symmetric
    for p = 2 and p = 4, and nearly so between.

    Parameters
    ----------
    dim
        1, 2 or 3.
    exponent
        Of p, above 1.
    regularisation
        Of :math:`\epsilon`, positive.
    source
        Of f, a field or a number; by default a smooth Gaussian field of standard deviation 10, with which the
        gradient is about 1 for every p.
    conditions
        Side (``x-``, ``x+``, ...) or axis, for both of its sides, to :class:`Dirichlet`, :class:`Neumann`, or
        :class:`Robin` with a coefficient of at least 0; u = 0 on the others. Some side needs a
        value, or a Robin coefficient above 0.
    periodic
        Axes that wrap around, such as ``["x"]``; they have no sides.

    Raises
    ------
    InvalidInput
        If ``dim`` is out of range, p may fail to be above 1, or :math:`\epsilon` to be positive.
    """

    name = "p_laplace"

    def __init__(
        self,
        dim: int = 2,
        exponent: Distribution = Uniform(1.5, 4.0),  # noqa: B008, immutable
        regularisation: Distribution = Constant(0.1),  # noqa: B008, immutable
        source: Distribution = GaussianField(std=10.0),  # noqa: B008, immutable
        conditions: Mapping[str, Condition] | None = None,
        periodic: Sequence[str] = (),
    ) -> None:
        if exponent.bounds[0] <= 1:
            raise InvalidInput(
                "exponent", exponent, "a distribution of numbers above 1", "For example Uniform(1.5, 4)."
            )
        self.domain = unit_box(dim, periodic=periodic)
        self.conditions = conditions_on(conditions, self.domain, Dirichlet(0.0))
        require_positive_robin(self.conditions, self.domain)
        require_level(self.conditions, self.domain, "Newton's method needs a regular Jacobian")
        self.p = Parameter(exponent, positive=True, argument="exponent")
        self.epsilon = Parameter(regularisation, positive=True, argument="regularisation")
        self.f = Parameter(source)

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        """``-div((epsilon^2 + |grad u|^2)^((p - 2) / 2) grad u) - f``."""
        axes = self.domain.axes
        square = p.epsilon**2 + sum(D(u, axis) ** 2 for axis in axes)
        coefficient = square ** ((p.p - 2) / 2)
        return -sum(D(coefficient * D(u, axis), axis) for axis in axes) - p.f

    def continuation(self, parameters: Mapping[str, GridFunction]) -> list[Mapping[str, GridFunction]]:
        """From Poisson's equation, p = 2, half-way to p, then p."""
        p = parameters["p"]
        return [{**parameters, "p": 2 + share * (p - 2)} for share in (0.0, 0.5)] + [parameters]
