"""Newton's method against exact solutions and SciPy; its rate, its batches, and how it fails."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.optimize
import torch

from pdeflow.errors import InvalidInput
from pdeflow.linalg import CG, GMRES, Multigrid, NestedDissection, Status, solve
from pdeflow.problems import (
    Box,
    D,
    Darcy,
    Dirichlet,
    NonlinearPoisson,
    Parameter,
    PLaplace,
    Poisson,
    Problem,
    Uniform,
    exp,
    log,
    newton,
    sqrt,
)


class Bratu(Problem):
    """-u'' = l exp(u): two solutions for l below 3.5138, none above."""

    domain = Box(x=(0, 1))
    conditions = (Dirichlet(0.0),)
    l = Parameter(Uniform(0.5, 3.0))  # noqa: E741

    def residual(self, u, at, p):
        return -D(u, "x", 2) - p.l * exp(u)


def bratu_exact(strength: float, x: np.ndarray) -> np.ndarray:
    """The lower branch."""
    theta = scipy.optimize.brentq(lambda t: t - math.sqrt(2 * strength) * math.cosh(t / 4), 0.0, 4.7)
    return -2 * np.log(np.cosh((x - 0.5) * theta / 2) / math.cosh(theta / 4))


def numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def drawn(problem: Problem, points: int, samples: int):
    grid = problem.grid(points)
    return grid, problem.sample(range(samples), grid, seed=3)


def test_bratu_converges_to_the_exact_solution_with_order_two():
    strengths, errors = (1.0, 2.0, 3.0), []
    for points in (33, 65, 129):
        grid = Bratu().grid(points)
        solution = newton(Bratu(), grid, {"l": numbers(*strengths)}, rtol=1e-12)
        assert bool(solution.converged.all())
        x = grid.coordinates()[0].numpy()
        exact = np.stack([bratu_exact(strength, x) for strength in strengths])
        errors.append(np.abs(solution.u.numpy() - exact).max(axis=1))
    assert (np.log2(errors[0] / errors[1]) > 1.95).all()
    assert (np.log2(errors[1] / errors[2]) > 1.95).all()


def test_a_sample_beyond_the_fold_fails_alone():
    grid = Bratu().grid(33)
    solution = newton(Bratu(), grid, {"l": numbers(1.0, 4.0, 3.0)})
    assert solution.converged.tolist() == [True, False, True]
    assert bool(solution.u.isfinite().all())
    assert solution.residual_norm[1] > 1e-4
    for row, strength in ((0, 1.0), (2, 3.0)):
        alone = newton(Bratu(), grid, {"l": numbers(strength)})
        assert solution.iterations[row] == alone.iterations[0]
        torch.testing.assert_close(solution.u[row], alone.u[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("problem", [NonlinearPoisson(2), PLaplace(2), PLaplace(1)])
def test_a_batch_equals_its_samples_one_by_one(problem):
    grid, parameters = drawn(problem, 17, 4)
    batch = newton(problem, grid, parameters, rtol=1e-10)
    assert bool(batch.converged.all())
    for i in range(4):
        one = newton(problem, grid, {name: v[i : i + 1] for name, v in parameters.items()}, rtol=1e-10)
        assert abs(int(one.iterations[0]) - int(batch.iterations[i])) <= 1
        torch.testing.assert_close(batch.u[i], one.u[0], rtol=0, atol=1e-9 * float(one.u.abs().max()))


@pytest.mark.parametrize("problem", [NonlinearPoisson(1), NonlinearPoisson(3), PLaplace(2), PLaplace(3)])
def test_what_is_said_of_the_residual_is_true(problem):
    grid, parameters = drawn(problem, 9, 3)
    solution = newton(problem, grid, parameters)
    assert bool(solution.converged.all())
    left = problem.residual_on_grid(solution.u, grid, parameters).flatten(1).norm(dim=1)
    first = problem.residual_on_grid(torch.zeros_like(solution.u), grid, parameters).flatten(1).norm(dim=1)
    torch.testing.assert_close(solution.residual_norm, left / first, rtol=1e-10, atol=0)
    assert (solution.residual_norm <= 1e-8).all()
    assert torch.equal(solution.history[-1], solution.residual_norm)
    assert (solution.history.diff(dim=0) <= 0).all()
    assert (solution.linear_iterations >= solution.iterations).all()


def test_the_rate_is_quadratic_with_exact_linear_solves_and_inexact_ones_take_one_step_more_at_most():
    problem = NonlinearPoisson(2)
    grid, parameters = drawn(problem, 33, 4)
    exact = {"solver": GMRES(), "preconditioner": NestedDissection()}
    solution = newton(problem, grid, parameters, rtol=1e-12, **exact)
    assert bool(solution.converged.all())
    for norms in solution.history.T.tolist():
        near = [(a, b) for a, b in itertools.pairwise(norms) if 1e-7 < a < 1e-2 and b < a]
        assert near
        assert all(math.log(b) / math.log(a) > 1.7 for a, b in near)
    inexact = newton(problem, grid, parameters, rtol=1e-12)
    assert (inexact.iterations <= solution.iterations + 1).all()


def p_laplace_by_hand(u: np.ndarray, f: np.ndarray, p: float, epsilon: float) -> np.ndarray:
    """The residual at the interior nodes, looped face by face."""
    n = u.shape[0]
    h = 1 / (n - 1)
    out = -f[1:-1, 1:-1].copy()

    def flux(v, i, j):
        along = (v[i + 1, j] - v[i, j]) / h
        beside = [(v[k, m + 1] - v[k, m]) / h for k in (i, i + 1) for m in (j - 1, j)]
        return (epsilon**2 + along**2 + np.mean(np.square(beside))) ** ((p - 2) / 2) * along

    for i in range(1, n - 1):
        for j in range(1, n - 1):
            out[i - 1, j - 1] -= (flux(u, i, j) - flux(u, i - 1, j)) / h
            out[i - 1, j - 1] -= (flux(u.T, j, i) - flux(u.T, j - 1, i)) / h
    return out


@pytest.mark.parametrize("exponent", [1.6, 2.0, 3.5])
def test_p_laplace_against_scipy_and_a_residual_by_hand(exponent):
    problem, n = PLaplace(2), 8
    grid, parameters = drawn(problem, n, 1)
    parameters["p"] = numbers(exponent)
    solution = newton(problem, grid, parameters, rtol=1e-11)
    f = parameters["f"][0].numpy()

    def by_hand(x):
        u = np.zeros((n, n))
        u[1:-1, 1:-1] = x.reshape(n - 2, n - 2)
        return p_laplace_by_hand(u, f, exponent, 0.1).ravel()

    start = newton(Poisson(2), grid, {"f": parameters["f"]}).u[0, 1:-1, 1:-1].numpy()
    found = scipy.optimize.root(by_hand, start.ravel(), method="hybr", options={"xtol": 1e-12})
    assert np.abs(by_hand(found.x)).max() < 1e-6 * np.abs(f).max()
    ours = solution.u[0, 1:-1, 1:-1].numpy().ravel()
    np.testing.assert_allclose(ours, found.x, rtol=0, atol=1e-6 * np.abs(ours).max())


def test_kirchhoffs_transformation_makes_it_poissons_equation():
    problem, errors = NonlinearPoisson(2), []
    for points in (17, 33, 65):
        grid = problem.grid(points)
        f = {"f": lambda at: 20 * at.x * (1.5 - at.y)}
        u = newton(problem, grid, {"b": 1.5, **f}).u
        errors.append(float((u + 0.5 * u**3 - newton(Poisson(2), grid, f).u).abs().max()))
    assert math.log2(errors[1] / errors[2]) > 1.9


@pytest.mark.parametrize("exponent", [1.5, 3.0, 4.0])
def test_the_gradient_in_a_coefficient_keeps_the_jacobian_compact_and_regular(exponent):
    problem, least = PLaplace(2), []
    for points in (9, 17):
        grid = problem.grid(points)
        x, y = (c.reshape(shape) for c, shape in zip(grid.coordinates(), ((-1, 1), (1, -1))))
        u = (torch.sin(math.pi * x) * torch.sin(2 * math.pi * y) + x * y * (1 - x) * (1 - y))[None]
        inner = points - 2

        def residual(free, u=u, grid=grid):
            whole = u.clone()
            whole[:, 1:-1, 1:-1] = free
            return problem.residual_on_grid(whole, grid, {"p": exponent, "f": 0.0})[0]

        matrix = torch.autograd.functional.jacobian(residual, u[0, 1:-1, 1:-1])
        node = torch.arange(inner)
        far = (node[:, None] - node).abs() > 1
        apart = far[:, None, :, None] | far[None, :, None, :]
        assert (matrix[apart] == 0).all()
        dense = matrix.reshape(inner**2, inner**2)
        assert (dense - dense.T).norm() < 0.05 * dense.norm()
        least.append(float(torch.linalg.svdvals(dense).min()))
    # A checkerboard in the null space, or near it, would show as a value that is tiny.
    assert least[0] > 1
    assert least[1] > 0.6 * least[0]


@pytest.mark.parametrize("problem", [NonlinearPoisson(2), PLaplace(2), NonlinearPoisson(1)])
def test_a_rough_guess_survives_by_backtracking(problem):
    grid, parameters = drawn(problem, 17, 4)
    generator = torch.Generator().manual_seed(0)
    guess = 30 * torch.randn(4, *grid.shape, dtype=torch.float64, generator=generator)
    hard = newton(problem, grid, parameters, guess=guess, max_iterations=200)
    usual = newton(problem, grid, parameters)
    assert bool(hard.converged.all()), hard.history
    torch.testing.assert_close(hard.u, usual.u, rtol=0, atol=1e-5 * float(usual.u.abs().max()))


def test_the_solution_is_a_guess_that_needs_no_step():
    problem = NonlinearPoisson(2)
    grid, parameters = drawn(problem, 17, 2)
    solution = newton(problem, grid, parameters, rtol=1e-10)
    again = newton(problem, grid, parameters, guess=solution.u)
    assert again.iterations.tolist() == [0, 0]
    assert torch.equal(again.u, solution.u)


def test_a_linear_equation_takes_few_steps():
    problem = Darcy(2)
    grid, parameters = drawn(problem, 17, 2)
    problem.conditions = (Dirichlet(lambda at, p: 1 + at.y),)
    system = problem.discretise(grid, parameters)
    expected = system.embed(solve(system.operator, system.rhs, solver=CG(), preconditioner=Multigrid()).x)
    solution = newton(problem, grid, parameters)
    assert (solution.iterations <= 3).all()
    torch.testing.assert_close(solution.u, expected, rtol=0, atol=1e-6)


def test_where_the_residual_is_not_finite_at_the_start():
    class Logarithm(Problem):
        domain = Box(x=(0, 1))
        conditions = (Dirichlet(0.0),)
        c = Parameter(Uniform(0.0, 1.0))

        def residual(self, u, at, p):
            return -D(u, "x", 2) + log(u + p.c) - 1

    problem = Logarithm()
    solution = newton(problem, problem.grid(17), {"c": numbers(1.0, 0.0, 0.5)})
    converged, nonfinite = int(Status.CONVERGED), int(Status.NONFINITE_INPUT)
    assert solution.status.tolist() == [converged, nonfinite, converged]
    assert solution.iterations[1] == 0
    assert (solution.u[1] == 0).all()


def test_where_the_jacobian_is_not_finite():
    class Root(Problem):
        """The slope of the root is infinite at u = 0, where the iteration starts."""

        domain = Box(x=(0, 1))
        conditions = (Dirichlet(0.0),)
        c = Parameter(Uniform(0.0, 1.0))

        def residual(self, u, at, p):
            return -D(u, "x", 2) + sqrt(u + p.c) - 1

    problem = Root()
    solution = newton(problem, problem.grid(17), {"c": numbers(1.0, 0.0)}, max_iterations=20)
    # u = 0 solves the first one, which is no failure but no step either.
    assert solution.status.tolist() == [int(Status.CONVERGED), int(Status.BREAKDOWN)]


def test_out_of_steps():
    problem = NonlinearPoisson(2)
    grid, parameters = drawn(problem, 9, 2)
    solution = newton(problem, grid, parameters, max_iterations=1)
    assert solution.status.tolist() == [int(Status.MAX_ITERATIONS)] * 2
    assert solution.iterations.tolist() == [1, 1]


@pytest.mark.parametrize("points", [(9, 10), (10, 15)])
def test_wrapping_axes(points):
    class Reaction(Problem):
        domain = Box(x=(0, 1), y=(0, 1), periodic=("y",))
        conditions = (Dirichlet(0.5),)

        def residual(self, u, at, p):
            coefficient = 1 + D(u, "x") ** 2 + D(u, "y") ** 2
            return -sum(D(coefficient * D(u, axis), axis) for axis in "xy") + u**3 - 20 * at.x

    problem = Reaction()
    grid = problem.grid(points)
    solution = newton(problem, grid, {}, rtol=1e-10)
    assert bool(solution.converged.all())
    assert problem.residual_on_grid(solution.u, grid, {}).abs().max() < 1e-6
    assert (solution.u[:, 0] == 0.5).all()
    # Nothing depends on y.
    torch.testing.assert_close(solution.u, solution.u[:, :, :1].expand_as(solution.u))


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "name"),
        [
            ({"rtol": 0.0}, "rtol"),
            ({"max_iterations": 0}, "max_iterations"),
            ({"guess": torch.zeros(1, 8)}, "shape of guess"),
            ({"guess": torch.zeros(3, 9)}, "shape of guess"),
        ],
    )
    def test_arguments(self, arguments, name):
        problem = NonlinearPoisson(1)
        grid, parameters = drawn(problem, 9, 2)
        with pytest.raises(InvalidInput) as caught:
            newton(problem, grid, parameters, **arguments)
        assert caught.value.name == name

    def test_parameters(self):
        grid = NonlinearPoisson(1).grid(9)
        with pytest.raises(InvalidInput, match="positive values"):
            newton(NonlinearPoisson(1), grid, {"b": -1.0, "f": 1.0})
        with pytest.raises(InvalidInput, match="finite"):
            newton(NonlinearPoisson(1), grid, {"b": 1.0, "f": math.nan})

    @pytest.mark.parametrize("periodic", [(), ("x",)])
    def test_a_fourth_derivative(self, periodic):
        class Beam(Problem):
            domain = Box(x=(0, 1), periodic=periodic)
            conditions = () if periodic else (Dirichlet(0.0),)

            def residual(self, u, at, p):
                return D(u, "x", 4) + u**3 + u - 1

        with pytest.raises(InvalidInput, match="wider than one node"):
            newton(Beam(), Beam().grid(12), {})

    def test_an_exponent_that_is_too_small(self):
        with pytest.raises(InvalidInput, match="above 1"):
            PLaplace(exponent=Uniform(1.0, 2.0))
