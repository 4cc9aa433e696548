"""Errors by wavenumber."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics import Metric

from pdeflow.grid import Grid

BANDS = {"low": (0, 4), "mid": (4, 12), "high": (12, None)}


class SpectralError(Metric):
    """fRMSE in bands of wavenumber, and the energy of error and truth at every wavenumber.

    With ``e_k`` the Fourier coefficients of ``p - t`` (scaled by one over the number of nodes) and
    ``E(K)`` the sum of ``|e_k|^2`` over the shell ``K <= |k| < K + 1`` of integer wavenumbers,

        fRMSE = sqrt( mean over the shells of a band of E(K) ),

    averaged over samples and channels; the bands are ``K < 4``, ``4 <= K < 12`` and ``K >= 12``
    (PDEBench). The sum of ``E`` over all shells is the mean square of the error (Parseval).
    """

    full_state_update = False
    higher_is_better = False
    bands: Tensor
    error: Tensor
    truth: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("bands", torch.zeros(len(BANDS), dtype=torch.float64), dist_reduce_fx="sum")
        # These two become one number a shell with the first batch.
        self.add_state("error", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("truth", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor, grid: Grid) -> None:
        """Take a batch in: ``(batch, channels, *grid.shape)``, in physical units."""
        target = target.double()
        error = shell_energy(prediction.double() - target, grid)
        bands = []
        for start, stop in BANDS.values():
            shells = error[:, :, start:stop]
            # A grid too coarse to hold a band has no error in it.
            bands.append(shells.mean(2).sqrt().mean(1).sum() if shells.shape[2] else error.new_zeros(()))
        self.bands = self.bands + torch.stack(bands)
        self.error = self.error + error.mean(1).sum(0)
        self.truth = self.truth + shell_energy(target, grid).mean(1).sum(0)
        self.count = self.count + len(error)

    def compute(self) -> dict[str, Tensor]:
        """fRMSE as ``low, mid, high``; mean ``E(K)`` as ``spectrum_error``, ``spectrum_truth``, (shells,)."""
        bands = dict(zip(BANDS, self.bands / self.count))
        spectra = {"spectrum_error": self.error / self.count, "spectrum_truth": self.truth / self.count}
        return bands | spectra


def shell_energy(u: Tensor, grid: Grid) -> Tensor:
    """Sum of ``|u_k|^2`` over every shell ``K <= |k| < K + 1``: ``(..., *grid.shape) -> (..., shells)``."""
    axes = tuple(range(u.ndim - grid.dim, u.ndim))
    energy = (torch.fft.fftn(u, dim=axes, norm="forward").abs().square()).flatten(-grid.dim)
    waves = [torch.fft.fftfreq(n, 1.0 / n, dtype=torch.float64, device=u.device) for n in grid.shape]
    squared = torch.stack(torch.meshgrid(*waves, indexing="ij")).square().sum(0).flatten()
    # The small addend keeps a whole number such as |k| = 5 = sqrt(3^2 + 4^2) in its own shell.
    shells = (squared.sqrt() + 1e-9).long()
    result = energy.new_zeros((*energy.shape[:-1], int(max_shell(grid)) + 1))
    return result.index_add_(-1, shells, energy)


def max_shell(grid: Grid) -> int:
    """The shell of the highest wavenumber of the grid, in its corner."""
    return int(sum((n // 2) ** 2 for n in grid.shape) ** 0.5 + 1e-9)
