"""Numbers near the ends of the range: what is claimed there must be true of the x that comes back."""

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
    FlexibleCG,
    FunctionOperator,
    Jacobi,
    Preconditioner,
    Solver,
    Status,
    StencilOperator,
    diffusion_stencil,
    solve,
)

from .systems import SPD, darcy, diffusion, jumps, right_hand_side

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
    scales = torch.tensor(
        [1.0, *(2.0 ** round(math.log2(factor)) for factor in factors)], dtype=torch.float64
    )
    A = StencilOperator(A.offsets, (values.float() * scales.reshape(-1, 1, 1, 1)).to(dtype), tags=SPD)
    solver = MINRES() if compiled else MINRES(check_every=1)
    b = torch.ones(len(scales), 12, 12, dtype=dtype)
    solution = solve(A, b, solver=solver, preconditioner=preconditioner, rtol=1e-4, on_failure="return")
    assert solution.converged.all()
    assert solution.iterations.unique().numel() == 1
    x = solution.x.double() * scales.reshape(-1, 1, 1)
    torch.testing.assert_close(x, x[:1].expand_as(x), rtol=1e-4, atol=0.0)


def penalised() -> StencilOperator:
    """Values of four columns of the grid fixed by a penalty: regular, with rows of very different size."""
    A = darcy(1, (24, 24))
    values = A.coefficients.clone()
    values[:, A.offsets.index((0, 0)), 10:14] += 1e18
    return StencilOperator(A.offsets, values, tags=SPD)


def islands() -> StencilOperator:
    """Columns of the grid that conduct 1e14 times as well as the rest."""
    a = torch.ones(1, 26, 26, dtype=torch.float64)
    a[:, 8:16] = 1e14
    return diffusion(a)


def small_entries() -> StencilOperator:
    values = torch.ones(1, 1, 60, dtype=torch.float64)
    values[..., 30:] = torch.logspace(-14, -12.05, 30, dtype=torch.float64)
    return StencilOperator([(0,)], values, tags=SPD)


@pytest.mark.parametrize("solver", [*SOLVERS, FlexibleCG()], ids=lambda solver: type(solver).__name__)
@pytest.mark.parametrize("kind", ["stencil", "sparse", "complex", "several right-hand sides"])
@pytest.mark.parametrize("make", [penalised, islands, small_entries])
def test_a_badly_scaled_operator_is_not_called_singular(make, kind: str, solver: Solver) -> None:
    A = make()
    b = torch.ones(1, *A.shape, dtype=torch.float64)
    if make is penalised:
        b[:, 10:14] = 0
    if kind == "sparse":
        A = A.to_sparse()
    if kind == "complex":
        A, b = A.to(torch.complex128), b.to(torch.complex128)
    if kind == "several right-hand sides":
        b = torch.cat([b, 2 * b])
    for steps in (3, 10):
        solution = solve(A, b, solver=solver, max_iterations=steps, on_failure="return")
        assert set(solution.status.tolist()) <= {Status.MAX_ITERATIONS, Status.STAGNATED, Status.CONVERGED}


@pytest.mark.parametrize("kind", ["stencil", "sparse", "function", "several right-hand sides"])
@pytest.mark.parametrize("solver", [CG(), BiCGStab(), FlexibleCG()], ids=lambda solver: type(solver).__name__)
@pytest.mark.parametrize("factor", [2.0**-400, 1.0, 2.0**660])
def test_a_singular_operator_is_found_out_when_the_iterations_are_used_up(
    solver: Solver, kind: str, factor: float
) -> None:
    A = diffusion_stencil(jumps(1, (12, 12)), 1.0, "periodic").retagged(SPD)
    A = StencilOperator(A.offsets, A.coefficients * factor, A.periodic, SPD)
    b = right_hand_side(A)
    B = {"sparse": A.to_sparse(), "function": FunctionOperator(A.apply, A.shape, 1, tags=SPD)}.get(kind, A)
    if kind == "several right-hand sides":
        b = torch.cat([b, 2 * b])
    solution = solve(B, b, solver=solver, max_iterations=400, on_failure="return")
    assert set(solution.status.tolist()) == {Status.SINGULAR}


def test_a_function_that_gives_zero_is_singular() -> None:
    A = FunctionOperator(torch.zeros_like, (4,), 2, tags=SPD)
    solution = solve(A, torch.ones(2, 4, dtype=torch.float64), on_failure="return")
    assert solution.status.tolist() == [Status.SINGULAR] * 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: type(solver).__name__)
def test_a_large_answer_outlives_the_failure_of_another_system(solver: Solver, dtype: torch.dtype) -> None:
    factor = 2.0**-100 if dtype == torch.float32 else 2.0**-660
    A = multiples([factor, 0.0], dtype)
    solution = solve(A, torch.ones(2, 2, dtype=dtype), solver=solver, on_failure="return")
    assert solution.status.tolist() == [Status.CONVERGED, Status.SINGULAR]
    torch.testing.assert_close(solution.x[0], torch.full((2,), 1 / factor, dtype=dtype))
