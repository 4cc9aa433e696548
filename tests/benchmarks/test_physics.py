"""The benchmark of physics-informed training: its rows, the sweep of the peers, the summary, the table."""

from __future__ import annotations

import json
import math
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch

from benchmarks import physics, physics_reference, physics_sweep, readme
from benchmarks.error_at_points import ErrorAtPoints
from benchmarks.peers.pinn_cases import STATEMENTS
from benchmarks.peers.pinn_points import settings
from benchmarks.physics_cases import CASES
from benchmarks.physics_conditioning import kappas
from benchmarks.result import ROOT, table
from pdeflow.fields import MLP
from pdeflow.problems import LShapedPoisson
from pdeflow.training import Collocation, LevenbergMarquardt, PhysicsInformed, TrainingTask

CASE = {case.name: case for case in CASES}


def test_a_reference_is_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What peers are compared with is what `ErrorAtPoints` compares ours with; and it is read from a file."""
    monkeypatch.setattr(physics_reference, "FOLDER", tmp_path)
    asked = []

    class Linear(LShapedPoisson):
        def reference(self, points: np.ndarray) -> np.ndarray:
            asked.append(len(points))
            return points[:, 0]

    points, values = physics_reference.reference_at_points(Linear())
    again, _ = physics_reference.reference_at_points(Linear())
    assert len(asked) == 1
    assert torch.equal(points, again)
    assert torch.equal(values, points[:, :1])
    problem = Linear()
    field = MLP([-1.0, -1.0], [1.0, 1.0], widths=[4])
    task = TrainingTask(field, PhysicsInformed(problem), LevenbergMarquardt)
    trainer = lightning.Trainer(
        max_epochs=1,
        precision="64-true",
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[ErrorAtPoints()],
    )
    trainer.fit(task, datamodule=Collocation(problem, inside=50, steps=1, held_back=20))
    with torch.no_grad():
        error = (task.model.double().at(points) - values).norm() / values.norm()
    assert float(trainer.callback_metrics["valid/l2"]) == pytest.approx(float(error))


def test_every_case_has_a_config_and_what_its_peers_need() -> None:
    for case in CASES:
        assert (ROOT / "configs" / f"{case.config}.yaml").is_file()
        assert (case.beside or case.name) in STATEMENTS


def test_rows_that_share_their_peers_have_as_many_points() -> None:
    for case in CASES:
        if case.beside:
            one, other = (settings(found.config) for found in (case, CASE[case.beside]))
            assert one["problem"] == other["problem"]
            for name in ("inside", "on_sides"):
                assert one["data"]["init_args"][name] == other["data"]["init_args"][name]


def test_every_row_that_is_asked_for_is_there() -> None:
    """Of the table of problems, with what is to be reached and within how many seconds."""
    asked = {
        "poisson": (1e-6, 60),
        "heat": (1e-6, 60),
        "helmholtz_4_1": (4.1e-5, 300),
        "helmholtz_10_10": (7e-3, 600),
        "klein_gordon": (2.4e-3, 600),
        "burgers": (1e-5, 600),
        "allen_cahn_gaussians": (1e-4, 600),
        "allen_cahn": (2e-5, 600),
        "convection_40": (1e-3, 300),
        "nonlinear_diffusion": (2.7e-3, 600),
        "flow_mixing": (3e-3, 600),
        "inverse_burgers": (1e-2, 120),
        "l_shape": (1e-3, 300),
        "holes": (1e-3, 300),
    }
    assert {case.name: (case.reach, case.seconds) for case in CASES} == asked
    gaussians = ("helmholtz_4_1", "helmholtz_10_10", "klein_gordon", "allen_cahn_gaussians")
    for name in gaussians:
        assert settings(CASE[name].config)["model"]["class_path"] == "Gaussians"


def test_a_row_takes_five_times_its_seconds_at_most() -> None:
    assert physics.at_most(CASE["burgers"], 600.0, seeds=3) == 3000.0
    assert physics.at_most(CASE["allen_cahn_gaussians"], 600.0, seeds=3) == 1200.0
    assert physics.at_most(CASE["poisson"], 20.0, seeds=1) == 40.0
    every = sum(physics.at_most(case, case.seconds, len(physics.SEEDS)) for case in CASES)
    assert 7 < every / 3600 < 7.5  # as the page of the module says


def told(curve, error: float = 1e-4) -> dict:
    return {"curve": curve, "seconds": 60.0, "error": error, "parameters": 9}


def test_the_summary() -> None:
    """Failures count as never; where both peers fail the ratio is a bound."""
    poisson, heat = CASES[0], CASES[1]
    rows = [
        physics.row(poisson, "pdeflow", [told([(0.5, 1e-2), (1.0, 5e-4)], 2e-6), told([(2.0, 1e-4)], 4e-6)]),
        physics.row(poisson, "DeepXDE", [told([(30.0, 9e-4)])]),
        physics.row(poisson, "PINA", [{"failure": "not installed"}]),
        physics.row(heat, "pdeflow", [told([(4.0, 1e-5)], 1e-7)]),
        physics.row(heat, "DeepXDE", [told([(30.0, 1e-1)])]),
        physics.row(heat, "PINA", [told([(30.0, 1e-2)])]),
    ]
    summary = physics.summarise(rows)
    assert summary["worst_reach"] == pytest.approx(3.0)
    assert summary["speedup_to_1e3_poisson"] == pytest.approx(20.0)
    assert summary["speedup_to_1e3_heat"] == "> 15"
    assert summary["min_speedup_to_1e3"] == pytest.approx(15.0)
    assert summary["poisson_error"] == pytest.approx(3e-6)
    assert summary["helmholtz41_error"] == "not measured"
    assert summary["kappa_ratio"] == "not measured"
    assert physics.summarise(rows, 3e7)["kappa_ratio"] == 3e7
    assert rows[2]["error"] == "not measured"
    lost = [physics.row(heat, "pdeflow", [told([(4.0, 1e-2)])]), *rows[4:]]
    assert "speedup_to_1e3_heat" not in physics.summarise(lost)  # nobody came there
    sought = physics.row(CASE["inverse_burgers"], "pdeflow", [told([(4.0, 1e-4)], 2e-2)])
    assert sought["to_1e3_s"] == "-"
    assert physics.summarise([sought])["worst_reach"] == pytest.approx(2.0)
    lost[1] = physics.row(
        heat, "DeepXDE", [told([(9.0, 1e-4)]), {"failure": "killed"}, {"failure": "killed"}]
    )
    assert lost[1]["to_1e3_s"] == "never"
    assert lost[1]["failure"] == "2 of 3: killed"
    lost[1] = physics.row(heat, "DeepXDE", [told([(9.0, 1e-4)])])
    assert physics.summarise(lost)["min_speedup_to_1e3"] == 0.0
    assert physics.reached(told([(1.0, 1e-2)])) == math.inf


def test_a_row_beside_another_is_compared_with_its_peers() -> None:
    rows = [
        physics.row(CASE["allen_cahn_gaussians"], "pdeflow", [told([(5.0, 5e-4)])]),
        physics.row(CASE["allen_cahn"], "PINA", [told([(40.0, 1e-4)])]),
    ]
    assert physics.summarise(rows)["speedup_to_1e3_allen_cahn_gaussians"] == pytest.approx(8.0)
    assert "speedup_to_1e3_allen_cahn" not in physics.summarise(rows)
    assert physics.summarise(rows[:1])["min_speedup_to_1e3"] == "not measured"


def test_an_error_that_is_no_number_is_a_failure() -> None:
    mine = physics.row(CASE["heat"], "pdeflow", [told([(1.0, 1e-4)]), told([(1.0, math.nan)], math.nan)])
    assert mine["error"] == 1e-4
    assert mine["failure"] == "1 of 2: no finite error"
    assert physics.summarise([mine])["worst_reach"] == "failed: heat"


def test_seeds_are_of_weights_and_of_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For ours by the command, for peers by their job; the time is that of the row."""
    asked = []

    def killed(command, environment):
        asked.append([str(word) for word in command])
        raise RuntimeError("killed")

    monkeypatch.setattr(physics, "FOLDER", tmp_path)
    monkeypatch.setattr(physics, "SWEPT", tmp_path / "none.json")
    monkeypatch.setattr(physics, "timed", killed)
    monkeypatch.setitem(physics.PEERS, "PINA", ("json", "pina_pinn"))
    physics.ours(CASE["burgers"], 2, 600.0)
    physics.peer("PINA", CASE["burgers"], 2, 600.0)
    assert {"--seed_everything=2", "--data.init_args.seed=2", "--trainer.max_time=00:00:10:00"} < set(
        asked[0]
    )
    assert json.loads(Path(asked[1][-1]).read_text()) == {
        "case": "burgers",
        "config": "sine_burgers_mlp",
        "seed": 2,
        "seconds": 600.0,
        "steps": None,
        "settings": {},
    }


def test_a_training_without_an_epoch_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def trained(command, environment):
        (tmp_path / "heat_0").mkdir()
        (tmp_path / "heat_0" / "history.json").write_text('[{"seconds": 60.0, "train/loss": 1.0}]')
        return 60.0, ""

    monkeypatch.setattr(physics, "FOLDER", tmp_path)
    monkeypatch.setattr(physics, "timed", trained)
    assert physics.ours(CASE["heat"], 0, 60.0) == {"failure": "no epoch was over in time"}


def test_a_sweep_finds_the_settings_with_which_peers_are_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DeepXDE does best with a large weight, PINA with another rate, of which one diverges."""
    tried: dict[str, list[dict[str, float]]] = {"DeepXDE": [], "PINA": []}

    def trial(name, case, seed, seconds, settings):
        assert (seed, seconds) == (physics_sweep.SEED, 120.0)
        tried[name].append(settings)
        if settings["rate"] == 1e-2:
            return told([(1.0, math.nan)], math.nan)
        if name == "DeepXDE":
            return told([(9.0, 5e-4 if settings["weight"] == 1000 else 2e-3)])
        return told([(1.0, 0.5)], 0.5 - settings["rate"])

    path = tmp_path / "swept.json"
    monkeypatch.setattr(physics_sweep, "peer", trial)
    monkeypatch.setattr(physics_sweep, "FOLDER", tmp_path)
    monkeypatch.setattr(sys, "argv", ["sweep", "--rows", "nonlinear_diffusion", "--json", str(path)])
    physics_sweep.main()
    monkeypatch.setattr(physics, "SWEPT", path)
    case = CASE["nonlinear_diffusion"]
    assert physics.chosen(case, "DeepXDE") == {"weight": 1000.0, "rate": 1e-3, "adam": 1.0}
    assert physics.chosen(case, "PINA") == {"weight": 10.0, "rate": 3e-3, "adam": 1.0}
    assert physics.chosen(CASE["heat"], "PINA") == {}
    for settings_tried in tried.values():
        assert len(settings_tried) == len({tuple(one.items()) for one in settings_tried}) == 8
    held = json.loads(path.read_text())
    assert len(held["parts"]["nonlinear_diffusion"]["tried"]) == 16
    assert held["summary"]["trials"] == 16


def test_a_sweep_has_no_weights_where_nothing_is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an inverse problem the time to 1e-3 says nothing, and where all fail nothing is chosen."""
    monkeypatch.setattr(physics_sweep, "peer", lambda *given: {"failure": "killed"})
    row, tried = physics_sweep.swept("PINA", CASE["burgers"], 1.0)
    assert len(tried) == row["trials"] == 5
    assert (row["error"], row["failure"]) == ("not measured", "killed")
    sought = CASE["inverse_burgers"]
    soon, late = told([(1.0, 1e-4)], 0.2), told([(1.0, 0.5)], 0.1)
    assert physics_sweep.rank(sought, late) < physics_sweep.rank(sought, soon)
    assert physics_sweep.rank(CASE["heat"], soon) < physics_sweep.rank(CASE["heat"], late)


def test_a_failure_of_ours_is_of_its_row_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every seed, and of one; the peers are then given all of the time."""

    def killed(command, environment):
        raise RuntimeError("killed")

    given = []
    monkeypatch.setattr(physics, "FOLDER", tmp_path)
    monkeypatch.setattr(physics, "timed", killed)
    monkeypatch.setattr(physics, "peer", lambda name, case, seed, seconds: given.append(seconds) or told([]))
    with ThreadPoolExecutor(1) as pool:
        found = physics.measured(CASES[0], 60.0, (0,), pool)
    assert found["pdeflow"] == [{"failure": "killed"}]
    assert given == [60.0, 60.0]
    other = physics.row(CASES[1], "pdeflow", [told([(1.0, 1e-4)])])
    for whole, failure, to in (
        (found["pdeflow"], "killed", "not measured"),
        ([told([(1.0, 1e-4)]), *found["pdeflow"] * 2], "2 of 3: killed", "never"),
    ):
        mine = physics.row(CASES[0], "pdeflow", whole)
        assert (mine["failure"], mine["to_1e3_s"]) == (failure, to)
        rows = [mine, physics.row(CASES[0], "DeepXDE", [told([(9.0, 1e-4)])]), other]
        summary = physics.summarise(rows)
        assert summary["worst_reach"] == "failed: poisson"
        assert summary["poisson_error"] == "failed"
        assert summary["min_speedup_to_1e3"] == 0.0
        assert table(rows)


def test_the_condition_numbers_are_those_of_the_paper() -> None:
    before, after = kappas()
    assert before == pytest.approx(3.43e7, rel=0.01)
    assert after == pytest.approx(1.11, abs=0.01)


def test_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        physics.row(CASES[0], "pdeflow", [told([(0.5, 5e-4)], 2e-6)]),
        physics.row(CASES[0], "DeepXDE", [told([(30.0, 1e-1)])]),
        physics.row(CASES[0], "PINA", [{"failure": "not installed"}]),
    ]
    beside = physics.row(CASE["allen_cahn_gaussians"], "pdeflow", [told([], 1e-5), {"failure": "killed"}])
    rows.append(beside)
    held = {"rows": rows, "seeds": 3, "missing": ["heat"], "parts": {"poisson": {"commit": "abc1234"}}}
    monkeypatch.setattr(readme, "load", lambda name: held)
    shown = readme.physics()
    assert "| `poisson` | 1.0e-06 | 2.0e-06 in 60 s | 1.0e-04 in 60 s | not measured |" in shown
    assert "| not measured | 0.50 | never | not measured |" in shown
    assert (
        "| `allen_cahn_gaussians` | 1.0e-04 | 1.0e-05 in 60 s, 1 of 2 failed | - | - | never | - | - |"
        in shown
    )
    assert "best of a few in 0 of 1 trainings" in shown
    assert "Measured: poisson at abc1234. Not measured yet: heat." in shown
