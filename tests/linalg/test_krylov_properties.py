"""What holds for every Krylov method: a batch is a loop, scales do not matter, the host need not look."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pdeflow.linalg import (
    FGMRES,
    GCRODR,
    GMRES,
    LGMRES,
    MINRES,
    BiCGStab,
    DeflatedCG,
    FlexibleCG,
    Jacobi,
    Preconditioner,
    Solver,
    Status,
    StencilOperator,
    Tag,
    solve,
)
from pdeflow.linalg.arnoldi_cycles import ArnoldiCycles
from pdeflow.linalg.lockstep import ShortRecurrence

from .systems import convection, darcy, generator, hermitian, relative_difference, right_hand_side, waves

SOLVERS = [
    FlexibleCG(),
    DeflatedCG(recycle=4, window=8),
    MINRES(),
    BiCGStab(),
    GMRES(12),
    FGMRES(12),
    LGMRES(10, 2),
    GCRODR(12, 4),
]
ANY_OPERATOR = [solver for solver in SOLVERS if not solver.requires]


def short(value: object) -> str:
    return type(value).__name__


@st.composite
def problems(draw, solver: Solver) -> tuple[StencilOperator, torch.Tensor]:
    batch, n, seed = draw(st.integers(1, 4)), draw(st.integers(2, 9)), draw(st.integers(0, 50))
    kinds = ["darcy", "hermitian"] if solver.requires else ["darcy", "hermitian", "convection", "damped"]
    kind = draw(st.sampled_from(kinds))
    if kind == "darcy":
        A = darcy(batch, (n, n + 1), seed)
    elif kind == "hermitian":
        A = hermitian(batch, n, seed)
    elif kind == "convection":
        A = convection(batch, n)
    else:
        A = waves(batch, n, 3.0, seed, damping=30.0)
    return A, right_hand_side(A, seed + 1)


@pytest.mark.parametrize("solver", SOLVERS, ids=short)
@given(data=st.data(), preconditioner=st.sampled_from([None, Jacobi()]))
@settings(max_examples=12, deadline=None, derandomize=True)
def test_batch_is_a_loop_in_any_order(solver: Solver, data, preconditioner: Preconditioner | None) -> None:
    A, b = data.draw(problems(solver))
    options = dict(solver=solver, preconditioner=preconditioner, rtol=1e-10)
    together = solve(A, b, **options)
    order = torch.randperm(A.batch, generator=generator(0))
    shuffled = StencilOperator(A.offsets, A.coefficients[order], A.periodic, A.tags)
    assert relative_difference(solve(shuffled, b[order], **options).x, together.x[order]) < 1e-6
    alone = [solve(one, b[i : i + 1], **options) for i, one in enumerate(A.pieces(1))]
    assert relative_difference(torch.cat([s.x for s in alone]), together.x) < 1e-6
    counts = torch.cat([s.iterations for s in alone])
    assert ((counts - together.iterations).abs() <= 2 + 0.1 * counts).all()


@pytest.mark.parametrize("solver", SOLVERS, ids=short)
@given(data=st.data(), for_b=st.integers(-300, 300), for_A=st.integers(-200, 200))
@settings(max_examples=12, deadline=None, derandomize=True)
def test_powers_of_two_change_nothing(solver: Solver, data, for_b: int, for_A: int) -> None:
    A, b = data.draw(problems(solver))
    plain = solve(A, b, solver=solver)
    B = StencilOperator(A.offsets, A.coefficients * 2.0**for_A, A.periodic, A.tags)
    scaled = solve(B, b * 2.0**for_b, solver=solver)
    assert (scaled.iterations - plain.iterations).abs().max() <= 1
    assert relative_difference(scaled.x * 2.0**for_A * 2.0**-for_b, plain.x) < 1e-6


@pytest.mark.parametrize("solver", ANY_OPERATOR, ids=short)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex128])
@pytest.mark.parametrize("keep", [False, True])
def test_compiled_and_eager_forms_agree(solver: Solver, dtype, keep: bool, monkeypatch) -> None:
    if not isinstance(solver, ArnoldiCycles):
        pytest.skip("has one form")
    A = (waves(3, 12, 8.0, damping=20.0) if dtype.is_complex else waves(3, 12, 8.0)).to(dtype)
    A.coefficients[1] *= 1e3
    b = right_hand_side(A)
    b[2] = float("nan")
    options = dict(solver=solver, preconditioner=Jacobi() if keep else None, on_failure="return")
    # As far as rounding does not matter yet.
    steps = dict(rtol=1e-3, max_iterations=30)
    compiled = solve(A, b, **options, **steps)
    monkeypatch.setenv("PDEFLOW_NATIVE", "0")
    eager = solve(A, b, **options, **steps)
    assert torch.equal(compiled.status, eager.status)
    assert torch.equal(compiled.iterations, eager.iterations)
    small = 1e-3 if dtype == torch.float32 else 1e-9
    assert relative_difference(compiled.x[:2], eager.x[:2]) < small
    torch.testing.assert_close(compiled.history[:, :2], eager.history[:, :2], rtol=small, atol=0.0)


@pytest.mark.parametrize("solver", SOLVERS, ids=short)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex128])
@pytest.mark.parametrize("preconditioner", [None, Jacobi()])
def test_iteration_runs_on_meta(solver: Solver, dtype: torch.dtype, preconditioner) -> None:
    A = darcy(2, (9, 8)).to(dtype, "meta")
    b = torch.empty(2, 9, 8, dtype=dtype, device="meta")
    state = solver.init(A, preconditioner)
    if isinstance(solver, ShortRecurrence):
        s = solver.start(state, b, None, 1e-8, 0.0)
        solver.advance(state, s, 3)
        solver.restart(state, s, torch.ones(2, dtype=torch.bool, device="meta"))
        solver.learn(state, s)
    else:
        assert isinstance(solver, ArnoldiCycles)
        s = solver.start(state, b, torch.empty_like(b), 1e-8, 0.0)
        for cycle in range(2):
            # `open` of GCRO-DR reads one bool a cycle once it has a space.
            if cycle == 0:
                solver.open(state, s)
            else:
                ArnoldiCycles.open(solver, state, s)
            for _ in range(3):
                solver.expand(state)
            solver.close(state, s, full=True)
    assert s.x.device.type == s.status.device.type == "meta"
    assert (s.x.shape, s.x.dtype, s.status.shape) == (b.shape, dtype, (2,))


@pytest.mark.parametrize("solver", SOLVERS, ids=short)
def test_systems_that_end_early_wait_unharmed(solver: Solver) -> None:
    A = darcy(4, (14, 14), low=1.0, high=100.0)
    b, x = right_hand_side(A), right_hand_side(A, 9)
    # The first is solved at the start, the second soon, the others not yet for long.
    b[0] = A(x)[0]
    x[1:] = 0
    b[1] = A(torch.ones_like(x))[1]
    x[1] = 1 + 1e-9
    solution = solve(A, b, solver=solver, x0=x, rtol=1e-8)
    assert solution.status.tolist() == [Status.CONVERGED] * 4
    assert solution.iterations[0] == 0
    assert torch.equal(solution.x[0], x[0])
    assert (solution.residual_norm <= 1e-8).all()
    assert Tag.SYMMETRIC in A.tags
