"""Equations on polygons against exact solutions, and their linear elements against what is known of them."""

from __future__ import annotations

import json
import math
import pickle

import numpy as np
import pytest
import torch

from pdeflow import linalg
from pdeflow.errors import InvalidInput
from pdeflow.problems import (
    Box,
    Constant,
    D,
    Dirichlet,
    Displacement,
    GaussianField,
    LogNormalField,
    MeshProblem,
    Neumann,
    Parameter,
    Polygon,
    PolygonDiffusion,
    PolygonElasticity,
    RandomPolygon,
    Robin,
    ThresholdedField,
    Traction,
    cos,
    exp,
    log,
    manufacture,
    sin,
    sqrt,
    step,
    triangulate,
)
from pdeflow.triangle_mesh import TriangleMesh

pytest.importorskip("skfem", reason="needs scikit-fem: pip install 'pdeflow[meshes]'")

FAMILIES = [PolygonDiffusion(), PolygonDiffusion(boundary=Constant(0.0)), PolygonElasticity()]
SIZES = (0.1, 0.05)


@pytest.fixture(scope="module")
def meshes() -> list[TriangleMesh]:
    """One polygon with a hole, at two mesh sizes."""
    outer = np.array([[0.0, 0.0], [1.1, -0.1], [1.3, 0.8], [0.5, 1.2], [-0.2, 0.7]])
    hole = np.array([[0.4, 0.4], [0.45, 0.7], [0.75, 0.65], [0.7, 0.35]])
    return [triangulate(Polygon((outer, hole)), size) for size in SIZES]


def solved(problem: MeshProblem, mesh: TriangleMesh, parameters: dict) -> np.ndarray:
    """(nodes, fields)."""
    system = problem.assemble(mesh, parameters)
    solution = system.solve(preconditioner=linalg.SparseDirect(), rtol=1e-12)
    return system.embed(solution.x).numpy()


def l2(mesh: TriangleMesh, values: np.ndarray) -> float:
    """The L2 norm of the function that is linear between the nodes, by its midpoints."""
    corners = values[mesh.triangles]
    middles = (corners + np.roll(corners, 1, axis=1)) / 2
    return math.sqrt(
        float((mesh.areas[:, None] / 3 * (middles**2).reshape(len(corners), 3, -1).sum(2)).sum())
    )


def order(errors: list[float]) -> float:
    return math.log2(errors[0] / errors[1]) / math.log2(SIZES[0] / SIZES[1])


def test_diffusion_converges_with_order_two(meshes) -> None:
    def exact(at):
        return sin(2 * at.x) * exp(at.y)

    a = {"a": lambda at: 2 + sin(3 * at.x) * at.y}
    case = manufacture(PolygonDiffusion(), exact, a | {"g": exact})
    errors = []
    for mesh in meshes:
        x, y = mesh.positions.T
        u = solved(case.problem, mesh, case.parameters)  # type: ignore[arg-type]
        errors.append(l2(mesh, u[:, 0] - np.sin(2 * x) * np.exp(y)))
    assert errors[1] < 2e-3
    assert order(errors) > 1.8


def test_linear_functions_are_reproduced(meshes) -> None:
    mesh = meshes[0]
    x, y = mesh.positions.T
    given = {"a": 2.0, "f": 0.0, "g": lambda at: 1 + 2 * at.x - 3 * at.y}
    u = solved(PolygonDiffusion(), mesh, given)
    np.testing.assert_allclose(u[:, 0], 1 + 2 * x - 3 * y, rtol=0, atol=1e-11)


@pytest.fixture(scope="module")
def frames() -> list[TriangleMesh]:
    """A square with a square hole, both around 0, so that du/dn of x^2 + y^2 is one number on each."""
    square = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    return [triangulate(Polygon((square, 0.4 * square[::-1])), size) for size in SIZES]


@pytest.mark.parametrize(
    "conditions",
    [
        {"outer": Neumann(2.0)},
        {"holes": Neumann(-0.8)},
        {
            "outer": Dirichlet(lambda at, p: at.x**2 + at.y**2),
            "holes": Robin(1.5, lambda at, p: radius(at, 1.5)),
        },
        {
            "outer": Robin(lambda at, p: p.a, lambda at, p: 2.0 + p.a * (at.x**2 + at.y**2)),
            "holes": Neumann(-0.8),
        },
        {"outer": Dirichlet(lambda at, p: p.g), "holes": Neumann(-0.8)},
    ],
    ids=["outer_neumann", "hole_neumann", "hole_robin", "robin_and_neumann", "a_parameter"],
)
def test_conditions_on_loops_converge_with_order_two(frames, conditions: dict) -> None:
    """u = x^2 + y^2 and a = 2 + x y / 2; n points into the hole."""
    problem = PolygonDiffusion(RandomPolygon(holes=(1, 1)), conditions=conditions)
    given = {
        "a": lambda at: 2 + 0.5 * at.x * at.y,
        "f": lambda at: -4 * (2 + 0.5 * at.x * at.y) - 2 * at.x * at.y,
        "g": lambda at: at.x**2 + at.y**2,
    }
    errors = []
    for mesh in frames:
        u = solved(problem, mesh, given)
        errors.append(l2(mesh, u[:, 0] - (mesh.positions**2).sum(axis=1)))
    assert errors[1] < 2e-2
    assert order(errors) > 1.7
    matrix = problem.assemble(frames[0], given).operator.to_scipy()
    assert abs(matrix - matrix.T).max() < 1e-12 * abs(matrix).max()


def radius(at, c: float):
    return -0.8 + c * (at.x**2 + at.y**2)


def test_conditions_on_loops_are_given_their_values(frames) -> None:
    problem = PolygonDiffusion(conditions={"holes": Dirichlet(3.0)})
    u = solved(problem, frames[0], {"a": 1.0, "f": 0.0, "g": 1.0})[:, 0]
    mesh = frames[0]
    assert (u[mesh.on(("hole",))] == 3.0).all()
    assert (u[mesh.on(("outer", "base"))] == 1.0).all()
    # With Robin on all of the boundary nothing is held: u = 2 where du/dn + 3 u = 6.
    free = PolygonDiffusion(conditions={"outer": Robin(3.0, 6.0), "holes": Robin(3.0, 6.0)})
    np.testing.assert_allclose(solved(free, mesh, {"a": 1.5, "f": 0.0, "g": 0.0}), 2.0, rtol=1e-10)


@pytest.mark.parametrize(
    ("conditions", "name", "says"),
    [
        ({"inner": Neumann()}, "conditions.inner", "Known: holes, outer"),
        ({"x-": Neumann()}, "conditions.x-", "Known: holes, outer"),
        ({"outer": 1.0}, "conditions.outer", "Dirichlet, Neumann or Robin"),
        ({"outer": Neumann(on="x-")}, "conditions.outer.on", "the key says"),
        ({"outer": Dirichlet(math.nan)}, "Dirichlet.value", "finite"),
        ({"holes": Robin(-1.0)}, "Robin.coefficient", "at least 0"),
        ({"outer": Neumann(), "holes": Neumann()}, "conditions", "fixes the level"),
        ({"outer": Neumann(), "holes": Dirichlet()}, "conditions", "without holes"),
        ({"outer": Dirichlet(1j)}, "Dirichlet.value", "a real, finite number"),
    ],
)
def test_what_is_no_condition_on_loops_is_refused(conditions: dict, name: str, says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        PolygonDiffusion(conditions=conditions)
    assert caught.value.name == name
    assert says in str(caught.value)


def test_conditions_on_holes_that_no_polygon_has_are_refused() -> None:
    with pytest.raises(InvalidInput, match="some polygon has") as caught:
        PolygonDiffusion(RandomPolygon(holes=(0, 0)), conditions={"holes": Neumann()})
    assert caught.value.name == "conditions.holes"


class Stated(PolygonDiffusion):
    """Written by hand: conditions as they are given, checked by nobody before."""

    def __init__(self, *conditions, boundary_value=None, held=("outer", "hole", "base")) -> None:
        super().__init__()
        self.conditions, self.held, self.value = conditions, held, boundary_value

    def boundary_value(self, at, p):
        return p.g if self.value is None else self.value(at, p)


def ones(n: int) -> torch.Tensor:
    return torch.ones(n, dtype=torch.float64)


@pytest.mark.parametrize(
    ("problem", "name", "says"),
    [
        (Stated(Dirichlet(math.inf)), "Dirichlet.value", "finite"),
        (Stated(Dirichlet(1j)), "Dirichlet.value", "a real, finite number"),
        (Stated(Dirichlet(lambda at, p: log(at.x))), "Dirichlet.value", "finite numbers on the boundary"),
        (Stated(Dirichlet(lambda at, p: ones(3))), "Dirichlet.value", "got 'Tensor of shape (3,)'"),
        (Stated(Dirichlet(lambda at, p: at.x * ones(3))), "operand of a function on points", "got (3,)"),
        (Stated(Dirichlet(lambda at, p: None)), "Dirichlet.value", "got 'NoneType'"),
        (Stated(boundary_value=lambda at, p: sqrt(at.x)), "Stated.boundary_value", "finite numbers"),
        (Stated(boundary_value=lambda at, p: ones(7)), "Stated.boundary_value", "of shape (7,)"),
        (Stated(Robin(math.nan)), "Robin.coefficient", "finite"),
        (Stated(Robin(-2.0)), "Robin.coefficient", "at least 0"),
        (Stated(Robin(lambda at, p: at.x)), "Robin.coefficient", "a positive c"),
        (Stated(Robin(lambda at, p: 1 / (at.x - at.x))), "Robin.coefficient", "finite numbers"),
        (Stated(Robin(1.0, lambda at, p: ones(5))), "Robin.value", "of shape (5,)"),
        (Stated(Neumann(lambda at, p: log(at.x))), "Neumann.value", "finite numbers"),
        (Stated(Neumann(lambda at, p: at.x * ones(3))), "operand of a function on a grid or mesh", "(3,)"),
        (Stated(Dirichlet(on="hole")), "Dirichlet.on", "Nearest: holes"),
        (Stated(Dirichlet(on=("outer", "x-"))), "Dirichlet.on", "got 'x-'"),
        (Stated(3.0), "Stated.conditions", "Dirichlet, Neumann or Robin"),
        (Stated(held=("bottom",)), "Stated.held", "Known: base, hole, outer"),
        (Stated(held="base"), "Stated.held", 'Say ("base",)'),
        (Stated(Neumann()), "Stated.conditions", "fixes the level of u"),
        (Stated(Robin(lambda at, p: 0 * at.x, 1.0)), "Stated.conditions", "Robin with c > 0"),
        (Stated(held=()), "Stated.conditions", "no held nodes"),
    ],
)
def test_conditions_written_by_hand_are_checked(frames, problem: MeshProblem, name: str, says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        problem.assemble(frames[0], {"a": 1.0, "f": 1.0, "g": 0.0})
    assert caught.value.name == name
    assert says in str(caught.value)


def test_conditions_on_parts_without_nodes_are_refused(frames) -> None:
    mesh, given = frames[0], {"a": 1.0, "f": 1.0, "g": 0.0}
    unmarked = TriangleMesh(mesh.positions, mesh.triangles, np.zeros_like(mesh.boundary))
    with pytest.raises(InvalidInput, match=r"TriangleMesh\.boundary") as caught:
        Stated(Robin(1.0, on="outer")).assemble(unmarked, given)
    assert caught.value.name == "Robin.on"
    square = triangulate(Polygon((np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]),)), 0.2)
    problem = Stated(Dirichlet(2.0, on="holes"))
    problem.assemble(square, given)  # other samples have holes
    problem.shape = RandomPolygon(holes=(0, 0))
    with pytest.raises(InvalidInput, match=r"holes of at least \(0, 1\)"):
        problem.assemble(square, given)


def test_parameters_that_are_not_finite_are_left_to_the_solver(frames) -> None:
    """A run records such a sample and goes on."""
    problem = Stated(Robin(1.0, lambda at, p: p.g))
    system = problem.assemble(frames[0], {"a": 1.0, "f": 1.0, "g": math.inf})
    status = system.solve(on_failure="return").status
    assert linalg.Status(int(status)) == linalg.Status.NONFINITE_INPUT


def test_what_is_undetermined_without_values_may_be_determined_by_a_reaction(frames) -> None:
    """-lap u + 9 u = 18 without a flux: u = 2."""
    problem = Screened()
    problem.conditions = (Neumann(),)
    u = solved(problem, frames[0], {"a": 1.0, "f": 18.0, "g": 0.0})
    np.testing.assert_allclose(u, 2.0, rtol=1e-10)


def test_of_two_conditions_on_a_part_the_later_one_holds(frames) -> None:
    given = {"a": 1.0, "f": 1.0, "g": 0.0}
    for last in (Robin(2.0, 1.0, on="outer"), Dirichlet(1.0, on="outer"), Neumann(0.5, on="outer")):
        alone = solved(Stated(last), frames[0], given)
        for first in (Dirichlet(7.0, on="outer"), Robin(5.0, 3.0, on="outer"), Neumann(9.0, on=("outer",))):
            np.testing.assert_allclose(solved(Stated(first, last), frames[0], given), alone, rtol=1e-12)


class Displaced(PolygonElasticity):
    """The displacement is given on the whole boundary, as a formula."""

    held = ("outer", "hole", "base")

    def __init__(self, displacement) -> None:
        super().__init__()
        self.displacement = displacement

    def boundary_value(self, at, p):
        return self.displacement(at)


def test_elasticity_passes_the_patch_test(meshes) -> None:
    """A linear displacement has a constant stress, in balance without a force."""
    problem = Displaced(lambda at: (0.3 * at.x - 0.2 * at.y, 0.1 * at.x + 0.4 * at.y))
    x, y = meshes[0].positions.T
    u = solved(problem, meshes[0], {"lam": 1.3, "mu": 0.7, "fx": 0.0, "fy": 0.0})
    np.testing.assert_allclose(u[:, 0], 0.3 * x - 0.2 * y, rtol=0, atol=1e-11)
    np.testing.assert_allclose(u[:, 1], 0.1 * x + 0.4 * y, rtol=0, atol=1e-11)


def test_elasticity_converges_with_order_two(meshes) -> None:
    """u = (sin x sin y, cos x cos y): div u = 0, so that -div sigma = 2 mu u."""
    lam, mu = 1.3, 0.7
    problem = Displaced(lambda at: (sin(2 * at.x) * sin(2 * at.y), cos(2 * at.x) * cos(2 * at.y)))
    given = {
        "lam": lam,
        "mu": mu,
        "fx": lambda at: 8 * mu * sin(2 * at.x) * sin(2 * at.y),
        "fy": lambda at: 8 * mu * cos(2 * at.x) * cos(2 * at.y),
    }
    errors = []
    for mesh in meshes:
        x, y = 2 * mesh.positions.T
        exact = np.stack([np.sin(x) * np.sin(y), np.cos(x) * np.cos(y)], axis=1)
        errors.append(l2(mesh, solved(problem, mesh, given) - exact))
    assert errors[1] < 2e-3
    assert order(errors) > 1.8


def test_a_free_boundary_has_no_traction() -> None:
    """A bar under its own weight, standing on its base: with lambda = 0 the stress is one-dimensional."""
    bar = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.9], [0.0, 0.9]])
    mesh = triangulate(Polygon((bar,)), 0.05)
    y = mesh.positions[:, 1]
    u = solved(PolygonElasticity(), mesh, {"lam": 0.0, "mu": 0.5, "fx": 0.0, "fy": -1.0})
    # E = 2 mu = 1: u_y'' = 1, u_y(0) = 0, u_y'(0.9) = 0.
    assert np.abs(u[:, 0]).max() < 0.02
    np.testing.assert_allclose(u[:, 1], y**2 / 2 - 0.9 * y, rtol=0, atol=2e-3)


class Grounded(Displaced):
    """The displacement is given along the longest edge, and by conditions."""

    held = ("base",)

    def __init__(self, displacement, *conditions) -> None:
        super().__init__(displacement)
        self.conditions = conditions


def test_tractions_pass_the_patch_test() -> None:
    """A bar that stands on its base, pulled and sheared on all other sides, with and without a pressure.

    sigma is constant, sigma n another on each side.
    """
    bar = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 0.9], [0.0, 0.9]])
    mesh = triangulate(Polygon((bar,)), 0.1)
    lam, mu = 1.3, 0.7
    sxx, syy, sxy = lam * 0.4, (lam + 2 * mu) * 0.4, mu * 0.3  # of u = (0.3 y, 0.4 y)

    def right(at):
        return step(at.x - 0.9999) - step(0.0001 - at.x)

    def up(at):
        return step(at.y - 0.8999)

    y = mesh.positions[:, 1]
    for pressure in (0.0, 2.0):
        load = Traction(
            lambda at, p, more=pressure: (sxx + more) * right(at) + sxy * up(at),
            lambda at, p, more=pressure: sxy * right(at) + (syy + more) * up(at),
            pressure,
            on="outer",
        )
        problem = PolygonElasticity()
        problem.conditions = (load,)
        u = solved(problem, mesh, {"lam": lam, "mu": mu, "fx": 0.0, "fy": 0.0})
        np.testing.assert_allclose(u, np.stack([0.3 * y, 0.4 * y], axis=1), rtol=0, atol=1e-11)


@pytest.mark.parametrize("pressed", ["outer", "holes"])
def test_conditions_on_bodies_converge_with_order_two(frames, pressed: str) -> None:
    """u = (sin x, sin y) has no shear: sigma n = s n on a square around 0, with an s symmetric in x and y."""
    lam, mu = 1.3, 0.7

    def exact(at):
        return sin(at.x), sin(at.y)

    side = 1.0 if pressed == "outer" else 0.4
    push = Traction(
        pressure=lambda at, p: -2 * mu * math.cos(side) - p.lam * (cos(at.x) + cos(at.y)), on=pressed
    )
    other = "holes" if pressed == "outer" else "outer"
    moved = Displacement(lambda at, p: sin(at.x), lambda at, p: sin(at.y), on=other)
    problem = Grounded(exact, push, moved)
    given = {"lam": lam, "mu": mu}
    given |= {f"f{axis}": lambda at, axis=axis: (lam + 2 * mu) * sin(getattr(at, axis)) for axis in "xy"}
    errors = []
    for mesh in frames:
        u = solved(problem, mesh, given)
        errors.append(l2(mesh, u - np.sin(mesh.positions)))
        held = mesh.on(("base", "outer") if other == "outer" else ("base", "hole"))
        np.testing.assert_array_equal(problem.assemble(mesh, given).free.numpy(), ~held)
    assert errors[1] < 2e-3
    assert order(errors) > 1.7


def test_nothing_frees_the_base_and_a_displacement_moves_it(frames) -> None:
    mesh, given = frames[0], {"lam": 1.0, "mu": 0.5, "fx": 0.0, "fy": 0.0}
    base, outer = mesh.on(("base",)), mesh.on(("outer", "base"))
    pulled = PolygonElasticity(conditions={"outer": Traction(y=0.1), "holes": Displacement(0.0, 0.3)})
    u = solved(pulled, mesh, given)
    assert (u[base] == 0.0).all()
    assert (u[mesh.on(("hole",))] == [0.0, 0.3]).all()
    moved = PolygonElasticity(conditions={"outer": Displacement(0.2, -0.1)})
    u = solved(moved, mesh, given)
    assert (u[outer] == [0.2, -0.1]).all()
    np.testing.assert_allclose(u, np.broadcast_to([0.2, -0.1], u.shape), atol=1e-11)  # as a whole


@pytest.mark.parametrize(
    ("conditions", "name", "says"),
    [
        ({"base": Traction()}, "conditions.base", "Known: holes, outer"),
        ({"outer": Dirichlet(0.0)}, "conditions.outer", "Displacement or Traction"),
        ({"holes": Traction(on="outer")}, "conditions.holes.on", "the key says"),
        ({"outer": Displacement(y=math.inf)}, "Displacement.y", "a real, finite number"),
        ({"holes": Traction(pressure=math.nan)}, "Traction.pressure", "a real, finite number"),
    ],
)
def test_what_is_no_condition_on_a_body_is_refused(conditions: dict, name: str, says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        PolygonElasticity(conditions=conditions)
    assert caught.value.name == name
    assert says in str(caught.value)
    with pytest.raises(InvalidInput, match="some polygon has"):
        PolygonElasticity(RandomPolygon(holes=(0, 0)), conditions={"holes": Traction(pressure=1.0)})


def test_a_traction_has_no_effect_where_the_displacement_is_given(frames) -> None:
    given = {"lam": 1.3, "mu": 0.7, "fx": 0.1, "fy": 0.0}
    moved, pulled = Displacement(x=0.2, on=("outer",)), Traction(y=1.0)
    found = []
    for conditions in ((moved,), (moved, pulled), (pulled, moved)):
        problem = PolygonElasticity()
        problem.conditions = conditions
        found.append(solved(problem, frames[0], given))
    np.testing.assert_allclose(found[1], found[2], rtol=0, atol=1e-14)
    outer = frames[0].on(("outer", "base"))
    np.testing.assert_allclose(found[1][outer, 0], found[0][outer, 0], rtol=0, atol=1e-14)
    np.testing.assert_allclose(found[1][outer, 0], 0.2, rtol=0, atol=1e-14)


class Afloat(Grounded):
    """Held nowhere but by conditions."""

    held = ()


@pytest.mark.parametrize(
    ("condition", "name", "says"),
    [
        (Dirichlet(0.0), "Afloat.conditions", "Displacement or Traction"),
        (Traction(y=1.0), "Afloat.conditions", "fixes the level of ux"),
        (Traction(lambda at, p: log(at.x)), "Traction.x", "finite numbers on the boundary"),
        (Traction(pressure=lambda at, p: ones(3)), "Traction.pressure", "of shape (3,)"),
        (Displacement(y=lambda at, p: sqrt(at.y)), "Displacement.y", "finite numbers on the boundary"),
        (Displacement(on="base"), "Displacement.on", "Known: holes, outer"),
    ],
)
def test_conditions_on_a_body_written_by_hand_are_checked(frames, condition, name: str, says: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Afloat(lambda at: (0.0, 0.0), condition).assemble(
            frames[0], {"lam": 1.0, "mu": 1.0, "fx": 0.0, "fy": 0.0}
        )
    assert caught.value.name == name
    assert says in str(caught.value)


def test_three_unknowns_take_no_conditions(frames) -> None:
    problem = Displaced(lambda at: (0.0, 0.0))
    problem.fields, problem.conditions = ("ux", "uy", "uz"), (Displacement(),)
    with pytest.raises(InvalidInput, match="held and boundary_value"):
        problem.assemble(frames[0], {"lam": 1.0, "mu": 1.0, "fx": 0.0, "fy": 0.0})


def test_conditions_on_a_body_describe_themselves() -> None:
    loaded = {
        "outer": Traction(0.5, lambda at, p: p.fy * at.x),
        "holes": Displacement(y=lambda at, p: at.x),
    }
    problem = PolygonElasticity(conditions=loaded)
    assert problem.describe()["conditions"] == [
        "sigma n = (0.5, fy*x) on outer",
        "(ux, uy) = (0.0, x) on holes",
        "given on: base; no flux elsewhere",
    ]
    pressed = PolygonElasticity(conditions={"holes": Traction(pressure=lambda at, p: 2 - at.y)})
    assert pressed.describe()["conditions"][0] == "sigma n = (0.0, 0.0) - (2 - y) n on holes"
    statements = [problem.statement(), PolygonElasticity().statement()]
    other = {"outer": Traction(0.5, lambda at, p: p.fy * at.x, 1e-9), "holes": loaded["holes"]}
    statements.append(PolygonElasticity(conditions=other).statement())
    assert len({json.dumps(statement) for statement in statements}) == 3


@pytest.mark.parametrize("problem", FAMILIES, ids=lambda p: p.name)
@pytest.mark.parametrize("index", range(3))
def test_random_samples_solve_by_the_default_method(problem: MeshProblem, index: int) -> None:
    grid = problem.grid(35)
    mesh = problem.mesh(index, grid, seed=3)
    parameters = problem.sample_on_mesh(index, mesh, grid, seed=3)
    system = problem.assemble(mesh, parameters)
    assert system.operator.tags == problem.tags
    matrix = system.operator.to_scipy(0)
    assert abs(matrix - matrix.T).max() <= 1e-13 * abs(matrix).max()
    solution = system.solve()
    residual = matrix @ solution.x[0].numpy() - system.rhs[0].numpy()
    assert np.linalg.norm(residual) <= 1.01e-8 * np.linalg.norm(system.rhs)
    u = system.embed(solution.x)
    assert u.shape == (len(mesh.positions), len(problem.fields))
    if "g" in parameters and parameters["g"].ndim:
        held = torch.from_numpy(mesh.boundary > 0)
        assert torch.equal(u[held, 0], parameters["g"][held])
    again = pickle.loads(pickle.dumps(problem)).sample_on_mesh(index, mesh, grid, seed=3)
    assert all(torch.equal(again[name], parameters[name]) for name in parameters)


@pytest.mark.parametrize("field", [GaussianField(std=0.3, mean=1.0), LogNormalField(), ThresholdedField()])
def test_fields_between_the_nodes_are_those_of_the_grid(field) -> None:
    for dim in (1, 2, 3):
        grid = Box(**{axis: (-1.0, 2.0) for axis in "xyz"[:dim]}).grid(9)
        stream = np.random.SeedSequence(1, spawn_key=(0, 0))
        points = np.stack([x.flatten().numpy() for x in grid.mesh().values()], axis=1)
        expected = field.sample([stream], grid)[0].flatten()
        torch.testing.assert_close(field.values_at(stream, points, grid), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("problem", FAMILIES, ids=lambda p: p.name)
def test_it_describes_itself(problem: MeshProblem) -> None:
    card = problem.describe()
    assert json.loads(json.dumps(card)) == card
    assert card["equation"].count(" = ") == len(problem.fields)
    assert len(problem.statement()["residual"]) == len(problem.fields)
    other = type(problem)(RandomPolygon(holes=(0, 1)))
    assert other.statement() != problem.statement()


class Nonlinear(PolygonDiffusion):
    def residual(self, u, at, p):
        return super().residual(u, at, p) + u * u


class NoFlux(PolygonDiffusion):
    def residual(self, u, at, p):
        return -p.a * D(u, "x", 2) - p.f


class Screened(PolygonDiffusion):
    def __init__(self) -> None:
        super().__init__()
        self.k = Parameter(Constant(3.0))

    def residual(self, u, at, p):
        return -D(u, "x", 2) - D(u, "y", 2) + p.k**2 * u - p.f


def test_what_linear_elements_cannot_do_is_refused(meshes) -> None:
    mesh, nodal = meshes[0], torch.ones(len(meshes[0].positions), dtype=torch.float64)
    given = {"a": nodal, "f": 1.0, "g": 0.0}
    with pytest.raises(InvalidInput, match="a linear equation"):
        Nonlinear().assemble(mesh, given)
    with pytest.raises(InvalidInput, match="flux form"):
        NoFlux().assemble(mesh, given)
    with pytest.raises(InvalidInput, match="shape of parameter 'a'"):
        PolygonDiffusion().assemble(mesh, given | {"a": nodal[:-1]})
    with pytest.raises(InvalidInput, match="a value for 'a'"):
        PolygonDiffusion().assemble(mesh, {"g": 0.0})
    grid = PolygonDiffusion().grid(21)
    with pytest.raises(InvalidInput, match="expected at least 33 nodes"):
        PolygonDiffusion().mesh(0, grid, seed=0)
    with pytest.raises(InvalidInput, match="a mesh for each sample"):
        PolygonDiffusion().discretise(PolygonDiffusion().grid(33), {})


def test_second_derivatives_and_reaction_terms(meshes) -> None:
    """-lap u + 9 u = 0 with u = exp(3 x) on the boundary."""
    errors = []
    for mesh in meshes:
        u = solved(Screened(), mesh, {"a": 1.0, "f": 0.0, "g": lambda at: exp(3 * at.x)})
        errors.append(l2(mesh, u[:, 0] - np.exp(3 * mesh.positions[:, 0])))
    assert order(errors) > 1.8


def test_a_coarse_shape_needs_fewer_nodes() -> None:
    problem = PolygonDiffusion(RandomPolygon(corners=(5, 5), holes=(0, 0), radii=(0.8, 1.0)))
    mesh = problem.mesh(0, problem.grid(9), seed=0)
    assert mesh.areas.sum() == pytest.approx(problem.polygon(0, seed=0).area)
