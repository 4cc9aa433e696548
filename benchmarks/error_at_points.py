"""The error of a training against a reference, as ``benchmarks.physics`` asks for it."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from benchmarks.physics_reference import reference_at_points


class ErrorAtPoints(Callback):
    """Adds ``valid/l2`` to what an epoch tells: the relative L2 error at the points of the reference."""

    def __init__(self) -> None:
        self.points, self.values = torch.empty(0), torch.empty(0)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read the reference."""
        task: Any = pl_module
        like: Tensor = next(task.model.parameters())
        self.points, self.values = (part.to(like) for part in reference_at_points(task.objective.problem))

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log it."""
        task: Any = pl_module
        with torch.no_grad():
            difference = task.model.at(self.points) - self.values
        task.log("valid/l2", difference.norm() / self.values.norm())
