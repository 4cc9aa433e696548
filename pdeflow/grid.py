"""Uniform tensor-product grids: the one description of where samples of a function lie."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from pdeflow.errors import InvalidInput


@dataclass(frozen=True)
class Grid:
    """Nodes of a box, equally spaced along each axis.

    A bounded axis has ``points`` nodes from ``lower`` to ``upper``, both ends included:
    ``x_i = lower + i h`` with ``h = (upper - lower) / (points - 1)``. A periodic axis leaves the
    upper end out, because it is the lower one again: ``h = (upper - lower) / points``.

    Parameters
    ----------
    axes
        Coordinate names, in the order of the tensor dimensions, for example ``("x", "y")``.
    lower, upper
        Ends of the box along each axis.
    points
        Nodes along each axis; at least 2.
    periodic
        Whether the axis wraps around; no axis does by default.

    Raises
    ------
    InvalidInput
        If the lengths differ, an axis is empty, or it has too few points.
    """

    axes: tuple[str, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    points: tuple[int, ...]
    periodic: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        dim = len(self.axes)
        if not self.periodic:
            object.__setattr__(self, "periodic", (False,) * dim)
        for name in ("lower", "upper", "points", "periodic"):
            value = tuple(getattr(self, name))
            object.__setattr__(self, name, value)
            if len(value) != dim:
                raise InvalidInput(name, value, f"one entry for each of the axes {self.axes}")
        for axis, low, high, points in zip(self.axes, self.lower, self.upper, self.points):
            if not (math.isfinite(low) and math.isfinite(high) and low < high):
                raise InvalidInput(f"extent of axis {axis!r}", (low, high), "finite numbers, lower < upper")
            if points < 2:
                raise InvalidInput(f"points of axis {axis!r}", points, "at least 2")

    @property
    def dim(self) -> int:
        """Number of axes."""
        return len(self.axes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one scalar function on the grid; the same as ``points``."""
        return self.points

    @property
    def spacing(self) -> tuple[float, ...]:
        """Distance between neighbouring nodes along each axis."""
        return tuple(
            (high - low) / (n if wraps else n - 1)
            for low, high, n, wraps in zip(self.lower, self.upper, self.points, self.periodic)
        )

    def coordinates(
        self, dtype: torch.dtype = torch.float64, device: torch.device | str | None = None
    ) -> tuple[torch.Tensor, ...]:
        """The node coordinates along each axis, one 1D tensor an axis."""
        return tuple(
            low + h * torch.arange(n, dtype=dtype, device=device)
            for low, h, n in zip(self.lower, self.spacing, self.points)
        )

    def mesh(
        self, dtype: torch.dtype = torch.float64, device: torch.device | str | None = None
    ) -> dict[str, torch.Tensor]:
        """Every axis name mapped to its coordinate at all nodes, each of shape ``self.shape``."""
        columns = torch.meshgrid(*self.coordinates(dtype, device), indexing="ij")
        return dict(zip(self.axes, columns))

    def with_points(self, points: int | Sequence[int]) -> Grid:
        """The same box with other numbers of nodes."""
        counts = (points,) * self.dim if isinstance(points, int) else tuple(points)
        return Grid(self.axes, self.lower, self.upper, counts, self.periodic)

    def strides_to(self, points: int | Sequence[int], name: str = "resolution") -> tuple[int, ...]:
        """Strides that pick a coarser grid of the same box out of this one; errors call ``points`` ``name``.

        Raises
        ------
        InvalidInput
            If no whole stride keeps both ends of the box; the message lists the sizes that work.
        """
        counts = (points,) * self.dim if isinstance(points, int) else tuple(points)
        if len(counts) != self.dim:
            raise InvalidInput(name, points, f"one number, or {self.dim} of them")
        strides = []
        for axis, have, want, wraps in zip(self.axes, self.points, counts, self.periodic):
            cells, wanted = (have, want) if wraps else (have - 1, want - 1)
            if wanted < 1 or cells % wanted:
                extra = 0 if wraps else 1
                sizes = [cells // s + extra for s in range(1, cells + 1) if cells % s == 0 and cells // s > 1]
                raise InvalidInput(
                    name,
                    want,
                    f"a size that whole strides can pick out of {have} points along {axis!r}: "
                    f"{', '.join(map(str, sizes))}",
                    "Choose one of these, or generate the data at another resolution "
                    f"({wanted * 2 + extra} points contain every node of {want}).",
                )
            strides.append(cells // wanted)
        return tuple(strides)
