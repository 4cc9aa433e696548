"""How training shows that it moves: a bar on a terminal, a line an epoch in a log file."""

from __future__ import annotations

import sys
import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar


class EpochLines(Callback):
    """One printed line an epoch, for output that goes to a file, where a bar would leave a line a step."""

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._start = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the losses of the epoch."""
        if not trainer.is_global_zero:
            return
        numbers = "  ".join(
            f"{name} {float(value):.4g}" for name, value in trainer.progress_bar_metrics.items()
        )
        numbers = numbers or "ended before its last batch"
        of = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else "?"
        seconds = time.monotonic() - self._start
        print(f"epoch {trainer.current_epoch + 1}/{of}  {seconds:.1f} s  {numbers}", flush=True)


def progress_callbacks(config: Any) -> tuple[list[Callback], dict[str, Any]]:
    """The callbacks that show progress and what the trainer must know of them.

    ``config`` is the trainer's part of the config, whose ``enable_progress_bar`` is respected.
    """
    if config.get("enable_progress_bar") is False:
        return [], {}
    if sys.stdout.isatty():
        return [TQDMProgressBar(refresh_rate=2)], {}
    return [EpochLines()], {"enable_progress_bar": False}
