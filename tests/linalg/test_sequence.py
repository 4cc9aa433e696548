"""A sequence takes whatever ``solve`` takes: SciPy, null spaces, many right-hand sides, derivatives."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg
import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg import (
    CG,
    GCRODR,
    GMRES,
    IC,
    Auto,
    Candidate,
    DeflatedCG,
    Jacobi,
    LinearOperator,
    Multigrid,
    Preconditioner,
    Sequence,
    SolveError,
    Solver,
    Status,
    StencilOperator,
    diffusion_stencil,
    solve,
)
from pdeflow.linalg.expanded import Shared
from pdeflow.linalg.null_space import without_mean

from .systems import (
    convection,
    dense,
    diffusion,
    drifting,
    generator,
    jumps,
    least_norm,
    right_hand_side,
    same,
)

SOLVERS = {
    "CG": CG(),
    "DeflatedCG": DeflatedCG(6, 20),
    "GCRODR": GCRODR(20, 6),
    "Auto": Auto(pilot=2),
}
METHODS = [
    (name, preconditioner, refresh)
    for name in SOLVERS
    for preconditioner in (None, Jacobi(), Multigrid())
    for refresh in ("always", "frozen")
    if name != "Auto" or (preconditioner is None and refresh == "always")
]


def singular(count: int, boundary: str, batch: int = 2) -> list[StencilOperator]:
    a = jumps(batch, (8, 12))
    noise = [torch.rand(a.shape, generator=generator(i), dtype=torch.float64) for i in range(count)]
    return [diffusion_stencil(a * (1 + 0.02 * x), 1 / 8, boundary) for x in noise]


@pytest.mark.parametrize("kind", ["csr", "dense", "operator"])
@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("columns", [None, 3])
def test_scipy_is_answered_in_kind(kind: str, name: str, columns: int | None) -> None:
    chain = Sequence(GMRES() if kind == "operator" and "CG" in name else SOLVERS[name])
    for i, A in enumerate(drifting(4)):
        csr = scipy.sparse.csr_array(A.to_scipy(0))
        given = {"csr": csr, "dense": csr.toarray(), "operator": scipy.sparse.linalg.aslinearoperator(csr)}
        shape = (A.size,) if columns is None else (A.size, columns)
        b = np.random.default_rng(i).standard_normal(shape)
        solution = chain.solve(given[kind], b, x0=np.ones(shape), rtol=1e-9)
        assert isinstance(solution.x, np.ndarray)
        assert solution.x.shape == shape
        assert solution.status.tolist() == [Status.CONVERGED] * (columns or 1)
        expected = scipy.sparse.linalg.spsolve(csr.tocsc(), b)
        np.testing.assert_allclose(solution.x, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
        assert (solution.choice is None) == (name != "Auto" or isinstance(chain.solver, GMRES))
    with pytest.raises(SolveError):
        Sequence(CG()).solve(csr, b, max_iterations=1)


def test_scipy_systems_recycle() -> None:
    chain, alone = Sequence(GCRODR(20, 8)), []
    found = []
    b = np.random.default_rng(0).standard_normal(24 * 24)
    for A in drifting(4, 24):
        found.append(int(chain.solve(A.to_scipy(0), b).iterations))
        alone.append(int(solve(A.to_scipy(0), b, solver=GCRODR(20, 8)).iterations))
    assert found[0] == alone[0]
    assert sum(found[2:]) < 0.8 * sum(alone[2:])


@pytest.mark.parametrize("boundary", ["neumann", "periodic"])
@pytest.mark.parametrize(("name", "preconditioner", "refresh"), METHODS)
def test_null_spaces_of_constants(boundary: str, name: str, preconditioner, refresh) -> None:
    chain = Sequence(SOLVERS[name], preconditioner, refresh)
    for i, A in enumerate(singular(4, boundary)):
        b = without_mean(right_hand_side(A, i))
        solution = chain.solve(A, b, x0=right_hand_side(A, 9) + 30, rtol=1e-9)
        same(solution.x, least_norm(A, b))
    b = b + 1
    solution = chain.solve(A, b, rtol=1e-9, on_failure="return")
    assert solution.status.tolist() == [Status.SINGULAR] * 2
    same(solution.x, least_norm(A, b))
    # A system without a null space may follow; the projected M of the one before must not.
    definite = diffusion(jumps(2, (10, 14)))
    assert definite.shape == A.shape
    same(chain.solve(definite, b, rtol=1e-9).x, solve(definite, b, rtol=1e-10).x)


def test_auto_keeps_multigrid_for_null_spaces_and_many_right_hand_sides() -> None:
    A = singular(1, "neumann", 1)[0]
    b = without_mean(torch.randn(3, *A.shape, dtype=torch.float64, generator=generator(0)))
    auto = Auto()
    for chain in (Sequence(auto), None):
        solution = chain.solve(A, b) if chain else solve(A, b, solver=auto)
        assert solution.choice is not None
        verdicts = {trial.name: trial.verdict for trial in solution.choice.trials}
        assert "CG + Multigrid" in verdicts
        assert verdicts["CG + Multigrid"] in ("chosen", "slower", "slower: stopped")
        same(solution.x, least_norm(A, b))


class Counting(Preconditioner):
    def __init__(self) -> None:
        self.made = 0

    def init(self, A: LinearOperator, previous: LinearOperator | None = None) -> LinearOperator:
        self.made += 1
        return IC().init(A, previous)


@pytest.mark.parametrize(("name", "preconditioner", "refresh"), METHODS)
def test_several_right_hand_sides(name: str, preconditioner, refresh) -> None:
    chain = Sequence(SOLVERS[name], preconditioner, refresh)
    single = [Sequence(SOLVERS[name], preconditioner, refresh) for _ in range(3)]
    for A in drifting(4):
        b = torch.randn(3, *A.shape, dtype=torch.float64, generator=generator(1))
        found = chain.solve(A, b, rtol=1e-9)
        expected = torch.linalg.solve(dense(A)[0], b.flatten(1).T).T.reshape(b.shape)
        same(found.x, expected)
        loop = [one.solve(A, b[i : i + 1], rtol=1e-9) for i, one in enumerate(single)]
        same(torch.cat([s.x for s in loop]), expected)
        if name in ("CG", "GCRODR"):
            iterations = torch.cat([s.iterations for s in loop])
            assert ((found.iterations - iterations).abs() <= 2).all()


@pytest.mark.parametrize("refresh", ["always", "frozen"])
@pytest.mark.parametrize("pieces", [1, 4])
def test_one_preconditioner_serves_all_right_hand_sides(refresh, pieces: int, monkeypatch) -> None:
    systems = drifting(3)
    monkeypatch.setattr("pdeflow.linalg.solver.UNKNOWNS_IN_CACHE", 4 * systems[0].size // pieces)
    counting = Counting()
    chain = Sequence(CG(), counting, refresh)
    for A in systems:
        chain.solve(A, torch.randn(4, *A.shape, dtype=torch.float64, generator=generator(1)))
    assert counting.made == (1 if refresh == "frozen" else 3)
    candidate = Counting()
    chain = Sequence(Auto((Candidate(CG(), candidate),), pilot=1))
    for A in systems:
        chain.solve(A, torch.randn(4, *A.shape, dtype=torch.float64, generator=generator(1)))
    assert candidate.made == 3 + 1  # to warm up, in the pilot that all pieces share


@pytest.mark.parametrize("preconditioner", [Jacobi(), Multigrid()])
def test_what_right_hand_sides_share_runs_on_meta(preconditioner: Preconditioner) -> None:
    A = drifting(1)[0].to(device="meta")
    shared = Shared(preconditioner, A)
    M = shared.init(A.expand(3))
    for again in (shared.init(A.expand(3), M), shared.anew().init(A.expand(3), M)):
        x = again.apply(torch.empty(3, *A.shape, dtype=A.dtype, device="meta"))
        assert (x.shape, x.dtype, x.device.type) == ((3, *A.shape), A.dtype, "meta")


@pytest.mark.parametrize("solver", [GCRODR(8, 3), DeflatedCG(3, 8), CG()], ids=["gcrodr", "deflated", "cg"])
@pytest.mark.parametrize("boundary", ["dirichlet", "neumann"])
@pytest.mark.parametrize("samples", [1, 2])
def test_gradients_through_a_chain_of_two(solver: Solver, boundary: str, samples: int) -> None:
    a = jumps(1, (5, 5) if boundary == "dirichlet" else (3, 4)).requires_grad_()
    n = (3, 3) if boundary == "dirichlet" else (3, 4)
    b = torch.randn(samples, *n, dtype=torch.float64, generator=generator(3)).requires_grad_()
    options = dict(rtol=1e-13, on_failure="return")

    def answer(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        chain = Sequence(solver, Jacobi())
        right = without_mean(b) if boundary == "neumann" else b
        first = chain.solve(diffusion_stencil(a, 1.0, boundary), right, **options).x
        second = chain.solve(diffusion_stencil(1.3 * a.square(), 1.0, boundary), first, **options).x
        return first, second

    scale = 1e-3 if boundary == "neumann" else 1e-4
    assert torch.autograd.gradcheck(answer, (a, b), eps=1e-4, atol=scale * 1e-2, rtol=1e-5)


def test_gradients_are_those_of_solve_and_leave_the_chain_alone() -> None:
    systems = drifting(3, batch=2)
    b = right_hand_side(systems[0]).requires_grad_()
    for solver in (GCRODR(20, 6), Auto(pilot=1)):
        chain, plain = Sequence(solver), Sequence(solver)
        for A in systems:
            solution = chain.solve(A, b, rtol=1e-10)
            (found,) = torch.autograd.grad(solution.x.square().sum(), b)
            (expected,) = torch.autograd.grad(solve(A, b, rtol=1e-10).x.square().sum(), b)
            same(found, expected)
            other = plain.solve(A, b.detach(), rtol=1e-10)
            assert not other.x.requires_grad
            if not isinstance(solver, Auto):
                assert (solution.iterations == other.iterations).all()


def test_gradients_of_waves_that_are_not_symmetric() -> None:
    A = convection(2, 12, 20.0)
    A = A.with_parameter(A.coefficients.clone().requires_grad_())
    b = right_hand_side(A)
    chain = Sequence(GCRODR(20, 6), Jacobi(), "frozen")
    for _ in range(2):
        (found,) = torch.autograd.grad(chain.solve(A, b, rtol=1e-11).x.square().sum(), A.coefficients)
        x = solve(A, b, solver=GMRES(), rtol=1e-11).x
        (expected,) = torch.autograd.grad(x.square().sum(), A.coefficients)
        same(found, expected)


def test_bad_input_is_refused_and_does_not_touch_the_chain() -> None:
    A, B = drifting(2)
    b = right_hand_side(A)
    chain, plain = Sequence(GCRODR(20, 6)), Sequence(GCRODR(20, 6))
    chain.solve(A, b)
    plain.solve(A, b)
    for bad in (
        lambda: chain.solve("A", b),
        lambda: chain.solve(A, b.numpy()),
        lambda: chain.solve(A.to_scipy(0), b),
        lambda: chain.solve(A, b.float()),
        lambda: chain.solve(A, b, on_failure="ignore"),  # type: ignore[arg-type]
    ):
        with pytest.raises(InvalidInput):
            bad()
    assert (chain.solve(B, b).iterations == plain.solve(B, b).iterations).all()
