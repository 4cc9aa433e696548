"""Files of samples on meshes as a Lightning data module."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.trainer.states import TrainerFn

from pdeflow.data.batches import BatchLoader, BatchOrder
from pdeflow.data.datamodule import finished_batches
from pdeflow.data.mesh_samples import Connecting, MeshSamples
from pdeflow.data.normalisation import Normalisation
from pdeflow.data.split import Split, split_samples
from pdeflow.errors import InvalidInput

if TYPE_CHECKING:
    from pdeflow.data.mesh_graphs import MeshGraphs


class MeshData(LightningDataModule):
    """Functions on meshes of their own, from a file in the layout of :mod:`pdeflow.data.mesh_layout`.

    A batch is a dict, as that of GridData: ``input``, a torch-geometric ``Batch`` with ``x``
    (nodes, in_channels) and ``pos`` (nodes, 2), float32 in physical units, and the neighbours that the
    operator reads; ``target`` (nodes, out_channels); ``index`` (B,) int64, the sample's number in its file;
    ``grid``, the :class:`~pdeflow.mesh_nodes.MeshNodes` of this batch.

    The neighbours are searched when a mesh is first seen and kept. All samples are kept in memory.

    Parameters
    ----------
    path
        The file.
    inputs, targets
        Names of fields, constant fields or scalars. The input ``boundary`` is a channel for each part of the
        boundary, 1 at the nodes that lie on it and 0 elsewhere.
    batch_size
        Samples a batch and process.
    subsample
        Train on as many nodes of each mesh, drawn anew in every epoch; null for all. Validation and test
        are on all nodes.
    test_paths
        More files, such as one with finer meshes; each is a test set of its own.
    split
        Shares of training, validation and test.
    seed
        Root of the split, of the training order and of the nodes that are drawn.

    Raises
    ------
    InvalidInput
        For a name or share that the data do not have; NaN or infinity in a sample that is used; fewer
        training samples than a batch.
    CorruptFile, UnsafeFile
        From :class:`~pdeflow.data.mesh_reader.MeshReader`.
    """

    dim = 2

    def __init__(
        self,
        path: str,
        inputs: list[str],
        targets: list[str],
        batch_size: int = 4,
        subsample: int | None = None,
        test_paths: list[str] | None = None,
        split: tuple[float, float, float] = (0.8, 0.1, 0.1),
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.path, self.inputs, self.targets = Path(path), list(inputs), list(targets)
        self.batch_size, self.subsample, self.seed = batch_size, subsample, seed
        self.test_paths, self.split = list(test_paths or []), tuple(split)
        # The members of an ensemble have one split, and an order and nodes that are drawn each.
        self.order_seed = seed
        for name, least in (("batch_size", 1), ("subsample", 2), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise InvalidInput(f"data.{name}", value, f"at least {least}")
        for name in ("inputs", "targets"):
            if not getattr(self, name):
                raise InvalidInput(f"data.{name}", [], "at least one name")

    # What the data are ----------------------------------------------------------------------------------

    @property
    def in_channels(self) -> int:
        """Number of input channels."""
        return len(self._graphs.input_names)

    @property
    def out_channels(self) -> int:
        """Number of target channels."""
        return len(self._graphs.targets)

    @property
    def equation(self) -> str | None:
        """The equation in LaTeX, where the file records it."""
        found = self._graphs.reader.attributes.get("equation")
        return found if isinstance(found, str) else None

    @property
    def test_names(self) -> list[str]:
        """Names of the test sets: the stem of the file, dots in it as ``_``."""
        return list(self._tests)

    @functools.cached_property
    def normalisation(self) -> Normalisation:
        """Mean and deviation of each channel over the nodes of the training samples."""
        samples = self._train
        return Normalisation.fit(samples.input_names, samples.target_names, samples.channels())

    # Hooks ----------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Read the samples that the stage (fit, validate, test, predict) uses."""
        if stage == TrainerFn.FITTING:
            _ = self._train, self.normalisation
            if len(self._split.test) or self.test_paths:
                _ = self._tests  # what cannot be tested is refused before it is trained
        if stage in (TrainerFn.FITTING, TrainerFn.VALIDATING):
            _ = self._valid
        if stage in (TrainerFn.TESTING, TrainerFn.PREDICTING):
            _ = self._tests

    def probe(self, operator: Connecting) -> None:
        """Raise InvalidInput where an operator cannot take the first meshes of training and validation."""
        parts = [self._train.for_operator(operator)]
        if self.subsample is not None:
            parts[0] = parts[0].sampled(self.subsample, self.seed, lambda: 0)
            parts += [self._valid.for_operator(operator)] * (len(self._valid) > 0)
        for samples in parts:
            _ = samples[torch.tensor([0], device="cpu")]

    def train_dataloader(self) -> BatchLoader:
        """Training batches in the order of the epoch."""
        # Overfitting to a few batches needs them to be the same ones in each epoch.
        shuffle = not getattr(self.trainer, "overfit_batches", 0)
        return self._loader(self._train, training=True, shuffle=shuffle)

    def val_dataloader(self) -> list[BatchLoader]:
        """Validation batches, or none if the validation share is 0."""
        return [self._loader(self._valid)] if len(self._valid) else []

    def test_dataloader(self) -> list[BatchLoader]:
        """Batches of each test set, in the order of :attr:`test_names`."""
        return [self._loader(samples) for samples in self._tests.values()]

    def predict_dataloader(self) -> list[BatchLoader]:
        """The same as the test sets."""
        return self.test_dataloader()

    # Files ----------------------------------------------------------------------------------------------

    def _loader(self, samples: MeshSamples, *, training: bool = False, shuffle: bool = False) -> BatchLoader:
        trainer = self.trainer
        order = BatchOrder(
            len(samples),
            self.batch_size,
            shuffle=shuffle,
            seed=self.order_seed,
            rank=trainer.global_rank if trainer is not None else 0,
            world=trainer.world_size if trainer is not None else 1,
        )
        finished: Any = None
        if trainer is not None:
            # Only the operator knows which nodes it wants to see together.
            samples = samples.for_operator(trainer.lightning_module.model)  # pyright: ignore[reportArgumentType]
            finished = functools.partial(finished_batches, trainer) if training else None
        if training and self.subsample is not None:
            samples = samples.sampled(self.subsample, self.order_seed, lambda: order.epoch)
        return BatchLoader(samples, order, finished=finished)

    @functools.cached_property
    def _graphs(self) -> MeshGraphs:
        return self._open(str(self.path))

    def _open(self, path: str) -> MeshGraphs:
        # torch-geometric takes seconds to import, and every `pdeflow fit` reads this module.
        from pdeflow.data.mesh_graphs import MeshGraphs

        return MeshGraphs(path, self.inputs, self.targets)

    @functools.cached_property
    def _split(self) -> Split:
        return split_samples(len(self._graphs), self.split, self.seed)

    @functools.cached_property
    def _train(self) -> MeshSamples:
        if not len(self._split.train):
            raise InvalidInput("data.split", self.split, "a share for training")
        return MeshSamples(self._graphs, self._split.train)

    @functools.cached_property
    def _valid(self) -> MeshSamples:
        return MeshSamples(self._graphs, self._split.valid)

    @functools.cached_property
    def _tests(self) -> dict[str, MeshSamples]:
        tests: dict[str, MeshSamples] = {}
        if len(self._split.test):
            tests[_name(self.path)] = MeshSamples(self._graphs, self._split.test)
        for path in self.test_paths:
            graphs, name = self._open(path), _name(Path(path))
            if name in tests:
                raise InvalidInput("data.test_paths", self.test_paths, "files with different names")
            tests[name] = MeshSamples(graphs, np.arange(len(graphs)))
        if not tests:
            raise InvalidInput("data.split", self.split, "a share for the test, or data.test_paths")
        return tests


def _name(path: Path) -> str:
    """The name becomes that of a torch module, which cannot hold a dot."""
    return path.stem.replace(".", "_")
