"""A run on GridData in a process of its own: ``python grid_run.py FILE FOLDER EPOCHS PROCESSES [CKPT]``."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from toy import toy_grid, toy_task, toy_trainer

from pdeflow.data import GridData, WellWriter
from pdeflow.training import Checkpoints, History, NonFiniteLoss, OneCycle, RandomState
from pdeflow.training.callbacks import TestResults


def write_data(path: Path, samples: int = 32, points: int = 9) -> None:
    """Random inputs and their running sums."""
    inputs = np.random.default_rng(0).standard_normal((samples, points, points))
    outputs = np.stack([np.zeros_like(inputs), 1.0 + inputs.cumsum(-1) / points], axis=1)
    with WellWriter(
        path, name="toy", grid=toy_grid(points), n=samples, fields={"u": 0}, constant_fields={"a": 0},
        times=(0.0, 1.0), attributes={"steady": 1.0},
    ) as writer:  # fmt: skip
        writer.write(0, {"a": inputs, "u": outputs})


def main() -> None:
    """Train, and test what was trained; the logged metrics go to FOLDER/logged.json."""
    torch.set_num_threads(1)
    file, folder, epochs, processes = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    resume = sys.argv[5] if len(sys.argv) > 5 else None
    # Together the processes see batches of four, and have odd numbers of samples to validate and to test.
    split = (16 / 32, 9 / 32, 7 / 32)
    data = GridData(file, ["a"], ["u"], batch_size=4 // processes, split=split, test_resolutions=[9, 5])
    task = toy_task(schedule=OneCycle())
    trainer = toy_trainer(
        folder,
        epochs,
        [RandomState(), NonFiniteLoss(), History(), Checkpoints(every_steps=2), TestResults()],
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        num_sanity_val_steps=0,
    )
    trainer.fit(task, datamodule=data, ckpt_path=resume)
    logged = {key: float(value) for key, value in trainer.callback_metrics.items()}
    trainer.test(task, datamodule=data, verbose=False)
    logged |= {key: float(value) for key, value in trainer.callback_metrics.items()}
    if trainer.is_global_zero:
        (folder / "logged.json").write_text(json.dumps(logged))


if __name__ == "__main__":
    main()
