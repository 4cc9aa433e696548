"""The low-rank neural operator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from pdeflow.errors import InvalidInput
from pdeflow.operators.fourier import Positions, check_positions, node_positions
from pdeflow.operators.mlp import mlp
from pdeflow.operators.operator import Operator


class LNO(Operator):
    """Low-rank neural operator: ``v <- act(W v + K v + b)``, ``K v = sum_r <psi_r, v> phi_r``.

    The kernel of the integral operator ``K`` is a sum of ``rank`` products. ``phi_r`` and ``psi_r``
    have as many components as ``v``; pointwise networks, new ones in each layer, give them at a place
    ``x`` from ``x`` and the input ``a(x)``. The inner product ``<psi, v>`` is the integral of
    ``psi . v`` over the box of size one: by the trapezoidal rule where grids include both ends of an
    axis, by the mean where they are periodic. So the output tends to a function as the grid is refined.
    A pointwise network lifts the input to ``width`` channels and another one projects to the outputs.

    Input ``(batch, in_channels, *points)``, output ``(batch, out_channels, *points)``, float32, in 1D to
    3D, on any grid with at least 2 points along each axis.

    Parameters
    ----------
    dim
        Number of axes, 1 to 3.
    width
        Channels of the hidden functions.
    layers
        Number of layers.
    rank
        Products in each kernel.
    kernel_width
        Hidden numbers of the networks that give ``phi_r`` and ``psi_r``.
    in_channels, out_channels
        Number of functions read and given.
    positions
        As in ``FNO``. Where it is null, functions are taken to be periodic.

    Raises
    ------
    InvalidInput
        For settings out of range; in ``check`` and on a call, for a tensor it cannot take.

    References
    ----------
    Kovachki, Li, Liu, Azizzadenesheli, Bhattacharya, Stuart, Anandkumar: Neural operator: learning maps
    between function spaces with applications to PDEs. JMLR 24, 2023, section 4.2. arXiv:2108.08481.
    """

    def __init__(
        self,
        dim: int,
        width: int = 32,
        layers: int = 4,
        rank: int = 8,
        kernel_width: int = 64,
        in_channels: int = 1,
        out_channels: int = 1,
        positions: Positions | None = "bounded",
    ) -> None:
        if not 1 <= dim <= 3:
            raise InvalidInput("model.dim", dim, "1, 2 or 3")
        sizes = {"width": width, "layers": layers, "rank": rank, "kernel_width": kernel_width}
        for name, size in sizes.items():
            if size < 1:
                raise InvalidInput(f"model.{name}", size, "at least 1")
        check_positions(positions, (*get_args(Positions), None))
        settings = {
            "dim": dim,
            **sizes,
            "in_channels": in_channels,
            "out_channels": out_channels,
            "positions": positions,
        }
        super().__init__(settings, dim=dim, in_channels=in_channels, out_channels=out_channels)
        self.positions: Positions | None = positions
        reads = in_channels + (dim if positions else 0)
        self.lifting = mlp([reads, 2 * width, width])
        self.layers = nn.ModuleList(_LowRankLayer(reads, width, rank, kernel_width) for _ in range(layers))
        self.projection = mlp([width, 2 * width, out_channels])

    def check_resolution(self, points: Sequence[int]) -> None:
        """Raise InvalidInput where an axis has a single node."""
        for axis, count in enumerate(points):
            if count < 2:
                raise InvalidInput(f"resolution of axis {axis}", count, "at least 2 points to integrate over")

    def evaluate(self, x: Tensor) -> Tensor:
        """Lift, apply the layers, project; nodes in one axis, channels last."""
        points = x.shape[2:]
        weights = quadrature_weights(x, self.positions)
        if self.positions:
            x = torch.cat((x, *node_positions(x, self.positions)), dim=1)
        known = x.flatten(2).transpose(1, 2)
        v = self.lifting(known)
        for number, layer in enumerate(self.layers, start=1):
            v = layer(v, known, weights)
            if number < len(self.layers):
                v = gelu(v)
        return self.projection(v).transpose(1, 2).unflatten(2, points)


class _LowRankLayer(nn.Module):
    """``W v + sum_r <psi_r, v> phi_r + b``.

    The networks of phi and psi end in linear maps. These are taken out of the sum over the nodes: it
    is one of ``kernel_width x width`` products a node, ``rank`` times fewer than psi itself has.
    """

    def __init__(self, reads: int, width: int, rank: int, kernel_width: int) -> None:
        super().__init__()
        self.local = nn.Linear(width, width)
        self.phi_hidden = nn.Sequential(mlp([reads, kernel_width, kernel_width]), nn.GELU())
        self.psi_hidden = nn.Sequential(mlp([reads, kernel_width, kernel_width]), nn.GELU())
        # Hidden numbers are about 0.1 as made: at the usual size phi and psi would be too, and learn slower.
        size = 3 / math.sqrt(kernel_width)
        self.phi = nn.Parameter(size * torch.randn(rank, kernel_width, width))
        self.psi = nn.Parameter(size * torch.randn(rank, kernel_width, width))

    def forward(self, v: Tensor, known: Tensor, weights: Tensor) -> Tensor:
        """``v (batch, nodes, width)``, ``known (batch, nodes, reads)``, ``weights (nodes, 1)``."""
        moments = (self.psi_hidden(known) * weights).transpose(1, 2) @ v
        products = torch.einsum("bkc,rkc->br", moments, self.psi)
        return self.local(v) + self.phi_hidden(known) @ torch.einsum("br,rkc->bkc", products, self.phi)


def quadrature_weights(x: Tensor, kind: Positions | None) -> Tensor:
    """Weights of the nodes of ``x``, ``(batch, channels, *points)``, in an integral over the box of size one.

    ``(nodes, 1)``: trapezoidal along bounded axes, whose ends count half; equal along the others.
    """
    weights = torch.ones(1, dtype=x.dtype, device=x.device)
    for count in x.shape[2:]:
        line = torch.full((count,), 1.0, dtype=x.dtype, device=x.device)
        if kind == "bounded":
            line[[0, -1]] = 0.5
        weights = (weights[:, None] * (line / line.sum())).flatten()
    return weights[:, None]
