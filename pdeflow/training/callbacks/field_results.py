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
from pdeflow.problems import ParametricFamily, Problem
from pdeflow.training.callbacks.run_folder import run_folder
from pdeflow.training.callbacks.test_results import write_npz
from pdeflow.training.collocation import AT_ONCE, Collocation
from pdeflow.training.defect_correction import ErrorEstimate
from pdeflow.training.evaluator import Evaluator
from pdeflow.training.physics_informed import PhysicsInformed
from pdeflow.training.task import TrainingTask
from pdeflow.training.trust import examine


class FieldResults(Callback):
    """Writes ``test/metrics.json`` and ``test/<grid>.npz`` in the run's folder.

    ``metrics.json`` maps ``points``, the points that are held back, and the name of every test grid to its
    metrics. The ``.npz`` of a grid holds the solution at its nodes, ``prediction`` (1, unknowns, *shape);
    ``residual`` (1, equations, *shape); where the exact solution is known ``target``, of the shape of the
    prediction, and the curves of the `Evaluator`; where it is not, and the error can be estimated,
    ``estimate`` of it, prediction minus truth; ``rank`` (1,), ``"solution"``, of a family with the parameters
    of the member, and ``axes``, the names of the axes. Of a domain that is no box the grids are of the box
    around it: ``inside`` (*shape) says which nodes count, the target may be the reference, and there are no
    metrics and curves. Those of an earlier test are removed.

    ``statement.json`` is what the problem says of itself (`Problem.describe`), with the names of its
    ``fields`` and the parameters ``found``. ``trust.json`` says what is left of the statement, and whether
    the solution is to be trusted (`Trust.record`).

    Parameters
    ----------
    folder
        The run's folder; the trainer's ``default_root_dir`` where it is null.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = folder
        self._fields: dict[int, dict[str, Tensor]] = {}
        self._nodes: dict[int, Tensor] = {}

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start with nothing."""
        self._fields, self._nodes = {}, {}

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
            self._nodes[dataloader_idx] = batch["input"]

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the files, from one process."""
        assert isinstance(pl_module, TrainingTask)
        if not trainer.is_global_zero:
            return
        objective, model = pl_module.objective, pl_module.model
        assert isinstance(objective, PhysicsInformed)
        assert isinstance(model, Field)
        problem = objective.problem
        folder = run_folder(trainer, self.folder) / "test"
        folder.mkdir(parents=True, exist_ok=True)
        for stale in (*folder.glob("*.npz"), folder / "trust.json"):
            stale.unlink(missing_ok=True)
        data: Any = getattr(trainer, "datamodule", None)
        estimate = None
        if isinstance(data, Collocation):
            trust = examine(objective, model, data)
            estimate = trust.estimate
            write_json(folder / "trust.json", trust.record())
        table = {}
        for number, (name, evaluator) in enumerate(pl_module.test_evaluators.items()):
            assert isinstance(evaluator, Evaluator)
            if metrics := evaluator.compute():
                table[name] = {key: float(value) for key, value in metrics.items()}
            if number in self._fields:
                arrays, known = self._fields[number], "target" in self._fields[number]
                if known:
                    arrays = {**arrays, **evaluator.curves()}
                elif estimate is not None:
                    arrays = {**arrays, "estimate": _estimated(estimate, self._nodes[number])}
                write_npz(folder / f"{name}.npz", arrays, (_whose(problem, name),), problem.grid(2).axes)
        if isinstance(data, Collocation) and not data.test_grids:
            for nodes in data.test_resolutions:
                name = "x".join([str(nodes)] * data.dim)
                if arrays := _in_the_box(pl_module, data, nodes, estimate):
                    write_npz(folder / f"{name}.npz", arrays, ("solution",), problem.coordinates)
        found = {name: float(value) for name, value in objective.found().items()}
        told = {**problem.describe(), "fields": list(problem.fields), "found": found}
        write_json(folder / "statement.json", told)
        write_json(folder / "metrics.json", table)


def _whose(problem: Problem, name: str) -> str:
    """What a test set shows: the solution, of a member of a family with its parameters."""
    members = problem.sections() if isinstance(problem, ParametricFamily) else {}
    member = members.get(name.rpartition("-")[2])
    if member is None:
        return "solution"
    return "solution for " + ", ".join(f"{parameter} = {value:g}" for parameter, value in member.items())


@torch.no_grad()
def _estimated(estimate: ErrorEstimate, nodes: Tensor) -> Tensor:
    """Prediction minus truth (1, unknowns, *shape) at nodes, by what the prediction lacks."""
    return -estimate.correction(nodes)


@torch.no_grad()
def _in_the_box(
    task: TrainingTask, data: Collocation, nodes: int, estimate: ErrorEstimate | None
) -> dict[str, Tensor]:
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
    elif estimate is not None:
        found["estimate"] = torch.cat([-estimate.correction.at(part) for part in parts])

    def spread(values: Tensor) -> Tensor:
        everywhere = torch.full((len(inside), values.shape[1]), math.nan, dtype=torch.float64)
        everywhere[inside] = values.to("cpu", torch.float64)
        return everywhere.reshape(*grid.shape, -1).movedim(-1, 0)[None]

    return {name: spread(values) for name, values in found.items()} | {"inside": inside.reshape(grid.shape)}
