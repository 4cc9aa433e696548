"""Derivatives of functions sampled on a grid."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid


def gradient(u: Tensor, grid: Grid, *, spectral: bool = False) -> list[Tensor]:
    """Partial derivatives along each axis of the grid, second-order accurate.

    Central differences inside and, wrapped, on periodic axes; one-sided three-point differences at the
    ends of bounded axes (two-point ones on an axis of two points).

    Parameters
    ----------
    u
        ``(..., *grid.shape)``.
    grid
        Where the samples lie; its spacing gives derivatives per unit of length.
    spectral
        Differentiate periodic axes in Fourier space instead, exact for what the grid resolves.

    Returns
    -------
    list of Tensor
        One tensor of the shape of ``u`` for each axis.

    Raises
    ------
    InvalidInput
        If the last axes of ``u`` are not the grid's.
    """
    if tuple(u.shape[u.ndim - grid.dim :]) != grid.shape:
        raise InvalidInput("u", tuple(u.shape), f"a tensor whose last axes are the grid's {grid.shape}")
    result = []
    for axis, (h, periodic) in enumerate(zip(grid.spacing, grid.periodic)):
        dim = u.ndim - grid.dim + axis
        if periodic and spectral:
            result.append(_fourier_derivative(u, dim, length=h * u.shape[dim]))
        elif periodic:
            result.append((u.roll(-1, dim) - u.roll(1, dim)) / (2 * h))
        else:
            result.append(_bounded_derivative(u, dim, h))
    return result


def _bounded_derivative(u: Tensor, dim: int, h: float) -> Tensor:
    n = u.shape[dim]
    if n == 2:
        return ((u.narrow(dim, 1, 1) - u.narrow(dim, 0, 1)) / h).expand_as(u)
    inside = u.narrow(dim, 2, n - 2) - u.narrow(dim, 0, n - 2)
    first = 4 * u.narrow(dim, 1, 1) - 3 * u.narrow(dim, 0, 1) - u.narrow(dim, 2, 1)
    last = 3 * u.narrow(dim, n - 1, 1) - 4 * u.narrow(dim, n - 2, 1) + u.narrow(dim, n - 3, 1)
    return torch.cat((first, inside, last), dim) / (2 * h)


def _fourier_derivative(u: Tensor, dim: int, length: float) -> Tensor:
    n = u.shape[dim]
    waves = torch.arange(n // 2 + 1, dtype=u.dtype, device=u.device) * (2 * math.pi / length)
    if n % 2 == 0:
        # The sine of the highest frequency vanishes at every node: its derivative cannot be told.
        waves[-1] = 0
    shape = [-1 if d == dim else 1 for d in range(u.ndim)]
    return torch.fft.irfft(1j * waves.view(shape) * torch.fft.rfft(u, dim=dim), n=n, dim=dim)
