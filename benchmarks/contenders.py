"""Those who solve a sequence of systems in turns: chains of ours, and peers in their processes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from benchmarks.elliptic import RESIDUAL, true_residual
from benchmarks.peers.recycling import Peer
from benchmarks.peers.worker import Absent, Worker
from benchmarks.result import WORK
from benchmarks.sequences import SystemSequence, nearest_neighbours
from pdeflow import linalg

TURN = 10
MOST = 10_000
"""Iterations after which a system has failed."""


@dataclass
class Tally:
    """What a contender did so far, system by system."""

    seconds: list[float] = field(default_factory=list)
    products: list[int] = field(default_factory=list)
    failed: int = 0
    residual: float = 0.0
    error: str = ""

    def add(self, seconds: float, products: int | None, residual: float) -> None:
        self.seconds.append(seconds)
        if products is not None:
            self.products.append(products)
        if residual <= RESIDUAL:
            self.residual = max(self.residual, residual)
        else:
            self.failed += 1

    @property
    def ms(self) -> float:
        return 1e3 * float(np.mean(self.seconds))

    def ms_after(self, pilot: int) -> float | str:
        """The median over the systems after the first few, and after the batch that they are in."""
        return 1e3 * float(np.median(self.seconds[pilot:])) if len(self.seconds) > pilot else "-"

    @property
    def iterations(self) -> float | str:
        return float(np.mean(self.products)) if self.products else "-"


class Chain:
    """Ours: a solver and a preconditioner on the sequence, in ``chains`` pieces side by side."""

    def __init__(
        self,
        name: str,
        sequence: SystemSequence,
        arrays: dict[str, np.ndarray],
        solver: linalg.Solver,
        preconditioner: linalg.Preconditioner | None,
        *,
        device: str,
        chains: int = 1,
        sort: bool = False,
    ) -> None:
        self.name, self.sequence, self.arrays, self.device = name, sequence, arrays, device
        self.setting = f"{solver}, {preconditioner}"
        start, order = time.perf_counter(), list(range(len(sequence.b)))
        if sort:
            assert sequence.parameters is not None
            order = nearest_neighbours(sequence.parameters)
        self.sorting = time.perf_counter() - start  # counted with the first system
        length = -(-len(order) // chains)
        self.steps = [order[k::length] for k in range(length)]
        self.chain = linalg.Sequence(solver, preconditioner)
        self.tally = Tally()

    def turn(self, systems: int, budget: float = float("inf")) -> None:
        """Solve about as many of the systems that are left, until the budget is spent.

        ``Auto`` has twenty times as much: its pilot is a cost of all the systems, not of those in the budget.
        """
        if isinstance(self.chain.solver, linalg.Auto):
            budget *= 20
        while systems > 0 and self.steps and sum(self.tally.seconds) < budget:
            indices = self.steps.pop(0)
            systems -= len(indices)
            A, b = self.sequence.pick(indices)
            A, b = A.to(device=self.device), b.to(self.device)
            first = not self.tally.seconds
            start = self._now()
            solution = self.chain.solve(A, b, rtol=RESIDUAL, max_iterations=MOST, on_failure="return")
            seconds = self._now() - start + (self.sorting if first else 0)
            carried = 0 if first else self._carried(solution)
            for index, x, steps in zip(indices, solution.x.flatten(1), solution.iterations.tolist()):
                residual = true_residual(self.arrays, index, x.cpu().numpy())
                self.tally.add(seconds / len(indices), steps + carried, residual)

    def _carried(self, solution: linalg.Solution) -> int:
        """The products that the space of the system before has cost."""
        solver = self.chain.solver
        if solution.choice is not None:
            self.setting = f"Auto: {solution.choice.name}"
            solver = linalg.GCRODR() if solution.choice.name.startswith("GCRODR") else solver
        return solver.recycle if isinstance(solver, linalg.GCRODR) else 0

    def _now(self) -> float:
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


class PeerRun:
    """A peer's method with one setting, on the sequence in its order."""

    def __init__(
        self, peer: Peer, setting: Any, worker: Worker, arrays: dict[str, np.ndarray], limit: float
    ) -> None:
        self.name, self.peer, self.worker, self.arrays, self.limit = peer.name, peer, worker, arrays, limit
        self.value = setting
        self.setting = setting if isinstance(setting, str) else json.dumps(setting)
        self.next, self.tally = 0, Tally()

    def turn(self, systems: int, budget: float = float("inf")) -> None:
        """Solve as many of the systems that are left, until the budget is spent or there is no answer."""
        answer = WORK / "answer.npy"
        for _ in range(min(systems, len(self.arrays["b"]) - self.next)):
            if self.tally.error or sum(self.tally.seconds) >= budget:
                return
            request = {"method": self.peer.method, "setting": self.value, "system": self.next}
            try:
                told = self.worker.ask({**request, "answer": str(answer)}, self.limit)
            except Absent:
                told = {"error": "ModuleNotFoundError"}
            if "error" in told:
                absent = told["error"].startswith(("ModuleNotFoundError", "ImportError"))
                self.tally.error = "not installed" if absent else told["error"].strip().split("\n")[-1][:80]
                return
            residual = true_residual(self.arrays, self.next, np.load(answer))
            self.tally.add(told["seconds"], told["iterations"], residual)
            self.next += 1


def take_turns(runners: list[Any], count: int, budget: float) -> None:
    """Go round until all are through, or out of time."""
    for number in range(0, count, TURN):
        shift = (number // TURN) % len(runners)
        for runner in runners[shift:] + runners[:shift]:
            runner.turn(TURN, budget)


def fastest(make: list[Callable[[], Any]], systems: int) -> Any:
    """A fresh runner like the one that was fastest on the first systems without a failure.

    The first system warms up and is not counted, unless there is no other. A peer is not waited for when it
    takes five times the best so far (a second at least).
    """
    best, chosen, error = float("inf"), None, ""
    for build in make:
        runner = build()
        if isinstance(runner, PeerRun):
            runner.limit = min(runner.limit, max(1.0, 5 * best))
        runner.turn(1)
        tally = runner.tally
        if not (tally.error or tally.failed or tally.seconds[0] > 5 * best):
            runner.turn(systems)
        if tally.error or tally.failed:
            error = error or tally.error or "missed the residual"
            continue
        seconds = float(np.mean(tally.seconds[1:] or tally.seconds))
        if seconds < best:
            best, chosen = seconds, build
    if chosen is None:
        runner = make[0]()
        runner.tally.error = error
        return runner
    return chosen()
