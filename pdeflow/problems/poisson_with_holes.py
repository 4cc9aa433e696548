"""Laplace's equation on a square with four round holes."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from pdeflow.problems.ball import Ball
from pdeflow.problems.calculus import D
from pdeflow.problems.conditions import Dirichlet
from pdeflow.problems.domain import Box, Domain
from pdeflow.problems.finite_element_reference import FiniteElementReference, refined
from pdeflow.problems.polygon import Polygon
from pdeflow.problems.polygon_mesh import triangulate
from pdeflow.problems.problem import Problem

RADIUS, CENTRES = 0.1, ((0.3, 0.3), (-0.3, 0.3), (-0.3, -0.3), (0.3, -0.3))
_EDGES, _MESH_SIZE, _HALVINGS = 32, 0.0195, 3


class PoissonWithHoles(Problem):
    r""":math:`-\Delta u = 0` on :math:`[-1/2, 1/2]^2` without the discs of radius 0.1 around (+-0.3, +-0.3).

    u = 1 on the sides of the square and 0 on the circles, the side ``"hole"``. Z. Hao et al., "PINNacle: a
    comprehensive benchmark of physics-informed neural networks for solving PDEs", NeurIPS 2024, problem
    Poisson 2D-C.
    """

    name = "poisson_with_holes"
    conditions = (Dirichlet(1.0), Dirichlet(0.0, on="hole"))

    def __init__(self) -> None:
        square: Domain = Box(x=(-0.5, 0.5), y=(-0.5, 0.5))
        for x, y in CENTRES:
            square = square - Ball(RADIUS, "hole", x=x, y=y)
        self.domain = square

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        """``-div(grad u)``."""
        return -D(u, "x", 2) - D(u, "y", 2)

    @functools.cached_property
    def solution(self) -> FiniteElementReference:
        """By finite elements, finer around the holes, their nodes on the circles."""
        angles = 2 * math.pi * np.arange(_EDGES) / _EDGES
        around = RADIUS * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        square = [(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)]
        polygon = Polygon.of(square, holes=[(np.array(c) + around).tolist() for c in CENTRES])

        def from_nearest(nodes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            """The centre of the nearest hole, and how far the edge of that is."""
            away = nodes[:, None] - np.array(CENTRES)
            nearest = np.linalg.norm(away, axis=2).argmin(axis=1)
            centres = np.array(CENTRES)[nearest]
            return centres, np.linalg.norm(nodes - centres, axis=1) - RADIUS

        def near(nodes: np.ndarray, number: int) -> np.ndarray:
            return np.abs(from_nearest(nodes)[1]) < 0.05 * 0.5**number

        def on_circles(nodes: np.ndarray) -> np.ndarray:
            centres, away = from_nearest(nodes)
            circle = centres + (nodes - centres) * (RADIUS / (RADIUS + away))[:, None]
            return np.where((np.abs(away) < 0.1 * RADIUS)[:, None], circle, nodes)

        mesh = refined(triangulate(polygon, _MESH_SIZE), _HALVINGS, near, on_circles)
        return FiniteElementReference(self, mesh)

    def reference(self, points: np.ndarray) -> np.ndarray:
        """See :meth:`Problem.reference`."""
        return self.solution(points)
