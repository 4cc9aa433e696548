"""What a pilot predicts, against what generating then takes."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pdeflow.errors import InvalidInput
from pdeflow.generate import Recipe, estimate, generate
from pdeflow.generate.estimate import Pilot, extrapolate, run_pilot
from pdeflow.linalg import Auto
from pdeflow.problems import Darcy, Helmholtz

PILOT = Pilot(
    samples=8,
    seconds=(0.5, 1.2),
    bytes=(1200, 2600),
    memory=(100, 170),
    order_seconds=0.01,
    method_seconds=3.0,
)


@pytest.mark.parametrize("workers", [1, 2])
def test_the_line_through_the_pilot_is_continued(monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    found = extrapolate(Recipe(Darcy(), resolution=9, samples=100, chain=20), PILOT, workers)
    # A chain of 20: 0.4 s + 20 x 0.1 s. Five chains go in five rounds, or in three.
    assert found.seconds == pytest.approx(3.0 + 2.4 * {1: 5, 2: 3}[workers])
    assert found.rate == pytest.approx(100 / found.seconds)
    assert (found.bytes, found.memory, found.workers) == (1000 + 100 * 200, 90 + 20 * 10, workers)


def test_no_more_workers_than_cores_and_chains_help(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(Darcy(), resolution=9, samples=60, chain=20)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    assert extrapolate(recipe, PILOT, 16).workers == 2
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert extrapolate(recipe, PILOT, 16).workers == 3


def test_a_similar_order_costs_drawing_all_samples() -> None:
    recipe = Recipe(Darcy(), resolution=9, samples=100, chain=20, order="similar")
    assert extrapolate(recipe, PILOT, 1).seconds == pytest.approx(3.0 + 100 * 0.01 + 2.4 * 5)


def test_the_size_of_the_file_and_the_memory_are_right(tmp_path: Path) -> None:
    recipe = Recipe(Darcy(), resolution=33, samples=100, chain=32)
    found = estimate(recipe)
    generate(recipe, tmp_path / "d.h5", progress=False)
    assert found.bytes == pytest.approx((tmp_path / "d.h5").stat().st_size, rel=0.1)
    assert 50e6 < found.memory < 2e9  # at least an interpreter with torch
    assert found.samples == 100
    assert "nothing was written" in found.text()


@pytest.mark.parametrize(("one", "again"), [(9.0, True), (3.0, False)])
def test_of_a_slow_family_two_samples_are_solved_together(
    monkeypatch: pytest.MonkeyPatch, one: float, again: bool
) -> None:
    """The first sample is solved once more only where it was slower than two: the compiler's time."""
    asked: list[int] = []

    def cost(plan, samples, device, shard):
        asked.append(samples)
        return (one if len(asked) == 1 else 2.0 * samples + 1.0), 10 * samples, 10

    monkeypatch.setattr(sys.modules[run_pilot.__module__], "_cost", cost)
    pilot = run_pilot(Recipe(Darcy(), resolution=9, samples=100), "cpu")
    assert asked == [1, 2, *[1] * again]
    assert pilot.samples == 2
    assert pilot.seconds == (3.0, 5.0)


@pytest.mark.parametrize("changes", [{"solver": Auto()}, {"order": "similar"}, {"chain": 1}, {"samples": 1}])
def test_every_kind_of_recipe_has_a_pilot(changes: dict) -> None:
    recipe = Recipe(**({"problem": Helmholtz(), "resolution": 17, "samples": 6, "chain": 4} | changes))
    pilot = run_pilot(recipe, "cpu")
    assert pilot.samples == max(2, min(recipe.chain, recipe.samples))
    assert pilot.bytes[0] < pilot.bytes[1]
    if isinstance(recipe.solver, Auto):
        assert pilot.method_seconds > 1e-3
    else:  # on a loaded machine nothing takes milliseconds too
        assert pilot.method_seconds < 0.1
    assert extrapolate(recipe, pilot, 1).seconds > 0


@pytest.mark.parametrize(
    ("arguments", "key"), [({"workers": 0}, "workers"), ({"device": "abacus"}, "device")]
)
def test_bad_arguments_name_themselves(arguments: dict, key: str) -> None:
    with pytest.raises(InvalidInput, match=f"{key}: got"):
        estimate(Recipe(Darcy(), resolution=9, samples=2), **arguments)
