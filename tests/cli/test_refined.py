"""Spectral-Refiner from the config: trained without it, refined in the test."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pdeflow.training.callbacks import spectral_refiner as callback
from pdeflow.training.spectral_refiner import Refinement, RefinementFailed


def test_a_test_refines_what_the_config_says_and_ends_where_it_cannot(pdeflow, tmp_path, monkeypatch):
    (tmp_path / "data").mkdir()
    name, small = "data/navier_stokes_short.h5", ("--resolution", 16, "--stop", 1, "--instants", 3)
    recipe = "datasets/navier_stokes/recipe.yaml"
    made = pdeflow("generate", "-c", recipe, "-o", name, "-n", 20, *small, "--workers", 1)
    assert made.code == 0, made.err
    fitted = pdeflow(
        *("fit", "-c", "navier_stokes_refined_fno", "--trainer.max_epochs=15", "--data.resolution=16"),
        *("--data.batch_size=8", "--model.modes=[8,8]", "--model.width=12", "--model.layers=2"),
    )
    assert fitted.code == 0, fitted.err
    run = Path("runs/navier_stokes_refined_fno")
    assert not (run / "refined.json").exists()
    tested = pdeflow("test", run)
    assert tested.code == 0, tested.err
    assert str(run / "refined.json") in tested.out
    (row,) = json.loads((run / "refined.json").read_text())
    assert row["factor"] > 2, row
    assert pdeflow("validate", run).code == 0

    def failing(task, batch, residual, **limits):
        raise RefinementFailed("left all bounds", Refinement(task.predict(batch), []))

    monkeypatch.setattr(callback, "refine", failing)
    with pytest.warns(UserWarning, match="is not refined to the end: left all bounds"):
        tested = pdeflow("test", run)
    assert tested.code == 0, tested.err
    assert "(1 of 1 failed)" in tested.out
    (row,) = json.loads((run / "refined.json").read_text())
    assert (row["failure"], row["residuals"]) == ("left all bounds", [])
