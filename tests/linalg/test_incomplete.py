from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pdeflow.errors import InvalidInput
from pdeflow.linalg import (
    CG,
    IC,
    ILU,
    FunctionOperator,
    Jacobi,
    SparseOperator,
    StencilOperator,
    Tag,
    solve,
)
from pdeflow.linalg.compiled_factors import usable
from pdeflow.linalg.native import library
from pdeflow.linalg.triangular import Sweep, longest_chains

from .systems import (
    HERMITIAN,
    SPD,
    darcy,
    dense,
    diffusion,
    generator,
    hermitian,
    iterations,
    random_pattern,
    right_hand_side,
    waves,
)

RECIPES = [IC(), ILU(), IC(0.95), ILU(1.0)]


def textbook_ilu(
    A: np.ndarray, relaxation: float = 0.0, real: bool = False, stored: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """ILU(0), the IKJ variant, of a dense matrix with the pattern of its non-zeros, or that ``stored``."""
    a, n = A.copy(), len(A)
    stored = A != 0 if stored is None else stored
    for i in range(n):
        for k in np.flatnonzero(stored[i, :i]):
            a[i, k] /= a[k, k]
            for j in k + 1 + np.flatnonzero(stored[k, k + 1 :]):
                if stored[i, j]:
                    a[i, j] -= a[i, k] * a[k, j]
                else:
                    fill = a[i, k] * a[k, j]
                    a[i, i] -= relaxation * (fill.real if real else fill)
    return np.tril(a, -1) + np.eye(n), np.triu(a)


def textbook_cholesky(A: np.ndarray) -> np.ndarray:
    """IC(0), L with L L* ~ A, column by column."""
    L, n = np.tril(A).astype(A.dtype), len(A)
    for k in range(n):
        L[k, k] = np.sqrt(L[k, k])
        L[k + 1 :, k] /= L[k, k]
        for j in range(k + 1, n):
            for i in range(j, n):
                if A[i, j] != 0:
                    L[i, j] -= L[i, k] * np.conj(L[j, k])
    return L


def full_stencil(
    shape: tuple[int, ...], periodic: tuple[bool, ...], dtype: torch.dtype, seed: int, reach: int = 1
) -> StencilOperator:
    """Diagonally dominant, not symmetric, with all entries, those that lead outside NaN."""
    offsets = list(itertools.product(range(-reach, reach + 1), repeat=len(shape)))
    offsets = offsets[::-1] if seed % 2 else offsets
    values = torch.randn(2, len(offsets), *shape, dtype=dtype, generator=generator(seed))
    values[:, offsets.index((0,) * len(shape))] += 3 * len(offsets) ** 0.5 + 4
    for k, offset in enumerate(offsets):
        for axis, step in enumerate(offset):
            if step and not periodic[axis]:
                outside = (
                    range(max(0, shape[axis] - step), shape[axis])
                    if step > 0
                    else range(min(-step, shape[axis]))
                )
                for at in outside:
                    values[:, k].select(axis + 1, at).fill_(float("nan"))
    return StencilOperator(offsets, values, periodic)


def symmetrised(A: StencilOperator) -> StencilOperator:
    """A + A*, made diagonally dominant."""
    clean = torch.nan_to_num(A.coefficients)
    turned = StencilOperator(A.offsets, clean, A.periodic).adjoint
    order = [turned.offsets.index(offset) for offset in A.offsets]
    values = clean + turned.coefficients[:, order]
    centre = A.offsets.index((0,) * len(A.shape))
    values[:, centre] = values[:, centre].real + 2 * len(A.offsets)
    return StencilOperator(A.offsets, values, A.periodic, SPD)


@st.composite
def stencils(draw) -> StencilOperator:
    dim = draw(st.integers(1, 3))
    shape = tuple(draw(st.integers(1, {1: 9, 2: 5, 3: 3}[dim])) for _ in range(dim))
    periodic = tuple(draw(st.sampled_from([False, False, True])) for _ in range(dim))
    dtype = draw(st.sampled_from([torch.float64, torch.float64, torch.complex128]))
    reach = draw(st.integers(1, 2)) if dim < 3 else 1
    return full_stencil(shape, periodic, dtype, draw(st.integers(0, 99)), reach)


@given(stencils())
@settings(max_examples=40, deadline=None, derandomize=True)
def test_ilu_is_the_textbook_factorisation(A: StencilOperator) -> None:
    M, matrices = dense(ILU().init(A)), dense(A)  # type: ignore[arg-type]
    for found, matrix in zip(M, matrices):
        L, U = textbook_ilu(matrix.numpy())
        np.testing.assert_allclose(found.numpy(), np.linalg.inv(L @ U), atol=1e-12)


@given(stencils())
@settings(max_examples=40, deadline=None, derandomize=True)
def test_cholesky_is_the_textbook_factorisation(A: StencilOperator) -> None:
    A = symmetrised(A)
    M, matrices = dense(IC().init(A)), dense(A)  # type: ignore[arg-type]
    torch.testing.assert_close(matrices, matrices.mH)
    for found, matrix in zip(M, matrices):
        L = textbook_cholesky(matrix.numpy())
        np.testing.assert_allclose(found.numpy(), np.linalg.inv(L @ L.conj().T), atol=1e-12)
    torch.testing.assert_close(M, M.mH, atol=1e-14, rtol=1e-12)
    assert (torch.linalg.eigvalsh(M) > 0).all()
    torch.testing.assert_close(dense(ILU().init(A)), M, atol=1e-13, rtol=1e-12)  # type: ignore[arg-type]


@given(stencils(), st.sampled_from([0.5, 1.0]))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_relaxed_factors_are_the_textbook_ones(A: StencilOperator, relaxation: float) -> None:
    S = symmetrised(A)
    for B, recipe in ((A, ILU(relaxation)), (S, ILU(relaxation)), (S, IC(relaxation))):
        M, matrices = dense(recipe.init(B)), dense(B)  # type: ignore[arg-type]
        for found, matrix in zip(M, matrices):
            L, U = textbook_ilu(matrix.numpy(), relaxation, real=isinstance(recipe, IC))
            np.testing.assert_allclose(found.numpy(), np.linalg.inv(L @ U), atol=1e-12)
    torch.testing.assert_close(M, M.mH, atol=1e-14, rtol=1e-12)


def test_the_modified_factors_keep_row_sums() -> None:
    A = darcy(2, (9, 8))
    ones = torch.ones(2, 9, 8, dtype=torch.float64)
    torch.testing.assert_close(IC(1.0).init(A)(A(ones)), ones)
    assert (IC(0.9).init(A)(A(ones)) - ones).abs().max() > 1e-3


@given(stencils(), st.sampled_from(RECIPES))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_adjoint_identity_and_batch_is_a_loop(A: StencilOperator, recipe) -> None:
    A = symmetrised(A) if isinstance(recipe, IC) else A
    M = recipe.init(A)
    x, y = right_hand_side(A, 3), right_hand_side(A, 4)
    left = torch.linalg.vecdot(M(x).flatten(1), y.flatten(1))
    right = torch.linalg.vecdot(x.flatten(1), M.adjoint(y).flatten(1))
    torch.testing.assert_close(left, right)
    torch.testing.assert_close(M.adjoint.adjoint(x), M(x))
    alone = [recipe.init(one)(x[i : i + 1]) for i, one in enumerate(A.pieces(1))]
    torch.testing.assert_close(torch.cat(alone), M(x))


SHAPES = [(17,), (1,), (6, 7), (1, 5), (5, 1), (2, 9), (4, 5, 6), (3, 1, 4), (2, 2, 2), (3, 2, 2, 3)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("batch", [1, 3, 4, 9])
def test_compiled_form_is_the_eager_form(shape, recipe, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    B = full_stencil(shape, (False,) * len(shape), torch.float64, batch)
    values = B.coefficients[:1].expand(batch, *B.coefficients.shape[1:]) * torch.linspace(
        1, 2, batch, dtype=torch.float64
    ).reshape(-1, *(1,) * (B.coefficients.ndim - 1))
    A = symmetrised(StencilOperator(B.offsets, values))
    if isinstance(recipe, ILU):
        A = StencilOperator(A.offsets, A.coefficients + 0.1 * torch.nan_to_num(values))
    x = right_hand_side(A)
    if not usable(A):
        pytest.skip("no C compiler")
    compiled = recipe.init(A)
    monkeypatch.setenv("PDEFLOW_NATIVE", "0")
    assert not usable(A)
    eager = recipe.init(A)
    torch.testing.assert_close(compiled(x), eager(x), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(compiled.adjoint(x), eager.adjoint(x), rtol=1e-12, atol=1e-14)
    for dtype in (torch.float32, torch.float64):
        C = A.to(dtype)
        monkeypatch.setenv("PDEFLOW_NATIVE", "0")
        eager = type(recipe)(recipe.relaxation, torch.float32).init(C)(x.to(dtype))
        monkeypatch.undo()
        assert usable(C)
        torch.testing.assert_close(
            type(recipe)(recipe.relaxation, torch.float32).init(C)(x.to(dtype)), eager, rtol=1e-4, atol=1e-6
        )
        assert eager.dtype == dtype
    wide = type(recipe)(recipe.relaxation, torch.float64).init(A.to(torch.float32))(x.float())
    torch.testing.assert_close(wide, compiled(x).float(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("native", ["0", "1"])
@pytest.mark.parametrize("recipe", [IC(), ILU()])
@pytest.mark.parametrize("shape", [(40,), (13, 11), (5, 6, 4)])
def test_strided_vectors_and_aliases(recipe, shape, native: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDEFLOW_NATIVE", native)
    A = darcy(3, shape)
    M = recipe.init(A)
    x = right_hand_side(A)
    expected = M(x)
    wide = torch.zeros(3, *(2 * n for n in shape), dtype=torch.float64)
    every = (slice(None), *(slice(None, None, 2) for _ in shape))
    wide[every] = x
    out = torch.zeros_like(wide)[every]
    assert torch.equal(M.apply_into(wide[every], out), expected)
    assert torch.equal(M.apply_into(x, x), expected)


def indefinite() -> StencilOperator:
    """Symmetric, positive definite, and IC(0) meets a negative pivot: Kershaw's example."""
    row = torch.tensor([[3.0, -2, 0, 2], [-2, 3, -2, 0], [0, -2, 3, -2], [2, 0, -2, 3]], dtype=torch.float64)
    values = torch.zeros(1, 7, 4, dtype=torch.float64)
    for k, step in enumerate(range(-3, 4)):
        for i in range(4):
            if 0 <= i + step < 4:
                values[0, k, i] = row[i, i + step]
    keep = [k for k in range(7) if abs(k - 3) != 2]
    return StencilOperator([(k - 3,) for k in keep], values[:, keep], tags=SPD)


@pytest.mark.parametrize("native", ["0", "1"])
def test_a_negative_pivot_is_replaced(native: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDEFLOW_NATIVE", native)
    A = indefinite()
    assert (torch.linalg.eigvalsh(dense(A)) > 0).all()
    L, U = textbook_ilu(dense(A)[0].numpy())
    assert U[3, 3] < 0
    U[3, 3] = 3.0
    M = dense(IC().init(A))  # type: ignore[arg-type]
    np.testing.assert_allclose(M[0].numpy(), np.linalg.inv(L @ U), atol=1e-12)
    assert (torch.linalg.eigvalsh(M) > 0).all()
    b = right_hand_side(A)
    torch.testing.assert_close(A(solve(A, b, preconditioner=IC()).x), b, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("native", ["0", "1"])
def test_zero_pivots_and_zero_diagonals(native: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDEFLOW_NATIVE", native)
    # The pivots of the first are 1 and 1 - 1 = 0; the diagonal of the second is zero.
    values = torch.tensor([[[1.0, 1], [1, 1], [1, 1]], [[5, 1], [0, 0], [1, 5]]], dtype=torch.float64)
    A = StencilOperator([(-1,), (0,), (1,)], values)
    M = dense(ILU().init(A))  # type: ignore[arg-type]
    L = torch.eye(2, dtype=torch.float64).repeat(2, 1, 1)
    L[:, 1, 0] = 1
    U = torch.tensor([[[1.0, 1], [0, 1]], [[1, 1], [0, -1]]], dtype=torch.float64)
    torch.testing.assert_close(M, torch.linalg.inv(L @ U))


@pytest.mark.parametrize("recipe", [IC(), ILU(), IC(dtype=torch.float32), ILU(dtype=torch.float32)])
@pytest.mark.parametrize("native", ["0", "1"])
def test_nan_stays_in_its_sample(recipe, native: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDEFLOW_NATIVE", native)
    A = darcy(6, (7, 8))
    x = right_hand_side(A)
    expected = recipe.init(A)(x)
    A.coefficients[1, 2, 3, 4] = float("nan")
    A.coefficients[4, 0, 6, 7] = float("inf")
    found = recipe.init(A)(x)
    good = [0, 2, 3, 5]
    assert torch.equal(found[good], expected[good])
    x[3, 0, 0] = float("nan")
    assert torch.equal(recipe.init(A)(x)[[0, 2, 5]], expected[[0, 2, 5]])


@pytest.mark.parametrize("recipe", [IC(), ILU()])
def test_previous_is_reused_where_it_fits(recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    A, B = darcy(2, (9, 8), seed=1), darcy(2, (9, 8), seed=2)
    x = right_hand_side(A)
    expected = recipe.init(B)(x)
    for native in ("1", "0"):
        monkeypatch.setenv("PDEFLOW_NATIVE", native)
        M = recipe.init(A)
        again = recipe.init(B, M)
        assert again is M
        torch.testing.assert_close(again(x), expected, rtol=1e-4, atol=1e-8)
        assert recipe.init(darcy(2, (9, 7)), M) is not M
        assert type(recipe)(recipe.relaxation, torch.float32).init(B, M) is not M
        assert recipe.init(B, M.adjoint) is not M


@pytest.mark.parametrize("recipe", [IC(), ILU(), IC(dtype=torch.float32), ILU(dtype=torch.float32)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.complex128])
def test_dtypes_and_meta(recipe, dtype: torch.dtype) -> None:
    A = hermitian(2, 7) if dtype.is_complex else darcy(2, (5, 4, 3))
    A = A.to(dtype)
    x = right_hand_side(A)
    M = recipe.init(A)
    assert M(x).dtype == dtype
    wide = torch.complex128 if dtype.is_complex else torch.float64
    exact = type(recipe)(recipe.relaxation).init(A.to(wide))(x.to(wide)).to(dtype)
    torch.testing.assert_close(M(x), exact, rtol=1e-3, atol=1e-6)
    single = torch.complex64 if dtype.is_complex else torch.float32
    torch.testing.assert_close(M.to(single)(x.to(single)), exact.to(single), rtol=1e-3, atol=1e-6)
    out = recipe.init(A.to(device="meta")).apply(x.to("meta"))
    assert (out.shape, out.dtype, out.device.type) == (x.shape, dtype, "meta")


@st.composite
def matrices(draw, hermitian: bool = False) -> SparseOperator:
    """Diagonally dominant, of any pattern; a Hermitian one has zeros stored on one side only."""
    n, seed = draw(st.integers(1, 20)), draw(st.integers(0, 999))
    dtype = draw(st.sampled_from([torch.float64, torch.complex128]))
    pattern = random_pattern(n, n, draw(st.sampled_from([0.05, 0.2, 0.5])), seed)
    full = torch.zeros(2, n, n, dtype=dtype)
    full[:, pattern.row_numbers, pattern.indices] = torch.randn(
        2, pattern.nnz, dtype=dtype, generator=generator(seed)
    )
    stored = torch.eye(n, dtype=torch.bool)
    stored[pattern.row_numbers, pattern.indices] = True
    if hermitian:
        full, stored = full + full.mH, stored | stored.mT
        # Zeros above the diagonal only.
        stored |= torch.triu(torch.rand(n, n, generator=generator(seed)) < 0.1)
    numbers = torch.arange(n)
    full[:, numbers, numbers] = (full[:, numbers, numbers].real + full.abs().sum(2) + 1).to(dtype)
    rows, columns = stored.nonzero().unbind(1)
    indptr = torch.cat([torch.zeros(1, dtype=torch.int64), stored.sum(1).cumsum(0)])
    return SparseOperator.from_csr(indptr, columns, full[:, rows, columns], tags=SPD if hermitian else ())


@pytest.fixture(params=["compiled", "eager"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "eager":
        monkeypatch.setenv("PDEFLOW_NATIVE", "0")
    elif library("sparse_factors") is None:
        pytest.skip("no compiler")
    return request.param


def check_sparse(A: SparseOperator, recipe: IC | ILU) -> None:
    """Against the textbook, against its adjoint, and the batch against a loop."""
    M, whole = recipe.init(A), dense(A)  # type: ignore[arg-type]
    stored = torch.zeros(A.size, A.size, dtype=torch.bool)
    stored[A.pattern.row_numbers, A.pattern.indices] = True
    if isinstance(recipe, IC):
        stored = torch.tril(stored) | torch.tril(stored).mT
    for found, matrix in zip(dense(M), whole):  # type: ignore[arg-type]
        L, U = textbook_ilu(matrix.numpy(), recipe.relaxation, isinstance(recipe, IC), stored.numpy())
        np.testing.assert_allclose(found.numpy(), np.linalg.inv(L @ U), atol=1e-12)
    x, y = right_hand_side(A, 3), right_hand_side(A, 4)  # type: ignore[arg-type]
    left = torch.linalg.vecdot(M(x), y)
    torch.testing.assert_close(left, torch.linalg.vecdot(x, M.adjoint(y)))
    alone = [recipe.init(one)(x[i : i + 1]) for i, one in enumerate(A.pieces(1))]
    torch.testing.assert_close(torch.cat(alone), M(x), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("relaxation", [0.0, 0.7, 1.0])
def test_sparse_ilu_is_the_textbook_factorisation(form: str, relaxation: float) -> None:
    @given(matrices())
    @settings(max_examples=25, deadline=None, derandomize=True)
    def check(A: SparseOperator) -> None:
        check_sparse(A, ILU(relaxation))

    check()


@pytest.mark.parametrize("relaxation", [0.0, 0.7, 1.0])
def test_sparse_cholesky_is_the_textbook_factorisation(form: str, relaxation: float) -> None:
    @given(matrices(hermitian=True))
    @settings(max_examples=25, deadline=None, derandomize=True)
    def check(A: SparseOperator) -> None:
        check_sparse(A, IC(relaxation))
        M = dense(IC(relaxation).init(A))  # type: ignore[arg-type]
        torch.testing.assert_close(M, M.mH, atol=1e-14, rtol=1e-12)

    check()


BEYOND = {
    "complex": lambda: waves(3, 12, 9.0, damping=30.0),
    "hermitian": lambda: hermitian(3, 9),
    "periodic": lambda: diffusion(torch.ones(2, 9, 8, dtype=torch.float64), (True, False), 1.0),
    "short periodic": lambda: diffusion(torch.ones(2, 2, 7, dtype=torch.float64), (True, True), 1.0),
    "sparse": lambda: darcy(3, (9, 8)).to_sparse(),
}


@pytest.mark.parametrize("name", BEYOND)
@pytest.mark.parametrize("recipe", [IC(), ILU(), IC(0.9), ILU(0.9)])
@pytest.mark.parametrize("working", [torch.float32, torch.float64])
@pytest.mark.parametrize("single", [False, True])
def test_compiled_rows_are_the_eager_form(
    name: str, recipe, working: torch.dtype, single: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    A = BEYOND[name]()
    if isinstance(recipe, IC) and Tag.SYMMETRIC not in A.tags:
        pytest.skip("IC takes Hermitian operators")
    A = A.to({torch.float64: torch.float32, torch.complex128: torch.complex64}[A.dtype]) if single else A
    recipe = type(recipe)(recipe.relaxation, working)
    x = right_hand_side(A)
    compiled = recipe.init(A)
    monkeypatch.setenv("PDEFLOW_NATIVE", "0")
    eager = recipe.init(A)
    assert compiled._form is not eager._form
    close = (
        {"rtol": 1e-4, "atol": 1e-5} if single or working == torch.float32 else {"rtol": 1e-12, "atol": 1e-14}
    )
    scale = eager(x).abs().max()
    for one, other in ((compiled, eager), (compiled.adjoint, eager.adjoint)):
        torch.testing.assert_close(one(x) / scale, other(x) / scale, **close)
    assert compiled(x).dtype == A.dtype
    # A vector that is a conjugate view, one that is strided, and one that is its own result.
    expected = compiled(x)
    if A.dtype.is_complex:
        assert torch.equal(compiled(x.conj().resolve_conj().conj()), expected)
    wide = torch.zeros(*x.shape, 2, dtype=x.dtype)
    wide[..., 0] = x
    assert torch.equal(compiled(wide[..., 0]), expected)
    assert torch.equal(compiled.apply_into(wide[..., 0], wide[..., 1]), expected)
    assert torch.equal(compiled.apply_into(x, x), expected)


def test_sparse_and_stencil_have_the_same_factors(form: str) -> None:
    A = darcy(3, (9, 8))
    x = right_hand_side(A)
    for recipe in RECIPES:
        torch.testing.assert_close(recipe.init(A.to_sparse())(x), recipe.init(A)(x), rtol=1e-12, atol=1e-14)


def test_sparse_factors_meet_spoilt_pivots_and_nan(form: str) -> None:
    A = indefinite().to_sparse()
    torch.testing.assert_close(dense(IC().init(A)), dense(IC().init(indefinite())))  # type: ignore[arg-type]
    values = torch.tensor([[1.0, 1, 1, 1], [0, 1, 1, -1]], dtype=torch.float64)
    for dtype in (torch.float64, torch.complex128):
        B = SparseOperator.from_csr(torch.tensor([0, 2, 4]), torch.tensor([0, 1, 0, 1]), values.to(dtype))
        U = torch.tensor([[[1, 1], [0, 1]], [[1, 1], [0, -2]]], dtype=dtype)
        L = torch.tensor([[1, 0], [1, 1]], dtype=dtype)
        torch.testing.assert_close(dense(ILU().init(B)), torch.linalg.inv(L @ U))  # type: ignore[arg-type]
    C = darcy(4, (7, 8)).to_sparse()
    x = right_hand_side(C)  # type: ignore[arg-type]
    expected = ILU().init(C)(x)
    C.values[1, 20] = float("nan")
    found = ILU().init(C)(x)
    assert torch.equal(found[[0, 2, 3]], expected[[0, 2, 3]])
    assert found[1].isnan().any()


def test_sparse_factors_are_filled_again_where_the_pattern_fits(form: str) -> None:
    A, B = darcy(2, (9, 8), seed=1).to_sparse(), darcy(2, (9, 8), seed=2).to_sparse()
    x = right_hand_side(A)  # type: ignore[arg-type]
    for recipe in (IC(), ILU()):
        expected, M = recipe.init(B)(x), recipe.init(A)
        assert recipe.init(B, M) is M
        assert torch.equal(M(x), expected)
        assert recipe.init(darcy(2, (8, 9)).to_sparse(), M) is not M
        assert recipe.init(darcy(2, (9, 8)), M) is not M
        assert recipe.init(B.to(torch.float32), M) is not M
        out = recipe.init(A.to(device="meta")).apply(x.to("meta"))
        assert (out.shape, out.device.type) == (x.shape, "meta")


def test_cholesky_of_finite_elements(form: str) -> None:
    from benchmarks.sequences import finite_elements

    system = finite_elements(600, 2)
    A, b = system.operator, system.b
    with_ic, plain = (solve(A, b, solver=CG(), preconditioner=M, rtol=1e-8) for M in (IC(), Jacobi()))
    assert (with_ic.iterations <= 0.7 * plain.iterations).all()
    for i in range(A.batch):
        x = scipy.sparse.linalg.spsolve(A.to_scipy(i).tocsc(), b[i].numpy())
        np.testing.assert_allclose(with_ic.x[i].numpy(), x, atol=1e-6 * np.abs(x).max())


def test_iterations() -> None:
    assert iterations(darcy(2, (500,)), IC()) <= 1  # no fill to drop: Cholesky itself
    assert iterations(darcy(2, (32, 32)), IC()) <= 45
    assert iterations(darcy(2, (16, 16, 16)), IC()) <= 30
    assert iterations(diffusion(torch.ones(2, 32, 32, dtype=torch.float64), (True, True), 1.0), IC()) <= 40
    assert iterations(darcy(2, (32, 32)), IC(relaxation=0.97)) <= 30
    assert iterations(darcy(2, (20, 20), low=1.0, high=1e4), IC()) <= 55
    for A in (darcy(2, (32, 32)), hermitian(2, 20)):
        assert abs(iterations(A, IC()) - iterations(A, IC(dtype=torch.float32))) <= 1


def test_sweep_and_levels() -> None:
    # 0 -> 1 -> 3, 0 -> 3, 2 -> 3
    source, target = torch.tensor([0, 1, 0, 2]), torch.tensor([1, 3, 3, 3])
    assert longest_chains(source, target, 4).tolist() == [0, 1, 0, 2]
    T = torch.tril(torch.randn(6, 6, dtype=torch.float64, generator=generator(0)), -1)
    T[torch.rand(6, 6, generator=generator(1)) < 0.5] = 0
    for matrix in (T, T.mT):
        rows, columns = matrix.nonzero().unbind(1)
        sweep = Sweep(rows, columns, torch.arange(len(rows)), 6, torch.device("cpu"))
        b = torch.randn(2, 6, dtype=torch.float64, generator=generator(2))
        y = sweep.solve(sweep.gather(matrix[rows, columns].expand(2, -1)), b)
        torch.testing.assert_close(y + y @ matrix.mT, b)


def test_errors() -> None:
    A = darcy(1, (4, 4))
    for recipe in (IC(), ILU()):
        with pytest.raises(InvalidInput, match="StencilOperator"):
            recipe.init(FunctionOperator(A.apply, A.shape, A.batch, tags=HERMITIAN))
        with pytest.raises(InvalidInput, match="diagonal"):
            recipe.init(StencilOperator([(1,)], torch.ones(1, 1, 9), tags=HERMITIAN))
        hollow = SparseOperator.from_csr(
            torch.tensor([0, 1, 1]), torch.tensor([0]), torch.ones(1), tags=HERMITIAN
        )
        with pytest.raises(InvalidInput, match="1 rows without"):
            recipe.init(hollow)
        with pytest.raises(InvalidInput, match="dtype"):
            type(recipe)(dtype=torch.float16)
        with pytest.raises(InvalidInput, match="diagonal"):
            recipe.init(A).diagonal()
        for relaxation in (-0.1, 1.1, float("nan")):
            with pytest.raises(InvalidInput, match="relaxation"):
                type(recipe)(relaxation)
    with pytest.raises(InvalidInput, match="SYMMETRIC"):
        IC().init(StencilOperator(A.offsets, A.coefficients, tags=[Tag.POSITIVE_DEFINITE]))
