"""A run that is killed and resumed gives the losses of one that was left alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from grid_run import write_data
from toy import STATISTICS, ToyData, toy_task, toy_trainer

from pdeflow.data import GridData
from pdeflow.errors import InvalidInput
from pdeflow.training import Checkpoints, History, NonFiniteLoss, OneCycle, RandomState


def rows(folder: Path) -> list[dict[str, float]]:
    """The history without what a clock decides."""
    history = json.loads((folder / "history.json").read_text())
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history]


def callbacks(every_steps: int | None = None) -> list[object]:
    return [RandomState(), NonFiniteLoss(), History(), Checkpoints(every_steps=every_steps)]


class Stop(Exception):
    pass


class StopAt:
    """Raises at a global step, as an interruption would; a Lightning callback made in place."""

    def __new__(cls, step: int):
        from lightning.pytorch import Callback

        class _Stop(Callback):
            def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
                if trainer.global_step == step:
                    raise Stop

        return _Stop()


@pytest.mark.parametrize("schedule", [None, OneCycle()])
@pytest.mark.parametrize("stop", [6, 13, 17])
def test_resume_repeats_every_digit(tmp_path: Path, schedule: OneCycle | None, stop: int) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    torch.manual_seed(0)
    task = toy_task(schedule=schedule)
    toy_trainer(whole, 4, callbacks()).fit(task, datamodule=ToyData())

    interrupted = toy_task(schedule=schedule)
    with pytest.raises(Stop):
        toy_trainer(broken, 4, [*callbacks(), StopAt(stop)]).fit(interrupted, datamodule=ToyData())
    torch.manual_seed(999)
    resumed = toy_task(lr=0.5, schedule=schedule)
    toy_trainer(broken, 4, callbacks()).fit(
        resumed, datamodule=ToyData(), ckpt_path=broken / "checkpoints/last.ckpt"
    )
    assert rows(broken) == rows(whole)
    for name, value in task.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


@pytest.mark.parametrize("stop", [1, 4, 5, 8])
def test_resume_inside_an_epoch(tmp_path: Path, stop: int) -> None:
    """With GridData, whose loader knows its place, from a checkpoint in mid-epoch."""
    file = tmp_path / "toy.h5"
    write_data(file)
    whole, broken = tmp_path / "whole", tmp_path / "broken"

    def data() -> GridData:
        return GridData(str(file), ["a"], ["u"], batch_size=4, split=(0.5, 0.25, 0.25))

    task = toy_task(schedule=OneCycle())
    toy_trainer(whole, 3, callbacks()).fit(task, datamodule=data())
    with pytest.raises(Stop):
        toy_trainer(broken, 3, [*callbacks(every_steps=1), StopAt(stop)]).fit(
            toy_task(schedule=OneCycle()), datamodule=data()
        )
    torch.manual_seed(999)
    resumed = toy_task(lr=0.5, schedule=OneCycle())
    toy_trainer(broken, 3, callbacks(every_steps=1)).fit(
        resumed, datamodule=data(), ckpt_path=broken / "checkpoints/last.ckpt"
    )
    assert rows(broken) == rows(whole)
    for name, value in task.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


class Changed(ToyData):
    """The data of a run, made anew since it began."""

    normalisation = replace(STATISTICS, target_mean=(-1.5,))


def test_other_data_are_not_resumed_with(tmp_path: Path) -> None:
    toy_trainer(tmp_path, 1).fit(toy_task(), datamodule=ToyData())
    last = tmp_path / "checkpoints/last.ckpt"
    before = last.read_bytes()
    said = r"(?s)normalisation.target_mean: got \(-1.5,\), expected \(-1.0,\).*start a new run"
    with pytest.raises(InvalidInput, match=said):
        toy_trainer(tmp_path, 2).fit(toy_task(), datamodule=Changed(), ckpt_path=last)
    assert last.read_bytes() == before
    # A test on other data is no reason to refuse.
    task = toy_task()
    toy_trainer(tmp_path, callbacks=[]).test(task, datamodule=Changed(), ckpt_path=last, verbose=False)
    assert task.normaliser.target_mean.tolist() == [-1.0]


def test_round_off_of_the_statistics_is_no_change(tmp_path: Path) -> None:
    class Elsewhere(ToyData):
        normalisation = replace(STATISTICS, input_mean=(0.5 + 1e-7,), target_std=(3.0 - 3e-7,))

    toy_trainer(tmp_path, 1).fit(toy_task(), datamodule=ToyData())
    resumed = toy_task()
    toy_trainer(tmp_path, 2).fit(
        resumed, datamodule=Elsewhere(), ckpt_path=tmp_path / "checkpoints/last.ckpt"
    )
    assert resumed.normaliser.target_std.tolist() == [3.0]
