"""What goes wrong says what and where, and leaves what was there."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from toy import ToyData, toy_task, toy_trainer

from pdeflow.errors import CorruptFile, InvalidInput, NumericalFailure, UnsafeFile
from pdeflow.training import Checkpoints
from pdeflow.training.checkpoint_io import SafeCheckpointIO, load_checkpoint


class Spoiled(ToyData):
    """Data in which one sample of training is not what it should be."""

    def __init__(self, what: str, value: float) -> None:
        super().__init__()
        self.what, self.value = what, value

    def train_dataloader(self) -> Any:
        loader = super().train_dataloader()
        values = getattr(loader.dataset, f"{self.what}s")
        values[13] = self.value
        return loader


@pytest.mark.parametrize(
    ("what", "value", "said"),
    [
        ("input", float("nan"), "input of samples 13 holds NaN"),
        ("target", float("inf"), "target of samples 13 holds NaN"),
        ("target", 0.0, "target of samples 13 is zero everywhere"),
    ],
)
def test_bad_samples_are_named(tmp_path: Path, what: str, value: float, said: str) -> None:
    with pytest.raises(NumericalFailure, match=said):
        toy_trainer(tmp_path, 1).fit(toy_task(), datamodule=Spoiled(what, value))
    assert not (tmp_path / "checkpoints").exists()


def test_divergence_stops_before_the_checkpoint(tmp_path: Path) -> None:
    def explode(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=1e30)

    said = r"epoch 1, batch [1-6],.*(?s:.)*diverged \(learning rate 1e\+30\)"
    with pytest.raises(NumericalFailure, match=said) as caught:
        toy_trainer(tmp_path, 5).fit(toy_task(optimizer=explode), datamodule=ToyData())
    assert "gradient_clip_val" in str(caught.value)
    assert not (tmp_path / "checkpoints").exists()


class Payload:
    """Runs code when unpickled, if anyone lets it."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


def test_a_checkpoint_with_code_is_refused(tmp_path: Path) -> None:
    toy_trainer(tmp_path, 1).fit(toy_task(), datamodule=ToyData())
    path = tmp_path / "checkpoints/last.ckpt"
    content = torch.load(path, weights_only=True)
    torch.save({**content, "extra": Payload(tmp_path / "ran")}, path)
    with pytest.raises(UnsafeFile, match="could run code"):
        toy_trainer(tmp_path, 2).fit(toy_task(), datamodule=ToyData(), ckpt_path=path)
    with pytest.raises(UnsafeFile, match="could run code"):
        # Whoever asks for unsafe loading does not get it either.
        SafeCheckpointIO().load_checkpoint(path, weights_only=False)
    assert not (tmp_path / "ran").exists()


def test_damaged_checkpoints(tmp_path: Path) -> None:
    toy_trainer(tmp_path, 1).fit(toy_task(), datamodule=ToyData())
    path = tmp_path / "checkpoints/last.ckpt"
    whole = path.read_bytes()
    damaged = tmp_path / "damaged.ckpt"
    for content in (b"", b"hello", whole[: len(whole) // 2], whole[:-200]):
        damaged.write_bytes(content)
        with pytest.raises(CorruptFile, match=r"damaged\.ckpt"):
            load_checkpoint(damaged)
    with pytest.raises(InvalidInput, match="an existing file"):
        load_checkpoint(tmp_path / "none.ckpt")


def test_no_flipped_bit_goes_unseen(tmp_path: Path) -> None:
    """Spread over the file: a flip is refused, or is in bytes that nobody reads."""
    path = tmp_path / "a.ckpt"
    values = torch.arange(512.0)
    torch.save({"state_dict": {"a": values}, "epoch": 3}, path)
    whole = path.read_bytes()
    weights = whole.index(values.numpy().tobytes())
    for position in (weights, weights + 1001, weights + 2047, *range(0, len(whole), 7)):
        flipped = bytearray(whole)
        flipped[position] ^= 1 << position % 8
        path.write_bytes(flipped)
        try:
            content = load_checkpoint(path)
        except (CorruptFile, UnsafeFile):
            continue
        assert not weights <= position < weights + 2048
        assert content["epoch"] == 3, position
        assert torch.equal(content["state_dict"]["a"], values), position
    flipped = bytearray(whole)
    flipped[weights + 5] ^= 16
    path.write_bytes(flipped)
    with pytest.raises(CorruptFile, match="checksum of its entry 'a/data/0'"):
        load_checkpoint(path)


def test_a_compressed_checkpoint_is_refused(tmp_path: Path) -> None:
    path, packed = tmp_path / "a.ckpt", tmp_path / "packed.ckpt"
    torch.save({"state_dict": {"a": torch.zeros(512)}}, path)
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(UnsafeFile, match=r"packed\.ckpt.*compressed entries"):
        load_checkpoint(packed)


def test_a_broken_write_keeps_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last.ckpt"
    store = SafeCheckpointIO()
    store.save_checkpoint({"state_dict": {"a": torch.ones(3)}}, path)

    def fail(*_: object) -> None:
        raise OSError(28, "the disk is full left on device")

    monkeypatch.setattr("torch.save", fail)
    with pytest.raises(OSError, match="the disk is full"):
        store.save_checkpoint({}, path)
    assert load_checkpoint(path)["state_dict"]["a"].tolist() == [1.0, 1.0, 1.0]


def test_a_monitor_that_nobody_logs(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"(?s)Checkpoints.monitor: got 'valid/l3'.*valid/l2"):
        toy_trainer(tmp_path, 1, [Checkpoints(monitor="valid/l3")]).fit(toy_task(), datamodule=ToyData())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_validation_that_is_no_number_stops(tmp_path: Path, value: float) -> None:
    class BadValidation(ToyData):
        def val_dataloader(self) -> Any:
            loader: Any = super().val_dataloader()
            loader.dataset.inputs[2] = value
            return loader

    said = r"(?s)valid/l2: got (nan|inf) in epoch 1, expected a finite number.*pdeflow inspect.*learning rate"
    with pytest.raises(NumericalFailure, match=said):
        toy_trainer(tmp_path, 2).fit(toy_task(), datamodule=BadValidation())
    assert not (tmp_path / "checkpoints").exists()


def test_a_resolution_the_model_cannot_take(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"at least 4 points for 4 modes"):
        toy_trainer(tmp_path, callbacks=[]).test(toy_task(), datamodule=ToyData(test_points=(3,)))


def test_fast_dev_run_leaves_nothing(tmp_path: Path) -> None:
    trainer: lightning.Trainer = toy_trainer(tmp_path, 1, fast_dev_run=True)
    trainer.fit(toy_task(), datamodule=ToyData())
    assert not (tmp_path / "checkpoints").exists()
