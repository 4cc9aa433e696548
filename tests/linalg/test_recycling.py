"""What a sequence carries along: the right subspace, fewer iterations, and never a wrong answer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg import (
    CG,
    GCRODR,
    GMRES,
    LGMRES,
    BiCGStab,
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
    solve,
)
from pdeflow.linalg.orthonormal import orthonormal_images

from .systems import (
    SPD,
    convection,
    darcy,
    dense,
    drifting,
    generator,
    right_hand_side,
    waves,
)

System = tuple[StencilOperator, Tensor]


def with_b(A: StencilOperator, seed: int) -> System:
    return A, right_hand_side(A, seed)


def wave_sequence(
    count: int, n: int = 32, k: float = 6.3, batch: int = 1, damping: float = 0.0
) -> list[System]:
    return [with_b(waves(batch, n, k, seed, damping), seed + 50) for seed in range(count)]


def diffusion_sequence(count: int, n: int = 24, batch: int = 2, contrast: float = 100.0) -> list[System]:
    return [with_b(A, i) for i, A in enumerate(drifting(count, n, batch, low=1.0, high=contrast))]


def chained(solver: Solver, systems: list[System], preconditioner=None, **options) -> list:
    chain = Sequence(solver, preconditioner)
    return [chain.solve(A, b, **options) for A, b in systems]


def mean(solutions: list) -> float:
    return float(torch.stack([s.iterations.double().mean() for s in solutions]).mean())


@pytest.mark.parametrize("k", [6.3, 12.6])
def test_waves_take_a_tenth_of_the_iterations(k: float) -> None:
    systems = wave_sequence(6, k=k)
    recycled = chained(GCRODR(40, 20), systems, rtol=1e-7)
    # GMRES(40) does not even arrive at the higher frequency.
    options = dict(rtol=1e-7, max_iterations=2000, on_failure="return")
    alone = [solve(A, b, solver=GMRES(40), **options) for A, b in systems]
    assert mean(recycled[3:]) < (0.16 if k < 7 else 0.1) * mean(alone[3:])
    assert mean(recycled[3:]) < 0.5 * mean(recycled[:1])
    for (A, b), solution, other in zip(systems, recycled, alone):
        assert torch.linalg.norm(b - A(solution.x)) <= 1e-7 * torch.linalg.norm(b)
        if other.converged.all():
            torch.testing.assert_close(solution.x, other.x, rtol=0, atol=1e-3 * float(other.x.abs().max()))


CASES = {
    "waves": (lambda: wave_sequence(4, 20, batch=2), None),
    "damped waves": (lambda: wave_sequence(4, 20, 9.0, batch=2, damping=20.0), None),
    "damped waves, jacobi": (lambda: wave_sequence(4, 20, 9.0, batch=2, damping=20.0), Jacobi()),
    "diffusion": (lambda: diffusion_sequence(4), None),
    "diffusion, jacobi": (lambda: diffusion_sequence(4), Jacobi()),
    "diffusion, multigrid": (lambda: diffusion_sequence(4), Multigrid()),
    "convection": (lambda: [with_b(convection(2, 16, 20.0 + i), i) for i in range(4)], None),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("solver", [GCRODR(20, 8), GCRODR(20, 8, torch.float32)])
def test_recycled_answers_are_the_answers(case: str, solver: Solver) -> None:
    make, preconditioner = CASES[case]
    systems = make()
    for (A, b), solution in zip(systems, chained(solver, systems, preconditioner, rtol=1e-9)):
        alone = solve(A, b, solver=solver, preconditioner=preconditioner, rtol=1e-9)
        true = torch.linalg.vector_norm((b - A(solution.x)).flatten(1), dim=1)
        assert (true <= 1e-9 * torch.linalg.vector_norm(b.flatten(1), dim=1)).all()
        torch.testing.assert_close(solution.x, alone.x, rtol=0, atol=1e-5 * float(alone.x.abs().max()))


@pytest.mark.parametrize("preconditioner", [None, Jacobi(), Multigrid()])
def test_deflated_answers_are_the_answers_and_come_sooner(preconditioner: Preconditioner | None) -> None:
    systems = diffusion_sequence(6, contrast=1000.0)
    deflated = chained(DeflatedCG(16, 64), systems, preconditioner, rtol=1e-9)
    alone = [solve(A, b, preconditioner=preconditioner, rtol=1e-9) for A, b in systems]
    for (A, b), solution, other in zip(systems, deflated, alone):
        true = torch.linalg.vector_norm((b - A(solution.x)).flatten(1), dim=1)
        assert (true <= 1e-9 * torch.linalg.vector_norm(b.flatten(1), dim=1)).all()
        torch.testing.assert_close(solution.x, other.x, rtol=0, atol=1e-5 * float(other.x.abs().max()))
    assert mean(deflated[4:]) < {type(None): 0.97, Jacobi: 0.6, Multigrid: 0.8}[type(preconditioner)] * mean(
        alone[4:]
    )


def angles(found: Tensor, true: Tensor) -> Tensor:
    """Sines of the principal angles between the true space and the one found, both as columns."""
    Q, _ = torch.linalg.qr(found)
    return torch.linalg.svdvals(true - Q @ (Q.mH @ true))


@pytest.mark.parametrize("kind", ["diffusion", "waves", "damped waves"])
def test_gcrodr_finds_the_small_eigenspace(kind: str) -> None:
    if kind == "diffusion":
        A = darcy(1, (14, 14), low=1.0, high=3.0)
    else:
        A = waves(1, 14, 8.0, damping=20.0 if kind == "damped waves" else 0.0)
    solver, state = GCRODR(30, 10), None
    for seed in range(4):
        state = solver.init(A, None, state)
        _, state = solver.solve(state, right_hand_side(A, seed), rtol=1e-10, atol=0.0, max_iterations=1000)
    assert state is not None
    assert state.space is not None
    values, vectors = torch.linalg.eig(dense(A)[0])
    smallest = vectors[:, values.abs().argsort()[:5]]
    true, _ = torch.linalg.qr(smallest)
    assert angles(state.space.U[0].mT.to(true.dtype), true).max() < 1e-2
    C = state.basis.rows[0, :10]
    torch.testing.assert_close(C.conj() @ C.mT, torch.eye(10, dtype=C.dtype), rtol=0, atol=1e-10)
    image = torch.stack([A(u.reshape(1, 14, 14)).flatten() for u in state.space.U[0]])
    torch.testing.assert_close(image, C, rtol=0, atol=1e-8)


@pytest.mark.parametrize("preconditioner", [None, Jacobi()])
def test_deflated_cg_finds_the_small_eigenspace(preconditioner: Preconditioner | None) -> None:
    A = darcy(1, (14, 14), low=1.0, high=100.0 if preconditioner else 3.0)
    solver, state = DeflatedCG(16, 64), None
    for seed in range(4):
        state = solver.init(A, preconditioner, state)
        _, state = solver.solve(state, right_hand_side(A, seed), rtol=1e-10, atol=0.0, max_iterations=1000)
    state = solver.init(A, preconditioner, state)
    assert state.W is not None
    matrix = dense(A)[0]
    root = torch.diagonal(matrix).rsqrt() if preconditioner else torch.ones(A.size, dtype=torch.float64)
    _, vectors = torch.linalg.eigh(root[:, None] * matrix * root)
    true, _ = torch.linalg.qr(root[:, None] * vectors[:, :3])
    assert angles(state.W[0].mT, true).max() < 1e-3
    energy = state.W[0] @ matrix @ state.W[0].mT
    torch.testing.assert_close(energy, torch.eye(16, dtype=torch.float64), rtol=0, atol=1e-8)


def unrelated() -> StencilOperator:
    values = convection(2, 24, 60.0).coefficients * 37.0
    values[:, 0] += 1e4 * torch.rand(2, 24, 24, generator=generator(3), dtype=torch.float64)
    return StencilOperator([(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)], values)


@pytest.mark.parametrize("solver", [GCRODR(30, 10), GCRODR(30, 10, torch.float32)])
@pytest.mark.parametrize("preconditioner", [None, Jacobi()])
def test_an_unrelated_system_costs_no_more_than_a_fresh_start(solver: Solver, preconditioner) -> None:
    systems = wave_sequence(6, 24, batch=2)
    systems.insert(3, with_b(unrelated(), 7))
    solutions = chained(solver, systems, preconditioner)
    alone = solve(*systems[3], solver=solver, preconditioner=preconditioner)
    assert (solutions[3].iterations <= alone.iterations + 2).all()
    # And the chain after it is as if it had begun there, or better.
    afresh = chained(solver, systems[4:], preconditioner)
    for one, other in zip(solutions[4:], afresh):
        assert (one.iterations <= 1.25 * other.iterations + 10).all()


@pytest.mark.parametrize("solver", [GCRODR(20, 6), DeflatedCG(6, 12), LGMRES(20, 3), CG(), BiCGStab()])
@pytest.mark.parametrize("refresh", ["always", "frozen"])
@pytest.mark.parametrize("preconditioner", [None, Jacobi(), Multigrid()])
def test_a_failed_sample_hands_nothing_on(solver: Solver, refresh, preconditioner) -> None:
    systems = diffusion_sequence(4, 12, batch=3)
    bad = StencilOperator(systems[1][0].offsets, systems[1][0].coefficients.clone(), tags=SPD)
    bad.coefficients[1, 0, 2, 2] = float("nan")
    systems[1] = bad, systems[1][1]
    b = systems[2][1].clone()
    b[0, 3, 3] = float("inf")
    systems[2] = systems[2][0], b
    solutions = chained_with(Sequence(solver, preconditioner, refresh), systems)
    bad_one, fine = Status.NONFINITE_INPUT, Status.CONVERGED
    assert solutions[1].status.tolist() == [fine, bad_one, fine]
    assert solutions[2].status.tolist() == [bad_one, fine, fine]
    assert solutions[3].status.tolist() == [fine] * 3
    A, b = systems[3]
    torch.testing.assert_close(solutions[3].x, solve(A, b).x, rtol=0, atol=1e-6 * float(solutions[3].x.max()))


def chained_with(chain: Sequence, systems: list[System]) -> list:
    return [chain.solve(A, b, on_failure="return") for A, b in systems]


@pytest.mark.parametrize("solver", [GCRODR(20, 6), DeflatedCG(6, 12), LGMRES(20, 3), CG()])
@pytest.mark.parametrize("refresh", ["always", "frozen"])
def test_another_batch_shape_or_dtype_starts_afresh(solver: Solver, refresh) -> None:
    chain = Sequence(solver, Jacobi(), refresh)
    for A in (
        darcy(2, (12, 12)),
        darcy(3, (12, 12)),
        darcy(3, (9, 11)),
        darcy(3, (9, 11)).to(torch.float32),
        darcy(3, (9, 11)),
    ):
        rtol = 1e-8 if A.dtype == torch.float64 else 1e-4
        assert chain.solve(A, right_hand_side(A), rtol=rtol).converged.all()


def test_pieces_of_one_batch_share_memory_and_no_knowledge(monkeypatch: pytest.MonkeyPatch) -> None:
    systems = wave_sequence(3, 16, batch=4)
    for solver in (GCRODR(20, 6), LGMRES(20, 3)):
        whole = [solve(A, b, solver=solver) for A, b in systems]
        chain = chained(solver, systems)
        monkeypatch.setattr("pdeflow.linalg.solver.UNKNOWNS_IN_CACHE", 256)
        cut = [solve(A, b, solver=solver) for A, b in systems]
        cut_chain = chained(solver, systems)
        monkeypatch.undo()
        for one, other in zip((*whole, *chain), (*cut, *cut_chain)):
            assert ((one.iterations - other.iterations).abs() <= 2).all()
            torch.testing.assert_close(one.x, other.x, rtol=0, atol=1e-4 * float(one.x.abs().max()))
    definite = diffusion_sequence(3, 12, batch=4)
    monkeypatch.setattr("pdeflow.linalg.solver.UNKNOWNS_IN_CACHE", 144)
    for A, b in definite:
        one, other = solve(A, b, solver=DeflatedCG(6, 12)), solve(A, b)
        # Some processors round so that there are 144 steps and 140.
        assert ((one.iterations - other.iterations).abs() <= 1 + 0.05 * other.iterations).all()


class Counting(Preconditioner):
    def __init__(self) -> None:
        self.made = 0

    def init(self, A: LinearOperator, previous: LinearOperator | None = None) -> LinearOperator:
        self.made += 1
        return Jacobi().init(A, previous)


def test_refresh() -> None:
    systems = diffusion_sequence(4, 12)
    for refresh, expected in (("always", 4), ("frozen", 1)):
        counting = Counting()
        chain = Sequence(CG(), counting, refresh)  # type: ignore[arg-type]
        for A, b in systems:
            chain.solve(A, b)
        assert counting.made == expected
    with pytest.raises(InvalidInput, match="refresh"):
        Sequence(CG(), None, "sometimes")  # type: ignore[arg-type]


def test_a_sequence_checks_like_solve() -> None:
    chain = Sequence(CG())
    A = darcy(2, (9, 9))
    b = right_hand_side(A)
    with pytest.raises(InvalidInput, match="rtol"):
        chain.solve(A, b, rtol=-1.0)
    with pytest.raises(InvalidInput, match=r"x0\.shape"):
        chain.solve(A, b, x0=torch.zeros(2, 3))
    with pytest.raises(InvalidInput, match="SYMMETRIC"):
        chain.solve(convection(1, 9), right_hand_side(convection(1, 9)))
    with pytest.raises(SolveError):
        chain.solve(A, b, max_iterations=1)
    assert chain.solve(A, b).converged.all()


def test_orthonormal_images_drop_what_depends_on_others() -> None:
    vectors = torch.randn(3, 6, 40, generator=generator(0), dtype=torch.complex128)
    vectors[0, 3] = vectors[0, 1] + 1e-14 * vectors[0, 0]
    vectors[1, 2] = 0
    vectors[2, 1, 5] = float("nan")
    image = 1e60 * vectors.flip(2)
    C, (turned,) = orthonormal_images(image, [vectors])
    assert (torch.linalg.vector_norm(C, dim=2) > 0).sum(1).tolist() == [5, 5, 0]
    alive = (torch.linalg.vector_norm(C, dim=2) > 0).to(torch.complex128)
    torch.testing.assert_close(C.conj() @ C.mT, torch.diag_embed(alive), rtol=0, atol=1e-13)
    torch.testing.assert_close(1e60 * turned.flip(2), C, rtol=0, atol=1e-12)
    left = image[0] - (image[0] @ C[0].mH) @ C[0]
    assert left.abs().max() < 1e-10 * 1e60


@pytest.mark.parametrize("solver", [GCRODR(restart=20, recycle=6), DeflatedCG(recycle=6, window=30)])
def test_a_grid_of_another_shape_and_the_same_size_starts_afresh(solver: Solver) -> None:
    first, turned = darcy(1, (16, 24)), darcy(1, (24, 16))
    b = right_hand_side(turned)
    chain = Sequence(solver)
    chain.solve(first, right_hand_side(first))
    after = chain.solve(turned, b)
    assert torch.equal(after.x, solve(turned, b, solver=solver).x)
    assert not torch.equal(chain.solve(turned, b).iterations, after.iterations)
