"""Every config in configs/: short, commented, parses, builds, and trains a step on data made here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_is_short_and_explained(path):
    lines = path.read_text().splitlines()
    assert len(lines) <= 25
    assert lines[0].startswith("# ")
    assert f"pdeflow fit -c configs/{path.name}" in path.read_text()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_config_trains_a_step(pdeflow, write_squares, tmp_path, path):
    """The config as it is, but for the file: made here with the fields and the resolution it asks for."""
    from pdeflow.data import WellWriter
    from pdeflow.grid import Grid

    settings = yaml.safe_load(path.read_text())
    data = settings["data"]["init_args"]
    if settings["data"]["class_path"] == "Collocation":  # which needs no file
        result = pdeflow("fit", "-c", path.stem, "--trainer.fast_dev_run=true")
        assert result.code == 0, result.err
        return
    if settings["data"]["class_path"] == "MeshData":
        constant = [name for name in data["inputs"] if name != "boundary"]
        sizes = [16] * 4 * data["batch_size"]
        write_squares(tmp_path / data["path"], sizes, fields=data["targets"], constant_fields=constant)
        result = pdeflow("fit", "-c", path.stem, "--trainer.fast_dev_run=true")
        assert result.code == 0, result.err
        return
    if settings["data"]["class_path"] in ("TrajectoryData", "SparseTrajectoryData"):
        data["inputs"], data["targets"] = [*data["fields"], *data.get("constants", [])], data["fields"]
    # One more than a trajectory's window, so that there are several.
    instants = data["history"] + data["horizon"] + 1 if "horizon" in data else 2
    points = max([data.get("resolution") or 16, *data.get("test_resolutions", [])])
    rng = np.random.default_rng(0)
    for name in [data["path"], *data.get("test_paths", [])]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        n = 4 * data["batch_size"]
        model = settings["model"]["init_args"]
        dim = model.get("dim") or len(model.get("modes") or model.get("sensors") or model["mesh"])
        values = rng.uniform(1.0, 2.0, (n, *(points,) * dim))
        steady = not set(data["inputs"]) & set(data["targets"])
        constant = [name for name in data["inputs"] if name not in data["targets"]]
        wraps = not steady and points % 2 == 0  # an odd number of nodes has both ends among them
        with WellWriter(
            tmp_path / name,
            name="made",
            grid=Grid(tuple("xyz"[:dim]), (0.0,) * dim, (1.0,) * dim, (points,) * dim, (wraps,) * dim),
            n=n,
            fields=dict.fromkeys(data["targets"], 0),
            constant_fields=dict.fromkeys(constant, 0),
            times=np.arange(instants),
            attributes={"steady": steady},
        ) as writer:
            in_time = np.stack([0 * values, *[values] * (instants - 1)], axis=1)
            writer.write(0, {**dict.fromkeys(constant, values), **dict.fromkeys(data["targets"], in_time)})
    result = pdeflow("fit", "-c", path.stem, "--trainer.fast_dev_run=true")
    assert result.code == 0, result.err


@pytest.mark.parametrize(
    "name",
    [
        "navier_stokes_refined_fno",
        "navier_stokes_rollout_fno",
        "darcy_fno_physics",
        "polygon_diffusion_gno",
        "heat_conduction_sparse_gino",
        "sine_poisson_mlp",
        "observed_darcy_mlp",
        "sine_burgers_ssbroyden_mlp",
        "convected_sine_mlp",
        "convected_sine_causal_mlp",
        "convected_sine_curriculum_mlp",
        "convected_sine_time_windows",
        "convected_sine_lagrangian",
        "sine_burgers_characteristics_mlp",
        "layered_conduction_subdomains",
    ],
)
def test_short_names_are_known_to_a_process_that_has_imported_nothing_else(name):
    command = [sys.executable, "-m", "pdeflow", "fit", "-c", name, "--print_config"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
