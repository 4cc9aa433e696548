"""How much a preconditioner of the model's modes is worth, told before training."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from pdeflow.atomic_file import write_json
from pdeflow.fields import Field, FourierFeatures
from pdeflow.stored_operator import components
from pdeflow.training.callbacks.run_folder import run_folder
from pdeflow.training.collocation import Collocation
from pdeflow.training.condition_number import ConditionNumber, conditioning
from pdeflow.training.physics_informed import PhysicsInformed
from pdeflow.training.task import TrainingTask

MOST = 1000
"""Parameters at most: with so many both line searches take 15 s on one core, with twice as many 2 min."""


class ConditionNumbers(Callback):
    """Where modes are preconditioned: says the condition numbers before and after, when training starts.

    They are those of :func:`~pdeflow.training.condition_number.condition_number` at the points of training,
    or on its grid where these are fewer than the parameters; ``before`` with all factors 1.
    ``conditioning.json`` in the run's folder has of both the number ``kappa`` (null where the matrix is
    singular), the ``weight`` of the conditions that makes it smallest, and the ``eigenvalues`` for this
    weight; and ``trained``, the ``kappa`` for the objective's own ``weight``, and the ``learning_rate`` with
    which plain gradient descent is fastest there.

    A run that is resumed keeps what was told at its start: where the equation is not linear, or has unknown
    parameters, they change with training. Above `MOST` parameters, and for waves under layers, of which the
    theory is not, there are none, and that is said.

    Parameters
    ----------
    folder
        The run's folder; the trainer's ``default_root_dir`` where it is null.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = folder

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute, say and write them, on one process."""
        assert isinstance(pl_module, TrainingTask)
        objective, model = pl_module.objective, pl_module.model
        if not isinstance(objective, PhysicsInformed) or not objective.precondition:
            return
        if not trainer.is_global_zero or trainer.global_step > 0:
            return
        assert isinstance(model, Field)
        plain = copy.deepcopy(model)
        core, count = components(plain)[0], sum(p.numel() for p in model.parameters() if p.requires_grad)
        assert isinstance(core, FourierFeatures)
        if core.layers or count > MOST:
            many = f"there are {count} parameters, more than {MOST}"
            cause = "the theory is of sums of waves, without widths" if core.layers else many
            print(f"No condition numbers of preconditioned waves: {cause}", flush=True)
            return
        data: Any = getattr(trainer, "datamodule", None)
        points = data.points(0, data.counts["inside"]) if isinstance(data, Collocation) else None
        if points is not None and sum(map(len, points.values())) < count:
            points = None
        core.rescale([1.0] * len(core.wave_vectors))
        before, after = (conditioning(objective, field, points) for field in (plain, model))
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
