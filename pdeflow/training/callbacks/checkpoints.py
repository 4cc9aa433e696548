"""The best and the last state of a run."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from pdeflow.errors import InvalidInput, NumericalFailure
from pdeflow.training.callbacks.run_folder import run_folder
from pdeflow.training.task import TrainingTask


class Checkpoints(Checkpoint):
    """Keeps ``checkpoints/last.ckpt`` and ``checkpoints/best.ckpt`` in the run's folder.

    ``last.ckpt`` is written after every epoch and, if asked, after every so many optimiser steps.
    ``best.ckpt`` is written after an epoch whose validation gave the smallest value so far; a run
    without validation has none.

    A value that is NaN or infinite raises NumericalFailure, before either file is written: the samples
    of validation stay the same and the losses of training are finite, so it is bad data or diverged
    weights and would come again, and a run that went on could not tell its best epoch.

    Parameters
    ----------
    folder
        The run's folder; the trainer's ``default_root_dir`` where it is null.
    monitor
        The logged number that is to be small; that of the objective if null. Of a physics-informed one it is
        the loss at points that are held back, and never the error against a known solution.
    every_steps
        Optimiser steps between two further writings of ``last.ckpt``; none if null.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        monitor: str | None = None,
        every_steps: int | None = None,
    ) -> None:
        if every_steps is not None and every_steps < 1:
            raise InvalidInput("Checkpoints.every_steps", every_steps, "at least 1, or null")
        self.folder = folder
        self.monitor = monitor
        self.every_steps = every_steps
        self.best_model_path = ""
        self.best_value: float | None = None
        self._validated = False
        self._step_saved = 0

    def state_dict(self) -> dict[str, Any]:
        """The smallest value so far."""
        return {"best_value": self.best_value}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from the smallest value of a checkpoint."""
        self.best_value = state_dict["best_value"]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Know where the files are, and what is to be small."""
        if self.monitor is None:
            assert isinstance(pl_module, TrainingTask)
            self.monitor = pl_module.objective.monitor
        self.checkpoints = run_folder(trainer, self.folder) / "checkpoints"

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Know the best file of an interrupted run, and which step its last one is of."""
        best = self.checkpoints / "best.ckpt"
        self.best_model_path = str(best) if self.best_value is not None and best.is_file() else ""
        self._step_saved = trainer.global_step

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write ``last.ckpt`` in mid-epoch, where it is due."""
        if self.every_steps is None or trainer.global_step - self._step_saved < self.every_steps:
            return
        # The epoch's end follows at once and writes it, with validation.
        if not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            self._save(trainer, "last.ckpt")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember that the monitored value is of this epoch."""
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write ``best.ckpt`` if this epoch is the best, then ``last.ckpt``."""
        if trainer.fast_dev_run:  # pyright: ignore[reportAttributeAccessIssue]
            return
        if self._validated and self._is_best(trainer):
            self.best_model_path = str(self.checkpoints / "best.ckpt")
            self._save(trainer, "best.ckpt")
        self._validated = False
        self._save(trainer, "last.ckpt")

    def _is_best(self, trainer: Trainer) -> bool:
        assert self.monitor is not None
        if self.monitor not in trainer.callback_metrics:
            raise InvalidInput(
                "Checkpoints.monitor",
                self.monitor,
                "a number that the run logs",
                choices=[str(name) for name in trainer.callback_metrics],
            )
        value = float(trainer.callback_metrics[self.monitor])
        if not math.isfinite(value):
            raise NumericalFailure(
                f"{self.monitor}: got {value} in epoch {trainer.current_epoch + 1}, "
                "expected a finite number.\n"
                "Look at the data with `pdeflow inspect`: a validation sample may hold NaN, or a target that "
                "is zero everywhere, whose relative error is undefined.\nIf the data are good, the weights "
                "diverged: try a tenth of the learning rate."
            )
        if self.best_value is not None and not value < self.best_value:
            return False
        self.best_value = value
        return True

    def _save(self, trainer: Trainer, name: str) -> None:
        self._step_saved = trainer.global_step
        # False: the whole state of the run, not only the weights.
        trainer.save_checkpoint(self.checkpoints / name, weights_only=False)
