"""Files in The Well's layout as a Lightning data module."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn

from pdeflow.data.batches import BatchLoader, BatchOrder
from pdeflow.data.grid_samples import GridSamples
from pdeflow.data.normalisation import Normalisation
from pdeflow.data.split import Split, split_samples
from pdeflow.data.well_reader import WellReader
from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid


class GridData(LightningDataModule):
    """Functions on a uniform grid, from a file or folder in The Well's layout.

    A batch is a dict: ``input`` ``(B, in_channels, *S)`` and ``target`` ``(B, out_channels, *S)``, float32 in
    physical units; ``index`` ``(B,)`` int64, the sample's number in its file; ``names``, those of the input
    channels; ``grid``, the :class:`~pdeflow.grid.Grid` of this batch.

    The training order depends on nothing but ``(seed, epoch)``; each process takes its share, and a run
    resumed in the middle of an epoch goes on at the next batch.

    Parameters
    ----------
    path
        A file, split by ``split``; or a folder with ``data/{train,valid,test}/*.h5`` (or ``*.hdf5``).
    inputs, targets
        Names of fields, constant fields or scalars; each component of a vector or tensor is a channel. Of
        fields that depend on time, inputs are taken at the first instant and targets at the last.
    batch_size
        Samples a batch and process.
    resolution
        Nodes along each axis for training and validation, picked by whole strides; all by default.
    test_resolutions
        Test the test split at each of these; by default at the training resolution.
    test_paths
        More files; each is a test set of its own, all samples at the resolution stored.
    split
        Shares of training, validation and test.
    num_workers
        Processes that read data too large to keep in memory (over 2 GiB).
    seed
        Root of the split and of the training order.

    Raises
    ------
    InvalidInput
        For a name, share or resolution that the data do not have; NaN or infinity in a sample that is used;
        fewer training samples than a batch.
    CorruptFile, UnsafeFile
        From :class:`~pdeflow.data.well_reader.WellReader`.
    """

    def __init__(
        self,
        path: str,
        inputs: list[str],
        targets: list[str],
        batch_size: int = 16,
        resolution: int | list[int] | None = None,
        test_resolutions: list[int] | None = None,
        test_paths: list[str] | None = None,
        split: tuple[float, float, float] = (0.8, 0.1, 0.1),
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.path, self.inputs, self.targets = Path(path), list(inputs), list(targets)
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self.resolution, self.split = resolution, tuple(split)
        # The members of an ensemble have one split and an order each.
        self.order_seed = seed
        self.test_resolutions, self.test_paths = list(test_resolutions or []), list(test_paths or [])
        for name, least in (("batch_size", 1), ("num_workers", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise InvalidInput(f"data.{name}", getattr(self, name), f"at least {least}")

    # What the data are ----------------------------------------------------------------------------------

    @property
    def in_channels(self) -> int:
        """Number of input channels."""
        return len(self._train.input_names)

    @property
    def out_channels(self) -> int:
        """Number of target channels."""
        return len(self._train.target_names)

    @property
    def dim(self) -> int:
        """Number of space dimensions."""
        return self._files["train"][0].grid.dim

    @property
    def grid(self) -> Grid:
        """The grid of training and validation."""
        return self._train.grid

    @property
    def equation(self) -> str | None:
        """The equation in LaTeX, where the files of training record it."""
        found = self._files["train"][0].attributes.get("equation")
        return found if isinstance(found, str) else None

    @property
    def wraps(self) -> dict[str, bool | None]:
        """By name of the axis, whether it wraps around; None where the files do not say what its ends are."""
        return self._files["train"][0].wraps

    @property
    def test_grids(self) -> list[Grid]:
        """The grid of each test set."""
        return [samples.grid for samples in self._tests.values()]

    @property
    def held_out_files(self) -> list[WellReader]:
        """The files of validation and test, one of which may be that of training too."""
        return [
            *self._files.get("valid", []),
            *self._files.get("test", []),
            *map(WellReader, self.test_paths),
        ]

    @property
    def test_names(self) -> list[str]:
        """Names of the test sets: the resolution (``"33x33"``), with the file's stem where that is taken.

        Dots in the stem become ``_``.
        """
        return list(self._tests)

    @functools.cached_property
    def normalisation(self) -> Normalisation:
        """Mean and deviation of each channel over the training samples at the training resolution."""
        samples = self._loaded_train
        return Normalisation.fit(samples.input_names, samples.target_names, samples.blocks())

    # Hooks ----------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Open the files and check what the stage (fit, validate, test, predict) uses, before it starts."""
        if stage == TrainerFn.FITTING:
            _ = self._loaded_train, self.normalisation
            if len(self._split.test) or self.test_paths:
                _ = self._tests  # what cannot be tested is refused before it is trained
        if stage in (TrainerFn.FITTING, TrainerFn.VALIDATING):
            _ = self._loaded_valid
        if stage in (TrainerFn.TESTING, TrainerFn.PREDICTING):
            _ = self._loaded_tests

    def train_dataloader(self) -> BatchLoader:
        """Training batches in the order of the epoch."""
        trainer = self.trainer
        # Overfitting to a few batches needs them to be the same ones in each epoch.
        shuffle = not getattr(trainer, "overfit_batches", 0)
        finished = functools.partial(finished_batches, trainer) if trainer is not None else None
        return self._loader(self._loaded_train, shuffle=shuffle, finished=finished)

    def val_dataloader(self) -> list[BatchLoader]:
        """Validation batches, or none if the validation share is 0."""
        return [self._loader(self._loaded_valid)] if self._loaded_valid is not None else []

    def test_dataloader(self) -> list[BatchLoader]:
        """Batches of each test set, in the order of :attr:`test_names`."""
        return [self._loader(samples) for samples in self._loaded_tests.values()]

    def predict_dataloader(self) -> list[BatchLoader]:
        """The same as the test sets."""
        return self.test_dataloader()

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        """Add the grid: Lightning's precision plug-ins refuse frozen dataclasses before this point."""
        assert self.trainer is not None
        if self.trainer.testing or self.trainer.predicting:
            return {**batch, "grid": self.test_grids[dataloader_idx]}
        return {**batch, "grid": self.grid}

    # Files ----------------------------------------------------------------------------------------------

    def _loader(self, samples: GridSamples, *, shuffle: bool = False, finished: Any = None) -> BatchLoader:
        trainer = self.trainer
        order = BatchOrder(
            len(samples),
            self.batch_size,
            shuffle=shuffle,
            seed=self.order_seed,
            rank=trainer.global_rank if trainer is not None else 0,
            world=trainer.world_size if trainer is not None else 1,
        )
        grid = samples.grid if trainer is None else None
        return BatchLoader(samples, order, num_workers=self.num_workers, grid=grid, finished=finished)

    @functools.cached_property
    def _files(self) -> dict[str, list[WellReader]]:
        """Readers of the training, validation and test files; the same one for a single file."""
        if not self.path.is_dir():
            readers = [WellReader(self.path)]
            return {"train": readers, "valid": readers, "test": readers}
        found = {}
        for part in ("train", "valid", "test"):
            folder = self.path / "data" / part
            paths = sorted([*folder.glob("*.h5"), *folder.glob("*.hdf5")])
            if paths:
                found[part] = [WellReader(path) for path in paths]
        if "train" not in found:
            raise InvalidInput(
                "data.path",
                str(self.path),
                "a file, or a folder with data/train/*.h5 (and valid, test) in it",
            )
        return found

    @functools.cached_property
    def _split(self) -> Split:
        if not self.path.is_dir():
            return split_samples(self._files["train"][0].n, self.split, self.seed)
        sizes = {
            part: sum(reader.n for reader in self._files.get(part, [])) for part in ("train", "valid", "test")
        }
        return Split(**{part: np.arange(size) for part, size in sizes.items()})

    def _samples(self, part: str, points: int | Sequence[int] | None) -> GridSamples:
        return self._chosen(self._files[part], getattr(self._split, part), points, part == "train")

    def _chosen(
        self, readers: list[WellReader], rows: np.ndarray, points: int | Sequence[int] | None, training: bool
    ) -> GridSamples:
        """Samples of files; a data module of another kind of sample has its own."""
        return GridSamples(readers, rows, self.inputs, self.targets, points)

    @functools.cached_property
    def _train(self) -> GridSamples:
        if not len(self._split.train):
            raise InvalidInput("data.split", self.split, "a share for training")
        return self._samples("train", self.resolution)

    @functools.cached_property
    def _tests(self) -> dict[str, GridSamples]:
        tests: dict[str, GridSamples] = {}
        if len(self._split.test):
            for points in self.test_resolutions:
                self._files["test"][0].grid.strides_to(points, "data.test_resolutions")
            for points in self.test_resolutions or [self.resolution]:
                samples = self._samples("test", points)
                tests["x".join(map(str, samples.grid.points))] = samples
        elif self.test_resolutions:
            raise InvalidInput(
                "data.test_resolutions",
                self.test_resolutions,
                "a test split to use them on",
                "Give the test a share in data.split.",
            )
        for path in self.test_paths:
            reader = WellReader(path)
            samples = self._chosen([reader], np.arange(reader.n), None, False)
            self._check_channels(samples, path)
            name = "x".join(map(str, samples.grid.points))
            # The name becomes that of a torch module, which cannot hold a dot.
            stem = Path(path).stem.replace(".", "_")
            name = name if name not in tests else f"{name}_{stem}"
            if name in tests:
                raise InvalidInput("data.test_paths", self.test_paths, "files with different names")
            tests[name] = samples
        if not tests:
            raise InvalidInput("data.split", self.split, "a share for the test, or data.test_paths")
        return tests

    def _check_channels(self, samples: GridSamples, path: str) -> None:
        train = self._train
        mine = (*samples.input_names, *samples.target_names)
        if mine != (*train.input_names, *train.target_names):
            raise InvalidInput(
                f"data.test_paths, {path}",
                mine,
                f"the channels of training, {train.input_names} and {train.target_names}",
            )

    @functools.cached_property
    def _loaded_train(self) -> GridSamples:
        return self._train.load()

    @functools.cached_property
    def _loaded_valid(self) -> GridSamples | None:
        return self._samples("valid", self.resolution).load() if len(self._split.valid) else None

    @functools.cached_property
    def _loaded_tests(self) -> dict[str, GridSamples]:
        return {name: samples.load() for name, samples in self._tests.items()}


def finished_batches(trainer: Trainer) -> int:
    """Batches of this epoch that were trained on; one delivered just before an error or signal is not."""
    return getattr(trainer.fit_loop.epoch_loop.batch_progress.current, "processed", 0)
