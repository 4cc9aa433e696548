"""The diffusion operator -div(a grad u) + c u on a uniform grid, as a stencil."""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg.arguments import ONE_AXIS, coefficient_tensor, real_number, whole_numbers
from pdeflow.linalg.operator import Tag
from pdeflow.linalg.stencil import StencilOperator

if TYPE_CHECKING:
    import numpy as np

SIDES = ("dirichlet", "neumann")

Boundary = str | Sequence[str | tuple[str, str]]


def diffusion_stencil(
    a: Tensor | np.ndarray,
    spacing: float | Sequence[float],
    boundary: Boundary = "dirichlet",
    reaction: complex | Tensor | np.ndarray = 0.0,
    *,
    points: Literal["nodes", "cells"] = "nodes",
) -> StencilOperator:
    """Finite volumes for ``-div(a grad u) + c u`` with the harmonic mean of a at every face.

    The row of point i, whose control volume is ``w[i]`` times a cell, is::

        sum over its faces f of  w[f] a[f] (u[i] - u[neighbour]) / h_f^2  +  w[i] c[i] u[i]
        a[f] = 2 / (1/a[i] + 1/a[neighbour])

    where ``w[f]`` is the share of a whole face. So the operator is symmetric, its errors are of order
    ``h^2`` for smooth a, and the flux is continuous where a jumps midway between two points. **The right-hand
    side** of ``-div(a grad u) + c u = f`` is ``w f``, with ``w`` from :func:`control_volumes`; w is 1
    everywhere unless nodes lie on a Neumann side.

    Which unknowns there are, by side:

    - ``"nodes"``: the points of a bounded axis include both of its ends. A node on a Dirichlet side is not
      an unknown (u is zero there), though a is needed at it. A node on a Neumann side is one; its volume is
      half a cell, a quarter at an edge of two such sides.
    - ``"cells"``: the points are centres of cells and all are unknowns. On a Dirichlet side u is zero on the
      outer face, half a cell away; on a Neumann side no flux goes through that face.
    - A periodic axis wraps around, and its last point is followed by its first.

    Reference: S. V. Patankar, *Numerical Heat Transfer and Fluid Flow*, Hemisphere 1980, section 4.2.

    Parameters
    ----------
    a
        The coefficient at all points, ``(batch, *points)``, one to three axes, real or complex.
    spacing
        The distance h of two points, one number or one for every axis.
    boundary
        ``"dirichlet"``, ``"neumann"`` or ``"periodic"`` for everything, or for every axis one of these or a
        pair for its low and high side.
    reaction
        The coefficient c: a number, or a tensor like ``a``.

    Returns
    -------
    StencilOperator
        Tagged ``SYMMETRIC`` if a and c are real; ``POSITIVE_DEFINITE`` if also c is a number and it, or a
        Dirichlet side, makes it so; ``CONSTANT_NULL_SPACE`` if there is no Dirichlet side and c is the
        number 0. The tags are right if a is positive, which is not checked.

    Raises
    ------
    InvalidInput
        If shapes do not fit, a side is unknown, an axis has too few points, or an argument is of the wrong
        kind.
    """
    a = coefficient_tensor("a", a)
    if not (a.is_floating_point() or a.is_complex()):
        raise InvalidInput("a.dtype", a.dtype, "a floating or complex dtype", "Use a.to(torch.float64).")
    dim = a.ndim - 1
    if not 1 <= dim <= 3 or 0 in a.shape[1:]:
        raise InvalidInput("a.shape", tuple(a.shape), "(batch, *points) with one to three axes")
    expected = f"a positive number, or one for each of {dim} axes"
    given: Any = spacing
    several = isinstance(given, Iterable) and getattr(given, "ndim", 1) > 0
    steps = [real_number("spacing", h, expected) for h in (given if several else (given,) * dim)]
    if len(steps) != dim or not all(0 < h < float("inf") for h in steps):
        raise InvalidInput("spacing", spacing, expected)
    if not isinstance(reaction, numbers.Complex):
        reaction = coefficient_tensor("reaction", reaction)
        reaction = reaction.item() if reaction.ndim == 0 and not reaction.requires_grad else reaction
    if isinstance(reaction, Tensor) and reaction.shape != a.shape:
        raise InvalidInput("reaction.shape", tuple(reaction.shape), f"the shape of a, {tuple(a.shape)}")
    sides = _sides(boundary, dim)
    keep = tuple(_unknowns(n, pair, points) for n, pair in zip(a.shape[1:], sides))
    if isinstance(reaction, Tensor):
        dtype = torch.promote_types(a.dtype, reaction.dtype)
    else:
        real = isinstance(reaction, numbers.Real)
        dtype = a.dtype if real else torch.promote_types(a.dtype, torch.complex64)
    c = torch.as_tensor(reaction, dtype=dtype, device=a.device)
    a = a.to(dtype)

    every = slice(None)
    weights = _axis_weights(a.shape[1:], sides, points, a)
    volume = _product(weights, a)[(every, *keep)]
    centre = (
        (c * volume if c.ndim == 0 else c[(every, *keep)] * volume).expand(a[(every, *keep)].shape).clone()
    )
    offsets, values = [(0,) * dim], [centre]
    for axis, (h, pair) in enumerate(zip(steps, sides)):
        area = _product([w if k != axis else None for k, w in enumerate(weights)], a)[(every, *keep)]
        for step in (-1, 1):
            neighbour = a.roll(-step, axis + 1)
            face = 2 / (1 / a + 1 / neighbour)
            if pair[0] != "periodic":
                # What rolled in from the other end is no neighbour.
                edge = face.select(axis + 1, 0 if step < 0 else -1)
                wall = pair[0 if step < 0 else 1]
                beyond = a.select(axis + 1, 0 if step < 0 else -1)
                edge.copy_(
                    2 * beyond if wall == "dirichlet" and points == "cells" else torch.zeros_like(beyond)
                )
            flux = area * face[(every, *keep)] / h**2
            offsets.append(tuple(step if k == axis else 0 for k in range(dim)))
            values.append(-flux)
            centre += flux
    tags = _tags(dtype, sides, reaction)
    periodic = [pair[0] == "periodic" for pair in sides]
    return StencilOperator(offsets, torch.stack(values, 1), periodic, tags)


def control_volumes(
    shape: Sequence[int],
    boundary: Boundary = "dirichlet",
    *,
    points: Literal["nodes", "cells"] = "nodes",
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Tensor:
    """The control volumes of the unknowns of :func:`diffusion_stencil` in cells, ``(*unknowns)``.

    ``shape`` counts all points, as ``a.shape[1:]`` does. Multiply the values of f by it.
    """
    shape = whole_numbers("shape", shape, ONE_AXIS)
    sides = _sides(boundary, len(shape))
    keep = tuple(_unknowns(n, pair, points) for n, pair in zip(shape, sides))
    like = torch.empty((1, *shape), dtype=dtype, device=device)
    return _product(_axis_weights(shape, sides, points, like), like)[0][keep].clone()


def _sides(boundary: Boundary, dim: int) -> list[tuple[str, str]]:
    known = "'periodic', or 'dirichlet' or 'neumann' for each side"
    alike = isinstance(boundary, str) or not isinstance(boundary, Iterable)
    axes = [boundary] * dim if alike else list(boundary)
    pairs: list[Any] = [tuple(axis) if isinstance(axis, (tuple, list)) else (axis, axis) for axis in axes]
    if len(pairs) != dim:
        raise InvalidInput("boundary", boundary, f"{known}, for each of {dim} axes")
    for pair in pairs:
        both = pair == ("periodic", "periodic")
        if len(pair) != 2 or not (both or all(side in SIDES for side in pair)):
            raise InvalidInput("boundary", pair, known, "An axis is periodic as a whole.")
    return [(pair[0], pair[1]) for pair in pairs]


def _unknowns(n: int, pair: tuple[str, str], points: str) -> slice:
    if points not in ("nodes", "cells"):
        raise InvalidInput("points", points, "'nodes' or 'cells'", choices=["nodes", "cells"])
    bounded = points == "nodes" and pair[0] != "periodic"
    kept = slice(int(bounded and pair[0] == "dirichlet"), n - int(bounded and pair[1] == "dirichlet"))
    if kept.start >= kept.stop or (bounded and n < 2):
        raise InvalidInput(
            "a.shape", n, "at least one unknown and, between two sides, two nodes along each axis"
        )
    return kept


def _axis_weights(
    shape: Sequence[int], sides: list[tuple[str, str]], points: str, like: Tensor
) -> list[Tensor | None]:
    """The shares of a cell along each axis: half at a node on a side; None where all are whole."""
    weights: list[Tensor | None] = []
    for n, pair in zip(shape, sides):
        if points == "cells" or pair[0] == "periodic":
            weights.append(None)
            continue
        weight = torch.ones(n, dtype=like.dtype, device=like.device)
        weight[0] = weight[-1] = 0.5
        weights.append(weight)
    return weights


def _product(weights: Sequence[Tensor | None], like: Tensor) -> Tensor:
    """The tensor product of weights along the axes, ``(1, *points)``."""
    total = like.new_ones((1, *like.shape[1:]))
    for axis, weight in enumerate(weights):
        if weight is not None:
            total = total * weight.reshape(-1, *(1,) * (len(weights) - axis - 1))
    return total


def _tags(dtype: torch.dtype, sides: list[tuple[str, str]], reaction: Any) -> list[Tag]:
    if dtype.is_complex:
        return []
    walls = any("dirichlet" in pair for pair in sides)
    if isinstance(reaction, Tensor):
        return [Tag.SYMMETRIC]
    if reaction > 0 or (reaction == 0 and walls):
        return [Tag.SYMMETRIC, Tag.POSITIVE_DEFINITE]
    return [Tag.SYMMETRIC, Tag.CONSTANT_NULL_SPACE] if reaction == 0 else [Tag.SYMMETRIC]
