"""How far each component of a solution of several unknowns is from the exact one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric


class ComponentErrors(Metric):
    """The relative L2 error of each unknown by itself, ``"l2 of u"``.

    That of all of them together is weighted by their sizes, and says little of a small one.
    """

    full_state_update = False
    higher_is_better = False
    error: Tensor
    exact: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.names: tuple[str, ...] = ()
        # Become one number an unknown with the first batch.
        self.add_state("error", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("exact", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, names: Sequence[str], values: Tensor, exact: Tensor) -> None:
        """Take in values and exact ones, (batch, unknowns, *shape) or (N, unknowns) both."""
        self.names = tuple(names)
        error, exact = (values.detach().double() - exact.double()), exact.double()
        self.error = self.error + error.square().transpose(0, 1).flatten(1).sum(1)
        self.exact = self.exact + exact.square().transpose(0, 1).flatten(1).sum(1)

    def compute(self) -> dict[str, Tensor]:
        """By name of the unknown; those that are 0 everywhere are left out."""
        parts = zip(self.names, self.error, self.exact)
        return {f"l2 of {name}": (error / exact).sqrt() for name, error, exact in parts if exact > 0}
