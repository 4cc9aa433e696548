"""The choice of a method by measuring."""

from __future__ import annotations

import dataclasses
import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg.algebraic_multigrid import AlgebraicMultigrid
from pdeflow.linalg.arguments import check_count, check_instance
from pdeflow.linalg.bicgstab import BiCGStab
from pdeflow.linalg.cg import CG
from pdeflow.linalg.deflated_cg import DeflatedCG
from pdeflow.linalg.expanded import Shared
from pdeflow.linalg.fast_poisson import FastPoisson
from pdeflow.linalg.frozen import Frozen
from pdeflow.linalg.gcrodr import GCRODR
from pdeflow.linalg.gmres import GMRES
from pdeflow.linalg.incomplete_cholesky import IC
from pdeflow.linalg.incomplete_lu import ILU
from pdeflow.linalg.jacobi import Jacobi
from pdeflow.linalg.lgmres import LGMRES
from pdeflow.linalg.minres import MINRES
from pdeflow.linalg.multigrid import Multigrid
from pdeflow.linalg.null_space import Projected
from pdeflow.linalg.operator import LinearOperator, Tag
from pdeflow.linalg.preconditioner import Preconditioner
from pdeflow.linalg.solution import Choice, Solution, Status, Trial
from pdeflow.linalg.solver import Solver, check_method
from pdeflow.linalg.sparse import SparseOperator
from pdeflow.linalg.sparse_direct import SparseDirect
from pdeflow.linalg.stencil import StencilOperator

PROBE = 30  # iterations of a first look, from which the time of an iteration is taken
PATIENCE = 3  # a candidate may take that many times as long as the best one so far
PATIENCE_AT_FIRST = 5  # the same on the first system, where caches are cold
PATIENCE_WITH_NEWCOMERS = 20  # and for those who make there what later systems use again
CARRY = (GCRODR, DeflatedCG, Frozen)
# Unknowns up to which a sparse factorisation is tried: beyond, its fill alone takes longer than the others.
LARGEST_DIRECT = {1: 1_000_000, 2: 150_000, 3: 15_000}


@dataclass(frozen=True)
class Candidate:
    """A solver with its preconditioner."""

    solver: Solver
    preconditioner: Preconditioner | None = None

    def __post_init__(self) -> None:
        check_instance("solver", self.solver, Solver, "CG() or GMRES()")
        check_method(self.solver, self.preconditioner)

    @property
    def name(self) -> str:
        """Both, with the settings that are not the default ones."""
        return " + ".join(_named(part) for part in (self.solver, self.preconditioner) if part is not None)


def _bare(part: Any) -> Any:
    """A preconditioner without what a null space or a shared operator has put around it."""
    while isinstance(part, (Projected, Shared)):
        part = part.preconditioner
    return part


def _named(part: Any) -> str:
    part = _bare(part)
    changed = []
    for f in dataclasses.fields(part) if dataclasses.is_dataclass(part) else ():
        value = getattr(part, f.name)
        if isinstance(value, Preconditioner):
            changed.append(_named(value))
        elif value != f.default:
            changed.append(f"{f.name}={value}")
    return type(part).__name__ + (f"({', '.join(changed)})" if changed else "")


@dataclass
class Record:
    """What has been seen of a candidate, and its state from the latest system."""

    seconds: float = 0.0
    systems: int = 0
    iterations: float = 0.0
    latest: float = float("inf")  # seconds for the latest system
    out: str = ""
    state: Any = None


@dataclass
class AutoState:
    """The records, the systems of the pilot so far, and, once it is over, the chosen candidate."""

    A: LinearOperator
    candidates: tuple[Candidate, ...]
    records: list[Record]
    seen: int = 0
    chosen: int | None = None
    choice: Choice | None = None


@dataclass(frozen=True)
class Auto(Solver):
    """Solves the first systems of a sequence by several methods and goes on with the fastest.

    Every candidate solves the system at hand to the asked tolerance, from set-up to the certified residual,
    one after the other; one that fails, or is much slower than the best so far, is out. After ``pilot``
    systems (of a :class:`~pdeflow.linalg.sequence.Sequence`, or pieces of a large batch) the one that was
    fastest on the latest of them is chosen, so that what recycling and frozen factors save counts, and what
    is planned or compiled once does not. Which was chosen, and what all of them took, stands in
    ``Solution.choice``; where recycling does not pay it is not chosen. Where the chosen one fails, the next
    system begins another pilot.

    A measured choice depends on the machine and on chance: where runs must agree to the last bit, name the
    method that ``Solution.choice`` shows.

    Parameters
    ----------
    candidates
        What to try; by default the methods that suit the tags and the kind of the operator.
    pilot
        Systems to try them on, at least 1.

    Raises
    ------
    InvalidInput
        For a pilot below 1, a candidate that is no Candidate, none that suits A, or a preconditioner beside
        those of the candidates.
    """

    candidates: tuple[Candidate, ...] = field(default=())
    pilot: int = 3

    def __post_init__(self) -> None:
        check_count("pilot", self.pilot)
        example = "candidates=(Candidate(CG(), Multigrid()), Candidate(MINRES()))"
        if not isinstance(self.candidates, (tuple, list)):
            raise InvalidInput("candidates", type(self.candidates).__name__, "a tuple", f"As in {example}.")
        for k, candidate in enumerate(self.candidates):
            check_instance(f"candidates[{k}]", candidate, Candidate, example)

    def init(
        self, A: LinearOperator, preconditioner: Preconditioner | None = None, previous: Any = None
    ) -> AutoState:
        """Go on with what was chosen, or with the pilot; nothing is prepared before there is a b."""
        if preconditioner is not None:
            hint = "Leave it out, or pass candidates=(Candidate(solver, preconditioner), ...)."
            raise InvalidInput("preconditioner", type(preconditioner).__name__, "None with Auto", hint)
        candidates = self.candidates or default_candidates(A)
        if isinstance(previous, AutoState) and _names(previous.candidates) == _names(candidates):
            # Their names are the same, but what stands around the preconditioners may be of this A.
            return dataclasses.replace(previous, A=A, candidates=candidates)
        return AutoState(A, candidates, [Record() for _ in candidates])

    def adapted(self, A: LinearOperator, change: Callable[[Preconditioner], Preconditioner]) -> Auto:
        """With ``change`` made to the preconditioner of every candidate; the default ones are those of A."""
        candidates = tuple(
            candidate
            if candidate.preconditioner is None
            else Candidate(candidate.solver, change(candidate.preconditioner))
            for candidate in self.candidates or default_candidates(A)
        )
        return dataclasses.replace(self, candidates=candidates)

    def forget(self, state: AutoState) -> AutoState:
        """The choice, without what the candidates learned of their systems."""
        for candidate, record in zip(state.candidates, state.records):
            if record.state is not None:
                record.state = candidate.solver.forget(record.state)
        return state

    def solve(
        self,
        state: AutoState,
        b: Tensor,
        x0: Tensor | None = None,
        *,
        rtol: float,
        atol: float,
        max_iterations: int | None,
    ) -> tuple[Solution, AutoState]:
        """Solve by the chosen candidate, or by all that are left in the pilot."""
        options = {"rtol": rtol, "atol": atol}
        if state.chosen is not None:
            solution, _, _ = _run(state, state.chosen, b, x0, max_iterations, options)
            choice = state.choice
            if bool((_failed(solution) & (solution.status != Status.SINGULAR)).any()):
                state = self.init(state.A)  # the next system is the first of another pilot
            return dataclasses.replace(solution, choice=choice), state
        if all(record.out for record in state.records):
            state = self.init(state.A)
        best: Solution | None = None
        fastest = float("inf")
        # The fastest so far goes first: the others have to keep up with it.
        for i in sorted(range(len(state.records)), key=lambda i: state.records[i].latest):
            record = state.records[i]
            if record.out:
                continue
            solution = self._try(state, i, b, x0, max_iterations, options, fastest)
            if solution is None:
                continue
            if not record.out and record.latest < fastest:
                best, fastest = solution, record.latest
            elif best is None or (fastest == float("inf") and _better(solution, best)):
                best = solution
        if best is None:
            tried = ", ".join(f"{c.name}: {r.out}" for c, r in zip(state.candidates, state.records))
            raise InvalidInput("A", type(state.A).__name__, "an operator that a candidate suits", tried)
        state.seen += 1
        self._conclude(state, fastest)
        return dataclasses.replace(best, choice=state.choice), state

    def _try(
        self,
        state: AutoState,
        i: int,
        b: Tensor,
        x0: Tensor | None,
        limit: int | None,
        options: dict[str, float],
        fastest: float,
    ) -> Solution | None:
        """One candidate on the system at hand, as long as it may still be worth it."""
        record = state.records[i]
        earlier = record.state
        try:
            state.candidates[i].solver.check(state.A)
            if state.seen == 0:
                _warm_up(state, i, b, options)
            # Where nothing has converged yet there is nothing to be slower than.
            probe = None if fastest == float("inf") else PROBE if limit is None else min(PROBE, limit)
            solution, made, spent = _run(state, i, b, x0, limit if probe is None else probe, options)
        except InvalidInput as error:
            record.out = str(error).splitlines()[0]
            return None
        if probe is not None and probe != limit and bool((solution.status == Status.MAX_ITERATIONS).any()):
            more = int(probe * PATIENCE * fastest / max(spent, 1e-9))
            if more > probe:
                # As if the first look had not been: it must not recycle what that has found.
                record.state = earlier
                most = more if limit is None else min(more, limit)
                solution, again, spent = _run(state, i, b, x0, most, options)
                made = max(made, again)  # what all right-hand sides share was made by the first look
            if bool((solution.status == Status.MAX_ITERATIONS).any()):
                record.out = "slower: stopped"
        spent += made
        record.latest = spent
        record.seconds += spent
        record.systems += b.shape[0]
        record.iterations += float(solution.iterations.sum())
        if not record.out and bool(_failed(solution).any()):
            worst = Status(int(solution.status[_failed(solution)].max()))
            record.out = worst.name
        if record.out:
            record.state = None
        return solution

    def _conclude(self, state: AutoState, fastest: float) -> None:
        """Rank the candidates; drop the slow ones, and choose where the pilot is over."""
        left = [i for i, record in enumerate(state.records) if not record.out]
        if left:
            ranked = sorted(left, key=lambda i: state.records[i].latest)
            for i in ranked[1:]:
                if state.records[i].latest > fastest * _patience(state, i):
                    state.records[i].out, state.records[i].state = "slower", None
            if state.seen >= self.pilot:
                state.chosen = ranked[0]
                for i in ranked[1:]:
                    state.records[i].state = None
        best = min(left, key=lambda i: state.records[i].latest) if left else None
        order = sorted(
            range(len(state.records)), key=lambda i: (bool(state.records[i].out), state.records[i].latest)
        )
        trials = tuple(
            Trial(
                state.candidates[i].name,
                record.seconds,
                record.systems,
                record.iterations / max(1, record.systems),
                "chosen" if i == best else record.out or "slower",
            )
            for i in order
            for record in (state.records[i],)
        )
        state.choice = Choice("none" if best is None else state.candidates[best].name, trials)


def _patience(state: AutoState, i: int) -> float:
    """How many times as long as the fastest a candidate may take."""
    if state.seen > 1:
        return PATIENCE
    candidate = state.candidates[i]
    carries = isinstance(candidate.solver, CARRY) or isinstance(_bare(candidate.preconditioner), CARRY)
    return PATIENCE_WITH_NEWCOMERS if carries else PATIENCE_AT_FIRST


def _names(candidates: tuple[Candidate, ...]) -> list[str]:
    return [candidate.name for candidate in candidates]


def _warm_up(state: AutoState, i: int, b: Tensor, options: dict[str, float]) -> None:
    """One iteration on one system, so that what is planned or compiled once is not held against it."""
    candidate, one = state.candidates[i], state.A.pieces(1)[0]
    preconditioner = candidate.preconditioner
    if isinstance(preconditioner, Shared):
        preconditioner = preconditioner.anew()  # else the making of it would not be measured
    made = candidate.solver.init(one, preconditioner)
    candidate.solver.solve(made, b[: one.batch], None, max_iterations=1, **options)


def _run(
    state: AutoState, i: int, b: Tensor, x0: Tensor | None, limit: int | None, options: dict[str, float]
) -> tuple[Solution, float, float]:
    """Set up candidate i and solve, and the seconds that each took; its record keeps the state."""
    candidate, record = state.candidates[i], state.records[i]
    start = time.perf_counter()
    made = candidate.solver.init(state.A, candidate.preconditioner, record.state)
    middle = time.perf_counter()
    solution, record.state = candidate.solver.solve(made, b, x0, max_iterations=limit, **options)
    return solution, middle - start, time.perf_counter() - middle


def _failed(solution: Solution) -> Tensor:
    """The systems that another method might have solved."""
    return ~solution.converged & (solution.status != Status.NONFINITE_INPUT)


def _better(one: Solution, other: Solution) -> bool:
    """Whether more systems converged, or the same with smaller residuals."""
    counts = int(one.converged.sum()), int(other.converged.sum())
    worst = [torch.nan_to_num(s.residual_norm, nan=float("inf")).max() for s in (one, other)]
    return counts[0] > counts[1] or (counts[0] == counts[1] and bool(worst[0] < worst[1]))


def default_candidates(A: LinearOperator) -> tuple[Candidate, ...]:
    """The methods that suit A; those that are hardly ever far off come first."""
    definite, symmetric = Tag.POSITIVE_DEFINITE in A.tags, Tag.SYMMETRIC in A.tags
    made: list[Candidate] = []
    stencil, sparse = isinstance(A, StencilOperator), isinstance(A, SparseOperator)
    if symmetric:
        forms = [Multigrid(), FastPoisson(), FastPoisson(scaling=True), IC()] if stencil else []
        if sparse:
            amg = AlgebraicMultigrid()
            forms = [
                *((amg, Frozen(amg)) if importlib.util.find_spec("pyamg") else ()),
                IC(relaxation=0.97),
                Jacobi(),
            ]
        made += [Candidate(CG(), form) for form in forms or [None]]
        if stencil and not definite:
            made += [Candidate(MINRES(), form) for form in (IC(), Jacobi())]
    if not definite:
        if stencil:
            made += [Candidate(method, Multigrid()) for method in (BiCGStab(), LGMRES())]
        forms = [FastPoisson(), ILU()] if stencil else [Jacobi(), ILU()] if sparse else [None]
        made += [Candidate(GCRODR(), form) for form in forms]
        made += [Candidate(GMRES(), form) for form in forms]
        made.append(Candidate(BiCGStab(), forms[-1]))
        if stencil:
            made.append(Candidate(GCRODR(), FastPoisson(shift=0.1j)))
    most = LARGEST_DIRECT.get(len(A.shape) if stencil else 2, 0)
    if (stencil or sparse) and A.device.type == "cpu" and A.size <= most:
        made.append(Candidate(CG() if definite else GMRES(), Frozen(SparseDirect())))
    return tuple(made)
