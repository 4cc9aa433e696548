"""The multigrid neural operator."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pdeflow.errors import InvalidInput
from pdeflow.operators.grid_convolution import Boundary, coarse_points
from pdeflow.operators.lagrange_interpolation import interpolate
from pdeflow.operators.learned_cycle import Cycle, LearnedCycle
from pdeflow.operators.operator import Operator

COARSEST = 2  # nodes along an axis of the coarsest grid, at least: a mirrored end needs a second node
EPSILON = 1e-6  # beside mean squares of values of about 1
CUBIC = 4  # nodes that the interpolation to and from another grid needs

_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


class MgNO(Operator):
    """Multigrid neural operator: ``v <- GELU(V v + W v + b)`` with ``V`` a multigrid cycle of convolutions.

    Every layer has a cycle V of its own (``LearnedCycle``) and a linear map W of the values at each node.
    There is no lifting network: the first layer takes the input channels to ``width`` channels. After the
    last layer a linear map at each node gives the output channels.

    ``residual`` layers are ``v <- n + GELU(V n + W n + b)`` with ``n = g v / rms(v)``: the values at each
    node over the root of the mean of their squares, times a factor for each channel. The first layer is as
    above. They are learned faster. Without them the operator is the published one, but for how its weights
    start (``LearnedCycle``).

    Input ``(batch, in_channels, *points)``, output ``(batch, out_channels, *points)``, float32.

    **Resolution.** A stencil belongs to a spacing, so the operator has a mesh of its own, ``mesh``: the grid
    that it is to be trained on. An input on another grid of the same box is taken at the nodes of the mesh
    by linear interpolation (where all nodes of the mesh are nodes of the grid, these are the values there),
    and the output goes back to the grid by cubic interpolation. So a grid that contains the mesh gets the
    same values at shared nodes as the mesh itself, and between them an error of the fourth order where the
    solution is smooth; what only a finer grid shows of the input is not seen. (On Darcy flow, trained on
    33 x 33 nodes, the relative L2 error on 65 x 65 is the one on the mesh. The stencils used on the finer
    grid as they are, or cubics between mesh and grid in every layer, were worse.)

    Parameters
    ----------
    mesh
        Nodes along each axis (1 to 3 axes) of the training grid, odd or even; at least 4. Bounded axes
        include both ends, periodic ones leave the upper end out. Grids that keep their ends when they are
        coarsened suit best: ``2^k + 1`` nodes, or ``2^k`` on a periodic axis.
    width
        Channels of the hidden functions.
    layers
        Number of layers.
    levels
        Grids in each cycle, every one with half as many nodes along each axis; the coarsest has at least 2.
    in_channels, out_channels
        Number of functions read and given.
    boundary
        What the stencils find beyond the ends: ``dirichlet`` zeros, ``neumann`` the mirrored function,
        ``periodic`` the other end; one for all axes or one for each.
    cycle
        ``backslash``, the published one, or ``v``, which restricts the residual and smooths on the way up:
        about twice the work.
    smoothing
        Smoothing steps on each level.
    residual
        Whether the layers after the first add to the values that they read.

    Raises
    ------
    InvalidInput
        For settings out of range, among them more levels than the mesh has (the message says how many fit);
        in ``check`` and on a call, for a tensor it cannot take.

    References
    ----------
    He, Liu, Xu: MgNO: efficient parameterization of linear operators via multigrid. ICLR 2024.
    arXiv:2310.19809. Zhang, Sennrich: Root mean square layer normalization. NeurIPS 2019.
    """

    def __init__(
        self,
        mesh: list[int],
        width: int = 24,
        layers: int = 4,
        levels: int = 5,
        in_channels: int = 1,
        out_channels: int = 1,
        boundary: Boundary | list[Boundary] = "dirichlet",
        cycle: Cycle = "backslash",
        smoothing: int = 1,
        residual: bool = True,
    ) -> None:
        settings: dict[str, Any] = {
            "mesh": list(mesh),
            "width": width,
            "layers": layers,
            "levels": levels,
            "in_channels": in_channels,
            "out_channels": out_channels,
            "boundary": boundary if isinstance(boundary, str) else list(boundary),
            "cycle": cycle,
            "smoothing": smoothing,
            "residual": residual,
        }
        dim = len(mesh)
        if not 1 <= dim <= 3:
            raise InvalidInput("model.mesh", mesh, "one number for each spatial axis, 1 to 3 of them")
        if min(mesh) < CUBIC:
            raise InvalidInput("model.mesh", mesh, f"at least {CUBIC} nodes along each axis")
        for name in ("width", "layers", "levels", "smoothing"):
            if settings[name] < 1:
                raise InvalidInput(f"model.{name}", settings[name], "at least 1")
        if cycle not in get_args(Cycle):
            raise InvalidInput("model.cycle", cycle, f"one of {get_args(Cycle)}", choices=get_args(Cycle))
        super().__init__(settings, dim=dim, in_channels=in_channels, out_channels=out_channels)
        self.mesh = tuple(mesh)
        self.boundary = _each_axis(boundary, dim)
        most = most_levels(mesh)
        if levels > most:
            raise InvalidInput(
                "model.levels",
                levels,
                f"at most {most}, which are what a mesh of {tuple(mesh)} nodes has",
                f"Set model.levels to {most}, or train on at least {2 ** (levels - 1) + 1} nodes an axis.",
            )
        channels = [in_channels, *(width,) * layers]
        self.cycles = nn.ModuleList(
            LearnedCycle(before, after, levels, self.boundary, cycle, smoothing)
            for before, after in pairwise(channels)
        )
        self.pointwise = nn.ModuleList(nn.Linear(before, after) for before, after in pairwise(channels))
        self.residual = residual
        gains = layers - 1 if residual else 0
        self.gains = nn.ParameterList(nn.Parameter(torch.ones(width)) for _ in range(gains))
        self.last = nn.Linear(width, out_channels)

    def check_resolution(self, points: Sequence[int]) -> None:
        """Raise InvalidInput for a grid that is too coarse to be interpolated to the mesh."""
        for axis, count in enumerate(points):
            if count < CUBIC:
                raise InvalidInput(
                    f"resolution of axis {axis}", count, f"at least {CUBIC} points", "Use a finer grid."
                )

    def evaluate(self, x: Tensor) -> Tensor:
        """Apply the layers on the mesh."""
        points = x.shape[2:]
        periodic = [kind == "periodic" for kind in self.boundary]
        v = interpolate(x, self.mesh, periodic, degree=1)
        if v.ndim in _CHANNELS_LAST:
            # The order of the memory that convolutions and pointwise maps share. Cloned, because one channel
            # counts as being in either order, and the strides decide for all that follows.
            v = v.clone(memory_format=_CHANNELS_LAST[v.ndim])
        for layer, (cycle, pointwise) in enumerate(zip(self.cycles, self.pointwise)):
            if layer and self.residual:
                v = _normalised(v, self.gains[layer - 1])
                v = v + F.gelu(cycle(v) + _at_each_node(pointwise, v))
            else:
                v = F.gelu(cycle(v) + _at_each_node(pointwise, v))
        return interpolate(_at_each_node(self.last, v), points, periodic, degree=3).contiguous()


def most_levels(points: Sequence[int]) -> int:
    """How many grids there are from this one down to the coarsest with 2 nodes or more along each axis."""
    levels = 1
    while min(points := coarse_points(points)) >= COARSEST:
        levels += 1
    return levels


def _at_each_node(linear: nn.Module, v: Tensor) -> Tensor:
    """A linear map of the channels of ``(batch, channels, *points)``."""
    return linear(v.movedim(1, -1)).movedim(-1, 1)


def _normalised(v: Tensor, gain: Tensor) -> Tensor:
    """``gain v / rms(v)`` at each node."""
    return F.rms_norm(v.movedim(1, -1), gain.shape, gain.to(v.dtype), EPSILON).movedim(-1, 1)


def _each_axis(boundary: Boundary | Sequence[Boundary], dim: int) -> tuple[Boundary, ...]:
    kinds = get_args(Boundary)
    each = (boundary,) * dim if isinstance(boundary, str) else tuple(boundary)
    unknown = [kind for kind in each if kind not in kinds]
    if unknown:
        raise InvalidInput("model.boundary", unknown[0], f"one of {kinds}", choices=kinds)
    if len(each) != dim:
        raise InvalidInput("model.boundary", boundary, f"one for all axes, or one for each of the {dim}")
    return each
