"""The shallow water equations: waves and bores on water over a flat bed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.problems.disc import Disc
from pdeflow.problems.distributions import Constant, Distribution
from pdeflow.problems.domain import Box
from pdeflow.problems.hyperbolic_system import HyperbolicSystem
from pdeflow.problems.parameter import Parameter


class ShallowWater(HyperbolicSystem):
    r"""Depth h and momentum :math:`(h u, h v)` of water on a flat bed, in a square around the origin:

    .. math::

        h_t + (hu)_x + (hv)_y = 0, \quad
        (hu)_t + (hu^2 + g h^2 / 2)_x + (huv)_y = 0, \quad
        (hv)_t + (huv)_x + (hv^2 + g h^2 / 2)_y = 0.

    By default the radial dam break of R. J. LeVeque, "Finite Volume Methods for Hyperbolic Problems" (2002),
    chapter 21, with the numbers of M. Takamoto et al., "PDEBench", NeurIPS 2022: the side is 5, g is 1, all
    is at rest, and the water is twice as deep in a disc.

    Mass is conserved but for what flows through open ends, momentum but for that and the pressure on the
    ends.

    Parameters
    ----------
    length
        Side of the square, half of it on each side of the origin.
    gravity
        Of g, positive.
    initial_depth
        Of h0, positive everywhere: dry beds are refused.
    initial_momentum_x, initial_momentum_y
        Of hu0 and hv0.
    periodic
        Axes that wrap around, such as ``["x", "y"]``.
    walls
        Sides that reflect, such as ``["x-", "x+"]``; those that are neither walls nor wrap are open.

    Raises
    ------
    InvalidInput
        If the length is not positive; from :meth:`check_resolution`, if the least disc is smaller than a
        cell; from :meth:`grid`, if there is no such side; from :meth:`evolve`, if some place is dry at the
        start.
    """

    name = "shallow_water"
    fields = ("h", "hu", "hv")
    mirrored = {"x": ("hu",), "y": ("hv",)}  # noqa: RUF012, a read-only mapping to the base class

    def __init__(
        self,
        length: float = 5.0,
        gravity: Distribution = Constant(1.0),  # noqa: B008, immutable
        initial_depth: Distribution = Disc(1.0, 2.0, (0.3, 0.7)),  # noqa: B008, immutable
        initial_momentum_x: Distribution = Constant(0.0),  # noqa: B008, immutable
        initial_momentum_y: Distribution = Constant(0.0),  # noqa: B008, immutable
        periodic: tuple[str, ...] = (),
        walls: tuple[str, ...] = (),
    ) -> None:
        half = length / 2
        self.domain = Box(x=(-half, half), y=(-half, half), periodic=periodic)
        self.walls = tuple(walls)
        self.g = Parameter(gravity, positive=True, argument="gravity")
        self.h0 = Parameter(initial_depth, positive=True, argument="initial_depth")
        self.hu0 = Parameter(initial_momentum_x)
        self.hv0 = Parameter(initial_momentum_y)

    def flux(self, w: Any, axis: str, p: Any) -> Any:
        """What the velocity along the axis carries, and the pressure ``g h^2 / 2`` of the water."""
        along = w.hu if axis == "x" else w.hv
        velocity, pressure = along / w.h, p.g * w.h**2 / 2
        if axis == "x":
            return along, along * velocity + pressure, w.hv * velocity
        return along, w.hu * velocity, along * velocity + pressure

    def waves(self, left: Any, right: Any, axis: str, p: Any) -> tuple[Tensor, Tensor]:
        """Velocity minus and plus ``sqrt(g h)``, of the states and of their mean by Roe."""
        (name,) = self.mirrored[axis]
        root_left, root_right, root_g = torch.sqrt(left.h), torch.sqrt(right.h), torch.sqrt(p.g)
        u_left, u_right = getattr(left, name) / left.h, getattr(right, name) / right.h
        c_left, c_right = root_g * root_left, root_g * root_right
        u_mean = (root_left * u_left + root_right * u_right) / (root_left + root_right)
        c_mean = torch.sqrt(p.g / 2 * (left.h + right.h))
        low = torch.minimum(u_left - c_left, u_mean - c_mean)
        return low, torch.maximum(u_right + c_right, u_mean + c_mean)

    def check_start(self, w: Any) -> None:
        """Raise InvalidInput where there is no water."""
        dry = (w.h <= 0).flatten(1).any(dim=1)
        if bool(dry.any()):
            number = int(dry.nonzero()[0])
            raise InvalidInput(
                "parameter 'h0'",
                float(w.h[number].min()),
                f"water everywhere, in sample {number} too: a depth above 0",
                "Dry beds are not solved; cover them with a thin layer, a thousandth of the depth elsewhere.",
            )
