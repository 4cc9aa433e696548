"""More samples than there are, where the equation looks the same from several sides."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid


class Symmetries(Callback):
    """Turns every training sample over by a symmetry of the box, drawn at random, input and target alike.

    Right only where the problem has the symmetry: coefficient and solution are scalars, and domain,
    boundary conditions and whatever is not an input look the same afterwards. Darcy flow with a constant
    source and the same condition on all sides of a square has all eight (flips and transposition); a
    flow with a preferred direction has not. Only training samples are changed.

    Parameters
    ----------
    flips
        Mirror each axis with probability one half.
    transpose
        Permute the axes, every permutation as likely. Axes have to be alike: extent, points, periodicity.
    upper_end
        Whether a bounded axis has a node at its upper end, as pdeflow's own data sets do. In data that
        leave it out, nodes lie at i / n like those of a periodic axis: node n - i is then the mirror image
        of node i, and node 0, the lower end, stands in for the end that is not there. That is exact for a
        solution that is the same at both ends and takes one line of the coefficient from the other side.

    Raises
    ------
    InvalidInput
        When training starts, if both are off, samples are on meshes, or axes are permuted that are not alike.
    """

    def __init__(self, flips: bool = True, transpose: bool = True, upper_end: bool = True) -> None:
        if not (flips or transpose):
            raise InvalidInput("Symmetries", "flips: false, transpose: false", "at least one of them")
        self.flips, self.transpose, self.upper_end = flips, transpose, upper_end

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: dict[str, Any], batch_idx: int
    ) -> None:
        """Replace input and target in the batch."""
        grid = batch["grid"]
        if not isinstance(grid, Grid):
            raise InvalidInput("Symmetries", "samples on meshes", "samples on a grid", "Leave it out.")
        if self.transpose and not _alike(grid):
            raise InvalidInput(
                "Symmetries.transpose",
                True,
                f"axes of the same extent, points and periodicity; these are {grid.shape} on "
                f"{grid.lower} to {grid.upper}",
                "Set transpose: false.",
            )
        fields = {name: batch[name] for name in ("input", "target")}
        first_axis = -grid.dim
        if self.flips:
            for axis, periodic in enumerate(grid.periodic):
                keeps_lower_end = periodic or not self.upper_end
                mirrored = {n: _mirror(u, first_axis + axis, keeps_lower_end) for n, u in fields.items()}
                fields = _where(_coins(batch["input"]), mirrored, fields)
        if self.transpose:
            # Each axis but the last swapped with one drawn from itself and those after it: Fisher, Yates.
            for axis in range(grid.dim - 1):
                chosen = torch.randint(axis, grid.dim, (len(batch["input"]),), device=batch["input"].device)
                for other in range(axis + 1, grid.dim):
                    swapped = {
                        n: u.transpose(first_axis + axis, first_axis + other) for n, u in fields.items()
                    }
                    fields = _where(chosen == other, swapped, fields)
        batch.update(fields)


def _alike(grid: Grid) -> bool:
    sides = zip(grid.upper, grid.lower, grid.points, grid.periodic)
    return len({(round(high - low, 12), points, wraps) for high, low, points, wraps in sides}) == 1


def _mirror(u: Tensor, axis: int, keeps_lower_end: bool) -> Tensor:
    """Node i to node n - 1 - i, or to node n - i, counted around, where the upper end is no node."""
    return u.flip(axis).roll(1, axis) if keeps_lower_end else u.flip(axis)


def _coins(like: Tensor) -> Tensor:
    return torch.rand(len(like), device=like.device) < 0.5


def _where(chosen: Tensor, new: dict[str, Tensor], old: dict[str, Tensor]) -> dict[str, Tensor]:
    mask = {name: chosen.view(-1, *(1,) * (u.ndim - 1)) for name, u in old.items()}
    return {name: torch.where(mask[name], new[name], old[name]) for name in old}
