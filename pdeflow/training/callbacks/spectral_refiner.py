"""Refines trajectories of the test set by the equation, and says what that gains."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from pdeflow.atomic_file import write_json
from pdeflow.errors import InvalidInput
from pdeflow.problems import Evolution
from pdeflow.training.callbacks.run_folder import run_folder
from pdeflow.training.norms import squared_l2
from pdeflow.training.rollout_error import held
from pdeflow.training.spectral_refiner import RefinementFailed, check_limits, refine, spectral_layers
from pdeflow.training.stepper_residual import StepperResidual
from pdeflow.training.task import TrainingTask


class SpectralRefiner(Callback):
    """After the epochs of training, in a test: fine-tunes the last spectral layer to a trajectory at a time.

    The method is :func:`~pdeflow.training.spectral_refiner.refine`; the operator itself and the metrics of
    the test stay as they are. Writes ``refined.json`` in the run's folder: a row for each refined trajectory
    of the first test set, with ``index``, the relative L2 error over all its states before and after (``l2``,
    ``l2_refined``) and how many times smaller it is (``factor``), ``seconds``, and the relative
    ``residuals``, before the first sweep and after each. One that failed has ``failure``, which says why,
    beside what was reached until then, and gives a warning. The file of an earlier test is removed when a
    training or a test starts.

    Parameters
    ----------
    problem
        The statement that the trajectories solve.
    trajectories
        How many are refined.
    steps
        Of ETDRK4 between two states.
    order
        Of the Sobolev norm that residuals are measured in, from -2 to 2.
    sweeps, iterations, tolerance
        As in ``refine``.
    folder
        The run's folder; the trainer's ``default_root_dir`` where it is null.

    Raises
    ------
    InvalidInput
        For numbers out of range, a steady problem; when training starts, for an operator without a spectral
        layer; in a test, for data that are no trajectories.
    """

    def __init__(
        self,
        problem: Evolution,
        trajectories: int = 1,
        steps: int = 8,
        order: float = -1.0,
        sweeps: int = 20,
        iterations: int = 20,
        tolerance: float = 1e-3,
        folder: str | Path | None = None,
    ) -> None:
        if trajectories < 1:
            raise InvalidInput("SpectralRefiner.trajectories", trajectories, "at least 1")
        check_limits(sweeps, iterations, tolerance)
        self.residual = StepperResidual(problem, steps, order)
        self.trajectories, self.folder = trajectories, folder
        self.limits: dict[str, Any] = {"sweeps": sweeps, "iterations": iterations, "tolerance": tolerance}
        self.rows: list[dict[str, Any]] = []

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say early if there is nothing to refine, and remove what is of other weights."""
        assert isinstance(pl_module, TrainingTask)
        spectral_layers(pl_module.model)
        if not trainer.fast_dev_run:  # pyright: ignore[reportAttributeAccessIssue]
            self._remove_file(trainer)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start with nothing."""
        self.rows = []
        self._remove_file(trainer)

    def _remove_file(self, trainer: Trainer) -> None:
        if trainer.is_global_zero:
            self._file(trainer).unlink(missing_ok=True)

    def _file(self, trainer: Trainer) -> Path:
        return run_folder(trainer, self.folder) / "refined.json"

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: dict[str, Any],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Refine the trajectories of the batch, as long as some are wanted."""
        assert isinstance(pl_module, TrainingTask)
        if dataloader_idx or not trainer.is_global_zero:
            return
        for i in range(min(len(batch["index"]), self.trajectories - len(self.rows))):
            one = {key: v[i : i + 1] if isinstance(v, Tensor) else v for key, v in batch.items()}
            start, failure = time.perf_counter(), {}
            try:
                found = refine(pl_module, one, self.residual, **self.limits)
            except RefinementFailed as error:
                found, failure = error.best, {"failure": str(error)}
                rank_zero_warn(f"trajectory {int(one['index'])} is not refined to the end: {error}")
            seconds = time.perf_counter() - start
            before, after = (_error(u, one) for u in (held(outputs[i : i + 1]), found.states))
            self.rows.append(
                {
                    "index": int(one["index"]),
                    "l2": before,
                    "l2_refined": after,
                    "factor": before / after,
                    "seconds": round(seconds, 3),
                    "residuals": found.residuals,
                    **failure,
                }
            )

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the file, from one process."""
        if trainer.is_global_zero:
            write_json(self._file(trainer), self.rows)


def _error(states: Tensor, batch: dict[str, Any]) -> float:
    """Relative L2 error over all states of one trajectory."""
    prediction, target = (u.double().flatten(1, 2) for u in (states, batch["target"]))
    square = squared_l2(prediction - target, batch["grid"]) / squared_l2(target, batch["grid"])
    return float(torch.sqrt(square))
