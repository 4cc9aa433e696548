"""The generalised minimal residual method with restarts, GMRES(m)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pdeflow.linalg.arguments import check_count
from pdeflow.linalg.arnoldi import combine
from pdeflow.linalg.arnoldi_cycles import ArnoldiCycles
from pdeflow.linalg.lockstep import Prepared


@dataclass(frozen=True)
class GMRES(ArnoldiCycles):
    """GMRES(m) for any nonsingular system, preconditioned from the right so that residuals stay true.

    A cycle starts from ``r = b - A x`` and v_1 along r. Each of its m steps orthogonalises ``A M v_j``
    against v_1 .. v_j, twice, with coefficients that make up the Hessenberg matrix H. At its end::

        y = argmin || ||r|| e_1 - H y ||;  x += M V y

    A cycle ends early when the least residual of the space is below the tolerance; then, and before each
    new cycle, the residual is worked out in float64 from x. Where a cycle does not shorten it, the status is
    ``STAGNATED``.

    Reference: Y. Saad and M. H. Schultz, "GMRES: a generalized minimal residual algorithm for solving
    nonsymmetric linear systems", SIAM J. Sci. Stat. Comput. 7 (1986).

    Parameters
    ----------
    restart
        m, the vectors of a cycle; a system takes memory for m + 1 of them.
    dtype
        Of the cycles: float32 halves time and memory of a float64 system, whose residuals and x stay in
        float64; it takes more iterations where a cycle would shorten the residual by more than about 1e-5.
        None is the operator's.

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
        """The z_j are not needed: M is applied once more, to their sum."""
        return False

    def correction(self, state: Any, y: Tensor) -> Tensor:
        """``M V y``."""
        basis = state.basis
        sum_of_rows = combine(y, basis.rows[:, : basis.used])
        if state.M is None:
            return sum_of_rows
        return state.M.apply(sum_of_rows.view(-1, *state.A.shape)).flatten(1)
