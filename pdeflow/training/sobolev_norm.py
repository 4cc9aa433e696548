"""Norms of any order of differentiation."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.linalg.trigonometric import PERIODIC, Ends, widths
from pdeflow.mesh_nodes import MeshNodes
from pdeflow.training.laplacian_modes import laplacian_modes

Sides = Literal["free", "zero"]
"""Of functions on bounded sides: nothing is known (cosines), or they vanish (sines)."""


def squared_sobolev(u: Tensor, grid: Grid | MeshNodes, order: float, sides: Sides = "free") -> Tensor:
    r"""Mean over the box of :math:`u\,(I - \Delta_h)^s u`, s the order, summed over channels.

    Order 0 is the mean square, 1 adds those of the first differences, -1 is the norm of the dual. Gives
    (batch,), float64; arguments and errors as of `normal_modes`.
    """
    modes, eigenvalues = normal_modes(u, grid, sides)
    return (modes.square() * (1.0 + eigenvalues) ** order).flatten(1).sum(1)


def normal_modes(u: Tensor, grid: Grid | MeshNodes, sides: Sides = "free") -> tuple[Tensor, Tensor]:
    """Coefficients in the eigenvectors of the Laplacian whose squares add up to the mean square over the box.

    Parameters
    ----------
    u
        ``(batch, channels, *grid.shape)``.
    grid
        Where the samples lie.
    sides
        ``"free"``: the Laplacian has no slope on bounded sides, whose nodes stand for half cells.
        ``"zero"``: it has zero values there, and what u is on the sides does not count. The same on axes that
        wrap.

    Returns
    -------
    tuple of Tensor
        ``(batch, channels, *modes)`` and the eigenvalues, ``(*modes)``, of the negative Laplacian; float64.

    Raises
    ------
    InvalidInput
        On meshes, and where there is no node between two sides.
    """
    if isinstance(grid, MeshNodes):
        hint = "Use {loss: L2}."
        raise InvalidInput("loss", "a norm of modes", "a loss of values alone on meshes", hint)
    values, cells = u.double(), 1
    ends: list[Ends] = []
    for k, (n, wraps) in enumerate(zip(grid.shape, grid.periodic)):
        cells *= n if wraps else n - 1
        if wraps:
            ends.append(PERIODIC)
        elif sides == "zero":
            if n < 3:
                raise InvalidInput(f"points of axis {grid.axes[k]!r}", n, "at least 3 with sides: zero")
            ends.append(("dirichlet", "dirichlet"))
            values = values.narrow(2 + k, 1, n - 2)
        else:
            ends.append(("neumann", "neumann"))
            share = widths(ends[-1], n).to(u.device)
            values = values * share.sqrt().view(-1, *(1,) * (grid.dim - 1 - k))
    modes, eigenvalues = laplacian_modes(values / math.sqrt(cells), ends, grid.spacing)
    return modes, eigenvalues
