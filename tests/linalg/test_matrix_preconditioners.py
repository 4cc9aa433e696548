"""The preconditioners that rest on a matrix: sparse factors, algebraic multigrid, frozen ones."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from torch import Tensor

from pdeflow.errors import InvalidInput, MissingDependency
from pdeflow.linalg import (
    AlgebraicMultigrid,
    Frozen,
    FunctionOperator,
    Jacobi,
    LinearOperator,
    Multigrid,
    Preconditioner,
    SparseDirect,
    SparseOperator,
    Status,
    StencilOperator,
    Tag,
    diffusion_stencil,
    solve,
)
from pdeflow.linalg.frozen import misfit
from pdeflow.linalg.sparse_galerkin import Coarsening

from .systems import darcy, dense, generator, hermitian, jumps, random_pattern, right_hand_side

pyamg = pytest.importorskip("pyamg")


def convection(batch: int, shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> StencilOperator:
    """Diffusion with upwind transport along the first axis: not symmetric, an M-matrix."""
    A = darcy(batch, shape)
    coefficients = A.coefficients.clone().to(dtype)
    wind = 200 * torch.rand(batch, *shape, dtype=torch.float64, generator=generator(7))
    coefficients[:, 0] += wind
    coefficients[:, 1] -= wind
    return StencilOperator(A.offsets, coefficients)


def unstructured(n: int, batch: int, seed: int = 0) -> SparseOperator:
    """Graph Laplacians plus the identity on random points, each joined to its nearest neighbours."""
    from scipy.spatial import cKDTree

    points = np.random.default_rng(seed).random((n, 2))
    _, near = cKDTree(points).query(points, 7)
    rows, columns = np.repeat(np.arange(n), 6), near[:, 1:].ravel()
    matrices = []
    for sample in range(batch):
        weights = np.exp(np.sin(5 * points[rows].sum(1) + sample))
        graph = scipy.sparse.coo_array((weights, (rows, columns)), shape=(n, n)).tocsr()
        graph = graph + graph.T
        degrees = scipy.sparse.diags_array(graph.sum(1) + 0.01)
        matrices.append(scipy.sparse.csr_array(degrees - graph))
    return SparseOperator.from_scipy(matrices)


EVERY = {
    "direct": SparseDirect(),
    "RS": AlgebraicMultigrid(),
    "RS, coarse": AlgebraicMultigrid(reuse="coarse operators", degree=1),
    "SA": AlgebraicMultigrid("smoothed_aggregation", degree=3),
    "frozen": Frozen(AlgebraicMultigrid()),
}
OPERATORS = {
    "1D": lambda: darcy(2, (300,)),
    "2D": lambda: darcy(3, (20, 17)),
    "3D": lambda: darcy(2, (7, 8, 9)),
    "one point": lambda: darcy(2, (1, 1)),
    "contrast 1e4": lambda: darcy(2, (20, 20), low=1.0, high=1e4),
    "hermitian": lambda: hermitian(2, 14),
    "unstructured": lambda: unstructured(300, 2),
    "half periodic": lambda: diffusion_stencil(jumps(2, (16, 17)), 0.1, ["periodic", "dirichlet"]),
}


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("preconditioner", EVERY)
def test_solutions_are_the_direct_ones(name: str, preconditioner: str) -> None:
    A, M = OPERATORS[name](), EVERY[preconditioner]
    b = torch.randn(A.batch, *A.shape, dtype=A.dtype, generator=generator(1))
    if A.dtype.is_complex and "SA" not in preconditioner and preconditioner != "direct":
        with pytest.raises(InvalidInput, match="smoothed_aggregation"):
            solve(A, b, preconditioner=M)
        return
    solution = solve(A, b, preconditioner=M, rtol=1e-10)
    # Coarse operators of a sample whose jumps are elsewhere do not help much where they are 1e4.
    if not (name == "contrast 1e4" and preconditioner == "RS, coarse"):
        assert (solution.iterations <= (2 if preconditioner == "direct" else 60)).all()
    for i in range(A.batch):
        x = scipy.sparse.linalg.spsolve(A.to_scipy(i).tocsc(), b[i].flatten().numpy())
        np.testing.assert_allclose(solution.x[i].flatten().numpy(), x, atol=1e-7 * np.abs(x).max())


@pytest.mark.parametrize("preconditioner", EVERY)
@pytest.mark.parametrize("complex_numbers", [False, True])
@pytest.mark.parametrize("make", [lambda d: convection(2, (13, 12), d), lambda d: darcy(2, (13, 12)).to(d)])
def test_adjoint_and_linearity(preconditioner: str, complex_numbers: bool, make) -> None:
    dtype = torch.complex128 if complex_numbers else torch.float64
    if complex_numbers and "SA" not in preconditioner and preconditioner != "direct":
        pytest.skip("real matrices only")
    A = make(dtype)
    if complex_numbers:
        A = A.with_parameter(A.coefficients * (1 + 0.2j)).retagged(())
    M = EVERY[preconditioner].init(A)
    x, y = torch.randn(2, 2, 13, 12, dtype=dtype, generator=generator(1))
    left = torch.linalg.vecdot(M(x).flatten(1), y.flatten(1))
    torch.testing.assert_close(left, torch.linalg.vecdot(x.flatten(1), M.adjoint(y).flatten(1)))
    torch.testing.assert_close(M(2 * x - 3 * y), 2 * M(x) - 3 * M(y))
    again = M.adjoint.adjoint
    torch.testing.assert_close(again(x), M(x))
    torch.testing.assert_close(M.apply_into(x, torch.empty_like(x)), M(x))
    single = M.to(torch.complex64 if complex_numbers else torch.float32)
    torch.testing.assert_close(single(x.to(single.dtype)).to(dtype), M(x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("preconditioner", ["RS", "RS, coarse", "SA", "frozen"])
def test_cycle_is_symmetric_positive_definite_and_close_to_the_inverse(preconditioner: str) -> None:
    A = darcy(2, (17, 16))
    M = dense(EVERY[preconditioner].init(A))  # type: ignore[arg-type]
    torch.testing.assert_close(M, M.mT, rtol=0, atol=1e-12 * M.abs().max().item())
    spectrum = torch.linalg.eigvals(M @ dense(A)).real
    assert spectrum.min() > 0.08
    assert spectrum.max() < (1 + 1e-9 if preconditioner != "RS, coarse" else 4)


def test_sparse_direct_is_the_inverse_and_serves_many_at_once() -> None:
    A = convection(1, (9, 8))
    M = SparseDirect().init(A)
    x = torch.randn(5, 9, 8, dtype=torch.float64, generator=generator(0))
    wide = M.expand(5)
    torch.testing.assert_close(A.expand(5)(wide(x)), x)
    torch.testing.assert_close(A.adjoint.expand(5)(wide.adjoint(x)), x)
    with pytest.raises(InvalidInput, match="CPU"):
        SparseDirect().init(A.to(device="meta"))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 0.0])
@pytest.mark.parametrize("preconditioner", EVERY)
def test_a_bad_sample_fails_alone(preconditioner: str, bad: float) -> None:
    A = darcy(3, (12, 12))
    b = right_hand_side(A)
    good = solve(A, b, preconditioner=EVERY[preconditioner])
    if bad == 0:
        A.coefficients[0] = 0.0
    else:
        A.coefficients[0, 1, 3, 4] = bad
    solution = solve(A, b, preconditioner=EVERY[preconditioner], on_failure="return")
    assert solution.converged.tolist() == [False, True, True]
    if bad != 0:
        assert solution.status[0] == Status.NONFINITE_INPUT
    torch.testing.assert_close(solution.x[1:], good.x[1:], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("preconditioner", EVERY)
@pytest.mark.parametrize("boundary", ["neumann", "periodic"])
def test_singular_systems(preconditioner: str, boundary: str) -> None:
    A = diffusion_stencil(jumps(2, (16, 16)), 0.1, boundary)
    b = right_hand_side(A)
    b = b - b.mean((1, 2), keepdim=True)
    solution = solve(A, b, preconditioner=EVERY[preconditioner], rtol=1e-9)
    assert (solution.iterations <= (2 if preconditioner == "direct" else 30)).all()
    expected = torch.linalg.pinv(dense(A), rtol=1e-11, hermitian=True) @ b.flatten(1)[..., None]
    torch.testing.assert_close(solution.x.flatten(1), expected[..., 0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_galerkin_values_are_those_of_the_triple_product(dtype: torch.dtype) -> None:
    pattern = random_pattern(30, 30, 0.2, 1)
    transfers = []
    for shape, seed in (((30, 9), 2), ((9, 30), 3)):
        shared = random_pattern(*shape, 0.2, seed)
        weights = torch.randn(shared.nnz, dtype=torch.float64, generator=generator(seed)).numpy()
        parts = (weights, shared.indices.numpy(), shared.indptr.numpy())
        transfers.append(scipy.sparse.csr_array(parts, shape=shape))
    P, R = transfers
    step = Coarsening(pattern, P, R, dtype, torch.device("cpu"))
    values = torch.randn(3, pattern.nnz, dtype=dtype, generator=generator(4))
    coarse = SparseOperator(step.coarse, step.galerkin(values))
    for i in range(3):
        A = SparseOperator(pattern, values).to_scipy(i)
        np.testing.assert_allclose(coarse.to_scipy(i).toarray(), (R @ A @ P).toarray(), atol=1e-12)


@pytest.mark.parametrize("method", ["ruge_stuben", "smoothed_aggregation"])
def test_the_hierarchy_of_one_system_serves_its_neighbours(method, monkeypatch: pytest.MonkeyPatch) -> None:
    A, B = darcy(4, (30, 30), seed=1), darcy(4, (30, 30), seed=2)
    made = []
    real = getattr(pyamg, f"{method}_solver")
    monkeypatch.setattr(pyamg, f"{method}_solver", lambda *a, **k: made.append(1) or real(*a, **k))
    M = AlgebraicMultigrid(method)
    first = M.init(A)
    second = M.init(B, first)
    assert len(made) == 1
    assert second.hierarchy is first.hierarchy
    # The second has the coarse operators of its own values.
    P = first.hierarchy[0].prolongation
    mine = SparseOperator(first.hierarchy[0].coarse, second.levels[1].matrix.values)
    np.testing.assert_allclose(mine.to_scipy(3).toarray(), (P.T @ B.to_scipy(3) @ P).toarray(), atol=1e-9)
    monkeypatch.setattr("pdeflow.linalg.solver.UNKNOWNS_IN_CACHE", 900)  # one sample a piece
    assert (solve(A, right_hand_side(A), preconditioner=M).iterations <= 40).all()
    assert len(made) == 2
    kept = AlgebraicMultigrid(method, reuse="coarse operators")
    coarse = kept.init(B, kept.init(A)).levels[1].matrix.values
    assert coarse.shape[0] == 1
    assert M.init(darcy(4, (31, 30)), first).hierarchy is not first.hierarchy
    assert AlgebraicMultigrid(method, degree=1).init(A, first).hierarchy is not first.hierarchy


def test_pyamg_neither_disturbs_nor_follows_the_global_generator() -> None:
    A = darcy(1, (30, 30))
    results = []
    for seed in (1, 2):
        np.random.seed(seed)  # noqa: NPY002
        M = AlgebraicMultigrid("smoothed_aggregation").init(A)
        results.append((M(right_hand_side(A)), np.random.rand()))  # noqa: NPY002
    assert torch.equal(results[0][0], results[1][0])
    np.random.seed(1)  # noqa: NPY002
    assert results[0][1] == np.random.rand()  # noqa: NPY002


@pytest.mark.parametrize("method", ["ruge_stuben", "smoothed_aggregation"])
def test_the_hierarchy_does_not_change_with_the_scale(method, capfd: pytest.CaptureFixture[str]) -> None:
    A = darcy(1, (20, 20))
    expected = AlgebraicMultigrid(method).init(A).hierarchy
    for power in (-900, -80, 900):
        scaled = StencilOperator(A.offsets, A.coefficients * 2.0**power, tags=A.tags)
        hierarchy = AlgebraicMultigrid(method).init(scaled).hierarchy
        assert len(hierarchy) == len(expected)
        for mine, other in zip(hierarchy, expected):
            assert (mine.prolongation != other.prolongation).nnz == 0
            assert (mine.restriction != other.restriction).nnz == 0
    assert capfd.readouterr().out == ""  # PyAMG prints what it takes for divisions by zero


def test_without_pyamg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyamg", None)
    with pytest.raises(MissingDependency, match=r"pdeflow\[amg\]"):
        AlgebraicMultigrid().init(darcy(1, (20, 20)))


@pytest.mark.parametrize("native", ["0", "1"])
def test_cycles_run_on_meta_and_without_compiled_loops(native: str, monkeypatch: pytest.MonkeyPatch) -> None:
    A = darcy(2, (20, 20))
    x = right_hand_side(A)
    expected = AlgebraicMultigrid().init(A)(x)
    monkeypatch.setenv("PDEFLOW_NATIVE", native)
    M = AlgebraicMultigrid().init(A)
    torch.testing.assert_close(M(x), expected)
    assert M.to(device="meta")(x.to("meta")).device.type == "meta"


class Counting(Preconditioner):
    def __init__(self, inner: Preconditioner) -> None:
        self.inner, self.made = inner, 0

    def init(self, A: LinearOperator, previous: LinearOperator | None = None) -> LinearOperator:
        self.made += 1
        return self.inner.init(A, previous)


def drift(step: float) -> StencilOperator:
    a = jumps(2, (22, 22))
    change = torch.rand(2, 22, 22, dtype=torch.float64, generator=generator(9))
    return diffusion_stencil(a * (step * 3 * change).exp(), 1 / 21)


@pytest.mark.parametrize("inner", [SparseDirect(), Multigrid(dtype=None), Jacobi()])
def test_frozen_keeps_while_it_is_good_enough(inner: Preconditioner) -> None:
    counting = Counting(inner)
    M = Frozen(counting)
    state = None
    for step in (0.0, 0.02, 0.04, 0.06):
        state = M.init(drift(step), state)
        assert counting.made == 1
    state = M.init(drift(0.06).with_parameter(1e5 * drift(0.06).coefficients), state)
    assert counting.made == 1  # a change of scale is none of direction
    A = drift(0.06)
    torch.testing.assert_close(state(right_hand_side(A)), inner.init(drift(0.0))(right_hand_side(A)))
    M.init(darcy(2, (21, 20)), state)
    assert counting.made == 2


def test_frozen_is_made_anew_when_it_has_become_worse() -> None:
    for slack, expected in ((0.3, 2), (0.0, 2), (1.0, 1)):
        counting = Counting(SparseDirect())
        M = Frozen(counting, slack)
        M.init(drift(3.0), M.init(drift(0.0)))
        assert counting.made == expected
    bad = drift(0.0)
    bad.coefficients[0] = float("nan")
    counting = Counting(SparseDirect())
    M = Frozen(counting)
    M.init(bad, M.init(drift(0.0)))
    assert counting.made == 1


def test_misfit_is_the_sine_of_the_angle() -> None:
    A = drift(0.0)
    assert misfit(A, SparseDirect().init(A)).max() < 1e-6
    identity = FunctionOperator(lambda x: x.clone(), A.shape, A.batch, tags=A.tags)
    v = (torch.arange(1, 401, dtype=torch.float64) ** 2).sin()
    w = (dense(A) @ v).T
    cosine = (v @ w) / (torch.linalg.norm(v) * torch.linalg.norm(w, dim=0))
    torch.testing.assert_close(misfit(A, identity), (1 - cosine**2).sqrt())


def test_bad_settings() -> None:
    for options, name in (
        ({"method": "classical"}, "method"),
        ({"reuse": "all"}, "reuse"),
        ({"degree": 0}, "degree"),
    ):
        with pytest.raises(InvalidInput, match=name):
            AlgebraicMultigrid(**options)
    with pytest.raises(InvalidInput, match="slack"):
        Frozen(Jacobi(), 2.0)
    F = FunctionOperator(lambda x: x, (4,), 1, tags=[Tag.SYMMETRIC])
    for M, A in itertools.product((SparseDirect(), AlgebraicMultigrid()), (F,)):
        with pytest.raises(InvalidInput, match="StencilOperator or SparseOperator"):
            M.init(A)
        with pytest.raises(InvalidInput, match="diagonal"):
            M.init(darcy(1, (4, 4))).diagonal()


def finite(x: Tensor) -> bool:
    return bool(torch.isfinite(x).all())


@pytest.mark.parametrize("n", [300, 3000])
def test_matrices_without_couplings(n: int) -> None:
    A = SparseOperator.from_scipy(scipy.sparse.diags_array(np.arange(1.0, n + 1.0)))
    b = torch.ones(1, n, dtype=torch.float64)
    for M in (AlgebraicMultigrid(), AlgebraicMultigrid("smoothed_aggregation"), SparseDirect()):
        assert finite(M.init(A)(b))
        torch.testing.assert_close(solve(A, b, preconditioner=M, rtol=1e-12).x, b / A.diagonal())


@pytest.mark.parametrize("scale", [1.0, 1e-150])
def test_algebraic_multigrid_inverts_a_null_space_of_constants_beside_an_empty_row(scale: float) -> None:
    path = np.array([[1.0, -1, 0, 0], [-1, 2, -1, 0], [0, -1, 1, 0], [0, 0, 0, 0]])
    A = SparseOperator.from_scipy(scipy.sparse.csr_array(scale * path))
    b = torch.tensor([[1.0, -3.0, 2.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(A(AlgebraicMultigrid().init(A).apply(b)), b)
