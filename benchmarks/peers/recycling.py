"""Who ``benchmarks.recycling`` compares with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

RIGHT = "-ksp_pc_side right -ksp_gmres_restart 40"
FORCED = " -ksp_dgmres_force true"
LU = "-ksp_type preonly -pc_type lu -pc_factor_mat_solver_type"


@dataclass(frozen=True)
class Peer:
    """A method of a worker, and the settings of which the fastest counts."""

    name: str
    worker: str
    method: str
    settings: tuple[Any, ...]


TIGHTER = tuple(f"-ksp_rtol {rtol:g}" for rtol in (1e-8, 1e-9, 1e-10))


def same_preconditioner(
    preconditioner: str, positive_definite: bool, symmetric: bool, real: bool
) -> list[Peer]:
    """The Krylov methods of SciPy and PETSc under one preconditioner; all keep 40 vectors, or a few."""

    def scipy(name: str, method: str, **more: Any) -> Peer:
        return Peer(name, "scipy", method, ({"preconditioner": preconditioner, **more},))

    peers = [
        scipy("SciPy gmres(40)", "gmres"),
        scipy("SciPy lgmres", "lgmres"),
        scipy("SciPy lgmres, carried", "lgmres", carry=True),
        scipy("SciPy gcrotmk", "gcrotmk"),
        scipy("SciPy gcrotmk, recycled", "gcrotmk", carry=True),
    ]
    if preconditioner == "multigrid":  # of PETSc's own there is none that is the same
        return peers
    pc = f"-pc_type {preconditioner}"
    options = f"{RIGHT} {pc}"
    short = [Peer("PETSc BiCGStab", "petsc", "ksp", (f"-ksp_type bcgs -ksp_pc_side right {pc}",))]
    if positive_definite:
        short += [Peer("PETSc CG", "petsc", "ksp", (f"-ksp_type cg -ksp_norm_type unpreconditioned {pc}",))]
    elif symmetric and real:
        # It stops by the preconditioned residual, so that it must be told to go further.
        settings = tuple(f"-ksp_type minres {pc} {rtol}" for rtol in TIGHTER)
        short += [Peer("PETSc MINRES", "petsc", "ksp", settings)]
    deflated = "-ksp_type dgmres -ksp_dgmres_eigen 4 -ksp_dgmres_max_eigen 20"
    return [
        *peers,
        *short,
        Peer("PETSc GMRES(40)", "petsc", "ksp", (f"-ksp_type gmres {options}",)),
        Peer("PETSc LGMRES", "petsc", "ksp", (f"-ksp_type lgmres -ksp_lgmres_augment 3 {options}",)),
        # By itself DGMRES deflates only where it stagnates; forced, it carries its space to the next system.
        Peer("PETSc DGMRES", "petsc", "ksp", tuple(f"{deflated}{how} {options}" for how in ("", FORCED))),
    ]


def best(positive_definite: bool, symmetric: bool, real: bool) -> list[Peer]:
    """Everyone at their best, direct solvers included."""
    cg = "-ksp_type cg -ksp_norm_type unpreconditioned"
    iterative = [
        f"{RIGHT} -ksp_type {method} -pc_type ilu -pc_factor_levels {levels}"
        for method in ("gmres", "bcgs")
        for levels in (0, 1, 3)
    ]
    iterative += [
        f"{RIGHT} -ksp_type dgmres -ksp_dgmres_eigen 4 -ksp_dgmres_max_eigen 20{FORCED} -pc_type ilu"
        f" -pc_factor_levels {levels}"
        for levels in (0, 1, 3)
    ]
    iterative += [f"{RIGHT} -ksp_type gmres -pc_type gamg"]
    if real:
        iterative += [f"{RIGHT} -ksp_type gmres -pc_type hypre -pc_hypre_type boomeramg"]
    if symmetric:
        iterative += ["-ksp_type minres -pc_type jacobi"] if real else []
    direct = [
        f"{LU} petsc -pc_factor_mat_ordering_type nd",
        f"{LU} umfpack",
        f"{LU} mumps -mat_mumps_icntl_7 5",
    ]
    if positive_definite:
        iterative += [f"{cg} -pc_type icc -pc_factor_levels {levels}" for levels in (0, 1, 2)]
        iterative += [
            f"{cg} -pc_type hypre -pc_hypre_type boomeramg",
            f"{cg} -pc_type gamg",
        ]
        direct += [
            "-ksp_type preonly -pc_type cholesky -pc_factor_mat_solver_type petsc "
            "-pc_factor_mat_ordering_type nd",
            "-ksp_type preonly -pc_type cholesky -pc_factor_mat_solver_type cholmod",
        ]
    minimum = {"permc_spec": "MMD_AT_PLUS_A", "symmetric": True}
    recycled = tuple({"preconditioner": name, "carry": True} for name in ("none", "jacobi", "ilu"))
    return [
        Peer("SuperLU (SciPy)", "scipy", "splu", ({"permc_spec": "COLAMD"}, minimum)),
        Peer("SciPy gcrotmk, recycled", "scipy", "gcrotmk", recycled),
        Peer("PETSc, iterative", "petsc", "ksp", tuple(iterative)),
        Peer("PETSc, direct", "petsc", "ksp", tuple(direct)),
    ]
