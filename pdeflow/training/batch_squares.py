"""What optimisers of second order see of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pdeflow.errors import InvalidInput
from pdeflow.fields import Field
from pdeflow.training.objective import Objective
from pdeflow.training.physics_informed import PhysicsInformed


class BatchSquares:
    """The residuals of a batch, as optimisers of second order see them.

    Parameters
    ----------
    objective, model
        `PhysicsInformed` and its field.
    parameters
        Those of the optimiser, in its order.
    batch
        With ``points``.
    """

    def __init__(
        self, objective: Objective, model: nn.Module, parameters: Sequence[Tensor], batch: Any
    ) -> None:
        if not isinstance(objective, PhysicsInformed) or not isinstance(model, Field):
            name, hint = type(objective).__name__, "Take AdamW, or another optimiser of torch.optim."
            raise InvalidInput("objective", name, "PhysicsInformed: the optimiser needs residuals", hint)
        self.objective, self.field, self.batch = objective, model, batch
        modules: dict[str, nn.Module] = {"objective": objective, "field": model}
        named = {id(p): f"{part}.{name}" for part, m in modules.items() for name, p in m.named_parameters()}
        self.parameters = {named[id(p)]: p for p in parameters}

    @torch.no_grad()
    def residuals(self) -> Tensor:
        """See `LeastSquares`."""
        return self.objective.weighted(self.field, self.batch)

    def linearised(self) -> tuple[Tensor, Tensor]:
        """See `LeastSquares`."""
        detached = {name: p.detach() for name, p in self.parameters.items()}
        with torch.enable_grad():
            return self.objective.linearised(self.field, detached, self.batch)
