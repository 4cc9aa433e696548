"""What a test leaves behind for the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torchmetrics.utilities.distributed import gather_all_tensors

from pdeflow.atomic_file import replacing, write_json
from pdeflow.data.batches import BatchLoader
from pdeflow.data.mesh_samples import MeshSamples
from pdeflow.mesh_nodes import MeshNodes
from pdeflow.training.callbacks.run_folder import run_folder
from pdeflow.training.evaluator import Evaluator
from pdeflow.training.norms import squared_l2
from pdeflow.training.rollout_error import held
from pdeflow.training.task import TrainingTask

RANKS = ("best", "median", "worst")


class TestResults(Callback):
    """Writes ``test/metrics.json`` and ``test/<name>.npz`` in the run's folder.

    ``metrics.json`` maps the name of every test set to its metrics. The ``.npz`` of a set holds, for
    its n samples sorted by number, ``l2`` (n,) float64, the relative L2 errors, and ``index`` (n,);
    ``rank`` (3,), ``input``, ``target`` and ``prediction`` (3, channels, *shape) of the best, the median
    and the worst sample; and ``spectrum_error``, ``spectrum_truth`` (shells,), the mean energy at each
    wavenumber. Of trajectories the fields are those of the last step, and there are ``rollout_l2`` and
    ``rollout_drift`` (steps,), the mean errors by step. Of models that give a variance there is ``coverage``,
    the curve of `Calibration`. Samples on meshes, or at nodes without a mesh, have different shapes:
    ``number`` (3,) are the three that are kept, and for each rank, such as ``best``, there are ``best_nodes``
    (nodes, dim), ``best_input``, ``best_target`` and ``best_prediction`` (nodes, channels), and
    ``best_triangles`` (triangles, 3) where the file has some; there is no spectrum. The ``.npz`` files of an
    earlier test are removed. With several processes the three samples are chosen among those of the first
    one.

    Parameters
    ----------
    folder
        The run's folder; the trainer's ``default_root_dir`` where it is null.
    """

    __test__ = False  # pytest would otherwise collect the class by its name

    def __init__(self, folder: str | Path | None = None) -> None:
        self.folder = folder
        self._errors: list[list[Tensor]] = []
        self._indices: list[list[Tensor]] = []
        self._on_meshes = False

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start with nothing."""
        self._errors = [[] for _ in trainer.num_test_batches]
        self._indices = [[] for _ in trainer.num_test_batches]

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: dict[str, Any],
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the error of each sample; fields are computed again once it is known which are wanted."""
        target, grid = batch["target"].double(), batch["grid"]
        self._on_meshes = isinstance(grid, MeshNodes)
        prediction = outputs.double()
        if "state" in batch:
            prediction, target = held(prediction).flatten(1, 2), target.flatten(1, 2)
        error = (squared_l2(prediction - target, grid) / squared_l2(target, grid)).sqrt()
        self._errors[dataloader_idx].append(error)
        self._indices[dataloader_idx].append(batch["index"])

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the files, from one process."""
        assert isinstance(pl_module, TrainingTask)
        folder = run_folder(trainer, self.folder) / "test"
        if trainer.is_global_zero:
            # The report shows every file that is there; an old one is of another model.
            for stale in folder.glob("*.npz"):
                stale.unlink()
        table: dict[str, dict[str, float]] = {}
        for number, (name, evaluator) in enumerate(pl_module.test_evaluators.items()):
            assert isinstance(evaluator, Evaluator)
            table[name] = {key: float(value) for key, value in evaluator.compute().items()}
            errors, indices = torch.cat(self._errors[number]), torch.cat(self._indices[number])
            fields = {}
            if trainer.is_global_zero:
                kept = self._on_nodes if self._on_meshes else self._fields
                fields = kept(trainer, pl_module, number, errors, indices)
            if trainer.world_size > 1:
                errors, indices = (torch.cat(gather_all_tensors(part)) for part in (errors, indices))
            order = indices.argsort()
            arrays = {"l2": errors[order], "index": indices[order], **evaluator.curves(), **fields}
            if trainer.is_global_zero:
                write_npz(folder / f"{name}.npz", arrays)
        if trainer.is_global_zero:
            write_json(folder / "metrics.json", table)

    @torch.no_grad()
    def _fields(
        self, trainer: Trainer, task: TrainingTask, number: int, errors: Tensor, indices: Tensor
    ) -> dict[str, Tensor]:
        """The samples of least, middle and largest error: input, target, prediction, from a second pass."""
        wanted = _three(errors, indices)
        found: dict[int, tuple[Tensor, ...]] = {}
        for batch in _loader(trainer, number):
            batch = trainer.strategy.batch_to_device(batch, dataloader_idx=number)
            for i, index in enumerate(batch["index"].tolist()):
                if index in wanted:
                    one = {key: v[i : i + 1] if isinstance(v, Tensor) else v for key, v in batch.items()}
                    part = (one["input"], one["target"], task.predict(one))
                    if "state" in batch:
                        part = (part[0], part[1][:, -1], held(part[2])[:, -1])
                    found[index] = tuple(value[0] for value in part)
            if len(found) == len(set(wanted)):
                break
        columns = zip(*(found[index] for index in wanted))
        return {name: torch.stack(column) for name, column in zip(("input", "target", "prediction"), columns)}

    @torch.no_grad()
    def _on_nodes(
        self, trainer: Trainer, task: TrainingTask, number: int, errors: Tensor, indices: Tensor
    ) -> dict[str, Tensor]:
        """As `_fields`, of samples that have nodes of their own."""
        wanted, loader = _three(errors, indices), _loader(trainer, number)
        samples = loader.samples if isinstance(loader, BatchLoader) else None
        found: dict[int, dict[str, Tensor]] = {}
        for batch in loader:
            here = [(i, index) for i, index in enumerate(batch["index"].tolist()) if index in wanted]
            if not here:
                continue
            batch = trainer.strategy.batch_to_device(batch, dataloader_idx=number)
            prediction, target = task.predict(batch), batch["target"]
            if "state" in batch:
                prediction, target = held(prediction)[:, -1], target[:, -1]
            columns = {"nodes": batch["input"].pos, "input": batch["input"].x}
            columns |= {"target": target, "prediction": prediction}
            for i, index in here:
                mine = batch["grid"].sample == i
                found[index] = {name: column[mine] for name, column in columns.items()}
                if isinstance(samples, MeshSamples):
                    found[index]["triangles"] = samples.triangles(index)
            if len(found) == len(set(wanted)):
                break
        parts = {
            f"{rank}_{name}": values
            for rank, index in zip(RANKS, wanted)
            for name, values in found[index].items()
        }
        return {"number": torch.tensor(wanted), **parts}


def _three(errors: Tensor, indices: Tensor) -> list[int]:
    """The numbers of the samples of least, middle and largest error."""
    order = errors.argsort()
    return indices[order[[0, (len(order) - 1) // 2, -1]]].tolist()


def _loader(trainer: Trainer, number: int) -> Any:
    loaders: Any = trainer.test_dataloaders
    return loaders[number] if isinstance(loaders, list) else loaders


def write_npz(
    path: Path, arrays: dict[str, Tensor], ranks: Sequence[str] = RANKS, axes: Sequence[str] | None = None
) -> None:
    """Write what the report shows of one test set, what the samples kept are, and their axes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns: dict[str, Any] = {name: value.cpu().numpy() for name, value in arrays.items()}
    if axes is not None:
        columns["axes"] = np.array(axes)
    with replacing(path) as stream:
        np.savez(stream, rank=np.array(ranks), **columns)
