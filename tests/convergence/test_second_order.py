"""Solutions of the discretised equations converge with order 2 to manufactured ones.

Coefficients vary, boundary values do not vanish. The systems are solved directly by SciPy, so that what is
tested is the discretisation alone.
"""

from __future__ import annotations

import math

import pytest
import torch
from scipy.sparse.linalg import spsolve

from pdeflow.problems import (
    Box,
    ComplexHelmholtz,
    Constant,
    ConvectionDiffusion,
    D,
    Darcy,
    Dirichlet,
    GaussianField,
    Helmholtz,
    LogNormalField,
    Parameter,
    Poisson,
    Problem,
    cos,
    evaluate,
    exp,
    i_times,
    manufacture,
    sin,
)


class AdvectionDiffusionReaction(Problem):
    """A full tensor, advection and reaction, periodic along x: a stencil of nine points, not symmetric."""

    domain = Box(x=(0, 2), y=(-1, 1), periodic=("x",))
    conditions = (Dirichlet(0.0),)
    a = Parameter(LogNormalField())
    c = Parameter(Constant(2.0))
    f = Parameter(GaussianField())

    def residual(self, u, at, p):
        flux_x = p.a * D(u, "x") + 0.5 * D(u, "y")
        flux_y = 0.5 * D(u, "x") + p.a * D(u, "y")
        return -D(flux_x, "x") - D(flux_y, "y") + p.c * D(u, "x") + (2 + sin(math.pi * at.x)) * u - p.f


def wave(dim: int):
    """Neither zero on the boundary nor a polynomial that the stencil would meet exactly."""
    return {
        1: lambda at: 1 + sin(2 * at.x + 0.3),
        2: lambda at: (1 + sin(2 * at.x + 0.3)) * exp(0.5 * at.y),
        3: lambda at: (1 + sin(2 * at.x + 0.3)) * exp(0.5 * at.y) + cos(2 * at.z) * at.x,
    }[dim]


def turning(dim: int):
    """A complex one."""
    return lambda at: wave(dim)(at) + i_times(sin(3 * at.x) + at.x)


CASES = {
    "poisson-1d": (Poisson(1), wave(1), {}, (17, 33, 65, 129)),
    "poisson-2d": (Poisson(2), wave(2), {}, (9, 17, 33, 65)),
    "poisson-3d": (Poisson(3), wave(3), {}, (7, 13, 25)),
    "darcy-1d": (Darcy(1), wave(1), {"a": lambda at: 2 + sin(5 * at.x)}, (17, 33, 65, 129)),
    "darcy-2d": (Darcy(2), wave(2), {"a": lambda at: exp(sin(4 * at.x) * at.y)}, (9, 17, 33, 65)),
    "darcy-3d": (Darcy(3), wave(3), {"a": lambda at: 1 + at.x**2 + at.y * at.z}, (7, 13, 25)),
    "helmholtz-1d": (Helmholtz(1), wave(1), {"k": lambda at: 6 + sin(at.x)}, (17, 33, 65, 129)),
    "helmholtz-2d": (Helmholtz(2), wave(2), {"k": 6.0}, (9, 17, 33, 65)),
    "helmholtz-3d": (Helmholtz(3), wave(3), {"k": 4.0}, (7, 13, 25)),
    "complex-1d": (
        ComplexHelmholtz(1),
        turning(1),
        {"k": 6.0, "eta": lambda at: 0.1 + at.x},
        (17, 33, 65, 129),
    ),
    "complex-2d": (ComplexHelmholtz(2), turning(2), {"k": 6.0, "eta": 0.2}, (9, 17, 33, 65)),
    "complex-3d": (ComplexHelmholtz(3), turning(3), {"k": 4.0, "eta": 0.2}, (7, 13, 25)),
    "convection-1d": (ConvectionDiffusion(1), wave(1), {"d": 0.1, "vx": 1.0}, (17, 33, 65, 129)),
    "convection-2d": (ConvectionDiffusion(2), wave(2), {"d": 0.1, "vx": 1.0, "vy": -0.6}, (9, 17, 33, 65)),
    "convection-3d": (
        ConvectionDiffusion(3),
        wave(3),
        {"d": 0.2, "vx": 1.0, "vy": -0.6, "vz": 0.3},
        (7, 13, 25),
    ),
    "tensor-2d": (
        AdvectionDiffusionReaction(),
        lambda at: sin(math.pi * at.x) * exp(at.y) + at.y,
        {"a": lambda at: 2 + cos(math.pi * at.x) * at.y},
        (10, 20, 40, 80),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_order_two(case):
    problem, exact, parameters, sizes = CASES[case]
    stated = manufacture(problem, exact, parameters)
    errors, spacings = [], []
    for size in sizes:
        grid = stated.problem.grid(size)
        system = stated.problem.discretise(grid, stated.parameters)
        matrix = system.operator.to_scipy().tocsc()
        x = torch.from_numpy(spsolve(matrix, system.rhs.flatten().numpy())).reshape(system.rhs.shape)
        difference = system.embed(x) - evaluate(stated.exact, grid)
        errors.append(float(difference.abs().max()))
        spacings.append(grid.spacing[-1])
        assert errors[-1] > 1e-12, "the solution must not be exact on the grid"
    slope = math.log(errors[-2] / errors[-1]) / math.log(spacings[-2] / spacings[-1])
    assert slope >= 1.9, errors
    assert errors == sorted(errors, reverse=True)
