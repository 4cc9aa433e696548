"""Conservation laws, from a recipe to a file."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from pdeflow.cli.generate import parse_recipe
from pdeflow.data import GridSamples, WellReader
from pdeflow.errors import InvalidInput
from pdeflow.generate import Recipe, generate
from pdeflow.problems import (
    Box,
    ConservationLaw,
    GaussianField,
    Parameter,
    PorousMedium,
    ShallowWater,
    Uniform,
)

ROOT = Path(__file__).parents[2]


def test_the_file_holds_averages_at_the_centres_of_the_cells(tmp_path: Path) -> None:
    recipe = Recipe(
        PorousMedium(), resolution=32, samples=5, chain=2, seed=3, stop=0.6, instants=4, dtype="float64"
    )
    report = generate(recipe, tmp_path / "p.h5", progress=False)
    assert report.failed == 0
    assert "steps a sample" in report.text()
    with WellReader(tmp_path / "p.h5") as file:
        assert not file.steady
        np.testing.assert_allclose(file.grid.coordinates()[0].numpy(), (np.arange(32) + 0.5) / 32)
        u, m, residual = (file.read(name, slice(None)) for name in ("u", "m", "residual"))
        times = file.times
    assert u.shape == (5, 4, 32)
    assert ((m >= 1) & (m <= 6)).all()
    exact = (m[:, None] * times) ** (1 + 1 / m[:, None]) / (m[:, None] + 1)
    np.testing.assert_allclose(u.mean(axis=2), exact, rtol=0, atol=0.05)
    drawn = recipe.problem.sample(range(5), recipe.grid, seed=3)
    path = recipe.problem.evolve(recipe.grid, drawn, 0.6, 4, rtol=recipe.tolerance)
    np.testing.assert_allclose(u, path.u.numpy(), rtol=0, atol=1e-12)
    assert (residual > 0).all()
    assert (residual < 0.2).all()


@pytest.mark.parametrize(
    "name",
    ["porous_medium", "stefan", "inviscid_burgers", "advected_step", "shallow_water", "burgers_fronts"],
)
def test_the_recipe_that_is_shipped_runs(tmp_path: Path, name: str) -> None:
    recipe = parse_recipe(["-c", str(ROOT / "datasets" / name / "recipe.yaml")])
    resolution = 80 if name == "burgers_fronts" else 16  # ten cells for each of eight waves
    short = dataclasses.replace(recipe, samples=2, resolution=resolution, instants=3)
    assert generate(short, tmp_path / "s.h5", progress=False).failed == 0


class Wind(ConservationLaw):
    """u_t + c u_x = 0 between ends at which u is 0."""

    domain = Box(x=(0.0, 2.0))
    c = Parameter(Uniform(0.5, 1.0))
    u0 = Parameter(GaussianField())

    def flux(self, u, p):
        return p.c * u

    def boundary(self, at, p):
        return 0.0


def test_an_initial_field_is_the_first_instant(tmp_path: Path) -> None:
    recipe = Recipe(Wind(), resolution=16, samples=3, seed=1, stop=6.0, instants=3, dtype="float64")
    assert generate(recipe, tmp_path / "w.h5", progress=False).failed == 0
    with WellReader(tmp_path / "w.h5") as file:
        assert list(file.constant_fields) == []
        u, c = file.read("u", slice(None)), file.read("c", slice(None))
    drawn = recipe.problem.sample(range(3), recipe.grid, seed=1)
    np.testing.assert_array_equal(u[:, 0], drawn["u0"].numpy())
    np.testing.assert_array_equal(c, drawn["c"].numpy())
    assert np.abs(u[:, -1]).max() < 1e-3 * np.abs(u[:, 0]).max()  # all of it has been blown out


def test_a_number_of_cells_that_cannot_be_halved_is_refused_before_anything_is_solved() -> None:
    with pytest.raises(InvalidInput, match="Try 34") as caught:
        Recipe(PorousMedium(), resolution=33, stop=1.0)
    assert caught.value.name == "resolution"


def test_training_sees_the_cells(tmp_path: Path) -> None:
    recipe = Recipe(PorousMedium(), resolution=16, samples=2, stop=0.5, instants=2, dtype="float64")
    generate(recipe, tmp_path / "p.h5", progress=False)
    with WellReader(tmp_path / "p.h5") as file:
        batch = GridSamples([file], np.arange(2), inputs=["m"], targets=["u"])[torch.tensor([0, 1])]
        u, m = file.read("u", slice(None)), file.read("m", slice(None))
    np.testing.assert_allclose(batch["target"][:, 0].numpy(), u[:, -1], rtol=1e-6, atol=1e-30)
    np.testing.assert_allclose(batch["input"][:, 0].mean(dim=1).numpy(), m, rtol=1e-6)


def test_depth_and_momentum_are_fields_of_a_file_that_says_what_its_ends_are(tmp_path: Path) -> None:
    problem = ShallowWater(walls=("x-",), periodic=("y",))
    recipe = Recipe(problem, resolution=[16, 12], samples=3, seed=3, stop=0.8, instants=4, dtype="float64")
    report = generate(recipe, tmp_path / "w.h5", progress=False)
    assert report.failed == 0
    with WellReader(tmp_path / "w.h5") as file:
        assert list(file.fields) == ["h", "hu", "hv"]
        assert list(file.constant_fields) == list(file.scalars) == []
        assert file.boundary == {"x-": "WALL", "x+": "OPEN", "y-": "PERIODIC", "y+": "PERIODIC"}
        assert file.attributes["g"] == 1.0
        np.testing.assert_allclose(file.grid.coordinates()[0].numpy(), 5 * (np.arange(16) + 0.5) / 16 - 2.5)
        u = np.stack([file.read(name, slice(None)) for name in file.fields], axis=2)
        residual = file.read("residual", slice(None))
    drawn = problem.sample(range(3), recipe.grid, seed=3)
    np.testing.assert_array_equal(u[:, 0, 0], drawn["h0"].numpy())
    assert (u[:, 0, 1:] == 0).all()
    path = problem.evolve(recipe.grid, drawn, 0.8, 4)
    np.testing.assert_allclose(u, path.u.numpy(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(residual, path.error.numpy(), rtol=1e-9)
    # Nothing has come to the ends.
    np.testing.assert_allclose(u[:, :, 0].mean((2, 3)), u[:, :1, 0].mean((2, 3)).repeat(4, 1), atol=1e-5)


def test_training_sees_the_dam_and_what_becomes_of_it(tmp_path: Path) -> None:
    recipe = Recipe(ShallowWater(), resolution=16, samples=2, stop=0.5, instants=2)
    generate(recipe, tmp_path / "w.h5", progress=False)
    with WellReader(tmp_path / "w.h5") as file:
        samples = GridSamples([file], np.arange(2), inputs=["h"], targets=["h", "hu", "hv"])
        batch = samples[torch.tensor([0, 1])]
        u = np.stack([file.read(name, slice(None)) for name in file.fields], axis=2)
    np.testing.assert_array_equal(batch["input"][:, 0].numpy(), u[:, 0, 0])
    np.testing.assert_array_equal(batch["target"].numpy(), u[:, -1])


def test_shallow_water_on_cells_that_cannot_be_paired_is_refused_before_anything_is_solved() -> None:
    with pytest.raises(InvalidInput, match="Try 18"):
        Recipe(ShallowWater(), resolution=[16, 17], stop=1.0)
    with pytest.raises(InvalidInput, match="walls"):
        Recipe(ShallowWater(walls=("z-",)), resolution=16, stop=1.0)
