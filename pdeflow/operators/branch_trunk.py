"""What DeepONet and MultiONet share: an input read at fixed sensors, an output asked for at any node."""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.operators.fourier import Positions, check_positions, node_positions
from pdeflow.operators.operator import Operator


class BranchTrunkOperator(Operator):
    """A branch reads the input at the sensors, a trunk reads a place; base, not made directly.

    The sensors are the nodes of one grid, as a rule of the one trained on. On another grid the input
    is interpolated linearly to them, without error where the sensors are among the nodes, and the trunk
    is asked at the nodes of that grid: the output is a function that does not depend on the grid.

    Parameters
    ----------
    settings
        As in ``Operator``; holds ``sensors``, ``width``, ``layers``, ``in_channels``, ``out_channels``
        and ``positions``, explained in ``DeepONet``.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        sensors = list(settings["sensors"])
        if not 1 <= len(sensors) <= 3:
            raise InvalidInput("model.sensors", sensors, "one number for each spatial axis, 1 to 3 of them")
        if min(sensors) < 2:
            raise InvalidInput("model.sensors", sensors, "at least 2 along each axis")
        for name in ("width", "layers"):
            if settings[name] < 1:
                raise InvalidInput(f"model.{name}", settings[name], "at least 1")
        check_positions(settings["positions"])
        super().__init__(
            settings,
            dim=len(sensors),
            in_channels=settings["in_channels"],
            out_channels=settings["out_channels"],
        )
        self.sensors = sensors
        self.positions: Positions = settings["positions"]
        self.branch_reads = self.in_channels * math.prod(sensors)
        self.trunk_reads = self.dim * (1 if self.positions == "bounded" else 2)

    @abc.abstractmethod
    def combine(self, values: Tensor, places: Tensor) -> Tensor:
        """Values at the sensors ``(batch, branch_reads)`` and places ``(nodes, trunk_reads)`` to the output.

        The output is ``(batch, out_channels, nodes)``.
        """

    def check_resolution(self, points: Sequence[int]) -> None:
        """Raise InvalidInput where an axis has a single node."""
        for axis, count in enumerate(points):
            if count < 2:
                raise InvalidInput(
                    f"resolution of axis {axis}",
                    count,
                    "at least 2 points to interpolate between",
                    f"The sensors are {'x'.join(map(str, self.sensors))} nodes.",
                )

    def evaluate(self, x: Tensor) -> Tensor:
        """Read the sensors, and ask at every node."""
        places = torch.cat(node_positions(x[:1], self.positions), dim=1)[0].flatten(1).T
        if self.positions == "periodic":
            # The circle's coordinates: what the trunk gives is periodic too.
            places = torch.cat((torch.cos(2 * math.pi * places), torch.sin(2 * math.pi * places)), dim=1)
        values = at_sensors(x, self.sensors, self.positions).flatten(1)
        return self.combine(values, places).unflatten(2, x.shape[2:])


def at_sensors(x: Tensor, sensors: Sequence[int], positions: Positions) -> Tensor:
    """Grid functions ``(batch, channels, *points)`` interpolated linearly to ``(batch, channels, *sensors)``.

    Both grids are of the same box. The places are compared in whole numbers, so that a sensor that is
    a node gets the value there and nothing of its neighbours.
    """
    for axis, (want, have) in enumerate(zip(sensors, x.shape[2:]), start=2):
        if want == have:
            continue
        spare = 1 if positions == "bounded" else 0
        cells, wanted = have - spare, want - spare
        place = torch.arange(want, device=x.device) * cells
        left = torch.div(place, wanted, rounding_mode="floor")
        share = (place - left * wanted).to(x.dtype) / wanted
        # Only the last sensor of a bounded axis has no node to its right, and there the share is zero.
        right = (left + 1) % have
        share = share.view(-1, *(1,) * (x.ndim - 1 - axis))
        x = x.index_select(axis, left) * (1 - share) + x.index_select(axis, right) * share
    return x
