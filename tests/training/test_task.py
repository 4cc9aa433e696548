"""The task: physical units, what is logged, learning, and configs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from toy import STATISTICS, ToyData, toy_task, toy_trainer

from pdeflow.errors import InvalidInput
from pdeflow.operators import FNO
from pdeflow.training import H1, Cosine, OneCycle, Supervised, TrainingTask
from pdeflow.training.callbacks import TestResults, default_callbacks


def test_forward_is_in_physical_units() -> None:
    task = toy_task(normalisation=STATISTICS)
    x = torch.randn(2, 1, 8, 8)
    expected = task.model((x - 0.5) / 2.0) * 3.0 - 1.0
    torch.testing.assert_close(task(x), expected)


def test_normalisation_comes_from_the_data_and_stays_in_the_checkpoint(tmp_path: Path) -> None:
    task = toy_task()
    toy_trainer(tmp_path, 1).fit(task, datamodule=ToyData())
    assert task.normaliser.input_std.tolist() == [2.0]
    other = toy_task()
    toy_trainer(tmp_path, callbacks=[]).test(
        other, datamodule=ToyData(), ckpt_path=tmp_path / "checkpoints/last.ckpt", verbose=False
    )
    x = torch.randn(1, 1, 8, 8)
    assert torch.equal(other(x), task(x))


def test_normalisation_of_other_channels() -> None:
    model = FNO(modes=[4, 4], width=4, layers=1, in_channels=2)
    with pytest.raises(InvalidInput, match=r"normalisation.input_mean.*model's 2 channels"):
        TrainingTask(model, normalisation=STATISTICS)


def test_no_normalisation_anywhere(tmp_path: Path) -> None:
    data = ToyData()
    with pytest.raises(InvalidInput, match="GridData"):
        toy_trainer(tmp_path, 1).fit(toy_task(), train_dataloaders=data.train_dataloader())


def test_what_is_logged_and_that_it_learns(tmp_path: Path) -> None:
    data, task = ToyData(samples=48), toy_task(lr=3e-2, schedule=OneCycle(), objective=Supervised(H1()))
    trainer = toy_trainer(tmp_path, 8)
    trainer.fit(task, datamodule=data)
    history = json.loads((tmp_path / "history.json").read_text())
    assert [row["epoch"] for row in history] == list(range(8))
    assert [row["step"] for row in history] == [12 * (i + 1) for i in range(8)]
    assert set(history[0]) == {
        "epoch", "step", "seconds", "lr", "train/loss", "valid/loss", "valid/l2", "valid/h1",
    }  # fmt: skip
    assert history[-1]["valid/l2"] < 0.5 * history[0]["valid/l2"]
    assert history[-1]["lr"] < 1e-5
    (first, *_) = trainer.test(task, datamodule=data, verbose=False)
    assert {"test/8x8/l2", "test/12x12/l2", "test/12x12/frmse_high"} <= set(first)


def test_train_loss_is_the_mean_over_samples(tmp_path: Path) -> None:
    """Batches of unequal size count by their samples."""
    data, task = ToyData(samples=6, batch_size=4), toy_task(lr=0.0)
    trainer = toy_trainer(tmp_path, 1)
    trainer.fit(task, datamodule=data)
    row = json.loads((tmp_path / "history.json").read_text())[0]
    whole = ToyData(samples=6, batch_size=6)
    batch = whole.on_after_batch_transfer(next(iter(whole.train_dataloader())), 0)
    assert row["train/loss"] == pytest.approx(float(task.objective(task(batch["input"]), batch)), rel=1e-5)


def test_test_results(tmp_path: Path) -> None:
    data, task = ToyData(), toy_task()
    trainer = toy_trainer(tmp_path, 1, [TestResults(tmp_path)])
    trainer.fit(task, datamodule=data)
    logged = trainer.test(task, datamodule=data, verbose=False)[0]
    table = json.loads((tmp_path / "test/metrics.json").read_text())
    assert list(table) == ["8x8", "12x12"]
    assert logged["test/12x12/h1"] == pytest.approx(table["12x12"]["h1"])
    with np.load(tmp_path / "test/12x12.npz", allow_pickle=False) as file:
        stored = dict(file)
    assert stored["index"].tolist() == list(range(7))
    assert stored["l2"].mean() == pytest.approx(table["12x12"]["l2"])
    assert stored["rank"].tolist() == ["best", "median", "worst"]
    for rank, expected in zip(range(3), (stored["l2"].min(), np.median(stored["l2"]), stored["l2"].max())):
        target = stored["target"][rank].astype(float)
        error = np.linalg.norm(stored["prediction"][rank] - target) / np.linalg.norm(target)
        assert error == pytest.approx(expected, rel=1e-4)
    x = torch.from_numpy(stored["input"])
    with torch.no_grad():
        np.testing.assert_allclose(task(x).numpy(), stored["prediction"], rtol=1e-5, atol=1e-5)
    assert stored["spectrum_error"].shape == stored["spectrum_truth"].shape == (9,)


def test_a_new_test_removes_the_pictures_of_an_earlier_one(tmp_path: Path) -> None:
    task = toy_task(normalisation=STATISTICS)
    for points in ((8, 12), (8,)):
        trainer = toy_trainer(tmp_path, callbacks=[TestResults(tmp_path)])
        trainer.test(task, datamodule=ToyData(test_points=points), verbose=False)
    assert sorted(path.name for path in (tmp_path / "test").iterdir()) == ["8x8.npz", "metrics.json"]


def test_predict_is_in_physical_units(tmp_path: Path) -> None:
    data, task = ToyData(), toy_task(normalisation=STATISTICS)
    (prediction,) = toy_trainer(tmp_path, callbacks=[]).predict(task, datamodule=data)
    x = next(iter(data.predict_dataloader()))["input"]
    with torch.no_grad():
        torch.testing.assert_close(prediction, task(x))


def test_pictures_reach_tensorboard(tmp_path: Path) -> None:
    from lightning.pytorch.loggers import TensorBoardLogger
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from pdeflow.training.callbacks import Pictures

    logger = TensorBoardLogger(str(tmp_path), name="tensorboard", version="")
    toy_trainer(tmp_path, 4, [Pictures(every=2)], logger=logger).fit(toy_task(), datamodule=ToyData())
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert len(events.Images("valid/sample")) == 2
    assert len(events.Scalars("valid/l2")) == 4


@pytest.mark.parametrize("shape", [(1, 9), (2, 6, 7), (1, 5, 6, 7)])
def test_pictures_of_every_dimension(shape: tuple[int, ...]) -> None:
    from pdeflow.training.callbacks.pictures import draw

    figure = draw(torch.randn(shape), torch.randn(shape))
    figure.canvas.draw()
    panels = [axes.get_title() for axes in figure.axes if axes.get_title()]
    assert panels == ["truth", "prediction", "error"] * shape[0]


def test_torch_schedulers_step_every_epoch(tmp_path: Path) -> None:
    def halve(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        return torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)

    toy_trainer(tmp_path, 3).fit(toy_task(lr=0.08, schedule=halve), datamodule=ToyData())
    rates = [row["lr"] for row in json.loads((tmp_path / "history.json").read_text())]
    assert rates == pytest.approx([0.04, 0.02, 0.01])


def test_schedules() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    for schedule, values in (
        (Cosine(), {0: 1.0, 50: 0.5, 100: 0.0}),
        (Cosine(warmup=0.5, final=0.1), {0: 0.0, 25: 0.5, 50: 1.0, 75: 0.55, 100: 0.1, 120: 0.1}),
        (OneCycle(warmup=0.2, initial=0.1), {0: 0.1, 20: 1.0, 60: 0.5, 100: 1e-5}),
    ):
        optimizer = torch.optim.SGD([parameter], lr=2.0)
        scheduler = schedule(optimizer, lambda: 100)
        rates = []
        for _ in range(121):
            rates.append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
        for step, value in values.items():
            assert rates[step] == pytest.approx(2.0 * value, abs=2e-5), (schedule, step)
    with pytest.raises(InvalidInput, match=r"lr_scheduler.warmup: got 1.5"):
        OneCycle(warmup=1.5)


def test_a_schedule_needs_an_end(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"trainer.max_epochs"):
        toy_trainer(tmp_path, -1).fit(toy_task(schedule=Cosine()), datamodule=ToyData())


@pytest.mark.parametrize("name", ["H1", "L2", "RelativeL2"])
def test_losses_by_name_in_a_config(name: str) -> None:
    from jsonargparse import ArgumentParser

    from pdeflow.training import Objective

    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Objective, "objective")
    config = parser.parse_object({"objective": {"class_path": "Supervised", "init_args": {"loss": name}}})
    objective: Any = parser.instantiate_classes(config)["objective"]
    assert type(objective.loss).__name__ == name


def test_importing_operators_does_not_import_neuraloperator() -> None:
    import subprocess
    import sys

    heavy = "('neuralop', 'wandb', 'lightning')"
    code = f"import sys, pdeflow.operators; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_ordinary_run_leaves_its_files(tmp_path: Path) -> None:
    import pdeflow

    task = toy_task(schedule=OneCycle())
    trainer = toy_trainer(tmp_path, 3, default_callbacks(tmp_path))
    trainer.fit(task, datamodule=ToyData())
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {
        "history.json",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "surrogate/model.safetensors",
        "surrogate/surrogate.json",
        "surrogate/README.md",
    }
    surrogate = pdeflow.load(tmp_path)
    best = torch.load(tmp_path / "checkpoints/best.ckpt", weights_only=True)
    for key, value in surrogate.model.state_dict().items():
        assert torch.equal(value, best["state_dict"][f"model.{key}"])
    history = json.loads((tmp_path / "history.json").read_text())
    assert surrogate.metrics["valid/l2"] == pytest.approx(min(row["valid/l2"] for row in history))
    assert surrogate.grid is not None
    assert surrogate.grid.points == (8, 8)


@pytest.mark.parametrize("validated", [True, False])
def test_a_surrogate_has_the_normalisation_of_its_weights(tmp_path: Path, validated: bool) -> None:
    """Not that of the task, which may have been set from elsewhere."""
    import pdeflow

    other = replace(STATISTICS, input_mean=(7.0,), target_std=(11.0,))

    class Swap(lightning.Callback):
        def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
            assert isinstance(pl_module, TrainingTask)
            pl_module.normalisation = other

    task, limits = toy_task(), {} if validated else {"limit_val_batches": 0}
    trainer = toy_trainer(tmp_path, 1, [Swap(), *default_callbacks(tmp_path)], **limits)
    trainer.fit(task, datamodule=ToyData())
    assert (tmp_path / "checkpoints/best.ckpt").is_file() == validated
    surrogate = pdeflow.load(tmp_path)
    assert surrogate.normalisation == STATISTICS
    x = torch.randn(2, 1, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(surrogate(x), task.cpu()(x))


def test_an_operator_of_ones_own_trains_without_a_surrogate(tmp_path: Path) -> None:
    class Own(FNO):
        pass

    task = TrainingTask(Own(modes=[4, 4], width=4, layers=1))
    with pytest.warns(UserWarning, match=r"Own is not of pdeflow\.operators"):
        toy_trainer(tmp_path, 1, default_callbacks(tmp_path)).fit(task, datamodule=ToyData())
    assert (tmp_path / "checkpoints/best.ckpt").is_file()
    assert not (tmp_path / "surrogate").exists()


def test_best_is_the_smallest_validation_error(tmp_path: Path) -> None:
    """A learning rate that ruins the model later leaves the early best in place."""

    def ruin(optimizer: torch.optim.Optimizer) -> torch.optim.lr_scheduler.LRScheduler:
        return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1.0 if epoch < 2 else 100.0)

    toy_trainer(tmp_path, 4).fit(toy_task(lr=5e-3, schedule=ruin), datamodule=ToyData())
    history = json.loads((tmp_path / "history.json").read_text())
    best = min(history, key=lambda row: row["valid/l2"])
    assert best["epoch"] < 3
    stored = torch.load(tmp_path / "checkpoints/best.ckpt", weights_only=True)
    assert stored["epoch"] == best["epoch"]
    assert torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)["epoch"] == 3


def test_weight_decay_and_clipping_reach_complex_weights(tmp_path: Path) -> None:
    task = toy_task()
    trainer = toy_trainer(tmp_path, 1, gradient_clip_val=0.1, accumulate_grad_batches=2)
    before = {name: value.clone() for name, value in task.model.named_parameters()}
    trainer.fit(task, datamodule=ToyData())
    for name, value in task.model.named_parameters():
        assert not torch.equal(value, before[name]), name
    assert isinstance(trainer, lightning.Trainer)
