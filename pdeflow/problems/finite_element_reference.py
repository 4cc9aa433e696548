"""Solutions to compare with where no formula is known: quadratic finite elements on a mesh that is finer in
places.

A uniform mesh would be no reference near a corner or a small hole. So triangles there are halved again and
again (I. Babuska, R. B. Kellogg, J. Pitkaranta, "Direct and inverse error estimates for finite elements with
mesh refinements", Numer. Math. 33, 1979).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from pdeflow.errors import InvalidInput
from pdeflow.problems.calculus import Names
from pdeflow.problems.conditions import Dirichlet, by_side
from pdeflow.problems.finite_elements import WeakForm, scikit_fem
from pdeflow.triangle_mesh import TriangleMesh

if TYPE_CHECKING:
    from pdeflow.problems.problem import Problem

QUADRATURE = 4
"""Order of the quadrature: of a source of second order times a quadratic element."""


def refined(
    mesh: TriangleMesh,
    times: int,
    near: Callable[[np.ndarray, int], np.ndarray],
    placed: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Any:
    """scikit-fem's mesh, with the triangles of some places halved along each side, and again.

    Parameters
    ----------
    mesh
        To start from.
    times
        How often.
    near
        Of nodes (n, 2) and the number of the refinement, from 0: (n,) whether the triangles around are
        refined.
    placed
        Of nodes on the boundary (n, 2), where they belong on a curved one.
    """
    skfem = scikit_fem()
    made = skfem.MeshTri(mesh.positions.T.copy(), mesh.triangles.T.astype(np.int64).copy())
    for number in range(times):
        chosen = near(made.p.T, number)[made.t].any(axis=0)
        made = made.refined(np.flatnonzero(chosen))
        if placed is not None:
            nodes = made.p.copy()
            rim = made.boundary_nodes()
            nodes[:, rim] = placed(nodes[:, rim].T).T
            made = skfem.MeshTri(nodes, made.t)
    return made


class FiniteElementReference:
    """The solution of a linear steady problem in the plane whose conditions give values everywhere.

    Parameters
    ----------
    problem
        The statement, without parameters; its residual in flux form.
    mesh
        scikit-fem's, of the domain.

    Raises
    ------
    InvalidInput
        If a side has no value, or the residual is not linear.
    MissingDependency
        If scikit-fem is not installed.
    """

    def __init__(self, problem: Problem, mesh: Any) -> None:
        skfem = scikit_fem()
        self.basis = skfem.Basis(mesh, skfem.ElementTriP2(), intorder=QUADRATURE)
        weak = WeakForm(problem, self.basis, {})
        weak.check_linear()
        matrix = skfem.BilinearForm(weak.bilinear(0, 0)).assemble(self.basis)
        load = skfem.LinearForm(weak.linear(0)).assemble(self.basis)
        held = self.basis.get_dofs().all()
        values = np.zeros(self.basis.N)
        values[held] = _given(problem, self.basis.doflocs[:, held].T)
        self.values: np.ndarray = skfem.solve(*skfem.condense(matrix, load, x=values, D=held))
        self.load = load

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Values (n,) at points (n, 2) of the mesh."""
        return self.basis.probes(np.ascontiguousarray(points.T)) @ self.values


def _given(problem: Problem, points: np.ndarray) -> np.ndarray:
    """The values (n,) at points (n, 2) of the boundary, of the sides that they are nearest to."""
    from scipy.spatial import KDTree

    domain, conditions = problem.domain, by_side(problem.conditions, problem.domain)
    result, nearest = np.zeros(len(points)), np.full(len(points), np.inf)
    p = Names("parameter", {})
    for side in domain.sides:
        condition = conditions.get(side)
        if not isinstance(condition, Dirichlet):
            raise InvalidInput(f"condition on {side!r}", condition, "Dirichlet, for a reference")
        places, _ = domain.on_side(side, 4096, lambda n, d: (np.arange(n)[:, None] + 0.5) / n)
        away, _ = KDTree(places).query(points)
        at = Names("coordinate", dict(zip(domain.axes, points.T)))
        value = condition.value(at, p) if callable(condition.value) else condition.value
        here = away < nearest
        result[here] = np.broadcast_to(value, len(points))[here]
        nearest = np.minimum(nearest, away)
    return result
