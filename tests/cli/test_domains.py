"""A statement on a domain that is no box, from the command line."""

from __future__ import annotations

import json

import numpy as np


def test_an_l_is_trained_tested_and_reported(pdeflow, tmp_path):
    short = ("--trainer.max_epochs=1", "--data.inside=100", "--data.held_back=100", "--model.widths=[8]")
    short += ("--data.test_resolutions=[17]",)
    result = pdeflow("fit", "-c", "l_shaped_poisson_mlp", *short)
    assert result.code == 0, result.err
    run = tmp_path / "runs" / "l_shaped_poisson_mlp"
    result = pdeflow("test", run)
    assert result.code == 0, result.err
    table = json.loads((run / "test" / "metrics.json").read_text())
    assert set(table) == {"points"}
    assert 0 < table["points"]["l2"] < 0.5
    assert table["points"]["conditions"] < 1e-12
    page = (run / "report.html").read_text()
    pictures = ("u, truth", "u, prediction", "u, error", "residual of the equation")
    for said in ("Polygon of 6 corners", "Nodes outside of the domain are left blank", *pictures):
        assert said in page, said
    assert (run / "report.png").is_file()
    with np.load(run / "test" / "17x17.npz") as stored:
        inside, shown = (
            stored["inside"],
            {name: stored[name] for name in ("prediction", "target", "residual")},
        )
    nodes = np.linspace(-1, 1, 17)[1:-1]
    right, below = np.broadcast_arrays(nodes[:, None] > -1e-9, nodes[None] < 1e-9)
    np.testing.assert_array_equal(inside[1:-1, 1:-1], ~(right & below))
    assert inside.sum() == (15**2 - 8**2)  # none on the boundary
    for values in shown.values():
        assert values.shape == (1, 1, 17, 17)
        np.testing.assert_array_equal(np.isfinite(values[0, 0]), inside)
    error = np.nansum((shown["prediction"] - shown["target"]) ** 2) / np.nansum(shown["target"] ** 2)
    assert np.sqrt(error) < 0.5
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
