"""Newton's solutions converge with order 2 to manufactured ones, whose boundary values do not vanish."""

from __future__ import annotations

import math

import pytest

from pdeflow.problems import (
    Box,
    D,
    Dirichlet,
    GaussianField,
    NonlinearPoisson,
    Parameter,
    PLaplace,
    Problem,
    cos,
    evaluate,
    exp,
    manufacture,
    newton,
    sin,
    sqrt,
)


class MinimalSurface(Problem):
    """Periodic along x; the coefficient is a quotient, and a term besides keeps the solution unique."""

    domain = Box(x=(0, 2), y=(-1, 1), periodic=("x",))
    conditions = (Dirichlet(0.0),)
    f = Parameter(GaussianField())

    def residual(self, u, at, p):
        steep = sqrt(1 + D(u, "x") ** 2 + D(u, "y") ** 2)
        return -D(D(u, "x") / steep, "x") - D(D(u, "y") / steep, "y") + u**3 + u * D(u, "x") + u - p.f


def wave(dim: int):
    return {
        1: lambda at: 1 + sin(2 * at.x + 0.3),
        2: lambda at: (1 + sin(2 * at.x + 0.3)) * exp(0.5 * at.y),
        3: lambda at: (1 + sin(2 * at.x + 0.3)) * exp(0.5 * at.y) + cos(2 * at.z) * at.x,
    }[dim]


CASES = {
    "poisson-1d": (NonlinearPoisson(1), wave(1), {"b": 2.0}, (17, 33, 65)),
    "poisson-2d": (NonlinearPoisson(2), wave(2), {"b": lambda at: 1 + at.x * at.y}, (9, 17, 33)),
    "poisson-3d": (NonlinearPoisson(3), wave(3), {"b": 1.0}, (7, 13)),
    "p-laplace-1d-1.5": (PLaplace(1), wave(1), {"p": 1.5, "epsilon": 0.5}, (33, 65, 129)),
    "p-laplace-2d-1.5": (PLaplace(2), wave(2), {"p": 1.5, "epsilon": 0.5}, (9, 17, 33)),
    "p-laplace-2d-3": (PLaplace(2), wave(2), {"p": 3.0, "epsilon": 0.5}, (9, 17, 33)),
    "p-laplace-2d-4": (PLaplace(2), wave(2), {"p": 4.0}, (9, 17, 33)),
    "p-laplace-3d-3": (PLaplace(3), wave(3), {"p": 3.0, "epsilon": 0.5}, (7, 13)),
    "minimal-surface-2d": (
        MinimalSurface(),
        lambda at: 0.3 * sin(math.pi * at.x) * exp(at.y) + at.y,
        {},
        (10, 20, 40),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_order_two(case):
    problem, exact, parameters, sizes = CASES[case]
    stated = manufacture(problem, exact, parameters)
    errors, spacings = [], []
    for size in sizes:
        grid = stated.problem.grid(size)
        solution = newton(stated.problem, grid, stated.parameters, rtol=1e-12)
        assert bool(solution.converged.all()), solution
        errors.append(float((solution.u - evaluate(stated.exact, grid)).abs().max()))
        spacings.append(grid.spacing[-1])
        assert errors[-1] > 1e-12, "the solution must not be exact on the grid"
    slope = math.log(errors[-2] / errors[-1]) / math.log(spacings[-2] / spacings[-1])
    assert slope >= 1.85, errors
    assert errors == sorted(errors, reverse=True)
