"""What the Fourier operators share: neuraloperator's network, positions, and which grids it can take."""

from __future__ import annotations

import abc
import contextlib
import io
import itertools
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from pdeflow.errors import InvalidInput
from pdeflow.operators.operator import Operator

Norm = Literal["group_norm", "instance_norm"]
Positions = Literal["bounded", "periodic"]


class FourierOperator(Operator):
    """Lifting, Fourier layers, projection; base of what keeps some Fourier modes, not made directly.

    A subclass writes ``make_network``, which gives neuraloperator's network.

    Parameters
    ----------
    settings
        As in ``Operator``; holds ``modes``, ``width``, ``in_channels``, ``out_channels`` and
        ``positions``, and where the method has them ``layers`` and ``padding``, explained in ``FNO``.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        modes, padding = list(settings["modes"]), settings.get("padding", 0.0)
        dim = len(modes)
        if not 1 <= dim <= 3:
            raise InvalidInput("model.modes", modes, "one number for each spatial axis, 1 to 3 of them")
        if min(modes) < 2:
            raise InvalidInput("model.modes", modes, "at least 2 along each axis")
        for name in ("width", "layers"):
            if name in settings and settings[name] < 1:
                raise InvalidInput(f"model.{name}", settings[name], "at least 1")
        if not 0.0 <= padding <= 1.0:
            raise InvalidInput("model.padding", padding, "a fraction of the domain from 0 to 1")
        super().__init__(
            settings, dim=dim, in_channels=settings["in_channels"], out_channels=settings["out_channels"]
        )
        check_positions(settings["positions"], (*get_args(Positions), None))
        self.modes, self.padding = modes, padding
        self.positions: Positions | None = settings["positions"]

        # The libraries print, and warn of what is chosen here on purpose.
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            self.network = self.make_network(self.in_channels + (dim if self.positions else 0))

    @abc.abstractmethod
    def make_network(self, channels: int) -> nn.Module:
        """neuraloperator's network for so many channels read, those of the positions included.

        neuraloperator takes seconds to import: it is imported here, so that only those who make an
        operator pay for it.
        """

    def check_resolution(self, points: Sequence[int]) -> None:
        """Raise InvalidInput for fewer points, padding included, than modes along an axis.

        neuraloperator would take such a grid and cut the weights to fit, where the count is odd with
        every frequency meeting the weights of its neighbour.
        """
        for axis, (count, modes) in enumerate(zip(points, self.modes)):
            if self._padded(count) < modes:
                # Rounding the padding adds at most a point: no fewer than these are enough.
                fewest = max(1, math.floor((modes - 1) / (1 + 2 * self.padding)))
                least = next(n for n in itertools.count(fewest) if self._padded(n) >= modes)
                raise InvalidInput(
                    f"resolution of axis {axis}",
                    count,
                    f"at least {least} points for {modes} modes",
                    f"Use a finer grid, or at most model.modes {self._padded(count)} along this axis.",
                )

    def evaluate(self, x: Tensor) -> Tensor:
        """Apply the network, with the positions of the nodes as extra channels."""
        if self.positions:
            x = torch.cat((x, *node_positions(x, self.positions)), dim=1)
        return self.network(x)

    def _padded(self, points: int) -> int:
        return points + 2 * round(self.padding * points)


def check_positions(positions: object, known: Sequence[Positions | None] = get_args(Positions)) -> None:
    """Raise InvalidInput for what is not among those known: what is not bounded would pass for periodic."""
    if positions not in known:
        choices = [str(one) for one in known if one is not None]
        expected = " or ".join([*choices, *["null"] * (None in known)])
        raise InvalidInput("model.positions", positions, expected, choices=choices)


def node_positions(x: Tensor, kind: Positions) -> list[Tensor]:
    """Coordinates in [0, 1] of the nodes along each axis, each ``(batch, 1, *points)`` without a copy.

    They are i / (n - 1) on bounded axes, whose nodes include both ends, and i / n on periodic ones:
    the same point of the domain has the same coordinate at every resolution.
    """
    batch, _, *points = x.shape
    positions = []
    for axis, count in enumerate(points):
        cells = count - 1 if kind == "bounded" else count
        line = torch.arange(count, dtype=x.dtype, device=x.device) / max(cells, 1)
        shape = [1, 1, *(count if a == axis else 1 for a in range(len(points)))]
        positions.append(line.view(shape).expand(batch, 1, *points))
    return positions
