"""Periodic functions known by their Fourier coefficients: exact derivatives, products without aliasing.

A function keeps the modes ``|k| <= K`` along an axis, ``K = (n - 1) // 2`` on n nodes: the mode that an even
number of nodes cannot tell from its mirror image is left out, so that every derivative is a real function. A
product is taken on a grid of 3/2 times the nodes, where the modes that it adds fold onto none that are kept
(S. A. Orszag, "On the elimination of aliasing in finite-difference schemes by filtering high-wavenumber
components", J. Atmos. Sci. 28, 1971: the 2/3 rule, with the finer grid as the full one), and so is exact up
to the modes that are cut off. What is no polynomial (a quotient, ``exp``) is evaluated at the nodes of the
finer grid, and aliases as far as that does not resolve it.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.problems.calculus import Function, check_axis, check_operand


def kept_modes(grid: Grid) -> tuple[int, ...]:
    """The highest wave number that is kept along each axis, in periods of the box."""
    return tuple((n - 1) // 2 for n in grid.points)


@functools.lru_cache(maxsize=32)
@torch.inference_mode(False)  # else a validation keeps what no training can use
def wave_numbers(grid: Grid, device: torch.device) -> tuple[Tensor, ...]:
    """The wave numbers of the coefficients along each axis, to broadcast against ``(batch, *modes)``."""
    result = []
    for k, highest in enumerate(kept_modes(grid)):
        length = grid.upper[k] - grid.lower[k]
        count = torch.arange(2 * highest + 1, dtype=torch.float64, device=device)
        if k == grid.dim - 1:
            count = count[: highest + 1]
        else:
            count = torch.where(count > highest, count - (2 * highest + 1), count)
        result.append((2 * math.pi / length * count).reshape(-1, *(1,) * (grid.dim - 1 - k)))
    return tuple(result)


@functools.lru_cache(maxsize=64)
@torch.inference_mode(False)  # else a validation keeps what no training can use
def multiplier(grid: Grid, axis: int, order: int, device: torch.device) -> Tensor:
    """What a derivative multiplies the coefficients by."""
    return (1j * wave_numbers(grid, device)[axis]) ** order


@functools.lru_cache(maxsize=16)
@torch.inference_mode(False)  # else a validation keeps what no training can use
def inverse_laplacian_multiplier(grid: Grid, device: torch.device) -> Tensor:
    """What the inverse of the Laplacian multiplies the coefficients by; 0 for the mean."""
    waves = wave_numbers(grid, device)
    squares = functools.reduce(operator.add, (k**2 for k in waves))
    return -torch.where(squares == 0, 0.0, 1.0 / squares)


def fine_points(grid: Grid) -> tuple[int, ...]:
    """Nodes of the grid on which products are taken, an even number along each axis."""
    return tuple(2 * -(-3 * n // 4) for n in grid.points)


def coefficients_of(values: Tensor, grid: Grid) -> Tensor:
    """Fourier coefficients of the kept modes of nodal values ``(batch, *grid.shape)``; mode 0 is the mean."""
    return from_nodes(values, grid.dim, kept_modes(grid))


def values_of(coefficients: Tensor, grid: Grid) -> Tensor:
    """Nodal values ``(batch, *grid.shape)`` of coefficients."""
    return at_nodes(coefficients, kept_modes(grid), grid.points)


def from_nodes(values: Tensor, dim: int, highest: Sequence[int]) -> Tensor:
    """The modes up to ``highest`` of values (..., *points)."""
    # Axis by axis, so that the later transforms are only of modes that are kept.
    modes = torch.fft.rfft(values, dim=-1, norm="forward").narrow(-1, 0, highest[-1] + 1)
    for axis in range(-2, -dim - 1, -1):
        full, h = torch.fft.fft(modes, dim=axis, norm="forward"), highest[axis]
        kept = [full.narrow(axis, 0, h + 1), full.narrow(axis, full.shape[axis] - h, h)]
        modes = torch.cat(kept, axis)
    return modes


def at_nodes(coefficients: Tensor, highest: Sequence[int], points: Sequence[int]) -> Tensor:
    """Values (..., *points) of modes up to ``highest``."""
    for axis in range(-len(points), -1):
        h, shape = highest[axis], list(coefficients.shape)
        shape[axis] = points[axis] - 2 * h - 1
        parts = [coefficients.narrow(axis, 0, h + 1), coefficients.new_zeros(shape)]
        parts.append(coefficients.narrow(axis, h + 1, h))
        coefficients = torch.fft.ifft(torch.cat(parts, axis), dim=axis, norm="forward")
    return torch.fft.irfft(coefficients, n=points[-1], dim=-1, norm="forward")


class SpectralFunction(Function):
    """A periodic function, a batch of them at a time.

    Parameters
    ----------
    coefficients
        ``(batch, *modes)``, complex, as :func:`coefficients_of` gives them; or real, ``(batch, 1, ..., 1)``:
        one number a sample, a function that does not vary.
    grid
        Periodic along every axis.
    """

    def __init__(self, coefficients: Tensor, grid: Grid) -> None:
        self.coefficients, self.grid = coefficients, grid

    @classmethod
    def of(cls, values: Tensor, grid: Grid) -> SpectralFunction:
        """From nodal values ``(batch, *grid.shape)``, or ``(batch,)`` or ``()`` for one number a sample."""
        if values.ndim <= 1:
            return cls(values.reshape(-1, *(1,) * grid.dim), grid)
        return cls(coefficients_of(values, grid), grid)

    @property
    def varies(self) -> bool:
        """Whether it is more than one number a sample."""
        return self.coefficients.is_complex()

    def varying(self) -> SpectralFunction:
        """The same function, with all its modes."""
        if self.varies:
            return self
        shape = [wave.numel() for wave in wave_numbers(self.grid, self.coefficients.device)]
        full = self.coefficients.new_zeros((len(self.coefficients), *shape), dtype=torch.complex128)
        full[(slice(None), *(slice(0, 1),) * self.grid.dim)] = self.coefficients.to(torch.complex128)
        return SpectralFunction(full, self.grid)

    @property
    def values(self) -> Tensor:
        """At the nodes, (batch, *grid.shape)."""
        if not self.varies:
            return self.coefficients.expand(-1, *self.grid.shape)
        return values_of(self.coefficients, self.grid)

    @functools.cached_property
    def _fine_values(self) -> Tensor:
        """At the nodes of the grid on which products are taken."""
        if not self.varies:
            return self.coefficients
        return at_nodes(self.coefficients, kept_modes(self.grid), fine_points(self.grid))

    def _from_fine(self, values: Tensor) -> SpectralFunction:
        return SpectralFunction(from_nodes(values, self.grid.dim, kept_modes(self.grid)), self.grid)

    def map(self, function: Callable[[Tensor], Tensor]) -> SpectralFunction:
        """``function`` of the values, entry by entry."""
        if not self.varies:
            return SpectralFunction(function(self.coefficients), self.grid)
        return self._from_fine(function(self._fine_values))

    def derivative(self, axis: str, order: int) -> SpectralFunction:
        """The derivative along the named axis, exact for the kept modes."""
        check_axis(axis, self.grid.axes)
        if not self.varies:
            return SpectralFunction(torch.zeros_like(self.coefficients), self.grid)
        along = multiplier(self.grid, self.grid.axes.index(axis), order, self.coefficients.device)
        return SpectralFunction(self.coefficients * along, self.grid)

    def inverse_laplacian(self, axes: Sequence[str]) -> SpectralFunction:
        """See :func:`~pdeflow.problems.calculus.inverse_laplacian`."""
        if tuple(axes) != self.grid.axes:
            raise InvalidInput("axes of inverse_laplacian", tuple(axes), f"all axes, {self.grid.axes}")
        if not self.varies:
            return SpectralFunction(torch.zeros_like(self.coefficients), self.grid)
        inverse = inverse_laplacian_multiplier(self.grid, self.coefficients.device)
        return SpectralFunction(self.coefficients * inverse, self.grid)

    def __neg__(self) -> SpectralFunction:
        return SpectralFunction(-self.coefficients, self.grid)

    def _combine(self, other: Any, operation: Callable[[Any, Any], Any]) -> SpectralFunction:
        if not isinstance(other, SpectralFunction):
            check_operand(other)
            if operation is operator.pow and isinstance(other, int) and other >= 1 and self.varies:
                return functools.reduce(lambda a, b: a._combine(b, operator.mul), [self] * other)
            like = self.coefficients.real
            number = torch.as_tensor(other, dtype=like.dtype, device=like.device)
            other = SpectralFunction.of(number, self.grid)
        a, b = self.coefficients, other.coefficients
        additive = operation in (operator.add, operator.sub)
        if self.varies == other.varies and (additive or not self.varies):
            return SpectralFunction(operation(a, b), self.grid)
        if additive:
            return SpectralFunction(
                operation(self.varying().coefficients, other.varying().coefficients), self.grid
            )
        scales = operation is operator.mul or (operation is operator.truediv and self.varies)
        if scales and not (self.varies and other.varies):
            return SpectralFunction(operation(a, b), self.grid)
        return self._from_fine(operation(self._fine_values, other._fine_values))
