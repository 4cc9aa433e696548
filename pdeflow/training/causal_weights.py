"""Causal training: the residual counts once what comes before in time is solved.

S. Wang, S. Sankaran, P. Perdikaris, "Respecting causality for training physics-informed neural networks",
Comput. Methods Appl. Mech. Eng. 421 (2024).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.training.time_course import KEY, TimeCourse


class CausalWeights(TimeCourse):
    r"""The weight of an interval of time falls with the residuals of those before it:

    .. math:: w_i = \exp\Big(-\epsilon \big(L_0 + \sum_{j < i} L_j\big)\Big),

    with the means :math:`L_j` of the squares of the residual in the intervals, and :math:`L_0` what the loss
    has of initial conditions that are learned, weighed as there. :math:`\epsilon` goes from one of the
    tolerances to the next once every weight is above the threshold, or the optimiser stalls.

    Parameters
    ----------
    intervals
        Of equal length.
    tolerances
        The values of :math:`\epsilon`, in their order. They go by the size of the residual: with too large
        ones only the first interval is learned.
    threshold
        Between 0 and 1.

    Raises
    ------
    InvalidInput
        If a number is out of its range.
    """

    remedy: ClassVar[str] = "Give it more epochs, or smaller tolerances."
    weights: Tensor
    stage: Tensor
    scale: Tensor

    def __init__(
        self,
        intervals: int = 32,
        tolerances: Sequence[float] = (0.01, 0.1, 1.0, 10.0, 100.0),
        threshold: float = 0.99,
    ) -> None:
        super().__init__()
        if intervals < 2:
            raise InvalidInput(f"{KEY}.intervals", intervals, "at least 2")
        if not tolerances or not all(value > 0 for value in tolerances):
            raise InvalidInput(f"{KEY}.tolerances", list(tolerances), "at least one number, all positive")
        if not 0 < threshold < 1:
            raise InvalidInput(f"{KEY}.threshold", threshold, "a number between 0 and 1")
        self.intervals, self.threshold = intervals, threshold
        self.register_buffer("weights", torch.ones(intervals))
        self.register_buffer("stage", torch.zeros((), dtype=torch.int64))
        self.register_buffer("scale", torch.tensor(tuple(tolerances), dtype=torch.float64), persistent=False)

    def adapt(self, times: Tensor, squares: Tensor, initial: Tensor) -> None:
        """See :meth:`TimeCourse.adapt`."""
        number = self._interval(times)
        sums, counts = (
            torch.zeros_like(self.weights).index_add(0, number, part.to(self.weights))
            for part in (squares, torch.ones_like(squares))
        )
        means = sums / counts.clamp_min(1.0)
        before = torch.cat([torch.zeros_like(means[:1]), means[:-1]]).cumsum(0) + initial
        self.weights.copy_(torch.exp(-self._tolerance() * before))
        done = (self.weights.min() > self.threshold) & (self.stage < len(self.scale) - 1)
        self.stage += done

    def advance(self, step: int) -> str | None:
        """See :meth:`Course.advance`."""
        if int(self.stage) == len(self.scale) - 1:
            return None
        self.stage += 1
        return f"the tolerance {float(self._tolerance()):g} of CausalWeights"

    def weigh(self, times: Tensor) -> Tensor:
        """See :meth:`TimeCourse.weigh`."""
        return self.weights[self._interval(times)]

    def progress(self) -> dict[str, Tensor]:
        """See :meth:`Course.progress`."""
        return {"causal weight of the end": self.weights[-1], "causal tolerance": self._tolerance()[0]}

    def missing(self) -> str | None:
        """See :meth:`Course.missing`."""
        least = float(self.weights.min())
        return None if least > self.threshold else f"the residual at the end has a weight of {least:.2g}"

    def _tolerance(self) -> Tensor:
        """(1,), without asking the device which one."""
        return self.scale.index_select(0, self.stage.reshape(1))

    def _interval(self, times: Tensor) -> Tensor:
        share = (times - self.start) / (self.stop - self.start)
        return (share * self.intervals).long().clamp(0, self.intervals - 1)
