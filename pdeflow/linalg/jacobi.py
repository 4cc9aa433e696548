"""The Jacobi preconditioner."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from pdeflow.linalg.function_operator import FunctionOperator
from pdeflow.linalg.operator import LinearOperator
from pdeflow.linalg.preconditioner import Preconditioner


@dataclass(frozen=True)
class Jacobi(Preconditioner):
    """``M = diag(A)^-1``; a zero on the diagonal is left as 1, which changes nothing there.

    Reference: Y. Saad, *Iterative Methods for Sparse Linear Systems*, 2nd ed., SIAM 2003, section 10.2.

    Raises
    ------
    InvalidInput
        If the operator does not know its diagonal.
    """

    def init(self, A: LinearOperator, previous: LinearOperator | None = None) -> FunctionOperator:
        """Take the diagonal of A."""
        diagonal = A.diagonal()
        inverse = torch.where(diagonal == 0, torch.ones_like(diagonal), diagonal).reciprocal()
        return FunctionOperator(
            lambda r: inverse * r,
            A.shape,
            A.batch,
            A.dtype,
            A.device,
            A.tags,
            adjoint=lambda r: inverse.conj() * r,
            diagonal=inverse,
            broadcasts=True,
        )
