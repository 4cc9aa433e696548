"""Stops a run whose loss is no longer a number."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from pdeflow.errors import NumericalFailure
from pdeflow.mesh_nodes import MeshNodes


class NonFiniteLoss(Callback):
    """Raises NumericalFailure as soon as a training loss is NaN or infinite, before it reaches the weights.

    The message names the epoch and the batch, both counted from 1, and the samples in it, tells bad data
    from diverged weights, and says what to try. On a CPU every loss is looked at before its backward pass.
    On an accelerator, where looking means waiting for it, losses are looked at every ``every`` batches and
    before any checkpoint is written.

    Parameters
    ----------
    every
        Batches between two looks on an accelerator.
    """

    def __init__(self, every: int = 20) -> None:
        self.every = every
        self._pending: list[tuple[int, int, dict[str, Any], Tensor]] = []
        self._batch: dict[str, Any] = {}
        self._batch_idx = 0
        self._seen = False

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: dict[str, Any], batch_idx: int
    ) -> None:
        """Remember which batch it is."""
        self._batch, self._batch_idx, self._seen = batch, batch_idx, False

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Look at the first loss of the batch, or put it aside to be looked at with others.

        Further ones are trials of a line search, which knows what to do with them.
        """
        if self._seen:
            return
        self._seen = True
        self._pending.append((trainer.current_epoch, self._batch_idx, self._batch, loss.detach()))
        if loss.device.type == "cpu" or len(self._pending) >= self.every:
            self._look(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at what is left of the epoch."""
        self._look(trainer)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Let no checkpoint be written after a bad loss."""
        self._look(trainer)

    def _look(self, trainer: Trainer) -> None:
        pending, self._pending = self._pending, []
        if not pending or bool(torch.isfinite(torch.stack([loss for *_, loss in pending])).all()):
            return
        epoch, batch_idx, batch, loss = next(p for p in pending if not bool(torch.isfinite(p[3])))
        raise NumericalFailure(_explain(trainer, epoch, batch_idx, batch, float(loss)))


def _explain(trainer: Trainer, epoch: int, batch_idx: int, batch: dict[str, Any], loss: float) -> str:
    where = f"train/loss: got {loss} in epoch {epoch + 1}, batch {batch_idx + 1}, expected a finite number."
    if "points" in batch:
        what = "The weights diverged, or the statement is not finite at some point."
        return f"{where}\n{what}\nTry a smaller learning rate, or other points."
    indices = batch["index"].tolist()
    for name in ("input", "target"):
        values = batch[name] if isinstance(batch[name], Tensor) else batch[name].x
        culprits = _culprits(~torch.isfinite(values), batch)
        if culprits:
            return (
                f"{where}\nThe {name} of samples {_short(culprits)} holds NaN or infinity.\n"
                "Look at the data with `pdeflow inspect` and generate or drop these samples."
            )
    alive = _culprits(batch["target"] != 0, batch)
    culprits = [i for i in indices if i not in alive]
    if culprits:
        return (
            f"{where}\nThe target of samples {_short(culprits)} is zero everywhere, so its relative error is "
            "undefined.\nDrop these samples, or use a loss that is not relative."
        )
    rates = ", ".join(f"{group['lr']:.3g}" for o in trainer.optimizers for group in o.param_groups)
    return (
        f"{where}\nIts samples {_short(indices)} are finite: the weights diverged (learning rate {rates}).\n"
        "Try a tenth of the learning rate, a schedule with warm-up, or trainer.gradient_clip_val: 1.0."
    )


def _culprits(wrong: Tensor, batch: dict[str, Any]) -> list[int]:
    """The numbers of the samples that have a value of which this is true."""
    grid = batch["grid"]
    if isinstance(grid, MeshNodes):
        found = torch.zeros(grid.samples, dtype=torch.bool, device=wrong.device)
        found[grid.sample[wrong.flatten(1).any(1)]] = True
    else:
        found = wrong.flatten(1).any(1)
    return [i for i, is_wrong in zip(batch["index"].tolist(), found.tolist()) if is_wrong]


def _short(indices: list[int]) -> str:
    return ", ".join(map(str, indices[:16])) + (", ..." if len(indices) > 16 else "")
