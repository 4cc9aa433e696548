"""Affine layers of truncated Taylor series, with what each point adds to gradients by their parameters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class AffineSeries:
    """Applies layers to series, and keeps what went in and came out of those that are learned.

    The gradient by a matrix is a sum over points of outer products, whose terms are wanted one by one: they
    are those of the gradients by what came out, from one ordinary backward pass, with what went in (I.
    Goodfellow, "Efficient per-example gradient computations", 2015).

    Parameters
    ----------
    field
        Whose layers they are; by default nothing is kept.
    """

    def __init__(self, field: nn.Module | None = None) -> None:
        self._names = {} if field is None else {layer: name for name, layer in field.named_modules()}
        self._layers: list[nn.Linear] = []
        self._inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []

    def apply(self, layer: nn.Linear, series: Sequence[Tensor]) -> list[Tensor]:
        """The series of ``W x + b``, from coefficients (N, features) of x; b is added to the first alone."""
        stacked = torch.stack(list(series))
        flat = stacked.flatten(0, 1) @ layer.weight.T
        if layer in self._names and (layer.weight.requires_grad or layer.bias.requires_grad):
            self._layers.append(layer)
            self._inputs.append(stacked)
            self.outputs.append(flat.requires_grad_())
        first, *others = flat.unflatten(0, stacked.shape[:2]).unbind(0)
        return [first + layer.bias, *others]

    def gradients(self, slopes: Sequence[Tensor]) -> dict[str, Tensor]:
        """By matrices (N, out, in) and biases (N, out), by name, from gradients by the ``outputs``."""
        found = {}
        for layer, stacked, flat in zip(self._layers, self._inputs, slopes):
            slope, name = flat.unflatten(0, stacked.shape[:2]), self._names[layer]
            if layer.weight.requires_grad:
                weight = slope.permute(1, 2, 0) @ stacked.transpose(0, 1)
                found[f"{name}.weight"] = weight.detach()
            if layer.bias.requires_grad:
                found[f"{name}.bias"] = slope[0]
        return found


def weighted_slopes(
    found: Sequence[Tensor], by: Sequence[Tensor], cotangents: Sequence[Tensor]
) -> tuple[Tensor, ...]:
    """Gradients, by tensors that may be none, of the sum of what was found times its cotangents."""
    if not by:
        return ()
    return torch.autograd.grad(found, by, cotangents, allow_unused=True, materialize_grads=True)
