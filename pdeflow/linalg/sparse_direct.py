"""Sparse LU factors as a preconditioner: a direct solver inside the checks of an iterative one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg.operator import LinearOperator, Tag
from pdeflow.linalg.preconditioner import Preconditioner
from pdeflow.linalg.sparse import SparseOperator, explicit_matrix


@dataclass(frozen=True)
class SparseDirect(Preconditioner):
    """``M = A^-1`` by the LU factors of SuperLU, one factorisation a sample, made once by ``init``.

    A Krylov method then ends after a step or two, with a checked residual. The factors serve any number
    of right-hand sides of an operator of batch 1 in one pass, and, inside
    :class:`~pdeflow.linalg.frozen.Frozen`, the neighbours in a sequence. Rows are ordered by minimum degree
    on the pattern of ``A + A^T`` and pivots stay on the diagonal where A is tagged ``POSITIVE_DEFINITE``;
    otherwise columns are ordered by COLAMD and pivots are chosen in the whole column.

    Where A is tagged ``CONSTANT_NULL_SPACE`` the last diagonal entry is enlarged, which makes the matrix
    regular and changes no solution of a consistent system but by a constant. A sample that is singular or
    not finite gets a M of NaN, and fails alone.

    Only on the CPU, in the precision of the operator.

    Reference: J. W. Demmel, S. C. Eisenstat, J. R. Gilbert, X. S. Li, J. W. H. Liu, "A supernodal approach
    to sparse partial pivoting", SIAM J. Matrix Anal. Appl. 20 (1999).

    Raises
    ------
    InvalidInput
        From ``init``: for an operator without a matrix, or one on another device.
    """

    def init(self, A: LinearOperator, previous: LinearOperator | None = None) -> FactoredOperator:
        """Factor every sample of A."""
        matrix = explicit_matrix(A)
        if A.device.type != "cpu":
            hint = "Use Multigrid() or AlgebraicMultigrid() on an accelerator."
            raise InvalidInput("A.device", A.device, "the CPU, where SuperLU runs", hint)
        return FactoredOperator(matrix, [_factor(matrix, i) for i in range(A.batch)])


class FactoredOperator(LinearOperator):
    """The inverse of every sample through its factors; None stands for one that has none."""

    broadcasts = True

    def __init__(self, A: SparseOperator, factors: list[Any], transposed: bool = False) -> None:
        super().__init__(A.shape, A.batch, A.dtype, A.device, A.tags)
        self._A, self._factors, self._transposed = A, factors, transposed

    def apply(self, x: Tensor) -> Tensor:
        """``M x``."""
        right = x.detach().resolve_conj().reshape(x.shape[0], -1).numpy()
        mode = "H" if self._transposed else "N"
        # The factors of one matrix take all vectors at once, as columns.
        runs = [right] if self.batch == 1 else [right[i : i + 1] for i in range(self.batch)]
        parts = []
        for lu, run in zip(self._factors, runs):
            if lu is None:
                parts.append(torch.full((len(run), self.size), float("nan"), dtype=self.dtype, device="cpu"))
            else:
                parts.append(torch.from_numpy(lu.solve(run.T, mode).T))
        return torch.cat(parts).to(self.dtype).reshape(x.shape)

    def diagonal(self) -> Tensor:
        """Not known: raises InvalidInput."""
        raise InvalidInput("diagonal", "sparse factors", "an operator that knows its diagonal")

    @property
    def adjoint(self) -> FactoredOperator:
        """The conjugate transpose, by the same factors."""
        return FactoredOperator(self._A, self._factors, not self._transposed)

    def to(
        self, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> FactoredOperator:
        """The factors of the operator in another dtype."""
        made = SparseDirect().init(self._A.to(dtype, device))
        return made.adjoint if self._transposed else made


def _factor(matrix: SparseOperator, index: int) -> Any:
    import scipy.sparse.linalg

    csc = matrix.to_scipy(index).tocsc()
    if not torch.isfinite(matrix.values[index]).all():
        return None
    if Tag.CONSTANT_NULL_SPACE in matrix.tags:
        csc = csc.tolil()
        csc[-1, -1] += abs(csc.diagonal()).max()
        csc = csc.tocsc()
    options: dict[str, Any] = {}
    if Tag.POSITIVE_DEFINITE in matrix.tags or Tag.CONSTANT_NULL_SPACE in matrix.tags:
        options = {
            "permc_spec": "MMD_AT_PLUS_A",
            "diag_pivot_thresh": 0.0,
            "options": {"SymmetricMode": True},
        }
    try:
        return scipy.sparse.linalg.splu(csc, **options)
    except RuntimeError:  # SuperLU: a pivot is exactly zero
        return None
