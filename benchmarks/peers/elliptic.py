"""Who ``benchmarks.elliptic`` compares with, and the settings that are tried for each.

Every setting is tried on every case, and the fastest that reaches the residual is the one that is timed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

CG = "-ksp_type cg -ksp_norm_type unpreconditioned"
CHOLESKY = "-ksp_type preonly -pc_type cholesky -pc_factor_mat_solver_type"


@dataclass(frozen=True)
class Peer:
    """One row of the table: a method of a worker, and its settings in two and in three dimensions.

    ``common`` is whether it is a usual choice for a matrix of this kind. The others need to know more (the
    grid, or that the pattern stays), or a few lines around a library; the summary counts without and with
    them.
    """

    name: str
    worker: str
    method: str
    settings: dict[int, list[Any]]
    common: bool = True


def _both(settings: list[Any]) -> dict[int, list[Any]]:
    return {2: settings, 3: settings}


def _boomeramg(dim: int) -> list[str]:
    base = f"{CG} -pc_type hypre -pc_hypre_type boomeramg"
    option = " -pc_hypre_boomeramg_"
    # One sweep forwards on the way down and one backwards on the way up: symmetric, at half the usual cost.
    half = f"{option}relax_type_down SOR/Jacobi{option}relax_type_up backward-SOR/Jacobi"
    found = [base, base + half]
    thresholds = ("0.25", "0.5") if dim == 2 else ("0.25", "0.5", "0.7")
    for threshold in thresholds:
        modern = f"{option}coarsen_type HMIS{option}interp_type ext+i{option}strong_threshold {threshold}"
        found.append(base + half + modern)
        found.append(base + half + modern + f"{option}P_max 4{option}agg_nl 1")
    return found


def _gamg(dim: int) -> list[str]:
    base = f"{CG} -pc_type gamg"
    point = " -mg_levels_ksp_type richardson -mg_levels_pc_type sor -mg_levels_ksp_max_it 1"
    jacobi = " -mg_levels_ksp_type chebyshev -mg_levels_pc_type jacobi -mg_levels_ksp_max_it 2"
    kept = " -pc_gamg_reuse_interpolation true"
    return [
        base,
        base + point,
        base + jacobi,
        base + point + " -pc_gamg_threshold 0.02",
        base + point + " -pc_gamg_aggressive_coarsening 0",
        base + kept + point,
        base + kept + jacobi,
    ]


SWEEPS = {
    "presmoother": ["gauss_seidel", {"sweep": "forward"}],
    "postsmoother": ["gauss_seidel", {"sweep": "backward"}],
}
PEERS = (
    Peer(
        "SuperLU (SciPy)",
        "python",
        "superlu",
        _both([{"permc_spec": "MMD_AT_PLUS_A", "symmetric": True}, {"permc_spec": "COLAMD"}]),
    ),
    Peer(
        "PyAMG Ruge-Stuben + CG",
        "python",
        "ruge_stuben",
        _both(
            [
                {},
                SWEEPS,
                {**SWEEPS, "max_coarse": 100},
                {**SWEEPS, "strength": ["classical", {"theta": 0.5}]},
            ]
        ),
    ),
    Peer(
        "PyAMG smoothed aggregation + CG",
        "python",
        "smoothed_aggregation",
        _both(
            [
                {},
                {"improve_candidates": None},
                {**SWEEPS, "improve_candidates": None},
                {**SWEEPS, "improve_candidates": None, "max_coarse": 100},
                {**SWEEPS, "improve_candidates": None, "strength": ["symmetric", {"theta": 0.08}]},
            ]
        ),
    ),
    Peer(
        "torch-sla",
        "python",
        "torch_sla",
        _both(
            [
                {"backend": "pytorch", "method": "cg", "preconditioner": "pyamg"},
                {"backend": "pytorch", "method": "cg", "preconditioner": "jacobi"},
                {"backend": "pyamg", "method": "ruge_stuben"},
                {"backend": "scipy", "method": "lu"},
            ]
        ),
    ),
    Peer("PETSc CG + hypre BoomerAMG", "petsc", "ksp", {2: _boomeramg(2), 3: _boomeramg(3)}),
    Peer("PETSc CG + GAMG", "petsc", "ksp", {2: _gamg(2), 3: _gamg(3)}),
    Peer(
        "PETSc CG + ICC",
        "petsc",
        "ksp",
        _both([f"{CG} -pc_type icc -pc_factor_levels {levels}" for levels in (0, 1, 2)]),
    ),
    Peer(
        "PETSc Cholesky, ordering kept",
        "petsc",
        "ksp",
        _both(
            [
                f"{CHOLESKY} cholmod",
                f"{CHOLESKY} petsc -pc_factor_mat_ordering_type nd",
                f"{CHOLESKY} mumps -mat_mumps_icntl_7 5",
            ]
        ),
        common=False,
    ),
    Peer(
        "PETSc CG + hypre PFMG",
        "petsc",
        "struct",
        _both(
            [
                f"{CG} -pc_type pfmg -pc_pfmg_relax_type symmetric-Red/Black-Gauss-Seidel",
                f"{CG} -pc_type pfmg",
                f"{CG} -pc_type smg",
            ]
        ),
        common=False,
    ),
    Peer(
        "SciPy CG + sine transforms",
        "python",
        "fast_poisson",
        _both([{}, {"scaled": True}, {"single": True}, {"scaled": True, "single": True}]),
        common=False,
    ),
)
