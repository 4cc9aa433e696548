"""The terms of a physics-informed loss, as what balances them sees them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pdeflow.fields import Field

if TYPE_CHECKING:
    from pdeflow.training.physics_informed import PhysicsInformed


class StatementTerms:
    """One term a statement, at the parameters of a field as they are; see `LossTerms`.

    Parameters
    ----------
    objective, field
        The loss, and the field that it is of.
    points
        Of a batch.
    parts
        The residuals there by statement, (N, parts) each, with the tape of the field.
    """

    def __init__(
        self,
        objective: PhysicsInformed,
        field: Field,
        points: Mapping[str, Tensor],
        parts: Mapping[str, Tensor],
    ) -> None:
        self.objective, self.field = objective, field
        self.points = {name: points[name.partition(":")[0]] for name in parts}
        self.shares = {
            name: objective.share(name, some, balanced=False) for name, some in self.points.items()
        }
        self.squares = [(part * self.shares[name]).square().sum() for name, part in parts.items()]

    def values(self) -> Tensor:
        """See `LossTerms`."""
        return torch.stack(self.squares).detach()

    def gradients(self) -> Tensor:
        """See `LossTerms`."""
        moved = [parameter for parameter in self.field.parameters() if parameter.requires_grad]
        rows = []
        for square in self.squares:
            slopes = torch.autograd.grad(
                square, moved, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            rows.append(torch.cat([slope.flatten() for slope in slopes]))
        return torch.stack(rows)

    def traces(self) -> Tensor:
        """See `LossTerms`."""
        return torch.stack([self._trace(name) for name in self.points])

    def _trace(self, name: str) -> Tensor:
        """The sum of squares of the Jacobian, some points at a time."""
        moved = {f"field.{key}": p for key, p in self.field.named_parameters() if p.requires_grad}
        found = self.objective.jacobians(self.field, name, self.points[name], moved)
        sizes = torch.cat([jacobian.square().sum((1, 2)) for jacobian in found])
        return (sizes * self.shares[name][:, 0].square()).sum()
