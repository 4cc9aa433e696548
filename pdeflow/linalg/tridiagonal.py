"""Batches of tridiagonal systems by parallel cyclic reduction.

Every pass eliminates from each row the unknowns at distance s and couples it to those at distance 2 s
instead, all rows at once; after log2(n) passes nothing is coupled. R. W. Hockney, C. R. Jesshope, "Parallel
Computers" (1981), section 5.4. A row that wraps around is a correction of rank one: J. Sherman, W. J.
Morrison, Ann. Math. Stat. 21 (1950).
"""

from __future__ import annotations

import torch
from torch import Tensor


def solve_tridiagonal(
    lower: Tensor, diagonal: Tensor, upper: Tensor, b: Tensor, *, periodic: bool = False
) -> Tensor:
    """The x of ``lower[i] x[i-1] + diagonal[i] x[i] + upper[i] x[i+1] = b[i]``.

    There is no pivoting: it is meant for matrices that are diagonally dominant by rows or by columns. The
    answer for a system does not depend on what else is in the batch; it is not finite where a pivot vanishes.

    Parameters
    ----------
    lower, diagonal, upper
        (batch, n), n at least 3. ``lower[:, 0]`` and ``upper[:, -1]`` count only where the rows wrap around.
    b
        (batch, n).
    periodic
        Whether the first unknown and the last are neighbours.

    Returns
    -------
    Tensor
        (batch, n), in the dtype of the arguments.
    """
    if not periodic:
        return _reduced(lower, diagonal, upper, b[:, None])[:, 0]
    corner = -diagonal[:, :1]
    ratio = lower[:, :1] / corner
    inner = torch.cat(
        [diagonal[:, :1] - corner, diagonal[:, 1:-1], diagonal[:, -1:] - ratio * upper[:, -1:]], dim=1
    )
    column = torch.cat([corner, torch.zeros_like(b[:, 1:-1]), upper[:, -1:]], dim=1)
    y, q = _reduced(lower, inner, upper, torch.stack([b, column], dim=1)).unbind(dim=1)
    weight = (y[:, :1] + ratio * y[:, -1:]) / (1 + q[:, :1] + ratio * q[:, -1:])
    return y - weight * q


def _reduced(lower: Tensor, diagonal: Tensor, upper: Tensor, b: Tensor) -> Tensor:
    """x for right-hand sides (batch, k, n), without the coefficients that would wrap around."""
    ends = torch.zeros_like(diagonal[:, None, :1])
    below = torch.cat([ends, lower[:, None, 1:]], dim=-1)
    above = torch.cat([upper[:, None, :-1], ends], dim=-1)
    pivot, s = diagonal[:, None], 1
    while s < pivot.shape[-1]:
        # Rows from s on have a neighbour at this distance below them, rows up to n - s one above.
        down, up = below[..., s:] / pivot[..., :-s], above[..., :-s] / pivot[..., s:]
        pivot = _minus(pivot, s, down * above[..., :-s], up * below[..., s:])
        b = _minus(b, s, down * b[..., :-s], up * b[..., s:])
        far_below, far_above = torch.zeros_like(below), torch.zeros_like(above)
        torch.mul(-down, below[..., :-s], out=far_below[..., s:])
        torch.mul(-up, above[..., s:], out=far_above[..., :-s])
        below, above, s = far_below, far_above, 2 * s
    return b / pivot


def _minus(values: Tensor, s: int, down: Tensor, up: Tensor) -> Tensor:
    """The values less what the rows below, from s on, and those above, up to n - s, take away."""
    result = values.clone()
    result[..., s:] -= down
    result[..., :-s] -= up
    return result
