"""LGMRES: restarted GMRES helped by what the last cycles changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pdeflow.linalg.arguments import check_count
from pdeflow.linalg.arnoldi_cycles import ArnoldiCycles, ArnoldiState, Stalls, kept_correction
from pdeflow.linalg.lockstep import Prepared
from pdeflow.linalg.operator import LinearOperator
from pdeflow.linalg.preconditioner import Preconditioner


@dataclass
class AugmentedState(ArnoldiState):
    """Adds the last corrections of x at unit length, newest first: ``(batch, held, size)``."""

    errors: Tensor


@dataclass(frozen=True)
class LGMRES(ArnoldiCycles):
    """LGMRES(m, k) for any nonsingular system, preconditioned from the right.

    A cycle builds m vectors of the Krylov space of A M, like GMRES(m), and adds to the search space the k
    last corrections ``x_i - x_(i-1)``, which approximate the error that a restart forgets::

        Z = [M v_1, ..., M v_m, errors];  A Z = V H;  y = argmin || ||r|| e_1 - H y ||;  x += Z y

    This breaks the pattern of restarted GMRES that residuals two cycles apart point the same way. Nothing is
    carried to the next system: the corrections belong to a right-hand side as much as to A.

    Stopping and statuses are those of :class:`~pdeflow.linalg.gmres.GMRES`.

    Reference: A. H. Baker, E. R. Jessup, T. Manteuffel, "A technique for accelerating the convergence of
    restarted GMRES", SIAM J. Matrix Anal. Appl. 26 (2005).

    Parameters
    ----------
    restart
        m.
    augment
        k; a system takes memory for about 2 m + 3 k vectors.
    dtype
        Of the cycles, as for GMRES.

    Raises
    ------
    InvalidInput
        For a restart or augment below 1, or another dtype.
    """

    restart: int = 30
    augment: int = 3
    dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        check_count("restart", self.restart)
        check_count("augment", self.augment)
        super().__post_init__()

    @property
    def total(self) -> int:
        """m + k."""
        return self.restart + self.augment

    def keeps(self, state: Prepared) -> bool:
        """All, because the last of them are not made from the v_j."""
        return True

    def init(
        self,
        A: LinearOperator,
        preconditioner: Preconditioner | None = None,
        previous: AugmentedState | None = None,
    ) -> AugmentedState:
        """Prepare the preconditioner and the basis, in the buffers of ``previous`` where they fit."""
        ready = super().init(A, preconditioner, previous)
        return AugmentedState(**vars(ready), errors=ready.basis.v.new_zeros(A.batch, 0, A.size))

    def open(self, state: Any, s: Stalls) -> int:
        """Begin the basis; there are fewer corrections than k at first."""
        super().open(state, s)
        return self.restart + state.errors.shape[1]

    def direction(self, state: Any, j: int) -> Tensor:
        """``M v``, then the corrections."""
        if j < self.restart:
            return super().direction(state, j)
        return state.errors[:, j - self.restart].contiguous()

    def correction(self, state: Any, y: Tensor) -> Tensor:
        """``Z y``."""
        return kept_correction(state.basis, y)

    def harvest(self, state: Any, change: Tensor) -> None:
        """Put the correction of this cycle first, and drop the oldest."""
        length = torch.linalg.vector_norm(change, dim=1, keepdim=True)
        usable = (length > 0) & torch.isfinite(length)
        unit = torch.where(usable, change / length, torch.zeros_like(change)).unsqueeze(1)
        held = min(self.augment, state.errors.shape[1] + 1)
        kept = torch.cat([state.errors, torch.zeros_like(unit)], 1)
        shifted = torch.cat([unit, state.errors], 1)
        # A system that took no part in the cycle keeps what it had.
        state.errors = torch.where(usable.unsqueeze(2), shifted, kept)[:, :held]
