"""Symmetries keep pairs together and reach every member of the group."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.training.callbacks import Symmetries


def turned(callback: Symmetries, x: torch.Tensor, grid: Grid) -> dict[str, Any]:
    batch = {"input": x, "target": 2 * x, "grid": grid}
    callback.on_train_batch_start(None, None, batch, 0)  # type: ignore[arg-type]
    return batch


@pytest.mark.parametrize(
    ("dim", "flips", "transpose", "order"),
    [(1, True, False, 2), (2, True, True, 8), (2, True, False, 4), (2, False, True, 2), (3, True, True, 48)],
)
def test_the_whole_group_and_pairs_together(dim: int, flips: bool, transpose: bool, order: int) -> None:
    torch.manual_seed(0)
    grid = Grid(tuple("xyz"[:dim]), (0.0,) * dim, (1.0,) * dim, (3,) * dim)
    x = torch.randn(1, 1, *grid.shape).expand(2000, 1, *grid.shape)
    batch = turned(Symmetries(flips, transpose), x, grid)
    assert torch.equal(batch["target"], 2 * batch["input"])
    members, counts = batch["input"].flatten(1).unique(dim=0, return_counts=True)
    assert len(members) == order
    # Each member as often as another, within five standard deviations.
    assert (counts - 2000 / order).abs().max() < 5 * (2000 / order) ** 0.5


@pytest.mark.parametrize(
    ("periodic", "upper_end", "image"),
    [(False, True, [3, 2, 1, 0]), (False, False, [0, 3, 2, 1]), (True, True, [0, 3, 2, 1])],
)
def test_mirror_images_of_the_nodes(periodic: bool, upper_end: bool, image: list[int]) -> None:
    torch.manual_seed(0)
    grid = Grid(("x",), (0.0,), (1.0,), (4,), (periodic,))
    x = torch.arange(4.0).expand(50, 1, 4)
    batch = turned(Symmetries(upper_end=upper_end), x, grid)
    assert sorted(batch["input"].flatten(1).unique(dim=0).tolist()) == sorted([image, [0, 1, 2, 3]])


def test_axes_that_differ() -> None:
    grid = Grid(("x", "y"), (0.0, 0.0), (1.0, 2.0), (4, 4))
    with pytest.raises(InvalidInput, match="transpose: false"):
        turned(Symmetries(), torch.zeros(2, 1, 4, 4), grid)
    assert turned(Symmetries(transpose=False), torch.zeros(2, 1, 4, 4), grid)["input"].shape == (2, 1, 4, 4)


def test_neither() -> None:
    with pytest.raises(InvalidInput, match="at least one"):
        Symmetries(flips=False, transpose=False)
