"""Diffusion on random polygons with holes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pdeflow.linalg import Tag
from pdeflow.problems.calculus import D
from pdeflow.problems.conditions import Condition
from pdeflow.problems.distributions import Constant, Distribution
from pdeflow.problems.mesh_problem import MeshProblem
from pdeflow.problems.polygon import RandomPolygon
from pdeflow.problems.polygon_conditions import conditions_on_loops
from pdeflow.problems.problem import Parameter
from pdeflow.problems.random_fields import GaussianField, LogNormalField


class PolygonDiffusion(MeshProblem):
    r""":math:`-\nabla \cdot (a \nabla u) = f` on a random polygon, u = g on its boundary, holes included.

    `conditions` replace ``u = g`` on the outer boundary or on the holes; g is drawn and stored all the same.

    Parameters
    ----------
    shape
        Of the domains.
    coefficient
        Of a, positive, a field or a number.
    source
        Of f, a field or a number.
    boundary
        Of g, a field or a number. A field is given everywhere, and counts on the boundary.
    conditions
        ``outer`` or ``holes`` to :class:`Dirichlet`, :class:`Neumann`, or :class:`Robin` with a coefficient
        of at least 0; n points out of the domain, into a hole. u = g where nothing is said.

    Raises
    ------
    InvalidInput
        If the coefficient's samples may fail to be positive, a part of the boundary is unknown, or nothing
        fixes the level of u on some polygon.
    """

    name = "polygon_diffusion"

    tags = frozenset({Tag.SYMMETRIC, Tag.POSITIVE_DEFINITE})

    def __init__(
        self,
        shape: RandomPolygon = RandomPolygon(),  # noqa: B008, immutable
        coefficient: Distribution = LogNormalField(std=0.5),  # noqa: B008, immutable
        source: Distribution = Constant(1.0),  # noqa: B008, immutable
        boundary: Distribution = GaussianField(alpha=2.0, tau=3.0, std=0.1),  # noqa: B008, immutable
        conditions: Mapping[str, Condition] | None = None,
    ) -> None:
        self.shape = shape
        self.conditions = conditions_on_loops(conditions, shape)
        self.a = Parameter(coefficient, positive=True, argument="coefficient")
        self.f = Parameter(source)
        self.g = Parameter(boundary)

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        """``-div(a grad u) - f``."""
        return -sum(D(p.a * D(u, axis), axis) for axis in "xy") - p.f

    def boundary_value(self, at: Any, p: Any) -> Any:
        """``g``."""
        return p.g
