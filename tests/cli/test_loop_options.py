"""Mixed precision, clipping, accumulation, averaged weights, compilation, processes: from the config."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import pdeflow as package
from pdeflow.training.checkpoint_io import load_checkpoint

PLAIN_SGD = ("--optimizer=SGD", "--optimizer.weight_decay=0", "--lr_scheduler=null", "--trainer.max_epochs=1")
EMA = "--trainer.callbacks+=EMAWeightAveraging"


@pytest.fixture
def fit(pdeflow, darcy_file, tiny):
    """``fit(run, *options)`` trains darcy_fno on the tiny data."""

    def call(run, *options):
        arguments = (f"--data.path={darcy_file}", *tiny, "--trainer.max_epochs=2", "--run", run, *options)
        result = pdeflow("fit", "-c", "darcy_fno", *arguments)
        assert result.code == 0, result.err
        return result

    return call


def losses(run: str) -> list[float]:
    rows = json.loads(Path("runs", run, "history.json").read_text())
    return [row[key] for row in rows for key in ("train/loss", "valid/l2")]


def weights(run: str) -> dict[str, torch.Tensor]:
    return load_file(Path("runs", run, "surrogate/model.safetensors"))


def difference(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """The Euclidean distance."""
    return sum((a[name] - b[name]).abs().square().sum().item() for name in a) ** 0.5


def test_mixed_precision(fit):
    """Half precision is in the products and nowhere else; the spectral path keeps float32."""
    fit("plain")
    fit("mixed", "--trainer.precision=bf16-mixed")
    assert losses("mixed") != losses("plain")
    assert losses("mixed") == pytest.approx(losses("plain"), rel=5e-3)
    kinds = {value.dtype for value in weights("mixed").values()}
    assert kinds == {torch.float32, torch.complex64}


def test_double_precision(fit, pdeflow):
    """What it leaves behind computes in double precision too."""
    fit("plain")
    fit("double", "--trainer.precision=64-true")
    assert losses("double") == pytest.approx(losses("plain"), rel=1e-3)
    surrogate = package.load("runs/double")
    assert surrogate.dtype == torch.float64
    x = torch.rand(2, 1, *surrogate.grid.points)
    torch.testing.assert_close(surrogate(x), package.load("runs/plain")(x), rtol=1e-2, atol=1e-3)
    assert pdeflow("test", "double").code == 0


def test_gradient_clipping(fit):
    """Plain gradient descent then moves by no more than rate times clip a step, and there are four."""
    fit("start", *PLAIN_SGD, "--optimizer.lr=0")
    fit("free", *PLAIN_SGD, "--optimizer.lr=1")
    fit("clipped", *PLAIN_SGD, "--optimizer.lr=1", "--trainer.gradient_clip_val=1e-3")
    start = weights("start")
    assert difference(weights("free"), start) > 0.01
    assert 0.002 < difference(weights("clipped"), start) < 0.00401


def test_accumulation_is_a_larger_batch(fit):
    fit("parts", "--trainer.accumulate_grad_batches=2")
    fit("whole", "--data.batch_size=16")
    assert losses("parts") == pytest.approx(losses("whole"), rel=1e-4)
    assert load_checkpoint("runs/parts/checkpoints/last.ckpt")["global_step"] == 4


def test_averaged_weights_are_what_is_saved(fit, pdeflow):
    fit("plain")
    # An average that forgets everything is the last weights.
    fit("forgets", EMA, "--trainer.callbacks.decay=0")
    assert losses("forgets") == losses("plain")
    fit("average", EMA, "--trainer.callbacks.decay=0.9")
    assert losses("average")[0] == losses("plain")[0]
    assert losses("average")[1] != losses("plain")[1]
    state = load_checkpoint("runs/average/checkpoints/best.ckpt")
    saved = weights("average")
    for name, value in saved.items():
        assert torch.equal(value, state["state_dict"][f"model.{name}"]), name
    trained = {name: state["current_model_state"][f"model.{name}"] for name in saved}
    torch.testing.assert_close(trained, weights("plain"))
    assert difference(trained, saved) > 1e-3
    assert package.load("runs/average").metrics["valid/l2"] == pytest.approx(min(losses("average")[1::2]))
    assert pdeflow("test", "average").code == 0


def test_averages_go_on_when_resumed(fit, pdeflow):
    options = (EMA, "--trainer.callbacks.decay=0.9", "--lr_scheduler=null")
    fit("whole", *options, "--trainer.max_epochs=3")
    fit("parts", *options, "--trainer.max_epochs=1")
    assert pdeflow("fit", "--resume", "parts", "--trainer.max_epochs=3").code == 0
    assert losses("parts") == losses("whole")
    assert difference(weights("parts"), weights("whole")) == 0


@pytest.mark.slow
def test_compiled(fit, pdeflow):
    """The same numbers to round-off, the same names in the checkpoint, resumed with and without."""
    options = ("--lr_scheduler=null", "--trainer.max_epochs=1")
    fit("plain", *options)
    result = fit("compiled", *options, "--compile=true")
    assert losses("compiled") == pytest.approx(losses("plain"), rel=1e-4)
    states = [load_checkpoint(f"runs/{run}/checkpoints/last.ckpt") for run in ("plain", "compiled")]
    assert states[0]["state_dict"].keys() == states[1]["state_dict"].keys()
    assert set(weights("compiled")) == set(weights("plain"))
    result = pdeflow("fit", "--resume", "compiled", "--compile=false", "--trainer.max_epochs=2")
    assert result.code == 0, result.err
    assert pdeflow("test", "compiled").code == 0


@pytest.mark.slow
def test_two_processes_are_one_with_twice_the_batch(fit, shell, darcy_file, tiny):
    fit("one", "--data.batch_size=16")
    options = ("--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.strategy=ddp")
    result = shell(
        "fit",
        "-c",
        "darcy_fno",
        f"--data.path={darcy_file}",
        *tiny,
        "--trainer.max_epochs=2",
        "--run",
        "two",
        *options,
    )
    assert result.code == 0, result.err
    assert losses("two") == pytest.approx(losses("one"), rel=1e-4)
    assert difference(weights("two"), weights("one")) < 1e-3
