"""Whether errors are as large as a model says that they are."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchmetrics import Metric

LEVELS = 20
"""Central intervals that are counted: those of probability 1/20, 2/20, ..., 19/20."""


class Calibration(Metric):
    r"""Scores of independent normal distributions, averaged over samples, channels and nodes, in float64; on
    meshes the nodes of a sample count by the area they stand for.

    With :math:`z = (t - \mu) / \sigma`:

    - ``nll``, negative log likelihood: :math:`\tfrac12(\log 2\pi\sigma^2 + z^2)`;
    - ``crps``, continuous ranked probability score: :math:`\sigma(z(2\Phi(z) - 1) + 2\phi(z) - 1/\sqrt\pi)`
      (T. Gneiting, A. E. Raftery, JASA 2007), in the target's unit;
    - ``coverage_1std``, ``coverage_2std``: shares with :math:`|z| \le 1` and :math:`|z| \le 2`, which are
      0.683 and 0.954 if errors are as large as predicted;
    - ``calibration``: root mean square, over the levels 0.05, ..., 0.95, of the difference between the share
      of values inside the central interval of that probability and the level (V. Kuleshov, N. Fenner,
      S. Ermon, ICML 2018);
    - the curve ``coverage`` (19,): those shares.
    """

    full_state_update = False
    higher_is_better = False
    sums: Tensor
    shares: Tensor
    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, size in (("sums", (4,)), ("shares", (LEVELS,)), ("count", ())):
            self.add_state(name, torch.zeros(size, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, mean: Tensor, variance: Tensor, target: Tensor, share: Tensor | None = None) -> None:
        """Take a batch in: three tensors of one shape, in physical units; variances are positive.

        On meshes they are (nodes, channels), and ``share`` (nodes,) says how much each node counts.
        """
        mean, variance, target = (u.detach().double() for u in (mean, variance, target))
        std = variance.sqrt()
        z = (target - mean) / std
        inside = torch.erf(z.abs() / math.sqrt(2))  # the least level whose interval holds the target
        nll = 0.5 * (torch.log(2 * math.pi * variance) + z.square())
        density = torch.exp(-0.5 * z.square()) / math.sqrt(2 * math.pi)
        crps = std * (z.abs() * inside + 2 * density - 1 / math.sqrt(math.pi))
        scores = (nll, crps, (z.abs() <= 1).double(), (z.abs() <= 2).double())
        counted = torch.ones_like(target) if share is None else share.to(target)[:, None].expand_as(target)
        self.sums = self.sums + torch.stack([(counted * score).sum() for score in scores])
        # What is no number is inside no interval.
        level = torch.nan_to_num(inside * LEVELS, nan=LEVELS).long().clamp(max=LEVELS - 1).flatten()
        # Not bincount, which with weights has no deterministic form on a GPU.
        self.shares = self.shares.index_add(0, level, counted.flatten())
        self.count = self.count + counted.sum()

    def compute(self) -> dict[str, Tensor]:
        """Every score by its name, and the curve."""
        nll, crps, one, two = self.sums / self.count
        # Rounding may leave a sum of shares above 1.
        coverage = (self.shares / self.count).cumsum(0)[:-1].clamp(max=1.0)
        levels = torch.arange(1, LEVELS, device=coverage.device, dtype=coverage.dtype) / LEVELS
        off = (coverage - levels).square().mean().sqrt()
        named = {"nll": nll, "crps": crps, "coverage_1std": one, "coverage_2std": two, "calibration": off}
        return named | {"coverage": coverage}
