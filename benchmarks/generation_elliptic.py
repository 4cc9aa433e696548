"""The elliptic half of ``benchmarks.generation``: what a good user would write around a sparse solver.

A pool of processes around SuperLU, PyAMG or PETSc (``peers/generation_pool.py``), with settings that
``benchmarks.elliptic`` and ``benchmarks.recycling`` found fastest. Everyone solves to a relative residual of
1e-8; a peer that misses it on a few samples has no time.
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


def ours(case: Case) -> Ours:
    """``pdeflow generate``."""
    changes = {"resolution": case.n + 2, "rtol": RESIDUAL}
    return Ours(case.family, changes, ("--solver", case.solver) if case.solver else ())


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
            self.run.error = json.loads(told)["residual"]
            if not self.run.error <= RESIDUAL:
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


def peers(case: Case) -> list[Peer]:
    """Those of the case."""
    return [Peer(case, *peer) for peer in case.peers]
