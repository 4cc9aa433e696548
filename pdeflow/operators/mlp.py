"""Fully connected networks that act on the last axis."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def mlp(sizes: Sequence[int]) -> nn.Sequential:
    """Affine maps between functions of these many numbers, GELU between them and none after the last."""
    layers: list[nn.Module] = []
    for read, given in pairwise(sizes):
        layers += [nn.Linear(read, given), nn.GELU()]
    return nn.Sequential(*layers[:-1])
