r"""Random functions of position: Gaussian, log-normal and thresholded.

All are made from the Gaussian field of

    Z. Li, N. Kovachki, K. Azizzadenesheli, B. Liu, K. Bhattacharya, A. Stuart, A. Anandkumar, "Fourier
    Neural Operator for Parametric Partial Differential Equations", ICLR 2021, section 5.2 and appendix
    A.3.2,

which is :math:`N(0, (-\Delta + \tau^2)^{-\alpha})`, expanded in the eigenfunctions of the Laplacian:

.. math::

    \psi(x) = \sum_k (\lambda_k + \tau^2)^{-\alpha/2}\, \xi_k\, \phi_k(x), \qquad \xi_k \sim N(0, 1).

On a bounded axis of length L, with a zero Neumann boundary, :math:`\phi_k = \sqrt{2/L} \cos(\pi k x / L)` and
:math:`\lambda_k = (\pi k / L)^2`, k = 0, 1, ... (:math:`\phi_0 = 1/\sqrt L`). On a periodic axis they are the
constant, then cosine and sine of :math:`2 \pi m x / L`, with :math:`\lambda = (2 \pi m / L)^2`. In several
dimensions the eigenfunctions multiply and the eigenvalues add.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.problems.distributions import Distribution, random_generator
from pdeflow.problems.domain import Domain

_REFERENCE_MODES = {1: 4096, 2: 512, 3: 96}
"""Modes an axis that the variance is summed over when ``modes`` is not given, whatever the grid."""


@functools.lru_cache(maxsize=8)
def _shell_order(modes: int, dim: int) -> np.ndarray:
    """Flat indices of the ``modes**dim`` cube, nested: those of every smaller cube come first."""
    index = np.indices((modes,) * dim).reshape(dim, -1)
    return np.lexsort((*index[::-1], index.max(axis=0)))


def _noise(seed: np.random.SeedSequence, modes: tuple[int, ...]) -> np.ndarray:
    """Standard normal numbers, one a mode; fewer modes of the same seed are given the same numbers."""
    widest, dim = max(modes), len(modes)
    cube = np.empty(widest**dim)
    cube[_shell_order(widest, dim)] = random_generator(seed).standard_normal(cube.size)
    return cube.reshape((widest,) * dim)[tuple(slice(m) for m in modes)].copy()


def _frequencies(modes: int, length: float, periodic: bool) -> np.ndarray:
    """Square roots of the eigenvalues of -d²/dx² along one axis, mode by mode."""
    index = np.arange(modes)
    return 2 * np.pi * ((index + 1) // 2) / length if periodic else np.pi * index / length


def _eigenfunctions(grid: Grid, axis: int, modes: int, distances: np.ndarray | None = None) -> np.ndarray:
    """The orthonormal eigenfunctions of one axis, (points, modes), at its nodes or these distances."""
    length = grid.upper[axis] - grid.lower[axis]
    if distances is None:
        distances = grid.spacing[axis] * np.arange(grid.points[axis])
    phase = np.outer(distances, _frequencies(modes, length, grid.periodic[axis]))
    values = np.cos(phase)
    if grid.periodic[axis]:
        values[:, 2::2] = np.sin(phase[:, 2::2])
    values *= math.sqrt(2 / length)
    values[:, 0] = 1 / math.sqrt(length)
    return values


@functools.lru_cache(maxsize=32)
def _amplitudes(
    box: tuple[tuple[float, bool], ...], modes: tuple[int, ...], alpha: float, tau: float, constant_mode: bool
) -> np.ndarray:
    """(eigenvalue + tau²)^(-alpha/2) of every mode; ``box`` holds the length and wrapping of each axis."""
    squares = np.zeros(())
    for m, (length, periodic) in zip(modes, box):
        squares = squares[..., None] + _frequencies(m, length, periodic) ** 2
    corner = (0,) * len(modes)
    shifted = squares + tau**2
    if not constant_mode:
        shifted[corner] = np.inf
    return shifted ** (-alpha / 2)


def _shape(domain: Domain | Grid) -> tuple[tuple[float, bool], ...]:
    """The length of each axis, and whether it wraps around."""
    return tuple((high - low, w) for low, high, w in zip(domain.lower, domain.upper, domain.periodic))


class Field(Distribution):
    """A distribution of functions of position."""

    is_field: ClassVar[bool] = True

    def values_at(self, seed: np.random.SeedSequence, points: np.ndarray, grid: Grid) -> Tensor:
        """The sample of one seed at scattered points: the function that the grid is given, between its nodes.

        Parameters
        ----------
        seed
            Of the sample.
        points
            (n, dim), in the grid's box.
        grid
            Decides how many modes the function has.

        Returns
        -------
        Tensor
            (n,) float64, on the CPU.

        Raises
        ------
        InvalidInput
            If the distribution knows its samples on grids only.
        """
        raise InvalidInput("distribution", self, "one that knows its samples at any point")


@dataclass(frozen=True)
class GaussianField(Field):
    r"""The Gaussian field :math:`N(mean, c^2 (-\Delta + \tau^2)^{-\alpha})` of the formula above.

    The noise of a sample is drawn on the host in float64, mode by mode from the lowest up, and summed on the
    caller's device by one dense product an axis: O(modes * points) an axis and line, 0.1 s for a sample
    of 128 x 128 x 128 on one core. On a finer grid the same seed gives the same function plus the modes that
    the coarser grid could not carry; with ``modes`` given it is the very same function on every grid.

    Parameters
    ----------
    alpha
        Smoothness; more than half the dimension, or the field would not be a function.
    tau
        Inverse correlation length, 1/length.
    mean
        Added to every sample.
    std
        Standard deviation averaged over the domain, with mode 0; c is chosen to give it. By default c = 1.
    constant_mode
        Whether mode 0, the average of the sample, is random too. The published code leaves it out, and so
        do we: with it, one in twenty samples of the thresholded field has one colour only.
    modes
        Modes along each axis; by default as many as the grid has nodes, and never more: a recipe with a
        coarser grid is refused. Set it (to 64, say) to bound the cost in 3D, or where samples on several
        grids must be exactly one function.

    Raises
    ------
    InvalidInput
        If a number is out of range.
    """

    alpha: float = 2.0
    tau: float = 3.0
    mean: float = 0.0
    std: float | None = None
    constant_mode: bool = False
    modes: int | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.alpha) and self.alpha > 0):
            raise InvalidInput("alpha", self.alpha, "a positive number")
        if not (math.isfinite(self.tau) and self.tau >= 0):
            raise InvalidInput("tau", self.tau, "a number of at least 0")
        if self.constant_mode and self.tau == 0:
            raise InvalidInput("tau", self.tau, "a positive number when constant_mode is true")
        if not math.isfinite(self.mean):
            raise InvalidInput("mean", self.mean, "a finite number")
        if self.std is not None and not (math.isfinite(self.std) and self.std > 0):
            raise InvalidInput("std", self.std, "a positive number")
        if self.modes is not None and self.modes < 2:
            raise InvalidInput("modes", self.modes, "at least 2")

    @property
    def positive(self) -> bool:
        """Whether every sample is certainly positive."""
        return False

    def fewest_nodes(self, domain: Domain) -> tuple[int, ...]:
        """As many as modes."""
        return (self.modes or 1,) * domain.dim

    def deviation(self, domain: Domain) -> float:
        """``std``, or what it is for c = 1, without mode 0: that is the average of a sample."""
        box = _shape(domain)
        return self._scale(box) * self._unscaled(box, constant_mode=False)

    def _unscaled(self, box: tuple[tuple[float, bool], ...], constant_mode: bool) -> float:
        """The standard deviation for c = 1, with or without what mode 0 adds to it."""
        modes = (self.modes or _REFERENCE_MODES[len(box)],) * len(box)
        amplitudes = _amplitudes(box, modes, self.alpha, self.tau, constant_mode)
        return math.sqrt(float(np.sum(amplitudes**2)) / math.prod(length for length, _ in box))

    def _scale(self, box: tuple[tuple[float, bool], ...]) -> float:
        return 1.0 if self.std is None else self.std / self._unscaled(box, self.constant_mode)

    def _expansion(self, grid: Grid) -> tuple[tuple[int, ...], np.ndarray]:
        """Modes along each axis, and the standard deviation of every coefficient."""
        if self.alpha <= grid.dim / 2:
            raise InvalidInput(
                "alpha",
                self.alpha,
                f"more than {grid.dim / 2:g} in {grid.dim}D",
                "Below that it is no function.",
            )
        modes = grid.points if self.modes is None else (self.modes,) * grid.dim
        box = _shape(grid)
        amplitudes = self._scale(box) * _amplitudes(box, modes, self.alpha, self.tau, self.constant_mode)
        return modes, amplitudes

    def values_at(self, seed: np.random.SeedSequence, points: np.ndarray, grid: Grid) -> Tensor:
        """The sample of one seed at scattered points; see :meth:`Field.values_at`."""
        modes, amplitudes = self._expansion(grid)
        bases = [
            torch.from_numpy(_eigenfunctions(grid, k, m, points[:, k] - grid.lower[k]))
            for k, m in enumerate(modes)
        ]
        values = bases[0] @ torch.from_numpy(amplitudes * _noise(seed, modes)).reshape(modes[0], -1)
        for basis in bases[1:]:
            values = (values.reshape(*basis.shape, -1) * basis[..., None]).sum(1)
        return values.reshape(len(points)) + self.mean

    def sample(
        self,
        seeds: Sequence[np.random.SeedSequence],
        grid: Grid,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """One sample a seed; see :meth:`Distribution.sample`."""
        modes, amplitudes = self._expansion(grid)
        bases = [torch.as_tensor(_eigenfunctions(grid, k, m), device=device) for k, m in enumerate(modes)]
        out = torch.empty((len(seeds), *grid.shape), dtype=dtype, device=device)
        # One sample at a time: a product with the whole batch may round differently for other batch sizes.
        for row, seed in zip(out, seeds):
            values = torch.as_tensor(amplitudes * _noise(seed, modes), device=device)
            for basis in bases:
                values = values.movedim(0, -1) @ basis.T
            row.copy_(values + self.mean)
        return out

    def __str__(self) -> str:
        scale = "" if self.std is None else f", scaled to a standard deviation of {self.std:g}"
        return f"Gaussian field N({self.mean:g}, (-Laplace + {self.tau:g}^2)^-{self.alpha:g}){scale}"


@dataclass(frozen=True)
class LogNormalField(Field):
    """exp of a Gaussian field whose mean is ``mean`` and whose standard deviation is ``std``.

    Parameters
    ----------
    mean, std
        Of the logarithm; ``std`` is averaged over the domain.
    alpha, tau, constant_mode, modes
        As in :class:`GaussianField`.
    """

    mean: float = 0.0
    std: float = 1.0
    alpha: float = 2.0
    tau: float = 3.0
    constant_mode: bool = False
    modes: int | None = None

    def __post_init__(self) -> None:
        _ = self.logarithm  # checks the numbers

    @property
    def logarithm(self) -> GaussianField:
        """The distribution of the logarithm."""
        return GaussianField(self.alpha, self.tau, self.mean, self.std, self.constant_mode, self.modes)

    def fewest_nodes(self, domain: Domain) -> tuple[int, ...]:
        """As many as modes."""
        return self.logarithm.fewest_nodes(domain)

    @property
    def positive(self) -> bool:
        """Whether every sample is certainly positive."""
        return True

    def sample(
        self,
        seeds: Sequence[np.random.SeedSequence],
        grid: Grid,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """One sample a seed; see :meth:`Distribution.sample`."""
        return self.logarithm.sample(seeds, grid, torch.float64, device).exp_().to(dtype)

    def values_at(self, seed: np.random.SeedSequence, points: np.ndarray, grid: Grid) -> Tensor:
        """The sample of one seed at scattered points; see :meth:`Field.values_at`."""
        return self.logarithm.values_at(seed, points, grid).exp_()

    def __str__(self) -> str:
        return f"exp of a {self.logarithm}"


@dataclass(frozen=True)
class ThresholdedField(Field):
    """Two values, told apart by the sign of a Gaussian field: ``high`` where it is >= 0, ``low`` elsewhere.

    The defaults are the coefficient of the FNO paper's Darcy flow: 12 and 3, alpha = 2, tau = 3.

    Parameters
    ----------
    low, high
        The two values.
    alpha, tau, constant_mode, modes
        As in :class:`GaussianField`.
    """

    low: float = 3.0
    high: float = 12.0
    alpha: float = 2.0
    tau: float = 3.0
    constant_mode: bool = False
    modes: int | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low != self.high):
            raise InvalidInput("low, high", (self.low, self.high), "two different finite numbers")
        _ = self.underlying  # checks the numbers

    @property
    def underlying(self) -> GaussianField:
        """The distribution of the field whose sign decides."""
        return GaussianField(self.alpha, self.tau, 0.0, None, self.constant_mode, self.modes)

    def fewest_nodes(self, domain: Domain) -> tuple[int, ...]:
        """As many as modes."""
        return self.underlying.fewest_nodes(domain)

    @property
    def positive(self) -> bool:
        """Whether every sample is certainly positive."""
        return self.bounds[0] > 0

    @property
    def bounds(self) -> tuple[float, float]:
        """The two values."""
        return min(self.low, self.high), max(self.low, self.high)

    def sample(
        self,
        seeds: Sequence[np.random.SeedSequence],
        grid: Grid,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """One sample a seed; see :meth:`Distribution.sample`."""
        field = self.underlying.sample(seeds, grid, torch.float64, device)
        low, high = (torch.tensor(value, dtype=dtype, device=device) for value in (self.low, self.high))
        return torch.where(field >= 0, high, low)

    def values_at(self, seed: np.random.SeedSequence, points: np.ndarray, grid: Grid) -> Tensor:
        """The sample of one seed at scattered points; see :meth:`Field.values_at`."""
        field = self.underlying.values_at(seed, points, grid)
        return torch.where(field >= 0, torch.full_like(field, self.high), torch.full_like(field, self.low))

    def __str__(self) -> str:
        return f"{self.high:g} where psi >= 0, {self.low:g} elsewhere, psi a {self.underlying}"
