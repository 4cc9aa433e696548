"""A loss that is a sum of squares, as optimisers of second order see it."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor

from pdeflow.training.optimisers.vector_optimiser import VectorOptimiser


class LeastSquares(Protocol):
    """The sum of squares of residuals that depend on parameters."""

    def residuals(self) -> Tensor:
        """(M,), at the parameters as they are, without gradients."""
        ...

    def linearised(self) -> tuple[Tensor, Tensor]:
        """The residuals (M,) and their Jacobian (M, P) by the optimiser's ``parameters``, in their order."""
        ...


class ResidualOptimiser(VectorOptimiser):
    """An optimiser whose ``step`` is given a `LeastSquares` beside the closure."""

    @abc.abstractmethod
    def step(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, closure: Callable[[], Any], least_squares: LeastSquares
    ) -> Any:
        """One step; gives what the closure gave."""
