"""A field: a function of position, and often of time, that is one solution."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from pdeflow.errors import InvalidInput
from pdeflow.operators import Operator
from pdeflow.problems.compiled_statement import MultiIndex


class Field(Operator):
    """A network of coordinates, with its derivatives in the cheapest exact way that it knows.

    To the rest of the house it is an operator whose input channels are the coordinates of the nodes, so that
    it is trained, tested and stored like any other: ``(batch, dim, *shape)`` to ``(batch, components,
    *shape)``.

    Parameters
    ----------
    settings
        As of `Operator`.
    lower, upper
        Corners of the box in which it is the solution, a number for each coordinate, time among them.
    periodic
        For each axis whether it wraps around; none does if empty.
    components
        Unknowns.

    Raises
    ------
    InvalidInput
        If the box is empty, or there are not as many numbers as axes.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        *,
        lower: Sequence[float],
        upper: Sequence[float],
        periodic: Sequence[bool] = (),
        components: int = 1,
    ) -> None:
        dim = len(lower)
        if dim < 1:
            raise InvalidInput("model.lower", list(lower), "at least one number, one for each coordinate")
        if len(upper) != dim or any(not low < high for low, high in zip(lower, upper)):
            expected = f"{dim} numbers, each above that of lower, {list(lower)}"
            raise InvalidInput("model.upper", list(upper), expected)
        if len(periodic) not in (0, dim):
            raise InvalidInput("model.periodic", list(periodic), f"{dim} values, one an axis")
        super().__init__(settings, dim=dim, in_channels=dim, out_channels=components)
        self.lower, self.upper = tuple(lower), tuple(upper)
        self.periodic = tuple(periodic) or (False,) * dim

    @property
    def linear_parameters(self) -> tuple[str, ...]:
        """Names of parameters in which the field is linear, solved for before the first step of training.

        By default none: see :func:`~pdeflow.training.last_layer.fit_last_layer`.
        """
        return ()

    def check(self, shape: Sequence[int]) -> None:
        """See `Operator.check`: nodes may stand in a grid of fewer axes than they have coordinates."""
        fewer = self.dim + 2 - len(shape) if len(shape) > 2 else 0
        super().check((*shape, *(1,) * fewer))

    def evaluate(self, x: Tensor) -> Tensor:
        """Values at nodes whose coordinates are the channels."""
        points = x.movedim(1, -1)
        values = self.at(points.reshape(-1, self.dim))
        return values.reshape(*points.shape[:-1], self.out_channels).movedim(-1, 1)

    def at(self, points: Tensor) -> Tensor:
        """Values (N, components) at points (N, dim)."""
        none = (0,) * self.dim
        return self.derivatives(points, [none])[none]

    @abc.abstractmethod
    def derivatives(self, points: Tensor, wanted: Sequence[MultiIndex]) -> dict[MultiIndex, Tensor]:
        """Partial derivatives at points (N, dim), each (N, components); differentiable by the parameters.

        Parameters
        ----------
        wanted
            How often to differentiate along each axis: ``(0, 2)`` is the second derivative along the second.
        """

    def derivatives_on_product(
        self, axes: Sequence[Tensor], wanted: Sequence[MultiIndex]
    ) -> dict[MultiIndex, Tensor]:
        """As :meth:`derivatives`, at all points of a product of axes, (n,) each, the last axis fastest.

        Here at one point after the other; fields that are sums of products of functions of one coordinate
        override it.
        """
        return self.derivatives(product_points(axes), wanted)

    def pointwise_gradients(
        self, points: Tensor, cotangents: Mapping[MultiIndex, Tensor]
    ) -> dict[str, Tensor]:
        r"""What each point adds to the gradient of a weighted sum of derivatives.

        .. math:: \sum_n \sum_\alpha c_\alpha(x_n) \cdot \partial^\alpha u(x_n)

        These are rows of Jacobians by the parameters. Here a backward pass a point, batched; fields that know
        a shorter way override it.

        Parameters
        ----------
        points
            (N, dim).
        cotangents
            The c of the multi-indices that there are, each (N, components).

        Returns
        -------
        dict
            By the names of the parameters that need gradients, (N, *shape) each, without a tape.
        """
        wanted = tuple(cotangents)

        def product(parameters: dict[str, Tensor], point: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
            found = functional_call(_Derivatives(self), parameters, (point[None], wanted))
            return torch.stack([(found[a][0] * c).sum() for a, c in zip(wanted, weights)]).sum()

        parameters = {f"field.{name}": p.detach() for name, p in self.named_parameters() if p.requires_grad}
        if not parameters:
            return {}
        slopes = vmap(grad(product), (None, 0, 0))(parameters, points, tuple(cotangents.values()))
        return {name.removeprefix("field."): slope for name, slope in slopes.items()}

    def pointwise_gradients_on_product(
        self, axes: Sequence[Tensor], cotangents: Mapping[MultiIndex, Tensor]
    ) -> dict[str, Tensor]:
        """As :meth:`pointwise_gradients`, at all points of a product of axes, the last axis fastest."""
        return self.pointwise_gradients(product_points(axes), cotangents)

    def check_points(self, points: Tensor) -> None:
        """Raise InvalidInput unless points are (N, dim)."""
        if points.ndim != 2 or points.shape[1] != self.dim:
            raise InvalidInput("shape of points", tuple(points.shape), f"(N, {self.dim})")


def product_points(axes: Sequence[Tensor]) -> Tensor:
    """All points (N, d) of a product of axes, (n,) each, the last axis fastest."""
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, -2)


class _Derivatives(nn.Module):
    """Derivatives of a field as a module's ``forward``, so that its parameters can be replaced."""

    def __init__(self, field: Field) -> None:
        super().__init__()
        self.field = field

    def forward(self, points: Tensor, wanted: Sequence[MultiIndex]) -> dict[MultiIndex, Tensor]:
        """See :meth:`Field.derivatives`."""
        return self.field.derivatives(points, wanted)
