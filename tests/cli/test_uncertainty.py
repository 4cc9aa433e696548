"""Ensembles and variances from a config to a report."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

import pdeflow as package
from pdeflow.cli.rewrite import made_of_operators
from pdeflow.errors import InvalidInput
from pdeflow.operators import Ensemble, MeanVariance

SCORES = {"nll", "crps", "coverage_1std", "coverage_2std", "calibration"}

# Members that give no variance, validated as those of darcy_fno are.
PLAIN = ("--objective=Supervised", "--objective.loss=H1", "--trainer.callbacks=null")


@pytest.fixture
def fit(pdeflow, darcy_file, tiny):
    """``fit(config, run, *options)`` trains on the tiny data."""

    def call(config, run, *options):
        arguments = (f"--data.path={darcy_file}", *tiny, "--trainer.max_epochs=2", "--run", run, *options)
        return pdeflow("fit", "-c", config, *arguments)

    return call


def files(run: str, *names: str) -> list[Path]:
    return [Path("runs", run, name) for name in names]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "surrogate/model.safetensors")


def test_variance_from_config_to_report(pdeflow, fit, darcy_file):
    result = fit("darcy_fno_variance", "variance")
    assert result.code == 0, result.err
    surrogate = package.load("runs/variance")
    assert isinstance(surrogate.model, MeanVariance)
    assert repr(surrogate).startswith("Surrogate(FNO with variance: a -> u")

    result = pdeflow("predict", "runs/variance", darcy_file, "-o", "out.h5")
    assert result.code == 0, result.err
    with h5py.File(darcy_file, locking=False) as data, h5py.File("out.h5", locking=False) as out:
        a = data["t0_fields/a"][:]
        mean, std = (out[f"t0_fields/{name}"][:, 1] for name in ("u", "u_std"))
    expected = surrogate.predict_with_std(a)
    np.testing.assert_allclose(mean, expected[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(std, expected[1], rtol=1e-5, atol=1e-6)
    assert (std > 0).all()

    result = pdeflow("test", "runs/variance")
    assert result.code == 0, result.err
    metrics = json.loads(Path("runs/variance/test/metrics.json").read_text())
    assert set(metrics["17x17"]) >= SCORES
    assert "0.683 expected" in result.out
    page = Path("runs/variance/report.html").read_text()
    assert page.count("<h3>Calibration</h3>") == len(metrics)
    # A checkpoint of the config's own callback is the one of the best likelihood.
    rows = json.loads(Path("runs/variance/history.json").read_text())
    assert surrogate.metrics["valid/loss"] == pytest.approx(min(row["valid/loss"] for row in rows), rel=1e-6)


def test_ensemble_from_config_to_report(pdeflow, fit, darcy_file):
    result = fit("darcy_fno_ensemble", "three", "--ensemble=3", *PLAIN)
    assert result.code == 0, result.err
    assert "Member 3 of 3: Trained 2 epochs." in result.out
    run = Path("runs/three")
    parts = [run / "members" / str(number) for number in (1, 2, 3)]
    surrogate = package.load(run)
    assert isinstance(surrogate.model, Ensemble)

    a = torch.rand(5, 17, 17) + 1
    each = torch.stack([package.load(part)(a) for part in parts])
    mean, std = surrogate.predict_with_std(a)
    torch.testing.assert_close(mean, each.mean(0))
    torch.testing.assert_close(std, each.std(0, correction=0), rtol=1e-3, atol=1e-5)
    assert len({float(one.sum()) for one in each}) == 3

    # The first member is what a single model would be; the split is the same for all, the order is not.
    assert fit("darcy_fno", "alone").code == 0
    alone, first = weights(Path("runs/alone")), weights(parts[0])
    assert all(torch.equal(alone[name], first[name]) for name in alone)
    statistics = {str(package.load(part).normalisation) for part in parts}
    assert len(statistics) == 1

    histories = [json.loads((part / "history.json").read_text()) for part in parts]
    joint = json.loads((run / "history.json").read_text())
    losses = [[row["train/loss"] for row in rows] for rows in histories]
    assert [row["train/loss"] for row in joint] == pytest.approx(np.mean(losses, axis=0).tolist())

    result = pdeflow("test", "three")
    assert result.code == 0, result.err
    metrics = json.loads((run / "test/metrics.json").read_text())
    assert set(metrics["9x9"]) >= SCORES
    page = (run / "report.html").read_text()
    assert "members" in page
    assert page.count("<h3>Calibration</h3>") == len(metrics)
    # What is evaluated is the mean over the members, not one of them.
    one = pdeflow("validate", "three", "--ensemble=1", f"--ckpt={parts[0]}/checkpoints/best.ckpt")
    assert one.code == 0, one.err
    result = pdeflow("validate", "three")
    assert result.code == 0, result.err
    assert "3 members" in result.out
    assert result.out.splitlines()[1:] != one.out.splitlines()[1:]


def test_ensemble_of_variances(pdeflow, fit):
    assert fit("darcy_fno_ensemble", "both", "--ensemble=2").code == 0
    surrogate = package.load("runs/both")
    assert repr(surrogate).startswith("Surrogate(2 of FNO with variance: a -> u")
    members = [package.load(f"runs/both/members/{number}") for number in (1, 2)]
    a = np.random.default_rng(0).uniform(1, 2, (3, 17, 17))
    means, deviations = zip(*(member.predict_with_std(a) for member in members))
    mean, std = surrogate.predict_with_std(a)
    within, between = np.mean(np.square(deviations), axis=0), np.var(means, axis=0)
    np.testing.assert_allclose(mean, np.mean(means, axis=0), rtol=1e-5)
    np.testing.assert_allclose(std**2, within + between, rtol=1e-4)
    result = pdeflow("validate", "both")
    assert result.code == 0, result.err


def test_resume_goes_on_with_the_member_that_was_interrupted(pdeflow, fit):
    """An ensemble whose second member has one epoch of two, and whose third has none, ends like the whole."""
    shorter = "--lr_scheduler=null"  # so that an epoch does not know how many there will be
    assert fit("darcy_fno_ensemble", "whole", "--ensemble=3", shorter).code == 0
    assert fit("darcy_fno_ensemble", "cut", "--ensemble=3", shorter, "--trainer.max_epochs=1").code == 0
    cut, whole = Path("runs/cut"), Path("runs/whole")
    shutil.rmtree(cut / "surrogate")
    shutil.rmtree(cut / "members/1")
    shutil.copytree(whole / "members/1", cut / "members/1")
    shutil.rmtree(cut / "members/2/surrogate")
    shutil.rmtree(cut / "members/3")
    for folder in (cut, cut / "members/2"):
        with pytest.raises(InvalidInput, match=r"training has not ended.* --resume runs/cut;"):
            package.load(folder)
    result = pdeflow("fit", "--resume", "cut", "--trainer.max_epochs=2")
    assert result.code == 0, result.err
    assert "Member 1" not in result.out
    assert "Member 3 of 3" in result.out
    expected, found = weights(whole), weights(cut)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    result = pdeflow("fit", "--resume", "cut")
    assert result.code != 0
    assert "more than the 2 epochs that runs/cut has done" in result.err
    assert "Run: pdeflow fit --resume runs/cut --trainer.max_epochs=4" in result.err


STOPS_AT_ONCE = (
    '--trainer.callbacks=[{"class_path": "lightning.pytorch.callbacks.EarlyStopping", '
    '"init_args": {"monitor": "valid/l2", "stopping_threshold": 1000.0}}]'
)


@pytest.mark.parametrize("stopping", [(), (STOPS_AT_ONCE,)], ids=["by epochs", "early"])
def test_a_member_that_has_ended_goes_on_where_more_epochs_are_asked_for(pdeflow, fit, stopping):
    """The first member has ended, the second has not begun."""
    epochs = 3 if stopping else 1
    options = ("--objective=Supervised", "--lr_scheduler=null", "--trainer.callbacks=null", *stopping)
    assert (
        fit("darcy_fno_ensemble", "cut", "--ensemble=2", *options, f"--trainer.max_epochs={epochs}").code == 0
    )

    def cut() -> None:
        shutil.rmtree("runs/cut/surrogate")
        shutil.rmtree("runs/cut/members/2")

    def lengths() -> list[int]:
        return [
            len(json.loads(path.read_text()))
            for path in files("cut", *(f"members/{n}/history.json" for n in (1, 2)))
        ]

    cut()
    result = pdeflow("fit", "--resume", "cut")
    assert result.code == 0, result.err
    assert "Member 1" not in result.out
    assert "Member 2 of 2" in result.out
    assert lengths() == [1, 1]
    cut()
    result = pdeflow("fit", "--resume", "cut", "--trainer.max_epochs=4", "--trainer.callbacks=null")
    assert result.code == 0, result.err
    assert lengths() == [4, 4]
    surrogate = package.load("runs/cut")
    parts = [package.load(f"runs/cut/members/{number}").model.state_dict() for number in (1, 2)]
    for number, part in enumerate(parts):
        found = surrogate.model.members[number].state_dict()
        assert all(torch.equal(found[name], part[name]) for name in part)


def test_what_ensembles_and_variances_refuse(pdeflow, fit, darcy_file):
    for option, expected in (
        ("--ensemble=0", "ensemble"),
        ("--model.out_channels=1", "2, the channels of data.init_args.targets, each a mean and a variance"),
    ):
        result = fit("darcy_fno_variance", "no", option)
        assert result.code != 0
        assert result.is_short, result.err
        assert expected in result.err
    assert not Path("runs").exists()
    assert fit("darcy_fno_ensemble", "two", "--ensemble=2", "--trainer.max_epochs=1").code == 0
    result = pdeflow("test", "two", "--ckpt=some.ckpt")
    assert result.code != 0
    assert "best or last, because the run is an ensemble" in result.err
    (file,) = files("two", "members/2/checkpoints/best.ckpt")
    file.unlink()
    result = pdeflow("test", "two")
    assert result.code != 0
    assert "members/2/checkpoints/best.ckpt" in result.err
    assert "expected best or last, of every member.\nKnown: last.\n" in result.err
    shutil.rmtree("runs/two/members/2")
    result = pdeflow("test", "two")
    assert result.code != 0
    assert "Go on with: pdeflow fit --resume runs/two\n" in result.err


FNO_ITSELF = {"class_path": "FNO", "init_args": {"modes": [8, 8], "width": 8}}


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        ({"class_path": "Ensemble"}, "ensemble: 5"),
        ({"class_path": "Ensemble", "init_args": {"members": [FNO_ITSELF] * 2}}, "ensemble: 5"),
        ({"class_path": "pdeflow.operators.Ensemble", "init_args": {"modes": [8, 8]}}, "ensemble: 5"),
        ({"class_path": "MeanVariance", "init_args": {"operator": FNO_ITSELF}}, "objective: GaussianNLL"),
    ],
)
def test_what_is_made_of_operators_is_no_model(pdeflow, darcy_file, model, hint):
    data = {
        "class_path": "GridData",
        "init_args": {"path": str(darcy_file), "inputs": ["a"], "targets": ["u"]},
    }
    Path("made.yaml").write_text(yaml.safe_dump({"model": model, "data": data}))
    result = pdeflow("fit", "-c", "made.yaml")
    assert result.code == 2
    assert result.is_short, result.err
    assert f"model.class_path: got '{model['class_path'].rpartition('.')[2]}'" in result.err
    assert hint in result.err
    result = pdeflow("fit", "-c", "darcy_fno", "--model=Ensembel")
    assert result.code == 2
    assert "Ensemble" not in result.err, result.err


def test_a_class_of_ones_own_may_have_the_name_of_what_is_made_of_operators():
    assert made_of_operators("mine.models.Ensemble") is None
    for name in ("Ensemble", "pdeflow.operators.Ensemble", "pdeflow.operators.ensemble.Ensemble"):
        assert made_of_operators(name) is not None


@pytest.mark.parametrize("objective", ["GaussianNLL", "Supervised"])
def test_an_objective_of_pairs_refuses_trajectories_before_a_run_is_made(pdeflow, darcy_file, objective):
    data = {"class_path": "TrajectoryData", "init_args": {"path": str(darcy_file), "fields": ["u"]}}
    parts = {"model": FNO_ITSELF, "data": data, "objective": {"class_path": objective}}
    Path("made.yaml").write_text(yaml.safe_dump(parts))
    result = pdeflow("fit", "-c", "made.yaml")
    assert result.code == 2
    assert f"objective: got '{objective}', expected Rollout, for the data are trajectories" in result.err
    assert not Path("runs").exists()


@pytest.mark.slow
def test_exported_program_gives_mean_and_deviation(pdeflow, fit):
    assert fit("darcy_fno_variance", "both", "--ensemble=2", "--trainer.max_epochs=1").code == 0
    result = pdeflow("export", "both", "-o", "both.pt2")
    assert result.code == 0, result.err
    assert "(batch, 2, 17, 17) of u, u_std" in result.out
    a = torch.rand(3, 1, 17, 17) + 1
    found = torch.export.load("both.pt2").module()(a)
    mean, std = package.load("runs/both").predict_with_std(a)
    torch.testing.assert_close(found, torch.cat([mean, std], dim=1), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_two_processes_train_the_same_ensemble(shell, darcy_file, tiny, tmp_path):
    """Batches of 4 in each of two processes are batches of 8 in one, for every member."""
    common = ("fit", "-c", "darcy_fno_ensemble", f"--data.path={darcy_file}", *tiny, "--trainer.max_epochs=1",
              "--ensemble=2", "--trainer.accelerator=cpu")  # fmt: skip
    processes = ("--trainer.devices=2", "--trainer.strategy=ddp", "--data.batch_size=4")
    for options in (("--run", "one"), ("--run", "two", *processes)):
        result = shell(*common, *options)
        assert result.code == 0, result.err
    a = torch.rand(3, 17, 17) + 1
    one, two = (package.load(tmp_path / "runs" / name).predict_with_std(a) for name in ("one", "two"))
    for expected, found in zip(one, two):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
