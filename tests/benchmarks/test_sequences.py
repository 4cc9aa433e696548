"""The discretisations of the recycling benchmark: symmetry, spectrum, order of convergence."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse.linalg
import torch

from benchmarks import sequences
from pdeflow.linalg import Tag


def dense(operator, i: int = 0) -> np.ndarray:
    return operator.to_scipy(i).toarray()


def laplacian_eigenvalues(dim: int, n: int) -> np.ndarray:
    one = (2 * (n + 1) * np.sin(np.pi * np.arange(1, n + 1) / (2 * (n + 1)))) ** 2
    total = one
    for _ in range(dim - 1):
        total = np.add.outer(total, one).ravel()
    return np.sort(total)


@pytest.mark.parametrize(("dim", "n"), [(2, 12), (3, 6)])
def test_helmholtz_is_the_laplacian_minus_k_squared(dim: int, n: int) -> None:
    k = 8.0
    sequence = sequences.helmholtz(dim, n, k, 2)
    assert Tag.SYMMETRIC in sequence.operator.tags
    assert Tag.POSITIVE_DEFINITE not in sequence.operator.tags
    A = dense(sequence.operator)
    assert np.abs(A - A.T).max() == 0
    spectrum = np.linalg.eigvalsh(A)
    assert spectrum[0] < 0 < spectrum[-1]
    # The part that varies is at most 0.3 k^2, so the spectrum moves by no more than that.
    assert np.abs(spectrum - (laplacian_eigenvalues(dim, n) - k**2)).max() <= 0.3 * k**2 + 1e-9
    s = sequence.parameters.reshape(2, *sequence.operator.shape)
    shift = np.diag(A) - 2 * dim * (n + 1) ** 2 + k**2 * (1 + 0.3 * s[0].numpy().ravel())
    assert np.abs(shift).max() <= 1e-9


def test_damped_helmholtz_is_complex_symmetric_and_damped() -> None:
    A = dense(sequences.helmholtz(2, 10, 8.0, 1, damping=0.1).operator)
    assert np.abs(A - A.T).max() == 0
    assert np.abs(A - A.conj().T).max() > 1
    spectrum = np.linalg.eigvals(A).imag
    assert (spectrum < -0.1 * 64 * 0.7 * 0.99).all()
    assert (spectrum > -0.1 * 64 * 1.3 * 1.01).all()


def test_convection_adds_a_skew_part_to_the_diffusion() -> None:
    n, diffusion = 10, 0.05
    psi = sequences._streams(n, 2, stream=0)
    A = dense(sequences.convection_stencil(psi, diffusion, upwind=False), 1)
    symmetric = np.linalg.eigvalsh((A + A.T) / 2)
    assert symmetric == pytest.approx(diffusion * laplacian_eigenvalues(2, n), rel=1e-10)
    assert np.abs(A - A.T).max() > 1
    upwind = dense(sequences.convection_stencil(psi, diffusion, upwind=True), 1)
    outside = upwind - np.diag(np.diag(upwind))
    assert (outside <= 1e-12).all()  # an M-matrix
    assert (np.diag(upwind) >= -outside.sum(1) - 1e-9).all()


def manufactured_error(n: int, upwind: bool) -> float:
    """u = sin(pi x) sin(2 pi y), psi = sin(pi x) sin(pi y) / pi, diffusion 0.1."""
    corner = (torch.arange(n + 1, dtype=torch.float64) + 0.5) / (n + 1)
    x, y = torch.meshgrid(corner, corner, indexing="ij")
    psi = torch.sin(math.pi * x) * torch.sin(math.pi * y) / math.pi
    A = sequences.convection_stencil(psi[None], 0.1, upwind).to_scipy()
    node = torch.arange(1, n + 1, dtype=torch.float64) / (n + 1)
    x, y = torch.meshgrid(node, node, indexing="ij")
    sx, cx, sy, cy = (f(math.pi * t) for t in (x, y) for f in (torch.sin, torch.cos))
    s2, c2 = torch.sin(2 * math.pi * y), torch.cos(2 * math.pi * y)
    u = sx * s2
    f = 0.5 * math.pi**2 * u + sx * cy * math.pi * cx * s2 - cx * sy * 2 * math.pi * sx * c2
    found = scipy.sparse.linalg.spsolve(A.tocsc(), f.numpy().ravel())
    return float(np.abs(found - u.numpy().ravel()).max())


@pytest.mark.parametrize(("upwind", "order"), [(False, 2), (True, 1)])
def test_convection_converges(upwind: bool, order: int) -> None:
    coarse, fine = manufactured_error(31, upwind), manufactured_error(63, upwind)
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.2)


def test_cell_peclet_number_is_what_is_asked_for() -> None:
    n, peclet = 24, 0.5
    operator = sequences.convection(n, peclet, 2, "unrelated").operator
    for i in range(2):
        A = dense(operator, i)
        skew = np.abs(A - A.T).max() / 2  # v h / 2 / h^2
        off = (A + A.T)[0, 1] / 2  # -diffusion / h^2
        assert 2 * skew / -off == pytest.approx(peclet, rel=0.1)


def test_time_steps_follow_each_other() -> None:
    sequence = sequences.convection(12, 1.0, 3, "time")
    u = [np.linalg.solve(dense(sequence.operator, i), sequence.b[i].numpy().ravel()) for i in range(3)]
    step = 10 / 13
    for i in range(2):
        before = (sequence.b[i + 1] - sequence.b[0]).numpy().ravel() * step
        assert before == pytest.approx(u[i], rel=1e-8, abs=1e-12)


def test_contrast_is_positive_definite() -> None:
    sequence = sequences.contrast(2, 12, 2)
    assert Tag.POSITIVE_DEFINITE in sequence.operator.tags
    assert np.linalg.eigvalsh(dense(sequence.operator)).min() > 0


def test_finite_elements_converge_on_the_disc() -> None:
    errors = []
    for points in (500, 2000):
        nodes, triangles = sequences.disc_mesh(points)
        A, load = sequences.stiffness(nodes, triangles, np.ones(len(triangles)))
        assert abs(A - A.T).max() <= 1e-12
        assert np.abs(A.sum(1)).max() <= 1e-11
        assert load.sum() == pytest.approx(np.pi, rel=2e-2)
        inner = np.flatnonzero(np.hypot(*nodes.T) < 1 - 1e-9)
        u = np.zeros(len(nodes))
        u[inner] = scipy.sparse.linalg.spsolve(A[inner][:, inner].tocsc(), 4 * load[inner])
        errors.append(np.abs(u - (1 - (nodes**2).sum(1))).max())
    assert math.log2(errors[0] / errors[1]) > 1.6  # four times the points: h halves


def test_finite_elements_share_a_pattern() -> None:
    sequence = sequences.finite_elements(300, 2)
    arrays = sequence.arrays()
    assert arrays["data"].shape == (2, len(arrays["indices"]))
    A = sequence.operator.to_scipy(1).toarray()
    assert np.abs(A - A.T).max() <= 1e-12
    assert np.linalg.eigvalsh(A).min() > 0


def test_jacobian_is_the_derivative_of_the_residual() -> None:
    generator = torch.Generator().manual_seed(0)
    u, w, f = (torch.rand(9, 9, dtype=torch.float64, generator=generator) for _ in range(3))
    exact = sequences.quasilinear_jacobian(u).apply(w[None])[0]
    step = 1e-6
    plus, minus = (sequences.quasilinear_residual(u + sign * step * w, f) for sign in (1, -1))
    assert torch.allclose((plus - minus) / (2 * step), exact, rtol=1e-7, atol=1e-5)


def test_quasilinear_residual_converges() -> None:
    """u = sin(pi x) sin(pi y): -div((1 + u^2) grad u) = 2 pi^2 u (1 + u^2) - 2 u |grad u|^2."""
    sizes = []
    for n in (31, 63):
        node = torch.arange(1, n + 1, dtype=torch.float64) / (n + 1)
        x, y = (math.pi * t for t in torch.meshgrid(node, node, indexing="ij"))
        u = torch.sin(x) * torch.sin(y)
        slope = math.pi**2 * ((torch.cos(x) * torch.sin(y)) ** 2 + (torch.sin(x) * torch.cos(y)) ** 2)
        f = 2 * math.pi**2 * u * (1 + u**2) - 2 * u * slope
        sizes.append(float(sequences.quasilinear_residual(u, f).abs().max()))
    assert math.log2(sizes[0] / sizes[1]) == pytest.approx(2, abs=0.1)


def test_newton_converges_quadratically() -> None:
    norms = sequences.newton(20, 7, steps=7).b.flatten(1).norm(dim=1)
    digits = (norms / norms[0]).log10()
    assert digits[6] < -10
    assert digits[5] < 1.8 * digits[4]


def test_nearest_neighbours_walk_along_a_line() -> None:
    along = torch.tensor([0.0, 5.0, 1.0, 4.0, 2.0, 3.0], dtype=torch.float64)[:, None]
    assert sequences.nearest_neighbours(along) == [0, 2, 4, 5, 3, 1]


def test_arrays_are_the_operators() -> None:
    for sequence in (
        sequences.helmholtz(2, 6, 5.0, 2),
        sequences.newton(6, 2),
        sequences.finite_elements(60, 2),
    ):
        arrays = sequence.arrays()
        x = torch.rand_like(sequence.b)
        for i in range(2):
            csr = (arrays["data"][i], arrays["indices"], arrays["indptr"])
            size = arrays["b"].shape[1]
            product = scipy.sparse.csr_array(csr, shape=(size, size)) @ x[i].numpy().ravel()
            assert product == pytest.approx(sequence.operator(x)[i].numpy().ravel(), rel=1e-12, abs=1e-9)
