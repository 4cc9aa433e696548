"""Batches of diffusion systems: our multigrid-preconditioned CG and the solvers a user would pick today.

-div(a grad u) = 1 on the unit square or cube, u = 0 on the boundary, in 5- or 7-point divergence form on
n x n (x n) unknowns (interior points; the grid has two more nodes along each axis). The coefficient is 12 or
3 (the FNO recipe), log-normal, or 1e4 or 1. All are given the same matrices and right-hand sides, in the form
that each wants, before the clock starts; set-up counts on both sides, and every answer's true residual
``||b - A x|| / ||b||`` is recomputed here in float64 and must be 1e-8 or less. One thread each.

Peers run one system after another in processes of their own; every setting in ``peers/elliptic.py`` is tried
on every case and the fastest is timed. Rounds go round all contenders, so that a busy machine hits all alike.
The ratios of the summary are against the best common peer, and with ``_all`` against the best of all, those
that are told of the grid or of the constant pattern included.
Milliseconds are medians a system: ``pdeflow_ms`` in a batch, ``pdeflow_ms_batch1`` one at a time.
``pdeflow_first_s`` is the very first call of a case, which compiles what is not in the cache.
``python -m benchmarks.elliptic [--quick] [--rows A,B] [--device cpu|cuda] [--json FILE]``
"""

from __future__ import annotations

import json
import os
import statistics
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import scipy.sparse
import torch

from benchmarks.peers.elliptic import PEERS, Peer
from benchmarks.peers.worker import Absent, Worker, petsc_worker, python_worker
from benchmarks.result import NOT_MEASURED, WORK, finish, parser, table
from benchmarks.throughput import growth, slope, throughput
from pdeflow import linalg
from pdeflow.linalg import Tag
from pdeflow.problems import Darcy, LogNormalField, ThresholdedField
from pdeflow.problems.discretise import System

RESIDUAL = 1e-8
LIMIT = 20.0
"""Seconds after which a solve of a peer is stopped and the setting left out; 8 in a quick run."""

COEFFICIENTS = {
    "darcy": ThresholdedField(3.0, 12.0),
    "lognormal": LogNormalField(),
    "contrast": ThresholdedField(1.0, 1e4),
}


@dataclass(frozen=True)
class Case:
    """One coefficient at one size; ``batch`` systems."""

    coefficient: str
    dim: int
    n: int
    batch: int

    @property
    def name(self) -> str:
        return f"{self.coefficient}_{self.dim}d_{self.n}"

    @property
    def size(self) -> str:
        return "x".join([str(self.n)] * self.dim)


BATCH = {(2, 128): 16, (2, 256): 16, (2, 512): 4, (3, 32): 16, (3, 64): 4}
CASES = tuple(Case(name, *key, batch) for key, batch in BATCH.items() for name in COEFFICIENTS)
QUICK = {"darcy_2d_128", "lognormal_2d_128", "contrast_2d_128", "darcy_2d_256", "darcy_3d_32"}


def make_systems(case: Case, seed: int = 0) -> System:
    """The case's systems, made by pdeflow itself."""
    problem = Darcy(dim=case.dim, coefficient=COEFFICIENTS[case.coefficient])
    grid = problem.grid(case.n + 2)
    return problem.discretise(grid, problem.sample(range(case.batch), grid, seed=seed))


def csr_arrays(system: System) -> dict[str, np.ndarray]:
    """All matrices of a batch, which share their pattern, as the peers take them."""
    matrices = [system.operator.to_scipy(i) for i in range(system.operator.batch)]
    tags = system.operator.tags
    return {
        "data": np.stack([matrix.data for matrix in matrices]),
        "indices": matrices[0].indices,
        "indptr": matrices[0].indptr,
        "b": system.rhs.flatten(1).numpy(),
        "shape": np.array(system.operator.shape),
        "symmetric": np.array(Tag.SYMMETRIC in tags),
        "positive_definite": np.array(Tag.POSITIVE_DEFINITE in tags),
    }


def true_residual(arrays: dict[str, np.ndarray], system: int, x: np.ndarray) -> float:
    """``||b - A x|| / ||b||`` in double precision."""
    b = arrays["b"][system]
    csr = (arrays["data"][system], arrays["indices"], arrays["indptr"])
    A = scipy.sparse.csr_array(csr, shape=(b.size, b.size))
    return float(np.linalg.norm(b - A @ x.astype(b.dtype)) / np.linalg.norm(b))


@dataclass
class Measured:
    """What one contender did on one case."""

    milliseconds: list[float] = field(default_factory=list)
    iterations: list[int] = field(default_factory=list)
    residual: float = 0.0
    failure: str = ""

    def add(self, seconds: float, iterations: int | None, residual: float) -> None:
        self.milliseconds.append(1e3 * seconds)
        self.residual = max(self.residual, residual)
        if iterations is not None:
            self.iterations.append(iterations)
        if not residual <= RESIDUAL:
            self.failure = f"missed {RESIDUAL:g}"

    @property
    def ms(self) -> float | str:
        return self.failure or statistics.median(self.milliseconds)

    @property
    def steps(self) -> float | str:
        return statistics.median(self.iterations) if self.iterations else "-"


class Ours:
    """``linalg.solve`` with CG and multigrid, on all systems of a case at once or one at a time."""

    def __init__(self, system: System, arrays: dict[str, np.ndarray], device: str) -> None:
        self.operator = system.operator.to(device=device)
        self.b = system.rhs.to(device)
        self.singles = self.operator.pieces(1)
        self.arrays, self.device = arrays, device
        self.batch, self.single = Measured(), Measured()
        self.first_seconds = self._timed(self.operator, self.b)[0]
        self._timed(self.singles[0], self.b[:1])

    def _timed(self, A: linalg.LinearOperator, b: torch.Tensor) -> tuple[float, linalg.Solution]:
        if self.device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        solution = linalg.solve(
            A, b, solver=linalg.CG(), preconditioner=linalg.Multigrid(), rtol=RESIDUAL, on_failure="return"
        )
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start, solution

    def round(self, number: int, singles: int) -> None:
        """One batch, and a few systems one at a time."""
        seconds, solution = self._timed(self.operator, self.b)
        self._record(self.batch, seconds / self.operator.batch, solution, 0)
        for k in range(singles):
            index = (number * singles + k) % self.operator.batch
            seconds, solution = self._timed(self.singles[index], self.b[index : index + 1])
            self._record(self.single, seconds, solution, index)

    def _record(self, to: Measured, seconds: float, solution: linalg.Solution, first: int) -> None:
        answers = solution.x.flatten(1).cpu().numpy()
        worst = max(true_residual(self.arrays, first + k, x) for k, x in enumerate(answers))
        to.add(seconds, None, worst)
        to.iterations += solution.iterations.tolist()


class Contender:
    """One peer on one case."""

    def __init__(self, peer: Peer, worker: Worker, arrays: dict[str, np.ndarray], limit: float) -> None:
        self.peer, self.worker, self.arrays, self.limit = peer, worker, arrays, limit
        self.settings: list[Any] = []  # those that work, the fastest first
        self.measured = Measured()

    def solve(self, setting: Any, system: int, measured: Measured) -> None:
        """Time one system, and check the answer."""
        answer = WORK / "answer.npy"
        request = {"method": self.peer.method, "setting": setting, "system": system, "answer": str(answer)}
        try:
            told = self.worker.ask(request, self.limit)
        except Absent:
            told = {"error": "ModuleNotFoundError"}
        if "error" in told:
            absent = told["error"].startswith(("ModuleNotFoundError", "ImportError"))
            measured.failure = "not installed" if absent else told["error"].strip().split("\n")[-1][:80]
            return
        residual = true_residual(self.arrays, system, np.load(answer))
        measured.add(told["seconds"], told["iterations"], residual)

    def choose(self, dim: int) -> None:
        """Order the settings by their time on two systems; the first solve of each is a warm-up.

        A setting whose warm-up takes three times the best so far is not tried further.
        """
        times: list[tuple[float, int]] = []
        for number, setting in enumerate(self.peer.settings[dim]):
            warm, trial = Measured(), Measured()
            self.solve(setting, 0, warm)
            if times and not warm.failure and warm.milliseconds[0] > 3 * min(times)[0]:
                continue
            for system in (0, 1 % len(self.arrays["b"])):
                if not warm.failure and not trial.failure:
                    self.solve(setting, system, trial)
            self.measured.failure = warm.failure or trial.failure
            if not self.measured.failure:
                times.append((min(trial.milliseconds), number))
        self.settings = [self.peer.settings[dim][number] for _, number in sorted(times)]
        if self.settings:
            self.measured.failure = ""

    def round(self, number: int, count: int) -> None:
        """A few systems, others in every round. A setting that fails gives way to the next.

        A slow peer stops once it has three times and has taken half its limit.
        """
        for k in range(count):
            spent = self.measured.milliseconds
            if len(spent) >= 3 and sum(spent) > 500 * self.limit:
                break
            system = (number * count + k) % len(self.arrays["b"])
            while self.settings:
                self.solve(self.settings[0], system, self.measured)
                if not self.measured.failure:
                    break
                self.settings.pop(0)
                if self.settings:
                    self.measured = Measured()
                    self.solve(self.settings[0], system, Measured())  # its warm-up

    def shown(self) -> str:
        if not self.settings:
            return "-"
        return self.settings[0] if isinstance(self.settings[0], str) else json.dumps(self.settings[0])


def measure(
    case: Case,
    workers: dict[str, Worker],
    *,
    rounds: int,
    limit: float = LIMIT,
    device: str = "cpu",
    peers: tuple[Peer, ...] = PEERS,
) -> list[dict[str, Any]]:
    """One row a peer."""
    WORK.mkdir(parents=True, exist_ok=True)
    system = make_systems(case)
    arrays = csr_arrays(system)
    path = WORK / "systems.npz"
    np.savez(path, **arrays)

    def load() -> None:
        for worker in workers.values():
            try:
                worker.load(path)
            except Absent:
                continue

    load()
    contenders = [Contender(peer, workers[peer.worker], arrays, limit) for peer in peers]
    for contender in contenders:
        contender.choose(case.dim)
    load()  # fresh processes, without what the other settings left behind
    for contender in contenders:  # the warm-up of those that were
        if contender.settings:
            contender.solve(contender.settings[0], 0, Measured())
    ours = Ours(system, arrays, device)
    for number in range(rounds):
        order = [*contenders, ours]
        for contender in order[number % len(order) :] + order[: number % len(order)]:
            contender.round(number, min(2, case.batch))
    return [_row(case, contender, ours) for contender in contenders]


def _row(case: Case, contender: Contender, ours: Ours) -> dict[str, Any]:
    theirs = contender.measured
    comparable = not theirs.failure and not ours.batch.failure
    return {
        "case": case.name,
        "size": case.size,
        "dim": case.dim,
        "peer": contender.peer.name,
        "common": contender.peer.common,
        "peer_ms": theirs.ms,
        "peer_iterations": theirs.steps,
        "peer_residual": theirs.residual if theirs.milliseconds else "-",
        "pdeflow_ms": ours.batch.ms,
        "pdeflow_ms_batch1": ours.single.ms,
        "pdeflow_first_s": ours.first_seconds,
        "pdeflow_iterations": ours.batch.steps,
        "pdeflow_residual": max(ours.batch.residual, ours.single.residual),
        "batch": case.batch,
        "ratio": theirs.ms / ours.batch.ms if comparable else NOT_MEASURED,
        "setting": contender.shown(),
    }


def unmeasured_rows(case: Case) -> list[dict[str, Any]]:
    """The rows of a device that is not there."""
    blank = ("setting", "peer_ms", "peer_iterations", "peer_residual", "pdeflow_ms", "pdeflow_ms_batch1")
    blank += ("pdeflow_first_s", "pdeflow_iterations", "pdeflow_residual")
    told = {"case": case.name, "size": case.size, "dim": case.dim}
    return [
        {**told, "peer": peer.name, "common": peer.common, **dict.fromkeys(blank, NOT_MEASURED)}
        | {"batch": case.batch, "ratio": NOT_MEASURED}
        for peer in PEERS
    ]


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The ratios against the best common peer of every case, and against the best of all."""
    summary: dict[str, Any] = {}
    for dim in (2, 3):
        measured = [row for row in rows if row["dim"] == dim and isinstance(row["ratio"], float)]
        for suffix, counted in (("", [row for row in measured if row["common"]]), ("_all", measured)):
            best: dict[str, float] = {}
            for row in counted:
                best[row["case"]] = min(row["ratio"], best.get(row["case"], float("inf")))
            for name, of in (("min", min), ("median", statistics.median), ("max", max)):
                summary[f"{name}_ratio_{dim}d{suffix}"] = of(best.values()) if best else NOT_MEASURED
    return summary


def peer_versions(workers: dict[str, Worker]) -> dict[str, str | None]:
    """What the peers' processes say of themselves."""
    found: dict[str, str | None] = {}
    for name, worker in workers.items():
        try:
            found |= worker.ask({"versions": True}, 120)["versions"]
        except Absent:
            found[name] = None
    return found


def main() -> None:
    options = parser(__doc__ or "", rows=[case.name for case in CASES], device=True).parse_args()
    torch.set_num_threads(1)
    load = os.getloadavg()
    named = options.rows or [case.name for case in CASES if not options.quick or case.name in QUICK]
    chosen = [case for case in CASES if case.name in named]
    device_is_there = options.device == "cpu" or torch.cuda.is_available()
    workers = {"python": python_worker(), "petsc": petsc_worker()}
    rows: list[dict[str, Any]] = []
    try:
        versions = peer_versions(workers)
        for case in chosen:
            if device_is_there:
                rounds, limit = (3, 8.0) if options.quick else (7, LIMIT)
                rows += measure(case, workers, rounds=rounds, limit=limit, device=options.device)
            else:
                rows += unmeasured_rows(case)
            print(table(rows[-len(PEERS) :]), flush=True)
    finally:
        for worker in workers.values():
            worker.stop()
    summary = summarise(rows)
    more: dict[str, Any] = {"peers": versions, "load_average": load, "device": options.device}
    if device_is_there:
        batches = (1, 16, 64) if options.quick else tuple(2**k for k in range(9))
        more["throughput"] = throughput(batches, options.device)
        print(table(more["throughput"]))
    if device_is_there and not options.quick:
        sizes = {2: (32, 64, 128, 256, 512, 1024), 3: (16, 32, 64, 128)}
        more["growth"] = [row for dim, ns in sizes.items() for row in growth(dim, ns, options.device)]
        print(table(more["growth"]))
        for dim in sizes:
            of_dim = [row for row in more["growth"] if row["dim"] == dim]
            summary[f"slope_{dim}d"] = slope(of_dim)
            summary[f"iterations_{dim}d"] = " ".join(str(row["iterations"]) for row in of_dim)
    finish(options.json, rows, {**summary, "quick": options.quick}, **more)


if __name__ == "__main__":
    main()
