"""A run from its config to predictions: folders, resuming, overrides, what is written and printed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture
def fit(pdeflow, darcy_file, tiny):
    """``fit(*options)`` trains darcy_fno for two epochs on the tiny data."""

    def call(*options):
        result = pdeflow(
            "fit", "-c", "darcy_fno", f"--data.path={darcy_file}", *tiny, "--trainer.max_epochs=2", *options
        )
        assert result.code == 0, result.err
        return result

    return call


def config_of(run: Path) -> dict:
    return yaml.safe_load((run / "config.yaml").read_text())


def test_run_folder_holds_all_of_a_run(fit, tmp_path):
    result = fit()
    run = tmp_path / "runs" / "darcy_fno"
    for name in ("config.yaml", "checkpoints/last.ckpt", "checkpoints/best.ckpt", "history.json"):
        assert (run / name).is_file()
    assert (run / "surrogate" / "model.safetensors").is_file()
    assert list((run / "tensorboard").glob("events*"))
    assert len(json.loads((run / "history.json").read_text())) == 2
    assert "runs/darcy_fno" in result.out
    assert "epoch 2/2" in result.out
    assert "Next: pdeflow test runs/darcy_fno" in result.out
    trained = next(line for line in result.out.splitlines() if line.startswith("Trained"))
    assert trained.startswith("Trained 2 epochs. valid/h1 ")
    assert "valid/loss" not in trained  # it is H1 again
    assert "checkpoints/{best,last}.ckpt" in result.out
    assert "warn" not in result.err.lower()


def test_config_of_the_run_is_whole_and_repeats_it(fit, pdeflow, tmp_path):
    fit("--optimizer.lr=0.005")
    config = config_of(tmp_path / "runs" / "darcy_fno")
    assert config["seed_everything"] == 0
    assert config["model"]["init_args"]["width"] == 8
    assert config["optimizer"]["init_args"]["lr"] == 0.005
    assert config["trainer"]["max_epochs"] == 2
    assert pdeflow("fit", "-c", "runs/darcy_fno/config.yaml", "--run", "again").code == 0
    first, second = (
        [row["train/loss"] for row in json.loads((tmp_path / "runs" / name / "history.json").read_text())]
        for name in ("darcy_fno", "again")
    )
    assert first == second


def test_existing_run_is_never_written_into(fit, tmp_path):
    fit()
    before = (tmp_path / "runs/darcy_fno/history.json").read_text()
    result = fit()
    assert "darcy_fno exists already, so this run is runs/darcy_fno-2" in result.out
    third = fit("--trainer.max_epochs=1").out
    assert "runs/darcy_fno-3" in third
    assert "Trained 1 epoch." in third
    assert (tmp_path / "runs/darcy_fno/history.json").read_text() == before


def test_run_option_gives_name_or_folder(fit, tmp_path):
    fit("--run", "mine", "--trainer.max_epochs=1")
    fit("--run", "else/where", "--trainer.max_epochs=1")
    assert (tmp_path / "runs" / "mine" / "config.yaml").is_file()
    assert (tmp_path / "else" / "where" / "config.yaml").is_file()


def test_options_win_over_the_config_wherever_they_stand(pdeflow, tmp_path, darcy_file, tiny):
    result = pdeflow("fit", "--trainer.max_epochs=1", *tiny, f"--data.path={darcy_file}", "-c", "darcy_fno")
    assert result.code == 0, result.err
    assert config_of(tmp_path / "runs" / "darcy_fno")["trainer"]["max_epochs"] == 1


def test_channels_follow_the_data(fit, tmp_path):
    fit("--data.inputs=[a,u]", "--trainer.max_epochs=1")
    assert config_of(tmp_path / "runs" / "darcy_fno")["model"]["init_args"]["in_channels"] == 2


def test_resume_gives_what_an_uninterrupted_run_gives(fit, pdeflow, tmp_path):
    fit("--run", "whole", "--lr_scheduler=null", "--trainer.max_epochs=4")
    fit("--run", "parts", "--lr_scheduler=null")
    result = pdeflow("fit", "--resume", "parts")
    assert result.code == 2
    assert result.is_short
    assert "trainer.max_epochs" in result.err
    result = pdeflow("fit", "--resume", "runs/parts", "--trainer.max_epochs=4")
    assert result.code == 0, result.err
    assert "going on with runs/parts" in result.out
    whole, parts = (
        [
            {key: row[key] for key in ("epoch", "step", "train/loss", "valid/l2")}
            for row in json.loads((tmp_path / "runs" / name / "history.json").read_text())
        ]
        for name in ("whole", "parts")
    )
    assert whole == parts
    assert config_of(tmp_path / "runs" / "parts")["trainer"]["max_epochs"] == 4


def test_resume_takes_no_other_config(fit, pdeflow):
    fit("--trainer.max_epochs=1")
    result = pdeflow("fit", "--resume", "darcy_fno", "-c", "darcy_tfno")
    assert result.code == 2
    assert result.is_short


def test_fast_dev_run_leaves_nothing(fit, tmp_path):
    result = fit("--trainer.fast_dev_run=true")
    assert "the config works" in result.out
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("loss", [("Sobolev", "--objective.loss.order=-0.5"), ("Spectral",)])
def test_losses_of_modes_are_known_by_name(fit, loss):
    name, *arguments = loss
    fit(f"--objective.loss={name}", *arguments, "--trainer.fast_dev_run=true")


def test_defaults_are_those_of_the_class_that_is_named(pdeflow):
    """AdamW, which the parser has by default, decays weights; SGD and Adam do not unless they are told to."""
    for options, decay in (
        (("--optimizer=SGD",), 0.0),
        (("--optimizer=Adam",), 0.0),
        (("--optimizer=Adam", "--optimizer.weight_decay=0.3"), 0.3),
        (("--optimizer.lr=0.1",), 0.01),
    ):
        result = pdeflow("fit", "-c", "darcy_fno", *options, "--print_config")
        assert result.code == 0, result.err
        assert yaml.safe_load(result.out)["optimizer"]["init_args"]["weight_decay"] == decay, options


def test_print_config(pdeflow):
    result = pdeflow("fit", "-c", "darcy_fno", "--print_config", "--model.width=7")
    assert result.code == 0
    assert yaml.safe_load(result.out)["model"]["init_args"]["width"] == 7


@pytest.mark.parametrize("word", ["--model.help=FNO", "--data.help=GridData", "--optimizer.help=AdamW"])
def test_help_of_one_class(pdeflow, word):
    result = pdeflow("fit", word)
    assert result.code == 0
    assert {"FNO": "width", "GridData": "batch_size", "AdamW": "weight_decay"}[
        word.split("=")[1]
    ] in result.out


def test_own_callback_takes_the_place_of_the_usual_one(pdeflow, tmp_path, darcy_file, tiny):
    config = yaml.safe_load((ROOT / "configs" / "darcy_fno.yaml").read_text())
    config["trainer"] = {
        "max_epochs": 2,
        "logger": {"class_path": "CSVLogger", "init_args": {"save_dir": "logs"}},
        "callbacks": [{"class_path": "Checkpoints", "init_args": {"folder": "elsewhere"}}],
    }
    (tmp_path / "own.yaml").write_text(yaml.safe_dump(config))
    result = pdeflow("fit", "-c", "own.yaml", f"--data.path={darcy_file}", *tiny)
    assert result.code == 0, result.err
    assert (tmp_path / "elsewhere" / "checkpoints" / "last.ckpt").is_file()
    assert not (tmp_path / "runs" / "own" / "checkpoints").exists()
    assert "{best,last}" not in result.out
    assert not (tmp_path / "runs" / "own" / "tensorboard").exists()
    assert list((tmp_path / "logs").rglob("metrics.csv"))


def test_any_torch_schedule_and_optimiser(fit, tmp_path):
    fit("--optimizer=SGD", "--optimizer.lr=0.01", "--lr_scheduler=ExponentialLR", "--lr_scheduler.gamma=0.5")
    rows = json.loads((tmp_path / "runs/darcy_fno/history.json").read_text())
    assert rows[1]["lr"] == pytest.approx(rows[0]["lr"] / 2)


def test_test_validate_report(fit, pdeflow, tmp_path):
    fit()
    result = pdeflow("test", "darcy_fno")
    assert result.code == 0, result.err
    run = tmp_path / "runs" / "darcy_fno"
    metrics = json.loads((run / "test" / "metrics.json").read_text())
    assert set(metrics) == {"9x9", "17x17"}
    assert f"{metrics['9x9']['l2']:.4g}" in result.out
    assert (run / "report.html").is_file()
    assert "warn" not in result.err.lower()
    history = (run / "history.json").read_text()

    assert pdeflow("test", "runs/darcy_fno", "--data.test_resolutions=[9]", "--ckpt", "last").code == 0
    assert set(json.loads((run / "test" / "metrics.json").read_text())) == {"9x9"}
    assert (run / "history.json").read_text() == history

    result = pdeflow("validate", "runs/darcy_fno", "--ckpt", "last")
    assert result.code == 0, result.err
    assert f"{json.loads(history)[-1]['valid/l2']:.4g}" in result.out

    (run / "report.html").unlink()
    result = pdeflow("report", "darcy_fno")
    assert result.code == 0, result.err
    assert (run / "report.html").is_file()


def test_a_run_that_contradicts_the_grid_of_its_data_is_tested_all_the_same(fit, pdeflow):
    """As runs could be that were trained before this was refused."""
    fit("--trainer.max_epochs=1")
    result = pdeflow("test", "darcy_fno", "--model.positions=periodic")
    assert result.code == 0, result.err


def test_checkpoint_that_is_missing_or_damaged(fit, pdeflow, tmp_path):
    fit("--trainer.max_epochs=1")
    best = tmp_path / "runs" / "darcy_fno" / "checkpoints" / "best.ckpt"
    whole = best.read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"nonsense"):
        best.write_bytes(content)
        result = pdeflow("test", "darcy_fno")
        assert result.code == 1
        assert result.is_short, result.err
        assert "best.ckpt" in result.err
    best.unlink()
    result = pdeflow("test", "darcy_fno")
    assert result.code == 2
    assert "last.ckpt" in result.err
    assert "Give --ckpt last." in result.err
    assert pdeflow("test", "darcy_fno", "--ckpt", "last").code == 0


def test_a_run_without_validation_is_tested_with_its_last_checkpoint(fit, pdeflow, tmp_path):
    result = fit("--trainer.max_steps=2")
    assert "Trained 2 steps. There was no validation." in result.out
    assert "epoch 1/2 " in result.out
    assert "ended before its last batch" in result.out
    told = "runs/darcy_fno: there was no validation, so there is no best checkpoint; the last is taken."
    for verb in ("test", "validate"):
        result = pdeflow(verb, "darcy_fno")
        assert result.code == 0, result.err
        assert told in result.out
        assert told not in pdeflow(verb, "darcy_fno", "--ckpt", "last").out
    result = pdeflow("test", "darcy_fno", "--ckpt", "best")
    assert (result.code, result.is_short) == (2, True)
    assert "Give --ckpt last." in result.err


def test_an_ensemble_without_validation(fit, pdeflow):
    fit("--ensemble=2", "--trainer.max_steps=2")
    result = pdeflow("test", "darcy_fno")
    assert result.code == 0, result.err
    assert result.out.startswith("runs/darcy_fno: there was no validation")


def test_predict(fit, pdeflow, tmp_path, darcy_file):
    from pdeflow import load
    from pdeflow.data import WellReader, WellWriter

    fit()
    for name in ("out.h5", "out.npz"):
        result = pdeflow("predict", "darcy_fno", darcy_file, "-o", name)
        assert result.code == 0, result.err
    with WellReader(darcy_file) as reader:
        a = reader.read("a", slice(None))
    expected = load(tmp_path / "runs" / "darcy_fno")(a)
    with WellReader("out.h5") as reader:
        assert reader.steady
        assert reader.grid.points == (17, 17)
        np.testing.assert_allclose(reader.read("u", slice(None))[:, -1], expected, rtol=1e-5)
    np.testing.assert_allclose(np.load("out.npz")["u"], expected, rtol=1e-5)

    with WellReader(darcy_file) as reader:
        grid, u = reader.grid, reader.read("u", slice(None))
    status = np.zeros(40, "int8")
    status[[0, 7]], u[[0, 7]] = 3, np.nan
    with WellWriter(
        "failed.h5",
        name="failed",
        grid=grid,
        n=40,
        fields={"u": 0},
        constant_fields={"a": 0},
        times=(0.0, 1.0),
        attributes={"steady": True},
        diagnostics={"status": "int8"},
    ) as writer:
        writer.write(0, {"a": a, "u": u, "status": status})
    result = pdeflow("predict", "darcy_fno", "failed.h5", "-o", "of_failed.npz")
    assert result.code == 0, result.err
    np.testing.assert_allclose(np.load("of_failed.npz")["u"], expected, rtol=1e-5)

    np.savez("in.npz", a=a)
    np.save("in.npy", a[:, None])
    np.save("one.npy", a[3])
    for source, rows in (("in.npz", slice(None)), ("in.npy", slice(None)), ("one.npy", slice(3, 4))):
        result = pdeflow("predict", "runs/darcy_fno/surrogate", source, "-o", "out.npz", "--overwrite")
        assert result.code == 0, result.err
        np.testing.assert_allclose(np.load("out.npz")["u"], expected[rows], rtol=1e-5)


def test_predict_refuses(fit, pdeflow, tmp_path, darcy_file):
    fit("--trainer.max_epochs=1")
    np.savez("no_a.npz", b=np.zeros((2, 17, 17)))
    np.save("axes.npy", np.zeros(17))
    np.save("code.npy", np.array([print, None], dtype=object), allow_pickle=True)
    (tmp_path / "x.txt").touch()
    for source, output, code, word in (
        ("no_a.npz", "o.npz", 2, "'a'"),
        ("axes.npy", "o.npz", 2, "(17,)"),
        ("code.npy", "o.npz", 1, "code.npy"),
        ("x.txt", "o.npz", 2, "x.txt"),
        (darcy_file, "o.csv", 2, "o.csv"),
        ("axes.npy", "o.h5", 2, "o.h5"),
        ("nothing.h5", "o.h5", 1, "nothing.h5"),
    ):
        result = pdeflow("predict", "darcy_fno", source, "-o", output)
        assert result.code == code, result.err
        assert result.is_short, result.err
        assert word in result.err
        assert not Path(output).exists()


@pytest.mark.slow
def test_interrupt_says_how_to_go_on_and_it_does(tmp_path, darcy_file, tiny, shell):
    command = [sys.executable, "-m", "pdeflow", "fit", "-c", "darcy_fno", f"--data.path={darcy_file}", *tiny]
    command += ["--trainer.max_epochs=100000", "--lr_scheduler=null"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    history = tmp_path / "runs" / "darcy_fno" / "history.json"
    deadline = time.monotonic() + 60
    while not history.is_file() and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "pdeflow fit --resume runs/darcy_fno" in err
    assert "Traceback" not in err
    done = len(json.loads(history.read_text()))
    result = shell("fit", "--resume", "runs/darcy_fno", f"--trainer.max_epochs={done + 2}")
    assert result.code == 0, result.err
    assert [row["epoch"] for row in json.loads(history.read_text())] == list(range(done + 2))


@pytest.mark.slow
def test_two_processes_share_one_run_folder(shell, tmp_path, darcy_file, tiny):
    options = ["--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.accelerator=cpu"]
    result = shell(
        "fit", "-c", "darcy_fno", f"--data.path={darcy_file}", *tiny, "--trainer.max_epochs=2", *options
    )
    assert result.code == 0, result.err
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["darcy_fno"]
    assert result.out.count("Next: pdeflow test") == 1
    assert len(json.loads((tmp_path / "runs/darcy_fno/history.json").read_text())) == 2
