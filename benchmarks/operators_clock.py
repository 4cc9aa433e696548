"""The budget of a training: what ends it, where its learning rate is, and how long a step takes.

The rate follows half a cosine up and half a cosine down over the seconds, not over a number of steps, so that
a fast model makes more steps of the same schedule and every training ends with a rate of almost nothing.
"""

from __future__ import annotations

import statistics
import time
from itertools import pairwise

import torch

from pdeflow.training import OneCycle

WARM_UP_STEPS = 3


class Clock:
    """Of a training that ends after so many ``seconds``, or ``steps`` where they are given.

    Parameters
    ----------
    seconds
        From the first batch to the last step.
    steps
        Ends the training earlier, to time a step.
    device
        Where the work is waited for.
    """

    def __init__(self, seconds: float, steps: int | None = None, device: str = "cpu") -> None:
        self.seconds, self.steps, self.device = seconds, steps, device
        self.schedule = OneCycle(warmup=0.2)
        self.begin: float | None = None
        self.ticks: list[float] = []

    def start(self) -> None:
        """At the first batch; later ones change nothing."""
        if self.begin is None:
            self.begin = time.perf_counter()

    def tick(self) -> None:
        """At the end of a step."""
        if self.device == "cuda":
            torch.cuda.synchronize()
        self.ticks.append(time.perf_counter())

    @property
    def taken(self) -> float:
        """Seconds since the first batch."""
        return 0.0 if self.begin is None else time.perf_counter() - self.begin

    @property
    def over(self) -> bool:
        """Whether the training has had its budget."""
        return self.taken >= self.seconds or (self.steps is not None and len(self.ticks) >= self.steps)

    def factor(self, step: int = 0) -> float:
        """On the learning rate; the number of the step does not matter."""
        return self.schedule.factor(min(1.0, self.taken / self.seconds))

    @property
    def told(self) -> dict[str, float]:
        """``seconds`` from the first batch to the last step, ``steps``, and the median of a step."""
        assert self.begin is not None
        kept = self.ticks[WARM_UP_STEPS:] if len(self.ticks) > WARM_UP_STEPS + 1 else self.ticks
        each = [b - a for a, b in pairwise(kept)] or [self.ticks[-1] - self.begin]
        return {
            "seconds": self.ticks[-1] - self.begin,
            "steps": len(self.ticks),
            "step_s": statistics.median(each),
        }
