"""A curriculum in time: the equation is learned on a part of the time that grows.

C. L. Wight, J. Zhao, "Solving Allen-Cahn and Cahn-Hilliard equations using the adaptive physics informed
neural networks", Commun. Comput. Phys. 29 (2021), the first of their approaches.
"""

from __future__ import annotations

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.training.time_weights import TimeWeights


class GrowingTime(TimeWeights):
    """The residual counts up to a time that moves to the end in equal strides, and not beyond.

    What counts is the mean over that part of the time. Points later than it stay in the batch, with no
    weight; conditions on sides hold for all times from the start.

    Parameters
    ----------
    steps
        Of the optimiser, in all of them together the time grows; afterwards the whole of it counts.
    stages
        In how many strides, all of as many steps.

    Raises
    ------
    InvalidInput
        If there are not at least two stages, or fewer steps than stages.
    """

    def __init__(self, steps: int, stages: int = 10) -> None:
        super().__init__()
        if stages < 2:
            raise InvalidInput("objective.time_weights.stages", stages, "at least 2")
        if steps < stages:
            raise InvalidInput("objective.time_weights.steps", steps, f"at least {stages}, one a stage")
        self.steps, self.stages, self.share = steps, stages, 1.0 / stages

    def adapt(self, times: Tensor, squares: Tensor, initial: Tensor, step: int) -> None:
        """See :meth:`TimeWeights.adapt`."""
        self.share = min(self.stages, step * self.stages // self.steps + 1) / self.stages

    def at(self, times: Tensor) -> Tensor:
        """See :meth:`TimeWeights.at`."""
        if self.share == 1.0:  # of which rounding leaves no point out
            return torch.ones_like(times)
        reached = times <= self.start + self.share * (self.stop - self.start)
        return reached.to(times.dtype) / self.share
