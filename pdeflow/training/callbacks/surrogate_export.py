"""Leaves the trained operator behind as files that others can load."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from pdeflow.data.normalisation import Normalisation
from pdeflow.fields import AutogradField
from pdeflow.fields.implicit_domain import ImplicitDomain
from pdeflow.grid import Grid
from pdeflow.operators import Operator
from pdeflow.problems.domain import Box, Domain
from pdeflow.stored_operator import components, is_storable
from pdeflow.surrogate_folder import save
from pdeflow.training.callbacks.run_folder import run_folder
from pdeflow.training.checkpoint_io import load_checkpoint
from pdeflow.training.physics_informed import PhysicsInformed
from pdeflow.training.task import TrainingTask


class SurrogateExport(Callback):
    """When training ends, writes ``surrogate/`` in the run's folder from ``checkpoints/best.ckpt``.

    A run without validation has no best checkpoint; the weights at the end are taken then. The
    normalisation is the one that stands beside the weights (float32), in the same checkpoint. An operator
    of the user's own class cannot be loaded from a surrogate: none is written, with a warning at the start.

    Parameters
    ----------
    folder
        The run's folder; the trainer's ``default_root_dir`` where it is null.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = folder
        self._grid: Grid | None = None
        self._time_step: float | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say early that there will be no surrogate, where that is so."""
        assert isinstance(pl_module, TrainingTask)
        if not is_storable(pl_module.model):
            core = components(pl_module.model)[0]
            own = core.network if isinstance(core, AutogradField) else core
            rank_zero_warn(
                f"{type(own).__name__} is not of pdeflow.operators or pdeflow.fields, so no surrogate "
                "is written at the end; its weights are in the checkpoints."
            )
        elif (domain := _domain(pl_module)) is not None:
            ImplicitDomain.of(domain).to_dict()  # raises where it cannot be stored

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: dict[str, Any], batch_idx: int
    ) -> None:
        """Remember the grid of the training samples, if they are on one, and the step of trajectories."""
        grid = batch.get("grid")
        self._grid = grid if isinstance(grid, Grid) else None
        self._time_step = batch.get("time_step")

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the surrogate, on one process."""
        assert isinstance(pl_module, TrainingTask)
        dry = trainer.fast_dev_run  # pyright: ignore[reportAttributeAccessIssue]
        if dry or not trainer.is_global_zero or not is_storable(pl_module.model):
            return
        folder = run_folder(trainer, self.folder)
        best = folder / "checkpoints" / "best.ckpt"
        model, state, metrics = pl_module.model, pl_module.state_dict(), trainer.callback_metrics
        if best.is_file():
            checkpoint = load_checkpoint(best)
            state, metrics = checkpoint["state_dict"], checkpoint["valid_metrics"]
            model = as_stored(pl_module, state)
        assert pl_module.normalisation is not None
        save(
            model,
            folder / "surrogate",
            _own_normalisation(pl_module.normalisation, state),
            grid=self._grid,
            metrics=_validation(metrics),
            time_step=self._time_step,
            domain=_domain(pl_module),
            equation=getattr(getattr(trainer, "datamodule", None), "equation", None),
        )


def as_stored(task: TrainingTask, state: dict[str, Tensor]) -> Operator:
    """A copy of the model with the weights of a checkpoint.

    The values that a field meets by its form may depend on unknown parameters: those of the checkpoint.
    """
    objective = task.objective
    unknown = objective.unknown if isinstance(objective, PhysicsInformed) else None
    model, unknown = copy.deepcopy((task.model, unknown))  # together, for the model may refer to them
    model.load_state_dict(_below("model.", state))
    if unknown is not None:
        unknown.load_state_dict(_below("objective.unknown.", state))
    return model


def _domain(task: TrainingTask) -> Domain | None:
    """Where a solution is learned; None where that is all of a box."""
    if not isinstance(task.objective, PhysicsInformed):
        return None
    domain = task.objective.problem.domain
    return None if isinstance(domain, Box) else domain


def _own_normalisation(named: Normalisation, state: dict[str, Tensor]) -> Normalisation:
    """The numbers that the weights in ``state`` were trained with, under the channel names of ``named``."""
    numbers = {name: tuple(value.tolist()) for name, value in _below("normaliser.", state).items()}
    return replace(named, **numbers)


def _below(prefix: str, state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def _validation(metrics: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in metrics.items() if name.startswith("valid/")}
