"""Every solver and preconditioner on every kind of operator, with the status that must come out."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse.linalg
import torch

from pdeflow.errors import InvalidInput
from pdeflow.linalg import (
    CG,
    GMRES,
    IC,
    ILU,
    SSOR,
    BlockJacobi,
    Chebyshev,
    FastPoisson,
    FunctionOperator,
    Jacobi,
    LinearOperator,
    Multigrid,
    Preconditioner,
    SolveError,
    SparseDirect,
    Status,
    StencilOperator,
    Tag,
    solve,
)
from pdeflow.linalg.solver import default_solver

from .systems import (
    HERMITIAN,
    SPD,
    consistent,
    darcy,
    dense,
    diffusion,
    helmholtz,
    hermitian,
    right_hand_side,
    scaled,
)


def float32(A: StencilOperator) -> StencilOperator:
    return A.to(torch.float32)


def badly_scaled_rows() -> StencilOperator:
    """S A S with S from 1e-3 to 1e3: symmetric, with a condition number near 1e15."""
    A = darcy(2, (9, 9))
    s = torch.logspace(-3, 3, 81, dtype=torch.float64).reshape(1, 9, 9)
    values = [A.coefficients[:, k] * s * s.roll((-o[0], -o[1]), (1, 2)) for k, o in enumerate(A.offsets)]
    return StencilOperator(A.offsets, torch.stack(values, 1), tags=SPD)


def periodic(n: int, reaction: float) -> StencilOperator:
    return diffusion(torch.ones(2, n, n, dtype=torch.float64), (True, True), reaction)


def single_point() -> StencilOperator:
    return StencilOperator(
        [(0, 0)], torch.tensor([2.0, 5.0], dtype=torch.float64).reshape(2, 1, 1, 1), tags=SPD
    )


PRECONDITIONERS = {
    "none": None,
    "jacobi": Jacobi(),
    "multigrid": Multigrid(),
    "multigrid64": Multigrid(dtype=None),
    "multigrid chebyshev": Multigrid(smoother="chebyshev"),
    "fast poisson": FastPoisson(scaling=True),
    "ic": IC(),
    "ilu": ILU(),
    "chebyshev": Chebyshev(),
    "block jacobi": BlockJacobi(),
    "ssor": SSOR(),
    "direct": SparseDirect(),
}
OPERATORS = {
    "1D": lambda: darcy(2, (65,)),
    "2D": lambda: darcy(3, (20, 17)),
    "3D": lambda: darcy(2, (7, 8, 9)),
    "long and thin": lambda: darcy(2, (60, 3)),
    "one point": single_point,
    "two points": lambda: darcy(2, (2,)),
    "three points": lambda: darcy(2, (3, 1)),
    "contrast 1e4": lambda: darcy(2, (20, 20), low=1.0, high=1e4),
    "hermitian": lambda: hermitian(2, 20),
    "tiny": lambda: scaled(darcy(2, (20, 20)), 1e-150),
    "huge": lambda: scaled(darcy(2, (20, 20)), 1e150),
    "bad rows": badly_scaled_rows,
    "periodic with reaction": lambda: periodic(16, 1.0),
    "periodic, odd": lambda: periodic(15, 1.0),
    "half periodic": lambda: diffusion(torch.ones(2, 16, 19, dtype=torch.float64), (True, False)),
    "sparse": lambda: darcy(3, (20, 17)).to_sparse(),
    "sparse, hermitian": lambda: hermitian(2, 14).to_sparse(),
    "sparse, tiny": lambda: scaled(darcy(2, (20, 20)), 1e-150).to_sparse(),
}
NEED_A_GRID = ("multigrid", "multigrid64", "multigrid chebyshev", "fast poisson", "ssor")


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("preconditioner", PRECONDITIONERS)
def test_positive_definite_systems_converge_to_the_direct_solution(name: str, preconditioner: str) -> None:
    A = OPERATORS[name]()
    if (name, preconditioner) == ("periodic, odd", "ssor"):
        pytest.skip("an odd ring has no two colours, and SSOR says so")
    b = right_hand_side(A)
    if name.startswith("sparse") and preconditioner in NEED_A_GRID:
        with pytest.raises(InvalidInput, match="StencilOperator"):
            solve(A, b, preconditioner=PRECONDITIONERS[preconditioner])
        return
    unpreconditioned = name == "bad rows" and preconditioner == "none"
    solution = solve(
        A,
        b,
        preconditioner=PRECONDITIONERS[preconditioner],
        rtol=1e-10,
        on_failure="return" if unpreconditioned else "raise",
    )
    if unpreconditioned:
        assert set(solution.status.tolist()) <= {Status.MAX_ITERATIONS, Status.STAGNATED}
        return
    assert solution.status.tolist() == [Status.CONVERGED] * A.batch
    assert solution.status.dtype == torch.int8
    assert solution.iterations.dtype == torch.int64
    assert solution.residual_norm.dtype == torch.float64
    for i in range(0 if name == "bad rows" else A.batch):
        matrix, right = A.to_scipy(i).tocsc(), b[i].flatten().numpy()
        reference = scipy.sparse.linalg.spsolve(matrix, right).reshape(A.shape)
        x = solution.x[i].numpy()
        residual = np.linalg.norm(right - matrix @ x.flatten()) / np.linalg.norm(right)
        assert residual <= 1e-10
        assert residual == pytest.approx(solution.residual_norm[i].item(), rel=1e-3, abs=1e-12)
        np.testing.assert_allclose(x, reference, atol=1e-5 * np.abs(reference).max())


@pytest.mark.parametrize("preconditioner", PRECONDITIONERS)
def test_float32_converges_to_what_float32_can_hold(preconditioner: str) -> None:
    A = darcy(2, (20, 20))
    b = right_hand_side(A).float()
    M = PRECONDITIONERS[preconditioner]
    solution = solve(float32(A), b, preconditioner=M, rtol=1e-4)
    assert solution.x.dtype == torch.float32
    exact = torch.linalg.norm(b.double() - A(solution.x.double())) / torch.linalg.norm(b.double())
    assert exact < 1.1e-4
    assert set(solve(float32(A), b, preconditioner=M, rtol=1e-12, on_failure="return").status.tolist()) == {
        Status.STAGNATED
    }


class Negative(Preconditioner):
    def init(self, A: LinearOperator, previous: LinearOperator | None = None) -> LinearOperator:
        return FunctionOperator(lambda r: -r, A.shape, A.batch, A.dtype, A.device, A.tags)


class NotANumber(Preconditioner):
    """NaN for the first sample, the identity for the others."""

    def init(self, A: LinearOperator, previous: LinearOperator | None = None) -> LinearOperator:
        factor = torch.ones(A.batch, *(1,) * len(A.shape), dtype=A.dtype)
        factor[0] = float("nan")
        return FunctionOperator(lambda r: factor * r, A.shape, A.batch, A.dtype, A.device, A.tags)


SPD_2D = lambda: darcy(2, (12, 12))  # noqa: E731
FAILURES = {
    # name: operator, right-hand side, preconditioner, options, status of every sample
    "indefinite": (lambda: helmholtz(30, 200.0), right_hand_side, None, {}, "INDEFINITE_OPERATOR"),
    "indefinite, jacobi": (
        lambda: helmholtz(30, 200.0),
        right_hand_side,
        Jacobi(),
        {},
        "INDEFINITE_OPERATOR",
    ),
    "negative": (lambda: scaled(SPD_2D(), -1.0), right_hand_side, None, {}, "INDEFINITE_OPERATOR"),
    "negative M": (SPD_2D, right_hand_side, Negative(), {}, "INDEFINITE_PRECONDITIONER"),
    "negative, jacobi": (
        lambda: scaled(SPD_2D(), -1.0),
        right_hand_side,
        Jacobi(),
        {},
        "INDEFINITE_PRECONDITIONER",
    ),
    "too few": (SPD_2D, right_hand_side, None, {"max_iterations": 3}, "MAX_ITERATIONS"),
    "none at all": (SPD_2D, right_hand_side, None, {"max_iterations": 0}, "MAX_ITERATIONS"),
    "beyond rounding": (SPD_2D, right_hand_side, Jacobi(), {"rtol": 1e-17}, "STAGNATED"),
    "beyond rounding, multigrid": (SPD_2D, right_hand_side, Multigrid(), {"rtol": 1e-17}, "STAGNATED"),
    "singular": (lambda: periodic(12, 0.0), right_hand_side, None, {}, "SINGULAR"),
    "singular, jacobi": (lambda: periodic(12, 0.0), right_hand_side, Jacobi(), {}, "SINGULAR"),
    "singular, multigrid": (lambda: periodic(16, 0.0), right_hand_side, Multigrid(), {}, "SINGULAR"),
    "zero": (lambda: scaled(SPD_2D(), 0.0), right_hand_side, None, {}, "SINGULAR"),
    "singular consistent": (lambda: periodic(12, 0.0), consistent, None, {}, "CONVERGED"),
    "singular consistent, jacobi": (lambda: periodic(12, 0.0), consistent, Jacobi(), {}, "CONVERGED"),
    "singular consistent, multigrid": (lambda: periodic(32, 0.0), consistent, Multigrid(), {}, "CONVERGED"),
    "singular, fast poisson": (lambda: periodic(12, 0.0), right_hand_side, FastPoisson(), {}, "SINGULAR"),
    "singular, ic": (lambda: periodic(12, 0.0), right_hand_side, IC(), {}, "SINGULAR"),
    "singular consistent, ic": (lambda: periodic(12, 0.0), consistent, IC(), {}, "CONVERGED"),
    "singular consistent, fast poisson": (
        lambda: periodic(12, 0.0),
        consistent,
        FastPoisson(),
        {},
        "CONVERGED",
    ),
    "overflow": (lambda: scaled(SPD_2D(), 2e304), right_hand_side, None, {}, "BREAKDOWN"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_expected_status(name: str) -> None:
    operator, make_b, preconditioner, options, expected = FAILURES[name]
    A = operator()
    solution = solve(A, make_b(A), preconditioner=preconditioner, on_failure="return", **options)
    assert [Status(code).name for code in solution.status.tolist()] == [expected] * A.batch
    assert torch.isfinite(solution.x).all()
    assert torch.isfinite(solution.residual_norm).all() or name == "overflow"


@pytest.mark.parametrize("preconditioner", PRECONDITIONERS)
@pytest.mark.parametrize("place", ["A", "b", "x0", "M"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_bad_sample_fails_alone(preconditioner: str, place: str, bad: float) -> None:
    A, M = darcy(3, (20, 20)), PRECONDITIONERS[preconditioner]
    b = right_hand_side(A)
    x0 = torch.zeros_like(b)
    good = solve(A, b, preconditioner=M, x0=x0)
    if place == "A":
        A.coefficients[0, 1, 3, 4] = bad
    elif place == "M":
        M = NotANumber()
    else:
        (b if place == "b" else x0)[0, 3, 4] = bad
    solution = solve(A, b, preconditioner=M, x0=x0, on_failure="return")
    first = Status.BREAKDOWN if place == "M" else Status.NONFINITE_INPUT
    assert solution.status.tolist() == [first, Status.CONVERGED, Status.CONVERGED]
    if place == "M":
        torch.testing.assert_close(solution.x[1:], good.x[1:], rtol=1e-6, atol=1e-9)
        assert torch.isfinite(solution.x).all()
    else:
        assert torch.equal(solution.x[1:], good.x[1:])
        assert torch.equal(solution.iterations[1:], good.iterations[1:])
        assert torch.isnan(solution.x[0]).all()


@pytest.mark.parametrize("preconditioner", PRECONDITIONERS)
def test_zero_right_hand_side_and_exact_guess(preconditioner: str) -> None:
    A, M = darcy(3, (20, 20)), PRECONDITIONERS[preconditioner]
    x = right_hand_side(A, 5)
    b = A(x)
    b[1] = 0
    solution = solve(A, b, preconditioner=M, x0=x)
    assert solution.status.tolist() == [Status.CONVERGED] * 3
    assert solution.iterations.tolist() == [0, 0, 0]
    assert torch.equal(solution.x[[0, 2]], x[[0, 2]])
    assert (solution.x[1] == 0).all()
    assert solution.residual_norm[1] == 0


def test_error_counts_names_and_advises() -> None:
    A = darcy(3, (12, 12))
    b = right_hand_side(A)
    b[1, 0, 0] = float("nan")
    with pytest.raises(SolveError) as caught:
        solve(A, b)
    text = str(caught.value)
    assert "1 of 3" in text
    assert "NONFINITE_INPUT: 1 (samples 1)" in text
    assert Status.NONFINITE_INPUT.advice in text
    assert caught.value.solution.converged.tolist() == [True, False, True]
    with pytest.raises(SolveError, match=r"worst relative residual \d\.\d\de[-+]\d\d"):
        solve(A, torch.ones_like(b), max_iterations=2)


def test_every_status_has_one_sentence_of_advice() -> None:
    for status in Status:
        assert status.advice.endswith(".")
        assert ". " not in status.advice
    assert [status.value for status in Status] == list(range(8))


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"rtol": -1.0}, "rtol"),
        ({"rtol": float("nan")}, "rtol"),
        ({"rtol": 0.0}, "rtol"),
        ({"atol": float("inf")}, "atol"),
        ({"max_iterations": -1}, "max_iterations"),
        ({"on_failure": "ignore"}, "on_failure"),
        ({"x0": torch.zeros(2, 3)}, "x0.shape"),
    ],
)
def test_bad_options(options, name) -> None:
    A = SPD_2D()
    with pytest.raises(InvalidInput, match=name.replace(".", r"\.")):
        solve(A, right_hand_side(A), **options)


def test_cg_wants_a_symmetric_operator() -> None:
    A = SPD_2D()
    untagged = StencilOperator(A.offsets, A.coefficients)
    with pytest.raises(InvalidInput, match="SYMMETRIC"):
        solve(untagged, right_hand_side(A), solver=CG())
    assert isinstance(default_solver(untagged), GMRES)
    assert isinstance(default_solver(A), CG)
    with pytest.raises(InvalidInput, match="LinearOperator"):
        solve(dense(A), right_hand_side(A))  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="check_every"):
        CG(check_every=0)


def test_function_operator_through_solve() -> None:
    A = darcy(2, (9, 9))
    F = FunctionOperator(A.apply, A.shape, A.batch, tags=HERMITIAN, diagonal=A.diagonal())
    b = right_hand_side(A)
    for M in (None, Jacobi()):
        torch.testing.assert_close(solve(F, b, preconditioner=M).x, solve(A, b, preconditioner=M).x)
    torch.testing.assert_close(F.adjoint(b), A(b))
    bare = FunctionOperator(A.apply, A.shape, A.batch)
    with pytest.raises(InvalidInput, match="adjoint"):
        _ = bare.adjoint
    with pytest.raises(InvalidInput, match="diagonal"):
        Jacobi().init(bare)
    with pytest.raises(InvalidInput, match=r"diagonal\.shape"):
        FunctionOperator(A.apply, A.shape, A.batch, diagonal=torch.ones(3))
    with pytest.raises(InvalidInput, match="StencilOperator"):
        Multigrid().init(F)
    assert F.to(torch.float32).dtype == torch.float32
    assert Tag.SYMMETRIC in F.to(torch.float32).tags
