"""GridData: channels, resolutions, splits that share nothing, and training that resumes at the next batch."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from pdeflow.data import GridData, GridSamples, WellReader
from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid

from .samples import box, steady_arrays, steady_writer, write_steady

N = 40


@pytest.fixture
def path(tmp_path):
    write_steady(tmp_path / "d.h5", Grid(("x", "y"), (0, 0), (1, 2), (17, 9)), N)
    return str(tmp_path / "d.h5")


def data(path, **changes) -> GridData:
    return GridData(path, **{"inputs": ["a"], "targets": ["u"], "batch_size": 4, **changes})


def indices(loader) -> list[int]:
    return [i for batch in loader for i in batch["index"].tolist()]


def test_a_batch(path):
    made = data(path, inputs=["a", "b", "k"], seed=3)
    assert (made.in_channels, made.out_channels, made.dim) == (4, 1, 2)
    assert made.normalisation.input_names == ("a", "b_x", "b_y", "k")
    arrays = write_steady(made.path.with_name("same.h5"), made.grid, N)
    for batch in made.train_dataloader():
        assert batch["grid"] == Grid(("x", "y"), (0, 0), (1, 2), (17, 9))
        assert batch["input"].dtype == batch["target"].dtype == torch.float32
        assert batch["index"].dtype == torch.int64
        rows = batch["index"].numpy()
        np.testing.assert_array_equal(batch["input"][:, 0], arrays["a"][rows].astype("f4"))
        np.testing.assert_array_equal(batch["input"][:, 2], arrays["b"][rows, ..., 1].astype("f4"))
        np.testing.assert_array_equal(
            batch["input"][:, 3], arrays["k"][rows].astype("f4")[:, None, None] * np.ones((1, 17, 9), "f4")
        )
        np.testing.assert_array_equal(batch["target"][:, 0], arrays["u"][rows, 1].astype("f4"))


def test_no_sample_crosses_splits(path):
    made = data(path)
    loaders = made.train_dataloader(), made.val_dataloader()[0], made.test_dataloader()[0]
    train, valid, test = map(indices, loaders)
    assert sorted(train + valid + test) == list(range(N))
    assert (len(train), len(valid), len(test)) == (32, 4, 4)


def test_normalisation_sees_training_samples_only(tmp_path):
    arrays = write_steady(tmp_path / "d.h5", box(), N)
    made = data(str(tmp_path / "d.h5"), resolution=[5, 8])
    rows = sorted(indices(made.train_dataloader()))
    a = arrays["a"][rows][:, ::2].astype("f4").astype("f8")
    np.testing.assert_allclose(made.normalisation.input_mean[0], a.mean(), rtol=1e-10)
    np.testing.assert_allclose(made.normalisation.input_std[0], a.std(), rtol=1e-10)


def test_resolutions(path):
    made = data(path, inputs=["k", "a"], resolution=[9, 5], test_resolutions=[9, 5, 3])
    with pytest.raises(InvalidInput, match="17, 9, 5, 3"):
        data(path, resolution=8).setup("fit")
    assert made.grid.points == (9, 5)
    assert made.test_names == ["9x9", "5x5", "3x3"]
    loaders = made.test_dataloader()
    assert [next(iter(loader))["input"].shape[2:] for loader in loaders] == [(9, 9), (5, 5), (3, 3)]
    full = next(iter(data(path).test_dataloader()[0]))
    coarse = next(iter(loaders[1]))
    assert torch.equal(coarse["index"], full["index"])
    assert torch.equal(coarse["target"], full["target"][:, :, ::4, ::2])
    assert coarse["grid"].upper == (1, 2)


def test_more_test_files(path, tmp_path):
    write_steady(tmp_path / "fine.h5", Grid(("x", "y"), (0, 0), (1, 2), (33, 17)), 6, seed=5)
    write_steady(tmp_path / "same.h5", Grid(("x", "y"), (0, 0), (1, 2), (17, 9)), 5, seed=6)
    extra = [str(tmp_path / "fine.h5"), str(tmp_path / "same.h5")]
    made = data(path, test_paths=extra)
    assert made.test_names == ["17x9", "33x17", "17x9_same"]
    assert [len(indices(loader)) for loader in made.test_dataloader()] == [4, 6, 5]
    alone = data(path, test_paths=extra, split=(0.9, 0.1, 0.0))
    assert alone.test_names == ["33x17", "17x9"]
    with pytest.raises(InvalidInput, match=r"test_paths"):
        data(path, split=(0.9, 0.1, 0.0)).setup("test")


def test_names_of_test_files_with_dots_name_torch_modules(path, tmp_path):
    write_steady(tmp_path / "nu_0.01.v2.h5", Grid(("x", "y"), (0, 0), (1, 2), (17, 9)), 5)
    made = data(path, test_paths=[str(tmp_path / "nu_0.01.v2.h5")])
    assert made.test_names == ["17x9", "17x9_nu_0_01_v2"]
    torch.nn.ModuleDict({name: torch.nn.Identity() for name in made.test_names})


def test_failed_samples_are_left_out_unless_kept(tmp_path):
    grid = box()
    arrays = steady_arrays(grid, 6)
    arrays["u"][2] = np.nan
    status = np.array([0, 0, 3, 0, 0, 0], dtype="int8")
    with steady_writer(tmp_path / "f.h5", grid, 6, diagnostics={"status": "int8"}) as writer:
        writer.write(0, {**{k: v for k, v in arrays.items() if k != "residual"}, "status": status})
    with WellReader(tmp_path / "f.h5") as reader:
        with pytest.warns(UserWarning, match="1 of 6 samples are left out"):
            assert GridSamples([reader], np.arange(6), ["a"], ["u"]).rows.tolist() == [0, 1, 3, 4, 5]
        kept = GridSamples([reader], np.arange(6), ["a"], ["a"], keep_failed=True)
        np.testing.assert_array_equal(kept[torch.arange(6)]["input"][:, 0], arrays["a"].astype("f4"))


def test_a_well_folder(tmp_path):
    for part, files in (("train", 2), ("valid", 1), ("test", 1)):
        (tmp_path / "data" / part).mkdir(parents=True)
        for k in range(files):
            write_steady(tmp_path / "data" / part / f"{k}.hdf5", box(), 7, seed=k)
    made = data(str(tmp_path))
    assert sorted(indices(made.train_dataloader())) == list(range(14))
    assert len(indices(made.val_dataloader()[0])) == len(indices(made.test_dataloader()[0])) == 7
    second = write_steady(tmp_path / "again.h5", box(), 7, seed=1)
    batch = made._loaded_train[torch.tensor([0, 9])]
    np.testing.assert_array_equal(batch["input"][1, 0], second["a"][2].astype("f4"))

    write_steady(tmp_path / "data" / "train" / "2.hdf5", box(2, 10), 7)
    with pytest.raises(InvalidInput, match="share a grid"):
        data(str(tmp_path)).setup("fit")
    shutil.rmtree(tmp_path / "data" / "train")
    with pytest.raises(InvalidInput, match="data/train"):
        data(str(tmp_path)).setup("fit")


def test_trajectories_map_the_first_instant_to_the_last(tmp_path):
    from pdeflow.data import WellWriter

    u = np.random.default_rng(0).random((10, 5, 9, 8))
    with WellWriter(
        tmp_path / "t.h5", name="t", grid=box(), n=10, fields={"u": 0}, times=np.arange(5.0)
    ) as writer:
        writer.write(0, {"u": u})
    batch = next(iter(data(str(tmp_path / "t.h5"), inputs=["u"]).train_dataloader()))
    rows = batch["index"].numpy()
    np.testing.assert_array_equal(batch["input"][:, 0], u[rows, 0].astype("f4"))
    np.testing.assert_array_equal(batch["target"][:, 0], u[rows, -1].astype("f4"))


@pytest.mark.parametrize(
    ("changes", "stage", "message"),
    [
        ({"inputs": ["aa"]}, "fit", "Nearest: a"),
        ({"targets": []}, "fit", "at least one name"),
        ({"batch_size": 33}, "train", "smaller than a batch"),
        ({"batch_size": 0}, "fit", "data.batch_size"),
        ({"split": (0.5, 0.5, 0.5)}, "fit", "add up to 1"),
        ({"split": (0.0, 0.5, 0.5)}, "fit", "share for training"),
        ({"split": (0.98, 0.01, 0.01)}, "fit", "at least one sample for"),
        ({"resolution": [9, 9, 9]}, "fit", "one entry for each"),
        ({"test_resolutions": [4]}, "test", "whole strides"),
        ({"test_resolutions": [9, 4]}, "fit", "data.test_resolutions: got 4"),
        ({"test_resolutions": [9], "split": (0.9, 0.1, 0.0)}, "test", "test_resolutions"),
    ],
)
def test_what_cannot_be_is_named(path, changes, stage, message):
    def use():
        made = data(path, **changes)
        return made.train_dataloader() if stage == "train" else made.setup(stage)

    with pytest.raises(InvalidInput, match=message) as error:
        use()
    assert len(str(error.value).splitlines()) <= 5


def test_data_on_disk_give_what_data_in_memory_give(path, monkeypatch):
    memory = list(data(path, inputs=["a", "b"]).train_dataloader())
    monkeypatch.setattr("pdeflow.data.grid_samples.IN_MEMORY_BYTES", 0)
    for workers in (0, 2):
        made = data(path, inputs=["a", "b"], num_workers=workers)
        for one, other in zip(memory, made.train_dataloader(), strict=True):
            assert torch.equal(one["input"], other["input"])
            assert torch.equal(one["index"], other["index"])


# Under Lightning ------------------------------------------------------------------------------------------


class Recorder(LightningModule):
    """Notes which samples it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(1, 1, 1)
        self.seen: list[tuple[int, int, list[int]]] = []
        self.tested: list[tuple[int, tuple[int, ...], list[int]]] = []

    def training_step(self, batch, batch_idx):
        assert batch["grid"].points == tuple(batch["input"].shape[2:])
        self.seen.append((self.current_epoch, batch_idx, batch["index"].tolist()))
        return ((self.layer(batch["input"]) - batch["target"]) ** 2).mean()

    def validation_step(self, batch, batch_idx):
        assert batch["grid"].points == tuple(batch["input"].shape[2:])

    def test_step(self, batch, batch_idx, dataloader_idx=0):
        self.tested.append((dataloader_idx, batch["grid"].points, batch["index"].tolist()))

    predict_step = test_step

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 1e-2)


def trainer(tmp_path, **changes) -> Trainer:
    settings = {
        "accelerator": "cpu", "devices": 1, "logger": False, "enable_progress_bar": False, "max_epochs": 3,
        "enable_model_summary": False, "enable_checkpointing": False, "default_root_dir": tmp_path, **changes,
    }  # fmt: skip
    return Trainer(**settings)


class Stop(Callback):
    """Saves after ``step`` optimiser steps and ends the run there; ``when`` names the hook."""

    def __init__(self, step, file, when) -> None:
        self.step, self.file, self.when = step, file, when

    def _stop(self, trainer):
        if trainer.global_step == self.step and not trainer.sanity_checking:
            trainer.save_checkpoint(self.file)
            raise InterruptedError

    def on_train_batch_end(self, trainer, *_):
        if self.when == "batch end":
            self._stop(trainer)

    def on_validation_end(self, trainer, *_):
        if self.when == "validation end":
            self._stop(trainer)

    def on_train_batch_start(self, trainer, *_):
        # The batch is fetched but not trained on, as when a signal or an error comes.
        if self.when == "batch start":
            self._stop(trainer)


def model(seed=0):
    torch.manual_seed(seed)
    return Recorder()


@pytest.mark.parametrize(
    ("step", "when", "workers"),
    [
        *[(step, "batch end", 0) for step in (1, 5, 6, 7, 10)],
        *[(step, "validation end", 0) for step in (6, 12)],
        *[(step, "batch start", 0) for step in (3, 8)],
        (10, "batch end", 1),
        (8, "batch start", 1),
    ],
)
def test_a_resumed_run_goes_on_at_the_next_batch(path, tmp_path, monkeypatch, step, when, workers):
    if workers:
        monkeypatch.setattr("pdeflow.data.grid_samples.IN_MEMORY_BYTES", 0)

    def made():
        return data(path, batch_size=6, num_workers=workers)  # six batches an epoch, the last one short

    whole, first, second = model(), model(), model(1)
    trainer(tmp_path).fit(whole, made())
    with pytest.raises(InterruptedError):
        trainer(tmp_path, callbacks=[Stop(step, tmp_path / "c.ckpt", when)]).fit(first, made())
    trainer(tmp_path).fit(second, made(), ckpt_path=str(tmp_path / "c.ckpt"), weights_only=True)
    assert first.seen[:step] + second.seen == whole.seen
    assert len(whole.seen) == 18
    for one, other in zip(whole.parameters(), second.parameters()):
        assert torch.equal(one, other)


def test_training_order_differs_between_epochs_and_covers_all(path, tmp_path):
    one = model()
    trainer(tmp_path).fit(one, data(path, batch_size=6))
    epochs = [[i for e, _, part in one.seen if e == epoch for i in part] for epoch in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(epochs[2])


def test_tests_and_predictions_get_their_own_grid(path, tmp_path):
    for stage in ("test", "predict"):
        one = model()
        getattr(trainer(tmp_path), stage)(one, data(path, test_resolutions=[9, 3]))
        assert {(k, points) for k, points, _ in one.tested} == {(0, (9, 9)), (1, (3, 3))}


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_precision_plugins_accept_the_batches(path, tmp_path, precision):
    trainer(tmp_path, precision=precision, max_epochs=1).fit(model(), data(path))


def test_overfitting_sees_the_same_batches(path, tmp_path):
    one = model()
    trainer(tmp_path, overfit_batches=2).fit(one, data(path))
    assert [part for _, _, part in one.seen[:2]] == [part for _, _, part in one.seen[2:4]]


class Gather(Recorder):
    """Writes down what this process saw."""

    def __init__(self, folder) -> None:
        super().__init__()
        self.folder = folder

    def on_fit_end(self):
        self._write("fit", [i for _, _, part in self.seen for i in part])

    def on_test_end(self):
        self._write("test", [i for _, _, part in self.tested for i in part])

    def _write(self, stage, rows):
        np.save(self.folder / f"{stage}{self.global_rank}.npy", np.array(rows))


@pytest.mark.slow
def test_two_processes_share_the_samples(path, tmp_path):
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    run = trainer(
        tmp_path, devices=2, strategy="ddp_fork" if hasattr(os, "fork") else "ddp_spawn", max_epochs=1,
        use_distributed_sampler=False,
    )  # fmt: skip
    made = data(path, batch_size=5, split=(0.7, 0.1, 0.2))
    run.fit(Gather(tmp_path), made)
    run.test(Gather(tmp_path), made)
    train = [np.load(tmp_path / f"fit{rank}.npy") for rank in (0, 1)]
    assert len(train[0]) == len(train[1]) == 14
    assert len(np.unique(np.concatenate(train))) == 28
    test = np.concatenate([np.load(tmp_path / f"test{rank}.npy") for rank in (0, 1)])
    assert len(test) == len(np.unique(test)) == 8
    assert not set(test) & set(np.concatenate(train))
