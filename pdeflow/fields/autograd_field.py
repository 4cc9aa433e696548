"""Any module of points as a field, differentiated by automatic differentiation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import grad

from pdeflow.errors import InvalidInput
from pdeflow.fields.field import Field
from pdeflow.problems.compiled_statement import MultiIndex

Function = Callable[[Tensor], Tensor]


class AutogradField(Field):
    """A module of one's own that maps points to values; its derivatives come from automatic differentiation.

    They are reverse sweeps, one inside of the other: exact, for any module of differentiable operations, and
    slower the higher they are. Other fields know shorter ways.

    Parameters
    ----------
    network
        Maps points (N, features) to values (N, components), each point by itself: without batch
        normalisation, and without randomness. It sees the coordinates as they are; of an axis that wraps
        around the cosine and the sine of the angle in their place, so that the field is periodic, and has as
        many features more as there are such axes.
    lower, upper, components, periodic
        As of `Field`.

    Raises
    ------
    InvalidInput
        As `Field`, and if the module does not map such points to such values.
    """

    def __init__(
        self,
        network: nn.Module,
        lower: Sequence[float] = (-1.0,),
        upper: Sequence[float] = (1.0,),
        components: int = 1,
        periodic: Sequence[bool] = (),
    ) -> None:
        settings = {
            "network": network,
            "lower": list(lower),
            "upper": list(upper),
            "components": components,
            "periodic": list(periodic),
        }
        super().__init__(settings, lower=lower, upper=upper, periodic=periodic, components=components)
        self.network = network
        self._check_network(next(network.parameters(), torch.zeros(())))

    def _check_network(self, like: Tensor) -> None:
        features, name = self.dim + sum(self.periodic), type(self.network).__name__
        expected = f"a module that maps points (N, {features}) to values (N, {self.out_channels})"
        try:
            shape = tuple(self.network(like.new_zeros(2, features)).shape)
        except RuntimeError as error:
            got = f"{name}, which fails at two of them: {str(error).splitlines()[0]}"
            raise InvalidInput("model.network", got, expected) from error
        if shape != (2, self.out_channels):
            raise InvalidInput("model.network", f"{name}, which maps two of them to {shape}", expected)

    def derivatives(self, points: Tensor, wanted: Sequence[MultiIndex]) -> dict[MultiIndex, Tensor]:
        """See :meth:`Field.derivatives`."""
        self.check_points(points)
        found = {}
        for index in dict.fromkeys(wanted):
            if not any(index):
                found[index] = self.network(self._seen(points))
                continue
            columns = [self._derivative(k, index)(points) for k in range(self.out_channels)]
            found[index] = torch.stack(columns, dim=1)
        return found

    def _derivative(self, component: int, index: MultiIndex) -> Function:
        """A derivative of one component, as a function of points (N, dim) with values (N,)."""

        def values(points: Tensor) -> Tensor:
            return self.network(self._seen(points))[:, component]

        found: Function = values
        for axis, order in enumerate(index):
            for _ in range(order):
                found = _slope(found, axis)
        return found

    def _seen(self, points: Tensor) -> Tensor:
        """What the network sees of points."""
        if not any(self.periodic):
            return points
        columns = []
        for x, low, high, wraps in zip(points.unbind(1), self.lower, self.upper, self.periodic):
            angle = 2 * math.pi * (x - low) / (high - low)
            columns += [angle.cos(), angle.sin()] if wraps else [x]
        return torch.stack(columns, dim=1)


def _slope(function: Function, axis: int) -> Function:
    """The derivative along an axis of what gives each point (N, dim) a value (N,) of its own."""

    def total(points: Tensor) -> Tensor:
        return function(points).sum()

    return lambda points: grad(total)(points)[:, axis]
