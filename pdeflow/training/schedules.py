"""Learning-rate schedules over a whole run, whatever its length."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler

from pdeflow.errors import InvalidInput


class Schedule(abc.ABC):
    """The factor on the optimiser's learning rate as a function of the progress of the run, from 0 to 1.

    The trainer steps it after every optimiser step and tells it how many there will be, so a config
    need not repeat the number of epochs, and a run resumed with more epochs stretches it.
    """

    @abc.abstractmethod
    def factor(self, progress: float) -> float:
        """Factor in [0, 1] at this fraction of the run."""

    def __call__(self, optimizer: Optimizer, steps: Callable[[], float]) -> LRScheduler:
        """The torch scheduler for a run of ``steps()`` optimiser steps, asked for after the first of them."""
        return LambdaLR(optimizer, lambda step: self.factor(min(step / steps(), 1.0) if step else 0.0))


class Cosine(Schedule):
    """Half a cosine from the full learning rate down to a fraction of it, after a linear warm-up.

    Parameters
    ----------
    warmup
        Fraction of the run in which the rate climbs from 0.
    final
        What is left of the learning rate at the end.
    """

    def __init__(self, warmup: float = 0.0, final: float = 0.0) -> None:
        _check_fraction("lr_scheduler.warmup", warmup)
        _check_fraction("lr_scheduler.final", final)
        self.warmup, self.final = warmup, final

    def factor(self, progress: float) -> float:
        """Factor at this fraction of the run."""
        if progress < self.warmup:
            return progress / self.warmup
        return _half_cosine(1.0, self.final, (progress - self.warmup) / (1.0 - self.warmup))


class OneCycle(Schedule):
    """Half a cosine up to the full learning rate, then half a cosine down to almost nothing.

    Parameters
    ----------
    warmup
        Fraction of the run in which the rate climbs.
    initial
        Fraction of the learning rate to start from.

    References
    ----------
    Smith, Topin: Super-convergence: very fast training of neural networks using large learning rates.
    arXiv:1708.07120.
    """

    def __init__(self, warmup: float = 0.3, initial: float = 0.04) -> None:
        _check_fraction("lr_scheduler.warmup", warmup)
        _check_fraction("lr_scheduler.initial", initial)
        self.warmup, self.initial = warmup, initial

    def factor(self, progress: float) -> float:
        """Factor at this fraction of the run."""
        if progress < self.warmup:
            return _half_cosine(self.initial, 1.0, progress / self.warmup)
        return _half_cosine(1.0, 1e-4 * self.initial, (progress - self.warmup) / (1.0 - self.warmup))


def _half_cosine(start: float, end: float, progress: float) -> float:
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * progress))


def _check_fraction(name: str, value: float) -> None:
    if not 0.0 <= value < 1.0:
        raise InvalidInput(name, value, "a fraction in [0, 1)")
