"""A statement on a domain that is no box, from the command line."""

from __future__ import annotations

import json

import numpy as np


def test_an_l_is_trained_tested_and_reported(pdeflow, tmp_path):
    short = ("--trainer.max_epochs=1", "--data.inside=100", "--data.held_back=100", "--model.widths=[8]")
    result = pdeflow("fit", "-c", "l_shaped_poisson_mlp", *short)
    assert result.code == 0, result.err
    run = tmp_path / "runs" / "l_shaped_poisson_mlp"
    result = pdeflow("test", run)
    assert result.code == 0, result.err
    table = json.loads((run / "test" / "metrics.json").read_text())
    assert set(table) == {"points"}
    assert 0 < table["points"]["l2"] < 0.5
    assert table["points"]["conditions"] < 1e-12
    assert "Polygon of 6 corners" in (run / "report.html").read_text()
    points = tmp_path / "points.npy"
    np.save(points, [[-0.5, -0.5], [0.5, -0.5]])
    result = pdeflow("predict", run, points, "-o", tmp_path / "values.npz")
    assert result.code != 0
    assert "(0.5, -0.5)" in result.err
    assert "1 of 2 points lie outside" in result.err


def test_where_points_are_chosen_is_a_key(pdeflow):
    result = pdeflow("fit", "-c", "l_shaped_poisson_mlp", "--data.resample.init_args.every=0")
    assert result.code != 0
    assert "data.resample.every: got 0" in result.err
