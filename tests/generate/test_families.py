"""Every family against systems that are assembled entry by entry and solved by SuperLU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg

from pdeflow.data import WellReader
from pdeflow.errors import InvalidInput
from pdeflow.generate import Recipe, generate
from pdeflow.linalg import (
    CG,
    GMRES,
    Auto,
    BiCGStab,
    Candidate,
    FastPoisson,
    Jacobi,
    Multigrid,
    NestedDissection,
)
from pdeflow.problems import (
    Constant,
    ConvectionDiffusion,
    Darcy,
    GaussianField,
    Helmholtz,
    LogUniform,
    Uniform,
)

N, INNER, H = 17, 15, 1.0 / 16


def along(axis: int, matrix) -> scipy.sparse.csr_array:
    """A matrix of one axis, on the interior of the square."""
    one = scipy.sparse.eye_array(INNER)
    factors = (matrix, one) if axis == 0 else (one, matrix)
    return scipy.sparse.csr_array(scipy.sparse.kron(*factors))


SECOND = scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(INNER, INNER)) / H**2
FIRST = scipy.sparse.diags_array([-0.5, 0.5], offsets=[-1, 1], shape=(INNER, INNER)) / H
LAPLACE = along(0, SECOND) + along(1, SECOND)


def solved(A, f: np.ndarray) -> np.ndarray:
    u = np.zeros((N, N))
    inner = f[1:-1, 1:-1].ravel()
    u[1:-1, 1:-1] = scipy.sparse.linalg.spsolve(A.tocsc(), inner).reshape(INNER, INNER)
    return u


def read(path: Path, *names: str) -> list[np.ndarray]:
    with WellReader(path) as file:
        return [file.read(name, slice(None)) for name in names]


@pytest.mark.parametrize("wave_number", [Uniform(6.0, 9.0), GaussianField(mean=8.0, std=1.0)])
def test_helmholtz(tmp_path: Path, wave_number) -> None:
    recipe = Recipe(Helmholtz(2, wave_number), resolution=N, samples=6, chain=4, dtype="float64", seed=2)
    report = generate(recipe, tmp_path / "h.h5", progress=False)
    assert report.failed == 0
    k, f, u = read(tmp_path / "h.h5", "k", "f", "u")
    for i in range(6):
        square = np.broadcast_to(np.square(k[i]), (N, N))[1:-1, 1:-1].ravel()
        expected = solved(LAPLACE - scipy.sparse.diags_array(square), f[i])
        np.testing.assert_allclose(u[i, 1], expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_helmholtz_close_to_a_resonance(tmp_path: Path) -> None:
    """The square of the wave number is 1e-6 off an eigenvalue of the grid, where float32 does not reach."""
    least = 4 / H**2 * np.sin(np.pi * np.array([[1], [2]]) * H / 2) ** 2
    k = float(np.sqrt(least.sum() * (1 + 1e-6)))
    recipe = Recipe(Helmholtz(2, Constant(k)), resolution=N, samples=4, dtype="float64")
    report = generate(recipe, tmp_path / "h.h5", progress=False)
    assert report.failed == 0
    (u,) = read(tmp_path / "h.h5", "u")
    assert np.abs(u).max() > 300


def test_convection_diffusion(tmp_path: Path) -> None:
    recipe = Recipe(
        ConvectionDiffusion(2, LogUniform(0.05, 0.5)), resolution=N, samples=6, chain=4, dtype="float64"
    )
    report = generate(recipe, tmp_path / "c.h5", progress=False)
    assert report.failed == 0
    d, vx, vy, f, u = read(tmp_path / "c.h5", "d", "vx", "vy", "f", "u")
    for i in range(6):
        wind = vx[i] * along(0, FIRST) + vy[i] * along(1, FIRST)
        expected = solved(d[i] * LAPLACE + wind, f[i])
        np.testing.assert_allclose(u[i, 1], expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("problem", "needed"),
    [
        (Helmholtz(2, Uniform(10.0, 40.0)), 65),
        (Helmholtz(2, Uniform(-40.0, 10.0)), 65),
        (ConvectionDiffusion(2, LogUniform(0.005, 1.0), Uniform(-0.5, 1.0)), 101),
    ],
)
def test_a_grid_that_is_too_coarse_is_refused_with_the_nodes_that_are_needed(problem, needed: int) -> None:
    for resolution in (needed - 1, [needed, needed - 1]):
        with pytest.raises(InvalidInput, match=f"resolution: got {needed - 1}, expected at least {needed} "):
            Recipe(problem, resolution=resolution)
    Recipe(problem, resolution=needed)


def test_fields_without_bounds_are_taken_at_any_resolution() -> None:
    Recipe(Helmholtz(2, GaussianField(mean=100.0)), resolution=9)


def method(recipe: Recipe) -> Candidate:
    grid = recipe.grid
    return recipe.method(recipe.problem.discretise(grid, recipe.problem.sample([0], grid, seed=0)).operator)


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (Darcy(), Candidate(CG(), Multigrid())),
        (Helmholtz(2, Uniform(8.0, 9.0)), Candidate(GMRES(), FastPoisson(dtype=None))),
        (Helmholtz(2, GaussianField(mean=9.0)), Candidate(GMRES(restart=10), NestedDissection())),
        (Helmholtz(3, GaussianField(mean=9.0)), Candidate(GMRES(), FastPoisson(dtype=None))),
        (ConvectionDiffusion(), Candidate(BiCGStab(), Multigrid())),
    ],
)
def test_the_method_suits_the_tags_unless_it_is_given(problem, expected: Candidate) -> None:
    assert method(Recipe(problem, resolution=33)) == expected
    assert method(Recipe(problem, resolution=33, preconditioner=Jacobi())).preconditioner == Jacobi()
    assert method(Recipe(problem, resolution=33, solver=GMRES(7))).solver == GMRES(7)
    assert method(Recipe(problem, resolution=33, solver=Auto())).preconditioner is None
