"""What :class:`~pdeflow.linalg.auto.Auto` chooses from."""

from __future__ import annotations

import dataclasses
import importlib.util
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pdeflow.linalg.algebraic_multigrid import AlgebraicMultigrid
from pdeflow.linalg.arguments import check_instance
from pdeflow.linalg.bicgstab import BiCGStab
from pdeflow.linalg.cg import CG
from pdeflow.linalg.deflated_cg import DeflatedCG
from pdeflow.linalg.expanded import Shared
from pdeflow.linalg.fast_poisson import FastPoisson
from pdeflow.linalg.fgmres import FGMRES
from pdeflow.linalg.flexible_cg import FlexibleCG
from pdeflow.linalg.frozen import Frozen
from pdeflow.linalg.gcrodr import GCRODR
from pdeflow.linalg.gmres import GMRES
from pdeflow.linalg.incomplete_cholesky import IC
from pdeflow.linalg.incomplete_lu import ILU
from pdeflow.linalg.jacobi import Jacobi
from pdeflow.linalg.lgmres import LGMRES
from pdeflow.linalg.minres import MINRES
from pdeflow.linalg.multigrid import Multigrid, coarsens
from pdeflow.linalg.nested_dissection import NestedDissection
from pdeflow.linalg.null_space import Projected
from pdeflow.linalg.operator import LinearOperator, Tag
from pdeflow.linalg.preconditioner import Preconditioner
from pdeflow.linalg.solver import Solver, check_method
from pdeflow.linalg.sparse import SparseOperator
from pdeflow.linalg.sparse_direct import SparseDirect
from pdeflow.linalg.stencil import StencilOperator, boxes

# Those that are known to start every system of a sequence from nothing.
FORGETFUL = (CG, FlexibleCG, MINRES, BiCGStab, GMRES, FGMRES, LGMRES)
CARRYING = (GCRODR, DeflatedCG, Frozen)
# Unknowns up to which a sparse factorisation is tried: beyond, its fill alone takes longer than the others.
LARGEST_DIRECT = {1: 1_000_000, 2: 150_000, 3: 15_000}


@dataclass(frozen=True)
class Candidate:
    """A solver with its preconditioner."""

    solver: Solver
    preconditioner: Preconditioner | None = None

    def __post_init__(self) -> None:
        check_instance("solver", self.solver, Solver, "CG() or GMRES()")
        check_method(self.solver, self.preconditioner)

    @property
    def carries(self) -> bool | None:
        """Whether a system leaves something to the next; None if that is not known."""
        if isinstance(self.solver, CARRYING) or isinstance(bare(self.preconditioner), CARRYING):
            return True
        return False if type(self.solver) in FORGETFUL else None

    @property
    def name(self) -> str:
        """Both, with the settings that are not the default ones."""
        return " + ".join(_named(part) for part in (self.solver, self.preconditioner) if part is not None)


def bare(part: Any) -> Any:
    """A preconditioner without what a null space or a shared operator has put around it."""
    while isinstance(part, (Projected, Shared)):
        part = part.preconditioner
    return part


def _named(part: Any) -> str:
    part = bare(part)
    changed = []
    for f in dataclasses.fields(part) if dataclasses.is_dataclass(part) else ():
        value = getattr(part, f.name)
        if isinstance(value, Preconditioner):
            changed.append(_named(value))
        elif value != f.default:
            changed.append(f"{f.name}={value}")
    return type(part).__name__ + (f"({', '.join(changed)})" if changed else "")


def names(candidates: tuple[Candidate, ...]) -> list[str]:
    """What they are called."""
    return [candidate.name for candidate in candidates]


def default_method(A: LinearOperator) -> Candidate:
    """A solver and a preconditioner that are seldom far from the fastest for A, by its kind and tags alone.

    ``Auto`` finds better ones by measuring; this choice is the same every time. Where `Multigrid` cannot
    coarsen a grid, because a periodic axis has an odd number of nodes, fast transforms take its place.
    """
    definite, symmetric = Tag.POSITIVE_DEFINITE in A.tags, Tag.SYMMETRIC in A.tags
    if isinstance(A, StencilOperator):
        cycle = Multigrid() if coarsens(A.shape, A.periodic) else FastPoisson()
        if definite:
            return Candidate(CG(), cycle)
        # Complex systems are those of waves, which Multigrid does not converge for.
        if not symmetric and not A.dtype.is_complex:
            return Candidate(BiCGStab(), cycle)
        if _is_plane(A) and A.size <= LARGEST_DIRECT[2] and not _is_even(A):
            return Candidate(GMRES(restart=10), NestedDissection())
        # In float32 it would miss what lies near an eigenvalue of A.
        return Candidate(GMRES(), FastPoisson(dtype=None))
    if isinstance(A, SparseOperator):
        return Candidate(CG(), IC(relaxation=0.97)) if definite else Candidate(GMRES(), ILU())
    return Candidate(CG() if definite else GMRES())


def preparation_seconds(candidate: Candidate, A: LinearOperator) -> float:
    """About what the sparse LU factors or the algebraic multigrid of a candidate take to make on one core.

    0 for all others, which are quick to make. The operations of nested dissection grow with the power 3/2 of
    the unknowns in 2D and with their square in 3D; the constants are those of SuperLU on five- and
    seven-point stencils, and of PyAMG on linear finite elements.
    """
    inner = bare(candidate.preconditioner)
    while isinstance(inner, Frozen):
        inner = bare(inner.preconditioner)
    if isinstance(inner, AlgebraicMultigrid):
        return 7e-6 * A.size
    if not isinstance(inner, SparseDirect):
        return 0.0
    dim = len(A.shape) if isinstance(A, StencilOperator) else 2
    return A.batch * {1: 1e-6 * A.size, 2: 2e-8 * A.size**1.5}.get(dim, 2e-9 * A.size**2.0)


def default_candidates(A: LinearOperator) -> tuple[Candidate, ...]:
    """The methods that suit A; those that are hardly ever far off come first.

    Where the coefficients of a symmetric or complex stencil are the same everywhere, and those back and forth
    along an axis equal, fast transforms in its own precision are the first, because they invert it.
    """
    definite, symmetric = Tag.POSITIVE_DEFINITE in A.tags, Tag.SYMMETRIC in A.tags
    made: list[Candidate] = []
    stencil, sparse = isinstance(A, StencilOperator), isinstance(A, SparseOperator)
    if isinstance(A, StencilOperator) and (symmetric or A.dtype.is_complex) and _is_even(A):
        made.append(Candidate(CG() if definite else GMRES(), FastPoisson(dtype=None)))
    if symmetric:
        forms = [Multigrid(), IC(), FastPoisson(), FastPoisson(scaling=True)] if stencil else []
        if sparse:
            amg = AlgebraicMultigrid()
            forms = [
                *((amg, Frozen(amg)) if importlib.util.find_spec("pyamg") else ()),
                IC(relaxation=0.97),
                Jacobi(),
            ]
        made += [Candidate(CG(), form) for form in forms or [None]]
        if stencil and not definite:
            made += [Candidate(MINRES(), form) for form in (IC(), Jacobi())]
    if not definite:
        if stencil:
            made += [Candidate(method, Multigrid()) for method in (BiCGStab(), LGMRES())]
        forms = [FastPoisson(), ILU()] if stencil else [Jacobi(), ILU()] if sparse else [None]
        made += [Candidate(GCRODR(), form) for form in forms]
        made += [Candidate(GMRES(), form) for form in forms]
        if stencil and not A.dtype.is_complex:
            made.append(Candidate(GMRES(dtype=torch.float32), FastPoisson()))
        made.append(Candidate(BiCGStab(), forms[-1]))
        if stencil:
            made.append(Candidate(GCRODR(), FastPoisson(shift=0.1j)))
    if _is_plane(A) and A.size <= LARGEST_DIRECT[2]:
        made.append(Candidate(CG() if definite else GMRES(restart=10), NestedDissection()))
        return tuple(made)
    most = LARGEST_DIRECT.get(len(A.shape) if stencil else 2, 0)
    if (stencil or sparse) and A.device.type == "cpu" and A.size <= most:
        made.append(Candidate(CG() if definite else GMRES(), Frozen(SparseDirect())))
    return tuple(made)


def _is_plane(A: LinearOperator) -> bool:
    """Whether nested dissection takes A, in its compiled form."""
    if not isinstance(A, StencilOperator) or len(A.shape) != 2 or any(A.periodic):
        return False
    compact = all(abs(step) <= 1 for offset in A.offsets for step in offset)
    return compact and A.device.type == "cpu"


def _is_even(A: StencilOperator) -> bool:
    """Whether fast transforms invert A: each system is ``alpha - sum_d beta_d D_dd`` with constants.

    So its coefficients are the same everywhere, couplings back and forth along an axis are equal, as those of
    odd derivatives are not, and no others are there. Not known, and so False, on the meta device.
    """
    if A.device.type == "meta":
        return False
    # The centre comes first: a coefficient that varies nearly always shows there.
    order = sorted(range(len(A.offsets)), key=lambda k: any(A.offsets[k]))
    first = (slice(None), *(slice(0, 1) for _ in A.shape))
    tolerance = 1e-9 * A.coefficients[:, order[0]][first].abs().flatten()
    along: dict[tuple[int, ...], Tensor] = {}
    for k in order:
        offset = A.offsets[k]
        steps = tuple(map(abs, offset))
        paired = sum(steps) <= 1 and tuple(-step for step in offset) in A.offsets
        for rows, _ in boxes(A.shape, offset, A.periodic):
            used = A.coefficients[(slice(None), k, *rows)]
            rest = used - (along.setdefault(steps, used[first]) if paired else 0.0)
            parts = torch.view_as_real(rest) if rest.is_complex() else rest
            if not bool((parts.abs_().flatten(1).amax(1) <= tolerance).all()):
                return False
    return True
