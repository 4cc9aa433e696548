"""The lines that a report gives for the use of a model, on a grid or at points, run as they stand."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from pdeflow.data.normalisation import Normalisation
from pdeflow.fields import MLP, JoinedFields
from pdeflow.grid import Grid
from pdeflow.operators import FNO
from pdeflow.report.run_folder import read_run
from pdeflow.report.snippet import snippet
from pdeflow.surrogate_folder import save


def used(run) -> dict:
    made: dict = {}
    exec(snippet(read_run(run))[0], made)
    return made


def stored(run, inputs: tuple[str, ...], targets: tuple[str, ...], time_step: float | None) -> None:
    model = FNO(modes=[4, 4], width=4, layers=1, in_channels=len(inputs), out_channels=len(targets))
    statistics = Normalisation.from_dict(
        {
            "input_names": list(inputs),
            "target_names": list(targets),
            "input_mean": [0.0] * len(inputs),
            "input_std": [1.0] * len(inputs),
            "target_mean": [0.0] * len(targets),
            "target_std": [1.0] * len(targets),
        }
    )
    grid = Grid(("x", "y"), (0.0, 0.0), (1.0, 1.0), (16, 12))
    save(model, run / "surrogate", statistics, grid=grid, time_step=time_step)


def test_a_model_that_gives_the_next_state_is_marched(make_run) -> None:
    run = make_run(((16, 16),))
    stored(run, ("w", "nu"), ("w",), 0.1)
    made = used(run)
    assert made["following"].shape == (1, 1, 16, 12)
    assert made["trajectory"].shape == (1, 10, 1, 16, 12)
    assert "The input channels are w, nu." in snippet(read_run(run))[1]


def test_a_solution_is_asked_for_by_the_name_of_its_input(make_run) -> None:
    run = make_run(((16, 16),))
    stored(run, ("w",), ("u",), None)
    made = used(run)
    assert made["w"].shape == made["prediction"].shape == (1, 1, 16, 12)
    assert "rollout" not in snippet(read_run(run))[0]


def test_without_names_and_a_grid_the_samples_of_the_test_tell_them(make_run) -> None:
    run = make_run(((16, 12),), channels=(2, 1))
    torch.manual_seed(0)
    save(FNO(modes=[4, 4], width=4, layers=1, in_channels=2), run / "surrogate")
    assert used(run)["prediction"].shape == (1, 1, 16, 12)


@pytest.mark.parametrize("joined", [False, True])
def test_a_field_is_asked_for_its_value_in_the_middle(make_run, joined: bool) -> None:
    field = MLP([0.0, -2.0], [4.0, 0.0], 1, widths=[4])
    if joined:
        parts = [("MLP", dict(field.settings)), ("MLP", MLP([0.0], [4.0], 1, widths=[4]).settings)]
        field = JoinedFields([{"class_path": name, "init_args": given} for name, given in parts])
    run = make_run(((16, 16),))
    save(field, run / "surrogate")
    made: dict = {}
    config = {"objective": {"class_path": "PhysicsInformed"}}
    exec(snippet(dataclasses.replace(read_run(run), config=config))[0], made)
    assert made["points"].tolist() == [[2.0, -1.0]]
    assert len(made["prediction"]) == 1
