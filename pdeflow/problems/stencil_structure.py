"""Which structure a stencil's matrices have, read off their coefficients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pdeflow.linalg import StencilOperator, Tag

_ROUND_OFF = 64 * torch.finfo(torch.float64).eps


def _by_offset(operator: StencilOperator) -> dict[tuple[int, ...], Tensor]:
    return {offset: operator.coefficients[:, k] for k, offset in enumerate(operator.offsets)}


def _is_symmetric(mine: dict[tuple[int, ...], Tensor], adjoint: dict[tuple[int, ...], Tensor]) -> bool:
    if mine.keys() != adjoint.keys():
        return False
    if all(torch.equal(mine[o], adjoint[o]) for o in mine):
        return True
    scale = sum((values.abs() for values in mine.values()), torch.zeros((), device="cpu"))
    worst = [((mine[o] - adjoint[o]).abs() - _ROUND_OFF * scale).max() for o in mine]
    return bool(torch.stack(worst).max() <= 0)


def _is_connected(mine: dict[tuple[int, ...], Tensor], shape: tuple[int, ...]) -> bool:
    """Whether every two neighbours along an axis are coupled, so that the matrix is irreducible."""
    for k, n in enumerate(shape):
        unit = tuple(int(j == k) for j in range(len(shape)))
        if n > 1 and (unit not in mine or bool((mine[unit].narrow(k + 1, 0, n - 1) == 0).any())):
            return False
    return True


def structure_tags(operator: StencilOperator) -> frozenset[Tag]:
    """SYMMETRIC, and POSITIVE_DEFINITE, where the coefficients show it for every sample.

    A symmetric matrix with a positive diagonal is positive definite if it is strictly diagonally dominant, or
    irreducible, weakly dominant and strictly so in one row (Horn and Johnson, "Matrix Analysis", 6.2.27).
    The periodic Laplacian, singular because of the constant, is not tagged. An indefinite matrix never is; a
    positive definite one that is not dominant goes untagged.

    Parameters
    ----------
    operator
        In float64, with coefficients 0 where they reach over a boundary.
    """
    mine = _by_offset(operator)
    if not _is_symmetric(mine, _by_offset(operator.adjoint)):
        return frozenset()
    diagonal = mine[(0,) * len(operator.shape)].flatten(1)
    row = operator.coefficients.abs().sum(1).flatten(1)
    # Where the diagonal is positive: it less the others.
    excess = 2 * diagonal - row
    tolerance = _ROUND_OFF * row
    strict = excess > tolerance
    weak = (diagonal > 0) & (excess >= -tolerance)
    definite = strict.all() or (weak.all() and strict.any(1).all() and _is_connected(mine, operator.shape))
    return frozenset((Tag.SYMMETRIC, Tag.POSITIVE_DEFINITE) if definite else (Tag.SYMMETRIC,))


def tagged_stencil(
    offsets: Sequence[tuple[int, ...]], coefficients: Tensor, periodic: tuple[bool, ...]
) -> StencilOperator:
    """The stencil, tagged, without the offsets whose coefficients, (batch, offsets, *shape), all vanish."""
    dims = (0, *range(2, coefficients.ndim))
    used = torch.maximum(coefficients.amax(dims), -coefficients.amin(dims)).tolist()
    kept = [k for k, (offset, size) in enumerate(zip(offsets, used)) if size != 0 or not any(offset)]
    if len(kept) < len(offsets):
        offsets, coefficients = [offsets[k] for k in kept], coefficients[:, kept]
    operator = StencilOperator(offsets, coefficients, periodic)
    return operator.retagged(structure_tags(operator))
