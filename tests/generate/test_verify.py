"""What `verify` finds in files that are whole, altered behind the record's back, or not rebuildable."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from pdeflow.errors import CorruptFile
from pdeflow.generate import Recipe, generate
from pdeflow.generate.engine import manifest_path
from pdeflow.generate.manifest import sha256
from pdeflow.generate.rebuild import NotRebuilt, read_distribution, rebuild_problem
from pdeflow.generate.verify import verify
from pdeflow.linalg import CG
from pdeflow.problems import (
    Box,
    Burgers,
    Choice,
    ComplexHelmholtz,
    ConvectionDiffusion,
    D,
    Darcy,
    Dirichlet,
    Evolution,
    GaussianBumps,
    GaussianField,
    GrayScott,
    Heat,
    HeatConduction,
    Helmholtz,
    ImpedanceHelmholtz,
    KuramotoSivashinsky,
    LogNormalField,
    NavierStokes,
    NonlinearPoisson,
    Parameter,
    PLaplace,
    Poisson,
    PorousMedium,
    Problem,
    Robin,
    ShallowWater,
    Uniform,
    etdrk4,
)

PROBLEMS = [
    Darcy(),
    Darcy(coefficient=LogNormalField(std=0.7)),
    Poisson(dim=1),
    Poisson(dim=3),
    Poisson(source=GaussianBumps(0.0, 1.0, (2, 5), (0.1, 0.2))),
    Helmholtz(wave_number=Choice((4.0, 6.0))),
    ComplexHelmholtz(wave_number=Uniform(4.0, 8.0)),
    ImpedanceHelmholtz(wave_number=Uniform(4.0, 8.0)),
    ConvectionDiffusion(velocity=Uniform(-0.2, 0.3)),
    NonlinearPoisson(dim=1),
    PLaplace(),
]


def made(folder: Path, **changes) -> Path:
    settings = {"problem": Darcy(), "resolution": 17, "samples": 6, "chain": 4, "seed": 3} | changes
    generate(Recipe(**settings), folder / "d.h5", progress=False)
    return folder / "d.h5"


def altered(path: Path, name: str, sample: int, value: float) -> None:
    """Change one number and make checksum and record agree again, so that only the physics can tell."""
    with h5py.File(path, "r+") as file:
        values = file[name][sample]
        values[(..., *[s // 2 for s in values.shape[-2:]])] = value
        file[name][sample] = values
    record = json.loads(manifest_path(path).read_text())
    record["sha256"] = sha256(path)
    manifest_path(path).write_text(json.dumps(record))


def results(path: Path) -> dict[str, bool | None]:
    return {check.name: check.passed for check in verify(path).checks}


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: f"{p.name}-{p.domain.dim}")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_was_generated_is_sound(tmp_path: Path, problem: Problem, dtype: str) -> None:
    path = made(tmp_path, problem=problem, dtype=dtype)
    assert results(path) == {"checksum": True, "parameters": True, "residual": True}, verify(path).text()


def test_an_altered_file_differs_from_its_checksum(tmp_path: Path) -> None:
    path = made(tmp_path)
    with path.open("ab") as file:
        file.write(b"\0")
    found = verify(path)
    assert not found.sound
    assert results(path)["checksum"] is False
    assert "DIFFERS" in found.text()


def test_an_altered_solution_has_another_residual(tmp_path: Path) -> None:
    path = made(tmp_path)
    altered(path, "t0_fields/u", 4, 0.01)
    assert results(path) == {"checksum": True, "parameters": True, "residual": False}
    assert "number 4" in verify(path).text()


def test_an_altered_parameter_is_not_what_the_seed_gives(tmp_path: Path) -> None:
    path = made(tmp_path)
    altered(path, "t0_fields/a", 2, 7.0)
    assert results(path)["parameters"] is False
    assert "a of sample 2" in verify(path).text()


def test_failed_samples_are_sound_as_nan(tmp_path: Path) -> None:
    path = made(tmp_path, rtol=1e-15, solver=CG())
    assert results(path)["residual"] is None
    assert "hold NaN, as their status says" in verify(path).text()
    altered(path, "t0_fields/u", 1, 1.0)
    assert verify(path).sound  # still NaN elsewhere
    with h5py.File(path, "r+") as file:
        file["t0_fields/u"][1] = 0.0
    assert results(path)["residual"] is False


def test_a_record_of_another_recipe_differs(tmp_path: Path) -> None:
    path = made(tmp_path)
    record = json.loads(manifest_path(path).read_text())
    record["recipe"]["seed"] = 4
    manifest_path(path).write_text(json.dumps(record))
    assert results(path) == {"checksum": True, "record": False}


def test_what_cannot_be_checked_is_said(tmp_path: Path) -> None:
    class Screened(Problem):
        """-lap u + k^2 u = f."""

        domain = Box(x=(0, 1), y=(0, 1))
        conditions = (Dirichlet(0.0),)
        k = Parameter(Uniform(1.0, 4.0))
        f = Parameter(GaussianField(alpha=2.0, tau=3.0))

        def residual(self, u, at, p):
            return -D(u, "x", 2) - D(u, "y", 2) + p.k**2 * u - p.f

    path = made(tmp_path, problem=Screened())
    assert results(path) == {"checksum": True, "residual": None}
    assert "not one of pdeflow's own" in verify(path).text()
    manifest_path(path).unlink()
    assert results(path) == {"record": None}
    manifest_path(path).write_text("{}")
    with pytest.raises(CorruptFile, match="not a record"):
        verify(path)


@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda p: f"{p.name}-{p.domain.dim}")
def test_a_rebuilt_problem_draws_the_same(problem: Problem) -> None:
    recipe = Recipe(problem, resolution=17, samples=2)
    again = rebuild_problem(json.loads(json.dumps(recipe.describe())))
    ours, theirs = (p.sample([0, 5], recipe.grid, seed=1) for p in (problem, again))
    assert list(ours) == list(theirs)
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "Uniform(lower=print(1), upper=2)",
        "Darcy(dim=2)",
        "Uniform(1.0, 2.0)",
        "Uniform(lower=2.0, upper=1.0)",
        "Uniform(",
    ],
)
def test_a_record_is_never_evaluated(text: str) -> None:
    with pytest.raises(NotRebuilt, match="cannot be read"):
        read_distribution(text)


def test_a_changed_statement_is_not_rebuilt() -> None:
    held = json.loads(json.dumps(Recipe(Darcy(), resolution=9).describe()))
    held["statement"]["residual"] = "Integer(0)"
    with pytest.raises(NotRebuilt, match="differently"):
        rebuild_problem(held)


IN_TIME = [
    Heat(),
    Heat(2),
    HeatConduction(1),
    HeatConduction(conditions={"x-": Dirichlet(1.0), "x+": Robin(2.0, 0.5)}, periodic=["y"]),
    GrayScott(length=0.2),
    KuramotoSivashinsky(length=20.0),
    NavierStokes(),
    PorousMedium(),
    ShallowWater(),
    ShallowWater(length=2.0, periodic=("y",), walls=("x+",)),
]


@pytest.mark.parametrize("problem", IN_TIME, ids=lambda p: f"{p.name}_{p.domain.dim}d")
def test_an_equation_in_time_is_stepped_again(tmp_path: Path, problem: Evolution) -> None:
    path = tmp_path / "d.h5"
    recipe = Recipe(
        problem, resolution=[16] * problem.domain.dim, samples=2, stop=0.01, instants=3, rtol=1e-5
    )
    generate(recipe, path, progress=False)
    assert results(path) == {"checksum": True, "parameters": True, "solution": True}, verify(path).text()
    with h5py.File(path, "r+") as file:
        u = file[f"t0_fields/{problem.fields[0]}"]
        u[1, 2] = 1.01 * u[1, 2] + 0.01
    found = results(path)
    assert (found["checksum"], found["solution"]) == (False, False)
    assert "number 1" in verify(path).text()


def test_a_failed_sample_of_an_equation_in_time_must_stay_empty(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "d.h5"
    monkeypatch.setattr(etdrk4, "MOST_STEPS", 2)
    recipe = Recipe(Burgers(), resolution=64, samples=2, stop=1.0, rtol=1e-12)
    assert generate(recipe, path, progress=False).failed == 2
    assert results(path)["solution"] is True
    with h5py.File(path, "r+") as file:
        file["t0_fields/u"][0, 1] = 0.0
    assert results(path)["solution"] is False
