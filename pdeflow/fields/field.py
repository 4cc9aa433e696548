"""A field: a function of position, and often of time, that solves one problem."""

from __future__ import annotations

import abc
from collections.abc import Sequence

from torch import Tensor, nn

from pdeflow.errors import InvalidInput
from pdeflow.fields.taylor_series import MultiIndex


class Field(nn.Module, abc.ABC):
    """``u(points)``, with its derivatives in the cheapest exact way that it knows.

    Parameters
    ----------
    dim
        Numbers of a point.
    components
        Unknowns.
    """

    def __init__(self, dim: int, components: int = 1) -> None:
        super().__init__()
        for name, value in (("dim", dim), ("components", components)):
            if value < 1:
                raise InvalidInput(name, value, "a whole number of at least 1")
        self.dim, self.components = dim, components

    def forward(self, points: Tensor) -> Tensor:
        """Values (N, components) at points (N, dim)."""
        return self.derivatives(points, [(0,) * self.dim])[(0,) * self.dim]

    @abc.abstractmethod
    def derivatives(self, points: Tensor, wanted: Sequence[MultiIndex]) -> dict[MultiIndex, Tensor]:
        """Partial derivatives at points (N, dim), each (N, components); differentiable by the parameters.

        Parameters
        ----------
        wanted
            How often to differentiate along each axis: ``(0, 2)`` is the second derivative along the second.
        """

    def check_points(self, points: Tensor) -> None:
        """Raise InvalidInput unless points are (N, dim)."""
        if points.ndim != 2 or points.shape[1] != self.dim:
            raise InvalidInput("shape of points", tuple(points.shape), f"(N, {self.dim})")
