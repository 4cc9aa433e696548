from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pdeflow.errors import InvalidInput
from pdeflow.linalg import FastPoisson, FunctionOperator, StencilOperator, Tag
from pdeflow.linalg.boundary import detect_ends, row_sums
from pdeflow.linalg.trigonometric import ENDS, PERIODIC, eigenpairs

from .systems import (
    HERMITIAN,
    SPD,
    darcy,
    dense,
    diffusion,
    generator,
    hermitian,
    iterations,
    jumps,
    right_hand_side,
)

# Of each end: the first row of the second difference with half cells as they are, and the cell.
ROWS = {"dirichlet": (2, 1), "dirichlet cell": (3, 1), "neumann": (1, 0.5), "neumann cell": (1, 1)}
DD, NN = ("dirichlet", "dirichlet"), ("neumann", "neumann")


def constant(ends, shape, alpha, betas, tags=HERMITIAN, dtype=torch.float64) -> StencilOperator:
    """alpha - sum_d beta_d D_dd by finite volumes; one system for each entry of alpha."""
    dim, alpha = len(shape), torch.as_tensor(alpha, dtype=dtype)
    cells, stiff = [], []
    for pair, n in zip(ends, shape):
        w, k = torch.ones(n, dtype=dtype), torch.full((n,), 2.0, dtype=dtype)
        if pair != PERIODIC:
            for end, at in zip(pair, (0, -1)):
                k[at] += ROWS[end][0] - 2
                w[at] *= ROWS[end][1]
        cells.append(w)
        stiff.append(k)

    def field(factors):
        out = torch.ones((), dtype=dtype)
        for factor in factors:
            out = out[..., None] * factor
        return out

    volume = field(cells)
    centre = alpha.reshape(-1, *(1,) * dim) * volume
    offsets, values = [(0,) * dim], []
    for axis in range(dim):
        others = field([torch.ones_like(w) if a == axis else w for a, w in enumerate(cells)])
        centre = centre + betas[axis] * others * stiff[axis].reshape(
            *(-1 if a == axis else 1 for a in range(dim))
        )
        for step in (-1, 1):
            offsets.append(tuple(step if a == axis else 0 for a in range(dim)))
            coupling = (-betas[axis] * others).clone()
            if ends[axis] != PERIODIC:
                coupling.select(axis, 0 if step < 0 else -1).fill_(777.0)  # outside, must not be used
            values.append(coupling)
    values = [centre, *(v.expand(len(alpha), *shape) for v in values)]
    return StencilOperator(offsets, torch.stack(values, 1), [pair == PERIODIC for pair in ends], tags)


EVERY_PAIR = [PERIODIC, *itertools.product(ENDS, ENDS)]


@pytest.mark.parametrize("pair", EVERY_PAIR)
@pytest.mark.parametrize("n", [2, 3, 4, 7, 8, 50])
def test_eigenpairs_are_those_of_the_second_difference(pair, n: int) -> None:
    A = dense(constant([pair], (n,), [0.0], [1.0]))[0]
    w = torch.ones(n, dtype=torch.float64)
    for end, at in zip(pair, (0, -1)):
        w[at] *= ROWS.get(end, (0, 1))[1]
    T = A / (w[:, None] * w[None, :]).sqrt()
    values, Q = eigenpairs(pair, n, torch.float64, torch.device("cpu"))
    torch.testing.assert_close(Q.mT @ Q, torch.eye(n, dtype=torch.float64), atol=1e-14, rtol=0)
    torch.testing.assert_close(T @ Q, Q * values, atol=1e-13, rtol=0)


def test_transforms_are_those_of_scipy() -> None:
    x = np.random.default_rng(0).standard_normal(12)
    for pair, transform in (
        (DD, lambda v: scipy.fft.dst(v, 1, norm="ortho")),
        (NN, lambda v: scipy.fft.dct(v, 1, norm="ortho")),
        (("neumann cell",) * 2, lambda v: scipy.fft.dct(v, 2, norm="ortho")),
        (("dirichlet cell",) * 2, lambda v: scipy.fft.dst(v, 2, norm="ortho")),
        (("neumann cell", "dirichlet cell"), lambda v: scipy.fft.dct(v, 4, norm="ortho")),
    ):
        Q = eigenpairs(pair, 12, torch.float64, torch.device("cpu"))[1]
        np.testing.assert_allclose(Q.mT.numpy() @ x, transform(x), atol=1e-13)


def check_exact(ends, shape, betas, detect: bool = True) -> None:
    """M A = I for a positive, an indefinite and a complex alpha."""
    for dtype, alphas in ((torch.float64, [0.7, -1.3]), (torch.complex128, [0.7 - 0.2j, -1.3 + 0.4j])):
        A = constant(ends, shape, alphas, betas, tags=(), dtype=dtype)
        inverse = torch.linalg.inv(dense(A))
        scale = inverse.abs().max().item() * (1 + dense(A).abs().max().item())
        for recipe in (FastPoisson(tuple(ends), dtype=None), *[FastPoisson(dtype=None)] * detect):
            torch.testing.assert_close(dense(recipe.init(A)), inverse, atol=1e-14 * scale, rtol=1e-11)


@pytest.mark.parametrize("pair", EVERY_PAIR)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 9])
def test_exact_1d(pair, n: int) -> None:
    # Two points between unlike ends are too few to tell them, or the reaction from an eliminated coupling.
    if n != 2 or pair[0] == pair[1] or not all(end.startswith("dirichlet") for end in pair):
        check_exact([pair], (n,), [2.0], detect=n != 2 or pair[0] == pair[1])


@pytest.mark.parametrize("ends", itertools.product(EVERY_PAIR[:1] + EVERY_PAIR[1:17:3], repeat=2))
def test_exact_2d(ends) -> None:
    check_exact(ends, (5, 6), [2.0, 3.0])


@pytest.mark.parametrize("ends", itertools.product([PERIODIC, DD, NN, ("neumann", "dirichlet")], repeat=3))
def test_exact_3d(ends) -> None:
    check_exact(ends, (4, 3, 5), [2.0, 3.0, 0.5])


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (2, 7), (2, 2), (7, 1, 2), (3, 1)])
def test_exact_on_thin_grids(shape: tuple[int, ...]) -> None:
    for pair in (DD, PERIODIC, NN, ("neumann cell",) * 2):
        check_exact([pair] * len(shape), shape, [2.0, 3.0, 0.5][: len(shape)])


@pytest.mark.parametrize(
    "ends", [[PERIODIC], [NN], [PERIODIC, NN], [("neumann cell", "neumann"), NN], [NN] * 3]
)
def test_pseudo_inverse_of_singular_operators(ends) -> None:
    shape = (6, 5, 4)[: len(ends)]
    A = constant(ends, shape, [0.0, 0.5], [2.0, 3.0, 0.7])
    M = FastPoisson(dtype=None).init(A)
    singular, regular = dense(M) @ dense(A)
    torch.testing.assert_close(regular, torch.eye(A.size, dtype=torch.float64), atol=1e-12, rtol=0)
    # A M A = A, M A M = M, and constants, which A maps to zero, do not come back.
    torch.testing.assert_close((dense(A) @ dense(M) @ dense(A))[0], dense(A)[0], atol=1e-12, rtol=0)
    torch.testing.assert_close(singular @ dense(M)[0], dense(M)[0], atol=1e-12, rtol=0)
    if all(end != "neumann" for pair in ends for end in pair):
        torch.testing.assert_close(dense(M)[0], torch.linalg.pinv(dense(A)[0]), atol=1e-12, rtol=0)
        assert M(right_hand_side(A))[0].mean().abs() < 1e-14


@st.composite
def stencils(draw) -> StencilOperator:
    dim = draw(st.integers(1, 3))
    shape = tuple(draw(st.integers(1, 6)) for _ in range(dim))
    periodic = tuple(draw(st.booleans()) for _ in range(dim))
    offsets = [o for o in itertools.product((-1, 0, 1), repeat=dim) if any(o)]
    chosen = draw(st.lists(st.sampled_from(offsets), max_size=5, unique=True))
    dtype = draw(st.sampled_from([torch.float64, torch.complex128]))
    values = torch.rand(
        2, 1 + len(chosen), *shape, dtype=dtype, generator=generator(draw(st.integers(0, 99)))
    )
    values[:, 1:] *= -1
    return StencilOperator([(0,) * dim, *chosen], values, periodic)


@given(stencils(), st.booleans(), st.sampled_from([0.0, 0.3j, 0.1 - 0.2j]))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_adjoint_identity_and_batch_is_a_loop(A: StencilOperator, scaling: bool, shift: complex) -> None:
    recipe = FastPoisson(scaling=scaling, shift=shift, dtype=None)
    M = recipe.init(A)
    x, y = right_hand_side(A, 3), right_hand_side(A, 4)
    left = torch.linalg.vecdot(M(x).flatten(1), y.flatten(1))
    right = torch.linalg.vecdot(x.flatten(1), M.adjoint(y).flatten(1))
    scale = (M(x).abs().amax() + M.adjoint(y).abs().amax()).item()
    torch.testing.assert_close(left, right, atol=1e-12 * scale, rtol=1e-9)
    fixed = FastPoisson(M.ends, scaling, shift, None)
    alone = [fixed.init(one)(x[i : i + 1]) for i, one in enumerate(A.pieces(1))]
    torch.testing.assert_close(torch.cat(alone), M(x), atol=1e-12 * scale, rtol=1e-9)


@pytest.mark.parametrize("scaling", [False, True])
def test_symmetric_positive_definite_on_variable_coefficients(scaling: bool) -> None:
    for A in (darcy(2, (9, 7)), darcy(2, (4, 5, 3)), darcy(2, (12,), low=1.0, high=1e4), hermitian(2, 6)):
        M = dense(FastPoisson(scaling=scaling, dtype=None).init(A))  # type: ignore[arg-type]
        torch.testing.assert_close(M, M.mH, atol=1e-13 * M.abs().max().item(), rtol=0)
        assert (torch.linalg.eigvalsh(M) > 0).all()


def test_a_negative_mean_reaction_does_not_spoil_definiteness() -> None:
    a = torch.ones(1, 52, dtype=torch.float64)
    a[:, 18:] = 0.01
    A = diffusion(a)
    # Stiff where the reaction is negative: A is definite, the operator with the mean of both is not.
    A.coefficients[:, 0, :17] -= 0.007 * 51**2
    assert (torch.linalg.eigvalsh(dense(A)) > 0).all()
    untagged = StencilOperator(A.offsets, A.coefficients)
    assert (torch.linalg.eigvalsh(dense(FastPoisson(dtype=None).init(untagged))) < 0).any()  # type: ignore[arg-type]
    assert (torch.linalg.eigvalsh(dense(FastPoisson(dtype=None).init(A))) > 0).all()  # type: ignore[arg-type]


def smooth(batch: int, n: int) -> torch.Tensor:
    """A log-normal field, ``(batch, n, n)``."""
    noise = torch.randn(batch, n, n, dtype=torch.float64, generator=generator(0))
    wave = torch.fft.fftfreq(n, dtype=torch.float64) * n
    decay = (9 + wave[:, None] ** 2 + wave**2) ** -3
    field = torch.fft.ifft2(torch.fft.fft2(noise) * decay).real
    return (field / field.std()).exp()


@pytest.mark.parametrize("n", [32, 63, 128])
def test_iterations_grow_with_the_contrast_not_with_the_grid(n: int) -> None:
    assert iterations(darcy(2, (n, n)), FastPoisson()) <= 21
    assert (
        abs(
            iterations(darcy(2, (n, n)), FastPoisson())
            - iterations(darcy(2, (n, n)), FastPoisson(dtype=None))
        )
        <= 1
    )


def test_iterations_on_other_coefficients() -> None:
    assert iterations(darcy(1, (20, 20, 20)), FastPoisson()) <= 22
    assert iterations(diffusion(jumps(2, (48, 48)), (True, False)), FastPoisson()) <= 22
    A = diffusion(smooth(2, 66))
    assert iterations(A, FastPoisson(scaling=True)) <= 20 < 100 < iterations(A, FastPoisson())


def test_a_constant_operator_is_solved_at_once() -> None:
    A = constant([DD, NN], (40, 30), [0.0, 5.0], [900.0, 1600.0], SPD)
    b = right_hand_side(A)
    M = FastPoisson(dtype=None).init(A)
    assert torch.linalg.norm(b - A(M(b))) < 1e-10 * torch.linalg.norm(b)
    assert iterations(A, FastPoisson(dtype=None)) == 1
    assert iterations(A, FastPoisson()) <= 3


def test_shift_keeps_away_from_eigenvalues() -> None:
    values, _ = eigenpairs(DD, 20, torch.float64, torch.device("cpu"))
    alpha = -(values[3] + 1e-9)
    A = constant([DD], (20,), [alpha], [1.0])
    plain, shifted = (FastPoisson(shift=s, dtype=None).init(A) for s in (0.0, 0.1j))
    assert dense(plain).abs().max() > 1e6
    expected = torch.linalg.inv(dense(A).to(torch.complex128) + 0.1j * alpha.abs() * torch.eye(20)).real
    torch.testing.assert_close(dense(shifted), expected, atol=1e-7, rtol=1e-7)
    B = StencilOperator(A.offsets, A.coefficients.to(torch.complex128))
    exact = torch.linalg.inv(dense(B) + 0.1j * alpha.abs() * torch.eye(20))
    torch.testing.assert_close(dense(FastPoisson(shift=0.1j, dtype=None).init(B)), exact)


@pytest.mark.parametrize(
    "pairs",
    itertools.product(
        [PERIODIC, DD, NN, ("neumann", "dirichlet"), ("dirichlet cell", "neumann cell")], repeat=2
    ),
)
def test_ends_are_detected_under_jumps(pairs) -> None:
    A = constant(pairs, (24, 17), [0.0], [1.0, 2.0])
    assert detect_ends(A, row_sums(A)) == list(pairs)
    # The same with a coefficient that jumps, and with NaN in another system of the batch.
    a = jumps(1, (24, 17), low=1.0, high=50.0)
    centre = row_sums(A) * a
    values = [centre]
    for k, offset in enumerate(A.offsets[1:], 1):
        face = A.coefficients[:, k] * 2 / (1 / a + 1 / a.roll([-o for o in offset], (1, 2)))
        centre -= row_sums(StencilOperator([offset], face[:, None], A.periodic))
        values.append(face)
    jumping = torch.stack(values, 1)
    both = torch.cat([jumping, torch.full_like(jumping, float("nan"))])
    B = StencilOperator(A.offsets, both, A.periodic)
    assert detect_ends(B, row_sums(B)) == list(pairs)


def test_nan_stays_in_its_sample() -> None:
    A = darcy(3, (12, 12))
    expected = FastPoisson().init(A)(right_hand_side(A))
    A.coefficients[1, 2, 3, 4] = float("nan")
    found = FastPoisson().init(A)(right_hand_side(A))
    assert torch.equal(found[[0, 2]], expected[[0, 2]])
    assert torch.isnan(found[1]).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.complex128])
def test_dtypes_and_meta(dtype: torch.dtype) -> None:
    A = darcy(2, (12, 9)).to(dtype)
    x = right_hand_side(A)
    M = FastPoisson().init(A)
    assert M(x).dtype == dtype
    wide = torch.complex128 if dtype.is_complex else torch.float64
    exact = FastPoisson(dtype=None).init(A.to(wide))(x.to(wide)).to(dtype)
    torch.testing.assert_close(M(x), exact, rtol=1e-3, atol=1e-6)
    single = torch.complex64 if dtype.is_complex else torch.float32
    torch.testing.assert_close(M.to(single)(x.to(single)), exact.to(single), rtol=1e-3, atol=1e-6)
    out = FastPoisson(scaling=True).init(A.to(device="meta")).apply(x.to("meta"))
    assert (out.shape, out.dtype, out.device.type) == (x.shape, dtype, "meta")


def test_errors() -> None:
    A = darcy(1, (4, 4))
    bare = FunctionOperator(A.apply, A.shape, A.batch, tags=(Tag.SYMMETRIC,))
    with pytest.raises(InvalidInput, match="StencilOperator"):
        FastPoisson().init(bare)
    with pytest.raises(InvalidInput, match="dtype"):
        FastPoisson(dtype=torch.float16)
    with pytest.raises(InvalidInput, match="shift"):
        FastPoisson(shift=math.inf)
    with pytest.raises(InvalidInput, match="ends"):
        FastPoisson((("dirichlet", "open"),))
    for ends in ((DD,), (DD, PERIODIC)):
        with pytest.raises(InvalidInput, match="ends"):
            FastPoisson(ends).init(A)
    with pytest.raises(InvalidInput, match="diagonal"):
        FastPoisson().init(A).diagonal()
