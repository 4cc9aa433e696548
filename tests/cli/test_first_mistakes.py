"""Mistakes of a first day: each is named, with what to do, before anything is trained or written."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture
def fit(pdeflow, darcy_file, tiny):
    def call(*options):
        return pdeflow(
            "fit", "-c", "darcy_fno", f"--data.path={darcy_file}", *tiny, "--trainer.max_epochs=1", *options
        )

    return call


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--data.test_resolutions=[9,12]"], ["resolution", "12", "9"]),
        (["--data.batch_size=0"], ["data.batch_size", "0", "at least 1"]),
        (["--optimizer.lr=-1"], ["optimizer", "-1", "--optimizer.lr"]),
        (["--trainer.max_epochs=0"], ["trainer.max_epochs", "0", "at least 1"]),
        (["--device", "cuda"], ["--device", "--trainer.accelerator"]),
        (["--optimizer", "Adamw"], ["Adamw", "AdamW"]),
    ],
)
def test_fit(fit, tmp_path, options, words) -> None:
    result = fit(*options)
    assert result.code == 2, result.err
    assert result.is_short
    assert "bug" not in result.err
    for word in words:
        assert word in result.err
    assert not list(tmp_path.glob("runs/*/checkpoints/*"))


def test_one_epoch_is_one_epoch(fit) -> None:
    assert "Trained 1 epoch. " in fit().out


def test_a_config_that_is_no_text(pdeflow, darcy_file) -> None:
    result = pdeflow("fit", "-c", str(darcy_file))
    assert result.code == 2
    assert "a YAML file" in result.err
    assert f"pdeflow inspect {darcy_file}" in result.err


def test_a_recipe_is_asked_for_where_one_is_needed(pdeflow, tmp_path) -> None:
    result = pdeflow("generate", "-o", str(tmp_path / "x.h5"), "-n", "4")
    assert "datasets/darcy/recipe.yaml" in result.err
    result = pdeflow("generate", "-c", "configs/darcy_fno.yaml", "-o", str(tmp_path / "x.h5"))
    assert result.code == 2
    assert "a config of pdeflow fit" in result.err
    assert "datasets/darcy/recipe.yaml" in result.err


def test_a_refused_data_set_leaves_nothing_behind(pdeflow, darcy_file) -> None:
    before = sorted(darcy_file.parent.iterdir())
    result = pdeflow("generate", "-c", "datasets/darcy/recipe.yaml", "-o", str(darcy_file), "-n", "3")
    assert result.code == 2
    assert "--overwrite" in result.err
    assert "overwrite=True" in result.err
    assert sorted(darcy_file.parent.iterdir()) == before


def test_a_picture_of_no_known_kind_is_refused_first(pdeflow, darcy_file, tmp_path) -> None:
    result = pdeflow("inspect", str(darcy_file), "--plot", str(tmp_path / "out.xyz"))
    assert result.code == 2
    assert "--plot" in result.err
    assert "png" in result.err
    assert result.out == ""


def test_arrays_of_different_length_are_not_dropped(pdeflow, tmp_path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "mine.npz", a=rng.random((5, 9, 9)), u=rng.random((4, 9, 9)))
    result = pdeflow("convert", str(tmp_path / "mine.npz"), "-o", str(tmp_path / "mine.h5"))
    assert result.code == 2
    for word in ("'a': 5", "'u': 4", "--inputs a --targets u"):
        assert word in result.err
    assert not (tmp_path / "mine.h5").exists()
