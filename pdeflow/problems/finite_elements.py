"""The matrix and right-hand side of an equation on a triangle mesh: linear elements, by scikit-fem."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pdeflow.errors import InvalidInput, MissingDependency
from pdeflow.linalg import SparseOperator
from pdeflow.problems.calculus import Names
from pdeflow.problems.conditions import Robin
from pdeflow.problems.elastic_conditions import Traction
from pdeflow.problems.element_function import ElementFunction, WeakResidual
from pdeflow.problems.polygon_conditions import evaluated, placed, require_finite
from pdeflow.problems.unknowns import components, named
from pdeflow.triangle_mesh import TriangleMesh

if TYPE_CHECKING:
    from pdeflow.problems.mesh_problem import MeshProblem, MeshSystem
    from pdeflow.problems.problem import Problem

ORDER = 3  # of the quadrature: exact for a linear coefficient times two linear elements
AXES = ("x", "y")
_ROUNDING = 1e-10  # of a row's sum, relative to the sum of its absolute values


def scikit_fem() -> Any:
    """scikit-fem, which is an optional extra.

    Raises
    ------
    MissingDependency
        If it is absent.
    """
    try:
        import skfem  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingDependency(
            "Finite elements on meshes need the package scikit-fem, which is not installed.\n"
            "Run: pip install 'pdeflow[meshes]'"
        ) from error
    return skfem


def assemble(problem: MeshProblem, mesh: TriangleMesh, parameters: Mapping[str, Any]) -> MeshSystem:
    """The linear system of one sample; see :meth:`MeshProblem.assemble`.

    A field of nodal values is interpolated linearly. Values on the held boundary go to the right-hand side.
    Where a condition gives the normal derivative, the flux through the boundary is that of such a gradient.

    Reference: T. Gustafsson, G. D. McBain, "scikit-fem: A Python package for finite element assembly", J.
    Open Source Softw. 5 (2020).
    """
    import scipy.sparse

    from pdeflow.problems.mesh_problem import MeshSystem

    skfem = scikit_fem()
    made = skfem.MeshTri(
        *(np.ascontiguousarray(part.T) for part in (mesh.positions, mesh.triangles.astype(np.int64)))
    )
    basis = skfem.Basis(made, skfem.ElementTriP1(), intorder=ORDER)
    weak = WeakForm(problem, basis, parameters)
    weak.check_linear()

    fields = range(len(problem.fields))
    blocks = [
        [skfem.BilinearForm(weak.bilinear(row, col)).assemble(basis) for col in fields] for row in fields
    ]
    sides = [skfem.LinearForm(weak.linear(row)).assemble(basis) for row in fields]
    # Ordered by node, then by field: entries that belong together lie together.
    order = np.arange(len(fields) * len(mesh.positions)).reshape(len(fields), -1).T.ravel()
    matrix = scipy.sparse.csr_array(scipy.sparse.block_array(blocks))[order][:, order]

    for condition, parts in placed(problem.conditions):
        facets = _facets(made, mesh.on(parts))
        if not len(facets):
            continue
        rim = skfem.FacetBasis(made, skfem.ElementTriP1(), facets=facets, intorder=ORDER)
        if isinstance(condition, Robin):
            form = _BoundaryForm(problem, rim, parameters, condition)
            matrix = matrix + skfem.BilinearForm(form.bilinear(0, 0)).assemble(rim)
            sides[0] = sides[0] + skfem.LinearForm(form.linear(0)).assemble(rim)
        elif isinstance(condition, Traction):
            load = _Load(problem, rim, parameters, condition)
            sides = [sides[k] + skfem.LinearForm(load.linear(k)).assemble(rim) for k in fields]

    boundary = problem.boundary_values(mesh, parameters)
    free = ~mesh.on(problem.held_parts)
    _check_determined(problem, matrix, free)
    rhs = np.stack(sides, axis=1).ravel() - matrix @ boundary.numpy().ravel()
    unknowns = np.repeat(free, len(fields))
    inner = matrix[unknowns][:, unknowns]
    return MeshSystem(
        SparseOperator.from_scipy(inner, tags=problem.tags),
        torch.from_numpy(rhs[unknowns])[None],
        boundary,
        torch.from_numpy(free),
    )


class WeakForm:
    """A problem's residual at the quadrature points, its parameters put in."""

    def __init__(self, problem: Problem, basis: Any, parameters: Mapping[str, Any]) -> None:
        self.problem = problem
        x = np.asarray(basis.global_coordinates())
        self.zero = torch.zeros(x.shape[1:], dtype=torch.float64, device="cpu")
        self.at = Names("coordinate", {a: ElementFunction(_tensor(x[k])) for k, a in enumerate(AXES)})
        values = {}
        for name, given in parameters.items():
            value = given(self.at) if callable(given) else given
            if isinstance(value, Tensor) and value.ndim:
                nodes = basis.mesh.nvertices
                if value.shape != (nodes,):
                    expected = f"({nodes},), one number a node"
                    raise InvalidInput(f"shape of parameter {name!r}", tuple(value.shape), expected)
                nodal = value.detach().to("cpu", torch.float64).numpy()
                value = ElementFunction(_tensor(basis.interpolate(nodal)))
            values[name] = float(value) if isinstance(value, Tensor) else value
        self.p = Names("parameter", values)
        self.at_zero = self.residuals([self._nothing()] * len(problem.fields))

    def _value(self, part: Any, name: str, parameters: Mapping[str, Any]) -> Tensor:
        """Of a number or a formula in a condition."""
        part = part(self.at, self.p) if callable(part) else part
        values = evaluated(part, tuple(self.zero.shape), name)
        require_finite(values, name, parameters)
        return values

    def _nothing(self) -> ElementFunction:
        return ElementFunction(self.zero, dict.fromkeys(AXES, self.zero))

    def residuals(self, functions: list[ElementFunction]) -> list[WeakResidual]:
        """The residual of every equation."""
        fields, name = self.problem.fields, f"{type(self.problem).__name__}.residual"
        value = self.problem.residual(named(fields, functions), self.at, self.p)
        return [WeakResidual.of(part, self.zero) for part in components(fields, value, name)]

    def check_linear(self) -> None:
        """Raise InvalidInput unless the residual of 2 u is twice that of u, but for what does not hold u."""
        draw = torch.Generator(device="cpu").manual_seed(0)

        def some() -> Tensor:
            return torch.rand(self.zero.shape, generator=draw, dtype=torch.float64, device="cpu")

        u = [(some(), {axis: some() for axis in AXES}) for _ in self.problem.fields]
        once = self.residuals([ElementFunction(v, g) for v, g in u])
        twice = self.residuals([ElementFunction(2 * v, {a: 2 * d for a, d in g.items()}) for v, g in u])
        for one, two, none in zip(once, twice, self.at_zero):
            change, double = one.minus(none), two.minus(none)
            rest = double.minus(change.scaled(2.0))
            for left, size in ((rest.values, double.values), *((rest.flux(a), double.flux(a)) for a in AXES)):
                if float(left.abs().max()) > 1e-8 * float(size.abs().max()):
                    raise InvalidInput(
                        f"{type(self.problem).__name__}.residual", "products of unknowns", "a linear equation"
                    )

    def bilinear(self, row: int, column: int) -> Any:
        """The form of one equation and one unknown, as scikit-fem calls it."""

        def form(u: Any, v: Any, w: Any) -> np.ndarray:
            functions = [self._nothing() for _ in self.problem.fields]
            gradient = {axis: _tensor(u.grad[k]) for k, axis in enumerate(AXES)}
            functions[column] = ElementFunction(_tensor(u), gradient)
            return self._tested(self.residuals(functions)[row].minus(self.at_zero[row]), v)

        return form

    def linear(self, row: int) -> Any:
        """The right-hand side of one equation, as scikit-fem calls it."""
        return lambda v, w: -self._tested(self.at_zero[row], v)

    def _tested(self, residual: WeakResidual, v: Any) -> np.ndarray:
        """A residual times a test function, integrated by parts."""
        value = residual.values * _tensor(v)
        for k, axis in enumerate(AXES):
            if axis in residual.fluxes:
                value = value - residual.fluxes[axis] * _tensor(v.grad[k])
        return value.numpy()


class _BoundaryForm(WeakForm):
    """The flux of the residual through facets where the normal derivative of u is ``g - c u``."""

    def __init__(
        self,
        problem: MeshProblem,
        basis: Any,
        parameters: Mapping[str, Any],
        condition: Robin,
    ) -> None:
        self.normals = [_tensor(np.asarray(basis.normals)[k]) for k in range(len(AXES))]
        self.condition: tuple[Tensor, Tensor] | None = None
        super().__init__(problem, basis, parameters)
        kind = type(condition).__name__
        c = self._value(condition.coefficient, f"{kind}.coefficient", parameters)
        if bool((c < 0).any()):
            hint = "In du/dn + c u = g, n points out of the domain: a boundary that cools has a positive c."
            raise InvalidInput(f"{kind}.coefficient", float(c.min()), "numbers of at least 0", hint)
        self.condition = (c, self._value(condition.value, f"{kind}.value", parameters))
        self.at_zero = self.residuals([self._nothing()])

    def residuals(self, functions: list[ElementFunction]) -> list[WeakResidual]:
        """The residual of functions whose normal derivatives are those of the condition."""
        if self.condition is None:  # not known before the parameters are
            return super().residuals(functions)
        (u,) = functions
        assert u.gradient is not None
        c, g = self.condition
        change = g - c * u.values - sum(n * u.gradient[a] for n, a in zip(self.normals, AXES))
        gradient = {a: u.gradient[a] + change * n for n, a in zip(self.normals, AXES)}
        return super().residuals([ElementFunction(u.values, gradient)])

    def _tested(self, residual: WeakResidual, v: Any) -> np.ndarray:
        """What the integration by parts leaves at the boundary."""
        through = sum(residual.flux(a) * n for n, a in zip(self.normals, AXES))
        return (through * _tensor(v)).numpy()


class _Load(WeakForm):
    """The work of a traction on facets."""

    def __init__(
        self,
        problem: MeshProblem,
        basis: Any,
        parameters: Mapping[str, Any],
        condition: Traction,
    ) -> None:
        super().__init__(problem, basis, parameters)
        x, y, pressure = (
            self._value(getattr(condition, part), f"Traction.{part}", parameters)
            for part in ("x", "y", "pressure")
        )
        normals = np.asarray(basis.normals)
        self.force = [part - pressure * _tensor(normals[k]) for k, part in enumerate((x, y))]

    def linear(self, row: int) -> Any:
        """The right-hand side of one equation, as scikit-fem calls it."""
        return lambda v, w: (self.force[row] * _tensor(v)).numpy()


def _check_determined(problem: MeshProblem, matrix: Any, free: np.ndarray) -> None:
    """Raise InvalidInput if every node is held, or none and the matrix maps a constant unknown to 0."""
    if not free.any():
        hint = "Take a smaller mesh size (raise the resolution)."
        raise InvalidInput("held nodes", len(free), "some nodes whose values are unknown", hint)
    n = len(problem.fields)
    for k, name in enumerate(problem.fields) if free.all() else ():
        constant = (np.arange(len(free) * n) % n == k).astype(float)
        if (abs(matrix @ constant) <= _ROUNDING * (abs(matrix) @ constant)).all():
            key = f"{type(problem).__name__}.conditions"
            got = "none that does, and no held nodes" if problem.conditions else "no held nodes"
            hint = "Dirichlet, or Robin with c > 0, on outer does, which every polygon has; or held parts do."
            if n > 1:
                hint = "Displacement on outer does, which every polygon has; or held parts do."
            raise InvalidInput(key, got, f"something that fixes the level of {name}", hint)


def _facets(made: Any, on: np.ndarray) -> np.ndarray:
    """The facets of the boundary whose nodes are among these."""
    facets = made.boundary_facets()
    return facets[on[made.facets[:, facets]].all(axis=0)]


def _tensor(values: Any) -> Tensor:
    # A copy: arrays of basis functions are broadcast and read-only, and an ndarray subclass.
    return torch.from_numpy(np.array(values, dtype=np.float64, subok=False))
