from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pdeflow.errors import InvalidInput
from pdeflow.linalg import BlockJacobi, FunctionOperator, Jacobi, SparseOperator, StencilOperator, solve

from .systems import darcy, dense, diffusion, generator, hermitian, random_pattern, right_hand_side


@st.composite
def stencils(draw) -> tuple[StencilOperator, tuple[int, ...]]:
    dim = draw(st.integers(1, 3))
    shape = tuple(draw(st.integers(1, 5)) for _ in range(dim))
    periodic = tuple(draw(st.booleans()) for _ in range(dim))
    every = list(itertools.product(range(-2, 3), repeat=dim))
    offsets = draw(st.lists(st.sampled_from(every), max_size=5, unique=True))
    offsets = [o for o in offsets if any(o)]
    dtype = draw(st.sampled_from([torch.float64, torch.complex128]))
    values = torch.randn(
        2, 1 + len(offsets), *shape, dtype=dtype, generator=generator(draw(st.integers(0, 99)))
    )
    values[:, 0] += 12
    return StencilOperator([(0,) * dim, *offsets], values, periodic), tuple(
        draw(st.integers(1, 6)) for _ in range(dim)
    )


@given(stencils())
@settings(max_examples=80, deadline=None, derandomize=True)
def test_inverse_of_the_matrix_without_couplings_between_blocks(case) -> None:
    A, blocks = case
    number = torch.zeros(A.shape, dtype=torch.int64)
    for axis, (n, b) in enumerate(zip(A.shape, blocks)):
        along = torch.arange(n) // b
        number = number * n + along.reshape(*(-1 if a == axis else 1 for a in range(len(A.shape))))
    number = number.flatten()
    matrix = torch.where(number[:, None] == number[None, :], dense(A), 0.0)
    M = BlockJacobi(blocks).init(A)
    inverse = torch.linalg.inv(matrix)
    torch.testing.assert_close(dense(M), inverse)  # type: ignore[arg-type]
    torch.testing.assert_close(dense(M.adjoint), inverse.mH)  # type: ignore[arg-type]
    torch.testing.assert_close(M.diagonal().flatten(1), torch.diagonal(inverse, dim1=1, dim2=2))
    x = right_hand_side(A)
    alone = [BlockJacobi(blocks).init(one)(x[i : i + 1]) for i, one in enumerate(A.pieces(1))]
    torch.testing.assert_close(torch.cat(alone), M(x))
    assert torch.equal(BlockJacobi(blocks).init(A.to_sparse())(x), M(x))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_consecutive_rows_of_a_sparse_operator(dtype: torch.dtype) -> None:
    pattern = random_pattern(23, 23, 0.8, 1)
    A = SparseOperator(pattern, torch.randn(2, pattern.nnz, dtype=dtype, generator=generator(1)))
    matrix = torch.block_diag(*(torch.ones(n, n) for n in (5, 5, 5, 5, 3))) * dense(A)  # type: ignore[arg-type]
    expected = torch.linalg.inv(matrix)
    M = BlockJacobi(5).init(A)
    torch.testing.assert_close(dense(M), expected)  # type: ignore[arg-type]
    torch.testing.assert_close(dense(M.adjoint), expected.mH)  # type: ignore[arg-type]
    x = torch.randn(2, 23, dtype=dtype, generator=generator(2))
    out = BlockJacobi(5).init(A.to(device="meta")).apply(x.to("meta"))
    assert (out.shape, out.dtype, out.device.type) == (x.shape, dtype, "meta")


def test_hermitian_positive_definite() -> None:
    ring = diffusion(torch.ones(1, 5, 7, dtype=torch.float64), (True, True), 1.0)
    for A, blocks in ((darcy(2, (7, 6)), 3), (darcy(2, (3, 4, 5)), 2), (hermitian(2, 5), 2), (ring, (5, 2))):
        M = dense(BlockJacobi(blocks).init(A))  # type: ignore[arg-type]
        torch.testing.assert_close(M, M.mH, atol=1e-13 * M.abs().max().item(), rtol=0)
        assert (torch.linalg.eigvalsh(M) > 0).all()


def test_iterations() -> None:
    A = darcy(2, (48, 48))
    b = torch.ones(2, 48, 48, dtype=torch.float64)
    recipes = (
        Jacobi(),
        BlockJacobi(1),
        BlockJacobi(4),
        BlockJacobi(8),
        BlockJacobi((1, 48)),
        BlockJacobi(30),
    )
    counts = [int(solve(A, b, preconditioner=M).iterations.max()) for M in recipes]
    assert counts[0] == counts[1]
    assert counts[2] <= 0.7 * counts[0]
    assert counts[3] <= 0.55 * counts[0]
    assert counts[4] <= 0.8 * counts[0]
    assert (
        int(
            solve(
                darcy(2, (20, 20)), torch.ones(2, 20, 20).double(), preconditioner=BlockJacobi(20)
            ).iterations.max()
        )
        == 1
    )


def test_nan_and_singular_blocks_stay_in_their_sample() -> None:
    A = darcy(4, (6, 7))
    x = right_hand_side(A)
    expected = BlockJacobi().init(A)(x)
    A.coefficients[1, 2, 1, 4] = float("nan")
    A.coefficients[2, :, :4, :4] = 1.0  # rows that are equal
    M = BlockJacobi().init(A)
    assert torch.equal(M(x)[[0, 3]], expected[[0, 3]])
    assert not torch.isfinite(M(x)[1]).all()
    zero = StencilOperator(A.offsets, torch.zeros_like(A.coefficients))
    assert torch.equal(BlockJacobi().init(zero)(x), x)
    ones = StencilOperator([(-1,), (0,), (1,)], torch.ones(1, 3, 2, dtype=torch.float64))
    assert torch.isnan(BlockJacobi().init(ones)(torch.ones(1, 2, dtype=torch.float64))).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.complex128])
def test_dtypes_and_meta(dtype: torch.dtype) -> None:
    A = darcy(2, (6, 7)).to(dtype)
    x = right_hand_side(A)
    M = BlockJacobi().init(A)
    single = torch.complex64 if dtype.is_complex else torch.float32
    assert M(x).dtype == dtype
    torch.testing.assert_close(M.to(single)(x.to(single)), M(x).to(single), rtol=1e-3, atol=1e-6)
    out = BlockJacobi().init(A.to(device="meta")).apply(x.to("meta"))
    assert (out.shape, out.dtype, out.device.type) == (x.shape, dtype, "meta")


def test_errors() -> None:
    A = darcy(1, (40, 40))
    for blocks in (0, (3, 0), ()):
        with pytest.raises(InvalidInput, match="blocks"):
            BlockJacobi(blocks)
    for blocks in (33, (3,), (2, 2, 2)):
        with pytest.raises(InvalidInput, match="blocks"):
            BlockJacobi(blocks).init(A)
    with pytest.raises(InvalidInput, match="StencilOperator"):
        BlockJacobi().init(FunctionOperator(A.apply, A.shape, A.batch))
