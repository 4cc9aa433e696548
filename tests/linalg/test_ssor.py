from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pdeflow.errors import InvalidInput
from pdeflow.linalg import SSOR, FunctionOperator, Jacobi, StencilOperator, solve

from .systems import darcy, dense, generator, hermitian, right_hand_side


def colours(A: StencilOperator) -> torch.Tensor:
    """Of every point the rank of its colour: parities with an even sum first."""
    parities = sorted(itertools.product((0, 1), repeat=len(A.shape)), key=lambda p: (sum(p) % 2, p))
    rank = torch.zeros(A.shape, dtype=torch.int64)
    for k, parity in enumerate(parities):
        rank[tuple(slice(p, None, 2) for p in parity)] = k
    return rank.flatten()


@st.composite
def stencils(draw) -> StencilOperator:
    dim = draw(st.integers(1, 3))
    periodic = tuple(draw(st.booleans()) for _ in range(dim))
    shape = tuple(2 * draw(st.integers(1, 2)) if w else draw(st.integers(1, 5)) for w in periodic)
    offsets = [o for o in itertools.product((-1, 0, 1), repeat=dim) if any(o)]
    chosen = draw(st.lists(st.sampled_from(offsets), max_size=6, unique=True))
    dtype = draw(st.sampled_from([torch.float64, torch.complex128]))
    values = torch.randn(
        2, 1 + len(chosen), *shape, dtype=dtype, generator=generator(draw(st.integers(0, 99)))
    )
    values[:, 0] += 9
    return StencilOperator([(0,) * dim, *chosen], values, periodic)


@given(stencils(), st.sampled_from([0.7, 1.0, 1.6]))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_ssor_by_its_formula(A: StencilOperator, omega: float) -> None:
    matrix, rank = dense(A), colours(A)
    D = torch.diag_embed(torch.diagonal(matrix, dim1=1, dim2=2))
    lower = D + omega * torch.where(rank[:, None] > rank[None, :], matrix, 0.0)
    upper = D + omega * torch.where(rank[:, None] < rank[None, :], matrix, 0.0)
    expected = omega * (2 - omega) * torch.linalg.inv(upper) @ D @ torch.linalg.inv(lower)
    M = SSOR(omega).init(A)
    torch.testing.assert_close(dense(M), expected)  # type: ignore[arg-type]
    torch.testing.assert_close(dense(M.adjoint), expected.mH)  # type: ignore[arg-type]
    x = right_hand_side(A)
    alone = [SSOR(omega).init(one)(x[i : i + 1]) for i, one in enumerate(A.pieces(1))]
    torch.testing.assert_close(torch.cat(alone), M(x))


@pytest.mark.parametrize("omega", [0.3, 1.0, 1.9])
def test_hermitian_positive_definite(omega: float) -> None:
    for A in (darcy(2, (7, 6)), darcy(2, (3, 4, 5)), hermitian(2, 5)):
        M = dense(SSOR(omega).init(A))  # type: ignore[arg-type]
        torch.testing.assert_close(M, M.mH, atol=1e-13 * M.abs().max().item(), rtol=0)
        assert (torch.linalg.eigvalsh(M) > 0).all()


def test_iterations() -> None:
    A = darcy(2, (48, 48))
    b = torch.ones(2, 48, 48, dtype=torch.float64)
    jacobi, ssor = (int(solve(A, b, preconditioner=M).iterations.max()) for M in (Jacobi(), SSOR()))
    assert ssor <= 0.55 * jacobi


def test_nan_stays_in_its_sample_and_previous_is_reused() -> None:
    A = darcy(3, (6, 7))
    x = right_hand_side(A)
    M = SSOR().init(A)
    expected = M(x)
    B = StencilOperator(A.offsets, A.coefficients.clone(), tags=A.tags)
    B.coefficients[1, 2, 3, 4] = float("nan")
    assert torch.equal(SSOR().init(B)(x)[[0, 2]], expected[[0, 2]])
    again = SSOR().init(B, M)
    assert again is M
    assert torch.equal(again(x)[[0, 2]], expected[[0, 2]])
    assert torch.equal(SSOR().init(A, M)(x), expected)
    assert SSOR(1.2).init(A, M) is not M


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.complex128])
def test_dtypes_and_meta(dtype: torch.dtype) -> None:
    A = darcy(2, (6, 7)).to(dtype)
    x = right_hand_side(A)
    M = SSOR().init(A)
    single = torch.complex64 if dtype.is_complex else torch.float32
    assert M(x).dtype == dtype
    torch.testing.assert_close(M.to(single)(x.to(single)), M(x).to(single), rtol=1e-3, atol=1e-6)
    out = SSOR().init(A.to(device="meta")).apply(x.to("meta"))
    assert (out.shape, out.dtype, out.device.type) == (x.shape, dtype, "meta")


def test_errors() -> None:
    A = darcy(1, (4, 4))
    for omega in (0.0, 2.0, float("nan")):
        with pytest.raises(InvalidInput, match="omega"):
            SSOR(omega)
    with pytest.raises(InvalidInput, match="StencilOperator"):
        SSOR().init(FunctionOperator(A.apply, A.shape, A.batch))
    for offsets, periodic, name in (
        ([(0,), (2,)], False, "offsets"),
        ([(1,)], False, "diagonal"),
        ([(0,), (1,)], True, "periodic"),
    ):
        with pytest.raises(InvalidInput, match=name):
            SSOR().init(StencilOperator(offsets, torch.ones(1, len(offsets), 9), [periodic]))
    with pytest.raises(InvalidInput, match="diagonal"):
        SSOR().init(A).diagonal()
