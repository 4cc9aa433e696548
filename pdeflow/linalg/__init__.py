"""Linear algebra for batches and sequences of PDE systems: operators, solvers, preconditioners.

Every tensor is ``(batch, *shape)``; the systems of a batch are independent and a failure of one disturbs
none of the others. ``solve(A, b)`` is the front door.
"""

from pdeflow.linalg.algebraic_multigrid import AlgebraicMultigrid
from pdeflow.linalg.cg import CG
from pdeflow.linalg.diffusion import control_volumes, diffusion_stencil
from pdeflow.linalg.frozen import Frozen
from pdeflow.linalg.function_operator import FunctionOperator
from pdeflow.linalg.jacobi import Jacobi
from pdeflow.linalg.multigrid import Multigrid
from pdeflow.linalg.operator import LinearOperator, Tag
from pdeflow.linalg.preconditioner import Preconditioner
from pdeflow.linalg.scipy_interop import as_scipy, from_scipy
from pdeflow.linalg.solution import Solution, SolveError, Status
from pdeflow.linalg.solver import Solver, solve
from pdeflow.linalg.sparse import SparseOperator
from pdeflow.linalg.sparse_direct import SparseDirect
from pdeflow.linalg.stencil import StencilOperator

__all__ = [
    "CG",
    "AlgebraicMultigrid",
    "Frozen",
    "FunctionOperator",
    "Jacobi",
    "LinearOperator",
    "Multigrid",
    "Preconditioner",
    "Solution",
    "SolveError",
    "Solver",
    "SparseDirect",
    "SparseOperator",
    "Status",
    "StencilOperator",
    "Tag",
    "as_scipy",
    "control_volumes",
    "diffusion_stencil",
    "from_scipy",
    "solve",
]
