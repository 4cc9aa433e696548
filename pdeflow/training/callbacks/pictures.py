"""Pictures of what the model has learned so far."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.mesh_nodes import MeshNodes
from pdeflow.training.rollout_error import held

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


class Pictures(Callback):
    """Draws truth, prediction and error of the first validation sample into TensorBoard.

    One row a channel of the target, of a trajectory at its last step; lines in 1D, images in 2D, the middle
    slice in 3D. Does nothing with another logger or none, for samples on meshes, and for points.

    Parameters
    ----------
    every
        Epochs between two pictures.
    """

    def __init__(self, every: int = 10) -> None:
        if every < 1:
            raise InvalidInput("Pictures.every", every, "at least 1")
        self.every = every

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: dict[str, Any],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the first sample of the first batch, where it is due."""
        due = batch_idx == 0 and dataloader_idx == 0 and (trainer.current_epoch + 1) % self.every == 0
        drawable = "target" in batch and not isinstance(batch["grid"], MeshNodes)
        unseen = trainer.sanity_checking or not drawable
        if not due or unseen or not trainer.is_global_zero:
            return
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                target, prediction = batch["target"][0], outputs[0]
                if "state" in batch:
                    target, prediction = target[-1], held(outputs[:1])[0, -1]
                figure = draw(target, prediction)
                logger.experiment.add_figure("valid/sample", figure, global_step=trainer.global_step)


def draw(target: Tensor, prediction: Tensor) -> Figure:
    """Truth, prediction and error side by side, the first two on one scale; ``(channels, *shape)`` each."""
    from matplotlib.figure import Figure

    truth, guess = (_drawable(u) for u in (target, prediction))
    rows = len(truth)
    figure = Figure(figsize=(9, 2.8 * rows), layout="constrained")
    axes = figure.subplots(rows, 3, squeeze=False)
    for row, t, p in zip(axes, truth, guess):
        limits = (float(min(t.min(), p.min())), float(max(t.max(), p.max())))
        worst = float(np.abs(p - t).max())
        _panel(row[0], t, "truth", limits, "viridis")
        _panel(row[1], p, "prediction", limits, "viridis")
        _panel(row[2], p - t, "error", (-worst, worst), "RdBu_r")
    return figure


def _drawable(u: Tensor) -> np.ndarray:
    values = u.detach().float().cpu().numpy()
    return values[:, :, :, values.shape[3] // 2] if values.ndim == 4 else values


def _panel(axes: Axes, values: np.ndarray, title: str, limits: tuple[float, float], colours: str) -> None:
    axes.set_title(title)
    if values.ndim == 1:
        axes.plot(values)
        axes.set_ylim(*limits)
        return
    image = axes.imshow(values.T, origin="lower", vmin=limits[0], vmax=limits[1], cmap=colours)
    axes.set_axis_off()
    assert axes.figure is not None
    axes.figure.colorbar(image, ax=axes, shrink=0.9)
