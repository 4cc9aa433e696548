"""Numbers that are learned and stay within bounds.

The map of F. James, M. Roos, "MINUIT, a system for function minimization and analysis of the parameter errors
and correlations", Comput. Phys. Commun. 10 (1975), where there are two bounds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn

from pdeflow.fields.bounds import of_magnitude

NEAR = 1e-3
"""How near to a bound a number counts as being at it: in units of what lies between the bounds, or of where
it started."""


class BoundedNumbers(nn.Module):
    r"""Numbers by name, each a smooth function of a parameter without bounds.

    .. math:: p = \frac{a + b}2 + \frac{b - a}2 \sin\theta, \quad p = a + e^\theta, \quad p = b - e^\theta,
              \quad p = \theta

    for two bounds, a lower one, an upper one, and none. Where two bounds are positive and b is at least
    `~pdeflow.fields.bounds.FAR` times a, whatever the distribution, the first map is one of logarithms:

    .. math:: \log p = \frac{\log a + \log b}2 + \frac{\log b - \log a}2 \sin\theta,

    so that a step of :math:`\theta` changes p by a share of it, near the lower bound as near the upper one.

    Parameters
    ----------
    start
        The numbers at first, strictly within the bounds.
    bounds
        By the same names, lower and upper; infinite where there is none.
    """

    def __init__(self, start: Mapping[str, float], bounds: Mapping[str, tuple[float, float]]) -> None:
        super().__init__()
        self.bounds = {name: bounds[name] for name in start}
        self.start = dict(start)
        self.free = nn.ParameterDict(
            {name: nn.Parameter(torch.tensor(_free(value, *bounds[name]))) for name, value in start.items()}
        )

    def value(self, name: str, free: Tensor) -> Tensor:
        """A number, or several, from its parameter; differentiable."""
        low, high = self.bounds[name]
        if of_magnitude(low, high):
            between = _between(math.log(low), math.log(high), free)
            return between.exp().clamp(low, high)  # which round-off may leave
        if math.isfinite(low) and math.isfinite(high):
            return _between(low, high, free)
        if math.isfinite(low):
            return low + free.exp()
        return high - free.exp() if math.isfinite(high) else free

    def values(self) -> dict[str, Tensor]:
        """All of them, as they are now."""
        return {name: self.value(name, free) for name, free in self.free.items()}

    def elsewhere(self) -> dict[str, Tensor]:
        """Other numbers within the bounds, to see what depends on them."""
        return {name: self.value(name, free + 0.3712) for name, free in self.free.items()}

    def tell(self) -> None:
        """Warn of those that are at a bound."""
        for name, number in self.values().items():
            value, (low, high) = float(number.detach()), self.bounds[name]
            for bound in (low, high):
                if math.isfinite(bound) and _near(value, bound, low, high, self.start[name]):
                    rank_zero_warn(
                        f"objective.unknown.{name}: training ended at {value:g}, at the bound {bound:g} of "
                        f"{name}. What is asked for may lie beyond: give problem.init_args.{name} a wider "
                        "distribution, or look at the statement and the observed values."
                    )


def _between(low: float, high: float, free: Tensor) -> Tensor:
    return (low + high) / 2 + (high - low) / 2 * free.sin()


def _near(value: float, bound: float, low: float, high: float, start: float) -> bool:
    if of_magnitude(low, high):
        return abs(math.log(value / bound)) <= NEAR * math.log(high / low)
    room = high - low if math.isfinite(high - low) else abs(start - bound)
    return abs(value - bound) <= NEAR * room


def _free(value: float, low: float, high: float) -> float:
    if of_magnitude(low, high):
        value, low, high = math.log(value), math.log(low), math.log(high)
    if math.isfinite(low) and math.isfinite(high):
        return math.asin((2 * value - low - high) / (high - low))
    if math.isfinite(low):
        return math.log(value - low)
    return math.log(high - value) if math.isfinite(high) else float(value)
