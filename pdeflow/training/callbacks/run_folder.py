"""Where the callbacks of a run write."""

from __future__ import annotations

from pathlib import Path

from lightning.pytorch import Trainer


def run_folder(trainer: Trainer, folder: str | Path | None) -> Path:
    """The folder given to a callback, or the trainer's ``default_root_dir`` where none was."""
    return Path(folder if folder is not None else trainer.default_root_dir)
