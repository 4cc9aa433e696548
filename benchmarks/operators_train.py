"""A training by our loop, in a process of its own: ``python -m benchmarks.operators_train JOB.json``.

A job has ``case``, ``model`` (its name), ``files``, ``seed``, ``seconds``, ``steps`` (null, or the number
after which it ends without a test), ``device``, and what it changes of the case, ``cut``.
It prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from benchmarks.operators_cases import REFINER, Case, case_of, data, objective
from benchmarks.operators_clock import Clock
from benchmarks.operators_models import Model, count, model_of
from pdeflow.cli.quiet import quiet
from pdeflow.problems import NavierStokes
from pdeflow.training import NonFiniteLoss, OneCycle, TrainingTask
from pdeflow.training.callbacks import SpectralRefiner


class Timed(OneCycle):
    """The schedule of a clock."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def __call__(self, optimizer: Optimizer, steps: Callable[[], float]) -> LRScheduler:
        """By the seconds, whatever the steps."""
        return LambdaLR(optimizer, self.clock.factor)


class Pace(lightning.Callback):
    """Starts the clock, and ends the training by it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def on_train_batch_start(self, *given: Any) -> None:
        """The first one starts it."""
        self.clock.start()

    def on_train_batch_end(self, trainer: lightning.Trainer, *given: Any) -> None:
        """A step is over."""
        self.clock.tick()
        if self.clock.over:
            trainer.should_stop = True


def trainer(device: str, callbacks: list[Any], **more: Any) -> lightning.Trainer:
    """Ours, without files and pictures."""
    return lightning.Trainer(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=1,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **more,
    )


def trained(job: dict[str, Any], case: Case, model: Model, datamodule: Any) -> tuple[TrainingTask, Clock]:
    """The task after its seconds."""
    torch.manual_seed(job["seed"])
    clock = Clock(job["seconds"], job["steps"], job["device"])
    task = TrainingTask(
        model.build(datamodule.in_channels, datamodule.out_channels),
        objective(case, model.loss),
        lambda parameters: torch.optim.AdamW(parameters, lr=model.lr),
        Timed(clock),
    )
    fit = trainer(
        job["device"],
        [NonFiniteLoss(), Pace(clock)],
        max_epochs=10**6,
        limit_val_batches=0,
        gradient_clip_val=model.clip,
    )
    fit.fit(task, datamodule=datamodule)
    return task, clock


def main(job: dict[str, Any]) -> dict[str, Any]:
    """``errors`` on each test set, the training resolution first, and what the clock tells."""
    torch.set_num_threads(1)
    case = case_of(job)
    model = model_of(case, job["model"])
    task, clock = trained(job, case, model, data(case, job["files"], model.subsample))
    told: dict[str, Any] = {"parameters": count(task.model), **clock.told}
    if job["steps"] is not None:
        return told
    tested = data(case, job["files"], testing=True)
    with tempfile.TemporaryDirectory() as folder:
        refiner = SpectralRefiner(NavierStokes(), folder=folder) if case.name == REFINER.name else None
        test = trainer(job["device"], [] if refiner is None else [refiner], default_root_dir=folder)
        test.test(task, datamodule=tested, verbose=False)
    # In the order of the test sets.
    told["errors"] = [float(found.compute()["l2"]) for found in task.test_evaluators.values()]
    if refiner is None:
        return told
    (refined,) = refiner.rows
    # A refinement that failed is no measurement.
    failure = {"failure": refined["failure"]} if "failure" in refined else {}
    return told | {"refined": refined} | failure


if __name__ == "__main__":
    quiet()
    print(json.dumps(main(json.loads(Path(sys.argv[1]).read_text()))))
