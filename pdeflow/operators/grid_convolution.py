"""Learned stencils: convolutions of three points along each axis, on grids that end or wrap around."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Boundary = Literal["dirichlet", "neumann", "periodic"]

FULL_WEIGHTING = (0.25, 0.5, 0.25)
LINEAR_INTERPOLATION = (0.5, 1.0, 0.5)
"""Stencils along one axis, of a restriction and of a prolongation."""

FEW = 4
"""Nodes along an axis below which stencils in 3D keep float32 on a CPU: with two, oneDNN's gradients by
weights in bfloat16 have entries that it never writes (torch 2.13, processors with AVX512_BF16)."""

_CONVOLVE: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSE: dict[int, Any] = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def coarse_points(points: Sequence[int]) -> tuple[int, ...]:
    """Nodes of the next coarser grid: every second one, the first included; ``ceil(n / 2)``.

    An odd number on a bounded axis keeps both ends (65, 33, 17), an even one on a periodic axis keeps the
    spacing (64, 32, 16). An even number on a bounded axis leaves its last node out, one fine spacing beyond
    the last coarse node; an odd number on a periodic axis has one coarse interval of half the length.
    """
    return tuple((n + 1) // 2 for n in points)


class _Stencil(nn.Module):
    """The weights, without bias, ``(first, second, 3, ..., 3)``, and the boundary conditions."""

    def __init__(self, first: int, second: int, boundary: Sequence[Boundary]) -> None:
        super().__init__()
        self.boundary = tuple(boundary)
        self.dim = len(self.boundary)
        self.weight = nn.Parameter(torch.empty(first, second, *(3,) * self.dim))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5.0))

    def _applied(
        self, convolve: Callable[..., Tensor], x: Tensor, points: Sequence[int], **sizes: Any
    ) -> Tensor:
        """A convolution of x by the weights, on a grid of so many points."""
        mixed = x.device.type == "cpu" and torch.is_autocast_enabled("cpu")
        if mixed and self.dim == 3 and min(points) < FEW:
            with torch.autocast("cpu", enabled=False):
                return convolve(x.to(self.weight.dtype), self.weight, **sizes)
        return convolve(x, self.weight, **sizes)

    @torch.no_grad()
    def set_each_channel(self, line: Sequence[float], factor: float = 1.0) -> None:
        """Give each channel the stencil ``factor line x ... x line``, and nothing of another channel."""
        product = self.weight.new_tensor(line)
        for _ in range(self.dim - 1):
            product = product[..., None] * self.weight.new_tensor(line)
        same = torch.eye(*self.weight.shape[:2], dtype=product.dtype, device=product.device)
        self.weight.copy_(factor * same.view(*same.shape, *(1,) * self.dim) * product)


class GridConvolution(_Stencil):
    """``y_i = sum_{o in {-1,0,1}^d} W_o x_{s i + o}``, with stride s of 1, or of 2 for a restriction.

    Beyond the ends x is zero (``dirichlet``), mirrored at the last node (``neumann``), or wraps around
    (``periodic``), along each axis as ``boundary`` says.

    ``(batch, in_channels, *points)`` to ``(batch, out_channels, *points)``, or to ``coarse_points``.
    """

    def __init__(
        self, in_channels: int, out_channels: int, boundary: Sequence[Boundary], stride: int = 1
    ) -> None:
        super().__init__(out_channels, in_channels, boundary)
        self.stride = stride
        self._zeros = tuple(int(kind == "dirichlet") for kind in self.boundary)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the stencil."""
        points = x.shape[2:]
        for axis, kind in enumerate(self.boundary, start=2):
            if kind != "dirichlet":
                below, above = (-1, 0) if kind == "periodic" else (1, -2)
                x = torch.cat((_layer(x, axis, below), x, _layer(x, axis, above)), axis)
        return self._applied(_CONVOLVE[self.dim], x, points, stride=self.stride, padding=self._zeros)


class Prolongation(_Stencil):
    """The adjoint of a restriction: ``y_{2 i + o} += W_o^T x_i``, for all coarse nodes i and offsets o.

    ``(batch, in_channels, *coarse_points(points))`` to ``(batch, out_channels, *points)``. With the weights
    1/2, 1, 1/2 along each axis it is linear interpolation. A last node beyond the last coarse one lies
    between that and what the boundary condition puts behind it: zero, the same value, or the first node.
    """

    def __init__(self, in_channels: int, out_channels: int, boundary: Sequence[Boundary]) -> None:
        super().__init__(in_channels, out_channels, boundary)

    def forward(self, x: Tensor, points: Sequence[int]) -> Tensor:
        """Apply the stencil; ``points`` are those of the finer grid."""
        zeros = [0] * self.dim
        for axis, (n, kind) in enumerate(zip(points, self.boundary)):
            if n % 2 == 0 and kind == "dirichlet":
                zeros[axis] = 1
            elif n % 2 == 0:
                x = torch.cat((x, _layer(x, axis + 2, 0 if kind == "periodic" else -1)), axis + 2)
        y = self._applied(_TRANSPOSE[self.dim], x, x.shape[2:], stride=2, padding=1, output_padding=zeros)
        for axis, n in enumerate(points, start=2):
            if y.shape[axis] > n:
                y = y.narrow(axis, 0, n)
        return y


def _layer(x: Tensor, axis: int, index: int) -> Tensor:
    return x.narrow(axis, index % x.shape[axis], 1)
