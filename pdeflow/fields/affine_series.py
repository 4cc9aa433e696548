"""Affine layers of truncated Taylor series, with what each point adds to gradients by their parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class AffineSeries:
    """Applies layers to series, and keeps what went in and came out of each.

    The gradient by a matrix is a sum over points of outer products, whose terms are wanted one by one: they
    are those of the gradients by what came out, from one ordinary backward pass, with what went in (I.
    Goodfellow, "Efficient per-example gradient computations", 2015).
    """

    def __init__(self) -> None:
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []

    def apply(self, layer: nn.Linear, series: Sequence[Tensor]) -> list[Tensor]:
        """The series of ``W x + b``, from coefficients (N, features) of x; b is added to the first alone."""
        stacked = torch.stack(list(series))
        flat = stacked.flatten(0, 1) @ layer.weight.T
        self.inputs.append(stacked)
        self.outputs.append(flat)
        first, *others = flat.reshape(*stacked.shape[:2], -1).unbind(0)
        return [first + layer.bias, *others]

    def gradients(self, slopes: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """By matrix (N, out, in) and bias (N, out) of each layer, from gradients by the outputs."""
        found = []
        for stacked, flat in zip(self.inputs, slopes):
            slope = flat.reshape(*stacked.shape[:2], -1)
            weight = slope.permute(1, 2, 0) @ stacked.transpose(0, 1)
            found.append((weight.detach(), slope[0]))
        return found
