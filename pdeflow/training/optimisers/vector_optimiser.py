"""Optimisers to which all parameters are one vector."""

from __future__ import annotations

import abc
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pdeflow.errors import InvalidInput

NO_STEP = "found no step that makes the loss smaller"
NOT_FINITE = "was given residuals or derivatives that are not finite"
NOT_FACTORED = "cannot factor its system, with much more damping neither"


class VectorOptimiser(Optimizer, abc.ABC):
    """An optimiser that moves one vector, and knows when it cannot.

    Parameters that need no gradient stay as they are. ``stalled`` says that it has no step to make, ``cause``
    why.

    Raises
    ------
    InvalidInput
        If no parameter needs a gradient.
    """

    def __init__(self, params: Iterable[nn.Parameter], defaults: dict[str, Any]) -> None:
        super().__init__(params, defaults)
        self.stalled, self.cause = False, NO_STEP
        if not self.parameters:
            expected = "at least one parameter with requires_grad"
            raise InvalidInput("optimizer.params", "none that needs a gradient", expected)

    @property
    def parameters(self) -> list[Tensor]:
        """Those that need a gradient."""
        return [parameter for parameter in self._all if parameter.requires_grad]

    @property
    def _all(self) -> list[Tensor]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    @property
    def memory(self) -> dict[str, Any]:
        """What is remembered from step to step; kept in checkpoints, with the first parameter.

        Forgotten where other parameters need gradients than before, for then the vector is another one.
        """
        first, moved = self._all[0], [parameter.requires_grad for parameter in self._all]
        if self.state[first].setdefault("moved", moved) != moved:
            self.state[first] = {"moved": moved}
        return self.state[first]

    @torch.no_grad()
    def place(self, vector: Tensor) -> None:
        """Set the parameters from one vector (P,)."""
        parts = vector.split([parameter.numel() for parameter in self.parameters])
        for parameter, part in zip(self.parameters, parts):
            parameter.copy_(part.view_as(parameter))

    @torch.no_grad()
    def vector(self) -> Tensor:
        """The parameters as one vector (P,), a copy."""
        return torch.cat([parameter.detach().flatten() for parameter in self.parameters])

    @torch.no_grad()
    def gradient(self) -> Tensor:
        """Their gradients as one vector (P,), a copy; 0 where there is none."""
        gradients = (torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters)
        return torch.cat([gradient.flatten() for gradient in gradients])
