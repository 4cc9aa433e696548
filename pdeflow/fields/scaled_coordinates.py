"""What networks see of coordinates, as Taylor series."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from pdeflow.fields.activations import cos, sin
from pdeflow.fields.taylor_series import Orders


class ScaledCoordinates:
    """Coordinates scaled to [-1, 1]; of an axis that wraps around the sine and the cosine of the angle.

    Parameters
    ----------
    lower, upper
        Corners of the box that is scaled.
    periodic
        For each axis whether it wraps around.
    """

    def __init__(self, lower: Sequence[float], upper: Sequence[float], periodic: Sequence[bool]) -> None:
        # Numbers and not buffers, which would be rounded to the precision in which the network is made.
        self.centre = [(low + high) / 2 for low, high in zip(lower, upper)]
        self.scale = [2 / (high - low) for low, high in zip(lower, upper)]
        self.periodic = tuple(periodic)

    @property
    def features(self) -> int:
        """How many numbers a network sees of a point."""
        return len(self.periodic) + sum(self.periodic)

    def series(self, points: Tensor, orders: Orders) -> list[list[Tensor]]:
        """For each axis the Taylor coefficients along it, (N or 1, numbers), as far as they do not vanish."""
        scaled = (points - points.new_tensor(self.centre)) * points.new_tensor(self.scale)
        return [self._along(k, scaled[:, k : k + 1], orders) for k in range(len(self.periodic))]

    def places(self, orders: Orders, k: int, known: int) -> list[tuple[int, int]]:
        """Where derivatives along axis k alone stand, and their orders; those from ``known`` on vanish."""
        dim = len(self.periodic)
        pure = [tuple(order * (j == k) for j in range(dim)) for order in range(1, known)]
        return [(orders.place[index], index[k]) for index in pure if index in orders.place]

    def mapped(self, weight: Tensor, points: Tensor, orders: Orders) -> list[Tensor | None]:
        """The series of ``W s``, where s is what is seen of a point; None where it is 0.

        Parameters
        ----------
        weight
            W, (out, features).
        points
            (N, dim).
        orders
            Of the series.
        """
        inputs = self.series(points, orders)
        columns = torch.split(weight, [features[0].shape[1] for features in inputs], dim=1)
        found: list[Tensor | None] = [None] * len(orders.indices)
        for k, features in enumerate(inputs):
            for place, order in self.places(orders, k, len(features)):
                found[place] = features[order] @ columns[k].T
        found[0] = torch.cat([features[0] for features in inputs], dim=1) @ weight.T
        return found

    def _along(self, k: int, scaled: Tensor, orders: Orders) -> list[Tensor]:
        """Taylor coefficients along axis k."""
        if not self.periodic[k]:
            return [scaled, scaled.new_full((1, 1), self.scale[k])]
        highest = max(index[k] for index in orders.indices)
        angle, rate = math.pi * scaled, math.pi * self.scale[k]
        features = (sin(angle, highest), cos(angle, highest))
        return [torch.cat(pair, dim=1) * rate**n for n, pair in enumerate(zip(*features))]
