"""Which structure a stencil's matrices have, read off their coefficients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pdeflow.linalg import StencilOperator, Tag
from pdeflow.linalg.operator import magnitude
from pdeflow.linalg.stencil import boxes

_ROUND_OFF = 64 * torch.finfo(torch.float64).eps


def _by_offset(operator: StencilOperator) -> dict[tuple[int, ...], Tensor]:
    return {offset: operator.coefficients[:, k] for k, offset in enumerate(operator.offsets)}


def _is_symmetric(operator: StencilOperator, row: Tensor) -> bool:
    """Whether every entry is that of its mirror image, up to round-off of its row's absolute sum."""
    mine, every = _by_offset(operator), slice(None)
    for offset, values in mine.items():
        mirrored = tuple(-step for step in offset)
        if mirrored not in mine:
            return False
        if offset < mirrored:
            continue  # compared from the other side, or the diagonal below
        for rows, columns in boxes(operator.shape, offset, operator.periodic):
            here, there = values[(every, *rows)], mine[mirrored][(every, *columns)].conj()
            if torch.equal(here, there):
                continue
            if bool(((here - there).abs() > _ROUND_OFF * row[(every, *rows)]).any()):
                return False
    return True


def _is_connected(mine: dict[tuple[int, ...], Tensor], shape: tuple[int, ...], symmetric: bool) -> bool:
    """Whether every two neighbours along an axis are coupled both ways, so that the matrix is irreducible."""
    for k, n in enumerate(shape):
        for step, start in ((1, 0),) if symmetric else ((1, 0), (-1, 1)):
            unit = tuple(step * int(j == k) for j in range(len(shape)))
            if n > 1 and (unit not in mine or _has_zero(mine[unit].narrow(k + 1, start, n - 1))):
                return False
    return True


def _has_zero(values: Tensor) -> bool:
    if not values.is_complex() and bool((values.amax() < 0) | (values.amin() > 0)):
        return False
    return bool((values == 0).view(torch.uint8).amax())  # any() of booleans is seventeen times slower


def _maps_constants_to_zero(operator: StencilOperator, row: Tensor) -> bool:
    """Whether the matrices and their transposes do, up to round-off of the rows' absolute sums."""
    ones = torch.ones_like(operator.coefficients[:, 0])
    limit = _ROUND_OFF * row.amax()
    return all(bool((A.apply(ones).abs() <= limit).all()) for A in (operator, operator.adjoint))


def _absolute_sums(coefficients: Tensor) -> Tensor:
    """Of every row, (batch, *shape); vector_norm over an axis inside is thirty times slower."""
    sums = coefficients[:, 0].abs()
    absolute = torch.empty_like(sums)
    for k in range(1, coefficients.shape[1]):
        sums += torch.abs(coefficients[:, k], out=absolute)
    return sums


def structure_tags(operator: StencilOperator) -> frozenset[Tag]:
    """SYMMETRIC, POSITIVE_DEFINITE and CONSTANT_NULL_SPACE, where the coefficients show it for every sample.

    A symmetric matrix with a positive diagonal is positive definite if it is strictly diagonally dominant, or
    irreducible, weakly dominant and strictly so in one row (Horn and Johnson, "Matrix Analysis", 6.2.27).
    An indefinite matrix never is tagged; a positive definite one that is not dominant goes untagged. Of an
    irreducible matrix that is weakly dominant in every row, strictly in none, vectors of one absolute value
    are all that may be mapped to zero: it has the null space of constants if it maps those to zero.

    Parameters
    ----------
    operator
        In float64, or complex128, where symmetric means Hermitian; with coefficients 0 where they reach
        over a boundary.
    """
    mine = _by_offset(operator)
    sums = _absolute_sums(operator.coefficients)
    symmetric = _is_symmetric(operator, sums)
    tags = {Tag.SYMMETRIC} if symmetric else set()
    diagonal, row = mine[(0,) * len(operator.shape)].real.flatten(1), sums.flatten(1)
    # Half of the diagonal less the others, where it is positive, over the sum of all; NaN in an empty row.
    excess = torch.sub(diagonal, row, alpha=0.5).div_(row)
    least, largest = 2 * excess.amin(), 2 * excess.amax(1)
    weak = bool((least >= -_ROUND_OFF) & (diagonal.amin() > 0))
    if symmetric and (
        bool(least > _ROUND_OFF)
        or (weak and bool((largest > _ROUND_OFF).all()) and _is_connected(mine, operator.shape, symmetric))
    ):
        tags.add(Tag.POSITIVE_DEFINITE)
    elif (
        weak
        and not bool((largest > _ROUND_OFF).any())
        and _is_connected(mine, operator.shape, symmetric)
        and _maps_constants_to_zero(operator, sums)
    ):
        tags.add(Tag.CONSTANT_NULL_SPACE)
    return frozenset(tags)


def tagged_stencil(
    offsets: Sequence[tuple[int, ...]], coefficients: Tensor, periodic: tuple[bool, ...]
) -> StencilOperator:
    """The stencil, tagged, without the offsets whose coefficients, (batch, offsets, *shape), all vanish."""
    kept = [k for k, offset in enumerate(offsets) if not any(offset) or _is_coupled(coefficients[:, k])]
    if len(kept) < len(offsets):
        offsets, coefficients = [offsets[k] for k in kept], coefficients[:, kept]
    operator = StencilOperator(offsets, coefficients, periodic)
    return operator.retagged(structure_tags(operator))


def _is_coupled(coefficients: Tensor) -> bool:
    """Whether any is not 0; most often the first sample says it."""
    return any(bool(magnitude(part).any()) for part in (coefficients[:1], coefficients))
