"""What every operator that knows how uncertain it is can do: a mean and a variance at every node."""

from __future__ import annotations

import abc
from collections.abc import Callable
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

    It is made of other operators. A subclass writes ``core`` and ``gathered``. Parameters are those of
    ``Operator``.
    """

    @property
    @abc.abstractmethod
    def core(self) -> Operator:
        """The operator that it is made of, which gives no variance; the first of several."""

    @abc.abstractmethod
    def gathered(self, apply: Callable[[Any], Tensor]) -> Gaussian:
        """The distribution, of what ``apply`` gives for each operator that this one is made of.

        Parameters
        ----------
        apply
            An operator without variance to its values, channels in axis 1.
        """

    def distribution(self, x: Any) -> Gaussian:
        """Mean and variance, ``(batch, out_channels, *points)`` each, of what ``forward`` takes."""
        return self.gathered(lambda operator: operator(x))

    def evaluate(self, x: Tensor) -> Tensor:
        """The mean."""
        return self.distribution(x).mean
