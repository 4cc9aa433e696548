"""What a test of a field leaves behind for the report."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from pdeflow.atomic_file import write_json
from pdeflow.fields import Field
from pdeflow.training.callbacks.run_folder import run_folder
from pdeflow.training.callbacks.test_results import write_npz
from pdeflow.training.collocation import AT_ONCE, Collocation
from pdeflow.training.evaluator import Evaluator
from pdeflow.training.physics_informed import PhysicsInformed
from pdeflow.training.task import TrainingTask


class FieldResults(Callback):
    """Writes ``test/metrics.json`` and ``test/<grid>.npz`` in the run's folder.

    ``metrics.json`` maps ``points``, the points that are held back, and the name of every test grid to its
    metrics. The ``.npz`` of a grid holds the solution at its nodes, ``prediction`` (1, unknowns, *shape);
    ``residual`` (1, equations, *shape); where the exact solution is known ``target``, of the shape of the
    prediction, and the curves of the `Evaluator`; ``rank`` (1,) and ``axes``, the names of the axes. Of a
    domain that is no box the grids are of the box around it: ``inside`` (*shape) says which nodes count, the
    target may be the reference, and there are no metrics and curves. Those of an earlier test are removed.
    ``statement.json`` is what the problem says of itself (`Problem.describe`).

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
        folder.mkdir(parents=True, exist_ok=True)
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
        data: Any = getattr(trainer, "datamodule", None)
        if isinstance(data, Collocation) and not data.test_grids:
            for nodes in data.test_resolutions:
                name = "x".join([str(nodes)] * data.dim)
                if arrays := _in_the_box(pl_module, data, nodes):
                    write_npz(folder / f"{name}.npz", arrays, ("solution",), problem.coordinates)
        write_json(folder / "statement.json", {**problem.describe(), "fields": list(problem.fields)})
        write_json(folder / "metrics.json", table)


@torch.no_grad()
def _in_the_box(task: TrainingTask, data: Collocation, nodes: int) -> dict[str, Tensor]:
    """What a grid of the box around a domain has at its nodes inside; nothing where it has none there."""
    assert isinstance(task.objective, PhysicsInformed)
    assert isinstance(task.model, Field)
    grid = data.problem.grid(nodes)
    places = torch.stack(torch.meshgrid(*[c.double() for c in grid.coordinates()], indexing="ij"), dim=-1)
    inside = torch.from_numpy(data.problem.domain.surrounds(places.flatten(0, -2).numpy()))
    if not inside.any():
        return {}
    points, like = places.flatten(0, -2)[inside], next(task.model.parameters())
    parts = [part.to(like) for part in points.split(AT_ONCE)]
    found = {
        "prediction": torch.cat([task.model.at(part) for part in parts]),
        "residual": torch.cat([task.objective.residual(task.model, part) for part in parts]),
    }
    known = data.known(points)
    if known is not None:
        found["target"] = known

    def spread(values: Tensor) -> Tensor:
        everywhere = torch.full((len(inside), values.shape[1]), math.nan, dtype=torch.float64)
        everywhere[inside] = values.to("cpu", torch.float64)
        return everywhere.reshape(*grid.shape, -1).movedim(-1, 0)[None]

    return {name: spread(values) for name, values in found.items()} | {"inside": inside.reshape(grid.shape)}
