"""What every operator that knows how uncertain it is can do: a mean and a variance at every node."""

from __future__ import annotations

import abc
from typing import Any, NamedTuple

from torch import Tensor

from pdeflow.operators.operator import Operator

VARIANCE_FLOOR = 1e-8
"""The least variance, in units of the target's: a deviation of 1e-4 times the target's."""


class Gaussian(NamedTuple):
    """Independent normal distributions, one for each channel and node: two tensors of one shape."""

    mean: Tensor
    variance: Tensor


class GaussianOperator(Operator):
    """An operator whose ``distribution`` gives a mean and a variance; ``forward`` gives the mean alone.

    A subclass writes ``distribution``. Parameters are those of ``Operator``.
    """

    @abc.abstractmethod
    def distribution(self, x: Any) -> Gaussian:
        """Mean and variance, ``(batch, out_channels, *points)`` each, of what ``forward`` takes."""

    def evaluate(self, x: Tensor) -> Tensor:
        """The mean."""
        return self.distribution(x).mean
