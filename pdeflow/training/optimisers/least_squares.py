"""A loss that is a sum of squares, as optimisers of second order see it."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.optim import Optimizer


class LeastSquares(Protocol):
    """Half the sum of squares of residuals that depend on parameters."""

    def residuals(self) -> Tensor:
        """(M,), at the parameters as they are, without gradients."""
        ...

    def linearised(self) -> tuple[Tensor, Tensor]:
        """The residuals (M,) and their Jacobian (M, P) by all parameters, in the order of the optimiser."""
        ...


class ResidualOptimiser(Optimizer, abc.ABC):
    """An optimiser whose ``step`` is given a `LeastSquares` beside the closure.

    All parameters are one vector to it.
    """

    def __init__(self, params: Iterable[nn.Parameter], defaults: dict[str, Any]) -> None:
        super().__init__(params, defaults)
        self.stalled = False

    @abc.abstractmethod
    def step(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, closure: Callable[[], Any], least_squares: LeastSquares
    ) -> Any:
        """One step; gives what the closure gave. ``stalled`` says that there is none that helps."""

    @property
    def parameters(self) -> list[Tensor]:
        """All of them."""
        return [parameter for group in self.param_groups for parameter in group["params"]]

    @torch.no_grad()
    def place(self, vector: Tensor) -> None:
        """Set all parameters from one vector (P,)."""
        vector_to_parameters(vector, self.parameters)

    @torch.no_grad()
    def vector(self) -> Tensor:
        """All parameters as one vector (P,), a copy."""
        return parameters_to_vector(self.parameters).clone()
