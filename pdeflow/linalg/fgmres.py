"""Flexible GMRES: GMRES(m) with a preconditioner that may change from step to step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pdeflow.linalg.arguments import check_count
from pdeflow.linalg.arnoldi_cycles import ArnoldiCycles, kept_correction
from pdeflow.linalg.lockstep import Prepared


@dataclass(frozen=True)
class FGMRES(ArnoldiCycles):
    """GMRES(m) that stores every preconditioned vector, so that M may be another iteration, or a network.

    A step takes ``z_j = M_j v_j`` with whatever M does this time, orthogonalises ``A z_j`` against
    v_1 .. v_j, and the correction at the end of a cycle is taken from the z_j themselves::

        A Z = V H;  y = argmin || ||r|| e_1 - H y ||;  x += Z y

    Restarts, stopping and statuses are those of :class:`~pdeflow.linalg.gmres.GMRES`, to which it is equal
    for a fixed linear M.

    Reference: Y. Saad, "A flexible inner-outer preconditioned GMRES algorithm", SIAM J. Sci. Comput. 14
    (1993).

    Parameters
    ----------
    restart
        m, the vectors of a cycle; with a preconditioner a system takes memory for 2 m + 1 of them.
    dtype
        Of the cycles, as for GMRES.

    Raises
    ------
    InvalidInput
        For a restart below 1 or another dtype.
    """

    restart: int = 40
    dtype: torch.dtype | None = None

    def __post_init__(self) -> None:
        check_count("restart", self.restart)
        super().__post_init__()

    @property
    def total(self) -> int:
        """m."""
        return self.restart

    def keeps(self, state: Prepared) -> bool:
        """All, unless they are the v_j."""
        return state.M is not None

    def correction(self, state: Any, y: Tensor) -> Tensor:
        """``Z y``."""
        return kept_correction(state.basis, y)
