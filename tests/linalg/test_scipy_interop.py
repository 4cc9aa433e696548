from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
import torch

from pdeflow.errors import InvalidInput
from pdeflow.linalg import (
    CG,
    FunctionOperator,
    Jacobi,
    Multigrid,
    SolveError,
    Status,
    Tag,
    as_scipy,
    from_scipy,
    solve,
)

from .systems import SPD, darcy, hermitian, right_hand_side

rng = np.random.default_rng(0)


@pytest.mark.parametrize("kind", ["csr", "matrix", "dense", "operator"])
@pytest.mark.parametrize("columns", [None, 1, 3])
@pytest.mark.parametrize("system", [darcy, hermitian], ids=["real", "complex"])
def test_answers_in_kind(kind: str, columns: int | None, system) -> None:
    matrix = (darcy(1, (8, 9)) if system is darcy else hermitian(1, 8)).to_scipy()
    n = matrix.shape[0]
    A = {
        "csr": matrix,
        "matrix": scipy.sparse.csc_matrix(matrix),
        "dense": matrix.toarray(),
        "operator": from_scipy(scipy.sparse.linalg.aslinearoperator(matrix), [Tag.SYMMETRIC]),
    }[kind]
    b = rng.standard_normal((n,) if columns is None else (n, columns))
    reference = scipy.sparse.linalg.spsolve(matrix.tocsc(), b).reshape(b.shape)
    if kind == "operator":
        right = torch.from_numpy(b.reshape(n, -1).T.copy()).to(A.dtype)
        x = solve(A, right, rtol=1e-10).x.numpy().T.reshape(b.shape)
    else:
        solution = solve(A, b, rtol=1e-10, preconditioner=Jacobi())
        x = solution.x
        assert isinstance(x, np.ndarray)
        assert solution.status.tolist() == [Status.CONVERGED] * (columns or 1)
        again = solve(A, b, x0=x, rtol=1e-9, preconditioner=Jacobi())
        assert again.iterations.tolist() == [0] * (columns or 1)
    assert x.shape == b.shape
    assert x.dtype == (np.float64 if system is darcy else np.complex128)
    np.testing.assert_allclose(x, reference, rtol=1e-7, atol=1e-8 * np.abs(reference).max())


def test_precision_is_that_of_the_arguments() -> None:
    A = darcy(1, (6, 6)).to_scipy()
    b = rng.standard_normal(36)
    for matrix, right, options, expected in (
        (A.astype(np.float32), b.astype(np.float32), {"rtol": 1e-4}, np.float32),
        (A.astype(np.float32), b, {"rtol": 1e-4}, np.float64),
        (A, b + 1j, {}, np.complex128),
        (A, np.arange(36), {}, np.float64),
        (A.astype(np.float32), b.astype(np.complex64), {"rtol": 1e-4}, np.complex64),
        (A.astype(np.longdouble), b.astype(np.longdouble), {}, np.float64),
    ):
        x = solve(matrix, right, **options).x
        assert x.dtype == expected
        np.testing.assert_allclose(A @ x, right, atol=1e-3 * np.abs(right).max())
    integers = scipy.sparse.diags_array([np.full(8, 2), np.full(7, -1), np.full(7, -1)], offsets=(0, 1, -1))
    np.testing.assert_allclose(
        solve(integers, list(range(8))).x, np.linalg.solve(integers.toarray(), range(8))
    )


def test_arguments_are_left_alone() -> None:
    A = darcy(1, (6, 6)).to_scipy()
    b, x0 = rng.standard_normal((36, 2)), rng.standard_normal((36, 2))
    copies = A.copy(), b.copy(), x0.copy()
    x = solve(A, b, x0=x0).x
    x[:] = 0
    assert (abs(A - copies[0])).sum() == 0
    np.testing.assert_array_equal(b, copies[1])
    np.testing.assert_array_equal(x0, copies[2])


def test_failures_carry_arrays() -> None:
    A = darcy(1, (10, 10)).to_scipy()
    b = rng.standard_normal((100, 2))
    b[3, 1] = np.nan
    with pytest.raises(SolveError) as caught:
        solve(A, b)
    solution = caught.value.solution
    assert isinstance(solution.x, np.ndarray)
    assert solution.status.tolist() == [Status.CONVERGED, Status.NONFINITE_INPUT]
    np.testing.assert_allclose(A @ solution.x[:, 0], b[:, 0], atol=1e-6)
    assert solve(A, b, on_failure="return").converged.tolist() == [True, False]


def test_not_symmetric() -> None:
    A = darcy(1, (6, 6)).to_scipy() + scipy.sparse.eye_array(36, k=1)
    b = rng.standard_normal(36)
    function = scipy.sparse.linalg.aslinearoperator(A)
    if importlib.util.find_spec("pdeflow.linalg.gmres"):
        for matrix in (A, function):
            np.testing.assert_allclose(A @ solve(matrix, b).x, b, atol=1e-6)
    else:
        for matrix in (A, function):
            with pytest.raises(InvalidInput, match="SYMMETRIC"):
                solve(matrix, b)
    with pytest.raises(InvalidInput, match="SYMMETRIC"):
        solve(A, b, solver=CG())


@pytest.mark.parametrize(
    ("A", "b", "options", "name"),
    [
        (np.ones((3, 2)), np.ones(3), {}, r"A\.shape"),
        (np.ones(3), np.ones(3), {}, r"A\.shape"),
        (scipy.sparse.csr_array((3, 2)), np.ones(3), {}, r"A\.shape"),
        ("matrix", np.ones(3), {}, "LinearOperator"),
        (torch.eye(3), np.ones(3), {}, "from_torch"),
        (np.eye(3), np.ones(4), {}, r"b\.shape"),
        (np.eye(3), np.ones((3, 1, 1)), {}, r"b\.shape"),
        (np.eye(3), torch.ones(3), {}, "NumPy"),
        (np.eye(3), np.array(["a", "b", "c"]), {}, "dtype"),
        (np.eye(3), np.ones(3), {"x0": np.ones((3, 1))}, r"x0\.shape"),
        (np.eye(3), np.ones(3), {"on_failure": "ignore"}, "on_failure"),
        (np.eye(3), np.ones(3), {"rtol": -1.0}, "rtol"),
    ],
)
def test_bad_arguments(A, b, options, name) -> None:
    with pytest.raises(InvalidInput, match=name):
        solve(A, b, **options)


def test_from_scipy_operator_knows_its_adjoint() -> None:
    matrix = rng.standard_normal((7, 7)) + 1j * rng.standard_normal((7, 7))
    A = from_scipy(scipy.sparse.linalg.aslinearoperator(matrix))
    x = torch.from_numpy(rng.standard_normal((3, 7)) + 0j)
    wide = A.expand(3)
    np.testing.assert_allclose(wide(x).numpy(), x.numpy() @ matrix.T)
    np.testing.assert_allclose(wide.adjoint(x).numpy(), x.numpy() @ matrix.conj())


def test_our_operators_in_scipy() -> None:
    A = darcy(2, (20, 20))
    b = right_hand_side(A)[1].flatten().numpy()
    B = as_scipy(A, 1)
    X = rng.standard_normal((400, 3))
    np.testing.assert_allclose(B @ X, A.to_scipy(1) @ X)
    np.testing.assert_allclose(B.H @ X[:, 0], A.to_scipy(1).T @ X[:, 0])
    np.testing.assert_allclose(B @ (X + 1j), A.to_scipy(1) @ (X + 1j))
    M = as_scipy(Multigrid().init(A.pieces(1)[1]))
    counts = []
    x, info = scipy.sparse.linalg.cg(A.to_scipy(1), b, rtol=1e-8, M=M, callback=lambda _: counts.append(1))
    assert info == 0
    assert len(counts) < 15
    np.testing.assert_allclose(A.to_scipy(1) @ x, b, atol=1e-6)
    with pytest.raises(InvalidInput, match="index"):
        as_scipy(A, 2)
    with pytest.raises(InvalidInput, match="cut"):
        as_scipy(Multigrid().init(A))


class Counting(Multigrid):
    made = 0

    def init(self, A, previous=None):
        type(self).made += 1
        return super().init(A, previous)


@pytest.mark.parametrize("sparse", [False, True])
def test_one_operator_serves_many_right_hand_sides(sparse: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    A = darcy(1, (20, 20))
    b = torch.randn(5, 20, 20, dtype=torch.float64)
    B = A.to_sparse() if sparse else A
    for M in (None, Jacobi()) if sparse else (None, Jacobi(), Multigrid()):
        together = solve(B, b, preconditioner=M)
        assert together.converged.tolist() == [True] * 5
        alone = torch.cat([solve(B, b[i : i + 1], preconditioner=M).x for i in range(5)])
        torch.testing.assert_close(together.x, alone)
        with monkeypatch.context() as patch:
            patch.setattr("pdeflow.linalg.solver.UNKNOWNS_IN_CACHE", 800)
            torch.testing.assert_close(solve(B, b, preconditioner=M, x0=alone).x, alone)
    if not sparse:
        solve(A, b, preconditioner=Counting())
        assert Counting.made == 1
    with pytest.raises(InvalidInput, match=r"b\.shape"):
        solve(darcy(2, (20, 20)), b)


def test_expanded_operator() -> None:
    A = hermitian(1, 6)
    x = torch.randn(4, 6, 6, dtype=torch.complex128)
    F = FunctionOperator(lambda v: A.apply(v), A.shape, 1, A.dtype, tags=SPD, diagonal=A.diagonal())
    expected = torch.cat([A(x[i : i + 1]) for i in range(4)])
    for one in (A, A.to_sparse(), F):
        wide = one.expand(4)
        torch.testing.assert_close(wide(x), expected)
        torch.testing.assert_close(wide.adjoint(x), expected)
        assert wide.diagonal().shape == x.shape
        assert wide.to(torch.complex64).dtype == torch.complex64
        assert [piece.batch for piece in wide.pieces(3)] == [3, 1]
        assert wide.is_finite().tolist() == [True] * 4
    with pytest.raises(InvalidInput, match=r"A\.batch"):
        darcy(2, (3,)).expand(2)


def test_an_operator_without_an_adjoint_fails_with_a_status() -> None:
    # Singular and not symmetric: the diagnosis would like to have the adjoint.
    matrix = np.diag(np.r_[np.zeros(3), np.arange(1.0, 8.0)]) + np.diag(np.r_[1.0, np.zeros(8)], 1)
    A = scipy.sparse.linalg.LinearOperator((10, 10), matvec=lambda x: matrix @ x, dtype=np.float64)
    solution = solve(A, np.ones(10), on_failure="return")
    assert not solution.converged.any()
