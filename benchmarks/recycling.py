"""Sequences of linear systems: what recycling a Krylov space brings, and who is fastest.

Two contests in one table, on the sequences of ``sequences.py``, all to a true relative residual of 1e-8 that
is recomputed here in float64, one thread each, set-up included. *Same preconditioner*: ours without
recycling, recycling in the given order and sorted by nearest neighbours, ``Auto`` between these and the short
recurrences, and the Krylov methods of SciPy and PETSc with and without what they carry along; none keeps more
than 40 vectors. *Best against best*: everyone's fastest of several settings on the first systems, direct
solvers included; ours is ``Auto`` as it comes, whose pilot is counted, on batches of 16 systems where all are
known from the beginning. ``peer_ms_after_pilot`` leaves the first three systems out, of ours the first batch.

Contenders take turns of a few systems, so that a busy machine hits all alike, and each goes on where it was;
one that has used up its time stops there, and its figures are means over the systems that it did solve. An
iteration is a product with the matrix, or two in BiCGStab; what carrying a space to the next matrix costs is
counted. ``failed``
systems missed the residual within 10,000 iterations; a ratio to those is a lower bound.
The file is written after every family; ``--resume`` goes on with those that it lacks, and ``runs`` says which
were measured together.
``python -m benchmarks.recycling [--quick] [--rows A,B] [--device cpu|cuda] [--json FILE [--resume]]``
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.contenders import Chain, PeerRun, fastest, take_turns
from benchmarks.peers import recycling as peers
from benchmarks.peers.worker import Absent, Worker, petsc_worker, scipy_worker
from benchmarks.result import NOT_MEASURED, WORK, finish, parser, table, write
from benchmarks.sequences import FAMILIES, Family, SystemSequence
from pdeflow import linalg
from pdeflow.linalg import Tag

BUDGET, LIMIT = 3.0, 20.0
"""Seconds for a contender on 100 systems, and the most for one; a quick run takes 1 and 4, and 10 systems."""
CHAINS = 16
"""Systems that ours solves side by side in the second contest, where one need not wait for another."""
PILOT = linalg.Auto().pilot
SAME, BEST = "same preconditioner", "best against best"
QUICK = {
    "helmholtz_2d_64_k8",
    "helmholtz_3d_32_k8",
    "convection_sweep_128_pe1",
    "elements_2d_16000",
    "newton_2d_128",
}
RECYCLING = linalg.GCRODR(restart=40, recycle=20)
PRECONDITIONERS: dict[str, linalg.Preconditioner | None] = {
    "none": None,
    "jacobi": linalg.Jacobi(),
    "ilu": linalg.ILU(),
    "multigrid": linalg.Multigrid(),
}


def same_preconditioner(
    sequence: SystemSequence,
    arrays: dict[str, np.ndarray],
    name: str,
    workers: dict[str, Worker],
    limit: float,
    device: str,
) -> list[Any]:
    """All contenders under one preconditioner; the last of ours is the one that ratios are taken of."""
    M, tags, sort = PRECONDITIONERS[name], sequence.operator.tags, sequence.parameters is not None
    definite, symmetric = Tag.POSITIVE_DEFINITE in tags, Tag.SYMMETRIC in tags

    def chain(label: str, solver: linalg.Solver, **more: Any) -> Chain:
        return Chain(label, sequence, arrays, solver, M, device=device, **more)

    runners: list[Any] = [chain("pdeflow GMRES(40)", linalg.GMRES(40)), chain("pdeflow GCRO-DR", RECYCLING)]
    if sort:
        runners.append(chain("pdeflow GCRO-DR, sorted", RECYCLING, sort=True))
    short: list[linalg.Solver] = [linalg.CG()] if definite else [linalg.MINRES()] if symmetric else []
    methods = (*short, linalg.BiCGStab(), RECYCLING, linalg.LGMRES(), linalg.GMRES(40))
    auto = linalg.Auto(tuple(linalg.Candidate(method, M) for method in methods))
    runners.append(Chain("pdeflow Auto", sequence, arrays, auto, None, device=device, sort=sort))
    for peer in peers.same_preconditioner(name, definite, symmetric, not sequence.b.is_complex()):
        runners.append(_peer_at_best(peer, workers[peer.worker], arrays, limit))
    return runners


def _peer_at_best(peer: peers.Peer, worker: Worker, arrays: dict[str, np.ndarray], limit: float) -> PeerRun:
    def build(setting: Any) -> Callable[[], PeerRun]:
        return lambda: PeerRun(peer, setting, worker, arrays, limit)

    made = [build(setting) for setting in peer.settings]
    return made[0]() if len(made) == 1 else fastest(made, 3)


def best_against_best(
    sequence: SystemSequence,
    arrays: dict[str, np.ndarray],
    workers: dict[str, Worker],
    limit: float,
    device: str,
) -> list[Any]:
    """Everyone with the setting that was fastest on the first systems; ours finds out by itself."""
    tags = sequence.operator.tags
    chains = 1 if sequence.sequential else CHAINS
    ours = Chain("pdeflow Auto", sequence, arrays, linalg.Auto(), None, device=device, chains=chains)
    runners: list[Any] = [ours]
    for peer in peers.best(Tag.POSITIVE_DEFINITE in tags, Tag.SYMMETRIC in tags, not sequence.b.is_complex()):
        runners.append(_peer_at_best(peer, workers[peer.worker], arrays, limit))
    return runners


def rows_of(contest: str, family: Family, preconditioner: str, runners: list[Any]) -> list[dict[str, Any]]:
    """One row a contender, with its ratio to the last of ours."""
    ours = [r for r in runners if isinstance(r, Chain)][-1]
    rows = []
    for runner in runners:
        tally = runner.tally
        measured = not tally.error and tally.seconds and ours.tally.seconds and not ours.tally.error
        counted = measured and tally.products and ours.tally.products
        rows.append(
            {
                "contest": contest,
                "case": family.name,
                "dim": family.dim,
                "preconditioner": preconditioner,
                "peer": runner.name,
                "systems": len(tally.seconds),
                "failed": tally.failed,
                "peer_ms": tally.error or (tally.ms if tally.seconds else NOT_MEASURED),
                "peer_ms_after_pilot": tally.ms_after(PILOT),
                "peer_iterations": tally.iterations,
                "peer_residual": tally.residual,
                "pdeflow_ms": ours.tally.ms if ours.tally.seconds else NOT_MEASURED,
                "pdeflow_iterations": ours.tally.iterations,
                "pdeflow_failed": ours.tally.failed,
                "ratio": tally.ms / ours.tally.ms if measured else NOT_MEASURED,
                "iteration_ratio": np.mean(tally.products) / np.mean(ours.tally.products)
                if counted
                else NOT_MEASURED,
                "setting": runner.setting,
            }
        )
    return rows


def measure(
    family: Family, count: int, workers: dict[str, Worker], budget: float, limit: float, device: str
) -> list[dict[str, Any]]:
    """Both contests on one sequence."""
    WORK.mkdir(parents=True, exist_ok=True)
    sequence = family.make(count)
    arrays = sequence.arrays()
    path = WORK / "sequence.npz"
    np.savez(path, **arrays)
    workers = {"scipy": workers["scipy"], "petsc": workers["complex" if sequence.b.is_complex() else "real"]}

    def fresh() -> None:
        for worker in workers.values():
            try:
                worker.load(path)
            except Absent:
                continue

    rows: list[dict[str, Any]] = []
    for name in family.preconditioners:
        fresh()
        runners = same_preconditioner(sequence, arrays, name, workers, limit, device)
        fresh()
        take_turns(runners, count, budget)
        rows += rows_of(SAME, family, name, runners)
    fresh()
    runners = best_against_best(sequence, arrays, workers, limit, device)
    fresh()
    take_turns(runners, count, budget)
    rows += rows_of(BEST, family, "best", runners)
    for worker in workers.values():
        worker.stop()
    return rows


def summarise(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Least ratios over the rows; where ours failed, there is no ratio to speak of and it counts as 0."""

    def least(key: str, chosen: list[dict[str, Any]]) -> float | str:
        values = [0.0 if r["pdeflow_failed"] else r[key] for r in chosen if isinstance(r[key], float)]
        return min(values) if values else NOT_MEASURED

    def best_of(chosen: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The fastest peer that solved everything, of each case under each preconditioner."""
        groups: dict[tuple[str, str], dict[str, Any]] = {}
        for row in chosen:
            if row["peer"].startswith("pdeflow") or row["failed"] or not isinstance(row["ratio"], float):
                continue
            key = row["case"], row["preconditioner"]
            if key not in groups or row["ratio"] < groups[key]["ratio"]:
                groups[key] = row
        return list(groups.values())

    def of(contest: str, *starts: str, preconditioner: str = "") -> list[dict[str, Any]]:
        return [
            row
            for row in rows
            if row["contest"] == contest
            and row["case"].startswith(starts)
            and row["preconditioner"].startswith(preconditioner)
        ]

    summary: dict[str, Any] = {}
    for suffix, name in (("", "none"), ("_ilu", "ilu")):
        waves = [
            row
            for row in of(SAME, "helmholtz", preconditioner=name)
            if float(row["case"].rpartition("_k")[2]) <= 11
        ]
        restarted = [row for row in waves if row["peer"] in ("SciPy gmres(40)", "PETSc GMRES(40)")]
        recycled = [row for row in waves if row["peer"] == "SciPy gcrotmk, recycled"]
        summary[f"helmholtz_iteration_ratio{suffix}"] = least("iteration_ratio", restarted)
        summary[f"helmholtz_time_ratio{suffix}"] = least("ratio", restarted)
        summary[f"helmholtz_vs_gcrotmk{suffix}"] = least("ratio", recycled)
        # The same for GCRO-DR alone, the better of its two orders, whatever Auto took.
        for key, column, chosen in (
            ("iteration_ratio", "iteration_ratio", restarted),
            ("time_ratio", "ratio", restarted),
            ("vs_gcrotmk", "ratio", recycled),
        ):
            ratios = [_against_recycling(row, column, waves) for row in chosen]
            known = [ratio for ratio in ratios if ratio is not None]
            summary[f"helmholtz_{key}_gcrodr{suffix}"] = min(known) if known else NOT_MEASURED
    related = best_of(of(SAME, "convection_time", "convection_sweep"))
    summary["convection_time_ratio"] = least("ratio", related)
    best = best_of([row for row in rows if row["contest"] == BEST])
    flat = [row for row in best if row["dim"] == 2 and "_64_" not in row["case"]]
    summary["best_vs_best_2d"] = least("ratio", flat)
    summary["best_vs_best_2d_64"] = least("ratio", [r for r in best if "_64_" in r["case"]])
    summary["best_vs_best_3d"] = least("ratio", [row for row in best if row["dim"] == 3])
    return summary


def _against_recycling(row: dict[str, Any], column: str, rows: list[dict[str, Any]]) -> float | None:
    """How many times as much as our GCRO-DR a peer took on the same case; 0 where ours failed."""
    ours = [
        other
        for other in rows
        if other["peer"].startswith("pdeflow GCRO-DR")
        and (other["case"], other["preconditioner"]) == (row["case"], row["preconditioner"])
        and isinstance(other[column], float)
    ]
    if not ours or not isinstance(row[column], float):
        return None
    best = min(ours, key=lambda other: other["ratio"])
    return 0.0 if best["failed"] else row[column] / best[column]


def earlier(path: Path | None, settings: dict[str, Any]) -> dict[str, Any]:
    """What an interrupted run of the same settings has written, to go on with."""
    if path is None or not path.exists():
        return {"rows": [], "runs": []}
    held = json.loads(path.read_text())
    theirs = {"quick": held["summary"]["quick"], "device": held["device"]}
    if theirs != settings:
        raise SystemExit(f"{path} holds results of {theirs}, not of {settings}; choose another file")
    return held


def main() -> None:
    made = parser(__doc__ or "", rows=[f.name for f in FAMILIES], device=True)
    made.add_argument("--resume", action="store_true", help="keep the families that --json has")
    options = made.parse_args()
    torch.set_num_threads(1)
    named = options.rows or [f.name for f in FAMILIES if not options.quick or f.name in QUICK]
    settings = {"quick": options.quick, "device": options.device}
    held = earlier(options.json if options.resume else None, settings)
    rows: list[dict[str, Any]] = held["rows"]
    runs: list[dict[str, Any]] = [*held["runs"], {"load_average": os.getloadavg(), "families": []}]
    there = {row["case"] for row in rows}
    workers = {"scipy": scipy_worker(), "real": petsc_worker(), "complex": petsc_worker("complex")}
    versions: dict[str, str | None] = {}
    device = options.device == "cpu" or torch.cuda.is_available()
    more: dict[str, Any] = {"peers": versions, "runs": runs, "device": options.device}
    summary: dict[str, Any] = {"quick": options.quick}
    try:
        for name, worker in workers.items():
            try:
                versions |= worker.ask({"versions": True}, 120)["versions"]
            except Absent:
                versions[name] = None
                print(f"{name}: not installed, and its rows will say so; make peers installs it.", flush=True)
        for family in FAMILIES:
            if family.name not in named or family.name in there:
                continue
            if not device:
                rows.append({"case": family.name, "dim": family.dim, "ratio": NOT_MEASURED})
                continue
            count, budget, limit = (10, 1.0, 4.0) if options.quick else (100, BUDGET, LIMIT)
            found = measure(family, count, workers, budget, limit, options.device)
            print(table(found), flush=True)
            rows += found
            runs[-1]["families"].append(family.name)
            summary = {**summarise(rows), "quick": options.quick}
            if options.json:
                write(options.json, rows, summary, **more)
    finally:
        for worker in workers.values():
            worker.stop()
    finish(options.json, rows, summary, **more)


if __name__ == "__main__":
    main()
