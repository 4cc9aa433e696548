from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pdeflow.errors import InvalidInput
from pdeflow.linalg import Multigrid, StencilOperator, solve
from pdeflow.linalg.level import Level
from pdeflow.linalg.multigrid import COARSEST, MultigridCycle

from .systems import SPD, darcy, dense, diffusion, generator, hermitian, jumps, right_hand_side


def full_stencil(
    batch: int, shape: tuple[int, ...], periodic: tuple[bool, ...], seed: int = 0
) -> StencilOperator:
    """Random, not symmetric, with all 3^d entries and values that point outside."""
    offsets = list(itertools.product((-1, 0, 1), repeat=len(shape)))
    values = torch.randn(batch, len(offsets), *shape, dtype=torch.float64, generator=generator(seed))
    values[:, offsets.index((0,) * len(shape))] += 40
    return StencilOperator(offsets, values, periodic)


def filled_level(A: StencilOperator) -> Level:
    level = Level(A.offsets, A.shape, A.periodic, A.batch, A.dtype, A.device)
    level.fill((offset, A.coefficients[:, k]) for k, offset in enumerate(A.offsets))
    return level


def interpolation(n: int, periodic: bool) -> torch.Tensor:
    """Linear interpolation to n points from those with odd numbers, as a matrix."""
    P = torch.zeros(n, (n + 1) // 2, dtype=torch.float64)
    for j in range(P.shape[1]):
        for step, weight in ((-1, 0.5), (0, 1.0), (1, 0.5)):
            i = 2 * j + 1 + step
            if periodic or i < n:
                P[i % n, j] += weight
    return P


SHAPES = [
    ((7,), (False,)),
    ((8,), (True,)),
    ((6, 5), (False, False)),
    ((4, 7), (True, False)),
    ((5, 6), (False, True)),
    ((6, 4), (True, True)),
    ((3, 4, 5), (False, False, False)),
    ((4, 3, 6), (False, False, True)),
    ((1, 5), (False, False)),
    ((2, 2), (True, True)),
]


@pytest.mark.parametrize(("shape", "periodic"), SHAPES)
def test_coarse_operator_is_the_galerkin_product(shape, periodic) -> None:
    A = full_stencil(2, shape, periodic)
    P = torch.ones(1, 1, dtype=torch.float64)
    for n, wraps in zip(shape, periodic):
        P = torch.kron(P, interpolation(n, wraps))
    level = filled_level(A)
    coarse = level.galerkin()
    C = StencilOperator(list(coarse), torch.stack(list(coarse.values()), 1), periodic)
    torch.testing.assert_close(dense(C), P.mT @ dense(A) @ P)


@pytest.mark.parametrize(("shape", "periodic"), SHAPES)
def test_sweeps_and_transfers_against_matrices(shape, periodic) -> None:
    A = full_stencil(2, shape, periodic)
    level = filled_level(A)
    P = torch.ones(1, 1, dtype=torch.float64)
    for n, wraps in zip(shape, periodic):
        P = torch.kron(P, interpolation(n, wraps))
    colour = torch.zeros(shape, dtype=torch.int64)
    for rank, parity in enumerate(level.colours):
        colour[tuple(slice(p, None, 2) for p in parity)] = rank
    colour = colour.flatten()
    matrix = dense(A)
    lower = torch.where(colour[:, None] >= colour[None, :], matrix, 0.0)
    upper = torch.where(colour[:, None] <= colour[None, :], matrix, 0.0)
    b = right_hand_side(A)
    level.part(b, level.b)
    level.smooth_down()
    x = torch.linalg.solve(lower, b.flatten(1))
    torch.testing.assert_close(level.join(level.x).flatten(1), x)
    residual = b.flatten(1) - (matrix @ x[..., None])[..., 0]
    torch.testing.assert_close(-level.restrict().flatten(1), residual @ P)
    e = torch.randn(2, *level.half, dtype=torch.float64, generator=generator(3))
    level.prolong(e)
    x = x - e.flatten(1) @ P.mT
    torch.testing.assert_close(level.join(level.x).flatten(1), x)
    level.smooth_up()
    x = x + torch.linalg.solve(upper, b.flatten(1) - (matrix @ x[..., None])[..., 0])
    torch.testing.assert_close(level.join(level.x).flatten(1), x)


@st.composite
def elliptic(draw) -> StencilOperator:
    dim = draw(st.integers(1, 3))
    shape = tuple(draw(st.integers(1, {1: 300, 2: 20, 3: 9}[dim])) for _ in range(dim))
    return darcy(2, shape, draw(st.integers(0, 50)))


@given(elliptic())
@settings(max_examples=40)
def test_cycle_is_symmetric_positive_definite_and_close_to_the_inverse(A: StencilOperator) -> None:
    M = dense(Multigrid(dtype=None).init(A))  # type: ignore[arg-type]
    torch.testing.assert_close(M, M.mT, atol=1e-12 * M.abs().max().item(), rtol=0)
    spectrum = torch.linalg.eigvals(M @ dense(A)).real
    # The error after a symmetric cycle is positive semi-definite: the spectrum of M A ends at 1.
    assert spectrum.max() <= 1 + 1e-9
    assert spectrum.min() > 0.15


def test_complex_cycle_is_hermitian() -> None:
    M = dense(Multigrid(dtype=None).init(hermitian(2, 12)))  # type: ignore[arg-type]
    torch.testing.assert_close(M, M.mH, atol=1e-12 * M.abs().max().item(), rtol=0)
    assert (torch.linalg.eigvalsh(M) > 0).all()


@pytest.mark.parametrize(("shape", "periodic"), [((20, 13), (False, False)), ((16, 20), (True, False))])
def test_adjoint_of_the_cycle_of_any_operator(shape, periodic) -> None:
    M = Multigrid(dtype=None).init(full_stencil(2, shape, periodic))
    x, y = torch.randn(2, 2, *shape, dtype=torch.float64, generator=generator(1))
    left = torch.linalg.vecdot(M(x).flatten(1), y.flatten(1))
    right = torch.linalg.vecdot(x.flatten(1), M.adjoint(y).flatten(1))
    torch.testing.assert_close(left, right)


def iterations(A: StencilOperator, **options) -> int:
    b = torch.ones(A.batch, *A.shape, dtype=A.dtype)
    return int(solve(A, b, preconditioner=Multigrid(**options)).iterations.max())


@pytest.mark.parametrize("n", [31, 32, 37, 64, 97, 127, 128])
def test_few_iterations_at_any_size_2d(n: int) -> None:
    assert iterations(darcy(2, (n, n))) <= 12


@pytest.mark.slow
@pytest.mark.parametrize("n", [255, 256, 257, 509])
def test_few_iterations_at_large_size_2d(n: int) -> None:
    assert iterations(darcy(2, (n, n))) <= 13


@pytest.mark.parametrize("n", [15, 16, 17, 32])
def test_few_iterations_at_any_size_3d(n: int) -> None:
    assert iterations(darcy(1, (n, n, n))) <= 13


@pytest.mark.slow
@pytest.mark.parametrize("n", [48, 64])
def test_few_iterations_at_large_size_3d(n: int) -> None:
    assert iterations(darcy(1, (n, n, n))) <= 14


def test_few_iterations_at_any_size_1d() -> None:
    for n in (1, 2, 3, 64, 65, 66, 500, 1000):
        assert iterations(darcy(2, (n,))) <= 13


def test_other_coefficients() -> None:
    smooth = torch.randn(2, 66, 66, dtype=torch.float64, generator=generator(0))
    for _ in range(8):
        smooth = (smooth + smooth.roll(1, 1) + smooth.roll(1, 2) + smooth.roll((1, 1), (1, 2))) / 4
    assert iterations(diffusion((smooth / smooth.std()).exp())) <= 20
    assert iterations(diffusion(torch.ones(1, 66, 66, dtype=torch.float64))) <= 9
    assert iterations(diffusion(jumps(2, (64, 64)), (True, True), reaction=1.0)) <= 13
    assert iterations(hermitian(2, 64)) <= 40


def test_float32_cycle_costs_no_iterations() -> None:
    A = darcy(2, (64, 64))
    assert abs(iterations(A) - iterations(A, dtype=None)) <= 1


def test_previous_is_reused_where_it_fits() -> None:
    A, B = darcy(2, (40, 40), seed=1), darcy(2, (40, 40), seed=2)
    x = right_hand_side(A)
    expected = Multigrid().init(B)(x)
    M = Multigrid().init(A)
    again = Multigrid().init(B, M)
    assert again is M
    assert torch.equal(again(x), expected)
    assert Multigrid().init(darcy(2, (41, 40)), M) is not M
    assert Multigrid(dtype=None).init(B, M) is not M


def test_to() -> None:
    A = darcy(2, (40, 40))
    x = right_hand_side(A).float()
    M = Multigrid().init(A)
    assert isinstance(M.to(torch.float32), MultigridCycle)
    torch.testing.assert_close(M.to(torch.float32)(x).double(), M(x.double()), rtol=1e-3, atol=1e-6)


def test_errors() -> None:
    wide = StencilOperator([(0,), (2,)], torch.ones(1, 2, 9, dtype=torch.float64), tags=SPD)
    with pytest.raises(InvalidInput, match="offsets"):
        Multigrid().init(wide)
    hollow = StencilOperator([(1,)], torch.ones(1, 1, 9, dtype=torch.float64))
    with pytest.raises(InvalidInput, match="diagonal"):
        Multigrid().init(hollow)
    odd = diffusion(torch.ones(1, 37, 37, dtype=torch.float64), (True, True), 1.0)
    with pytest.raises(InvalidInput, match="periodic"):
        Multigrid().init(odd)
    with pytest.raises(InvalidInput, match="dtype"):
        Multigrid(torch.float16)
    with pytest.raises(InvalidInput, match="diagonal"):
        Multigrid().init(darcy(1, (4, 4))).diagonal()
    assert COARSEST < 37 * 37
