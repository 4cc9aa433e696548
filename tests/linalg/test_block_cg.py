from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg import (
    BlockCG,
    FunctionOperator,
    Jacobi,
    LinearOperator,
    Multigrid,
    Preconditioner,
    Status,
    StencilOperator,
    diffusion_stencil,
    solve,
)

from .systems import darcy, dense, generator, helmholtz, hermitian, jumps

PRECONDITIONERS = {
    "none": None,
    "jacobi": Jacobi(),
    "multigrid": Multigrid(),
    "multigrid64": Multigrid(dtype=None),
}
OPERATORS = {
    "1D": lambda: darcy(1, (65,)),
    "2D": lambda: darcy(1, (20, 17)),
    "3D": lambda: darcy(1, (7, 8, 9)),
    "one point": lambda: darcy(1, (1, 1)),
    "two points": lambda: darcy(1, (2,)),
    "contrast 1e4": lambda: darcy(1, (20, 20), low=1.0, high=1e4),
    "hermitian": lambda: hermitian(1, 20),
    "sparse": lambda: darcy(1, (20, 17)).to_sparse(),
    "tiny": lambda: darcy(1, (9, 9)).with_parameter(1e-150 * darcy(1, (9, 9)).coefficients),
}


def several(A: LinearOperator, k: int, seed: int = 1) -> Tensor:
    return torch.randn(k, *A.shape, dtype=A.dtype, generator=generator(seed))


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("preconditioner", PRECONDITIONERS)
@pytest.mark.parametrize("k", [1, 5])
def test_the_answers_are_the_direct_ones(name: str, preconditioner: str, k: int) -> None:
    A = OPERATORS[name]()
    if name == "sparse" and "multigrid" in preconditioner:
        pytest.skip("multigrid takes stencils")
    b = several(A, k)
    solution = solve(A, b, solver=BlockCG(), preconditioner=PRECONDITIONERS[preconditioner], rtol=1e-10)
    assert solution.status.tolist() == [Status.CONVERGED] * k
    lu = scipy.sparse.linalg.splu(A.to_scipy().tocsc())
    x = lu.solve(b.flatten(1).T.numpy()).T.reshape(b.shape)
    np.testing.assert_allclose(solution.x.numpy(), x, atol=1e-6 * np.abs(x).max())
    true = torch.linalg.norm((b - A.expand(k)(solution.x)).flatten(1), dim=1)
    true = true / torch.linalg.norm(b.flatten(1), dim=1)
    assert (true <= 1e-10).all()
    torch.testing.assert_close(true, solution.residual_norm, rtol=1e-3, atol=1e-14)


def test_one_right_hand_side_is_cg() -> None:
    A = darcy(1, (20, 20))
    for M in PRECONDITIONERS.values():
        for steps in (1, 5, 9):
            options = {"preconditioner": M, "max_iterations": steps, "on_failure": "return"}
            block = solve(A, several(A, 1), solver=BlockCG(), **options)
            plain = solve(A, several(A, 1), **options)
            torch.testing.assert_close(block.x, plain.x, rtol=1e-5, atol=1e-8)
            assert torch.equal(block.iterations, plain.iterations)
            torch.testing.assert_close(block.history, plain.history, rtol=1e-4, atol=1e-12)


def test_the_block_minimises_over_the_common_krylov_space() -> None:
    A = darcy(1, (6, 5))
    b = several(A, 3)
    matrix, right = dense(A)[0], b.flatten(1).T
    space = right
    for steps in range(1, 5):
        basis = torch.linalg.qr(space)[0]
        best = basis @ torch.linalg.solve(basis.T @ matrix @ basis, basis.T @ right)
        found = solve(A, b, solver=BlockCG(), max_iterations=steps, on_failure="return").x
        torch.testing.assert_close(found.flatten(1).T, best, rtol=1e-6, atol=1e-9)
        space = torch.cat([space, matrix @ space[:, -3:]], 1)


@pytest.mark.parametrize("preconditioner", ["none", "jacobi"])
def test_fewer_iterations_than_one_by_one(preconditioner: str) -> None:
    A = darcy(1, (48, 48), low=1.0, high=100.0)
    counts = []
    for k in (1, 4, 16):
        solution = solve(A, several(A, k), solver=BlockCG(), preconditioner=PRECONDITIONERS[preconditioner])
        counts.append(int(solution.iterations.max()))
    assert counts[1] < 0.75 * counts[0]
    assert counts[2] < 0.45 * counts[0]


@pytest.mark.parametrize("preconditioner", PRECONDITIONERS)
def test_dependent_and_trivial_right_hand_sides(preconditioner: str) -> None:
    A, M = darcy(1, (16, 15)), PRECONDITIONERS[preconditioner]
    b = several(A, 7)
    b[1] = b[0]
    b[2] = -3 * b[0] + 1e-9 * b[3]
    b[4] = 0
    b[5] = 1e-200 * b[6]
    b[6] = A(several(A, 1, 9))[0]
    guess = torch.zeros_like(b)
    guess[6] = several(A, 1, 9)[0]
    solution = solve(A, b, solver=BlockCG(), preconditioner=M, x0=guess, rtol=1e-10)
    assert solution.converged.all()
    assert solution.iterations[4] == 0
    assert solution.iterations[6] == 0
    loop = torch.cat([solve(A, b[i : i + 1], preconditioner=M, rtol=1e-10).x for i in range(7)])
    size = loop.abs().flatten(1).amax(1).clamp(min=1e-290)
    assert ((solution.x - loop).abs().flatten(1).amax(1) / size).max() < 1e-7


def test_more_right_hand_sides_than_unknowns() -> None:
    A = darcy(1, (3,))
    b = several(A, 8)
    solution = solve(A, b, solver=BlockCG(), rtol=1e-12)
    torch.testing.assert_close(solution.x, torch.linalg.solve(dense(A)[0], b.T).T)
    assert solution.iterations.max() <= 2


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_bad_right_hand_sides_fail_alone(bad: float) -> None:
    A = darcy(1, (16, 15))
    b = several(A, 4)
    good = solve(A, b[1:], solver=BlockCG(), preconditioner=Multigrid())
    b[0, 3, 3] = bad
    solution = solve(A, b, solver=BlockCG(), preconditioner=Multigrid(), on_failure="return")
    assert solution.status.tolist() == [Status.NONFINITE_INPUT] + [Status.CONVERGED] * 3
    torch.testing.assert_close(solution.x[1:], good.x)
    assert torch.isnan(solution.x[0]).all()


class Minus(Preconditioner):
    def init(self, A: LinearOperator, previous: LinearOperator | None = None) -> LinearOperator:
        return FunctionOperator(lambda r: -r, A.shape, A.batch, A.dtype, A.device, A.tags, broadcasts=True)


class NotANumber(Preconditioner):
    def init(self, A: LinearOperator, previous: LinearOperator | None = None) -> LinearOperator:
        return FunctionOperator(
            lambda r: r * float("nan"), A.shape, A.batch, A.dtype, A.device, A.tags, broadcasts=True
        )


def negative() -> StencilOperator:
    A = darcy(1, (12, 12))
    return A.with_parameter(-A.coefficients)


FAILURES = {
    "indefinite": (lambda: helmholtz(30, 200.0, 1), None, {}, Status.INDEFINITE_OPERATOR),
    "negative": (negative, None, {}, Status.INDEFINITE_OPERATOR),
    "negative M": (lambda: darcy(1, (12, 12)), Minus(), {}, Status.INDEFINITE_PRECONDITIONER),
    "M of NaN": (lambda: darcy(1, (12, 12)), NotANumber(), {}, Status.BREAKDOWN),
    "too few": (lambda: darcy(1, (12, 12)), None, {"max_iterations": 3}, Status.MAX_ITERATIONS),
    "beyond rounding": (lambda: darcy(1, (12, 12)), Jacobi(), {"rtol": 1e-17}, Status.STAGNATED),
    "singular": (lambda: diffusion_stencil(jumps(1, (12, 12)), 1.0, "periodic"), None, {}, Status.SINGULAR),
}


@pytest.mark.parametrize("name", FAILURES)
def test_expected_status(name: str) -> None:
    make, M, options, expected = FAILURES[name]
    A = make()
    solution = solve(A, several(A, 3), solver=BlockCG(), preconditioner=M, on_failure="return", **options)
    assert [Status(code).name for code in solution.status.tolist()] == [expected.name] * 3
    assert torch.isfinite(solution.x).all()


def test_neumann_problems() -> None:
    A = diffusion_stencil(jumps(1, (17, 16)), 1.0, "neumann")
    b = several(A, 4)
    b -= b.mean((1, 2), keepdim=True)
    for M in PRECONDITIONERS.values():
        solution = solve(A, b, solver=BlockCG(), preconditioner=M, rtol=1e-9)
        torch.testing.assert_close(solution.x, solve(A, b, rtol=1e-10).x, rtol=1e-5, atol=1e-6)


@given(
    st.integers(1, 6), st.integers(1, 9), st.integers(1, 9), st.booleans(), st.sampled_from([None, Jacobi()])
)
@settings(max_examples=40)
def test_a_block_is_a_loop_in_any_order(k: int, n: int, m: int, complex_numbers: bool, M) -> None:
    A = hermitian(1, n, m) if complex_numbers else darcy(1, (n, m), k)
    b = several(A, k, n)
    together = solve(A, b, solver=BlockCG(), preconditioner=M, rtol=1e-11).x
    alone = torch.cat([solve(A, b[i : i + 1], preconditioner=M, rtol=1e-11).x for i in range(k)])
    order = torch.randperm(k, generator=generator(k))
    shuffled = solve(A, b[order], solver=BlockCG(), preconditioner=M, rtol=1e-11).x
    size = alone.abs().max()
    assert (together - alone).abs().max() < 1e-7 * size
    assert (shuffled - together[order]).abs().max() < 1e-7 * size


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex128])
@pytest.mark.parametrize("preconditioner", PRECONDITIONERS)
def test_runs_on_meta(dtype: torch.dtype, preconditioner: str) -> None:
    A = darcy(1, (20, 17)).to(dtype, "meta").expand(3)
    solver = BlockCG()
    M = PRECONDITIONERS[preconditioner]
    state = solver.init(A, None)
    if M is not None:
        state.M = M.init(darcy(1, (20, 17)).to(dtype, "meta")).expand(3)
    b = torch.empty(3, 20, 17, dtype=dtype, device="meta")
    s = solver.start(state, b, torch.empty_like(b), 1e-8, 0.0)
    solver.advance(state, s, 2)
    assert (s.x.device.type, s.x.shape, s.x.dtype) == ("meta", b.shape, dtype)


def test_single_precision() -> None:
    A = darcy(1, (20, 20)).to(torch.float32)
    b = several(A, 4)
    for M in (None, Jacobi(), Multigrid()):
        x = solve(A, b, solver=BlockCG(), preconditioner=M, rtol=1e-4).x
        true = torch.linalg.norm((b - A.expand(4)(x)).flatten(1), dim=1)
        assert (true <= 1.1e-4 * torch.linalg.norm(b.flatten(1), dim=1)).all()


def test_blocks_are_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    A = darcy(1, (20, 20))
    b = several(A, 6)
    whole = solve(A, b, solver=BlockCG())
    monkeypatch.setattr("pdeflow.linalg.solver.UNKNOWNS_IN_CACHE", 400)
    assert torch.equal(solve(A, b, solver=BlockCG()).iterations, whole.iterations)


def test_bad_arguments() -> None:
    with pytest.raises(InvalidInput, match=r"A\.batch"):
        solve(darcy(2, (5,)), torch.ones(2, 5, dtype=torch.float64), solver=BlockCG())
    with pytest.raises(InvalidInput, match="SYMMETRIC"):
        solve(darcy(1, (5,)).retagged(()), torch.ones(2, 5, dtype=torch.float64), solver=BlockCG())
    with pytest.raises(InvalidInput, match="check_every"):
        BlockCG(check_every=0)
