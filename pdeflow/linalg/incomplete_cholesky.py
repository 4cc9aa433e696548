"""The incomplete Cholesky factorisation without fill, IC(0), as a preconditioner."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pdeflow.errors import InvalidInput
from pdeflow.linalg.arguments import check_number, check_precision
from pdeflow.linalg.incomplete_lu import IncompleteInverse, incomplete_inverse
from pdeflow.linalg.operator import LinearOperator, Tag
from pdeflow.linalg.preconditioner import Preconditioner


@dataclass(frozen=True)
class IC(Preconditioner):
    """``M = (L D L*)^-1`` with the pattern of the lower part of A: Cholesky without fill, IC(0).

    With the unknowns in row-major order, or those of the rows of a sparse operator, row after row::

        l_ij d_j = a_ij - sum_{k<j} l_ik d_k conj(l_jk)   where A has an entry,   l_ii = 1
        d_i      = a_ii - sum_{k<i} |l_ik|^2 d_k

    For an M-matrix all pivots are positive. For others one may not be: where ``d_i <= 0``, up to rounding, it
    is replaced by a_ii, so that M stays positive definite as long as the diagonal of A is positive.

    Forms and numbers as for :class:`~pdeflow.linalg.incomplete_lu.ILU`, with half the memory.

    References: J. A. Meijerink and H. A. van der Vorst, "An iterative solution method for linear systems of
    which the coefficient matrix is a symmetric M-matrix", Math. Comp. 31 (1977); for the pivots
    D. S. Kershaw, "The incomplete Cholesky-conjugate gradient method for the iterative solution of systems of
    linear equations", J. Comput. Phys. 26 (1978).

    Parameters
    ----------
    relaxation
        The share of the dropped fill that is subtracted from the diagonal instead: 0 (default) is IC(0); 1
        is the modified factorisation, which keeps row sums (I. Gustafsson, "A class of first order
        factorization methods", BIT 18 (1978)). For diffusion on large grids, 0.97 to 0.99 takes a half to a
        third of the iterations of 0.
    dtype
        Of the factors; None (default) is the operator's. float32 inside float64 reads half the memory, which
        pays on large grids, but takes more iterations where coefficients jump by powers of ten.

    Raises
    ------
    InvalidInput
        From ``init``: for an operator that is not tagged ``SYMMETRIC``, is neither a StencilOperator nor a
        SparseOperator, or has a row without an entry on the diagonal.
    """

    relaxation: float = 0.0
    dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        check_number("relaxation", self.relaxation, lambda part: 0 <= part <= 1, "a number from 0 to 1")
        check_precision(self.dtype)

    def init(self, A: LinearOperator, previous: LinearOperator | None = None) -> IncompleteInverse:
        """Factor A, in the buffers of ``previous`` where they fit; it is used up, and so is its adjoint."""
        if Tag.SYMMETRIC not in A.tags:
            hint = "Tag the operator if it is Hermitian, or use ILU()."
            raise InvalidInput("A.tags", sorted(tag.name for tag in A.tags), "SYMMETRIC among them", hint)
        return incomplete_inverse(A, previous, self.dtype, self.relaxation, symmetric=True)
