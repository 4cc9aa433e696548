"""Linear algebra for batches and sequences of PDE systems: operators, solvers, preconditioners.

Every tensor is ``(batch, *shape)``; the systems of a batch are independent and a failure of one disturbs
none of the others. ``solve(A, b)`` is the front door.
"""

from pdeflow.linalg.algebraic_multigrid import AlgebraicMultigrid
from pdeflow.linalg.auto import Auto
from pdeflow.linalg.bicgstab import BiCGStab
from pdeflow.linalg.block_cg import BlockCG
from pdeflow.linalg.block_jacobi import BlockJacobi
from pdeflow.linalg.candidates import Candidate, default_candidates, default_method
from pdeflow.linalg.cg import CG
from pdeflow.linalg.chebyshev import Chebyshev
from pdeflow.linalg.deflated_cg import DeflatedCG
from pdeflow.linalg.diffusion import control_volumes, diffusion_stencil
from pdeflow.linalg.fast_poisson import FastPoisson
from pdeflow.linalg.fgmres import FGMRES
from pdeflow.linalg.flexible_cg import FlexibleCG
from pdeflow.linalg.frozen import Frozen
from pdeflow.linalg.full_multigrid import full_multigrid
from pdeflow.linalg.function_operator import FunctionOperator
from pdeflow.linalg.gcrodr import GCRODR
from pdeflow.linalg.gmres import GMRES
from pdeflow.linalg.incomplete_cholesky import IC
from pdeflow.linalg.incomplete_lu import ILU
from pdeflow.linalg.jacobi import Jacobi
from pdeflow.linalg.lgmres import LGMRES
from pdeflow.linalg.minres import MINRES
from pdeflow.linalg.multigrid import Multigrid
from pdeflow.linalg.nested_dissection import NestedDissection
from pdeflow.linalg.operator import LinearOperator, Tag
from pdeflow.linalg.preconditioner import Preconditioner
from pdeflow.linalg.scipy_interop import as_scipy, from_scipy
from pdeflow.linalg.sequence import Sequence
from pdeflow.linalg.solution import Choice, Solution, SolveError, Status, Trial
from pdeflow.linalg.solver import Solver, solve
from pdeflow.linalg.sparse import SparseOperator
from pdeflow.linalg.sparse_direct import SparseDirect
from pdeflow.linalg.ssor import SSOR
from pdeflow.linalg.stencil import StencilOperator
from pdeflow.linalg.tridiagonal import solve_tridiagonal

__all__ = [
    "CG",
    "FGMRES",
    "GCRODR",
    "GMRES",
    "IC",
    "ILU",
    "LGMRES",
    "MINRES",
    "SSOR",
    "AlgebraicMultigrid",
    "Auto",
    "BiCGStab",
    "BlockCG",
    "BlockJacobi",
    "Candidate",
    "Chebyshev",
    "Choice",
    "DeflatedCG",
    "FastPoisson",
    "FlexibleCG",
    "Frozen",
    "FunctionOperator",
    "Jacobi",
    "LinearOperator",
    "Multigrid",
    "NestedDissection",
    "Preconditioner",
    "Sequence",
    "Solution",
    "SolveError",
    "Solver",
    "SparseDirect",
    "SparseOperator",
    "Status",
    "StencilOperator",
    "Tag",
    "Trial",
    "as_scipy",
    "control_volumes",
    "default_candidates",
    "default_method",
    "diffusion_stencil",
    "from_scipy",
    "full_multigrid",
    "solve",
    "solve_tridiagonal",
]
