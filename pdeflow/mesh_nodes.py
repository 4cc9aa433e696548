"""The nodes of a batch of meshes: what `Grid` is to functions on a grid, for those on meshes of any size."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class MeshNodes:
    """Which node belongs to which sample, and how much of its domain it stands for.

    Functions on these nodes are ``(nodes, channels)``.

    Parameters
    ----------
    sample
        (nodes,) int64, the sample of each node, counted in the batch.
    weight
        (nodes,) the share of each node in the area of its sample; those of a sample add up to 1.
    boundary
        (nodes,) int64, for each node the index into ``BOUNDARY_PARTS`` of the part that it lies on.
    samples
        How many samples the batch has.
    """

    sample: Tensor
    weight: Tensor
    boundary: Tensor
    samples: int

    def mean(self, u: Tensor) -> Tensor:
        """The mean of a function over each domain: (nodes, channels) -> (samples, channels)."""
        weighted = u * self.weight.to(u.dtype)[:, None]
        total = torch.zeros(self.samples, u.shape[1], dtype=u.dtype, device=u.device)
        return total.index_add(0, self.sample, weighted)
