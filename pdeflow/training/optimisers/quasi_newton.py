"""What quasi-Newton methods share: one vector of parameters, a line search, a new start where it fails."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from pdeflow.errors import InvalidInput
from pdeflow.training.optimisers.strong_wolfe import Trial, strong_wolfe
from pdeflow.training.optimisers.vector_optimiser import NO_STEP, NOT_FINITE, VectorOptimiser


class QuasiNewton(VectorOptimiser):
    """Steps along :math:`-H g`, with a model H of the inverse Hessian that is learned from the steps.

    The length of a step meets the strong Wolfe conditions. Where no length makes the loss smaller, H is
    forgotten and the search goes on along the gradient; ``restarts`` counts how often. ``stalled`` says that
    this did not help either: the loss is as small as its rounding allows, or is not smooth.

    Parameters
    ----------
    params
        The parameters.
    iterations
        Of one ``step``, which costs one evaluation of the loss more than its line searches.
    defaults
        Further settings.
    """

    def __init__(self, params: Iterable[nn.Parameter], iterations: int, defaults: dict[str, Any]) -> None:
        if iterations < 1:
            raise InvalidInput("optimizer.iterations", iterations, "at least 1")
        super().__init__(params, {"iterations": iterations, **defaults})

    @property
    def restarts(self) -> int:
        """How often H was forgotten."""
        return self.memory.get("restarts", 0)

    @abc.abstractmethod
    def has_learned(self) -> bool:
        """Whether H is anything but the identity."""

    @abc.abstractmethod
    def times_gradient(self, g: Tensor) -> Tensor:
        """H g, both (P,)."""

    @abc.abstractmethod
    def learn(self, s: Tensor, y: Tensor, g: Tensor, length: float) -> None:
        """Update H, so that H y = s.

        Parameters
        ----------
        s, y
            Differences (P,) of the parameters and of the gradients; their product is positive.
        g
            The gradient (P,) before the step.
        length
            Of the step, in units of -H g.
        """

    @abc.abstractmethod
    def forget(self) -> None:
        """Make H the identity."""

    def first_length(self, slope: float) -> float:
        """The length that is tried first along -H g, where the loss has this derivative by it."""
        return 1.0

    @torch.no_grad()
    def step(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, closure: Callable[[], Tensor]
    ) -> float:
        """So many iterations; gives the loss before them.

        Parameters
        ----------
        closure
            Evaluates the loss and its gradient, several times in an iteration, always of the same function.
        """
        x = self.vector()
        loss, g = self._evaluate(closure, x)
        first = loss
        if not math.isfinite(loss + float(g.square().sum())):
            self.stalled, self.cause = True, NOT_FINITE
            return first
        for _ in range(self.param_groups[0]["iterations"]):
            direction = -self.times_gradient(g)
            found = self._search(closure, x, direction, loss, g)
            if found is None and self.has_learned():
                self.forget()
                self.memory["restarts"] = self.restarts + 1
                direction = -g
                found = self._search(closure, x, direction, loss, g)
            if found is None:
                self.stalled, self.cause = True, NO_STEP
                break
            s, y = found.length * direction, found.gradient - g
            # Not where the search gave up and the loss is concave, nor where the product is rounding.
            if float(s @ y) > torch.finfo(x.dtype).eps * float(s.norm() * y.norm()):
                self.learn(s, y, g, found.length)
            self.memory["decrease"] = loss - found.loss
            x, loss, g = x + s, found.loss, found.gradient
        self.place(x)
        return first

    def _evaluate(self, closure: Callable[[], Tensor], x: Tensor) -> tuple[float, Tensor]:
        self.place(x)
        with torch.enable_grad():
            loss = float(closure().detach())
        return loss, self.gradient()

    def _search(
        self, closure: Callable[[], Tensor], x: Tensor, direction: Tensor, loss: float, g: Tensor
    ) -> Trial | None:
        def at(length: float) -> Trial:
            new_loss, gradient = self._evaluate(closure, x + length * direction)
            return Trial(length, new_loss, gradient, float(gradient @ direction))

        start = Trial(0.0, loss, g, float(g @ direction))
        if self.has_learned():
            length = self.first_length(start.slope)
        else:  # the gradient alone has no scale: parameters move by no more than one unit in sum
            length = min(1.0, 1.0 / float(g.abs().sum().clamp_min(1e-300)))
        return strong_wolfe(at, start, length)
