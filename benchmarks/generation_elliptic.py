"""The elliptic half of ``benchmarks.generation``: what a good user would write around a sparse solver.

A pool of processes around SuperLU, PyAMG or PETSc (``peers/generation_pool.py``). Of the settings, those that
``benchmarks.elliptic`` and ``benchmarks.recycling`` found fastest or nearly so, the one that takes the least
time a sample on a few is timed. Everyone solves to a relative residual of 1e-8; a setting that misses it on
these samples is out.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.generation_run import FOLDER, Ours, Run, timed
from benchmarks.peers.worker import PETSC_BUILDS, PETSC_PYTHON
from benchmarks.result import ROOT

RESIDUAL = 1e-8
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
PETSC = " -pc_factor_mat_solver_type petsc -pc_factor_mat_ordering_type nd"
MUMPS = " -pc_factor_mat_solver_type mumps -mat_mumps_icntl_7 5"
LU, CHOLESKY = "-ksp_type preonly -pc_type lu", "-ksp_type preonly -pc_type cholesky"
RIGHT = "-ksp_pc_side right -ksp_gmres_restart 40"
ILU = " -pc_type ilu -pc_factor_levels 3"
DEFLATED = " -ksp_type dgmres -ksp_dgmres_eigen 4 -ksp_dgmres_max_eigen 20 -ksp_dgmres_force true"
SUPERLU = ("SuperLU (SciPy)", "superlu", ({"permc_spec": "MMD_AT_PLUS_A", "symmetric": True},))
SPD = (
    SUPERLU,
    ("PyAMG Ruge-Stuben + CG", "ruge_stuben", (SWEEPS,)),
    ("PETSc CG + hypre BoomerAMG", "ksp", (BOOMERAMG, BOOMERAMG + HMIS)),
    (
        "PETSc CG + ICC(2)",
        "ksp",
        ("-ksp_type cg -ksp_norm_type unpreconditioned -pc_type icc -pc_factor_levels 2",),
    ),
    (
        "PETSc Cholesky, ordering kept",
        "ksp",
        (CHOLESKY + PETSC, CHOLESKY + " -pc_factor_mat_solver_type cholmod", CHOLESKY + MUMPS),
    ),
)
INDEFINITE = (
    SUPERLU,
    # The wave number does not vary in space, and u is 0 on the sides: this is exact, and no solver is needed.
    ("sine transforms (SciPy)", "sine_transforms", ({},)),
    (
        "PETSc, direct",
        "ksp",
        (
            LU + PETSC,
            LU + " -pc_factor_mat_solver_type umfpack",
            LU + MUMPS,
            CHOLESKY + PETSC,
            CHOLESKY + MUMPS,
        ),
    ),
    (
        "PETSc, iterative",
        "ksp",
        (
            RIGHT + " -ksp_type bcgs" + ILU,
            RIGHT + DEFLATED + ILU,
        ),
    ),
)
"""Cholesky is L D L^T here, in PETSc's own form without pivots."""
UNCOMMON = {"PETSc Cholesky, ordering kept"}
"""Peers that the summary counts with ``_all`` only: they have to be told that the pattern stays."""
TRIAL = 48


@dataclass(frozen=True)
class Case:
    """A family at a size: the recipe that ships, with other nodes and samples."""

    name: str
    family: str
    n: int
    samples: int
    peers: tuple[tuple[str, str, tuple[Any, ...]], ...]


CASES = (
    Case("darcy_128", "darcy", 128, 10000, SPD),
    Case("darcy_256", "darcy", 256, 2000, SPD),
    Case("helmholtz_128", "helmholtz", 128, 2000, INDEFINITE),
)


def ours(case: Case, device: str = "cpu") -> Ours:
    """``pdeflow generate``."""
    changes = {"resolution": case.n + 2, "rtol": RESIDUAL}
    return Ours(case.family, changes, ("--device", device))


class Peer:
    """A pool of processes around a solver, with the fastest of its settings."""

    def __init__(self, case: Case, name: str, method: str, settings: tuple[Any, ...]) -> None:
        self.case, self.method, self.settings, self.run = case, method, settings, Run(name)
        self.setting = settings[0]
        self.python, self.environment = Path(sys.executable), {"PYTHONPATH": str(ROOT)}
        if method == "ksp":
            build = next(iter(sorted(PETSC_BUILDS.glob("petsc*/*-real"))), None)
            self.python, self.environment = PETSC_PYTHON, {"PETSC_DIR": str(build)}

    def generate(self, samples: int) -> float:
        """Seconds."""
        return self.ask(samples)[0]

    def ask(self, samples: int, check: bool = False) -> tuple[float, dict[str, Any]]:
        """Seconds, and what the pool tells."""
        job = {"family": self.case.family, "n": self.case.n, "samples": samples, "method": self.method}
        job |= {"setting": self.setting, "workers": 2, "seed": 0, "check": check}
        path = FOLDER / "job.json"
        path.write_text(json.dumps(job | {"out": str(FOLDER / "peer")}))
        module = "benchmarks.peers.generation_pool"
        seconds, told = timed([self.python, "-m", module, path], self.environment)
        return seconds, json.loads(told)

    def prepare(self, samples: int) -> None:
        """Choose the setting on a few samples, by the time a sample and the residual, and time the start."""
        if not self.python.exists():
            self.run.failure = "not installed"
            return
        best, chosen, failure = float("inf"), None, ""
        for setting in self.settings:
            self.setting = setting
            try:
                told = self.ask(TRIAL, check=True)[1]
            except RuntimeError as error:
                failure = failure or str(error)
                continue
            if not told["residual"] <= RESIDUAL:
                failure = failure or f"missed {RESIDUAL:g}"
            elif told["sample_s"] < best:
                best, chosen, self.run.error = told["sample_s"], setting, told["residual"]
        if chosen is None:
            self.run.failure = failure
            return
        self.setting = chosen
        self.run.setting = chosen if isinstance(chosen, str) else json.dumps(chosen)
        self.run.start = self.generate(2)


def peers(case: Case) -> list[Peer]:
    """Those of the case."""
    return [Peer(case, *peer) for peer in case.peers]
