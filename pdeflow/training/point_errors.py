"""What is left of a statement at points, and how far a field is from the exact solution there."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torchmetrics import Metric


class PointErrors(Metric):
    """Root mean squares of residuals and conditions; the relative L2 error, where the solution is known.

    ``compute`` gives ``residual``; ``conditions``, over all of them, those that the form of the field meets
    included; and ``l2``, the root of the mean square of the error over that of the exact solution, with
    ``max_error``. What there is nothing of is left out.
    """

    full_state_update = False
    higher_is_better = False
    residual: Tensor
    conditions: Tensor
    error: Tensor
    exact: Tensor
    largest: Tensor

    def __init__(self) -> None:
        super().__init__()
        # Sum of squares, and how many they are.
        for name in ("residual", "conditions", "error", "exact"):
            self.add_state(name, torch.zeros(2, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("largest", torch.zeros((), dtype=torch.float64), dist_reduce_fx="max")

    def update(
        self,
        residual: Tensor,
        conditions: Mapping[str, Tensor],
        values: Tensor,
        exact: Tensor | None = None,
    ) -> None:
        """Take points in.

        Parameters
        ----------
        residual
            (N, equations), inside.
        conditions
            (M, parts) by name.
        values, exact
            (N, unknowns), inside.
        """
        self.residual = self.residual + _squares(residual)
        for part in conditions.values():
            self.conditions = self.conditions + _squares(part)
        if exact is not None:
            self.error = self.error + _squares(values - exact)
            self.exact = self.exact + _squares(exact)
            self.largest = torch.maximum(self.largest, (values - exact).abs().max().double())

    def compute(self) -> dict[str, Tensor]:
        """The numbers that there are, by name."""
        found = {}
        for name, (total, count) in (("residual", self.residual), ("conditions", self.conditions)):
            if count:
                found[name] = (total / count).sqrt()
        if self.error[1]:
            found |= {"l2": (self.error[0] / self.exact[0]).sqrt(), "max_error": self.largest}
        return found


def _squares(values: Tensor) -> Tensor:
    values = values.detach().double()
    return torch.stack([values.square().sum(), values.new_tensor(float(values.numel()))])
