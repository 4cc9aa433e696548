"""A statement with a parameter; and a small run, whole or in two halves, for tests of what changes in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor

from pdeflow.fields import MLP, Field
from pdeflow.problems import Box, D, Dirichlet, HeatedRod, Parameter, Problem, Uniform
from pdeflow.training import Collocation, PhysicsInformed, SafeCheckpointIO, TrainingTask
from pdeflow.training.residual_adaptive import Resampling
from pdeflow.training.schedules import Schedule


class Decay(Problem):
    """u_x = -k u, u(0) = 1, with a rate between 1 and 4."""

    domain = Box(x=(0.0, 1.0))
    conditions = (Dirichlet(1.0, on="x-"),)
    k = Parameter(Uniform(1.0, 4.0))

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return D(u, "x") + p.k * u


class Saves(lightning.Callback):
    """Writes a checkpoint after so many steps."""

    def __init__(self, steps: int, path: Path) -> None:
        self.steps, self.path = steps, path

    def on_train_batch_end(self, trainer: lightning.Trainer, *given: Any) -> None:
        if trainer.global_step == self.steps:
            trainer.save_checkpoint(self.path)


def run(
    objective: PhysicsInformed,
    optimizer: Any,
    epochs: int = 3,
    resumed: Path | None = None,
    callbacks: list[lightning.Callback] | None = None,
    model: Field | None = None,
    resample: Resampling | None = None,
    schedule: Schedule | None = None,
) -> tuple[TrainingTask, lightning.Trainer]:
    """Epochs of 4 steps, from the same weights each time."""
    problem = objective.problem
    torch.manual_seed(0)
    model = model or MLP(problem.domain.lower, problem.domain.upper, widths=(8,))
    task = TrainingTask(model, objective, optimizer, schedule)
    trainer = lightning.Trainer(
        max_epochs=epochs, precision="64-true", accelerator="cpu", logger=False, callbacks=callbacks or [],
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        plugins=[SafeCheckpointIO()],
    )  # fmt: skip
    data = Collocation(
        problem, inside=60, on_sides=9, steps=4, held_back=20, test_resolutions=(5,), resample=resample
    )
    trainer.fit(task, datamodule=data, ckpt_path=resumed)
    return task, trainer


def assert_resumed_is_whole(
    make: Any, optimizer: Any, folder: Path, network: Any = lambda: None, schedule: Schedule | None = None
) -> dict[str, Tensor]:
    """After step 6 of 12 a new task goes on and ends where the first did, digit by digit; gives the state."""
    torch.manual_seed(1)
    whole, _ = run(
        make(), optimizer, callbacks=[Saves(6, folder / "half.ckpt")], model=network(), schedule=schedule
    )
    rest, trainer = run(make(), optimizer, resumed=folder / "half.ckpt", model=network(), schedule=schedule)
    assert trainer.global_step == 12
    expected = whole.state_dict()
    for name, value in rest.state_dict().items():
        assert torch.equal(value, expected[name]), name
    return expected


def tiny(
    problem: Problem | None = None, **settings: Any
) -> tuple[PhysicsInformed, MLP, dict[str, dict[str, Tensor]]]:
    """An objective whose conditions are learned, a field and a batch, in double precision."""
    problem = problem or HeatedRod()
    torch.manual_seed(0)
    objective = PhysicsInformed(problem, **{"hard": False, **settings}).double()
    field = MLP(problem.domain.lower, problem.domain.upper, widths=(6,)).double()
    return objective, field, {"points": Collocation(problem, inside=30, on_sides=7).points(0, 30)}


def terms(objective: PhysicsInformed, field: Field, batch: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    """Residuals of the heated rod by statement, (N,) each with a tape, without a compiled statement."""
    points = batch["points"]

    def u(x: Tensor) -> Tensor:
        return field.at(x)[:, 0]

    inside = objective.problem.residual_at_points(u, points["inside"], {})
    start = u(points["t-"]) - torch.sin(torch.pi * points["t-"][:, 0])
    return {
        "inside": inside.reshape(-1),
        "t-:value": start,
        "x+:value": u(points["x+"]),
        "x-:value": u(points["x-"]),
    }
