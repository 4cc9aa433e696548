from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pdeflow.errors import InvalidInput
from pdeflow.linalg import StencilOperator, Tag

from .systems import darcy, dense, generator, hermitian


@st.composite
def stencils(draw) -> StencilOperator:
    dim = draw(st.integers(1, 3))
    shape = tuple(draw(st.integers(1, 5)) for _ in range(dim))
    periodic = tuple(draw(st.booleans()) for _ in range(dim))
    # Offsets longer than the grid are legal too: they wrap several times, or never apply.
    every = list(itertools.product(range(-2, 3), repeat=dim))
    offsets = draw(st.lists(st.sampled_from(every), min_size=1, max_size=6, unique=True))
    dtype = draw(st.sampled_from([torch.float64, torch.complex128]))
    batch = draw(st.integers(1, 3))
    seed = draw(st.integers(0, 1000))
    values = torch.randn(batch, len(offsets), *shape, dtype=dtype, generator=generator(seed))
    return StencilOperator(offsets, values, periodic)


def by_definition(A: StencilOperator, x: torch.Tensor) -> torch.Tensor:
    out = torch.zeros_like(x)
    for k, offset in enumerate(A.offsets):
        for i in itertools.product(*(range(n) for n in A.shape)):
            j = [a + o for a, o in zip(i, offset)]
            if all(w or 0 <= a < n for a, n, w in zip(j, A.shape, A.periodic)):
                j = [a % n for a, n in zip(j, A.shape)]
                out[(slice(None), *i)] += A.coefficients[(slice(None), k, *i)] * x[(slice(None), *j)]
    return out


def vector(A: StencilOperator, seed: int) -> torch.Tensor:
    return torch.randn(A.batch, *A.shape, dtype=A.dtype, generator=generator(seed))


@given(stencils())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_apply_is_the_definition(A: StencilOperator) -> None:
    x = vector(A, 3)
    torch.testing.assert_close(A(x), by_definition(A, x))


@given(stencils())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_adjoint_identity_and_diagonal(A: StencilOperator) -> None:
    x, y = vector(A, 3), vector(A, 4)
    left = torch.linalg.vecdot(A(x).flatten(1), y.flatten(1))
    right = torch.linalg.vecdot(x.flatten(1), A.adjoint(y).flatten(1))
    torch.testing.assert_close(left, right)
    torch.testing.assert_close(dense(A.adjoint), dense(A).mH)
    torch.testing.assert_close(A.diagonal().flatten(1), torch.diagonal(dense(A), dim1=1, dim2=2))


@given(stencils())
@settings(max_examples=40, deadline=None, derandomize=True)
def test_linear_and_batch_is_a_loop(A: StencilOperator) -> None:
    x, y = vector(A, 3), vector(A, 4)
    torch.testing.assert_close(A(2 * x - 3 * y), 2 * A(x) - 3 * A(y))
    one_by_one = [piece(x[i : i + 1]) for i, piece in enumerate(A.pieces(1))]
    assert torch.equal(torch.cat(one_by_one), A(x))


@given(stencils())
@settings(max_examples=40, deadline=None, derandomize=True)
def test_scipy_matrix(A: StencilOperator) -> None:
    for index in range(A.batch):
        np.testing.assert_allclose(A.to_scipy(index).toarray(), dense(A)[index].numpy(), atol=1e-14)


def test_helpers_are_what_they_say() -> None:
    assert torch.equal(dense(darcy(2, (4, 5))), dense(darcy(2, (4, 5))).mT)
    A = dense(hermitian(2, 4))
    torch.testing.assert_close(A, A.mH)
    assert (torch.linalg.eigvalsh(A) > 0).all()
    assert A.imag.abs().max() > 1


def test_to_converts_and_keeps_everything_else() -> None:
    A = darcy(2, (4, 5))
    B = A.to(torch.float32, "cpu")
    assert B.dtype == torch.float32
    assert (B.offsets, B.periodic, B.tags, B.shape) == (A.offsets, A.periodic, A.tags, A.shape)
    assert A.to(device="meta").device.type == "meta"


def test_nan_is_found_in_its_sample() -> None:
    A = darcy(3, (4, 5))
    A.coefficients[1, 2, 0, 0] = float("nan")
    A.coefficients[2, 0, 1, 1] = -float("inf")
    assert A.is_finite().tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("offsets", "shape", "periodic", "name"),
    [
        ([], (1, 0, 4), (), "offsets"),
        ([(0,), (0,)], (1, 2, 4), (), "offsets"),
        ([(0,), (0, 1)], (1, 2, 4), (), "offsets"),
        ([(0,), (1,)], (1, 3, 4), (), "coefficients.shape"),
        ([(0, 0)], (1, 1, 4), (), "coefficients.shape"),
        ([(0,)], (1, 1, 0), (), "coefficients.shape"),
        ([(0,)], (1, 1, 4), (True, False), "periodic"),
    ],
)
def test_bad_arguments(offsets, shape, periodic, name) -> None:
    with pytest.raises(InvalidInput, match=name.replace(".", r"\.")):
        StencilOperator(offsets, torch.ones(shape), periodic)


def test_bad_tag_index_dtype_and_vector() -> None:
    with pytest.raises(InvalidInput, match="tags"):
        StencilOperator([(0,)], torch.ones(1, 1, 4), tags=["symmetric"])  # type: ignore[list-item]
    with pytest.raises(InvalidInput, match="dtype"):
        StencilOperator([(0,)], torch.ones(1, 1, 4, dtype=torch.int64))
    A = StencilOperator([(0,)], torch.ones(1, 1, 4), tags=[Tag.SYMMETRIC])
    with pytest.raises(InvalidInput, match="index"):
        A.to_scipy(1)
    for x, name in ((torch.ones(4), "shape"), (torch.ones(1, 4).double(), "dtype"), ([1.0], "torch.Tensor")):
        with pytest.raises(InvalidInput, match=name):
            A(x)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="device"):
        A(torch.ones(1, 4, device="meta"))
