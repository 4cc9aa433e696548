"""One row of numbers an epoch, kept in a file that anything can read."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from pdeflow.atomic_file import write_json
from pdeflow.training.callbacks.run_folder import run_folder


class History(Callback):
    """Writes ``history.json`` into the run's folder after every epoch.

    It is a list of rows ``{epoch, step, seconds, lr, train/loss, valid/loss, valid/l2, ...}``: ``step``
    counts optimiser steps, ``seconds`` the time since training began, summed over interruptions;
    ``valid/...`` stand only in rows of epochs that were validated. The rows are kept in checkpoints
    too, so a resumed run continues them without a gap or a row twice.

    Parameters
    ----------
    folder
        The run's folder; the trainer's ``default_root_dir`` where it is null.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = folder
        self.rows: list[dict[str, float]] = []
        self._seconds_before = 0.0
        self._start = 0.0
        self._validated = False

    def state_dict(self) -> dict[str, Any]:
        """Rows and time so far, as plain numbers."""
        return {"rows": self.rows, "seconds": self._seconds()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from the rows of a checkpoint."""
        self.rows = list(state_dict["rows"])
        self._seconds_before = state_dict["seconds"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._start = time.monotonic()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember that the validation numbers are of this epoch."""
        self._validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the row of this epoch and write the file."""
        row: dict[str, float] = {
            "epoch": trainer.current_epoch,
            "step": trainer.global_step,
            "seconds": round(self._seconds(), 3),
        }
        if "lr" in (group := trainer.optimizers[0].param_groups[0]):  # there are optimisers without
            row["lr"] = float(group["lr"])
        for name, value in trainer.callback_metrics.items():
            if name.startswith("train/") or (self._validated and name.startswith("valid/")):
                row[name] = float(value)
        self._validated = False
        self.rows.append(row)
        if trainer.is_global_zero:
            folder = run_folder(trainer, self.folder)
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / "history.json", self.rows)

    def _seconds(self) -> float:
        return self._seconds_before + (time.monotonic() - self._start if self._start else 0.0)
