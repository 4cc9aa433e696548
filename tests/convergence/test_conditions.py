"""Order 2 to manufactured solutions of the families under the conditions that a recipe may give them.

Solved by the default methods, so that the null space of what fixes no level is tested with the rest.
"""

from __future__ import annotations

import math

import pytest
import torch

from pdeflow.linalg import Tag, default_method, solve
from pdeflow.problems import (
    ConvectionDiffusion,
    Darcy,
    Dirichlet,
    Helmholtz,
    ImpedanceHelmholtz,
    Neumann,
    NonlinearPoisson,
    PLaplace,
    Poisson,
    Robin,
    cos,
    evaluate,
    exp,
    i_times,
    manufacture,
    newton,
    sin,
)

MIXED = {"x-": Dirichlet(1.0), "x+": Robin(2.0, 0.5), "y": Neumann(1.0)}
FLOATING = {"x": Neumann(), "y": Neumann()}


def wave(at):
    """Neither its values nor its derivatives vanish on the boundary."""
    return (1 + sin(2 * at.x + 0.3)) * exp(0.5 * at.y)


def around(at):
    """Periodic along x."""
    return sin(2 * math.pi * at.x) * exp(at.y) + at.y**3


def twice_around(at):
    return exp(sin(2 * math.pi * at.x)) * cos(2 * math.pi * at.y) + cos(2 * math.pi * at.x)


def medium(at):
    return 2 + sin(2 * math.pi * at.x) * cos(2 * math.pi * at.y)


CASES = {
    "poisson, mixed": (Poisson(2, conditions=MIXED), wave, {}),
    "darcy, mixed": (Darcy(2, conditions=MIXED), wave, {"a": medium}),
    "darcy, periodic and values": (Darcy(2, periodic=["x"]), around, {"a": medium}),
    "darcy, periodic and Neumann": (
        Darcy(2, conditions={"y": Neumann()}, periodic=["x"]),
        around,
        {"a": medium},
    ),
    "poisson, Neumann": (Poisson(2, conditions=FLOATING), wave, {}),
    "poisson, Neumann, 1D": (Poisson(1, conditions={"x": Neumann()}), lambda at: exp(at.x), {}),
    "darcy, Neumann": (Darcy(2, conditions=FLOATING), wave, {"a": medium}),
    "darcy, periodic": (Darcy(2, periodic=["x", "y"]), twice_around, {"a": medium}),
    "darcy, Neumann, 3D": (
        Darcy(3, conditions={"x": Neumann(), "y": Neumann()}, periodic=["z"]),
        lambda at: wave(at) * (2 + sin(2 * math.pi * at.z)),
        {"a": medium},
    ),
    "helmholtz, Neumann and periodic": (
        Helmholtz(2, conditions={"y": Neumann()}, periodic=["x"]),
        around,
        {"k": 5.0},
    ),
    "waveguide": (
        ImpedanceHelmholtz(2, conditions={"y-": Dirichlet(), "y+": Neumann()}),
        lambda at: wave(at) + i_times(sin(3 * at.x)),
        {"k": 5.0},
    ),
    "convection, mixed": (ConvectionDiffusion(2, conditions=MIXED), wave, {"d": 0.1, "vx": 1.0, "vy": -0.6}),
    "convection, periodic": (
        ConvectionDiffusion(2, periodic=["x", "y"]),
        twice_around,
        {"d": 0.1, "vx": 1.0, "vy": -0.6},
    ),
}
FLOATS = {
    "darcy, periodic and Neumann",
    "poisson, Neumann",
    "poisson, Neumann, 1D",
    "darcy, Neumann",
    "darcy, periodic",
    "darcy, Neumann, 3D",
    "convection, periodic",
}


def points(problem, cells: int) -> list[int]:
    return [cells if wraps else cells + 1 for wraps in problem.domain.periodic]


def without_integral(u: torch.Tensor, problem) -> torch.Tensor:
    """Less its mean by the trapezoidal rule."""
    mean = u
    for wraps in problem.domain.periodic:
        weights = torch.ones(mean.shape[1], dtype=torch.float64)
        if not wraps:
            weights[[0, -1]] = 0.5
        mean = torch.tensordot(mean, (weights / weights.sum()).to(mean.dtype), dims=([1], [0]))
    return u - mean.reshape(-1, *[1] * (u.ndim - 1))


@pytest.mark.parametrize("case", CASES)
def test_order_two(case):
    problem, exact, parameters = CASES[case]
    stated = manufacture(problem, exact, parameters)
    errors = []
    for cells in (8, 16) if problem.domain.dim == 3 else (8, 16, 32):
        grid = stated.problem.grid(points(problem, cells))
        system = stated.problem.discretise(grid, stated.parameters).made_solvable()
        assert (Tag.CONSTANT_NULL_SPACE in system.operator.tags) == (case in FLOATS)
        method = default_method(system.operator)
        x = solve(
            system.operator,
            system.rhs,
            solver=method.solver,
            preconditioner=method.preconditioner,
            rtol=1e-10,
        ).x
        wanted = evaluate(stated.exact, grid)
        if case in FLOATS:
            wanted = without_integral(wanted, problem)
        errors.append(float((system.embed(x) - wanted).abs().max()))
    assert math.log2(errors[-2] / errors[-1]) > (1.7 if problem.domain.dim == 3 else 1.85), errors
    assert errors == sorted(errors, reverse=True)


NONLINEAR = {
    "poisson": (NonlinearPoisson(2, conditions={"y": Neumann()}), wave, {"b": 0.5}),
    "poisson, periodic": (
        NonlinearPoisson(2, conditions={"y+": Robin(1.0)}, periodic=["x"]),
        around,
        {"b": 0.5},
    ),
    "p-laplace": (PLaplace(2, conditions={"x+": Neumann()}), wave, {"p": 3.0, "epsilon": 0.5}),
}


@pytest.mark.parametrize("case", NONLINEAR)
def test_order_two_by_newton(case):
    problem, exact, parameters = NONLINEAR[case]
    stated = manufacture(problem, exact, parameters)
    errors = []
    for cells in (8, 16, 32):
        grid = stated.problem.grid(points(problem, cells))
        solution = newton(stated.problem, grid, stated.parameters, rtol=1e-10)
        assert solution.converged.all()
        errors.append(float((solution.u - evaluate(stated.exact, grid)).abs().max()))
    assert math.log2(errors[-2] / errors[-1]) > 1.85, errors


@pytest.mark.parametrize("conditions", [{"x": Neumann(0.25), "y": Neumann()}, {"x": Neumann(0.25)}])
def test_of_a_source_without_a_solution_the_mean_does_not_count(conditions):
    """Of f and f + 5 the same u of integral 0, whose equation is that of f less one constant."""
    periodic = [axis for axis in "xy" if axis not in conditions]
    problem = Poisson(2, conditions=conditions, periodic=periodic)
    grid = problem.grid(points(problem, 16))
    found = []
    for more in (0.0, 5.0):
        formula = {"f": lambda at, more=more: cos(math.pi * at.x) + at.x**2 + more}
        given = problem.discretise(grid, formula)
        system = given.made_solvable()
        u = system.embed(solve(system.operator, system.rhs, rtol=1e-12).x)
        found.append(u)
        defect = problem.residual_on_grid(u, grid, formula) / system.shares
        # What is left of the equation is one number everywhere: the mean of f and what comes in.
        left = 0.25 * 2 + 1 / 3 + more
        assert (defect + left).abs().max() < 0.01
        assert defect.std() < 1e-8
        assert system.solvable(given.rhs).sum().abs() < 1e-10 * given.rhs.abs().sum()
        torch.testing.assert_close(u, without_integral(u, problem), rtol=0, atol=1e-12)
    torch.testing.assert_close(*found, rtol=0, atol=1e-8)
