"""Numbers near the ends of what a dtype can hold: what is claimed there must be true of the x that comes back."""

from __future__ import annotations

import math

import pytest
import torch

from pdeflow.linalg import (
    CG,
    GCRODR,
    GMRES,
    IC,
    MINRES,
    BiCGStab,
    DeflatedCG,
    Jacobi,
    Preconditioner,
    Solver,
    Status,
    StencilOperator,
    solve,
)

from .systems import SPD, darcy

SOLVERS = [CG(), MINRES(), BiCGStab(), GMRES(), GCRODR(), DeflatedCG()]


def multiples(values: list[float], dtype: torch.dtype) -> StencilOperator:
    """Multiples of the identity on two points."""
    values_ = torch.tensor(values, dtype=dtype).reshape(-1, 1, 1).expand(-1, 1, 2).contiguous()
    return StencilOperator([(0,)], values_, tags=SPD)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: type(solver).__name__)
@pytest.mark.parametrize(
    ("dtype", "factor", "b", "status"),
    [
        (torch.float64, 1e-200, 1e200, "BREAKDOWN"),
        (torch.complex128, 1e-200, 1e200, "BREAKDOWN"),
        (torch.float64, 1e150, 1e-200, "BREAKDOWN"),
        (torch.float32, 1e18, 1e-30, "BREAKDOWN"),
        (torch.float32, 1e-15, 1e30, "BREAKDOWN"),
        # The ends of the range are not beyond it.
        (torch.float64, 1e-150, 1e150, "CONVERGED"),
        (torch.float64, 1e150, 1e-155, "CONVERGED"),
        (torch.float32, 1e12, 1e-24, "CONVERGED"),
    ],
)
def test_an_answer_beyond_the_range_is_no_answer(
    solver: Solver, dtype: torch.dtype, factor: float, b: float, status: str
) -> None:
    A = multiples([factor, 1.0], dtype)
    right = torch.full((2, 2), b, dtype=dtype)
    solution = solve(A, right, solver=solver, rtol=1e-6, on_failure="return")
    assert [Status(code).name for code in solution.status.tolist()] == [status, "CONVERGED"]
    assert torch.isfinite(solution.x).all()
    double = torch.complex128 if dtype.is_complex else torch.float64
    b_one = right.to(double) / b
    true = (b_one - A.to(double)(solution.x.to(double)) / b).flatten(1).norm(dim=1) / b_one.norm(dim=1)
    torch.testing.assert_close(solution.residual_norm, true, rtol=1e-6, atol=1e-15)
    if status == "CONVERGED":
        torch.testing.assert_close(solution.x[0], right[0] / factor, rtol=1e-6, atol=0.0)


def test_a_zero_answer_is_one() -> None:
    A = multiples([1.0, 2.0], torch.float64)
    b = torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=torch.float64)
    solution = solve(A, b)
    assert solution.converged.all()
    assert torch.equal(solution.x, b / 2)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("preconditioner", [None, Jacobi(), IC()])
@pytest.mark.parametrize(
    ("dtype", "factors"),
    [(torch.float32, [1e-33, 1e-26, 1e20, 1e30]), (torch.float64, [1e-280, 1e-170, 1e160, 1e280])],
)
def test_minres_takes_the_same_steps_at_every_scale(
    dtype: torch.dtype, factors: list[float], preconditioner: Preconditioner | None, compiled: bool
) -> None:
    A = darcy(1, (12, 12))
    values = A.coefficients / A.coefficients.abs().max()
    # Powers of two, so that nothing is rounded.
    scales = torch.tensor([1.0, *(2.0 ** round(math.log2(factor)) for factor in factors)], dtype=torch.float64)
    A = StencilOperator(A.offsets, (values.float() * scales.reshape(-1, 1, 1, 1)).to(dtype), tags=SPD)
    solver = MINRES() if compiled else MINRES(check_every=1)
    b = torch.ones(len(scales), 12, 12, dtype=dtype)
    solution = solve(A, b, solver=solver, preconditioner=preconditioner, rtol=1e-4, on_failure="return")
    assert solution.converged.all()
    assert solution.iterations.unique().numel() == 1
    x = solution.x.double() * scales.reshape(-1, 1, 1)
    torch.testing.assert_close(x, x[:1].expand_as(x), rtol=1e-4, atol=0.0)
