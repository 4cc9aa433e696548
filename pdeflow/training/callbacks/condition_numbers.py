"""How much a preconditioner of the model's modes is worth, told before training."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from pdeflow.atomic_file import write_json
from pdeflow.fields import FourierFeatures
from pdeflow.stored_operator import components
from pdeflow.training.callbacks.run_folder import run_folder
from pdeflow.training.collocation import Collocation
from pdeflow.training.condition_number import ConditionNumber, conditioning
from pdeflow.training.physics_informed import PhysicsInformed
from pdeflow.training.task import TrainingTask


class ConditionNumbers(Callback):
    """Where modes are preconditioned: says the condition numbers before and after, when training starts.

    They are those of :func:`~pdeflow.training.condition_number.condition_number` at the points of training,
    ``before`` with all factors 1. ``conditioning.json`` in the run's folder has of both the number ``kappa``
    (null where the matrix is singular), the ``weight`` of the conditions that makes it smallest, and the
    ``eigenvalues`` for this weight; and ``trained``, the ``kappa`` for the objective's own ``weight``, and
    the ``learning_rate`` with which plain gradient descent is fastest there.

    Parameters
    ----------
    folder
        The run's folder; the trainer's ``default_root_dir`` where it is null.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = folder

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute, say and write them, on one process."""
        assert isinstance(pl_module, TrainingTask)
        objective, model = pl_module.objective, pl_module.model
        if not isinstance(objective, PhysicsInformed) or not objective.precondition:
            return
        if not trainer.is_global_zero:
            return
        data: Any = getattr(trainer, "datamodule", None)
        points = data.points(0, data.counts["inside"]) if isinstance(data, Collocation) else None
        plain = copy.deepcopy(model)
        core = components(plain)[0]
        assert isinstance(core, FourierFeatures)
        core.rescale([1.0] * len(core.scales))
        before, after = (conditioning(objective, field, points) for field in (plain, model))  # pyright: ignore[reportArgumentType]
        trained = after.with_weight(objective.weight) if after.weight else after
        words = f"Condition number {before.kappa:.3g}, preconditioned {after.kappa:.3g}"
        if after.weight:
            words += f" with objective.weight {after.weight:.3g}"
            words += f", and {trained.kappa:.3g} with {objective.weight:g}"
        print(f"{words}; gradient descent is fastest at a rate of {trained.learning_rate:.3g}", flush=True)
        folder = run_folder(trainer, self.folder)
        folder.mkdir(parents=True, exist_ok=True)
        record = {"before": _record(before), "after": _record(after)}
        own = {
            "kappa": _finite(trained.kappa),
            "weight": objective.weight,
            "learning_rate": trained.learning_rate,
        }
        write_json(folder / "conditioning.json", {**record, "trained": own})


def _record(found: ConditionNumber) -> dict[str, Any]:
    spectrum = found.eigenvalues.tolist()
    return {"kappa": _finite(found.kappa), "weight": found.weight, "eigenvalues": spectrum}


def _finite(kappa: float) -> float | None:
    return kappa if math.isfinite(kappa) else None
