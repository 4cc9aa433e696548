"""Linear elasticity, plane strain, on random polygons with holes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pdeflow.linalg import Tag
from pdeflow.problems.calculus import D
from pdeflow.problems.conditions import Condition
from pdeflow.problems.distributions import Distribution, LogUniform, Uniform
from pdeflow.problems.mesh_problem import MeshProblem
from pdeflow.problems.polygon import RandomPolygon
from pdeflow.problems.polygon_conditions import conditions_on_body
from pdeflow.problems.problem import Parameter


class PolygonElasticity(MeshProblem):
    r""":math:`-\nabla \cdot \sigma = f`, a body held along the longest edge of its outer boundary.

    :math:`\sigma = \lambda\, \mathrm{tr}(\varepsilon) I + 2 \mu\, \varepsilon` with the strain
    :math:`\varepsilon = (\nabla u + \nabla u^T) / 2`, u = (ux, uy) the displacement; plane strain. Lambda
    and mu are Lame's parameters, f the force on the area. The rest of the boundary, the holes with it, is
    free of traction, unless `conditions` say otherwise. A displacement on ``outer`` moves the longest edge
    too; nothing frees it.

    Parameters
    ----------
    shape
        Of the domains.
    first, second
        Of lambda and mu, positive.
    force
        Of each component of f.
    conditions
        ``outer`` or ``holes`` to :class:`Displacement` or :class:`Traction`. Where the displacement is given,
        along the longest edge too, a traction on ``outer`` has no effect.

    Raises
    ------
    InvalidInput
        If the samples of lambda or mu may fail to be positive, or a part of the boundary is unknown or on no
        polygon.
    """

    name = "polygon_elasticity"

    fields = ("ux", "uy")
    held = ("base",)
    tags = frozenset({Tag.SYMMETRIC, Tag.POSITIVE_DEFINITE})

    def __init__(
        self,
        shape: RandomPolygon = RandomPolygon(),  # noqa: B008, immutable
        first: Distribution = LogUniform(0.5, 2.0),  # noqa: B008, immutable
        second: Distribution = LogUniform(0.5, 2.0),  # noqa: B008, immutable
        force: Distribution = Uniform(-1.0, 1.0),  # noqa: B008, immutable
        conditions: Mapping[str, Condition] | None = None,
    ) -> None:
        self.shape = shape
        self.conditions = conditions_on_body(conditions, shape)
        self.lam = Parameter(first, positive=True, argument="first")
        self.mu = Parameter(second, positive=True, argument="second")
        self.fx = Parameter(force)
        self.fy = Parameter(force)

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        """``-div sigma - f``, two components."""
        volume = p.lam * (D(u.ux, "x") + D(u.uy, "y"))
        sxx, syy = volume + 2 * p.mu * D(u.ux, "x"), volume + 2 * p.mu * D(u.uy, "y")
        sxy = p.mu * (D(u.ux, "y") + D(u.uy, "x"))
        return -D(sxx, "x") - D(sxy, "y") - p.fx, -D(sxy, "x") - D(syy, "y") - p.fy
