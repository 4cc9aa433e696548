from __future__ import annotations

import time
from dataclasses import dataclass

import pytest
import scipy.sparse.linalg
import torch

from pdeflow.errors import InvalidInput
from pdeflow.linalg import (
    CG,
    GCRODR,
    GMRES,
    MINRES,
    AlgebraicMultigrid,
    Auto,
    BiCGStab,
    Candidate,
    FastPoisson,
    Frozen,
    FunctionOperator,
    Jacobi,
    Multigrid,
    NestedDissection,
    Sequence,
    SolveError,
    Solver,
    SparseDirect,
    StencilOperator,
    Tag,
    default_method,
    solve,
)
from pdeflow.linalg.candidates import default_candidates, preparation_seconds
from pdeflow.linalg.expanded import Shared
from pdeflow.linalg.pilot import LOOK

from .systems import HERMITIAN, darcy, dense, diffusion, helmholtz, right_hand_side, waves


@dataclass(frozen=True)
class Slow(CG):
    """CG that takes ``first`` seconds for the first system of a sequence and ``later`` for the others."""

    first: float = 0.0
    later: float = 0.0

    def init(self, A, preconditioner=None, previous=None):
        time.sleep(self.first if previous is None else self.later)
        return super().init(A, preconditioner, previous)


def names(solution) -> dict[str, str]:
    return {trial.name: trial.verdict for trial in solution.choice.trials}


def test_the_faster_one_is_chosen_and_the_evidence_shown() -> None:
    A = darcy(1, (12, 12))
    b = right_hand_side(A)
    auto = Auto((Candidate(Slow(first=0.3, later=0.3)), Candidate(CG(), Jacobi())), pilot=1)
    solution = solve(A, b, solver=auto)
    assert solution.choice is not None
    assert solution.choice.name == "CG + Jacobi"
    assert [trial.verdict for trial in solution.choice.trials] == ["chosen", "slower: stopped"]
    assert [trial.systems for trial in solution.choice.trials] == [1, 1]
    assert solution.choice.trials[1].seconds > 0.3
    assert "CG + Jacobi" in str(solution.choice)
    expected = torch.linalg.solve(dense(A), b.flatten(1)).reshape(b.shape)
    torch.testing.assert_close(solution.x, expected, rtol=1e-5, atol=1e-7 * expected.abs().max().item())


def test_what_pays_only_later_in_the_sequence_is_chosen_after_the_pilot() -> None:
    later, even = Candidate(Slow(first=0.6, later=0.0)), Candidate(Slow(first=0.2, later=0.2))
    chain = Sequence(Auto((even, later), pilot=2))
    chosen = []
    for seed in range(4):
        A = darcy(1, (10, 10), seed)
        solution = chain.solve(A, right_hand_side(A))
        assert solution.converged.all()
        chosen.append(solution.choice.name)  # type: ignore[union-attr]
    assert chosen == [even.name, later.name, later.name, later.name]


def test_the_pilot_ends() -> None:
    calls = []

    @dataclass(frozen=True)
    class Counting(CG):
        label: str = ""

        def solve(self, state, b, x0=None, **options):
            calls.append(self.label)
            return super().solve(state, b, x0, **options)

    chain = Sequence(Auto((Candidate(Counting(label="one")), Candidate(Counting(label="two"))), pilot=2))
    for seed in range(2):
        A = darcy(2, (5, 5), seed)
        chain.solve(A, right_hand_side(A))
    assert {"one", "two"} == set(calls)
    del calls[:]
    for seed in range(2, 5):
        A = darcy(2, (5, 5), seed)
        chain.solve(A, right_hand_side(A))
    assert len(calls) == 3
    assert len(set(calls)) == 1


def test_one_that_fails_is_out() -> None:
    A = helmholtz(30, 1e4)  # negative definite, which CG sees in its first step
    solution = solve(A, right_hand_side(A), solver=Auto((Candidate(CG()), Candidate(GMRES())), pilot=1))
    assert solution.converged.all()
    assert names(solution) == {"GMRES": "chosen", "CG": "INDEFINITE_OPERATOR"}


def test_one_that_does_not_suit_the_operator_is_out() -> None:
    A = darcy(2, (9, 9))
    F = FunctionOperator(A.apply, A.shape, A.batch, tags=HERMITIAN)
    solution = solve(F, right_hand_side(A), solver=Auto((Candidate(CG(), Multigrid()), Candidate(CG()))))
    assert "StencilOperator" in names(solution)["CG + Multigrid"]
    with pytest.raises(InvalidInput, match="StencilOperator"):
        solve(F, right_hand_side(A), solver=Auto((Candidate(CG(), Multigrid()),)))


def test_where_all_fail_the_best_answer_comes_with_its_status() -> None:
    A = darcy(2, (30, 30))
    auto = Auto((Candidate(CG()), Candidate(CG(), Jacobi())))
    with pytest.raises(SolveError, match="MAX_ITERATIONS"):
        solve(A, right_hand_side(A), solver=auto, max_iterations=3)
    chain = Sequence(auto)
    for _ in range(2):  # and the next system is given another chance
        solution = chain.solve(A, right_hand_side(A), max_iterations=3, on_failure="return")
        assert not solution.converged.any()
        assert solution.choice.name == "none"  # type: ignore[union-attr]
    assert chain.solve(A, right_hand_side(A)).converged.all()


def test_after_a_failure_of_the_chosen_one_there_is_another_pilot() -> None:
    good, bad = darcy(2, (30,)), helmholtz(30, 200.0)
    good = StencilOperator(good.offsets, good.coefficients, tags=HERMITIAN)
    bad = StencilOperator(bad.offsets, bad.coefficients, tags=HERMITIAN)

    @dataclass(frozen=True)
    class SlowGMRES(GMRES):
        def solve(self, state, b, x0=None, **options):
            time.sleep(0.3)
            return super().solve(state, b, x0, **options)

    chain = Sequence(Auto((Candidate(CG()), Candidate(SlowGMRES())), pilot=1))
    assert chain.solve(good, right_hand_side(good)).choice.name == "CG"  # type: ignore[union-attr]
    first = chain.solve(bad, right_hand_side(bad), on_failure="return")
    assert not first.converged.any()
    second = chain.solve(bad, right_hand_side(bad))
    assert second.converged.all()
    assert names(second) == {"SlowGMRES": "chosen", "CG": "INDEFINITE_OPERATOR"}


def test_pieces_of_a_large_batch_are_a_pilot_too() -> None:
    A = darcy(24, (120, 120))
    candidates = (Candidate(CG(), Jacobi()), Candidate(CG(), Multigrid()))
    solution = solve(A, right_hand_side(A), solver=Auto(candidates, pilot=1))
    assert solution.converged.all()
    assert solution.choice.name == "CG + Multigrid"  # type: ignore[union-attr]


@pytest.mark.parametrize(("batch", "pieces"), [(1, [1]), (5, [5]), (20, [8, 8, 4])])
def test_the_pilot_is_held_on_one_system_and_then_on_a_few(batch: int, pieces: list[int]) -> None:
    seen: list[int] = []

    @dataclass(frozen=True)
    class Seen(CG):
        def solve(self, state, b, x0=None, **options):
            seen.append(b.shape[0])
            return super().solve(state, b, x0, **options)

    A = darcy(batch, (20, 20))
    b = right_hand_side(A)
    bad = b.clone()
    bad[0] = float("nan")  # tells nothing about who is fast
    for right in (b, bad):
        seen.clear()
        auto = Auto((Candidate(Seen(), Multigrid()),), pilot=2)
        solution = solve(A, right, solver=auto, on_failure="return")
        assert solution.converged.tolist() == torch.isfinite(right).flatten(1).all(1).tolist()
        # The first ones are warm-up, look and race.
        assert seen[-len(pieces) :] == pieces
        assert set(seen) == {1, *pieces}


@pytest.mark.parametrize(
    ("make", "solver"),
    [
        (lambda: darcy(2, (20, 20)), CG),
        (lambda: darcy(2, (20, 20)).to_sparse(), CG),
        (lambda: StencilOperator(darcy(1, (9,)).offsets, darcy(1, (9,)).coefficients), GCRODR),
        (lambda: StencilOperator(darcy(1, (9,)).offsets, darcy(1, (9,)).coefficients), BiCGStab),
        (lambda: waves(2, 20, 8.0), MINRES),
        (lambda: FunctionOperator(lambda x: 2 * x, (9,), 1, tags=[Tag.SYMMETRIC]), CG),
    ],
)
def test_default_candidates_suit_the_operator(make, solver: type[Solver]) -> None:
    A = make()
    assert any(isinstance(candidate.solver, solver) for candidate in default_candidates(A))
    assert solve(A, torch.ones(A.batch, *A.shape, dtype=A.dtype), solver=Auto()).converged.all()


def damped() -> StencilOperator:
    """-Laplace u - 40 (1 + i / 10) u on the unit square."""
    A = diffusion(torch.ones(2, 14, 14, dtype=torch.float64))
    values = A.coefficients.to(torch.complex128)
    values[:, A.offsets.index((0, 0))] -= 40 * (1 + 0.1j)
    return StencilOperator(A.offsets, values)


@pytest.mark.parametrize(
    "make", [lambda: helmholtz(24, 0.0), lambda: helmholtz(24, 300.0).retagged(HERMITIAN), damped]
)
def test_fast_transforms_come_first_where_they_are_exact(make) -> None:
    A = make()
    first = default_candidates(A)[0]
    assert first.preconditioner == FastPoisson(dtype=None)
    solution = solve(
        A, right_hand_side(A), solver=first.solver, preconditioner=first.preconditioner, rtol=1e-10
    )
    assert solution.iterations.max() == 1


def stirred(wind: str) -> StencilOperator:
    """-Laplace u + w . grad u - (40 + 4i) u by central differences: the diagonal does not see the wind w."""
    A = damped()
    values, x = A.coefficients.clone(), torch.linspace(0, 1, 12, dtype=torch.float64)
    speeds = {"constant": 30 + 0 * x, "shear": 30 * x, "strain": 60 * (x - 0.5)[:, None]}
    for step in (-1, 1):
        values[:, A.offsets.index((step, 0))] += step * speeds[wind] * 13 / 2
    return StencilOperator(A.offsets, values)


def turned() -> StencilOperator:
    """A Hermitian stencil, the same at every node, whose couplings along one axis have a phase."""
    A = damped()
    values = A.coefficients.real.to(torch.complex128)
    turn = torch.polar(torch.tensor(1.0, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64))
    for step, factor in ((-1, turn), (1, turn.conj())):
        values[:, A.offsets.index((0, step))] *= factor
    return StencilOperator(A.offsets, values, tags=HERMITIAN)


def with_other_neighbours(*more: tuple[int, int]) -> StencilOperator:
    """A stencil with constant coefficients and couplings that are not to the nearest nodes along an axis."""
    A = damped()
    extra = torch.full((A.batch, len(more), *A.shape), -9.0, dtype=A.dtype)
    return StencilOperator((*A.offsets, *more), torch.cat([A.coefficients, extra], dim=1))


def one_sided() -> StencilOperator:
    """i u + u_x by backward differences."""
    values = torch.empty(1, 2, 20, dtype=torch.complex128)
    values[:, 0], values[:, 1] = 20 + 1j, -20
    return StencilOperator([(0,), (-1,)], values)


@pytest.mark.parametrize(
    "make",
    [
        lambda: darcy(2, (20, 20)),
        lambda: waves(2, 20, 8.0),
        lambda: helmholtz(9, 0.0, 1).to(device="meta"),
        lambda: stirred("constant"),
        lambda: stirred("shear"),
        lambda: stirred("strain"),
        turned,
        lambda: with_other_neighbours((1, 1), (-1, -1)),
        lambda: with_other_neighbours((2, 0), (-2, 0)),
        one_sided,
    ],
)
def test_fast_transforms_do_not_come_first_where_they_are_not(make) -> None:
    assert FastPoisson(dtype=None) not in [
        candidate.preconditioner for candidate in default_candidates(make())
    ]


def test_the_default_method_of_a_varying_wind_is_not_fast_transforms() -> None:
    """Leaving the wind out costs 26 iterations here, the elimination one."""
    A = stirred("strain")
    method = default_method(A)
    assert isinstance(method.preconditioner, NestedDissection)
    b = right_hand_side(A)
    assert solve(A, b, solver=method.solver, preconditioner=method.preconditioner).iterations.max() <= 2
    assert solve(A, b, solver=GMRES(), preconditioner=FastPoisson(dtype=None)).iterations.max() > 10


def test_what_carries_over_is_given_time_also_inside_a_wrapper() -> None:
    frozen = Candidate(CG(), Frozen(Jacobi()))
    A = darcy(1, (5, 5))
    around = Auto((frozen,)).adapted(A, lambda M: Shared(M, A)).candidates[0]
    assert frozen.carries is True
    assert around.carries is True
    assert Candidate(CG(), Jacobi()).carries is False
    assert Candidate(Slow()).carries is None


def test_a_bad_candidate_costs_little_more_than_a_good_one() -> None:
    taken = []

    @dataclass(frozen=True)
    class Hopeless(CG):
        def solve(self, state, b, x0=None, **options):
            solution, state = super().solve(state, 1e3 * b, x0, **{**options, "rtol": 0.0, "atol": 1e-300})
            taken.append(int(solution.iterations.max()))
            return solution, state

    A = darcy(2, (40, 40))
    auto = Auto((Candidate(Hopeless(check_every=1)), Candidate(CG(check_every=1), Jacobi())))
    solution = solve(A, right_hand_side(A), solver=auto)
    assert solution.choice is not None
    assert solution.choice.name.startswith("CG(check_every=1)")
    assert names(solution)["Hopeless(check_every=1)"] == "slower: stopped"
    assert taken[1] == LOOK  # after the warm-up
    assert sum(taken) < 30 * int(solution.iterations.max())


def test_a_candidate_with_more_time_starts_again() -> None:
    """What its first look has found must not help it."""
    seen = []

    @dataclass(frozen=True)
    class Carrying(CG):
        def init(self, A, preconditioner=None, previous=None):
            seen.append(previous)
            return super().init(A, preconditioner, previous)

    A = darcy(1, (30, 30))
    solve(A, right_hand_side(A), solver=Auto((Candidate(Carrying()), Candidate(CG(), Jacobi()))))
    assert len(seen) >= 2
    assert all(previous is None for previous in seen)


@pytest.mark.parametrize("make", [lambda: darcy(2, (40, 40)), lambda: darcy(2, (20, 20)).to_sparse()])
def test_factors_are_not_tried_where_they_take_too_long(make) -> None:
    A = make()
    direct, quick = Candidate(GMRES(), Frozen(SparseDirect())), Candidate(CG(), Jacobi())
    assert preparation_seconds(quick, A) == 0
    seconds = preparation_seconds(direct, A)
    assert 0 < seconds < 1
    start = time.perf_counter()
    for i in range(A.batch):
        scipy.sparse.linalg.splu(A.to_scipy(i).tocsc())
    assert seconds / 10 < time.perf_counter() - start < 50 * seconds + 0.5  # a busy machine is slower

    multigrid = Candidate(CG(), Frozen(AlgebraicMultigrid()))
    assert 0 < preparation_seconds(multigrid, A) < 1

    @dataclass(frozen=True)
    class Refused(SparseDirect):
        def init(self, A, previous=None):
            raise AssertionError("factored")

    A = darcy(1, (300, 300))
    tried = Auto((Candidate(CG(), Multigrid()), Candidate(CG(), Frozen(Refused()))), pilot=1)
    assert solve(A, right_hand_side(A), solver=tried).choice.name == "CG + Multigrid"  # type: ignore[union-attr]


def test_recycling_is_not_tried_with_a_preconditioner_that_takes_too_long_by_itself() -> None:
    made = []

    @dataclass(frozen=True)
    class Weary(Jacobi):
        def init(self, A, previous=None):
            inner = super().init(A, previous)

            def act(x):
                time.sleep(0.02)
                return inner.apply(x)

            return FunctionOperator(act, A.shape, A.batch, tags=A.tags)

    @dataclass(frozen=True)
    class Recycler(GCRODR):
        def init(self, A, preconditioner=None, previous=None):
            made.append(preconditioner)
            return super().init(A, preconditioner, previous)

    A = darcy(2, (30, 30))
    tried = (Candidate(CG(), Multigrid()), Candidate(GMRES(), Weary()), Candidate(Recycler(), Weary()))
    solution = solve(A, right_hand_side(A), solver=Auto(tried, pilot=1))
    assert solution.choice is not None
    assert solution.choice.name == "CG + Multigrid"
    assert names(solution)["Recycler + Weary"] == "slower: stopped"
    assert made == []


def mixed(order: list[float]) -> StencilOperator:
    """Some definite, some not: the Laplacian less these numbers."""
    parts = [helmholtz(30, shift, 1).coefficients for shift in order]
    return StencilOperator(helmholtz(30, 0.0, 1).offsets, torch.cat(parts), tags=[Tag.SYMMETRIC])


@pytest.mark.parametrize("order", [[0.0, 300.0], [300.0, 0.0], [0.0] * 8 + [300.0] * 8, [0.0] * 20 + [300.0]])
def test_a_batch_of_several_kinds_is_solved_by_one_that_suits_all(order: list[float]) -> None:
    A = mixed(order)
    b = right_hand_side(A)
    auto = Auto((Candidate(CG(), Multigrid()), Candidate(MINRES(), Jacobi())))
    chain = Sequence(auto)
    assert solve(A, b, solver=auto).converged.all()
    for _ in range(3):
        assert chain.solve(A, b, on_failure="return").converged.all()


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_systems_with_nothing_to_do_decide_nothing(value: float) -> None:
    A = darcy(1, (120, 120))
    chain = Sequence(Auto((Candidate(CG(), Jacobi()), Candidate(CG(), Multigrid()))))
    for _ in range(4):
        chain.solve(A, torch.full((1, 120, 120), value, dtype=torch.float64), on_failure="return")
    for seed in range(4):
        solution = chain.solve(A, right_hand_side(A, seed))
    assert solution.choice.name == "CG + Multigrid"  # type: ignore[union-attr]


def test_the_chosen_one_is_left_where_the_operators_change_their_kind() -> None:
    chain = Sequence(Auto((Candidate(CG(), Multigrid()), Candidate(GMRES(), Multigrid())), pilot=1))
    A = darcy(1, (30, 30))
    assert chain.solve(A, right_hand_side(A)).converged.all()
    B = StencilOperator(A.offsets, A.coefficients * torch.linspace(1, 2, 30, dtype=torch.float64))
    solution = chain.solve(B, right_hand_side(A))
    assert solution.choice.name == "GMRES + Multigrid"  # type: ignore[union-attr]


def test_arguments() -> None:
    A = darcy(1, (5, 5))
    with pytest.raises(InvalidInput, match="pilot"):
        Auto(pilot=0)
    with pytest.raises(InvalidInput, match="preconditioner"):
        solve(A, right_hand_side(A), solver=Auto(), preconditioner=Jacobi())
    assert Candidate(GMRES(restart=7), Jacobi()).name == "GMRES(restart=7) + Jacobi"
