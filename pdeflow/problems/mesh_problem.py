"""Steady equations on random polygons, discretised by linear finite elements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.linalg import (
    CG,
    Candidate,
    Preconditioner,
    Solution,
    Solver,
    SparseDirect,
    SparseOperator,
    Tag,
    default_method,
    solve,
)
from pdeflow.problems import point_function
from pdeflow.problems.calculus import Names
from pdeflow.problems.conditions import Condition, Dirichlet
from pdeflow.problems.domain import Box
from pdeflow.problems.elastic_conditions import Displacement
from pdeflow.problems.grid_function import GridFunction
from pdeflow.problems.point_function import PointFunction
from pdeflow.problems.polygon import Polygon, RandomPolygon
from pdeflow.problems.polygon_conditions import (
    check_stated,
    default_parts,
    evaluated,
    held_parts,
    loops_of,
    placed,
    require_finite,
)
from pdeflow.problems.polygon_mesh import triangulate
from pdeflow.problems.problem import Problem
from pdeflow.problems.random_fields import Field
from pdeflow.problems.resolution import require_nodes
from pdeflow.problems.unknowns import components
from pdeflow.triangle_mesh import TriangleMesh


@dataclass(frozen=True)
class MeshSystem:
    """The linear system ``A x = b`` of one sample.

    Attributes
    ----------
    operator
        A, of batch 1. Unknowns are ordered by node, then by field.
    rhs
        b, (1, unknowns).
    boundary
        (nodes, fields): the values where they are given, 0 elsewhere.
    free
        (nodes,) whether the values of a node are unknown.
    """

    operator: SparseOperator
    rhs: Tensor
    boundary: Tensor
    free: Tensor

    @property
    def method(self) -> Candidate:
        """A solver and a preconditioner that suit: the default method for one unknown a node.

        Incomplete factors of the matrices of elasticity break down, so several unknowns get sparse LU.
        """
        several = self.boundary.shape[1] > 1 and Tag.POSITIVE_DEFINITE in self.operator.tags
        return Candidate(CG(), SparseDirect()) if several else default_method(self.operator)

    def solve(
        self,
        *,
        solver: Solver | None = None,
        preconditioner: Preconditioner | None = None,
        rtol: float = 1e-8,
        on_failure: Literal["raise", "return"] = "raise",
    ) -> Solution:
        """Solve it by `method`, or by what is given; see :func:`pdeflow.linalg.solve`."""
        return solve(
            self.operator,
            self.rhs,
            solver=solver or self.method.solver,
            preconditioner=preconditioner or self.method.preconditioner,
            rtol=rtol,
            on_failure=on_failure,
        )

    def embed(self, x: Tensor) -> Tensor:
        """The values (nodes, fields) whose unknowns are x (1, unknowns)."""
        u = self.boundary.clone()
        u[self.free] = x.reshape(-1, u.shape[1])
        return u


class MeshProblem(Problem):
    """A steady linear equation on polygons; derive from it and give parameters and ``residual``.

    The residual is written in flux form, ``-D(p.a * D(u, "x"), "x") - ...``, like that of any `Problem`, and
    is tested with linear elements. Where no value is given on the boundary, the normal component of the flux
    (what stands under an outer ``D``) vanishes.

    Class attributes, or attributes set in ``__init__``, besides those of `Problem`:

    ``shape``
        What the domains are drawn from.
    ``fields``
        Names of the unknowns. Where there are several, ``u`` in the residual has them as attributes,
        ``u.ux``, and the residual is a tuple of as many.
    ``held``
        Parts of the boundary (:data:`~pdeflow.triangle_mesh.BOUNDARY_PARTS`) where `boundary_value` holds.
    ``conditions``
        Of one unknown, what :func:`~pdeflow.problems.polygon_conditions.conditions_on_loops` gives: it holds
        in place of `boundary_value` or of no flux. ``du/dn`` of Robin and Neumann is the derivative of u.
        Of two, a displacement, what ``conditions_on_body`` gives: a :class:`Displacement` holds in place of
        `boundary_value`, a :class:`Traction` acts where no displacement is given. Stated by hand, each says
        where it holds, ``Robin(2.0, on="outer")`` or ``on="holes"``, by default on both.
    ``tags``
        What is known of the matrices; None to compare each with its transpose.
    """

    shape: RandomPolygon
    held: ClassVar[tuple[str, ...]] = ("outer", "hole", "base")
    tags: ClassVar[frozenset[Tag] | None] = None

    def boundary_value(self, at: Any, p: Any) -> Any:
        """The values on the held boundary, a tuple where there are several unknowns.

        A Dirichlet condition has its own.
        """
        return 0.0 if len(self.fields) == 1 else (0.0,) * len(self.fields)

    @property
    def held_parts(self) -> tuple[str, ...]:
        """Parts of the boundary where u is given, by `boundary_value` or a condition."""
        return held_parts(self.held, self.conditions)

    @property
    def domain(self) -> Box:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The box around every polygon."""
        return self.shape.box

    def check_resolution(self, grid: Grid) -> None:
        """Raise InvalidInput where an edge or a gap of some polygon is shorter than the mesh size."""
        super().check_resolution(grid)
        extent = max(high - low for low, high in zip(grid.lower, grid.upper))
        needed = int(np.ceil(extent / self.shape.detail - 1e-9)) + 1
        reason = f"because details of the polygons are as small as {self.shape.detail:.2g}"
        require_nodes(grid, needed, reason, f"Take resolution {needed}, or larger polygons and holes.")

    def polygon(self, index: int, *, seed: int) -> Polygon:
        """The domain of a sample, drawn from ``SeedSequence(seed, spawn_key=(index,))``."""
        return self.shape.draw(np.random.SeedSequence(seed, spawn_key=(index,)))

    def mesh(self, index: int, grid: Grid, *, seed: int) -> TriangleMesh:
        """The mesh of a sample, its edges about as long as the spacing of the grid."""
        self.check_grid(grid)
        self.check_resolution(grid)
        return triangulate(self.polygon(index, seed=seed), max(grid.spacing))

    def sample_on_mesh(self, index: int, mesh: TriangleMesh, grid: Grid, *, seed: int) -> dict[str, Tensor]:
        """Parameter values of one sample: () for a scalar, (nodes,) for a field, float64.

        Parameter number k is drawn from ``SeedSequence(seed, spawn_key=(index, k))``. A field is the one
        that the grid would be given, evaluated at the nodes of the mesh.
        """
        values: dict[str, Tensor] = {}
        for name, k in self._streams().items():
            stream = np.random.SeedSequence(seed, spawn_key=(index, k))
            distribution = self.parameters[name].distribution
            if isinstance(distribution, Field):
                values[name] = distribution.values_at(stream, mesh.positions, grid)
            else:
                values[name] = distribution.sample([stream], grid)[0]
        return values

    def assemble(self, mesh: TriangleMesh, parameters: Mapping[str, Any]) -> MeshSystem:
        """The linear system of one sample, by scikit-fem.

        Parameters
        ----------
        mesh
            Where.
        parameters
            Name to a number, a tensor (nodes,), or a formula of ``at``. Constants may be left out.

        Raises
        ------
        InvalidInput
            If a parameter is missing or unknown or has another shape, or the residual is not linear; if a
            condition holds where no node is, has values that are not real and finite, or a Robin coefficient
            below 0; or if nothing fixes the level of an unknown.
        MissingDependency
            If scikit-fem is not installed.
        """
        from pdeflow.problems.finite_elements import assemble

        check_stated(self, mesh)
        return assemble(self, mesh, self.complete_parameters(parameters))

    def boundary_values(self, mesh: TriangleMesh, parameters: Mapping[str, Any]) -> Tensor:
        """(nodes, fields) float64: `boundary_value`, or of a condition, at the held nodes, 0 elsewhere.

        Raises
        ------
        InvalidInput
            If a value is not real or not finite there, or there are not as many as nodes.
        """
        points = torch.from_numpy(mesh.positions)
        at = Names("coordinate", point_function.coordinate_functions(points, ("x", "y")))
        known = {}
        for name, given in parameters.items():
            value = given(at) if callable(given) else given
            nodal = isinstance(value, Tensor) and value.ndim > 0
            known[name] = PointFunction(torch.as_tensor(value), points, ("x", "y"), False) if nodal else value
        p, name, places = Names("parameter", known), f"{type(self).__name__}.boundary_value", (len(points),)
        given = components(self.fields, self.boundary_value(at, p), name)
        columns = torch.stack([evaluated(value, places, name) for value in given], dim=1)
        values = torch.zeros_like(columns)
        own = torch.from_numpy(mesh.on(default_parts(self.held, self.conditions)))
        values[own] = columns[own]
        require_finite(values, name, parameters)
        for condition, parts in placed(self.conditions):
            here = torch.from_numpy(mesh.on(parts))
            for k, (key, value) in enumerate(_given(condition).items()):
                value = evaluated(value(at, p) if callable(value) else value, places, key)
                require_finite(value[here], key, parameters)
                values[here, k] = value[here]
        return values

    def statement(self) -> dict[str, Any]:
        """Residuals, held parts of the boundary and shape as plain JSON values."""
        import sympy

        from pdeflow.problems import symbolic

        us, at = symbolic.unknowns(self), symbolic.coordinates(self)
        equations = symbolic.residuals(self, us, at, symbolic.parameter_symbols(self))
        stated = [
            [list(loops_of(c)), *map(sympy.srepr, symbolic.condition_parts(self, c))] for c in self.conditions
        ]
        return {
            "residual": [sympy.srepr(part) for part in equations],
            "held": list(self.held),
            "shape": repr(self.shape),
            **({"conditions": stated} if stated else {}),
        }

    def describe(self) -> dict[str, Any]:
        """What a data set's card says; see :meth:`Problem.describe`."""
        from pdeflow.problems import symbolic

        left = default_parts(self.held, self.conditions)
        given = [f"given on: {', '.join(left)}; no flux elsewhere"] if left or not self.conditions else []
        return {
            "name": self.name,
            "equation": self.latex(),
            "domain": str(self.shape),
            "parameters": {name: str(value.distribution) for name, value in self.parameters.items()},
            "conditions": symbolic.conditions(self) + given,
        }

    def evaluate_residual(self, u: GridFunction, parameters: Mapping[str, GridFunction]) -> Tensor:
        """Refused: the domains are no grids."""
        raise self._no_grid()

    def discretise(self, grid: Grid, parameters: Mapping[str, Any]) -> Any:
        """Refused: each sample has a mesh of its own."""
        raise self._no_grid()

    def _no_grid(self) -> InvalidInput:
        hint = "Use mesh, sample_on_mesh and assemble."
        return InvalidInput(self.name, "a grid", "a mesh for each sample", hint)


def _given(condition: Condition) -> dict[str, Any]:
    """What a condition gives each unknown, a number or a formula, by its key; maybe nothing."""
    if isinstance(condition, Dirichlet):
        return {"Dirichlet.value": condition.value}
    if isinstance(condition, Displacement):
        return {"Displacement.x": condition.x, "Displacement.y": condition.y}
    return {}
