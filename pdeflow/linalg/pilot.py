"""The pilot of :class:`~pdeflow.linalg.auto.Auto`: candidates race on the first systems of a sequence.

On the first system every candidate has a short look. Then those that have not converged are given time, more
from round to round, until one has solved the system, and the others what they may take to be worth keeping:
so a bad candidate costs no more than a few times what the good ones take. Each starts again with more time
from where it was before the system, for it must not recycle what its look has found. On the later systems
the fastest of those that are left goes first, and the others have to keep up with it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg.candidates import Candidate, bare, preparation_seconds
from pdeflow.linalg.cg import CG
from pdeflow.linalg.expanded import Shared
from pdeflow.linalg.frozen import Frozen
from pdeflow.linalg.operator import LinearOperator
from pdeflow.linalg.solution import Solution, Status

LOOK = 5  # iterations of the first look at a candidate
GROWTH = 3  # of the time for those that have not converged, from round to round
LONGEST = 20_000  # iterations from which on a candidate is left to its own limit
# How many times as long as the fastest a candidate may take to stay: one that is known to carry nothing to
# the next system, one of which that is not known, and one that makes what later systems use again.
PATIENCE = {False: 3.0, None: 5.0, True: 5.0}
PATIENCE_LATER = {False: 1.5, None: 3.0, True: 2.0}


@dataclass
class Run:
    """What a candidate did on a system: the answer, and the seconds to set up and to solve."""

    solution: Solution
    setting_up: float
    solving: float
    most: int | None  # the iterations that it was given

    @property
    def seconds(self) -> float:
        """For both."""
        return self.setting_up + self.solving

    @property
    def pace(self) -> float:
        """Seconds an iteration of one system."""
        iterations = self.solution.iterations
        return self.solving / max(1, int(iterations.max())) / iterations.numel()


@dataclass
class Record:
    """What has been seen of a candidate, and its state from the latest system."""

    seconds: float = 0.0
    systems: int = 0
    iterations: float = 0.0
    latest: float = float("inf")  # seconds for the latest system
    run: Run | None = None
    out: str = ""
    state: Any = None


@dataclass
class Race:
    """All candidates that are not out on one system, with the options of ``Solver.solve``."""

    A: LinearOperator
    candidates: tuple[Candidate, ...]
    records: list[Record]
    b: Tensor
    x0: Tensor | None
    limit: int | None
    options: dict[str, float]
    best: Solution | None = None
    fastest: float = float("inf")
    warm: set[type] = field(default_factory=set)  # the solvers and preconditioners that have run before
    patience: dict[bool | None, float] = field(default_factory=lambda: PATIENCE)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Take up those who are left now."""
        there = [i for i, record in enumerate(self.records) if not record.out]
        self.waiting = sorted(there, key=lambda i: self.records[i].latest)
        self.earlier = {i: self.records[i].state for i in there}

    def first(self) -> None:
        """The system that none has seen a neighbour of."""
        for i in list(self.waiting):
            # Those that carry something over are seldom first before they have any.
            if len(self.waiting) > 1 and not self.candidates[i].carries:
                self._attempt(i, self._iterations_in(i, 0.0))
        looks = [run.seconds for i in self.waiting if (run := self.records[i].run) is not None]
        allowed = min(looks, default=1e-3)
        while self.fastest == float("inf") and self.waiting:
            allowed *= GROWTH
            for i in sorted(self.waiting, key=self._promise):
                alone = len(self.waiting) == 1
                self._attempt(i, LONGEST if alone else self._iterations_in(i, allowed))
                if self.fastest < float("inf"):
                    break
        for i in sorted(self.waiting, key=self._promise):
            if not self._is_hopeless(i) and not self._is_outdone(i):
                self._attempt(i, self._iterations_in(i, self._bound(i)))
            if i in self.waiting:
                self._drop(i, "slower: stopped")

    def later(self) -> None:
        """One more system of the sequence."""
        self.patience = PATIENCE_LATER
        for i in list(self.waiting):
            run = self.records[i].run
            most = LONGEST
            if self.fastest < float("inf") and run is not None:
                # What was set up for the system before may serve this one too.
                most = self._iterations_in(i, run.setting_up + self._bound(i))
            self._attempt(i, most, again=True)
            if i in self.waiting:
                self._drop(i, "slower: stopped")

    def _attempt(self, i: int, most: int, again: bool = False) -> None:
        """Give a candidate that many iterations, unless it has had them; it waits on if it needs more."""
        if i not in self.waiting:  # another one has shown that it cannot succeed
            return
        record, candidate = self.records[i], self.candidates[i]
        given = self.limit if most >= LONGEST else most if self.limit is None else min(most, self.limit)
        new = record.run is None or again
        if not new and record.run is not None and (record.run.most or LONGEST) >= (given or LONGEST):
            return
        if given == 0 and self.limit != 0:
            return
        record.state = self.earlier[i]
        try:
            candidate.solver.check(self.A)
            parts = {type(candidate.solver), type(bare(candidate.preconditioner))}
            if record.run is None and not parts <= self.warm:
                _warm_up(candidate, self.A, self.b, self.options)
                self.warm |= parts
            record.run = run = self._run(i, given)
        except InvalidInput as error:
            record.run = None
            self._drop(i, str(error).splitlines()[0])
            return
        status = run.solution.status
        if given != self.limit and bool((status == Status.MAX_ITERATIONS).any()):
            if self._is_hopeless(i):
                self._drop(i, "slower: stopped")
            return
        self.waiting.remove(i)
        lost = failed(run.solution)
        if bool(lost.any()):
            record.out, record.state = Status(int(status[lost].max())).name, None
            if record.out == Status.INDEFINITE_OPERATOR.name:
                for other in [j for j in self.waiting if isinstance(self.candidates[j].solver, CG)]:
                    self._drop(other, record.out)  # that lies in A, whatever the preconditioner
        self._note(i, run)

    def _run(self, i: int, limit: int | None) -> Run:
        candidate, record = self.candidates[i], self.records[i]
        start = time.perf_counter()
        made = candidate.solver.init(self.A, candidate.preconditioner, record.state)
        middle = time.perf_counter()
        solution, record.state = candidate.solver.solve(
            made, self.b, self.x0, max_iterations=limit, **self.options
        )
        return Run(solution, middle - start, time.perf_counter() - middle, limit)

    def _note(self, i: int, run: Run) -> None:
        """Put the latest run into the record, and its answer first if it is."""
        record = self.records[i]
        record.latest = run.seconds
        record.seconds += run.seconds
        record.systems += self.b.shape[0]
        record.iterations += float(run.solution.iterations.sum())
        if not record.out and run.seconds < self.fastest:
            self.best, self.fastest = run.solution, run.seconds
        elif self.best is None or (self.fastest == float("inf") and _better(run.solution, self.best)):
            self.best = run.solution

    def _drop(self, i: int, why: str) -> None:
        """Leave a candidate out from here on."""
        record = self.records[i]
        self.waiting.remove(i)
        record.out, record.state = why, None
        if record.run is not None:
            self._note(i, record.run)

    def _bound(self, i: int) -> float:
        """The seconds that a candidate may take."""
        return self.fastest * self.patience[self.candidates[i].carries]

    def _is_hopeless(self, i: int) -> bool:
        """Whether what has been seen of a candidate that did not converge is enough."""
        run = self.records[i].run
        if run is None:
            return False
        # Recycling leaves hardly less to do than a look.
        carried = self.candidates[i].carries is True and run.solving > self.fastest
        return carried or run.seconds > self._bound(i)

    def _is_outdone(self, i: int) -> bool:
        """Whether a recycling method, not seen yet, has a preconditioner that takes too long by itself."""
        candidate = self.candidates[i]
        if self.records[i].run is not None or not candidate.carries or candidate.preconditioner is None:
            return False
        same = (
            record.run
            for other, record in zip(self.candidates, self.records)
            if record.run is not None and other.preconditioner == candidate.preconditioner
        )
        return any(LOOK * run.pace * self.b.shape[0] > self.fastest for run in same)

    def _iterations_in(self, i: int, seconds: float) -> int:
        """The iterations of a candidate in that time: at least a look, unless it takes long to prepare."""
        run = self.records[i].run
        if run is None:
            return LOOK if preparation_seconds(self.candidates[i], self.A) <= seconds else 0
        pace = max(run.pace * self.b.shape[0], 1e-9)
        return max(LOOK, int(min((seconds - run.setting_up) / pace, LONGEST)))

    def _promise(self, i: int) -> float:
        """The seconds to convergence, if the residual goes on to fall as it did."""
        run = self.records[i].run
        if run is None:
            return float("inf")
        falling = run.solution.residual_norm.clamp(1e-300, 1).log().max().neg()
        return run.seconds / max(float(falling.nan_to_num(0.0)), 1e-9)


def _warm_up(candidate: Candidate, A: LinearOperator, b: Tensor, options: dict[str, float]) -> None:
    """One iteration on one system, so that what is planned or compiled once is not held against it."""
    preconditioner, one = candidate.preconditioner, A.pieces(1)[0]
    if isinstance(bare(preconditioner), Frozen):
        return  # what it does once is what it is for
    if isinstance(preconditioner, Shared):
        preconditioner = preconditioner.anew()  # else the making of it would not be measured
    made = candidate.solver.init(one, preconditioner)
    candidate.solver.solve(made, b[: one.batch], None, max_iterations=1, **options)


def failed(solution: Solution) -> Tensor:
    """The systems that another method might have solved."""
    return ~solution.converged & (solution.status != Status.NONFINITE_INPUT)


def _better(one: Solution, other: Solution) -> bool:
    """Whether more systems converged, or the same with smaller residuals."""
    counts = int(one.converged.sum()), int(other.converged.sum())
    worst = [torch.nan_to_num(s.residual_norm, nan=float("inf")).max() for s in (one, other)]
    return counts[0] > counts[1] or (counts[0] == counts[1] and bool(worst[0] < worst[1]))
