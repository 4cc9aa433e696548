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
from pdeflow.generate.verify import verify
from pdeflow.linalg import (
    CG,
    GCRODR,
    GMRES,
    ILU,
    Auto,
    BiCGStab,
    Candidate,
    FastPoisson,
    Jacobi,
    Multigrid,
    NestedDissection,
)
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
    LogUniform,
    Parameter,
    Poisson,
    Problem,
    Uniform,
    i_times,
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


@pytest.mark.parametrize(
    "damping", [Constant(0.1), LogUniform(0.01, 1.0), LogNormalField(mean=-2.0, std=0.5)]
)
@pytest.mark.parametrize("order", ["index", "similar"])
def test_complex_helmholtz(tmp_path: Path, damping, order: str) -> None:
    problem = ComplexHelmholtz(2, Uniform(6.0, 9.0), damping)
    recipe = Recipe(problem, resolution=N, samples=6, chain=4, dtype="float64", order=order, seed=2)
    assert generate(recipe, tmp_path / "h.h5", progress=False).failed == 0
    k, f, real, imag = read(tmp_path / "h.h5", "k", "f", "u_real", "u_imag")
    eta = np.full(6, 0.1) if damping == Constant(0.1) else read(tmp_path / "h.h5", "eta")[0]
    for i in range(6):
        shift = np.broadcast_to(k[i] ** 2 * (1 + 1j * eta[i]), (N, N))[1:-1, 1:-1].ravel()
        expected = np.zeros((N, N), complex)
        matrix = (LAPLACE - scipy.sparse.diags_array(shift)).tocsc()
        inner = scipy.sparse.linalg.spsolve(matrix, f[i, 1:-1, 1:-1].ravel().astype(complex))
        expected[1:-1, 1:-1] = inner.reshape(INNER, INNER)
        found = real[i, 1] + 1j * imag[i, 1]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("method", [GCRODR(), Auto(), GMRES(dtype=None)])
def test_complex_helmholtz_by_other_methods_and_verified(tmp_path: Path, method) -> None:
    recipe = Recipe(
        ComplexHelmholtz(2, GaussianField(mean=8.0, std=1.0)),
        resolution=N,
        samples=5,
        solver=method,
        preconditioner=None if isinstance(method, Auto) else ILU(),
        order="similar",
    )
    assert generate(recipe, tmp_path / "h.h5", progress=False).failed == 0
    assert all(check.passed for check in verify(tmp_path / "h.h5").checks), verify(tmp_path / "h.h5").text()


def test_what_is_complex_has_to_say_so() -> None:
    class Absorbing(Problem):
        domain = Box(x=(0, 1))
        conditions = (Dirichlet(0.0),)
        f = Parameter(GaussianField())

        def residual(self, u, at, p):
            return -D(u, "x", 2) - i_times(9.0) * u - p.f

    problem = Absorbing()
    grid = problem.grid(9)
    parameters = problem.sample([0], grid, seed=0)
    with pytest.raises(InvalidInput, match="complex_valued = True"):
        problem.discretise(grid, parameters)
    problem = Poisson(1)
    with pytest.raises(InvalidInput, match="real numbers"):
        problem.discretise(grid, {"f": parameters["f"] + 1j})
    problem.conditions = (Dirichlet(1j),)
    with pytest.raises(InvalidInput, match="complex_valued = True"):
        problem.discretise(grid, parameters)


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
