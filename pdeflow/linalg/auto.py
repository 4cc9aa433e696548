"""The choice of a method by measuring."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg.arguments import check_count, check_instance
from pdeflow.linalg.candidates import Candidate, default_candidates, names
from pdeflow.linalg.operator import LinearOperator
from pdeflow.linalg.pilot import PATIENCE, PATIENCE_LATER, Race, Record, failed
from pdeflow.linalg.preconditioner import Preconditioner
from pdeflow.linalg.solution import Choice, Solution, Status, Trial
from pdeflow.linalg.solver import UNKNOWNS_IN_CACHE, Solver, Tolerances, solve_pieces

PIECE = 8  # systems of a batch that one step of the pilot is held on


@dataclass
class AutoState:
    """The records, the steps and the systems of the pilot so far, and, in the end, the chosen candidate."""

    A: LinearOperator
    candidates: tuple[Candidate, ...]
    records: list[Record]
    seen: int = 0
    systems: int = 0
    best: int | None = None
    chosen: int | None = None
    pieces: list[Any] = field(default_factory=list)  # the states of the chosen one
    choice: Choice | None = None


@dataclass(frozen=True)
class Auto(Solver):
    """Solves the first systems of a sequence by several methods and goes on with the fastest.

    Every candidate solves the system at hand to the asked tolerance, from set-up to the certified residual,
    one after the other; one that fails, or is much slower than the best so far, is out. After ``pilot``
    systems (of a :class:`~pdeflow.linalg.sequence.Sequence`, or of a batch) the one that was
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
        Systems to try them on, at least 1; those of a batch count one by one, unless something may be carried
        over to the next batch.

    Raises
    ------
    InvalidInput
        For a pilot below 1, a candidate that is no Candidate, none that suits A, or a preconditioner beside
        those of the candidates.
    """

    couples: ClassVar[bool] = True  # it cuts a batch by itself, so that its pieces share the pilot

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
        if isinstance(previous, AutoState) and names(previous.candidates) == names(candidates):
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
        if state.chosen is not None:
            state.pieces = [state.candidates[state.chosen].solver.forget(piece) for piece in state.pieces]
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
        tolerances = Tolerances(rtol, atol, max_iterations)
        if state.chosen is not None:
            return self._go_on(state, b, x0, tolerances)
        whole, few = state.A, b.shape[0]
        if b.device.type == "cpu":
            few = min(few, PIECE, max(1, UNKNOWNS_IN_CACHE // whole.size))
        parts, start = [], 0
        for piece in whole.pieces(few):
            rows = slice(start, start + piece.batch)
            start += piece.batch
            guess = None if x0 is None else x0[rows]
            if not parts or state.best is None:
                state.A = piece
                part, state = self._race(state, b[rows], guess, tolerances)
            else:
                # The first piece has told enough: the others are solved by whoever was fastest there.
                part, _ = _run(state, state.best, piece, b[rows], guess, tolerances)
                if bool(failed(part).any()):
                    self._readmit(state)
                    state.A = piece
                    part, state = self._race(state, b[rows], guess, tolerances)
            parts.append(part)
        state.A = whole
        return dataclasses.replace(Solution.concatenate(parts), choice=state.choice), state

    def _go_on(
        self, state: AutoState, b: Tensor, x0: Tensor | None, tolerances: Tolerances
    ) -> tuple[Solution, AutoState]:
        """By the chosen one; where it fails, the next system is the first of another pilot."""
        assert state.chosen is not None
        try:
            state.candidates[state.chosen].solver.check(state.A)
        except InvalidInput:  # the operators have changed their kind
            return self.solve(self.init(state.A), b, x0, **vars(tolerances))
        solution, state.pieces = _run(state, state.chosen, state.A, b, x0, tolerances, state.pieces)
        choice = state.choice
        if bool((failed(solution) & (solution.status != Status.SINGULAR)).any()):
            state = self.init(state.A)
        return dataclasses.replace(solution, choice=choice), state

    def _race(
        self, state: AutoState, b: Tensor, x0: Tensor | None, tolerances: Tolerances
    ) -> tuple[Solution, AutoState]:
        """By all that are left; the best answer."""
        if all(record.out for record in state.records):
            state = self.init(state.A)
        options = {"rtol": tolerances.rtol, "atol": tolerances.atol}
        before = [dataclasses.replace(record) for record in state.records]
        race = Race(state.A, state.candidates, state.records, b, x0, tolerances.max_iterations, options)
        alone = self._one_of(race) if state.seen == 0 else None
        if alone is not None:
            alone.first()
            self._drop_slow(state, alone.fastest, PATIENCE)
            if alone.fastest == float("inf"):  # that system may be worse than the others
                for record in state.records:
                    record.out = record.out if record.run is None else ""
        if state.seen == 0 and alone is None:
            race.first()
            self._drop_slow(state, race.fastest, PATIENCE)
        else:
            race.restart()
            race.later()
            if race.fastest == float("inf") and self._readmit(state):
                race.restart()
                race.later()
            self._drop_slow(state, race.fastest, PATIENCE_LATER)
        if race.best is not None and not bool(((race.best.iterations > 0) | failed(race.best)).any()):
            # Nothing was to be done, for b = 0 or NaN, which tells nothing about who is fast.
            state.records = before
            return race.best, state
        if race.best is None:
            tried = ", ".join(f"{c.name}: {r.out}" for c, r in zip(state.candidates, state.records))
            raise InvalidInput("A", type(state.A).__name__, "an operator that a candidate suits", tried)
        state.seen += 1
        state.systems += b.shape[0]
        self._conclude(state)
        return race.best, state

    def _one_of(self, race: Race) -> Race | None:
        """The race on one system of a batch, which is enough to find out who is far too slow."""
        A, b, x0 = race.A, race.b, race.x0
        pieces = A.pieces(1)
        if b.shape[0] == 1 or len(pieces) < b.shape[0]:
            return None
        i = int((A.is_finite() & torch.isfinite(b).flatten(1).all(1)).to(torch.int8).argmax())
        guess = None if x0 is None else x0[i : i + 1]
        return Race(pieces[i], race.candidates, race.records, b[i : i + 1], guess, race.limit, race.options)

    def _readmit(self, state: AutoState) -> bool:
        """Let those try again who were only slow; whether there are any."""
        slow = [record for record in state.records if record.out.startswith("slower")]
        for record in slow:
            record.out = ""
        return bool(slow)

    def _drop_slow(self, state: AutoState, fastest: float, patience: dict[bool | None, float]) -> None:
        """Leave those out that took too long on the latest system."""
        for candidate, record in zip(state.candidates, state.records):
            if not record.out and record.latest > fastest * patience[candidate.carries]:
                record.out, record.state = "slower", None

    def _conclude(self, state: AutoState) -> None:
        """Put the evidence together, and choose where the pilot is over."""
        left = [i for i, record in enumerate(state.records) if not record.out]
        # Whoever may carry something over shows it in the next system only, the others in any.
        carrying = any(state.candidates[i].carries is not False for i in left)
        if left and (state.seen >= self.pilot or (state.systems >= self.pilot and not carrying)):
            state.chosen = min(left, key=lambda i: state.records[i].latest)
            state.pieces = [state.records[state.chosen].state]
            for record in state.records:
                record.state = record.run = None
        best = state.best = min(left, key=lambda i: state.records[i].latest) if left else None
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


def _run(
    state: AutoState,
    i: int,
    A: LinearOperator,
    b: Tensor,
    x0: Tensor | None,
    tolerances: Tolerances,
    earlier: list[Any] | None = None,
) -> tuple[Solution, list[Any]]:
    """Solve by candidate i alone, in the pieces that suit it."""
    candidate = state.candidates[i]
    return solve_pieces(A, b, x0, candidate.solver, candidate.preconditioner, tolerances, earlier)
