r"""Discrete Fourier transforms that work out only the modes that are kept, as products with real matrices.

With m of n modes kept, a product costs 2 m operations a node where a fast transform of all modes costs about
:math:`5 \log_2 n` slower ones: for the few modes of a neural operator the products are faster, forwards and
backwards, and no complex numbers occur in them.

Between two axes the real and the imaginary part stand next to each other in memory, so that an axis is one
product with a matrix of twice the size, ``[[cos, sin], [-sin, cos]]``.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Scaling = str
"""Where it is, as in ``torch.fft``: ``"forward"``, ``"backward"`` or ``"ortho"``."""


def lowest_modes(x: Tensor, modes: Sequence[int], norm: Scaling) -> Tensor:
    """The modes from ``-m // 2`` up, ``m`` along each axis and from 0 up along the last, in this order.

    Parameters
    ----------
    x
        ``(batch, channels, *points)``, real.
    modes
        How many along each axis.
    norm
        Where the scaling is.

    Returns
    -------
    Tensor
        ``(batch, channels, 2, *modes)``: real parts, then imaginary parts.
    """
    lead, points = x.shape[:2], x.shape[2:]
    y = x @ _matrix(_from_real, points[-1], modes[-1], norm, x)
    done = modes[-1]
    for axis in range(len(points) - 2, -1, -1):
        matrix = _matrix(_analysis, points[axis], modes[axis], norm, x)
        y = matrix @ y.reshape(-1, 2 * points[axis], done)
        done *= modes[axis]
    return y.reshape(*lead, 2, *modes)


def from_modes(low: Tensor, points: Sequence[int], norm: Scaling) -> Tensor:
    """The real function on a grid of so many points that has these lowest modes; see `lowest_modes`.

    Parameters
    ----------
    low
        ``(batch, channels, 2, *modes)``.
    points
        At least as many along each axis as there are modes.
    norm
        Where the scaling is.

    Returns
    -------
    Tensor
        ``(batch, channels, *points)``.
    """
    lead, modes = low.shape[:2], low.shape[3:]
    y = low
    for axis in range(len(points) - 1):
        matrix = _matrix(_synthesis, points[axis], modes[axis], norm, low)
        y = matrix @ y.reshape(-1, 2 * modes[axis], math.prod(modes[axis + 1 :]))
    y = y.reshape(-1, 2 * modes[-1]) @ _matrix(_to_real, points[-1], modes[-1], norm, low)
    return y.reshape(*lead, *points)


def _matrix(make: Callable[..., Tensor], points: int, modes: int, norm: Scaling, like: Tensor) -> Tensor:
    """A matrix as training, inference and tracing can use it alike."""
    if torch.compiler.is_compiling():
        return getattr(make, "__wrapped__")(points, modes, norm, like.dtype, like.device)  # noqa: B009
    # What is kept must not be a tensor of inference, which no later training may read.
    with torch.inference_mode(False):
        return make(points, modes, norm, like.dtype, like.device)


def _angles(waves: Tensor, points: int) -> Tensor:
    """``2 pi k j / n``, (waves, points), exact before the sine: the products are whole numbers."""
    nodes = torch.arange(points, dtype=torch.int64, device="cpu")
    return torch.outer(waves, nodes).remainder(points).double() * (2 * math.pi / points)


def _waves(modes: int) -> Tensor:
    return torch.arange(-(modes // 2), modes - modes // 2, dtype=torch.int64, device="cpu")


def _scale(points: int, norm: Scaling, forward: bool) -> float:
    if norm == "ortho":
        return points**-0.5
    return 1.0 / points if (norm == "forward") == forward else 1.0


@functools.lru_cache(maxsize=64)
def _from_real(points: int, modes: int, norm: Scaling, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(points, 2 modes): cosines, then minus sines."""
    angles = _angles(torch.arange(modes, dtype=torch.int64, device="cpu"), points).T
    matrix = torch.cat([angles.cos(), -angles.sin()], dim=1) * _scale(points, norm, forward=True)
    return matrix.to(device, dtype)


@functools.lru_cache(maxsize=64)
def _to_real(points: int, modes: int, norm: Scaling, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(2 modes, points). All modes but 0, and n / 2, stand for their mirror image too."""
    waves = torch.arange(modes, dtype=torch.int64, device="cpu")
    twice = torch.where((waves == 0) | (2 * waves == points), 1.0, 2.0).double()[:, None]
    angles = _angles(waves, points)
    matrix = torch.cat([twice * angles.cos(), -twice * angles.sin()]) * _scale(points, norm, forward=False)
    return matrix.to(device, dtype)


@functools.lru_cache(maxsize=64)
def _analysis(points: int, modes: int, norm: Scaling, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(2 modes, 2 points): from node by node (real, imaginary) to all real parts, then all imaginary."""
    angles = _angles(_waves(modes), points)
    cosine, sine = angles.cos(), angles.sin()
    rows = [torch.stack(pair, dim=-1).flatten(1) for pair in ((cosine, sine), (-sine, cosine))]
    return (torch.cat(rows) * _scale(points, norm, forward=True)).to(device, dtype)


@functools.lru_cache(maxsize=64)
def _synthesis(points: int, modes: int, norm: Scaling, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(2 points, 2 modes), the way back."""
    angles = _angles(_waves(modes), points).T
    cosine, sine = angles.cos(), angles.sin()
    columns = [torch.stack(pair, dim=1).flatten(0, 1) for pair in ((cosine, sine), (-sine, cosine))]
    return (torch.cat(columns, dim=1) * _scale(points, norm, forward=False)).to(device, dtype)
