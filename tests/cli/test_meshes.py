"""fit, test and predict on meshes from the command line, and operators that do not suit the data."""

from __future__ import annotations

import html

import numpy as np
import pytest
import yaml

SIZES = [9, 11, 10, 12, 9, 11, 10, 12, 9, 11]
BOX = {"grid": [8, 8], "lower": [0.0, 0.0], "upper": [1.0, 1.0], "modes": [4, 4]}
MODELS = {
    "GINO": {**BOX, "in_radius": 0.3, "out_radius": 0.2, "width": 6, "kernel_width": 8, "layers": 1},
    "GNO": {"radius": 0.3, "width": 6, "kernel_width": 8, "layers": 2},
    "MKGN": {"coarse": [20], "inner": [0.3, 1.0], "inter": [0.4], "width": 6, "kernel_width": 8, "layers": 1},
}


def write_config(folder, model: dict, **data) -> str:
    settings = {"path": "squares.h5", "inputs": ["a", "boundary"], "targets": ["u"], "batch_size": 2, **data}
    config = {
        "model": model,
        "data": {"class_path": "MeshData", "init_args": settings},
        "trainer": {"max_epochs": 1, "logger": False},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    return str(path)


@pytest.mark.parametrize("name", MODELS)
def test_fit_test_and_predict(pdeflow, write_squares, tmp_path, name):
    import pdeflow as package
    from pdeflow.data import MeshGraphs, MeshReader

    write_squares(tmp_path / "squares.h5", SIZES)
    write_squares(tmp_path / "finer.h5", [15, 16])
    config = write_config(
        tmp_path, {"class_path": name, "init_args": MODELS[name]}, subsample=70, test_paths=["finer.h5"]
    )
    result = pdeflow("fit", "-c", config, "--run", "runs/meshes")
    assert result.code == 0, result.err
    result = pdeflow("test", "runs/meshes")
    assert result.code == 0, result.err
    assert "finer" in result.out
    assert (tmp_path / "runs/meshes/report.html").stat().st_size > 5_000

    result = pdeflow("predict", "runs/meshes", "finer.h5", "-o", "out/predicted.h5")
    assert result.code == 0, result.err
    predicted, surrogate = MeshReader("out/predicted.h5"), package.load("runs/meshes")
    graphs = MeshGraphs("finer.h5", ["a", "boundary"], ["u"])
    for row, graph in enumerate(graphs):
        np.testing.assert_allclose(predicted.read("u", row), surrogate(graph)[:, 0], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(predicted.mesh(row).positions, graphs.reader.mesh(row).positions)
    points = graphs[0].pos[:7]
    np.testing.assert_allclose(
        surrogate.query(graphs[0], points, graphs[0].x[:7]), surrogate(graphs[0])[:7], rtol=1e-4, atol=1e-5
    )

    np.savez(tmp_path / "arrays.npz", a=np.ones((9, 9)))
    for arguments, message in (
        (("arrays.npz", "-o", "new.npz"), "a file of meshes"),
        (("finer.h5", "-o", "new.npz"), "holds the meshes too"),
    ):
        result = pdeflow("predict", "runs/meshes", *arguments)
        assert result.code == 2
        assert message in result.err
        assert result.is_short


def test_the_report_of_a_mesh_run_shows_its_data_its_samples_and_how_to_use_it(
    pdeflow, write_squares, tmp_path
):
    import pdeflow as package
    from pdeflow.data import MeshGraphs

    write_squares(tmp_path / "squares.h5", SIZES)
    config = write_config(tmp_path, {"class_path": "GNO", "init_args": MODELS["GNO"]}, split=[0.5, 0.2, 0.3])
    assert pdeflow("fit", "-c", config, "--run", "runs/m").code == 0
    result = pdeflow("test", "runs/m")
    assert result.code == 0, result.err
    page = (tmp_path / "runs/m/report.html").read_text()
    for wrong in ("cannot be read", "The spectrum of the error", "No samples were recorded"):
        assert wrong not in page
    nodes = sum(n * n for n in SIZES)
    assert f"<td>81 to 144 a sample, {nodes} in all</td>" in page
    assert page.count("<figcaption>u, truth</figcaption>") == 3
    assert page.count("<figcaption>boundary_outer, input</figcaption>") == 3
    assert "</b> on squares</li>" in page
    assert (tmp_path / "runs/m/report.png").read_bytes().startswith(b"\x89PNG")

    kept = np.load(tmp_path / "runs/m/test/squares.npz")
    surrogate = package.load("runs/m")
    graphs = {graph.sample: graph for graph in MeshGraphs("squares.h5", ["a", "boundary"], ["u"])}
    assert len(set(kept["number"].tolist())) == 3
    for rank, number in zip(kept["rank"], kept["number"]):
        graph = graphs[int(number)]
        np.testing.assert_array_equal(kept[f"{rank}_nodes"], graph.pos)
        np.testing.assert_array_equal(kept[f"{rank}_triangles"], graph.face.T)
        np.testing.assert_array_equal(kept[f"{rank}_target"], graph.y)
        np.testing.assert_allclose(kept[f"{rank}_prediction"], surrogate(graph), rtol=1e-4, atol=1e-5)
    assert kept["l2"][kept["index"] == kept["number"][0]] == kept["l2"].min()
    assert kept["l2"][kept["index"] == kept["number"][2]] == kept["l2"].max()

    made = used(page)
    assert made["prediction"].shape == (len(made["graph"].pos), 1)
    assert made["there"].shape == (5, 1)

    # As a training leaves it that was interrupted in its second epoch.
    saved = tmp_path / "runs/m/config.yaml"
    parts = yaml.safe_load(saved.read_text())
    parts["trainer"]["max_epochs"] = 2
    saved.write_text(yaml.safe_dump(parts))
    assert "--resume" not in pdeflow("test", "runs/m").out
    (tmp_path / "runs/m/surrogate/surrogate.json").unlink()
    result = pdeflow("test", "runs/m")
    assert "1 of 2 epochs are done.\nGo on with: pdeflow fit --resume runs/m\n" in result.out
    assert "2 epochs are done. Go on with" in (tmp_path / "runs/m/report.html").read_text()


def used(page: str) -> dict:
    """What the lines under "Use it" leave behind."""
    section = page.partition('<section id="use">')[2]
    made: dict = {}
    exec(html.unescape(section.partition("<pre>")[2].partition("</pre>")[0]), made)
    return made


def test_uncertainty_on_meshes_from_config_to_report(pdeflow, write_squares, tmp_path):
    """An ensemble of operators with a variance, by the commands that one on grids takes."""
    import pdeflow as package
    from pdeflow.data import MeshGraphs, MeshReader

    write_squares(tmp_path / "squares.h5", SIZES)
    model = {"class_path": "GNO", "init_args": MODELS["GNO"]}
    options = ("--objective=GaussianNLL", "--ensemble=2", "--trainer.max_epochs=2")
    result = pdeflow("fit", "-c", write_config(tmp_path, model, subsample=70), *options, "--run", "runs/two")
    assert result.code == 0, result.err
    surrogate, graphs = package.load("runs/two"), MeshGraphs("squares.h5", ["a", "boundary"], ["u"])
    assert repr(surrogate).startswith("Surrogate(2 of GNO with variance: a, boundary_outer,")
    members = [package.load(f"runs/two/members/{number}") for number in (1, 2)]
    each = [member.predict_with_std(graphs[0]) for member in members]
    means, deviations = (np.stack([part.numpy() for part in parts]) for parts in zip(*each))
    assert np.abs(means[0] - means[1]).max() > 1e-3
    mean, std = surrogate.predict_with_std(graphs[0])
    np.testing.assert_allclose(mean, means.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(std**2, means.var(0) + np.square(deviations).mean(0), rtol=1e-3)

    result = pdeflow("test", "two")
    assert result.code == 0, result.err
    assert "0.683 expected" in result.out
    for name in ("l2", "nll", "crps", "coverage_1std", "coverage_2std", "calibration"):
        assert f"\n{name} " in result.out, result.out
    assert (tmp_path / "runs/two/report.html").read_text().count("<h3>Calibration</h3>") == 1
    # What is evaluated is the mean over the members, not one of them.
    one = pdeflow("validate", "two", "--ensemble=1", "--ckpt=runs/two/members/1/checkpoints/best.ckpt")
    both = pdeflow("validate", "two")
    assert (one.code, both.code) == (0, 0), one.err + both.err
    assert "2 members" in both.out
    assert both.out.splitlines()[1:] != one.out.splitlines()[1:]

    result = pdeflow("predict", "two", "squares.h5", "-o", "out.h5")
    assert result.code == 0, result.err
    predicted = MeshReader("out.h5")
    for row in (0, 3):
        for name, wanted in zip(("u", "u_std"), surrogate.predict_with_std(graphs[row])):
            np.testing.assert_allclose(predicted.read(name, row), wanted[:, 0], rtol=1e-5, atol=1e-6)


def test_operators_that_do_not_suit_the_data(pdeflow, write_squares, tmp_path, darcy_file):
    write_squares(tmp_path / "squares.h5", SIZES)
    fno = {"class_path": "FNO", "init_args": {"modes": [4, 4]}}
    result = pdeflow("fit", "-c", write_config(tmp_path, fno))
    assert result.code == 2
    assert result.is_short
    assert "an operator on meshes" in result.err
    gno = {"class_path": "GNO", "init_args": MODELS["GNO"]}
    config = write_config(tmp_path, gno)
    grids = ("--data=GridData", f"--data.path={darcy_file}", "--data.inputs=[a]", "--data.targets=[u]")
    result = pdeflow("fit", "-c", config, *grids)
    assert result.code == 2
    assert "an operator on grids" in result.err
    assert not (tmp_path / "runs").exists()


POISSON = {"problem": {"class_path": "Poisson", "init_args": {"dim": 2}}}
HEAT = {"problem": {"class_path": "Heat", "init_args": {"dim": 2}}}
OBJECTIVES = {
    "GaussianNLL": {},
    "Residual": POISSON,
    "Rollout": {},
    "StepperResidual": HEAT,
    "Supervised": {},
}
SPARSE = {"class_path": "SparseTrajectoryData", "init_args": {"path": "none.h5", "fields": ["u"]}}
DATA = {
    "MeshData": {"class_path": "MeshData", "init_args": {"path": "a.h5", "inputs": ["a"], "targets": ["u"]}},
    "SparseTrajectoryData": SPARSE,
    "GridData": {"class_path": "GridData", "init_args": {"path": "a.h5", "inputs": ["a"], "targets": ["u"]}},
}


PAIRS_ON_MESHES = "Supervised, for MeshData gives pairs"
PAIRS = "Supervised, for GridData gives pairs"
TRAJECTORIES = "Rollout, for the data are trajectories"


@pytest.mark.parametrize(
    ("data", "objective", "expected"),
    [
        ("MeshData", "Residual", PAIRS_ON_MESHES),
        ("MeshData", "Rollout", PAIRS_ON_MESHES),
        ("MeshData", "StepperResidual", PAIRS_ON_MESHES),
        ("SparseTrajectoryData", "GaussianNLL", TRAJECTORIES),
        ("SparseTrajectoryData", "Residual", TRAJECTORIES),
        ("SparseTrajectoryData", "StepperResidual", "Rollout, for SparseTrajectoryData gives nodes"),
        ("SparseTrajectoryData", "Supervised", TRAJECTORIES),
        ("GridData", "Rollout", PAIRS),
        ("GridData", "StepperResidual", PAIRS),
    ],
)
def test_objectives_that_do_not_suit_the_data_are_refused_before_a_run_is_made(
    pdeflow, tmp_path, data, objective, expected
):
    parts = {
        "model": {"class_path": "GNO", "init_args": MODELS["GNO"]},
        "objective": {"class_path": objective, "init_args": OBJECTIVES[objective]},
        "data": DATA[data],
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(parts))
    result = pdeflow("fit", "-c", "config.yaml")
    assert result.code == 2
    assert result.is_short
    assert f"objective: got '{objective}', expected {expected}" in result.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("data", "objective"), [("SparseTrajectoryData", "Rollout"), ("MeshData", "Supervised")]
)
@pytest.mark.parametrize("loss", ["H1", "Sobolev", "Spectral"])
def test_losses_that_need_a_grid_are_refused_before_a_run_is_made(pdeflow, tmp_path, data, objective, loss):
    parts = {"model": {"class_path": "GNO", "init_args": MODELS["GNO"]}, "data": DATA[data]}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(parts))
    result = pdeflow("fit", "-c", "config.yaml", f"--objective={objective}", f"--objective.loss={loss}")
    assert result.code == 2
    assert result.is_short
    assert "expected a loss of values alone" in result.err
    assert not (tmp_path / "runs").exists()


def test_no_objective_for_trajectories_is_not_told_as_one(pdeflow, tmp_path):
    parts = {"model": {"class_path": "GNO", "init_args": MODELS["GNO"]}, "data": SPARSE}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(parts))
    result = pdeflow("fit", "-c", "config.yaml")
    assert result.code == 2
    assert "objective: got None, expected Rollout" in result.err
    assert "Supervised" not in result.err
    assert "--objective=Rollout" in result.err
    assert not (tmp_path / "runs").exists()


def test_a_radius_that_leaves_nodes_alone_is_refused_before_a_run_is_made(pdeflow, write_squares, tmp_path):
    write_squares(tmp_path / "squares.h5", SIZES)
    model = {"class_path": "GNO", "init_args": MODELS["GNO"] | {"radius": 0.01}}
    for subsample in (None, 70):
        result = pdeflow("fit", "-c", write_config(tmp_path, model, subsample=subsample))
        assert result.code == 2
        assert result.is_short
        assert "Raise model.radius" in result.err
    assert not (tmp_path / "runs").exists()


def test_a_refiner_without_spectral_layers_or_trajectories_is_refused_before_a_run_is_made(
    pdeflow, write_squares, darcy_file, tmp_path
):
    write_squares(tmp_path / "squares.h5", SIZES)
    refiner = {"class_path": "SpectralRefiner", "init_args": {"problem": {"class_path": "NavierStokes"}}}
    meshes = {"path": "squares.h5", "inputs": ["a", "boundary"], "targets": ["u"], "batch_size": 2}
    grids = {"path": str(darcy_file), "inputs": ["a"], "targets": ["u"]}
    for model, data, message in (
        (
            {"class_path": "GINO", "init_args": MODELS["GINO"]},
            {"class_path": "MeshData", "init_args": meshes},
            "model: got 'GINO', expected an operator on grids with spectral layers",
        ),
        (
            {"class_path": "FNO", "init_args": {"modes": [4, 4], "width": 4}},
            {"class_path": "GridData", "init_args": grids},
            "data: got 'GridData', expected TrajectoryData",
        ),
    ):
        parts = {"model": model, "data": data, "trainer": {"callbacks": [refiner]}}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(parts))
        result = pdeflow("fit", "-c", "config.yaml")
        assert result.code == 2
        assert result.is_short
        assert message in result.err
    assert not (tmp_path / "runs").exists()


def test_a_sparse_run_is_tested_by_marching_and_predict_says_where_that_is_done(pdeflow, tmp_path):
    from pdeflow.data import WellWriter
    from pdeflow.grid import Grid

    grid = Grid(("x", "y"), (0.0, 0.0), (1.0, 1.0), (17, 17))
    values, times = np.random.default_rng(0).uniform(1.0, 2.0, (10, 1, 17, 17)), np.arange(4.0)
    with WellWriter(tmp_path / "u.h5", name="u", grid=grid, n=10, fields={"u": 0}, times=times) as writer:
        writer.write(0, {"u": values * np.exp(-0.1 * times)[:, None, None]})
    parts = {
        "model": {"class_path": "GINO", "init_args": MODELS["GINO"]},
        "data": {
            "class_path": "SparseTrajectoryData",
            "init_args": {"path": "u.h5", "fields": ["u"], "nodes": 80},
        },
        "objective": {"class_path": "Rollout"},
        "trainer": {"max_epochs": 1, "logger": False},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(parts))
    assert pdeflow("fit", "-c", "config.yaml", "--run", "sparse").code == 0
    result = pdeflow("test", "sparse")
    assert result.code == 0, result.err
    for name in ("l2_last", "l2_last_everywhere", "unanswered", "diverged"):
        assert f"\n{name} " in result.out, result.out
    page = (tmp_path / "runs/sparse/report.html").read_text()
    assert "state after so many steps" in page
    assert "No samples were recorded" not in page
    assert "The spectrum of the error" not in page
    assert page.count("<figcaption>u, truth</figcaption>") == 3
    assert "Nodes are joined to their neighbours" in page
    assert (tmp_path / "runs/sparse/report.png").is_file()
    made = used(page)
    assert made["trajectory"].shape == (10, 80, 1)
    assert made["last"].shape == (5, 1)
    told = [line for line in result.out.splitlines() if line.startswith("l2")]
    saved = tmp_path / "runs/sparse/config.yaml"
    parts = yaml.safe_load(saved.read_text())
    supervised = {"class_path": "pdeflow.training.Supervised", "init_args": {"loss": None}}
    saved.write_text(yaml.safe_dump(parts | {"objective": supervised}))  # as runs were once
    for verb in ("test", "validate"):
        result = pdeflow(verb, "sparse")
        assert result.code == 2
        assert "objective: got 'Supervised', expected Rollout" in result.err
        assert f"pdeflow {verb} RUN --objective=Rollout" in result.err
        result = pdeflow(verb, "sparse", "--objective=Rollout")
        assert result.code == 0, result.err
    assert told == [
        line
        for line in pdeflow("test", "sparse", "--objective=Rollout").out.splitlines()
        if line.startswith("l2")
    ]
    for more in ((), ("--steps", 3)):
        result = pdeflow("predict", "sparse", "u.h5", "-o", "out.h5", *more)
        assert result.code == 2
        assert result.is_short
        assert "rollout_at" in result.err
