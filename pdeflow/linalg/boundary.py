"""What a stencil tells of the boundary conditions that were eliminated from it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pdeflow.linalg.stencil import StencilOperator, boxes
from pdeflow.linalg.trigonometric import PERIODIC, Ends


def row_sums(A: StencilOperator) -> Tensor:
    """``A 1``, ``(batch, *shape)``: the reaction, and next to Dirichlet ends the eliminated couplings."""
    return A.apply(torch.ones((A.batch, *A.shape), dtype=A.dtype, device=A.device))


def detect_ends(A: StencilOperator, sums: Tensor) -> list[Ends]:
    """The ends of every axis by the names of :mod:`~pdeflow.linalg.trigonometric`.

    The layer of points at an end is compared with the layer next to it, and the median over both its points
    and the batch decides, so that a coefficient that jumps, or is NaN in one system, does not. The row sums
    exceed those of the next layer by the coupling inwards: not at all (``neumann``), once (``dirichlet``) or
    twice (``dirichlet cell``). At a ``neumann`` end with half cells, the couplings along the layer are half
    of those along the next one; where there are none, as in 1D, the row sums are. The host reads the medians.
    """
    if A.device.type == "meta":
        return [PERIODIC if wraps else ("dirichlet", "dirichlet") for wraps in A.periodic]
    return [
        PERIODIC if wraps else (_end(A, sums, axis, 1), _end(A, sums, axis, -1))
        for axis, wraps in enumerate(A.periodic)
    ]


def _end(A: StencilOperator, sums: Tensor, axis: int, inwards: int) -> str:
    n = A.shape[axis]
    if n == 1:
        return "neumann cell"
    edge, second = (0, 1) if inwards > 0 else (n - 1, n - 2)
    first, next_one = sums.select(axis + 1, edge), sums.select(axis + 1, second)
    excess = _median((first - next_one) / _couplings(A, axis, edge, inwards))
    if excess > 0.25:
        return "dirichlet" if excess < 1.75 else "dirichlet cell"
    share = _median(_couplings(A, axis, edge, 0) / _couplings(A, axis, second, 0))
    if math.isnan(share):
        share = _median(first / next_one)
    return "neumann" if 0.25 < share < 0.75 else "neumann cell"


def _couplings(A: StencilOperator, axis: int, layer: int, step: int) -> Tensor:
    """Minus the sum of the couplings of one layer, across the axis, to the layer at ``step`` from it."""
    shape, periodic = A.shape[:axis] + A.shape[axis + 1 :], A.periodic[:axis] + A.periodic[axis + 1 :]
    total = torch.zeros_like(A.coefficients[:, 0].select(axis + 1, layer))
    for k, offset in enumerate(A.offsets):
        if offset[axis] == step and any(offset):
            values = A.coefficients[:, k].select(axis + 1, layer)
            for rows, _ in boxes(shape, offset[:axis] + offset[axis + 1 :], periodic):
                total[(slice(None), *rows)] -= values[(slice(None), *rows)]
    return total


def _median(ratio: Tensor) -> float:
    """The median of the finite values; NaN if there is none."""
    real = ratio.real if ratio.is_complex() else ratio
    return float(torch.where(torch.isfinite(real), real, torch.nan).nanmedian())
