from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import scipy.sparse
import torch
from hypothesis import given
from hypothesis import strategies as st

from pdeflow.errors import InvalidInput
from pdeflow.linalg import IC, SparseOperator, StencilOperator, Tag, diffusion_stencil, level_factors, native
from pdeflow.linalg.level_factors import FactorPattern
from pdeflow.linalg.sparse_matrix import SparseMatrix, SparsePattern

from .systems import darcy, dense, generator, hermitian, random_pattern
from .test_stencil import stencils, vector

DTYPES = [torch.float32, torch.float64, torch.complex64, torch.complex128]


@st.composite
def sparse_operators(draw) -> SparseOperator:
    shape = tuple(draw(st.lists(st.integers(1, 5), min_size=1, max_size=3)))
    n, seed = math.prod(shape), draw(st.integers(0, 1000))
    pattern = random_pattern(n, n, draw(st.sampled_from([0.0, 0.05, 0.3, 1.0])), seed)
    batch, dtype = draw(st.integers(1, 3)), draw(st.sampled_from([torch.float64, torch.complex128]))
    values = torch.randn(batch, pattern.nnz, dtype=dtype, generator=generator(seed))
    return SparseOperator(pattern, values, shape)


@pytest.fixture(params=["compiled", "eager"])
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "eager":
        monkeypatch.setenv("PDEFLOW_NATIVE", "0")
    elif native.library("sparse") is None:
        pytest.skip("no compiler")
    return request.param


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("density", [0.0, 0.1, 0.9])
@pytest.mark.parametrize("shape", [(1, 1), (30, 17), (17, 30)])
def test_products_are_those_of_scipy(form: str, dtype, density: float, shape: tuple[int, int]) -> None:
    pattern = random_pattern(*shape, density, 3)
    for shared in (False, True):
        values = torch.randn(1 if shared else 4, pattern.nnz, dtype=dtype, generator=generator(1))
        x = torch.randn(4, shape[1], dtype=dtype, generator=generator(2))
        A = SparseMatrix(pattern, values)
        out = torch.full((4, shape[0]), float("nan"), dtype=dtype)
        assert A.multiply(x, out) is out
        strided = torch.empty(shape[0], 4, dtype=dtype).T
        A.multiply(x.T.contiguous().T, strided)
        y = torch.randn(4, shape[0], dtype=dtype, generator=generator(3))
        turned = A.adjoint().multiply(y, torch.empty(4, shape[1], dtype=dtype))
        for i in range(4):
            parts = (values[0 if shared else i].numpy(), pattern.indices.numpy(), pattern.indptr.numpy())
            reference = scipy.sparse.csr_array(parts, shape=shape)
            for result in (out, strided):
                torch.testing.assert_close(result[i], torch.from_numpy(reference @ x[i].numpy()))
            torch.testing.assert_close(turned[i], torch.from_numpy(reference.conj().T @ y[i].numpy()))


def test_rows_of_very_different_length(form: str) -> None:
    matrix = scipy.sparse.eye_array(50, format="lil")
    matrix[7, :] = np.arange(50.0)
    A = SparseOperator.from_scipy(matrix)
    assert not A.pattern.padded
    x = torch.randn(1, 50, dtype=torch.float64, generator=generator(0))
    torch.testing.assert_close(A(x)[0], torch.from_numpy(matrix.tocsr() @ x[0].numpy()))


@given(sparse_operators())
def test_operator_against_its_matrix(A: SparseOperator) -> None:
    x, y = vector(A, 3), vector(A, 4)  # type: ignore[arg-type]
    matrices = torch.from_numpy(np.stack([A.to_scipy(i).toarray() for i in range(A.batch)]))
    torch.testing.assert_close(A(x).flatten(1), torch.einsum("bij,bj->bi", matrices, x.flatten(1)))
    torch.testing.assert_close(A(2 * x - 3 * y), 2 * A(x) - 3 * A(y))
    left = torch.linalg.vecdot(A(x).flatten(1), y.flatten(1))
    torch.testing.assert_close(left, torch.linalg.vecdot(x.flatten(1), A.adjoint(y).flatten(1)))
    torch.testing.assert_close(A.diagonal().flatten(1), torch.diagonal(matrices, dim1=1, dim2=2))
    assert torch.equal(torch.cat([p(x[i : i + 1]) for i, p in enumerate(A.pieces(1))]), A(x))
    assert A.adjoint.adjoint.pattern == A.pattern
    torch.testing.assert_close(A.adjoint.adjoint.values, A.values)


@given(stencils())
def test_stencil_to_sparse(A: StencilOperator) -> None:
    B = A.to_sparse()
    x = vector(A, 3)
    assert (B.shape, B.batch, B.dtype, B.tags) == (A.shape, A.batch, A.dtype, A.tags)
    torch.testing.assert_close(B(x), A(x))
    torch.testing.assert_close(B.diagonal(), A.diagonal())
    for i in range(A.batch):
        np.testing.assert_allclose(B.to_scipy(i).toarray(), A.to_scipy(i).toarray(), atol=1e-14)


def test_from_scipy_in_every_format() -> None:
    A = darcy(3, (6, 5))
    matrices = [A.to_scipy(i) for i in range(3)]
    B = SparseOperator.from_scipy(matrices, A.shape)
    x = vector(A, 1)
    torch.testing.assert_close(B(x), A(x))
    assert B.tags == {Tag.SYMMETRIC}
    for form in ("csr", "csc", "coo", "lil", "dia", "bsr"):
        for kind in (scipy.sparse.csr_matrix, scipy.sparse.csr_array):
            one = SparseOperator.from_scipy(kind(matrices[0]).asformat(form), A.shape)
            torch.testing.assert_close(one(x[:1]), A(x)[:1])
    duplicated = scipy.sparse.coo_array(([1, 2, 3], ([0, 0, 1], [1, 1, 0])), shape=(2, 2))
    B = SparseOperator.from_scipy(duplicated)
    assert B.values.tolist() == [[3.0, 3.0]]
    assert B.dtype == torch.float64
    assert SparseOperator.from_scipy(matrices[0].astype(np.float32)).dtype == torch.float32
    assert matrices[0].has_sorted_indices


def test_symmetry_is_found_out() -> None:
    A = hermitian(1, 6)
    assert SparseOperator.from_scipy(A.to_scipy()).tags == {Tag.SYMMETRIC}
    assert SparseOperator.from_scipy(A.to_scipy(), tags=()).tags == frozenset()
    transposed = A.to_scipy() * (1 + 0.1j)
    assert SparseOperator.from_scipy(transposed).tags == frozenset()
    rounded = A.to_scipy()
    rounded.data *= 1 + 1e-16 * np.arange(rounded.nnz) / rounded.nnz
    assert SparseOperator.from_scipy(rounded).tags == {Tag.SYMMETRIC}
    assert SparseOperator.from_scipy(scipy.sparse.csr_array([[1.0, 2.0], [0.0, 1.0]])).tags == frozenset()
    assert SparseOperator.from_scipy(scipy.sparse.csr_array((2, 2))).tags == {Tag.SYMMETRIC}


def test_from_torch_and_csr() -> None:
    A = darcy(2, (4, 5))
    x = vector(A, 1)
    matrices = dense(A)
    for sparse in (matrices[0].to_sparse_coo(), matrices[0].to_sparse_csr()):
        torch.testing.assert_close(SparseOperator.from_torch(sparse, A.shape)(x[:1]), A(x)[:1])
    torch.testing.assert_close(SparseOperator.from_torch(matrices.to_sparse_csr(), A.shape)(x), A(x))
    B = A.to_sparse()
    rows = [slice(s, e) for s, e in zip(B.pattern.indptr.tolist(), B.pattern.indptr.tolist()[1:])]
    backwards = torch.cat([torch.arange(20 * 20)[row].flip(0) for row in rows])
    C = SparseOperator.from_csr(
        B.pattern.indptr, B.pattern.indices[backwards], B.values[:, backwards], A.shape
    )
    torch.testing.assert_close(C(x), A(x))
    first = SparseOperator.from_csr(B.pattern.indptr.numpy(), B.pattern.indices.numpy(), B.values[0])
    torch.testing.assert_close(first(x[:1].flatten(1)), A(x)[:1].flatten(1))


def test_pieces_to_and_finiteness() -> None:
    A = darcy(5, (4, 5)).to_sparse()
    A.values[3, 2] = float("nan")
    assert A.is_finite().tolist() == [True, True, True, False, True]
    assert [piece.batch for piece in A.pieces(2)] == [2, 2, 1]
    assert A.to(torch.float32).dtype == torch.float32
    assert A.to(torch.complex64).pattern is A.pattern
    assert A.retagged(()).tags == frozenset()
    assert A.values.data_ptr() == A.retagged(()).values.data_ptr()


@pytest.mark.parametrize("dtype", DTYPES)
def test_runs_on_meta(dtype: torch.dtype) -> None:
    A = darcy(2, (4, 5)).to_sparse().to(dtype, "meta")
    x = torch.empty(2, 4, 5, dtype=dtype, device="meta")
    for y in (A(x), A.adjoint(x), A.apply_into(x, torch.empty_like(x)), A.diagonal()):
        assert (y.shape, y.dtype, y.device.type) == (x.shape, dtype, "meta")
    assert darcy(2, (4, 5)).to(dtype, "meta").to_sparse().values.device.type == "meta"


def test_long_rows_on_meta() -> None:
    matrix = scipy.sparse.eye_array(50, format="lil")
    matrix[7, :] = 1.0
    A = SparseOperator.from_scipy(matrix).to(device="meta")
    assert A(torch.empty(1, 50, dtype=torch.float64, device="meta")).shape == (1, 50)


@pytest.mark.parametrize(
    ("indptr", "indices", "columns", "name"),
    [
        ([], [], 2, "indptr"),
        ([0], [], 2, "indptr"),
        ([1, 2], [0], 2, "indptr"),
        ([0, 2, 1], [0], 2, "indptr"),
        ([0, 1, 2], [0], 2, "indices"),
        ([0, 1, 2], [0, 2], 2, "indices"),
        ([0, 1, 2], [0, -1], 2, "indices"),
        ([0, 2, 2], [1, 0], 2, "indices"),
        ([0, 2, 2], [1, 1], 2, "indices"),
    ],
)
def test_bad_patterns(indptr, indices, columns, name) -> None:
    with pytest.raises(InvalidInput, match=name):
        SparsePattern(torch.tensor(indptr), torch.tensor(indices), columns)


def test_bad_arguments() -> None:
    pattern = random_pattern(6, 6, 0.5, 0)
    values = torch.ones(2, pattern.nnz)
    with pytest.raises(InvalidInput, match="square"):
        SparseOperator(random_pattern(5, 6, 0.5, 0), values)
    with pytest.raises(InvalidInput, match=r"values\.shape"):
        SparseOperator(pattern, values[:, 1:])
    with pytest.raises(InvalidInput, match="shape"):
        SparseOperator(pattern, values, (2, 2))
    with pytest.raises(InvalidInput, match="index"):
        SparseOperator(pattern, values).to_scipy(2)
    with pytest.raises(InvalidInput, match="layout"):
        SparseOperator.from_torch(torch.eye(3))
    with pytest.raises(InvalidInput, match=r"matrices\[1\]"):
        SparseOperator.from_scipy([scipy.sparse.eye_array(3), scipy.sparse.csr_array(np.ones((3, 3)))])
    with pytest.raises(InvalidInput, match="matrices"):
        SparseOperator.from_scipy([])
    with pytest.raises(InvalidInput, match="square"):
        SparseOperator.from_torch(torch.ones(3, 2).to_sparse_csr())


def test_neumann_stencil_as_a_matrix_keeps_its_tags() -> None:
    A = diffusion_stencil(torch.ones(1, 5, 5, dtype=torch.float64), 0.2, "neumann")
    assert A.to_sparse().tags == {Tag.SYMMETRIC, Tag.CONSTANT_NULL_SPACE}


def test_values_that_are_a_conjugate_view_are_conjugated() -> None:
    pattern = SparseOperator.from_scipy(scipy.sparse.eye_array(4).tocsr()).pattern
    values = torch.randn(2, 4, dtype=torch.complex128)
    x = torch.randn(2, 4, dtype=torch.complex128)
    torch.testing.assert_close(SparseOperator(pattern, values.conj(), (4,))(x), values.conj() * x)


def test_equal_patterns_have_equal_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = darcy(1, (9, 8)).to_scipy()
    one, same = (SparseOperator.from_scipy(matrix).pattern for _ in range(2))
    assert one is not same
    assert one == same
    assert hash(one) == hash(same)
    assert hash(pickle.loads(pickle.dumps(one))) == hash(one)
    first = SparsePattern(torch.tensor([0, 2]), torch.tensor([0, 1]), 3)
    second = SparsePattern(torch.tensor([0, 2]), torch.tensor([0, 2]), 3)
    assert first != second
    assert len({one, same, first, second}) == 3
    # So that a mesh read in again finds what was planned for it.
    planned = []
    monkeypatch.setattr(
        level_factors, "FactorPattern", lambda *form: planned.append(1) or FactorPattern(*form)
    )
    level_factors.factor_pattern.cache_clear()
    for _ in range(3):
        IC().init(SparseOperator.from_scipy(matrix))
    assert len(planned) == 1
