"""Weights of the residual that depend on time and change while a solution is learned."""

from __future__ import annotations

import abc

from torch import Tensor, nn


class TimeWeights(nn.Module, abc.ABC):
    """Factors of the squares of the residual at points inside, by their times.

    Validation goes by the loss without them, so that epochs compare.
    """

    start: float
    stop: float

    def begin(self, start: float, stop: float) -> None:
        """Know from when to when the equation holds."""
        self.start, self.stop = start, stop

    @abc.abstractmethod
    def adapt(self, times: Tensor, squares: Tensor, initial: Tensor, step: int) -> None:
        """Choose the weights of this step.

        Parameters
        ----------
        times, squares
            Of the points inside, (N,), and of their residuals, summed over equations; without a tape.
        initial
            What the initial conditions that are learned contribute to the loss; 0 where there are none.
        step
            How many steps the optimiser has made.
        """

    @abc.abstractmethod
    def at(self, times: Tensor) -> Tensor:
        """The weights (N,) at times (N,)."""
