from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pdeflow.errors import InvalidInput
from pdeflow.linalg import Chebyshev, FunctionOperator, Jacobi, StencilOperator, solve
from pdeflow.linalg.chebyshev import ChebyshevPolynomial

from .systems import darcy, dense, generator, hermitian, right_hand_side


@pytest.mark.parametrize("degree", [0, 1, 2, 5, 8])
@pytest.mark.parametrize("make", [lambda: darcy(2, (6, 5)), lambda: hermitian(2, 5)])
def test_spectrum_is_that_of_the_chebyshev_polynomial(degree: int, make) -> None:
    A = make()
    M = Chebyshev(degree, 10.0).init(A)
    root = A.diagonal().flatten(1).real.sqrt()
    symmetric = dense(A) / (root[:, :, None] * root[:, None, :])
    for i in range(2):
        values = torch.linalg.eigvalsh(symmetric[i])
        low, high = M.low[i], M.high[i]
        assert values[-1] <= high <= 2 * values[-1]
        T = np.polynomial.chebyshev.Chebyshev.basis(degree + 1)
        middle, half = (high + low) / 2, (high - low) / 2
        expected = 1 - T(((middle - values) / half).numpy()) / T(float(middle / half))
        matrix = root[i][:, None] * dense(M)[i] * root[i][None, :] @ symmetric[i]  # type: ignore[arg-type]
        found = torch.linalg.eigvals(matrix).real.sort().values
        np.testing.assert_allclose(found.numpy(), np.sort(expected), atol=1e-11)


@given(st.integers(0, 6), st.sampled_from([2.0, 30.0]), st.integers(0, 50))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_hermitian_positive_definite(degree: int, ratio: float, seed: int) -> None:
    for A in (darcy(2, (5, 7), seed), darcy(2, (4, 3, 3), seed, low=1.0, high=1e3), hermitian(2, 4, seed)):
        M = dense(Chebyshev(degree, ratio).init(A))  # type: ignore[arg-type]
        torch.testing.assert_close(M, M.mH, atol=1e-13 * M.abs().max().item(), rtol=0)
        assert (torch.linalg.eigvalsh(M) > 0).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_adjoint_identity_and_batch_is_a_loop(dtype: torch.dtype) -> None:
    values = torch.randn(3, 4, 5, 6, dtype=dtype, generator=generator(0))
    values[:, 0] += 6
    A = StencilOperator([(0, 0), (0, 1), (-1, 0), (1, 1)], values, (False, True))
    M = Chebyshev(3).init(A)
    x, y = right_hand_side(A, 3), right_hand_side(A, 4)
    left = torch.linalg.vecdot(M(x).flatten(1), y.flatten(1))
    torch.testing.assert_close(left, torch.linalg.vecdot(x.flatten(1), M.adjoint(y).flatten(1)))
    alone = [Chebyshev(3).init(one)(x[i : i + 1]) for i, one in enumerate(A.pieces(1))]
    torch.testing.assert_close(torch.cat(alone), M(x))


def test_iterations_fall_with_the_degree() -> None:
    A = darcy(2, (48, 48))
    b = torch.ones(2, 48, 48, dtype=torch.float64)
    jacobi = int(solve(A, b, preconditioner=Jacobi()).iterations.max())
    counts = [int(solve(A, b, preconditioner=Chebyshev(k, 30.0)).iterations.max()) for k in (0, 2, 4, 8)]
    assert abs(counts[0] - jacobi) <= 1
    assert counts[1] <= 0.45 * jacobi
    assert counts[2] <= 0.3 * jacobi
    assert counts[3] <= 0.25 * jacobi


def test_nan_stays_in_its_sample_and_zero_is_finite() -> None:
    A = darcy(3, (6, 7))
    x = right_hand_side(A)
    expected = Chebyshev().init(A)(x)
    A.coefficients[1, 2, 3, 4] = float("nan")
    found = Chebyshev().init(A)(x)
    assert torch.equal(found[[0, 2]], expected[[0, 2]])
    zero = StencilOperator(A.offsets, torch.zeros_like(A.coefficients))
    assert torch.isfinite(Chebyshev().init(zero)(x)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.complex128])
def test_dtypes_and_meta(dtype: torch.dtype) -> None:
    A = darcy(2, (6, 7)).to(dtype)
    x = right_hand_side(A)
    M = Chebyshev().init(A)
    single = torch.complex64 if dtype.is_complex else torch.float32
    assert M(x).dtype == dtype
    torch.testing.assert_close(M.to(single)(x.to(single)), M(x).to(single), rtol=1e-3, atol=1e-6)
    out = Chebyshev().init(A.to(device="meta")).apply(x.to("meta"))
    assert (out.shape, out.dtype, out.device.type) == (x.shape, dtype, "meta")


def test_any_operator_with_a_diagonal_and_errors() -> None:
    A = darcy(2, (6, 7))
    F = FunctionOperator(A.apply, A.shape, A.batch, tags=A.tags, diagonal=A.diagonal())
    x = right_hand_side(A)
    M = Chebyshev().init(F)  # by the power iteration
    root = A.diagonal().flatten(1).sqrt()
    largest = torch.linalg.eigvalsh(dense(A) / (root[:, :, None] * root[:, None, :]))[:, -1]
    assert ((0.95 * largest < M.high) & (M.high <= 1.1 * largest)).all()
    alike = ChebyshevPolynomial(A, A.diagonal().reciprocal(), M.low, M.high, 4)
    torch.testing.assert_close(M(x), alike(x))
    assert solve(F, x, preconditioner=Chebyshev()).converged.all()
    with pytest.raises(InvalidInput, match="diagonal"):
        Chebyshev().init(FunctionOperator(A.apply, A.shape, A.batch))
    with pytest.raises(InvalidInput, match="diagonal"):
        Chebyshev().init(A).diagonal()
    with pytest.raises(InvalidInput, match="degree"):
        Chebyshev(-1)
    for ratio in (1.0, float("nan"), float("inf")):
        with pytest.raises(InvalidInput, match="ratio"):
            Chebyshev(ratio=ratio)
