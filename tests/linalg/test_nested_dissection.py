"""Nested dissection against dense matrices, and its bookkeeping against the graph of the grid."""

from __future__ import annotations

import itertools

import pytest
import torch

from pdeflow.errors import InvalidInput
from pdeflow.linalg import (
    GMRES,
    Jacobi,
    NestedDissection,
    Status,
    StencilOperator,
    Tag,
    diffusion_stencil,
    solve,
)
from pdeflow.linalg.elimination_plan import dissection

from .systems import darcy, dense, generator, hermitian, right_hand_side, waves

STAR = [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)]
BOX = list(itertools.product((-1, 0, 1), repeat=2))
ONE_SIDED = [(0, 0), (0, -1), (-1, 0), (1, 1)]
SHAPES = [(1, 1), (1, 9), (7, 1), (2, 2), (3, 20), (8, 9), (17, 20)]


def random_stencil(offsets, batch: int, shape, seed: int = 0) -> StencilOperator:
    """Not symmetric, with values that point outside."""
    values = torch.randn(batch, len(offsets), *shape, dtype=torch.float64, generator=generator(seed))
    values[:, offsets.index((0, 0))] += 12
    return StencilOperator(offsets, values)


def symmetric(A: StencilOperator) -> StencilOperator:
    """A + A^T."""
    other = A.adjoint
    slots = {offset: k for k, offset in enumerate(other.offsets)}
    sums = [A.coefficients[:, k] + other.coefficients[:, slots[o]] for k, o in enumerate(A.offsets)]
    return StencilOperator(A.offsets, torch.stack(sums, 1), tags=[Tag.SYMMETRIC])


@pytest.mark.parametrize("native", ["1", "0"])
@pytest.mark.parametrize("dtype", [None, torch.float32])
@pytest.mark.parametrize("batch", [1, 3, 8, 19])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["star", "box", "one-sided", "symmetric star", "symmetric box"])
def test_it_is_the_inverse(kind, shape, batch, dtype, native, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDEFLOW_NATIVE", native)
    offsets = {"star": STAR, "box": BOX, "one-sided": ONE_SIDED}[kind.split()[-1]]
    A = random_stencil(offsets, batch, shape)
    A = symmetric(A) if kind.startswith("symmetric") else A
    x = right_hand_side(A)
    before = x.clone()
    M = NestedDissection(dtype).init(A)
    expected = torch.linalg.solve(dense(A), x.flatten(1)).reshape(x.shape)
    tolerance = 1e-4 if dtype else 1e-12
    torch.testing.assert_close(M(x), expected, rtol=0, atol=tolerance * expected.abs().max().item())
    assert torch.equal(x, before)


def test_the_compiled_form_is_used_and_the_eager_one_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    A = random_stencil(BOX, 9, (33, 30))
    x = right_hand_side(A)
    M = NestedDissection().init(A)
    assert M._library is not None, "the tests need a C compiler"
    compiled = M(x)
    monkeypatch.setenv("PDEFLOW_NATIVE", "0")
    eager = NestedDissection().init(A)
    assert eager._library is None
    torch.testing.assert_close(compiled, eager(x), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (6, 7), (13, 10)])
def test_the_border_of_a_front_is_what_its_points_and_those_below_are_coupled_to_later(
    shape, corners
) -> None:
    fronts = dissection(shape, corners)
    offsets = BOX if corners else STAR
    eliminated: list[set[int]] = []
    for front in fronts:
        below = set(front.pivots.tolist()).union(*(eliminated[child] for child in front.children))
        eliminated.append(below)
        coupled = set()
        for point in below:
            i, j = divmod(point, shape[1])
            for a, b in offsets:
                if 0 <= i + a < shape[0] and 0 <= j + b < shape[1]:
                    coupled.add((i + a) * shape[1] + j + b)
        assert set(front.border.tolist()) == coupled - below
    order = [point for front in fronts for point in front.pivots.tolist()]
    assert sorted(order) == list(range(shape[0] * shape[1]))
    number = {point: k for k, point in enumerate(order)}
    for front in fronts:
        places = [number[point] for point in [*front.pivots.tolist(), *front.border.tolist()]]
        assert places == sorted(places)


@pytest.mark.parametrize("k", [4.0, 20.0, 45.0])
def test_an_indefinite_operator_takes_a_few_iterations(k: float) -> None:
    A = waves(9, 63, k)
    solution = solve(A, right_hand_side(A), solver=GMRES(10), preconditioner=NestedDissection())
    assert solution.iterations.max() <= 3
    single = solve(
        A, right_hand_side(A), solver=GMRES(20), preconditioner=NestedDissection(torch.float32), rtol=1e-10
    )
    assert single.iterations.max() <= 12


@pytest.mark.parametrize("batch", [1, 9])
def test_what_is_not_finite_or_singular_stays_with_its_system(batch: int) -> None:
    A = darcy(batch, (20, 21))
    bad = A.coefficients.clone()
    bad[batch // 2] = float("nan")
    M = NestedDissection().init(StencilOperator(A.offsets, bad, tags=A.tags))
    x = right_hand_side(A)
    finite = torch.isfinite(M(x)).flatten(1).all(1)
    assert finite.tolist() == [i != batch // 2 for i in range(batch)]
    bad[batch // 2] = 0
    zero = StencilOperator(A.offsets, bad, tags=[Tag.SYMMETRIC])
    solution = solve(zero, x, solver=GMRES(), preconditioner=NestedDissection(), on_failure="return")
    assert [s == Status.CONVERGED for s in solution.status.tolist()] == [
        i != batch // 2 for i in range(batch)
    ]


@pytest.mark.parametrize("batch", [1, 9])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("singles", [None, torch.float32])
@pytest.mark.parametrize("tagged", [True, False])
def test_a_pivot_of_zero_is_no_obstacle(batch, dtype, singles, tagged) -> None:
    """Every diagonal entry is zero, and the matrix regular: the first pivots are."""
    values = torch.ones(batch, 4, 12, 13, dtype=dtype) * torch.linspace(1, 2, batch).reshape(-1, 1, 1, 1)
    zeros = torch.zeros(batch, 1, 12, 13, dtype=dtype)
    A = StencilOperator(STAR, torch.cat([zeros, values], 1), tags=[Tag.SYMMETRIC] if tagged else [])
    assert torch.linalg.matrix_rank(dense(A)).eq(A.size).all()
    b = right_hand_side(A)
    solution = solve(A, b, solver=GMRES(10), preconditioner=NestedDissection(singles))
    assert solution.converged.all()
    assert solution.iterations.max() <= 40


@pytest.mark.parametrize("scale", [1e-200, 1e30, 1e200])
def test_the_scale_of_the_operator_does_not_matter(scale: float) -> None:
    A = darcy(3, (12, 13))
    big = StencilOperator(A.offsets, scale * A.coefficients, tags=A.tags)
    x = right_hand_side(A)
    for dtype in (None, torch.float32):
        M = NestedDissection(dtype)
        torch.testing.assert_close(
            scale * M.init(big)(x), M.init(A)(x), rtol=1e-4 if dtype else 1e-10, atol=0
        )


def test_the_null_space_of_constants() -> None:
    a = torch.rand(2, 21, 20, dtype=torch.float64, generator=generator(3)) + 1
    A = diffusion_stencil(a, 0.1, boundary="neumann")
    assert Tag.CONSTANT_NULL_SPACE in A.tags
    b = right_hand_side(A)
    b -= b.mean((1, 2), keepdim=True)
    solution = solve(A, b, solver=GMRES(10), preconditioner=NestedDissection())
    assert solution.iterations.max() <= 3
    torch.testing.assert_close(A(solution.x), b, rtol=0, atol=1e-7)


@pytest.mark.parametrize("native", ["1", "0"])
def test_one_matrix_serves_many_vectors(native, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDEFLOW_NATIVE", native)
    A = random_stencil(STAR, 1, (9, 20))
    b = torch.randn(7, 9, 20, dtype=torch.float64, generator=generator(4))
    M = NestedDissection().init(A)
    expected = torch.linalg.solve(dense(A)[0], b.flatten(1).T).T.reshape(b.shape)
    torch.testing.assert_close(M.apply(b), expected)
    solution = solve(A, b, solver=GMRES(10), preconditioner=NestedDissection())
    torch.testing.assert_close(solution.x, expected, rtol=1e-6, atol=1e-8)


def test_vectors_of_any_strides() -> None:
    A = random_stencil(STAR, 1, (12, 9))
    x = torch.randn(12, 9, 5, dtype=torch.float64, generator=generator(5)).permute(2, 0, 1)
    M = NestedDissection().init(A)
    assert torch.equal(M.apply(x), M.apply(x.contiguous()))


def test_no_systems() -> None:
    A = random_stencil(STAR, 0, (12, 9))
    assert NestedDissection().init(A).batch == 0


def test_previous_is_used_up_where_it_fits() -> None:
    A, B = random_stencil(STAR, 9, (12, 13)), random_stencil(STAR, 9, (12, 13), seed=1)
    x = right_hand_side(A)
    M = NestedDissection().init(A)
    again = NestedDissection().init(B, M)
    assert again is M
    torch.testing.assert_close(again(x), NestedDissection().init(B)(x), rtol=0, atol=0)
    for other in (random_stencil(BOX, 9, (12, 13)), random_stencil(STAR, 8, (12, 13)), symmetric(A)):
        assert NestedDissection().init(other, again) is not again
    assert NestedDissection(torch.float32).init(B, again) is not again


def test_adjoint_and_other_dtypes() -> None:
    A = random_stencil(STAR, 3, (12, 13))
    x = right_hand_side(A)
    M = NestedDissection().init(A)
    torch.testing.assert_close(dense(A).mT @ M.adjoint(x).flatten(1)[..., None], x.flatten(1)[..., None])
    single = M.to(torch.float32)
    assert single.dtype == torch.float32
    torch.testing.assert_close(single(x.float()), M(x).float(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("native", ["1", "0"])
@pytest.mark.parametrize("dtype", [None, torch.float32])
@pytest.mark.parametrize("batch", [1, 3, 8, 19])
@pytest.mark.parametrize(
    "make", [lambda batch: waves(batch, 12, 6.0, damping=10.0), lambda b: hermitian(b, 11)]
)
def test_complex_operators(make, batch, dtype, native, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PDEFLOW_NATIVE", native)
    A = make(batch)
    x = right_hand_side(A)
    expected = torch.linalg.solve(dense(A), x.flatten(1)).reshape(x.shape)
    M = NestedDissection(dtype).init(A)
    tolerance = 1e-4 if dtype else 1e-12
    torch.testing.assert_close(M(x), expected, rtol=0, atol=tolerance * expected.abs().max().item())
    turned = NestedDissection(dtype).init(StencilOperator(A.offsets, A.coefficients.conj()))
    torch.testing.assert_close(
        turned(x.conj()), expected.conj(), rtol=0, atol=tolerance * expected.abs().max().item()
    )


def test_other_devices_take_the_eager_form() -> None:
    A = darcy(2, (12, 13))
    out = NestedDissection().init(A.to(device="meta"))(right_hand_side(A).to("meta"))
    assert (out.shape, out.device.type) == ((2, 12, 13), "meta")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: darcy(1, (5, 5)).to_sparse(), "SparseDirect"),
        (lambda: darcy(1, (4, 4, 4)), "two dimensions"),
        (lambda: StencilOperator(STAR, torch.ones(1, 5, 4, 4), (True, False)), "bounded"),
        (lambda: StencilOperator([(0, 0), (0, 2)], torch.ones(1, 2, 4, 4)), "-1, 0 and 1"),
        (lambda: StencilOperator([(0, 1)], torch.ones(1, 1, 4, 4)), "diagonal"),
    ],
)
def test_operators_that_it_does_not_take(make, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        NestedDissection().init(make())


def test_arguments() -> None:
    with pytest.raises(InvalidInput, match="dtype"):
        NestedDissection(torch.float16)
    with pytest.raises(InvalidInput, match="diagonal"):
        NestedDissection().init(darcy(1, (5, 5))).diagonal()
    assert Jacobi() != NestedDissection()
