from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from pdeflow.linalg import (
    CG,
    IC,
    SSOR,
    BlockJacobi,
    Chebyshev,
    FastPoisson,
    FunctionOperator,
    Jacobi,
    LinearOperator,
    Multigrid,
    Preconditioner,
    Solution,
    Status,
    StencilOperator,
    solve,
)

from .systems import SPD, darcy, dense, generator, hermitian, relative_difference, right_hand_side

PRECONDITIONERS = [
    None,
    Jacobi(),
    Multigrid(),
    Multigrid(smoother="chebyshev"),
    FastPoisson(),
    IC(),
    Chebyshev(),
    BlockJacobi(),
    SSOR(),
]


def test_cg_is_the_textbook_recursion() -> None:
    A = darcy(1, (6, 5))
    b = right_hand_side(A)
    matrix, right = dense(A)[0], b.flatten()
    x, r = torch.zeros_like(right), right.clone()
    p = r.clone()
    for steps in range(1, 8):
        alpha = (r @ r) / (p @ matrix @ p)
        x, r_new = x + alpha * p, r - alpha * (matrix @ p)
        p, r = r_new + (r_new @ r_new) / (r @ r) * p, r_new
        solution = solve(A, b, max_iterations=steps, on_failure="return")
        assert solution.iterations.tolist() == [steps]
        torch.testing.assert_close(solution.x.flatten(), x)


@pytest.mark.parametrize("preconditioner", PRECONDITIONERS)
def test_the_answer_does_not_depend_on_when_the_host_looks(preconditioner: Preconditioner | None) -> None:
    A = darcy(4, (24, 24))
    b = right_hand_side(A)
    often = solve(A, b, preconditioner=preconditioner, solver=CG(check_every=1))
    for every in (2, 7, 1000):
        seldom = solve(A, b, preconditioner=preconditioner, solver=CG(check_every=every))
        assert torch.equal(often.iterations, seldom.iterations)
        assert torch.equal(often.x, seldom.x)
    assert often.history.shape == (often.iterations.max() + 1, 4)
    assert seldom.history.shape[0] == 2
    torch.testing.assert_close(often.history[0], torch.ones(4, dtype=torch.float64))
    assert (often.history[-1] <= 1e-8).all()


class CountHostReads(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.reads += "_local_scalar_dense" in str(func) or "is_nonzero" in str(func)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("preconditioner", PRECONDITIONERS)
def test_the_host_reads_nothing_between_checks(preconditioner: Preconditioner | None) -> None:
    A = darcy(2, (24, 24))
    b = right_hand_side(A)
    reads = {}
    for every in (2, 4):
        counter = CountHostReads()
        solver = CG(check_every=every)
        state = solver.init(A, preconditioner)
        with counter:
            solver.solve(state, b, rtol=1e-30, atol=0.0, max_iterations=16)
        reads[every] = counter.reads
    assert reads[2] - reads[4] == 4  # 8 looks against 4, and whatever start and end need


@pytest.mark.parametrize("preconditioner", PRECONDITIONERS)
@pytest.mark.parametrize("shape", [(40,), (20, 17), (9, 8, 10)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex128])
def test_iteration_runs_on_meta(preconditioner, shape: tuple[int, ...], dtype: torch.dtype) -> None:
    A = darcy(2, shape).to(dtype, "meta")
    b = torch.empty(2, *shape, dtype=dtype, device="meta")
    solver = CG()
    state = solver.init(A, preconditioner)
    for x0 in (None, torch.empty_like(b)):
        s = solver.start(state, b, x0, 1e-8, 0.0)
        for _ in range(2):
            solver.step(state, s)
            solver.turn(state, s)
        assert s.x.device.type == s.p.device.type == s.status.device.type == "meta"
        assert s.x.shape == b.shape
        assert s.x.dtype == dtype
        assert s.status.shape == (2,)


class Lying(Preconditioner):
    """A preconditioner that once disturbs the residual it is given: the recursion then lies about x."""

    def init(self, A: LinearOperator, previous: LinearOperator | None = None) -> LinearOperator:
        self.calls = 0

        def apply(r: torch.Tensor) -> torch.Tensor:
            self.calls += 1
            if self.calls == 10:
                r.mul_(1e-3)
            return r.clone()

        return FunctionOperator(apply, A.shape, A.batch, A.dtype, A.device, A.tags)


def test_the_true_residual_decides() -> None:
    A = darcy(2, (10, 10))
    b = right_hand_side(A)
    solution = solve(A, b, preconditioner=Lying(), rtol=1e-8)
    true = torch.linalg.norm((b - A(solution.x)).flatten(1), dim=1) / torch.linalg.norm(b.flatten(1), dim=1)
    assert (true <= 1e-8).all()
    torch.testing.assert_close(true, solution.residual_norm)
    # The recursive residual claimed convergence at least once before, and was not believed.
    claimed = (solution.history[:, 0] <= 1e-8).nonzero()
    assert len(claimed) >= 2


def test_absolute_tolerance() -> None:
    A = darcy(2, (10, 10))
    b = right_hand_side(A)
    b[1] *= 1e-6
    solution = solve(A, b, rtol=0.0, atol=1e-3)
    assert solution.iterations[0] > 0
    assert solution.iterations[1] == 0
    assert torch.linalg.norm(b[0] - A(solution.x)[0]) <= 1e-3
    assert solution.status.tolist() == [Status.CONVERGED] * 2


def test_a_good_guess_saves_iterations() -> None:
    A = darcy(2, (20, 20))
    b = right_hand_side(A)
    first = solve(A, b, rtol=1e-6)
    again = solve(A, b, rtol=1e-8, x0=first.x)
    assert (again.iterations < 0.6 * solve(A, b, rtol=1e-8).iterations).all()
    assert (again.residual_norm <= 1e-8).all()


def test_arguments_are_left_alone() -> None:
    A = darcy(2, (20, 20))
    b, x0 = right_hand_side(A), right_hand_side(A, 7)
    copies = A.coefficients.clone(), b.clone(), x0.clone()
    for preconditioner in PRECONDITIONERS:
        solve(A, b, x0=x0, preconditioner=preconditioner)
    for kept, copy in zip((A.coefficients, b, x0), copies):
        assert torch.equal(kept, copy)


def test_a_cut_batch_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    A = darcy(5, (20, 20))
    b = right_hand_side(A)
    b[3] = 0
    for preconditioner in PRECONDITIONERS:
        whole = solve(A, b, preconditioner=preconditioner)
        monkeypatch.setattr("pdeflow.linalg.solver.UNKNOWNS_IN_CACHE", 800)
        cut = solve(A, b, preconditioner=preconditioner)
        monkeypatch.undo()
        torch.testing.assert_close(whole.x, cut.x, rtol=1e-6, atol=1e-9)
        assert (whole.iterations - cut.iterations).abs().max() <= 1
        assert cut.converged.all()


@st.composite
def problems(draw) -> tuple[StencilOperator, torch.Tensor]:
    batch, seed = draw(st.integers(1, 4)), draw(st.integers(0, 100))
    if draw(st.booleans()):
        A = hermitian(batch, draw(st.integers(1, 12)), seed)
    else:
        A = darcy(batch, tuple(draw(st.lists(st.integers(1, 12), min_size=1, max_size=3))), seed)
    return A, right_hand_side(A, seed + 1)


@given(problems(), st.sampled_from(PRECONDITIONERS))
@settings(max_examples=25)
def test_batch_is_a_loop_in_any_order(problem, preconditioner) -> None:
    A, b = problem
    together = solve(A, b, preconditioner=preconditioner)
    order = torch.randperm(A.batch, generator=generator(0))
    shuffled = StencilOperator(A.offsets, A.coefficients[order], tags=SPD)
    assert (
        relative_difference(solve(shuffled, b[order], preconditioner=preconditioner).x, together.x[order])
        < 1e-6
    )
    alone = [solve(one, b[i : i + 1], preconditioner=preconditioner).x for i, one in enumerate(A.pieces(1))]
    assert relative_difference(torch.cat(alone), together.x) < 1e-6


@given(problems(), st.sampled_from(PRECONDITIONERS), st.integers(-300, 300), st.integers(-200, 200))
@settings(max_examples=25)
def test_powers_of_two_change_nothing(problem, preconditioner, for_b: int, for_A: int) -> None:
    A, b = problem
    plain = solve(A, b, preconditioner=preconditioner)
    B = StencilOperator(A.offsets, A.coefficients * 2.0**for_A, tags=SPD)
    scaled = solve(B, b * 2.0**for_b, preconditioner=preconditioner)
    assert torch.equal(scaled.iterations, plain.iterations)
    assert relative_difference(scaled.x * 2.0**for_A * 2.0**-for_b, plain.x) < 1e-12


@given(problems(), st.sampled_from(PRECONDITIONERS))
@settings(max_examples=25)
def test_solution_is_linear_in_the_right_hand_side(problem, preconditioner) -> None:
    A, b = problem
    c = right_hand_side(A, 77)

    def answer(right: torch.Tensor) -> torch.Tensor:
        return solve(A, right, preconditioner=preconditioner, rtol=1e-11).x

    assert relative_difference(2 * answer(b) - 3 * answer(c), answer(2 * b - 3 * c)) < 1e-6


def test_solutions_of_pieces_join() -> None:
    A = darcy(3, (10, 10))
    b = right_hand_side(A)
    parts = [solve(one, b[i : i + 1], rtol=10.0 ** -(2 + 3 * i)) for i, one in enumerate(A.pieces(1))]
    joined = Solution.concatenate(parts)
    assert joined.history.shape == (max(p.history.shape[0] for p in parts), 3)
    assert torch.equal(joined.history[-1], torch.cat([p.history[-1] for p in parts]))
    assert joined.describe() == "All 3 systems converged."


@pytest.mark.parametrize("size", [1e308, 1e-300, 1e-310])
def test_right_hand_sides_at_the_ends_of_the_range(size: float) -> None:
    A = darcy(2, (20, 20))
    b = torch.full((2, 20, 20), size, dtype=torch.float64)
    for preconditioner in PRECONDITIONERS:
        solution = solve(A, b, preconditioner=preconditioner)
        plain = solve(A, torch.ones_like(b), preconditioner=preconditioner)
        # Near 1e-310 numbers have few digits left.
        assert relative_difference(solution.x / size, plain.x) < (1e-7 if size > 1e-305 else 1e-3)


def test_strided_right_hand_sides() -> None:
    A = darcy(2, (12, 12))
    b, x0 = right_hand_side(A), right_hand_side(A, 3)
    expected = solve(A, b.mT.contiguous(), x0=x0.mT.contiguous(), preconditioner=Multigrid()).x
    torch.testing.assert_close(solve(A, b.mT, x0=x0.mT, preconditioner=Multigrid()).x, expected)
    ones = torch.ones(1, 1, 1, dtype=torch.float64).expand(2, 12, 12)
    torch.testing.assert_close(solve(A, ones).x, solve(A, ones.clone()).x)


def test_linalg_imports_torch_only() -> None:
    unwanted = "'scipy', 'lightning', 'matplotlib', 'h5py', 'sympy.physics', 'pandas'"
    code = f"import sys, pdeflow.linalg; print([m for m in ({unwanted}) if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_network_may_be_the_preconditioner() -> None:
    scale = torch.nn.Parameter(torch.tensor(2.0, dtype=torch.float64))

    class Net(Preconditioner):
        def init(self, A: LinearOperator, previous: LinearOperator | None = None) -> LinearOperator:
            return FunctionOperator(lambda x: scale * x, A.shape, A.batch, tags=A.tags)

    A = darcy(2, (9, 9))
    solution = solve(A, right_hand_side(A), preconditioner=Net())
    assert solution.converged.all()
    assert not solution.x.requires_grad
