"""Data sets of statements that have time among their coordinates."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from pdeflow.data import WellReader
from pdeflow.errors import InvalidInput
from pdeflow.generate import Recipe, generate
from pdeflow.generate.verify import verify
from pdeflow.problems import (
    Box,
    D,
    Dirichlet,
    GaussianField,
    HeatConduction,
    HeatedRod,
    Initial,
    KleinGordon,
    MethodOfLines,
    Parameter,
    ParametricFamily,
    Poisson,
    Problem,
)

FAMILY = ParametricFamily(HeatedRod(stop=0.5), {"a": (0.1, 1.0)})


def small(problem: Problem = FAMILY, **settings) -> Recipe:
    usual = {"resolution": 17, "samples": 4, "instants": 3, "chain": 2, "rtol": 1e-3, "seed": 5}
    return Recipe(problem, **{**usual, **settings})


def test_the_statement_that_a_network_learns_makes_a_data_set(tmp_path: Path) -> None:
    path = tmp_path / "rod.h5"
    assert generate(small(), path, progress=False).failed == 0
    with WellReader(path) as data:
        a, u = data.read("a", slice(0, 4)), data.read("u", slice(0, 4))
        assert list(data.times) == [0.0, 0.25, 0.5]
    assert u.shape == (4, 3, 17)
    assert len(set(a)) == 4
    x = np.linspace(0, 1, 17)
    for k, t in enumerate((0.0, 0.25, 0.5)):
        exact = np.exp(-a * math.pi**2 * t)[:, None] * np.sin(math.pi * x)
        np.testing.assert_allclose(u[:, k], exact, rtol=0, atol=4e-3)
    checks = {check.name: check.passed for check in verify(path).checks}
    assert checks == {"checksum": True, "parameters": True, "solution": True}


def test_an_interrupted_run_goes_on_to_the_same_bytes(tmp_path: Path, monkeypatch) -> None:
    whole, parted = tmp_path / "whole.h5", tmp_path / "parted.h5"
    generate(small(), whole, progress=False)
    evolve, calls = MethodOfLines.evolve, []

    def once(self, *args, **kwargs):
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return evolve(self, *args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(MethodOfLines, "evolve", once)
        with pytest.raises(KeyboardInterrupt):
            generate(small(), parted, progress=False)
    assert not parted.exists()
    report = generate(small(), parted, progress=False)
    assert report.resumed == 2
    assert parted.read_bytes() == whole.read_bytes()


class Rod(Problem):
    """From a random field, insulated nowhere."""

    domain = Box(x=(0, 1), t=(0, 0.1))
    conditions = (Dirichlet(0.0), Initial(lambda at, p: p.start))
    start = Parameter(GaussianField())

    def residual(self, u, at, p):
        return D(u, "t") - D(u, "x", 2)


def test_an_initial_field_is_drawn_and_stored(tmp_path: Path) -> None:
    generate(small(Rod()), tmp_path / "rod.h5", progress=False)
    with WellReader(tmp_path / "rod.h5") as data:
        start, u = data.read("start", slice(0, 4)), data.read("u", slice(0, 4))
    assert start.std(axis=0).min() > 0
    np.testing.assert_array_equal(u[:, 0, 1:-1], start[:, 1:-1])
    assert (u[:, :, [0, -1]] == 0).all()
    assert (np.abs(u[:, 2]).max(axis=1) < np.abs(u[:, 0]).max(axis=1)).all()


def test_the_end_and_the_tolerance_that_a_recipe_leaves_out() -> None:
    recipe = small(rtol=None)
    assert isinstance(recipe.problem, MethodOfLines)
    assert (recipe.stop, recipe.tolerance, recipe.describe()["rtol"]) == (0.5, 1e-4, 1e-4)
    assert small(stop=0.2).times == (0.0, 0.1, 0.2)
    assert Recipe(HeatConduction(1), resolution=17, stop=1.0).tolerance == 1e-4
    assert Recipe(Poisson(1), resolution=17).tolerance == 1e-8
    with pytest.raises(InvalidInput, match=r"Left out, it is 0\.0001"):
        small(rtol=2.0)


def test_what_cannot_be_marched_is_named() -> None:
    with pytest.raises(InvalidInput, match="klein_gordon, which has an initial slope"):
        small(KleinGordon())
    with pytest.raises(InvalidInput, match=r"stop: got 0\.7, expected at most 0\.5"):
        small(stop=0.7)
