"""Whether an optimiser is given gradients that it can rely on."""

from __future__ import annotations

from typing import Any

import lightning
import torch

from pdeflow.errors import InvalidInput
from pdeflow.training.objective import Objective
from pdeflow.training.optimisers import Stages
from pdeflow.training.optimisers.vector_optimiser import VectorOptimiser


def check_gradients(trainer: lightning.Trainer, objective: Objective) -> None:
    """Raise InvalidInput where the trainer changes gradients that line searches rely on.

    Also if a later stage does. Before every batch, for a callback may change how many are accumulated.
    Torch's L-BFGS takes differences of gradients between steps, and moves parameters that need none.
    """
    inner: Any = trainer.optimizers[0]
    stages = inner.optimisers if isinstance(inner, Stages) else [inner]
    redrawn = getattr(getattr(trainer, "datamodule", None), "resample", None) is not None
    if (objective.changes or redrawn) and any(isinstance(one, torch.optim.LBFGS) for one in stages):
        cause = "data.resample" if redrawn else "balance, time_course or curriculum"
        expected = f"another one, for the loss changes from step to step ({cause})"
        hint = "Take RestartedLBFGS, which compares gradients within a step only."
        raise InvalidInput("optimizer", "torch.optim.LBFGS", expected, hint)
    name = next((type(one).__name__ for one in stages if isinstance(one, VectorOptimiser)), None)
    if name is None:
        return
    for key, value, right, expected in (
        ("gradient_clip_val", trainer.gradient_clip_val, (None, 0, 0.0), "none"),
        ("accumulate_grad_batches", trainer.accumulate_grad_batches, (1,), "1"),
        ("precision", trainer.precision, ("32-true", "64-true"), "32-true or 64-true"),
    ):
        if value not in right:
            hint = f"{name} needs the loss and its gradient as they are: leave the key out."
            raise InvalidInput(f"trainer.{key}", value, expected, hint)
