"""The methods that SciPy has too take the same number of iterations."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
import torch

from pdeflow.linalg import (
    CG,
    FGMRES,
    GMRES,
    MINRES,
    BiCGStab,
    FlexibleCG,
    FunctionOperator,
    Jacobi,
    LinearOperator,
    Preconditioner,
    Solver,
    StencilOperator,
    solve,
)

from .systems import convection, darcy, hermitian, right_hand_side, waves

RTOL = 1e-8


def counted(method, A: StencilOperator, b: torch.Tensor, inverse: np.ndarray | None, **options) -> int:
    """Iterations until SciPy's own x has the residual that is wanted, and not when it says so."""
    matrix, right = A.to_scipy(0), b[0].flatten().numpy()
    M = None if inverse is None else scipy.sparse.diags_array(inverse)
    history: list[float] = []

    def note(x: np.ndarray) -> None:
        history.append(float(np.linalg.norm(right - matrix @ x) / np.linalg.norm(right)))

    method(matrix, right, M=M, rtol=1e-13, callback=note, **options)
    return next(i for i, ratio in enumerate(history, 1) if ratio <= RTOL)


@pytest.mark.parametrize(
    ("solver", "method", "make"),
    [
        (CG(), scipy.sparse.linalg.cg, lambda: darcy(1, (20, 17))),
        (FlexibleCG(), scipy.sparse.linalg.cg, lambda: darcy(1, (20, 17))),
        (CG(), scipy.sparse.linalg.cg, lambda: hermitian(1, 14)),
        (MINRES(), scipy.sparse.linalg.minres, lambda: darcy(1, (20, 17))),
        (MINRES(), scipy.sparse.linalg.minres, lambda: waves(1, 16, 12.0)),
        (BiCGStab(), scipy.sparse.linalg.bicgstab, lambda: convection(1, 16)),
        (BiCGStab(), scipy.sparse.linalg.bicgstab, lambda: waves(1, 14, 8.0, damping=40.0)),
    ],
)
@pytest.mark.parametrize("jacobi", [False, True])
def test_short_recurrences(solver: Solver, method, make, jacobi: bool) -> None:
    A = make()
    b = right_hand_side(A)
    inverse = 1 / A.diagonal()[0].flatten().numpy() if jacobi else None
    if method is scipy.sparse.linalg.minres and jacobi:
        inverse = abs(inverse)  # type: ignore[arg-type]
    options = {"maxiter": 400} if method is scipy.sparse.linalg.minres else {"atol": 0.0, "maxiter": 400}
    expected = counted(method, A, b, inverse, **options)
    ours = solve(A, b, solver=solver, preconditioner=Jacobi() if jacobi else None, rtol=RTOL)
    # BiCGStab stops between its two half steps where it can; its rounding shows after fifty steps.
    slack = 4 if isinstance(solver, BiCGStab) else 1
    assert abs(int(ours.iterations) - expected) <= slack


@pytest.mark.parametrize("solver", [GMRES(20), FGMRES(20)])
@pytest.mark.parametrize(
    "make",
    [
        lambda: darcy(1, (14, 11)),
        lambda: convection(1, 16),
        lambda: waves(1, 14, 8.0),
        lambda: waves(1, 14, 8.0, damping=40.0),
    ],
)
def test_restarted_gmres(solver: Solver, make) -> None:
    A = make()
    b = right_hand_side(A)
    norms: list[float] = []
    _, info = scipy.sparse.linalg.gmres(
        A.to_scipy(0), b[0].flatten().numpy(), rtol=RTOL, atol=0.0, restart=20, maxiter=100,
        callback=norms.append, callback_type="pr_norm",
    )  # fmt: skip
    assert info == 0
    ours = solve(A, b, solver=solver, rtol=RTOL)
    assert abs(int(ours.iterations) - len(norms)) <= 1
    # What the left null vector says of the residual is what the rotations of SciPy say.
    count = min(len(norms), len(ours.history) - 1)
    np.testing.assert_allclose(ours.history[1 : count + 1, 0].numpy(), norms[:count], rtol=1e-4)


class Inner(Preconditioner):
    """A few steps of CG: not linear, so that no two applications are the same operator."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def init(self, A: LinearOperator, previous: LinearOperator | None = None) -> LinearOperator:
        def apply(r: torch.Tensor) -> torch.Tensor:
            return solve(A, r, rtol=1e-2, max_iterations=self.steps, on_failure="return").x

        return FunctionOperator(apply, A.shape, A.batch, A.dtype, A.device, A.tags)


@pytest.mark.parametrize("solver", [FGMRES(), FlexibleCG()])
def test_flexible_methods_take_another_iteration_as_preconditioner(solver: Solver) -> None:
    A = darcy(2, (24, 24))
    b = right_hand_side(A)
    plain = solve(A, b)
    flexible = solve(A, b, solver=solver, preconditioner=Inner(15))
    assert flexible.iterations.max() < 0.2 * plain.iterations.max()
    torch.testing.assert_close(flexible.x, plain.x, rtol=1e-5, atol=1e-6 * float(plain.x.abs().max()))


def test_flexible_cg_is_cg_for_a_fixed_preconditioner() -> None:
    A = darcy(3, (20, 20))
    b = right_hand_side(A)
    for M in (None, Jacobi()):
        one, other = (solve(A, b, solver=solver, preconditioner=M) for solver in (CG(), FlexibleCG()))
        assert (one.iterations - other.iterations).abs().max() <= 1
        torch.testing.assert_close(one.x, other.x, rtol=1e-6, atol=1e-6 * float(one.x.abs().max()))


def test_minres_never_lets_the_residual_grow_and_its_norm_is_true() -> None:
    A = waves(2, 16, 12.0)
    b = right_hand_side(A)
    full = solve(A, b, solver=MINRES())
    assert (full.history[1:] <= full.history[:-1] * (1 + 1e-12)).all()
    for steps in (5, 20, 60):
        part = solve(A, b, solver=MINRES(), max_iterations=steps, on_failure="return")
        torch.testing.assert_close(part.history[-1], part.residual_norm, rtol=1e-8, atol=0.0)
