"""Whether the solution is to be trusted, told when training ends."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from pdeflow.fields import Field
from pdeflow.training.callbacks.run_folder import run_folder
from pdeflow.training.checkpoint_io import load_checkpoint
from pdeflow.training.collocation import Collocation
from pdeflow.training.physics_informed import PhysicsInformed
from pdeflow.training.task import TrainingTask
from pdeflow.training.trust import examine


class TrustCheck(Callback):
    """When training on a statement ends, says what is left of it and how large the error may be; see `Trust`.

    Of ``checkpoints/best.ckpt``, as the surrogate; of the weights at the end where a run was not validated.

    Parameters
    ----------
    folder
        The run's folder; the trainer's ``default_root_dir`` where it is null.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = folder

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say it, from one process."""
        assert isinstance(pl_module, TrainingTask)
        data: Any = getattr(trainer, "datamodule", None)
        dry = trainer.fast_dev_run  # pyright: ignore[reportAttributeAccessIssue]
        if dry or not trainer.is_global_zero or not isinstance(data, Collocation):
            return
        assert isinstance(pl_module.objective, PhysicsInformed)
        assert isinstance(pl_module.model, Field)
        best = run_folder(trainer, self.folder) / "checkpoints" / "best.ckpt"
        last = copy.deepcopy(pl_module.state_dict())
        if best.is_file():
            pl_module.load_state_dict(load_checkpoint(best)["state_dict"])
        try:
            examine(pl_module.objective, pl_module.model, data).tell()
        finally:
            pl_module.load_state_dict(last)
