"""The systems made from a residual, against matrices assembled by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pdeflow.errors import InvalidInput
from pdeflow.linalg import Multigrid, Tag, solve
from pdeflow.problems import (
    Box,
    Choice,
    Constant,
    D,
    Darcy,
    Dirichlet,
    GaussianField,
    LogNormalField,
    Parameter,
    Poisson,
    Problem,
    Uniform,
    cos,
    evaluate,
    exp,
    sin,
)


def dense(operator, sample: int = 0) -> torch.Tensor:
    """The matrix of one sample, column by column from the operator's action."""
    size = math.prod(operator.shape)
    columns = []
    for j in range(size):
        unit = torch.zeros(operator.batch, size, dtype=operator.dtype)
        unit[:, j] = 1
        columns.append(operator(unit.reshape(operator.batch, *operator.shape))[sample].flatten())
    return torch.stack(columns, 1)


def darcy_by_hand(a: np.ndarray, h: float) -> np.ndarray:
    """-div(a grad u) with face-averaged a, looped node by node, any dimension, u = 0 on the boundary."""
    inner = tuple(n - 2 for n in a.shape)
    matrix = np.zeros((math.prod(inner),) * 2)
    for node in np.ndindex(*inner):
        row = np.ravel_multi_index(node, inner)
        for k in range(a.ndim):
            for step in (-1, 1):
                other = tuple(i + (step if j == k else 0) for j, i in enumerate(node))
                here, there = tuple(i + 1 for i in node), tuple(i + 1 for i in other)
                flux = 0.5 * (a[here] + a[there]) / h**2
                matrix[row, row] += flux
                if 0 <= other[k] < inner[k]:
                    matrix[row, np.ravel_multi_index(other, inner)] -= flux
    return matrix


@pytest.mark.parametrize(("dim", "points"), [(1, 9), (2, 8), (3, 6)])
def test_darcy_equals_assembly_by_hand(dim, points):
    problem = Darcy(dim, coefficient=LogNormalField())
    grid = problem.grid(points)
    parameters = problem.sample([3, 4], grid, seed=1)
    system = problem.discretise(grid, parameters)
    assert len(system.operator.offsets) == 2 * dim + 1
    for sample in range(2):
        expected = darcy_by_hand(parameters["a"][sample].numpy(), grid.spacing[0])
        np.testing.assert_allclose(dense(system.operator, sample).numpy(), expected, rtol=1e-14, atol=1e-12)
    assert torch.equal(system.rhs, torch.ones_like(system.rhs))


@pytest.mark.parametrize(("dim", "points"), [(1, 17), (2, 10), (3, 6)])
def test_darcy_is_symmetric_positive_definite(dim, points):
    problem = Darcy(dim)
    grid = problem.grid(points)
    operator = problem.discretise(grid, problem.sample([0], grid, seed=0)).operator
    assert operator.tags == {Tag.SYMMETRIC, Tag.POSITIVE_DEFINITE}
    matrix = dense(operator)
    assert torch.equal(matrix, matrix.T)
    assert torch.linalg.eigvalsh(matrix).min() > 0


@pytest.mark.parametrize("huge", [1.0, 1e12])
def test_probing_is_not_disturbed_by_a_large_source(huge):
    problem = Darcy(2, source=Constant(huge))
    grid = problem.grid(9)
    parameters = problem.sample([0], grid, seed=0)
    reference = problem.discretise(grid, {**parameters, "f": torch.zeros(1, dtype=torch.float64)})
    system = problem.discretise(grid, parameters)
    assert torch.equal(system.operator.coefficients, reference.operator.coefficients)


class Anisotropic(Problem):
    """A full diffusion tensor, advection and reaction on a box that may wrap."""

    conditions = (Dirichlet(0.0),)
    b = Parameter(Constant(0.7))

    def __init__(self, periodic: tuple[str, ...]) -> None:
        self.domain = Box(x=(0, 1), y=(-1, 1), periodic=periodic)

    def residual(self, u, at, p):
        tensor = 0.5 * cos(2 * math.pi * at.x)
        flux_x = 2 * D(u, "x") + tensor * D(u, "y")
        flux_y = tensor * D(u, "x") + 3 * D(u, "y")
        return -D(flux_x, "x") - D(flux_y, "y") + p.b * D(u, "x") + exp(sin(math.pi * at.y)) * u - at.y


@pytest.mark.parametrize("periodic", [(), ("x",), ("y",), ("x", "y")])
@pytest.mark.parametrize("points", [(5, 7), (10, 15), (8, 11), (3, 4)])
def test_box_stencils_equal_the_residual_column_by_column(periodic, points):
    """Every wrap length modulo 3, mixed derivatives, both kinds of axes."""
    problem = Anisotropic(periodic)
    grid = problem.grid(points)
    system = problem.discretise(grid, {})
    zero = torch.zeros((1, *grid.shape), dtype=torch.float64)
    offset = problem.residual_on_grid(zero, grid, {})
    matrix = dense(system.operator)
    for j in range(matrix.shape[0]):
        unit = torch.zeros(matrix.shape[0], dtype=torch.float64)
        unit[j] = 1
        u = system.embed(unit.reshape(1, *system.operator.shape))
        column = (problem.residual_on_grid(u, grid, {}) - offset).flatten()
        torch.testing.assert_close(matrix[:, j], column, rtol=1e-12, atol=1e-10)
    assert (Tag.SYMMETRIC in system.operator.tags) == torch.allclose(matrix, matrix.T)


def test_the_solution_of_the_system_makes_the_residual_vanish():
    problem = Darcy(2)
    problem.conditions = (
        Dirichlet(lambda at, p: 1 + at.y),
        Dirichlet(-2.0, on="y+"),
    )
    grid = problem.grid(9)
    parameters = problem.sample([0, 7], grid, seed=2)
    system = problem.discretise(grid, parameters)
    x = torch.stack(
        [torch.linalg.solve(dense(system.operator, k), system.rhs[k].flatten()) for k in range(2)]
    ).reshape(system.rhs.shape)
    u = system.embed(x)
    assert problem.residual_on_grid(u, grid, parameters).abs().max() < 1e-10
    torch.testing.assert_close(u[:, 0, :-1], (1 + grid.coordinates()[1][:-1]).expand(2, -1))
    assert (u[:, :, -1] == -2).all()


def test_periodic_poisson_is_tagged_by_its_null_space_and_not_definite():
    class PeriodicPoisson(Problem):
        domain = Box(x=(0, 1), y=(0, 1), periodic=("x", "y"))
        f = Parameter(GaussianField())
        shift = Parameter(Choice((0.0, 1.0)))

        def residual(self, u, at, p):
            return -D(u, "x", 2) - D(u, "y", 2) + p.shift * u - p.f

    problem = PeriodicPoisson()
    grid = problem.grid(10)
    f = problem.sample([0], grid, seed=0)["f"]
    singular = problem.discretise(grid, {"f": f, "shift": 0.0}).operator
    assert singular.tags == {Tag.SYMMETRIC, Tag.CONSTANT_NULL_SPACE}
    assert torch.linalg.eigvalsh(dense(singular)).abs().min() < 1e-10
    assert Tag.POSITIVE_DEFINITE in problem.discretise(grid, {"f": f, "shift": 1.0}).operator.tags
    one_singular = {"f": f, "shift": torch.tensor([1.0, 0.0], dtype=torch.float64)}
    assert problem.discretise(grid, one_singular).operator.tags == {Tag.SYMMETRIC}


def test_uncoupled_lines_are_not_called_definite():
    """Weakly dominant and strict in one row, yet singular: reducible."""

    class Lines(Problem):
        domain = Box(x=(0, 1), y=(0, 1), periodic=("x", "y"))

        def residual(self, u, at, p):
            return -D(u, "x", 2) + (1 - cos(2 * math.pi * at.y)) * u - 1

    operator = Lines().discretise(Lines().grid(5), {}).operator
    assert torch.linalg.eigvalsh(dense(operator)).min() < 1e-10
    assert operator.tags == {Tag.SYMMETRIC}


def test_helmholtz_is_symmetric_and_not_tagged_definite():
    class Helmholtz(Problem):
        domain = Box(x=(-1, 1), y=(-1, 1))
        k = Parameter(Uniform(1.0, 40.0))
        conditions = (Dirichlet(0.0),)

        def residual(self, u, at, p):
            return -D(u, "x", 2) - D(u, "y", 2) - p.k**2 * u - 1

    operator = Helmholtz().discretise(Helmholtz().grid(9), {"k": 20.0}).operator
    assert operator.tags == {Tag.SYMMETRIC}
    assert torch.linalg.eigvalsh(dense(operator)).min() < 0


@pytest.mark.parametrize(
    "term",
    [
        lambda u: u**3,
        lambda u: abs(u),
        lambda u: u * D(u, "x"),
        lambda u: sin(u),
        lambda u: 1 / u,
        lambda u: exp(u),
    ],
)
def test_a_nonlinear_residual_is_refused(term):
    class Nonlinear(Problem):
        domain = Box(x=(0, 1))
        conditions = (Dirichlet(0.0),)

        def residual(self, u, at, p):
            return -D(u, "x", 2) + term(u)

    with pytest.raises(InvalidInput, match="not linear"):
        Nonlinear().discretise(Nonlinear().grid(65), {})


def test_a_weak_mixed_derivative_is_not_lost_behind_a_large_source_or_another_sample():
    class Mixed(Problem):
        domain = Box(x=(0, 1), y=(0, 1))
        conditions = (Dirichlet(0.0),)
        a = Parameter(LogNormalField())
        f = Parameter(Constant(1e12))

        def residual(self, u, at, p):
            return -p.a * (D(u, "x", 2) + D(u, "y", 2)) + 0.01 * D(D(u, "x"), "y") - p.f

    grid = Mixed().grid(9)
    a = torch.tensor([1e13, 1.0], dtype=torch.float64)
    assert len(Mixed().discretise(grid, {"a": a[1:]}).operator.offsets) == 9
    assert len(Mixed().discretise(grid, {"a": a}).operator.offsets) == 9


@pytest.mark.parametrize("periodic", [(), ("x",)])
def test_a_fourth_derivative_is_refused(periodic):
    class Beam(Problem):
        domain = Box(x=(0, 1), periodic=periodic)
        conditions = () if periodic else (Dirichlet(0.0),)

        def residual(self, u, at, p):
            return D(u, "x", 4) + u - 1

    assert Beam().residual_on_grid(torch.zeros(1, 9), Beam().grid(9), {}).shape == (1, 9 if periodic else 5)
    with pytest.raises(InvalidInput, match="wider than one node"):
        Beam().discretise(Beam().grid(12), {})


def test_float32_parameters_give_a_float32_system():
    problem = Darcy(2)
    grid = problem.grid(8)
    single = problem.discretise(grid, problem.sample([0], grid, seed=0, dtype=torch.float32))
    double = problem.discretise(grid, problem.sample([0], grid, seed=0))
    assert single.operator.dtype == single.rhs.dtype == torch.float32
    torch.testing.assert_close(single.operator.coefficients, double.operator.coefficients.float())


def test_meta_device():
    problem = Darcy(2)
    grid = problem.grid(9)
    parameters = problem.sample([0, 1], grid, seed=0, device="meta")
    assert parameters["a"].shape == (2, 9, 9)
    system = problem.discretise(grid, parameters)
    assert system.rhs.device.type == "meta"
    assert system.operator.coefficients.shape == (2, 5, 7, 7)
    assert system.embed(system.rhs).shape == (2, 9, 9)
    u = torch.zeros(2, 9, 9, device="meta", dtype=torch.float64)
    assert problem.residual_on_grid(u, grid, parameters).shape == (2, 7, 7)


@pytest.mark.parametrize("mean", [800.0, -800.0])
def test_what_floating_point_does_not_hold_says_what_to_try(mean: float) -> None:
    problem = Darcy(2, LogNormalField(mean=mean))
    grid = problem.grid(5)
    with pytest.raises(InvalidInput, match=r"parameter 'a': .*\n.*narrower"):
        problem.discretise(grid, problem.sample([0], grid, seed=0))


class TestBadInput:
    problem = Darcy(2)
    grid = problem.grid(9)
    a = torch.ones(2, 9, 9, dtype=torch.float64)

    @pytest.mark.parametrize(
        ("parameters", "message"),
        [
            ({}, "'a'"),
            ({"a": a, "g": 1.0}, "parameters of darcy"),
            ({"a": a[:, :8]}, "shape of parameter 'a'"),
            ({"a": -a}, "positive values"),
            ({"a": torch.zeros(2, dtype=torch.float64)}, "positive values"),
            ({"a": a * math.nan}, "finite"),
            ({"a": a, "f": math.inf}, "finite"),
            ({"a": a, "f": torch.ones(3)}, "samples of the parameters"),
        ],
    )
    def test_parameters(self, parameters, message):
        with pytest.raises(InvalidInput, match=message):
            self.problem.discretise(self.grid, parameters)

    def test_grid_of_another_domain(self):
        with pytest.raises(InvalidInput, match="grid"):
            self.problem.discretise(Poisson(3).grid(9), {"a": self.a})
        with pytest.raises(InvalidInput, match="grid"):
            self.problem.discretise(Box(x=(0, 2), y=(0, 1)).grid(9), {"a": self.a})

    def test_too_few_points(self):
        with pytest.raises(InvalidInput, match="at least 3"):
            self.problem.discretise(self.problem.grid((2, 9)), {"a": 1.0})

    def test_side_without_condition(self):
        problem = Darcy(2)
        problem.conditions = (Dirichlet(0.0, on=("x-", "x+", "y-")),)
        with pytest.raises(InvalidInput, match=r"y\+ has none"):
            problem.discretise(self.grid, {"a": 1.0})

    def test_side_that_does_not_exist(self):
        problem = Darcy(2)
        problem.conditions = (Dirichlet(0.0), Dirichlet(0.0, on="z-"))
        with pytest.raises(InvalidInput, match=r"Dirichlet\.on"):
            problem.discretise(self.grid, {"a": 1.0})

    def test_shape_of_u(self):
        with pytest.raises(InvalidInput, match="shape of u"):
            self.problem.residual_on_grid(torch.zeros(1, 8, 9), self.grid, {"a": 1.0})


def test_a_default_device_other_than_that_of_the_parameters_changes_nothing():
    class Shifted(Problem):
        domain = Box(x=(0, 1), y=(0, 1))
        a = Parameter(LogNormalField())
        conditions = (Dirichlet(0.5),)

        def residual(self, u, at, p):
            return -D(p.a * D(u, "x"), "x") - D(u, "y", 2) + (p.a + 1.0) * u - at.x

    problem = Shifted()
    grid = problem.grid(8)

    def made():
        return problem.discretise(grid, problem.sample([0, 1], grid, seed=3, device="cpu"))

    with torch.device("meta"):
        elsewhere = made()
    here = made()
    assert elsewhere.operator.tags == here.operator.tags
    assert torch.equal(elsewhere.operator.coefficients, here.operator.coefficients)
    assert torch.equal(elsewhere.rhs, here.rhs)


def test_evaluate_a_formula_on_the_nodes():
    grid = Box(x=(0, 1), y=(0, 2)).grid((5, 9))
    mesh = grid.mesh()
    torch.testing.assert_close(
        evaluate(lambda at: sin(at.x) / exp(at.y), grid)[0], torch.sin(mesh["x"]) / torch.exp(mesh["y"])
    )
    assert torch.equal(evaluate(lambda at: 3.0, grid), torch.full((1, 5, 9), 3.0, dtype=torch.float64))


def test_the_floor_below_solves_what_is_made_here():
    problem = Darcy(2)
    grid = problem.grid(33)
    parameters = problem.sample([0, 1, 2], grid, seed=0)
    system = problem.discretise(grid, parameters)
    solution = solve(system.operator, system.rhs, preconditioner=Multigrid(), rtol=1e-10)
    u = system.embed(solution.x)
    assert problem.residual_on_grid(u, grid, parameters).norm() < 1e-9 * system.rhs.norm()
    assert (u[system.interior] > 0).all(), "the maximum principle"


@pytest.mark.parametrize("height", [1e-6, 1.0, 1e6])
def test_discretised_equations_scale_with_their_coefficients(height):
    """Nothing in the probing depends on an absolute size."""
    problem = Darcy(2, coefficient=LogNormalField(std=3.0))
    grid = problem.grid(9)
    parameters = problem.sample([0], grid, seed=0)
    unit = problem.discretise(grid, parameters).operator
    scaled = problem.discretise(grid, {"a": parameters["a"] * height, "f": 1.0}).operator
    assert scaled.offsets == unit.offsets
    assert scaled.tags == unit.tags
    torch.testing.assert_close(scaled.coefficients, unit.coefficients * height, rtol=1e-13, atol=0.0)


class Mixed(Problem):
    """Every way in which numbers, functions and sums meet in one coefficient."""

    complex_valued = True

    def __init__(self) -> None:
        self.domain = Box(x=(0.0, 1.0), y=(0.0, 2.0))
        self.conditions = (Dirichlet(0.0),)
        self.a = Parameter(LogNormalField(), positive=True)
        self.k = Parameter(Uniform(1.0, 2.0))

    def residual(self, u, at, p):
        flux = D(p.a * D(u, "x"), "x") * 1j + D(u / p.a, "y", 2)
        flux = flux + 1j * D(u, "x") + at.x * D(u, "y", 2)
        return flux - (3.0 + 1j) * p.a * u + 0 * u + u * p.k / 2 + u * torch.tensor(0.3) - p.a


def test_numbers_and_functions_that_meet_in_one_coefficient_add_up() -> None:
    problem = Mixed()
    grid = problem.grid((9, 7))
    parameters = problem.sample([0, 1, 2], grid, seed=1)
    system = problem.discretise(grid, parameters)
    x = torch.randn((3, 7, 5), dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    expected = problem.residual_on_grid(system.embed(x), grid, parameters)
    found = system.operator(x) - system.rhs
    assert (found - expected).abs().max() <= 1e-12 * expected.abs().max()


def test_a_division_by_zero_is_told_of() -> None:
    class Singular(Poisson):
        def residual(self, u, at, p):
            return super().residual(u, at, p) + u / 0

    problem = Singular(1)
    grid = problem.grid(9)
    with pytest.raises(InvalidInput, match=r"Singular.residual of u = 0: got 'NaN or Inf'"):
        problem.discretise(grid, problem.sample([0], grid, seed=1))
