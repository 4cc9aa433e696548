"""Data sets from end to end: ``pdeflow generate`` and what a good user would write today, on two processes.

Elliptic families: a pool of processes around SuperLU, PyAMG or PETSc (``peers/generation_pool.py``), with
settings that ``benchmarks.elliptic`` and ``benchmarks.recycling`` found fastest. Both sides draw their own
samples of one distribution, solve to a relative residual of 1e-8, and end with closed files; ours are
compressed, verified and recorded, the peers' are not. What is timed is the whole
process, its start included; ``start_s`` is that
of a run of two samples. Every contender is run first on a few samples, to check its residual; a peer that
misses 1e-8 has no time. Medians of rounds that go round all contenders.

``two_process_speedup`` is our time on one process over that on two. ``solving_share`` is the time in drawing
and solving, over both processes, as a share of two times the wall clock.
``python -m benchmarks.generation [--quick] [--rows A,B] [--json FILE]``
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from benchmarks.peers.worker import ONE_THREAD, PETSC_BUILDS, PETSC_PYTHON
from benchmarks.result import NOT_MEASURED, ROOT, WORK, finish, parser

RESIDUAL = 1e-8
FOLDER = WORK / "generation"
BOOMERAMG = (
    "-ksp_type cg -ksp_norm_type unpreconditioned -pc_type hypre -pc_hypre_type boomeramg"
    " -pc_hypre_boomeramg_relax_type_down SOR/Jacobi -pc_hypre_boomeramg_relax_type_up backward-SOR/Jacobi"
)
HMIS = (
    " -pc_hypre_boomeramg_coarsen_type HMIS -pc_hypre_boomeramg_interp_type ext+i"
    " -pc_hypre_boomeramg_strong_threshold 0.25 -pc_hypre_boomeramg_P_max 4 -pc_hypre_boomeramg_agg_nl 1"
)
SWEEPS = {
    "presmoother": ["gauss_seidel", {"sweep": "forward"}],
    "postsmoother": ["gauss_seidel", {"sweep": "backward"}],
    "max_coarse": 100,
}
DIRECT = "-ksp_type preonly -pc_factor_mat_solver_type petsc -pc_factor_mat_ordering_type nd"
SUPERLU = ("SuperLU (SciPy)", "superlu", {"permc_spec": "MMD_AT_PLUS_A", "symmetric": True})
SPD = (
    SUPERLU,
    ("PyAMG Ruge-Stuben + CG", "ruge_stuben", SWEEPS),
    ("PETSc CG + hypre BoomerAMG", "ksp", BOOMERAMG),
    ("PETSc CG + hypre BoomerAMG, HMIS", "ksp", BOOMERAMG + HMIS),
    ("PETSc Cholesky, ordering kept", "ksp", DIRECT + " -pc_type cholesky"),
)
INDEFINITE = (
    SUPERLU,
    ("PETSc LU, ordering kept", "ksp", DIRECT + " -pc_type lu"),
    ("PETSc BiCGStab + ILU(3)", "ksp", "-ksp_type bcgs -ksp_pc_side right -pc_type ilu -pc_factor_levels 3"),
)
UNCOMMON = {"PETSc Cholesky, ordering kept"}
"""Peers that the summary counts with ``_all`` only: they have to be told that the pattern stays."""


@dataclass(frozen=True)
class Case:
    """A family at a size: the recipe that ships, with other nodes and samples."""

    name: str
    family: str
    n: int
    samples: int
    peers: tuple[tuple[str, str, Any], ...]
    solver: str | None = None


CASES = (
    Case("darcy_128", "darcy", 128, 3000, SPD),
    Case("darcy_256", "darcy", 256, 800, SPD),
    Case("helmholtz_128", "helmholtz", 128, 2000, INDEFINITE, solver="auto"),
)
QUICK = {"darcy_128": 400, "helmholtz_128": 200}


@dataclass
class Run:
    """What a contender did: wall-clock seconds of each round."""

    name: str
    seconds: list[float] = field(default_factory=list)
    start: float = 0.0
    residual: float = 0.0
    failure: str = ""

    @property
    def median(self) -> float | str:
        return self.failure or statistics.median(self.seconds)


def timed(command: list[str | Path], environment: dict[str, str]) -> tuple[float, str]:
    """Wall-clock seconds of a process, and the last line that it printed."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    begin = time.perf_counter()
    done = subprocess.run(
        list(map(str, command)),
        cwd=ROOT,
        env=variables | ONE_THREAD | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - begin
    if done.returncode:
        raise RuntimeError(done.stderr.strip().split("\n")[-1][:100])
    return seconds, done.stdout.strip().split("\n")[-1]


class Ours:
    """``pdeflow generate``."""

    def __init__(self, case: Case) -> None:
        self.case, self.run = case, Run("pdeflow")
        self.solving = 0.0

    def generate(self, samples: int, workers: int = 2) -> float:
        """Seconds; the file and its record lie in ``FOLDER`` afterwards."""
        recipe = yaml.safe_load((ROOT / "datasets" / self.case.family / "recipe.yaml").read_text())
        recipe |= {"resolution": self.case.n + 2, "samples": samples, "rtol": RESIDUAL}
        path = FOLDER / "recipe.yaml"
        path.write_text(yaml.safe_dump(recipe))
        command = [sys.executable, "-m", "pdeflow", "generate", "-c", path, "-o", FOLDER / "ours.h5"]
        command += ["--workers", str(workers), "--overwrite"]
        command += ["--solver", self.case.solver] if self.case.solver else []
        seconds, _ = timed(command, {"PYTHONPATH": str(ROOT)})
        record = json.loads((FOLDER / "ours.h5.manifest.json").read_text())
        self.run.residual = max(row["residual"] for row in record["chains"])
        failed = samples - sum(row["statuses"].get("CONVERGED", 0) for row in record["chains"])
        if failed:
            self.run.failure = f"{failed} samples failed"
        self.solving = sum(row["seconds"] for row in record["chains"]) / (workers * seconds)
        return seconds


class Peer:
    """A pool of processes around a solver."""

    def __init__(self, case: Case, name: str, method: str, setting: Any) -> None:
        self.case, self.method, self.setting, self.run = case, method, setting, Run(name)
        self.python, self.environment = Path(sys.executable), {"PYTHONPATH": str(ROOT)}
        if method == "ksp":
            build = next(iter(sorted(PETSC_BUILDS.glob("petsc*/*-real"))), None)
            self.python, self.environment = PETSC_PYTHON, {"PETSC_DIR": str(build)}

    def generate(self, samples: int, check: bool = False) -> float:
        """Seconds."""
        job = {"family": self.case.family, "n": self.case.n, "samples": samples, "method": self.method}
        job |= {"setting": self.setting, "workers": 2, "seed": 0, "check": check}
        path = FOLDER / "job.json"
        path.write_text(json.dumps(job | {"out": str(FOLDER / "peer")}))
        module = "benchmarks.peers.generation_pool"
        seconds, told = timed([self.python, "-m", module, path], self.environment)
        if check:
            self.run.residual = json.loads(told)["residual"]
            if not self.run.residual <= RESIDUAL:
                self.run.failure = f"missed {RESIDUAL:g}"
        return seconds

    def prepare(self) -> None:
        """Check the residual on a few samples, and time the start."""
        if not self.python.exists():
            self.run.failure = "not installed"
            return
        try:
            self.generate(16, check=True)
            self.run.start = self.generate(2)
        except RuntimeError as error:
            self.run.failure = str(error)


def measure(case: Case, samples: int, rounds: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows of a case, and what the summary takes from it."""
    ours = Ours(case)
    ours.generate(2)  # compiles what is not in the cache
    ours.run.start = ours.generate(2)
    peers = [Peer(case, *peer) for peer in case.peers]
    for peer in peers:
        peer.prepare()
    alone = []
    for _ in range(rounds):
        ours.run.seconds.append(ours.generate(samples))
        share = ours.solving
        alone.append(ours.generate(samples, workers=1))
        for peer in peers:
            if not peer.run.failure:
                peer.run.seconds.append(peer.generate(samples))
    if ours.run.failure:
        raise SystemExit(f"{case.name}: {ours.run.failure}")
    mine = statistics.median(ours.run.seconds)
    rows = []
    for run in (ours.run, *(peer.run for peer in peers)):
        took = run.median
        rows.append(
            {
                "case": case.name,
                "peer": run.name,
                "samples": samples,
                "peer_value": samples / took if isinstance(took, float) else took,
                "pdeflow_value": samples / mine,
                "ratio": took / mine if isinstance(took, float) else NOT_MEASURED,
                "peer_s": took,
                "start_s": run.start,
                "residual": run.residual,
            }
        )
    numbers = {"speedup": statistics.median(alone) / mine, "share": share}
    return rows, numbers


def summarise(rows: list[dict[str, Any]], numbers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The smallest ratios to the peers of each case."""

    def least(case: str, everyone: bool) -> float | str:
        ratios = [
            row["ratio"]
            for row in rows
            if row["case"] == case
            and row["peer"] != "pdeflow"
            and isinstance(row["ratio"], float)
            and (everyone or row["peer"] not in UNCOMMON)
        ]
        return min(ratios) if ratios else NOT_MEASURED

    summary: dict[str, Any] = {}
    for key, case in (("darcy_128", "darcy_128"), ("darcy_256", "darcy_256"), ("helmholtz", "helmholtz_128")):
        summary[f"{key}_ratio"] = least(case, everyone=False)
        summary[f"{key}_ratio_all"] = least(case, everyone=True)
    for key in ("burgers_ratio", "ks_ratio", "ns_ratio"):
        summary[key] = NOT_MEASURED
    measured = [n["speedup"] for n in numbers.values()]
    summary["two_process_speedup"] = min(measured) if measured else NOT_MEASURED
    for case, own in numbers.items():
        summary[f"solving_share_{case}"] = own["share"]
    return summary


def main() -> None:
    options = parser(__doc__ or "", rows=[case.name for case in CASES]).parse_args()
    load = os.getloadavg()
    rows: list[dict[str, Any]] = []
    numbers: dict[str, dict[str, Any]] = {}
    for case in CASES:
        wanted = case.name in options.rows if options.rows else not options.quick or case.name in QUICK
        if not wanted:
            continue
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.mkdir(parents=True)
        samples, rounds = (QUICK.get(case.name, 100), 1) if options.quick else (case.samples, 3)
        found, numbers[case.name] = measure(case, samples, rounds)
        rows += found
    shutil.rmtree(FOLDER, ignore_errors=True)
    summary = summarise(rows, numbers)
    finish(options.json, rows, {**summary, "quick": options.quick}, load_average=load, processes=2)


if __name__ == "__main__":
    main()
