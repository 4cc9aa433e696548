"""The incomplete LU factorisation without fill, ILU(0), as a preconditioner."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg import compiled_factors, sparse_factors
from pdeflow.linalg.arguments import check_number, check_precision
from pdeflow.linalg.compiled_factors import CompiledFactors, FactorsCall
from pdeflow.linalg.level_factors import LevelFactors
from pdeflow.linalg.operator import LinearOperator, magnitude, working_dtype
from pdeflow.linalg.preconditioner import Preconditioner
from pdeflow.linalg.sparse import SparseOperator, explicit_matrix
from pdeflow.linalg.sparse_factors import RowFactorsCall, SparseFactors
from pdeflow.linalg.stencil import StencilOperator

Matrix: TypeAlias = StencilOperator | SparseOperator


@dataclass(frozen=True)
class ILU(Preconditioner):
    """``M = (L U)^-1`` with the pattern of A: Gaussian elimination that drops all fill, ILU(0).

    With the unknowns in row-major order, or those of the rows of a sparse operator, row after row::

        for k < i with a_ik != 0:  l_ik = a_ik / u_kk;  a_ij -= l_ik u_kj  for all j > k where A has an entry

    so that L U agrees with A on the pattern of A. A pivot that comes out as zero up to rounding is replaced
    by the diagonal entry of A, or by one if that is zero.

    On the CPU, one unknown after the other in compiled loops: those of
    :mod:`~pdeflow.linalg.compiled_factors` for real stencils on bounded grids, those of
    :mod:`~pdeflow.linalg.sparse_factors` for other stencils and for sparse operators. On other devices, and
    without a compiler, level by level (:mod:`~pdeflow.linalg.triangular`). The numbers agree up to rounding.

    References: J. A. Meijerink and H. A. van der Vorst, "An iterative solution method for linear systems of
    which the coefficient matrix is a symmetric M-matrix", Math. Comp. 31 (1977); Y. Saad, *Iterative Methods
    for Sparse Linear Systems*, 2nd ed., SIAM 2003, section 10.3.

    Parameters
    ----------
    relaxation
        The share of the dropped fill that is subtracted from the diagonal instead: 0 (default) is ILU(0); 1
        is the modified factorisation, which keeps row sums (I. Gustafsson, "A class of first order
        factorization methods", BIT 18 (1978)). For diffusion on large grids, 0.97 to 0.99 takes a half to a
        third of the iterations of 0.
    dtype
        Of the factors; None (default) is the operator's. float32 inside float64 reads half the memory, which
        pays on large grids, but takes more iterations where coefficients jump by powers of ten.

    Raises
    ------
    InvalidInput
        From ``init``: for an operator that is neither a StencilOperator nor a SparseOperator, or has a row
        without an entry on the diagonal.
    """

    relaxation: float = 0.0
    dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        check_number("relaxation", self.relaxation, lambda part: 0 <= part <= 1, "a number from 0 to 1")
        check_precision(self.dtype)

    def init(self, A: LinearOperator, previous: LinearOperator | None = None) -> IncompleteInverse:
        """Factor A, in the buffers of ``previous`` where they fit; it is used up, and so is its adjoint."""
        return incomplete_inverse(A, previous, self.dtype, self.relaxation, symmetric=False)


def incomplete_inverse(
    A: LinearOperator,
    previous: LinearOperator | None,
    dtype: torch.dtype | None,
    relaxation: float,
    symmetric: bool,
) -> IncompleteInverse:
    """Factors of A, in the buffers of ``previous`` where they fit; see :class:`ILU` and ``IC``."""
    A = A.detach()
    if isinstance(A, StencilOperator):
        if (0,) * len(A.shape) not in A.offsets:
            raise InvalidInput("offsets", A.offsets, "an entry on the diagonal")
    elif isinstance(A, SparseOperator):
        missing = int((A.pattern.diagonal == A.pattern.nnz).sum())
        if missing:
            hint = "Store a zero there."
            raise InvalidInput("A.pattern", f"{missing} rows without", "an entry on the diagonal", hint)
    else:
        hint = "Use Jacobi() for an operator without a matrix."
        raise InvalidInput("A", type(A).__name__, "a StencilOperator or SparseOperator", hint)
    if isinstance(previous, IncompleteInverse) and previous.fits(A, dtype, relaxation, symmetric):
        previous.fill(A)
        return previous
    return IncompleteInverse(A, dtype, relaxation, symmetric)


class IncompleteInverse(LinearOperator):
    """``(L D U)^-1``; ``symmetric`` means ``U = L*``.

    It may own buffers, so one thread at a time may apply it. With float32 factors, it takes and gives numbers
    within the range of float32 times that of A.
    """

    def __init__(self, A: Matrix, dtype: torch.dtype | None, relaxation: float, symmetric: bool) -> None:
        super().__init__(A.shape, A.batch, A.dtype, A.device, A.tags)
        self._dtype, self._relaxation, self._symmetric, self._turned = dtype, relaxation, symmetric, False
        working = working_dtype(dtype, A)
        self._form = _form(A)
        self._factors = self._form(self._explicit(A), symmetric, working, relaxation)
        self.fill(A)

    def fits(self, A: Matrix, dtype: torch.dtype | None, relaxation: float, symmetric: bool) -> bool:
        """Whether :meth:`fill` can take A, and the result is what these settings ask for."""
        mine = self._A
        settings = (dtype, relaxation, symmetric, _form(A), False)
        return (*_structure(A), A.shape, A.batch, A.dtype, A.device, *settings) == (
            *(*_structure(mine), mine.shape, mine.batch, mine.dtype, mine.device),
            *(self._dtype, self._relaxation, self._symmetric, self._form, self._turned),
        )

    def fill(self, A: Matrix) -> None:
        """Factor A, with the pattern of the one before."""
        self._A, self.tags = A, A.tags
        # float32 has a short range: what is factored has a largest diagonal entry of one.
        largest = magnitude(A.diagonal())
        scale = torch.where(torch.isfinite(largest) & (largest > 0), largest, 1.0).reciprocal()
        self._factors.fill(self._explicit(A), scale)

    def _explicit(self, A: Matrix) -> Any:
        """A as the factors take it."""
        return A if self._form is CompiledFactors else explicit_matrix(A)

    @property
    def compiled(self) -> FactorsCall | RowFactorsCall | None:
        """What a compiled loop needs to apply it, where that can be."""
        return None if isinstance(self._factors, LevelFactors) else self._factors.call(self._turned)

    def apply(self, x: Tensor) -> Tensor:
        """``M x``."""
        return self.apply_into(x, torch.empty_like(x, memory_format=torch.contiguous_format))

    def apply_into(self, x: Tensor, out: Tensor) -> Tensor:
        """``M x`` written into ``out``, which may be x."""
        if self._turned:
            self._factors.solve_adjoint(x, out)
        else:
            self._factors.solve(x, out)
        return out

    def diagonal(self) -> Tensor:
        """Not known: raises InvalidInput."""
        raise InvalidInput("diagonal", "incomplete factors", "an operator that knows its diagonal")

    @property
    def adjoint(self) -> IncompleteInverse:
        """The conjugate transpose, ``L^-* D^-* U^-*``.

        It shares the factors, so it is of no use once others have been put in their place.
        """
        other = copy.copy(self)
        other._turned = not self._turned
        return other

    def to(
        self, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> IncompleteInverse:
        """The factors of the operator in another dtype or on another device."""
        other = IncompleteInverse(self._A.to(dtype, device), self._dtype, self._relaxation, self._symmetric)
        return other.adjoint if self._turned else other


def _form(A: Matrix) -> type[CompiledFactors] | type[SparseFactors] | type[LevelFactors]:
    """The quickest form of the factors that takes A here."""
    if compiled_factors.usable(A):
        return CompiledFactors
    return SparseFactors if sparse_factors.usable(A) else LevelFactors


def _structure(A: Matrix) -> tuple[Any, ...]:
    """Where A has entries."""
    return (A.pattern,) if isinstance(A, SparseOperator) else (A.offsets, A.periodic)
