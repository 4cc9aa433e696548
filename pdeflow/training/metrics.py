"""Errors of predictions on grids, as torchmetrics: a sample first, in float64, then over the set.

The tensors given to ``update`` are ``(batch, channels, *grid.shape)`` in physical units. States are
sums and counts, so several processes together give what one would. Most metrics also take samples on
meshes, (nodes, channels) and ``MeshNodes``, whose nodes count by the area they stand for.
"""

from __future__ import annotations

import abc

import torch
from torch import Tensor
from torchmetrics import Metric

from pdeflow.grid import Grid
from pdeflow.mesh_nodes import MeshNodes
from pdeflow.training.norms import squared_h1, squared_l2


class SampleMean(Metric, abc.ABC):
    """Mean over samples of one number a sample, which ``values`` computes."""

    full_state_update = False
    higher_is_better = False
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    @abc.abstractmethod
    def values(self, prediction: Tensor, target: Tensor, grid: Grid | MeshNodes) -> Tensor:
        """One number a sample, ``(batch,)``, from float64 tensors."""

    def update(self, prediction: Tensor, target: Tensor, grid: Grid | MeshNodes) -> None:
        """Take a batch in."""
        values = self.values(prediction.double(), target.double(), grid)
        self.total = self.total + values.sum()
        self.count = self.count + len(values)

    def compute(self) -> Tensor:
        """The mean over all samples seen, by all processes."""
        return self.total / self.count


class MeanLoss(Metric):
    """Mean over samples of a loss that is known as the mean of each batch."""

    full_state_update = False
    higher_is_better = False
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, loss: Tensor, samples: int) -> None:
        """Take in the loss of a batch of so many samples."""
        self.total = self.total + loss.detach() * samples
        self.count = self.count + samples

    def compute(self) -> Tensor:
        """The mean over all samples seen, by all processes."""
        return self.total / self.count


class RelativeL2Error(SampleMean):
    """``||p - t|| / ||t||`` over all channels and nodes of a sample."""

    def values(self, prediction: Tensor, target: Tensor, grid: Grid | MeshNodes) -> Tensor:
        """One error a sample."""
        return (squared_l2(prediction - target, grid) / squared_l2(target, grid)).sqrt()


class RelativeH1Error(SampleMean):
    """``||p - t||_H1 / ||t||_H1``; spectral derivatives on periodic axes, finite differences on others."""

    def values(self, prediction: Tensor, target: Tensor, grid: Grid | MeshNodes) -> Tensor:
        """One error a sample."""
        error = squared_h1(prediction - target, grid, spectral=True)
        return (error / squared_h1(target, grid, spectral=True)).sqrt()


class NormalisedRMSE(SampleMean):
    """nRMSE: the spatial RMS of the error over that of the target, averaged over channels (PDEBench)."""

    def values(self, prediction: Tensor, target: Tensor, grid: Grid | MeshNodes) -> Tensor:
        """One error a sample."""
        error = _space_mean((prediction - target).square(), grid)
        return (error / _space_mean(target.square(), grid)).sqrt().mean(1)


class VarianceScaledRMSE(SampleMean):
    """VRMSE: ``sqrt(MSE / (var_space(t) + 1e-7))``, averaged over channels (The Well)."""

    def values(self, prediction: Tensor, target: Tensor, grid: Grid | MeshNodes) -> Tensor:
        """One error a sample."""
        error = (prediction - target).flatten(2).square().mean(2)
        variance = target.flatten(2).var(2, correction=0)
        return (error / (variance + 1e-7)).sqrt().mean(1)


class BoundaryRMSE(SampleMean):
    """bRMSE: the RMS error over the nodes on the ends of bounded axes, averaged over channels (PDEBench).

    A grid that is periodic along every axis has no such nodes, and random nodes of a grid may have none; such
    samples add nothing to the mean.
    """

    def update(self, prediction: Tensor, target: Tensor, grid: Grid | MeshNodes) -> None:
        """Take a batch in."""
        if isinstance(grid, MeshNodes) or not all(grid.periodic):
            super().update(prediction, target, grid)

    def values(self, prediction: Tensor, target: Tensor, grid: Grid | MeshNodes) -> Tensor:
        """One error a sample."""
        if isinstance(grid, MeshNodes):
            held = (grid.boundary > 0).to(target.dtype)
            errors = (prediction - target).square() * held[:, None]
            columns = torch.cat((errors, held[:, None]), dim=1)
            sums = columns.new_zeros(grid.samples, columns.shape[1]).index_add(0, grid.sample, columns)
            sums = sums[sums[:, -1] > 0]
            return (sums[:, :-1] / sums[:, -1:]).sqrt().mean(1)
        on_boundary = torch.zeros(grid.shape, dtype=torch.bool, device=target.device)
        for axis, periodic in enumerate(grid.periodic):
            if not periodic:
                on_boundary.select(axis, 0).fill_(True)
                on_boundary.select(axis, -1).fill_(True)
        return (prediction - target)[:, :, on_boundary].square().mean(2).sqrt().mean(1)


class ConservedRMSE(Metric):
    """cRMSE: the RMS over samples of the error of the spatial mean, averaged over channels (PDEBench)."""

    full_state_update = False
    higher_is_better = False
    total: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        # Becomes one number a channel with the first batch.
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, target: Tensor, grid: Grid | MeshNodes) -> None:
        """Take a batch in."""
        drift = _space_mean(prediction.double() - target.double(), grid)
        self.total = self.total + drift.square().sum(0)
        self.count = self.count + len(drift)

    def compute(self) -> Tensor:
        """The RMS over all samples seen, by all processes."""
        return (self.total / self.count).sqrt().mean()


class MaxError(Metric):
    """The largest absolute error over all samples, channels and nodes."""

    full_state_update = False
    higher_is_better = False
    largest: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("largest", torch.zeros((), dtype=torch.float64), dist_reduce_fx="max")

    def update(self, prediction: Tensor, target: Tensor, grid: Grid | MeshNodes) -> None:
        """Take a batch in."""
        error = (prediction.double() - target.double()).abs().max()
        self.largest = torch.maximum(self.largest, error)

    def compute(self) -> Tensor:
        """The largest error seen, by all processes."""
        return self.largest


def _space_mean(u: Tensor, grid: Grid | MeshNodes) -> Tensor:
    """The mean over the domain, ``(batch, channels)``."""
    return grid.mean(u) if isinstance(grid, MeshNodes) else u.flatten(2).mean(2)
