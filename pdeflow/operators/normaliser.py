"""Scaling between physical values and the numbers a network works with."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from pdeflow.errors import InvalidInput


class ChannelStatistics(Protocol):
    """Mean and standard deviation a channel, as ``pdeflow.data.Normalisation`` holds them."""

    @property
    def input_mean(self) -> Sequence[float]:
        """Mean of each input channel."""
        ...

    @property
    def input_std(self) -> Sequence[float]:
        """Standard deviation of each input channel."""
        ...

    @property
    def target_mean(self) -> Sequence[float]:
        """Mean of each target channel."""
        ...

    @property
    def target_std(self) -> Sequence[float]:
        """Standard deviation of each target channel."""
        ...


class Normaliser(nn.Module):
    """``encode``: ``(x - mean) / std`` a channel of the input; ``decode``: ``y * std + mean`` of the output.

    The numbers are buffers: they move with the model and are stored in its checkpoints. Until ``set``
    is called both maps are the identity.
    """

    input_mean: Tensor
    input_std: Tensor
    target_mean: Tensor
    target_std: Tensor

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.register_buffer("input_mean", torch.zeros(in_channels))
        self.register_buffer("input_std", torch.ones(in_channels))
        self.register_buffer("target_mean", torch.zeros(out_channels))
        self.register_buffer("target_std", torch.ones(out_channels))

    def set(self, statistics: ChannelStatistics) -> None:
        """Take means and standard deviations.

        Raises
        ------
        InvalidInput
            If there are not as many as channels, one is not finite, or a deviation is not positive.
        """
        for name, buffer in list(self.named_buffers()):
            values = torch.tensor(list(getattr(statistics, name)), dtype=buffer.dtype)
            if values.shape != buffer.shape:
                side = "in_channels" if name.startswith("input") else "out_channels"
                raise InvalidInput(
                    f"normalisation.{name}",
                    tuple(values.tolist()),
                    f"one number for each of the model's {len(buffer)} channels",
                    f"Set model.{side} to {len(values)}, or change the fields of the data set.",
                )
            usable = torch.isfinite(values).all() and (name.endswith("mean") or bool((values > 0).all()))
            if not usable:
                raise InvalidInput(
                    f"normalisation.{name}",
                    tuple(values.tolist()),
                    "finite numbers, deviations positive",
                    "A channel that is constant takes a deviation of 1.",
                )
            buffer.copy_(values)

    def encode(self, x: Any) -> Any:
        """Physical input ``(batch, in_channels, *shape)`` to the network's numbers.

        Of a graph with the input at its nodes, ``x`` (nodes, in_channels), one with those numbers.
        """
        if not isinstance(x, Tensor):
            graph = copy.copy(x)
            # Lightning brings tensors to the precision of the weights, but no graphs.
            graph.x = self.encode(x.x.to(self.input_mean.dtype))
            return graph
        return (x - _column(self.input_mean, x)) / _column(self.input_std, x)

    def decode(self, y: Tensor) -> Tensor:
        """The network's output, (nodes, channels) or ``(batch, channels, *shape)``, to physical values."""
        return y * _column(self.target_std, y) + _column(self.target_mean, y)

    def decode_variance(self, variance: Tensor) -> Tensor:
        """The variance of what ``decode`` gives, from that of the network's numbers."""
        return variance * _column(self.target_std, variance).square()


def _column(values: Tensor, like: Tensor) -> Tensor:
    return values.view(1, -1, *(1,) * (like.ndim - 2))
