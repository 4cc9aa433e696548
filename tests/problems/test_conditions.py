"""Conditions given by side: what they come to, and what is refused, by the name of the key."""

from __future__ import annotations

import math

import pytest
import torch

from pdeflow.errors import InvalidInput
from pdeflow.linalg import Tag, default_method, solve
from pdeflow.problems import (
    Ball,
    Box,
    ComplexHelmholtz,
    Constant,
    ConvectionDiffusion,
    Cylinder,
    D,
    Darcy,
    Dirichlet,
    GaussianField,
    Helmholtz,
    ImpedanceHelmholtz,
    LogNormalField,
    Neumann,
    NonlinearPoisson,
    ParabolicEquation,
    Parameter,
    PLaplace,
    Poisson,
    Problem,
    Robin,
    Uniform,
    newton,
)
from pdeflow.problems.conditions import Condition
from pdeflow.problems.domain import Domain, unit_box

FAMILIES = [Poisson, Darcy, Helmholtz, ComplexHelmholtz, ConvectionDiffusion, NonlinearPoisson, PLaplace]


@pytest.mark.parametrize("family", FAMILIES)
def test_sides_that_are_not_named_have_the_value_0(family: type[Problem]) -> None:
    assert family().conditions == (Dirichlet(0.0),)
    given = {"x+": Neumann(2.0), "y": Dirichlet(1.0)}
    problem = family(conditions=given)
    assert problem.conditions == (
        Dirichlet(0.0, on=("x-",)),
        Neumann(2.0, on=("x+",)),
        Dirichlet(1.0, on=("y-", "y+")),
    )
    wrapping = family(conditions={"y-": Dirichlet(3.0), "y+": Robin(1.0)}, periodic=["x"])
    assert wrapping.domain.periodic == (True, False)
    assert wrapping.conditions == (Dirichlet(3.0, on=("y-",)), Robin(1.0, on=("y+",)))


def test_waves_leave_where_nothing_is_said() -> None:
    problem = ImpedanceHelmholtz(conditions={"y": Neumann()})
    (impedance,) = ImpedanceHelmholtz().conditions
    assert isinstance(impedance, Robin)
    assert impedance.on == "all"
    assert [c.on for c in problem.conditions] == [("x-", "x+"), ("y-", "y+")]
    assert problem.conditions[0].coefficient is impedance.coefficient  # type: ignore[union-attr]


def test_a_box_that_wraps_has_no_conditions() -> None:
    assert Poisson(periodic=["x", "y"]).conditions == ()
    assert Poisson(periodic=["x", "y"]).describe()["conditions"] == ["periodic along x", "periodic along y"]


@pytest.mark.parametrize(
    ("conditions", "periodic", "name", "words"),
    [
        ({"left": Neumann()}, [], "conditions.left", "Known: x, x+, x-, y, y+, y-"),
        ({"z": Neumann()}, [], "conditions.z", "a side or an axis"),
        ({"x": Neumann()}, ["x"], "conditions.x", "wraps around"),
        ({"x-": Neumann()}, ["x"], "conditions.x-", "wraps around"),
        ({"x": Neumann(), "x-": Dirichlet()}, [], "conditions.x-", "every side once"),
        ({"x": Neumann(on="x-")}, [], "conditions.x.on", "the key says"),
        ({"x": Condition()}, [], "conditions.x", "Dirichlet, Neumann or Robin"),
        ({"x": Robin(-1.0)}, [], "Robin.coefficient", "at least 0"),
        ({"x": Robin(1j)}, [], "Robin.coefficient", "a real number"),
        ({"x": Dirichlet(math.nan)}, [], "Dirichlet.value", "a finite number"),
        ({}, ["x-"], "periodic", "wraps as a whole"),
    ],
)
def test_what_is_refused(conditions: dict, periodic: list[str], name: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words.replace("+", r"\+")) as caught:
        Poisson(conditions=conditions, periodic=periodic)
    assert caught.value.name == name


@pytest.mark.parametrize(
    ("family", "conditions", "periodic"),
    [
        (NonlinearPoisson, {"x": Neumann(), "y": Neumann()}, []),
        (PLaplace, {}, ["x", "y"]),
        (ConvectionDiffusion, {"y": Neumann(1.0)}, ["x"]),
        (ConvectionDiffusion, {"x": Robin(0.0), "y": Neumann()}, []),
    ],
)
def test_some_families_need_a_level(family: type[Problem], conditions: dict, periodic: list[str]) -> None:
    with pytest.raises(InvalidInput, match="on some side"):
        family(conditions=conditions, periodic=periodic)
    family(conditions={**conditions, "y": Robin(1.0)}, periodic=periodic[:1])


@pytest.mark.parametrize(
    ("problem", "tagged"),
    [
        (Poisson(3, periodic=["x", "y", "z"]), True),
        (Darcy(1, conditions={"x": Neumann()}), True),
        (ConvectionDiffusion(2, diffusion=Constant(0.2), periodic=["x", "y"]), True),
        (Darcy(2, conditions={"x": Neumann(), "y-": Neumann()}), False),
        (Poisson(2, conditions={"x": Neumann(), "y": Robin(1e-6)}), False),
        (Helmholtz(2, conditions={"x": Neumann(), "y": Neumann()}), False),
    ],
    ids=lambda x: x.name if isinstance(x, Problem) else "",
)
def test_what_leaves_a_constant_open_is_tagged(problem: Problem, tagged: bool) -> None:
    grid = problem.grid(7)
    system = problem.discretise(grid, problem.sample([0, 1], grid, seed=0))
    assert (Tag.CONSTANT_NULL_SPACE in system.operator.tags) == tagged
    assert (system.shares is not None) == tagged
    residual = torch.rand_like(system.rhs)
    assert torch.equal(system.solvable(residual), residual) != tagged


@pytest.mark.parametrize(
    ("domain", "sides"),
    [
        (Box(x=(0.0, 1.0), t=(0.0, 2.0)), ("x-", "x+")),
        (Box(t=(0.0, 2.0), y=(0.0, 1.0), x=(0.0, 1.0), periodic=["x"]), ("y-", "y+")),
        (Cylinder(Ball(1.0, x=0.0, y=0.0), t=(0.0, 2.0)), ("rim",)),
        (Box(x=(0.0, 1.0), t=(0.0, 1.0)) - Ball(0.2, "hole", x=0.5, t=0.5), ("x-", "x+", "hole")),
        (Box(x=(0.0, 1.0), y=(0.0, 1.0)), ("x-", "x+", "y-", "y+")),
        (unit_box(2, periodic=True), ()),
    ],
)
@pytest.mark.parametrize("condition", [Dirichlet(1.0), Neumann(1.0), Robin(1.0)], ids=type)
def test_all_sides_are_those_of_space(domain: Domain, sides: tuple[str, ...], condition: Condition) -> None:
    assert condition.sides(domain) == sides


def test_a_start_and_an_end_are_named() -> None:
    box = Box(x=(0.0, 1.0), t=(0.0, 1.0), periodic=["x"])
    assert Dirichlet(1.0, on=("t-", "t+")).sides(box) == ("t-", "t+")
    told = r"Dirichlet.on: got 'all', expected a side by its name: t-, t\+(?s:.*)Initial\(value\), on t-"
    with pytest.raises(InvalidInput, match=told):
        Dirichlet(1.0).sides(box)


class Ramp(Problem):
    """u_xx = 0 between 0 and a number, which differs from sample to sample, on a square that wraps in y."""

    domain = unit_box(2, periodic=["y"])
    conditions = (Dirichlet(lambda at, p: p.g * at.x),)
    g = Parameter(Uniform(1.0, 4.0))

    def residual(self, u, at, p):
        return -D(u, "x", 2) - D(u, "y", 2)


class CurvedRamp(Ramp):
    """((1 + u) u_x)_x = 0 from 0 to g: (1 + u)^2 is linear, on grids too."""

    domain = unit_box(1)
    conditions = (Dirichlet(0.0, on="x-"), Dirichlet(lambda at, p: p.g, on="x+"))

    def residual(self, u, at, p):
        return -D((1 + u) * D(u, "x"), "x")


def curved_ramps(g: torch.Tensor, points: int) -> torch.Tensor:
    x = torch.linspace(0, 1, points, dtype=torch.float64)
    return (1 + ((1 + g[:, None]) ** 2 - 1) * x).sqrt() - 1


class Warming(ParabolicEquation):
    """u_t = u_xx, 0 at one end, a number at the other."""

    domain = unit_box(1)
    conditions = (Dirichlet(0.0, on="x-"), Dirichlet(lambda at, p: p.g, on="x+"))
    g = Parameter(Uniform(1.0, 4.0))
    u0 = Parameter(GaussianField())

    def rate(self, u, p):
        return D(u, "x", 2)


class CurvedWarming(Warming):
    """u_t = ((1 + u) u_x)_x."""

    def rate(self, u, p):
        return D((1 + u) * D(u, "x"), "x")


def test_values_on_the_boundary_differ_from_sample_to_sample() -> None:
    problem, g = Ramp(), torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    grid = problem.grid([9, 4])
    system = problem.discretise(grid, {"g": g})
    assert system.boundary.shape == (3, 9, 4)
    u = system.embed(solve(system.operator, system.rhs, rtol=1e-12).x)
    expected = g[:, None, None] * torch.linspace(0, 1, 9, dtype=torch.float64)[:, None].expand(9, 4)
    torch.testing.assert_close(u, expected)
    assert problem.residual_on_grid(u, grid, {"g": g}).abs().max() < 1e-9
    assert problem.discretise(grid, {"g": 2.0}).boundary.shape == (1, 9, 4)
    assert "Symbol('g', real=True)" in str(problem.statement()["conditions"])


def test_newton_has_a_boundary_for_each_sample() -> None:
    problem, g = CurvedRamp(), torch.tensor([1.5, 3.0], dtype=torch.float64)
    solution = newton(problem, problem.grid(17), {"g": g})
    assert bool(solution.converged.all())
    torch.testing.assert_close(solution.u, curved_ramps(g, 17), rtol=1e-6, atol=1e-6)
    assert solution.u[:, -1].tolist() == [1.5, 3.0]


@pytest.mark.parametrize("problem", [Warming(), CurvedWarming()], ids=["linear", "nonlinear"])
def test_steps_in_time_have_a_boundary_for_each_sample(problem: ParabolicEquation) -> None:
    """From the ramps themselves nothing changes; from 0 they are where it goes."""
    g = torch.tensor([1.5, 3.0], dtype=torch.float64)
    grid, line = problem.grid(9), torch.linspace(0, 1, 9, dtype=torch.float64)
    ramps = curved_ramps(g, 9) if isinstance(problem, CurvedWarming) else g[:, None] * line
    path = problem.evolve(grid, {"g": g, "u0": ramps}, 0.1, 3)
    torch.testing.assert_close(path.u, ramps[:, None].expand(2, 3, 9), rtol=1e-6, atol=1e-6)
    path = problem.evolve(grid, {"g": g, "u0": 0.0 * ramps}, 2.0, 3, rtol=1e-3)
    assert path.u[:, :, -1].tolist() == [[1.5] * 3, [3.0] * 3]
    torch.testing.assert_close(path.u[:, -1], ramps, rtol=1e-3, atol=1e-3)


class Winds(Problem):
    """A wind along y between walls: constants are mapped to 0, but not by the adjoint."""

    domain = unit_box(2, periodic=["x"])
    conditions = (Neumann(),)
    f = Parameter(GaussianField())

    def residual(self, u, at, p):
        return -D(u, "x", 2) - D(u, "y", 2) + 0.5 * D(u, "y") - p.f


class Layers(Problem):
    """Layers that do not touch: there is a constant for each."""

    domain = unit_box(2, periodic=["x", "y"])
    f = Parameter(GaussianField())

    def residual(self, u, at, p):
        return -D(u, "x", 2) - p.f


@pytest.mark.parametrize("problem", [Winds(), Layers()], ids=["winds", "layers"])
def test_another_null_space_is_not_called_that_of_constants(problem: Problem) -> None:
    grid = problem.grid(6)
    operator = problem.discretise(grid, problem.sample([0], grid, seed=0)).operator
    assert operator(torch.ones(1, *operator.shape, dtype=torch.float64)).abs().max() < 1e-10
    assert Tag.CONSTANT_NULL_SPACE not in operator.tags


@pytest.mark.parametrize("name", ["diffusion", "velocity"])
def test_a_wind_that_varies_needs_a_side(name: str) -> None:
    field = LogNormalField()
    ConvectionDiffusion(2, periodic=["x"], **{name: field})
    with pytest.raises(InvalidInput, match=f"^{name}: got .*suits no source"):
        ConvectionDiffusion(2, periodic=["x", "y"], **{name: field})


def test_a_source_that_is_the_same_everywhere_leaves_nothing() -> None:
    problem = Poisson(conditions={"x": Neumann(), "y": Neumann()})
    grid = problem.grid(9)
    with pytest.raises(InvalidInput, match="one that varies"):
        problem.discretise(grid, {"f": 1.0}).made_solvable()
    system = problem.discretise(grid, {"f": 0.0})
    assert torch.equal(system.made_solvable().rhs, torch.zeros_like(system.rhs))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_that_nothing_is_left_is_judged_in_the_dtype_of_the_source(dtype: torch.dtype) -> None:
    """0.1 on a grid whose cells do not add up to a power of two: the mean is off by round-off."""
    problem = Poisson(conditions={"x": Neumann(), "y": Neumann()})
    grid = problem.grid([12, 15])
    flat = torch.full((1, 12, 15), 0.1, dtype=dtype)
    with pytest.raises(InvalidInput, match="source of the equation: got 'the same value everywhere'"):
        problem.discretise(grid, {"f": flat}).made_solvable()
    flat[0, 3, 4] *= 1.01
    assert problem.discretise(grid, {"f": flat}).made_solvable().rhs.abs().max() > 0


def test_shares_are_halved_at_closed_ends_on_any_device() -> None:
    problem = Poisson(conditions={"y": Neumann()}, periodic=["x"])
    grid = problem.grid([4, 3])
    system = problem.discretise(grid, {"f": lambda at: at.y})
    assert system.shares is not None
    assert system.shares.tolist() == [[0.5, 1.0, 0.5]] * 4
    f = torch.zeros(1, 4, 3, dtype=torch.float64, device="meta")
    assert problem.discretise(grid, {"f": f}).made_solvable().rhs.device.type == "meta"


@pytest.mark.parametrize("family", [Darcy, ConvectionDiffusion])
def test_a_periodic_axis_may_have_any_number_of_nodes(family: type[Problem]) -> None:
    """65 cannot be halved, which multigrid would have to."""
    problem = family(periodic=["y"])
    grid = problem.grid([33, 65])
    parameters = problem.sample([0, 1], grid, seed=0)
    system = problem.discretise(grid, parameters)
    method = default_method(system.operator)
    solution = solve(
        system.operator,
        system.rhs,
        solver=method.solver,
        preconditioner=method.preconditioner,
        rtol=1e-10,
    )
    u = system.embed(solution.x)
    residual = problem.residual_on_grid(u, grid, parameters)
    assert residual.norm() <= 1e-9 * system.rhs.norm()
