"""How many nodes a grid needs."""

from __future__ import annotations

import math

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid


def require_nodes(grid: Grid, needed: float, reason: str, hint: str) -> None:
    """Raise InvalidInput unless there are so many nodes, less round-off, along each axis.

    See `Problem.check_resolution`.
    """
    needed -= 1e-9
    if min(grid.points) < needed:
        told = math.ceil(needed) if needed < 1e9 else f"{needed:.2g}"
        expected = f"at least {told} nodes along each axis, {reason}"
        raise InvalidInput("resolution", min(grid.points), expected, hint)
