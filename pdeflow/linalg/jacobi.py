"""The Jacobi preconditioner."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from pdeflow.linalg.operator import LinearOperator, Tag
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

    def init(self, A: LinearOperator, previous: LinearOperator | None = None) -> DiagonalOperator:
        """Take the diagonal of A."""
        diagonal = A.diagonal()
        inverse = torch.where(diagonal == 0, torch.ones_like(diagonal), diagonal).reciprocal()
        return DiagonalOperator(inverse, A.tags)


class DiagonalOperator(LinearOperator):
    """``A x = diagonal x``, entry by entry, for a diagonal ``(batch, *shape)``."""

    broadcasts = True
    traced = True

    def __init__(self, diagonal: Tensor, tags: Iterable[Tag] = ()) -> None:
        super().__init__(diagonal.shape[1:], diagonal.shape[0], diagonal.dtype, diagonal.device, tags)
        self._diagonal = diagonal.contiguous()

    def apply(self, x: Tensor) -> Tensor:
        """``diagonal x``."""
        return self._diagonal * x

    def apply_into(self, x: Tensor, out: Tensor) -> Tensor:
        """``diagonal x`` written into ``out``, which may be x."""
        return torch.mul(self._diagonal, x, out=out)

    def diagonal(self) -> Tensor:
        """The diagonal."""
        return self._diagonal

    @property
    def adjoint(self) -> DiagonalOperator:
        """The conjugate diagonal."""
        return DiagonalOperator(self._diagonal.conj().resolve_conj(), self.tags)

    def to(
        self, dtype: torch.dtype | None = None, device: torch.device | str | None = None
    ) -> DiagonalOperator:
        """The same operator in another dtype or on another device."""
        return DiagonalOperator(self._diagonal.to(device=device or self.device, dtype=dtype), self.tags)

    def is_finite(self) -> Tensor:
        """Which systems have a finite diagonal."""
        return torch.isfinite(self._diagonal).flatten(1).all(1)
