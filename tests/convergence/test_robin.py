"""Order 2 to manufactured solutions where conditions give the normal derivative, linear and not."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.sparse.linalg import spsolve

from pdeflow.problems import (
    Box,
    ConvectionDiffusion,
    D,
    Darcy,
    Dirichlet,
    GaussianField,
    Helmholtz,
    ImpedanceHelmholtz,
    LogNormalField,
    Neumann,
    NonlinearPoisson,
    Parameter,
    PLaplace,
    Poisson,
    Problem,
    Robin,
    cos,
    evaluate,
    exp,
    i_times,
    manufacture,
    newton,
    sin,
    sqrt,
)


class Tensor(Problem):
    """A full tensor whose entries all vary, so that mixed derivatives meet at the ends; Robin all around."""

    domain = Box(x=(0, 2), y=(-1, 1))
    conditions = (Robin(lambda at, p: 1 + p.a), Robin(lambda at, p: 2 + at.x, on="y-"))
    a = Parameter(LogNormalField())
    f = Parameter(GaussianField())

    def residual(self, u, at, p):
        flux_x = p.a * D(u, "x") + 0.5 * at.x * D(u, "y")
        flux_y = 0.5 * at.x * D(u, "x") + (2 + at.y) * D(u, "y")
        return -D(flux_x, "x") - D(flux_y, "y") + u - p.f


class FokkerPlanck(Problem):
    """Products of the unknown under both orders of derivatives, periodic along x."""

    domain = Box(x=(0, 2), y=(-1, 1), periodic=("x",))
    conditions = (Neumann(0.0, on="y-"), Robin(1.5, on="y+"))
    a = Parameter(LogNormalField())
    f = Parameter(GaussianField())

    def residual(self, u, at, p):
        moved = D(p.a * u, "y") + 0.3 * D(sin(math.pi * at.x) * u, "x")
        return moved - D(p.a * u, "y", 2) - D(u / (2 + at.y), "y", 2) - D(u, "x", 2) + 4 * u - p.f


class FastDiffusion(Problem):
    """Functions of the unknown under both orders of derivatives."""

    domain = Box(x=(0, 1))
    conditions = (Robin(0.5), Dirichlet(0.0, on="x+"))
    f = Parameter(GaussianField())

    def residual(self, u, at, p):
        return D(u**2 / 2, "x") - D(exp(u) + u**3, "x", 2) - p.f


class MinimalSurface(Problem):
    """Periodic along x; the coefficient is a quotient of derivatives."""

    domain = Box(x=(0, 2), y=(-1, 1), periodic=("x",))
    conditions = (Dirichlet(0.0), Robin(0.5, on="y+"))
    f = Parameter(GaussianField())

    def residual(self, u, at, p):
        steep = sqrt(1 + D(u, "x") ** 2 + D(u, "y") ** 2)
        return -D(D(u, "x") / steep, "x") - D(D(u, "y") / steep, "y") + u**3 + u * D(u, "x") + u - p.f


class Power(Problem):
    """A power of the unknown, its exponent one number or a field."""

    domain = Box(x=(0, 1))
    conditions = (Robin(0.5), Neumann(on="x+"))
    m = Parameter(LogNormalField())
    f = Parameter(GaussianField())

    def residual(self, u, at, p):
        return u - D(u + u**p.m, "x", 2) - p.f


class Exponential(Problem):
    """The unknown as an exponent."""

    domain = Box(x=(0, 1))
    conditions = (Robin(0.5), Neumann(on="x+"))
    a = Parameter(LogNormalField())
    f = Parameter(GaussianField())

    def residual(self, u, at, p):
        return u - D(p.a**u, "x", 2) - p.f


class Reciprocal(Problem):
    """A number and a field over the unknown."""

    domain = Box(x=(0, 1))
    conditions = (Robin(0.5), Dirichlet(0.0, on="x+"))
    a = Parameter(LogNormalField())
    f = Parameter(GaussianField())

    def residual(self, u, at, p):
        return u + D(2 / (1 + u), "x", 2) + D(p.a / (2 + u), "x", 2) - p.f


def wave(dim: int):
    """Neither its values nor its derivatives vanish on the boundary."""
    return {
        1: lambda at: 1 + sin(2 * at.x + 0.3),
        2: lambda at: (1 + sin(2 * at.x + 0.3)) * exp(0.5 * at.y),
        3: lambda at: (1 + sin(2 * at.x + 0.3)) * exp(0.5 * at.y) + cos(2 * at.z) * at.x,
    }[dim]


def turning(dim: int):
    return lambda at: wave(dim)(at) + i_times(sin(3 * at.x) + at.x)


def around(at):
    """Periodic in x."""
    return sin(math.pi * at.x) * exp(at.y) + at.y


def on(problem: Problem, *conditions) -> Problem:
    problem.conditions = conditions
    return problem


SIZES = {1: (17, 33, 65, 129), 2: (9, 17, 33, 65), 3: (7, 13, 25)}
MEDIUM = {
    1: lambda at: 2 + sin(5 * at.x),
    2: lambda at: 2 + sin(5 * at.x) * cos(3 * at.y),
    3: lambda at: 2 + sin(2 * at.x) * cos(3 * at.y) * at.z,
}
WIND = {"d": 0.1, "vx": 1.0, "vy": -0.6, "vz": 0.3}

CASES = {
    **{
        f"darcy-{dim}d-neumann": (
            on(Darcy(dim), Dirichlet(0.0), Neumann(0.0, on="x-")),
            wave(dim),
            {"a": MEDIUM[dim]},
        )
        for dim in (1, 2, 3)
    },
    **{
        f"darcy-{dim}d-robin": (
            on(Darcy(dim), Robin(lambda at, p: 1 / p.a + at.x)),
            wave(dim),
            {"a": MEDIUM[dim]},
        )
        for dim in (1, 2, 3)
    },
    **{f"poisson-{dim}d-robin": (on(Poisson(dim), Robin(2.0)), wave(dim), {}) for dim in (1, 2, 3)},
    "helmholtz-2d-neumann": (on(Helmholtz(2), Neumann()), wave(2), {"k": 6.0}),
    **{
        f"convection-{dim}d": (
            on(ConvectionDiffusion(dim), Dirichlet(0.0), Neumann(on="x+"), Robin(1.0, on="x-")),
            wave(dim),
            dict(list(WIND.items())[: dim + 1]),
        )
        for dim in (1, 2, 3)
    },
    **{
        f"impedance-{dim}d": (ImpedanceHelmholtz(dim), turning(dim), {"k": lambda at: 5 + at.x})
        for dim in (1, 2, 3)
    },
    "impedance-and-walls": (
        on(ImpedanceHelmholtz(2), *ImpedanceHelmholtz(2).conditions, Dirichlet(0.0, on=("x-", "y+"))),
        turning(2),
        {"k": 5.0},
    ),
    "tensor": (Tensor(), lambda at: wave(2)(at) + at.x * at.y, {"a": lambda at: 2 + cos(at.x) * at.y}),
    "products": (FokkerPlanck(), around, {"a": lambda at: 3 + cos(math.pi * at.x) * at.y}),
}


def slope(errors: list[float], spacings: list[float]) -> float:
    return math.log(errors[-2] / errors[-1]) / math.log(spacings[-2] / spacings[-1])


@pytest.mark.parametrize("case", CASES)
def test_order_two(case):
    problem, exact, parameters = CASES[case]
    stated = manufacture(problem, exact, parameters)
    errors, spacings = [], []
    for size in SIZES[problem.domain.dim]:
        grid = stated.problem.grid(size)
        system = stated.problem.discretise(grid, stated.parameters)
        matrix = system.operator.to_scipy().tocsc()
        x = torch.from_numpy(spsolve(matrix, system.rhs.flatten().numpy())).reshape(system.rhs.shape)
        errors.append(float((system.embed(x) - evaluate(stated.exact, grid)).abs().max()))
        spacings.append(grid.spacing[-1])
        assert errors[-1] > 1e-12, "the solution must not be exact on the grid"
    assert slope(errors, spacings) >= 1.9, errors
    assert errors == sorted(errors, reverse=True)


NONLINEAR = {
    "poisson": (on(NonlinearPoisson(2), Robin(1.0), Dirichlet(0.0, on="y-")), wave(2), {"b": 0.5}),
    "p-laplace": (
        on(PLaplace(2), Dirichlet(0.0), Robin(lambda at, p: 1 + at.y, on=("x-", "x+"))),
        wave(2),
        {"p": 3.0, "epsilon": 0.5},
    ),
    "fast diffusion": (FastDiffusion(), wave(1), {}),
    "minimal surface": (MinimalSurface(), lambda at: 0.3 * around(at), {}),
}

# These start from 1, because powers of 0 have no derivative by the exponent.
POWERS = {
    "power": (Power(), lambda at: 1 + wave(1)(at), {"m": 1.5}),
    "varying power": (Power(), lambda at: 1 + wave(1)(at), {"m": lambda at: 1.5 + 0.3 * sin(2 * at.x)}),
    # Of both signs, so that the derivative by the exponent has no value.
    "whole power": (Power(), lambda at: 0.5 * cos(3 * at.x + 0.3), {"m": 3.0}),
    "exponential": (Exponential(), wave(1), {"a": lambda at: 2 + sin(2 * at.x)}),
    "reciprocal": (Reciprocal(), wave(1), {"a": lambda at: 2 + sin(2 * at.x)}),
}


@pytest.mark.parametrize("case", [*NONLINEAR, *POWERS])
def test_order_two_by_newton(case):
    problem, exact, parameters = (NONLINEAR | POWERS)[case]
    stated = manufacture(problem, exact, parameters)
    errors, spacings = [], []
    for size in (8, 16, 32) if any(problem.domain.periodic) else (9, 17, 33):
        grid = stated.problem.grid(size)
        guess = torch.ones((1, *grid.shape), dtype=torch.float64) if case in POWERS else None
        solution = newton(stated.problem, grid, stated.parameters, guess=guess, rtol=1e-10)
        assert solution.converged.all()
        errors.append(float((solution.u - evaluate(stated.exact, grid)).abs().max()))
        spacings.append(grid.spacing[-1])
    assert slope(errors, spacings) >= 1.85, errors
