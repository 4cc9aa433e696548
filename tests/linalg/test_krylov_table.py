"""Every Krylov method on every kind of system it may be given, with the status that must come out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg import (
    CG,
    FGMRES,
    GCRODR,
    GMRES,
    LGMRES,
    MINRES,
    BiCGStab,
    DeflatedCG,
    FlexibleCG,
    FunctionOperator,
    Jacobi,
    LinearOperator,
    Multigrid,
    Preconditioner,
    Solver,
    Status,
    StencilOperator,
    Tag,
    solve,
)

from .systems import (
    SPD,
    consistent,
    convection,
    darcy,
    diffusion,
    generator,
    helmholtz,
    hermitian,
    right_hand_side,
    scaled,
    waves,
)

# A solver is one row here.
SOLVERS: dict[str, Solver] = {
    "cg": CG(),
    "flexible cg": FlexibleCG(),
    "deflated cg": DeflatedCG(),
    "minres": MINRES(),
    "bicgstab": BiCGStab(),
    "gmres": GMRES(),
    "gmres in float32": GMRES(dtype=torch.float32),
    "fgmres": FGMRES(),
    "lgmres": LGMRES(),
    "gcrodr": GCRODR(),
    "gcrodr in float32": GCRODR(dtype=torch.float32),
}
DEFINITE = ("cg", "flexible cg", "deflated cg")  # need a positive definite operator
SYMMETRIC = (*DEFINITE, "minres")
MIXED = ("gmres in float32", "gcrodr in float32")  # have the range of float32


class Gauss(Preconditioner):
    """One forward Gauss-Seidel sweep in the limit of two steps: linear, and not symmetric."""

    def init(self, A: LinearOperator, previous: LinearOperator | None = None) -> LinearOperator:
        assert isinstance(A, StencilOperator)
        lower = [k for k, offset in enumerate(A.offsets) if offset < (0,) * len(A.shape)]
        part = StencilOperator([A.offsets[k] for k in lower], A.coefficients[:, lower], A.periodic)
        inverse = A.diagonal().reciprocal()

        def apply(r: Tensor) -> Tensor:
            z = inverse * r
            return inverse * (r - part.apply(z))

        return FunctionOperator(apply, A.shape, A.batch, A.dtype, A.device)


class Minus(Preconditioner):
    def init(self, A: LinearOperator, previous: LinearOperator | None = None) -> LinearOperator:
        return FunctionOperator(lambda r: -r, A.shape, A.batch, A.dtype, A.device, A.tags)


class NotANumber(Preconditioner):
    """NaN for the first sample, the identity for the others."""

    def init(self, A: LinearOperator, previous: LinearOperator | None = None) -> LinearOperator:
        factor = torch.ones(A.batch, *(1,) * len(A.shape), dtype=A.dtype)
        factor[0] = float("nan")
        return FunctionOperator(lambda r: factor * r, A.shape, A.batch, A.dtype, A.device, A.tags)


def periodic(drift: float = 0.0) -> StencilOperator:
    """Has the constants as its null space, and with a drift, which is not constant, another one of A*."""
    A = diffusion(torch.ones(2, 12, 12, dtype=torch.float64), (True, True))
    if not drift:
        return A
    values = A.coefficients.clone()
    speed = drift * (1 + 0.5 * torch.sin(torch.arange(12) * (2 * torch.pi / 12))).reshape(12, 1)
    values[:, A.offsets.index((1, 0))] += speed
    values[:, A.offsets.index((-1, 0))] -= speed
    return StencilOperator(A.offsets, values, A.periodic)


def one_point() -> StencilOperator:
    values = torch.tensor([2.0, 5.0], dtype=torch.float64).reshape(2, 1, 1, 1)
    return StencilOperator([(0, 0)], values, tags=SPD)


def zero_for_one(A: StencilOperator) -> Tensor:
    b = right_hand_side(A)
    b[1] = 0
    return b


SPD_2D = lambda: darcy(2, (12, 12))  # noqa: E731
Case = tuple[Callable[[], StencilOperator], Callable[..., Tensor], "Preconditioner | None", dict, str, dict]

# name: operator, right-hand side, preconditioner, options, status of every sample, and that of exceptions
CASES: dict[str, Case] = {
    "definite": (SPD_2D, right_hand_side, None, {}, "CONVERGED", {}),
    "definite, jacobi": (SPD_2D, right_hand_side, Jacobi(), {}, "CONVERGED", {}),
    "definite, multigrid": (lambda: darcy(2, (20, 17)), right_hand_side, Multigrid(), {}, "CONVERGED", {}),
    "3D": (lambda: darcy(2, (7, 8, 9)), right_hand_side, None, {}, "CONVERGED", {}),
    "hermitian": (lambda: hermitian(2, 12), right_hand_side, None, {}, "CONVERGED", {}),
    "hermitian, multigrid": (lambda: hermitian(2, 12), right_hand_side, Multigrid(), {}, "CONVERGED", {}),
    "indefinite": (
        lambda: helmholtz(30, 200.0),
        right_hand_side,
        None,
        {},
        "CONVERGED",
        dict.fromkeys(DEFINITE, "INDEFINITE_OPERATOR"),
    ),
    "waves": (
        lambda: waves(2, 16, 12.0),
        right_hand_side,
        None,
        {},
        "CONVERGED",
        dict.fromkeys(DEFINITE, "INDEFINITE_OPERATOR"),
    ),
    "not symmetric": (lambda: convection(2, 12), right_hand_side, None, {}, "CONVERGED", {}),
    "not symmetric, jacobi": (lambda: convection(2, 12), right_hand_side, Jacobi(), {}, "CONVERGED", {}),
    "not symmetric, gauss": (lambda: convection(2, 12), right_hand_side, Gauss(), {}, "CONVERGED", {}),
    "damped waves": (lambda: waves(2, 16, 12.0, damping=30.0), right_hand_side, None, {}, "CONVERGED", {}),
    "damped waves, jacobi": (
        lambda: waves(2, 16, 12.0, damping=30.0),
        right_hand_side,
        Jacobi(),
        {},
        "CONVERGED",
        {},
    ),
    "one point": (one_point, right_hand_side, None, {}, "CONVERGED", {}),
    "zero right-hand side": (SPD_2D, zero_for_one, None, {}, "CONVERGED", {}),
    "singular, consistent": (periodic, consistent, None, {}, "CONVERGED", {}),
    "singular, consistent, jacobi": (periodic, consistent, Jacobi(), {}, "CONVERGED", {}),
    "singular, inconsistent": (periodic, right_hand_side, None, {}, "SINGULAR", {}),
    "singular, inconsistent, jacobi": (periodic, right_hand_side, Jacobi(), {}, "SINGULAR", {}),
    "singular, not symmetric": (lambda: periodic(8.0), right_hand_side, None, {}, "SINGULAR", {}),
    "zero operator": (lambda: scaled(SPD_2D(), 0.0), right_hand_side, None, {}, "SINGULAR", {}),
    "tiny": (
        lambda: scaled(SPD_2D(), 1e-150),
        right_hand_side,
        None,
        {},
        "CONVERGED",
        dict.fromkeys(MIXED, "STAGNATED"),
    ),
    "huge": (
        lambda: scaled(SPD_2D(), 1e150),
        right_hand_side,
        None,
        {},
        "CONVERGED",
        dict.fromkeys(MIXED, "BREAKDOWN"),
    ),
    "overflow": (
        lambda: scaled(SPD_2D(), 2e304),
        right_hand_side,
        None,
        {},
        "BREAKDOWN",
        {**dict.fromkeys(("gmres", "fgmres", "lgmres", "gcrodr"), "STAGNATED"), "minres": "CONVERGED"},
    ),
    "too few": (SPD_2D, right_hand_side, None, {"max_iterations": 3}, "MAX_ITERATIONS", {}),
    "none at all": (SPD_2D, right_hand_side, None, {"max_iterations": 0}, "MAX_ITERATIONS", {}),
    "beyond rounding": (SPD_2D, right_hand_side, Jacobi(), {"rtol": 1e-17}, "STAGNATED", {}),
    "negative M": (
        SPD_2D,
        right_hand_side,
        Minus(),
        {},
        "CONVERGED",
        dict.fromkeys(SYMMETRIC, "INDEFINITE_PRECONDITIONER"),
    ),
    # What CG and MINRES build on is not there: they wander, and say that they have not arrived.
    "not symmetric M": (
        SPD_2D,
        right_hand_side,
        Gauss(),
        {"max_iterations": 400},
        "CONVERGED",
        dict.fromkeys(("cg", "deflated cg", "minres"), "MAX_ITERATIONS"),
    ),
}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("case", CASES)
def test_expected_status(solver: str, case: str) -> None:
    operator, make_b, preconditioner, options, expected, others = CASES[case]
    A = operator()
    b = make_b(A)
    if Tag.SYMMETRIC not in A.tags and solver in SYMMETRIC:
        with pytest.raises(InvalidInput, match="SYMMETRIC"):
            solve(A, b, solver=SOLVERS[solver])
        return
    solution = solve(
        A, b, solver=SOLVERS[solver], preconditioner=preconditioner, on_failure="return", **options
    )
    assert [Status(code).name for code in solution.status.tolist()] == [
        others.get(solver, expected)
    ] * A.batch
    assert torch.isfinite(solution.x).all()
    if case != "overflow" or solver == "minres":
        # In float64, whatever the method believed.
        true = torch.linalg.vector_norm((b - A(solution.x)).flatten(1), dim=1)
        size = torch.linalg.vector_norm(b.flatten(1), dim=1)
        true = torch.where(size > 0, true / size, true)
        torch.testing.assert_close(solution.residual_norm, true, rtol=1e-6, atol=1e-15)
        converged = solution.status == Status.CONVERGED
        assert ((true <= options.get("rtol", 1e-8)) == converged).all()


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("name", ["darcy", "hermitian", "waves", "convection", "damped"])
@pytest.mark.parametrize("preconditioner", [None, Jacobi()])
def test_answers_are_those_of_a_direct_solver(solver: str, name: str, preconditioner) -> None:
    A = {
        "darcy": lambda: darcy(2, (14, 11)),
        "hermitian": lambda: hermitian(2, 10),
        "waves": lambda: waves(2, 14, 12.0),
        "convection": lambda: convection(2, 14),
        "damped": lambda: waves(2, 14, 12.0, damping=30.0),
    }[name]()
    if (Tag.SYMMETRIC not in A.tags and solver in SYMMETRIC) or (name == "waves" and solver in DEFINITE):
        pytest.skip("not for this method; the table above has its status")
    b = right_hand_side(A)
    solution = solve(A, b, solver=SOLVERS[solver], preconditioner=preconditioner, rtol=1e-10)
    for i in range(A.batch):
        reference = scipy.sparse.linalg.spsolve(A.to_scipy(i).tocsc(), b[i].flatten().numpy())
        np.testing.assert_allclose(
            solution.x[i].flatten().numpy(), reference, atol=1e-7 * abs(reference).max()
        )


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("place", ["A", "b", "x0", "M"])
def test_a_bad_sample_fails_alone(solver: str, place: str) -> None:
    A, M = darcy(3, (12, 12)), None
    b, x0 = right_hand_side(A), torch.zeros(3, 12, 12, dtype=torch.float64)
    good = solve(A, b, solver=SOLVERS[solver], x0=x0)
    if place == "A":
        A.coefficients[0, 1, 3, 4] = float("nan")
    elif place == "M":
        M = NotANumber()
    else:
        (b if place == "b" else x0)[0, 3, 4] = float("inf")
    solution = solve(A, b, solver=SOLVERS[solver], preconditioner=M, x0=x0, on_failure="return")
    first = Status.BREAKDOWN if place == "M" else Status.NONFINITE_INPUT
    assert solution.status.tolist() == [first, Status.CONVERGED, Status.CONVERGED]
    torch.testing.assert_close(solution.x[1:], good.x[1:], rtol=1e-6, atol=1e-9)
    assert torch.isnan(solution.x[0]).all() if place != "M" else torch.isfinite(solution.x[0]).all()


@pytest.mark.parametrize("solver", SOLVERS)
def test_zero_right_hand_side_and_exact_guess(solver: str) -> None:
    A = darcy(3, (12, 12))
    x = right_hand_side(A, 5)
    b = A(x)
    b[1] = 0
    solution = solve(A, b, solver=SOLVERS[solver], x0=x)
    assert solution.iterations.tolist() == [0, 0, 0]
    assert torch.equal(solution.x[[0, 2]], x[[0, 2]])
    assert (solution.x[1] == 0).all()


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("preconditioner", [None, Jacobi()])
def test_float32_reaches_what_float32_can_hold(solver: str, preconditioner) -> None:
    A = darcy(2, (12, 12)).to(torch.float32)
    b = right_hand_side(A)
    options = dict(solver=SOLVERS[solver], preconditioner=preconditioner, on_failure="return")
    solution = solve(A, b, rtol=1e-4, **options)
    assert solution.x.dtype == torch.float32
    assert solution.status.tolist() == [Status.CONVERGED] * 2
    true = torch.linalg.vector_norm((b.double() - A.to(torch.float64)(solution.x.double())).flatten(1), dim=1)
    assert (true <= 1e-4 * torch.linalg.vector_norm(b.double().flatten(1), dim=1)).all()
    assert solve(A, b, rtol=1e-12, **options).status.tolist() == [Status.STAGNATED] * 2


@pytest.mark.parametrize("solver", SOLVERS)
def test_strided_right_hand_sides_and_arguments_left_alone(solver: str) -> None:
    A = darcy(2, (12, 12))
    b, x0 = right_hand_side(A), right_hand_side(A, 3)
    expected = solve(A, b.mT.contiguous(), x0=x0.mT.contiguous(), solver=SOLVERS[solver]).x
    copies = A.coefficients.clone(), b.clone(), x0.clone()
    torch.testing.assert_close(solve(A, b.mT, x0=x0.mT, solver=SOLVERS[solver]).x, expected)
    for kept, copy in zip((A.coefficients, b, x0), copies):
        assert torch.equal(kept, copy)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: GMRES(restart=0), "restart"),
        (lambda: FGMRES(restart=0), "restart"),
        (lambda: LGMRES(restart=0), "restart"),
        (lambda: LGMRES(augment=0), "augment"),
        (lambda: GCRODR(restart=20, recycle=20), "recycle"),
        (lambda: GCRODR(recycle=0), "recycle"),
        (lambda: GMRES(dtype=torch.float16), "dtype"),
        (lambda: DeflatedCG(recycle=0), "recycle"),
        (lambda: DeflatedCG(recycle=9, window=8), "recycle"),
        (lambda: MINRES(check_every=0), "check_every"),
    ],
)
def test_bad_settings(make: Callable[[], Solver], name: str) -> None:
    with pytest.raises(InvalidInput, match=name):
        make()


def test_not_symmetric_m_is_a_fair_trial() -> None:
    A = SPD_2D()
    M = Gauss().init(A)
    x, y = right_hand_side(A, 1), torch.randn(2, 12, 12, generator=generator(2), dtype=torch.float64)
    left, right = (torch.linalg.vecdot(u.flatten(1), v.flatten(1)) for u, v in ((x, M(y)), (M(x), y)))
    assert ((left - right).abs() > 1e-2 * left.abs()).any()
