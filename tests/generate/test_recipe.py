from __future__ import annotations

import dataclasses

import pytest

from pdeflow.errors import InvalidInput
from pdeflow.generate import Recipe
from pdeflow.linalg import Jacobi
from pdeflow.problems import Box, Constant, D, Darcy, Dirichlet, Poisson, Problem, ThresholdedField, sin


def test_chains_partition_the_samples() -> None:
    recipe = Recipe(Darcy(), resolution=9, samples=10, chain=4)
    assert [list(recipe.indices(c)) for c in range(recipe.chains)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


@pytest.mark.parametrize(
    "change",
    [
        {"resolution": 17},
        {"samples": 9},
        {"seed": 1},
        {"chain": 2},
        {"rtol": 1e-6},
        {"dtype": "float64"},
        {"preconditioner": Jacobi()},
        {"problem": Poisson()},
        {"problem": Darcy(coefficient=ThresholdedField(low=1.0, high=12.0))},
        {"problem": Darcy(source=Constant(2.0))},
        {"problem": Darcy(dim=1)},
        {"name": "other"},
    ],
)
def test_fingerprint_changes_with_all_that_decides_a_sample(change: dict) -> None:
    recipe = Recipe(Darcy(), resolution=9, samples=8, chain=4)
    assert Recipe(Darcy(), resolution=9, samples=8, chain=4).fingerprint() == recipe.fingerprint()
    assert dataclasses.replace(recipe, **change).fingerprint() != recipe.fingerprint()


class Bordered(Problem):
    """-lap u = 1 in an interval of any length, with any value at its ends."""

    def __init__(self, value, length: float = 1.0) -> None:
        self.domain = Box(x=(0.0, length))
        self.conditions = (Dirichlet(value),)

    def residual(self, u, at, p):
        return -D(u, "x", 2) - 1.0


def test_fingerprint_tells_statements_apart_to_the_last_digit() -> None:
    problems = [
        Bordered(0.0),
        Bordered(1e-9),
        Bordered(lambda at, p: sin(at.x)),
        Bordered(lambda at, p: 5 * sin(at.x)),
        Bordered(0.0, length=1.0 + 1e-12),
    ]
    assert len({Recipe(problem, resolution=9).fingerprint() for problem in problems}) == len(problems)


@pytest.mark.parametrize(
    ("key", "value"),
    [("samples", 0), ("chain", 0), ("seed", -1), ("rtol", 2.0), ("rtol", float("nan")), ("dtype", "int8")],
)
def test_impossible_values_name_their_key(key: str, value: object) -> None:
    with pytest.raises(InvalidInput, match=f"{key}: got"):
        Recipe(Darcy(), **{key: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("resolution", [1, 2, [9, 2]])
def test_a_grid_without_interior_is_refused(resolution: int | list[int]) -> None:
    with pytest.raises(InvalidInput, match="at least 3 nodes along each axis"):
        Recipe(Darcy(), resolution=resolution, samples=1)
