"""Points that fill the unit cube."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from scipy.stats import qmc

from pdeflow.problems.space_filling import SpaceFilling, space_filling


def seed(number: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(number)


@pytest.mark.parametrize("kind", get_args(SpaceFilling))
def test_they_lie_in_the_cube_and_depend_on_the_seed_alone(kind: SpaceFilling) -> None:
    for n, dim in ((1, 1), (5, 1), (64, 2), (100, 3)):
        points = space_filling(kind, n, dim, seed(3))
        assert points.dtype == np.float64
        assert points.shape == ((round(n ** (1 / dim)) ** dim if kind == "grid" else n), dim)
        assert (points >= 0).all()
        assert (points < 1).all()
        np.testing.assert_array_equal(points, space_filling(kind, n, dim, seed(3)))
        if kind != "grid":
            assert (points != space_filling(kind, n, dim, seed(4))).any()


def test_sequences_are_more_even_than_chance() -> None:
    """The centred L2 discrepancy, over seeds: Sobol' and Halton below a hypercube, and that below chance."""
    found = {
        kind: np.mean([qmc.discrepancy(space_filling(kind, 256, 2, seed(k))) for k in range(8)])
        for kind in ("sobol", "halton", "lhs", "uniform")
    }
    assert found["sobol"] < 0.1 * found["lhs"]
    assert found["halton"] < 0.3 * found["lhs"]
    assert found["lhs"] < 0.5 * found["uniform"]


def test_a_hypercube_has_a_point_in_every_slice() -> None:
    points = space_filling("lhs", 50, 3, seed(0))
    slices = np.sort(np.floor(50 * points).astype(int), axis=0)
    np.testing.assert_array_equal(slices, np.repeat(np.arange(50)[:, None], 3, axis=1))


def test_a_grid_is_centres_of_cells() -> None:
    points = space_filling("grid", 6, 2, seed(0))
    assert points.tolist() == [[0.25, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.75]]
