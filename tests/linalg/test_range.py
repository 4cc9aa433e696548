"""Numbers near the ends of what a dtype can hold: what is claimed there must be true of the x that comes back."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pdeflow.linalg import (
    CG,
    GCRODR,
    GMRES,
    MINRES,
    BiCGStab,
    DeflatedCG,
    Solver,
    Status,
    StencilOperator,
    solve,
)

from .systems import SPD

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
