"""What a test of a field leaves behind for the report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from pdeflow.atomic_file import write_json
from pdeflow.training.callbacks.run_folder import run_folder
from pdeflow.training.callbacks.test_results import write_npz
from pdeflow.training.evaluator import Evaluator
from pdeflow.training.physics_informed import PhysicsInformed
from pdeflow.training.task import TrainingTask


class FieldResults(Callback):
    """Writes ``test/metrics.json`` and ``test/<grid>.npz`` in the run's folder.

    ``metrics.json`` maps ``points``, the points that are held back, and the name of every test grid to its
    metrics. The ``.npz`` of a grid holds the solution at its nodes, ``prediction`` (1, unknowns, *shape);
    ``residual`` (1, equations, *shape); where the exact solution is known ``target``, of the shape of the
    prediction, and the curves of the `Evaluator`; ``rank`` (1,) and ``axes``, the names of the axes. Those of
    an earlier test are removed. ``statement.json`` is what the problem says of itself (`Problem.describe`).

    Parameters
    ----------
    folder
        The run's folder; the trainer's ``default_root_dir`` where it is null.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = folder
        self._fields: dict[int, dict[str, Tensor]] = {}

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start with nothing."""
        self._fields = {}

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: dict[str, Any],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep what a grid has."""
        if "input" in batch:
            known = {"target": batch["target"]} if "target" in batch else {}
            self._fields[dataloader_idx] = {**known, **outputs}

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the files, from one process."""
        assert isinstance(pl_module, TrainingTask)
        if not trainer.is_global_zero:
            return
        assert isinstance(pl_module.objective, PhysicsInformed)
        problem = pl_module.objective.problem
        folder = run_folder(trainer, self.folder) / "test"
        folder.mkdir(parents=True, exist_ok=True)  # a domain that is no box has no grid's file in it
        for stale in folder.glob("*.npz"):
            stale.unlink()
        table = {}
        for number, (name, evaluator) in enumerate(pl_module.test_evaluators.items()):
            assert isinstance(evaluator, Evaluator)
            if metrics := evaluator.compute():
                table[name] = {key: float(value) for key, value in metrics.items()}
            if number in self._fields:
                curves = evaluator.curves() if "target" in self._fields[number] else {}
                arrays = {**self._fields[number], **curves}
                write_npz(folder / f"{name}.npz", arrays, ("solution",), problem.grid(2).axes)
        write_json(folder / "statement.json", {**problem.describe(), "fields": list(problem.fields)})
        write_json(folder / "metrics.json", table)
