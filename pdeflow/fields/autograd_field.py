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
        if torch.is_inference_mode_enabled():  # in which nothing can be differentiated; trainers test in it
            with torch.inference_mode(False), torch.no_grad():
                return self._derivatives(points.clone(), wanted)
        return self._derivatives(points, wanted)

    def _derivatives(self, points: Tensor, wanted: Sequence[MultiIndex]) -> dict[MultiIndex, Tensor]:
        found, gradients = {}, {}
        for index in dict.fromkeys(wanted):
            if not any(index):
                found[index] = self.network(self._seen(points))
                continue
            axis, lower = _last_step(index)
            if lower not in gradients:
                gradients[lower] = [self._gradient(k, lower)(points) for k in range(self.out_channels)]
            found[index] = torch.stack([gradient[:, axis] for gradient in gradients[lower]], dim=1)
        return found

    def _gradient(self, component: int, index: MultiIndex) -> Function:
        """The gradient (N, dim) of a derivative of one component, as a function of points (N, dim)."""
        function = self._derivative(component, index)

        def total(points: Tensor) -> Tensor:  # each value is of its own point alone
            return function(points).sum()

        return grad(total)

    def _derivative(self, component: int, index: MultiIndex) -> Function:
        """A derivative (N,) of one component, as a function of points (N, dim)."""
        if not any(index):
            return lambda points: self.network(self._seen(points))[:, component]
        axis, lower = _last_step(index)
        gradient = self._gradient(component, lower)
        return lambda points: gradient(points)[:, axis]

    def _seen(self, points: Tensor) -> Tensor:
        """What the network sees of points."""
        if not any(self.periodic):
            return points
        columns = []
        for x, low, high, wraps in zip(points.unbind(1), self.lower, self.upper, self.periodic):
            angle = 2 * math.pi * (x - low) / (high - low)
            columns += [angle.cos(), angle.sin()] if wraps else [x]
        return torch.stack(columns, dim=1)


def _last_step(index: MultiIndex) -> tuple[int, MultiIndex]:
    """The axis that is differentiated along last, and the derivative before."""
    axis = max(k for k, order in enumerate(index) if order)
    return axis, (*index[:axis], index[axis] - 1, *index[axis + 1 :])
