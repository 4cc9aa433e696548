"""What the Fourier operators share: neuraloperator's network, positions, and which grids it can take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.operators.operator import Operator

Norm = Literal["group_norm", "instance_norm"]
Positions = Literal["bounded", "periodic"]


class FourierOperator(Operator):
    """Lifting, Fourier layers, projection; base of FNO and TFNO, not made directly.

    Parameters
    ----------
    settings
        As in ``Operator``; holds ``modes``, ``width``, ``layers``, ``in_channels``, ``out_channels``,
        ``padding``, ``norm`` and ``positions``, explained in ``FNO``.
    factorisation
        What neuraloperator is told about the weight tensors, beyond the settings.
    """

    def __init__(self, settings: Mapping[str, Any], factorisation: Mapping[str, Any]) -> None:
        modes, padding = list(settings["modes"]), settings["padding"]
        dim = len(modes)
        if not 1 <= dim <= 3:
            raise InvalidInput("model.modes", modes, "one number for each spatial axis, 1 to 3 of them")
        if min(modes) < 2:
            raise InvalidInput("model.modes", modes, "at least 2 along each axis")
        for name in ("width", "layers"):
            if settings[name] < 1:
                raise InvalidInput(f"model.{name}", settings[name], "at least 1")
        if not 0.0 <= padding <= 1.0:
            raise InvalidInput("model.padding", padding, "a fraction of the domain from 0 to 1")
        super().__init__(
            settings, dim=dim, in_channels=settings["in_channels"], out_channels=settings["out_channels"]
        )
        self.modes, self.padding = modes, padding
        self.positions: Positions | None = settings["positions"]

        # neuraloperator takes seconds to import, so only those who make an operator pay for it.
        from neuralop.models import FNO as FourierNetwork

        self.network = FourierNetwork(
            n_modes=tuple(modes),
            in_channels=self.in_channels + (dim if self.positions else 0),
            out_channels=self.out_channels,
            hidden_channels=settings["width"],
            n_layers=settings["layers"],
            domain_padding=padding,
            norm=settings["norm"],
            # Its own positions are kept from one call to the next whatever the device.
            positional_embedding=None,  # pyright: ignore[reportArgumentType]
            **factorisation,
        )

    def check_resolution(self, points: Sequence[int]) -> None:
        """Raise InvalidInput for fewer points, padding included, than modes along an axis.

        neuraloperator would take such a grid and cut the weights to fit, where the count is odd with
        every frequency meeting the weights of its neighbour.
        """
        for axis, (count, modes) in enumerate(zip(points, self.modes)):
            if self._padded(count) < modes:
                least = next(n for n in range(1, modes + 1) if self._padded(n) >= modes)
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
