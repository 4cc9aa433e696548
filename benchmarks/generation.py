"""Data sets from end to end: ``pdeflow generate`` and what a good user would write today, on two processes.

Elliptic families (``generation_elliptic.py``) against pools of processes around SuperLU, PyAMG and PETSc, to
the same residual; equations in time (``generation_time.py``) against exponax and torchfsm, to the same error.
Both sides draw their own samples of one distribution and end with closed files; ours are compressed, verified
and recorded, the peers' are not. What is timed is the whole process, from the command to its end, its start
included. Compilation is paid once a machine and not in that time: our C loops lie in our cache and JAX's
programs in its own, both filled before. ``compile_s`` says what that costs: the start with an empty cache, or
without one, less ``start_s``, the start with a full one; both are runs of two samples. The elliptic peers
compile nothing. Every contender is run first on a few samples, to choose the fastest of its settings and to
check its ``error``: the relative residual, or in time the error against a fine reference. Medians of rounds
that go round all contenders; of a peer that takes more than twice the time of the fastest, the first round.

``two_process_speedup`` is our time on one process over that on two. ``solving_share`` is the time in drawing
and solving, over both processes, as a share of two times the wall clock. ``generation_over_solving`` is what
writing, packing, verifying and recording cost: the wall clock of a run times its processes, less the part of
a run of two samples in which it does not draw or solve, over the time in drawing and solving; the larger of
those on one process and on two, and the largest of the cases.
With ``--device cuda`` ours samples and solves there; the peers stay on the two cores.
``python -m benchmarks.generation [--quick] [--rows A,B] [--device cpu|cuda] [--json FILE]``
"""

from __future__ import annotations

import os
import shutil
from typing import Any

import torch

from benchmarks import generation_elliptic, generation_time
from benchmarks.generation_run import FOLDER, measure, unmeasured
from benchmarks.result import NOT_MEASURED, finish, parser, write

CASES = {case.name: case for case in (*generation_elliptic.CASES, *generation_time.CASES)}
QUICK = {"darcy_128": 200, "helmholtz_128": 100, "burgers_1024": 100}
"""Cases of a quick run, and their samples; the others need minutes for a reference and for the steps."""
RATIOS = {
    "darcy_128": "darcy_128",
    "darcy_256": "darcy_256",
    "helmholtz": "helmholtz_128",
    "burgers": "burgers_1024",
    "ks": "ks_256",
    "ns": "ns_64",
}


def summarise(rows: list[dict[str, Any]], numbers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The smallest ratios to the peers of each case; ``_all`` counts uncommon peers too."""

    def least(case: str, without: set[str]) -> float | str:
        ratios = [
            row["ratio"]
            for row in rows
            if row["case"] == case
            and row["peer"] not in {"pdeflow", *without}
            and isinstance(row["ratio"], float)
        ]
        return min(ratios) if ratios else NOT_MEASURED

    summary: dict[str, Any] = {}
    for key, case in RATIOS.items():
        summary[f"{key}_ratio"] = least(case, generation_elliptic.UNCOMMON)
        if isinstance(CASES[case], generation_elliptic.Case):
            summary[f"{key}_ratio_all"] = least(case, set())
    measured = [n["speedup"] for n in numbers.values()]
    summary["two_process_speedup"] = min(measured) if measured else NOT_MEASURED
    over = [n["over_solving"] for n in numbers.values()]
    summary["generation_over_solving"] = max(over) if over else NOT_MEASURED
    for case, own in numbers.items():
        summary[f"solving_share_{case}"] = own["share"]
        summary[f"generation_over_solving_{case}"] = own["over_solving"]
    return summary


def main() -> None:
    options = parser(__doc__ or "", rows=list(CASES), device=True).parse_args()
    load = os.getloadavg()
    device_is_there = options.device == "cpu" or torch.cuda.is_available()
    more = {"load_average": load, "processes": 2, "device": options.device}
    rows: list[dict[str, Any]] = []
    numbers: dict[str, dict[str, Any]] = {}
    for name, case in CASES.items():
        wanted = name in options.rows if options.rows else not options.quick or name in QUICK
        if not wanted:
            continue
        samples, rounds = (QUICK.get(name, 20), 1) if options.quick else (case.samples, 3)
        half = generation_time if isinstance(case, generation_time.Case) else generation_elliptic
        peers = half.peers(case)
        if not device_is_there:
            rows += unmeasured(name, ["pdeflow", *(peer.run.name for peer in peers)], samples)
            continue
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir(parents=True)
        found, numbers[name] = measure(name, half.ours(case, options.device), peers, samples, rounds)
        rows += found
        if options.json is not None:  # what is measured is kept if a later case ends the run
            write(options.json, rows, {**summarise(rows, numbers), "quick": options.quick}, **more)
    shutil.rmtree(FOLDER, ignore_errors=True)
    finish(options.json, rows, {**summarise(rows, numbers), "quick": options.quick}, **more)


if __name__ == "__main__":
    main()
