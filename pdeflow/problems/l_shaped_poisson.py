"""Poisson's equation on an L, whose solution is singular in the corner."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from pdeflow.problems.calculus import D
from pdeflow.problems.conditions import Dirichlet
from pdeflow.problems.finite_element_reference import FiniteElementReference, refined
from pdeflow.problems.polygon import Polygon
from pdeflow.problems.polygon_mesh import triangulate
from pdeflow.problems.problem import Problem

CORNERS = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (-1.0, 1.0), (-1.0, -1.0), (0.0, -1.0))
_MESH_SIZE, _HALVINGS = 0.04, 12


class LShapedPoisson(Problem):
    r""":math:`-\Delta u = 1` on the square :math:`[-1, 1]^2` without its lower right quarter, u = 0 around
    it.

    Near the corner u behaves like :math:`r^{2/3} \sin(2\theta/3)`: its derivatives are not bounded. The
    integral of the solution is 0.21407580 (S. Funken, D. Praetorius, P. Wissgott, "Efficient implementation
    of adaptive P1-FEM in Matlab", Comput. Methods Appl. Math. 11, 2011).
    """

    name = "l_shaped_poisson"
    conditions = (Dirichlet(0.0),)

    def __init__(self) -> None:
        self.domain = Polygon.of(CORNERS)

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        """``-div(grad u) - 1``."""
        return -D(u, "x", 2) - D(u, "y", 2) - 1.0

    @functools.cached_property
    def solution(self) -> FiniteElementReference:
        """By finite elements, finer and finer towards the corner."""
        mesh = triangulate(Polygon.of(CORNERS), _MESH_SIZE)

        def near(nodes: np.ndarray, number: int) -> np.ndarray:
            return np.hypot(*nodes.T) < max(0.4 * 0.5**number, 1e-9)

        return FiniteElementReference(self, refined(mesh, _HALVINGS, near))

    def reference(self, points: np.ndarray) -> np.ndarray:
        """See :meth:`Problem.reference`."""
        return self.solution(points)
