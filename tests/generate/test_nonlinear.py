"""Data sets of equations that Newton's method solves."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from pdeflow.cli.generate import parse_recipe
from pdeflow.data import WellReader
from pdeflow.errors import InvalidInput
from pdeflow.generate import Recipe, generate
from pdeflow.generate.estimate import run_pilot
from pdeflow.generate.verify import verify
from pdeflow.linalg import GMRES, ILU, Auto
from pdeflow.problems import Constant, NonlinearPoisson, PLaplace, newton

DATASETS = Path(__file__).parents[2] / "datasets"


def small(**changes) -> Recipe:
    settings = {"problem": PLaplace(), "resolution": 17, "samples": 6, "chain": 4, "seed": 3} | changes
    return Recipe(**settings)


def read(path: Path, *names: str) -> list[np.ndarray]:
    with WellReader(path) as file:
        return [file.read(name, slice(None)) for name in names]


@pytest.mark.parametrize("problem", [NonlinearPoisson(), PLaplace(), NonlinearPoisson(3), PLaplace(1)])
def test_what_is_generated_is_solved_and_verified(tmp_path: Path, problem) -> None:
    recipe = small(problem=problem, resolution=17 if problem.domain.dim < 3 else 7)
    report = generate(recipe, tmp_path / "d.h5", progress=False)
    assert report.failed == 0
    assert report.residual <= 1e-8
    assert 2 < report.iterations < 40
    found = {check.name: check.passed for check in verify(tmp_path / "d.h5").checks}
    assert found == {"checksum": True, "parameters": True, "residual": True}, verify(tmp_path / "d.h5").text()
    u, iterations = read(tmp_path / "d.h5", "u", "iterations")
    expected = newton(problem, recipe.grid, problem.sample([5], recipe.grid, seed=3))
    np.testing.assert_allclose(u[5, 1], expected.u[0].numpy(), rtol=0, atol=1e-6 * np.abs(u[5]).max())
    assert abs(iterations[5] - int(expected.iterations[0])) <= 1
    assert (u[:, 0] == 0).all()


@pytest.mark.parametrize(
    "problem",
    [NonlinearPoisson(source=Constant(60.0)), PLaplace(source=Constant(10.0))],
    ids=lambda p: p.name,
)
def test_the_solution_of_a_neighbour_is_a_good_guess(tmp_path: Path, problem) -> None:
    recipe = small(problem=problem, dtype="float64", resolution=13, samples=10, chain=10)
    plain = generate(recipe, tmp_path / "plain.h5", progress=False)
    similar = dataclasses.replace(recipe, order="similar")
    generate(similar, tmp_path / "similar.h5", progress=False)
    guessed = dataclasses.replace(similar, guess="neighbour")
    report = generate(guessed, tmp_path / "guessed.h5", progress=False)
    assert report.failed == plain.failed == 0
    assert report.iterations < 0.8 * plain.iterations
    (u,) = read(tmp_path / "plain.h5", "u")
    for name in ("similar", "guessed"):
        other, sample = read(tmp_path / f"{name}.h5", "u", "sample")
        assert sample.tolist() == list(range(10))
        np.testing.assert_allclose(other, u, rtol=0, atol=1e-6 * np.abs(u).max())


def test_solver_and_preconditioner_are_those_of_the_linear_systems(tmp_path: Path) -> None:
    recipe = small(solver=GMRES(), preconditioner=ILU())
    assert generate(recipe, tmp_path / "d.h5", progress=False).failed == 0


def test_failed_samples_are_kept_with_their_status(tmp_path: Path) -> None:
    report = generate(small(rtol=1e-17), tmp_path / "d.h5", progress=False)
    assert report.failed == 6
    assert report.statuses == {"STAGNATED": 6}
    (u,) = read(tmp_path / "d.h5", "u")
    assert np.isnan(u[:, 1]).all()
    assert verify(tmp_path / "d.h5").sound


def test_a_pilot_of_linear_solvers_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="not linear") as caught:
        generate(small(solver=Auto()), tmp_path / "d.h5", progress=False)
    assert caught.value.name == "solver"
    assert not list(tmp_path.iterdir())


def test_it_has_a_pilot_of_time_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    # A busy machine is no slow problem.
    monkeypatch.setattr(sys.modules[run_pilot.__module__], "ENOUGH_SECONDS", 3600.0)
    pilot = run_pilot(small(), "cpu")
    assert pilot.samples == 4
    assert pilot.bytes[0] < pilot.bytes[1]


@pytest.mark.parametrize("name", ["nonlinear_poisson", "p_laplace"])
def test_the_recipe_that_is_shipped_runs(tmp_path: Path, name: str) -> None:
    recipe = parse_recipe(["-c", str(DATASETS / name / "recipe.yaml")])
    assert recipe.title == recipe.problem.name == name
    assert generate(dataclasses.replace(recipe, samples=3), tmp_path / "s.h5", progress=False).failed == 0
