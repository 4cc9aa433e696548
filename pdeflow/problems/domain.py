"""The domain an equation is posed on."""

from __future__ import annotations

from collections.abc import Sequence

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid


class Box:
    """A product of intervals, some of which may wrap around.

    Parameters
    ----------
    periodic
        Names of the axes that wrap.
    extents
        Axis name to (lower, upper), in the order of the tensor dimensions: ``Box(x=(0, 1), y=(-1, 1))``.

    Raises
    ------
    InvalidInput
        If there is no axis, an extent is empty or not finite, or ``periodic`` names an unknown axis.
    """

    def __init__(self, *, periodic: Sequence[str] = (), **extents: tuple[float, float]) -> None:
        if not extents:
            raise InvalidInput("extents of Box", extents, "at least one axis, for example x=(0, 1)")
        for axis in periodic:
            if axis not in extents:
                hint = "An axis wraps as a whole: name it, without - or +, and give it no condition."
                raise InvalidInput("periodic", axis, "an axis of the box", hint, choices=extents)
        self.axes = tuple(extents)
        self.lower = tuple(float(low) for low, _ in extents.values())
        self.upper = tuple(float(high) for _, high in extents.values())
        self.periodic = tuple(axis in periodic for axis in self.axes)
        self.grid(2)

    @property
    def dim(self) -> int:
        """Number of axes."""
        return len(self.axes)

    def grid(self, points: int | Sequence[int]) -> Grid:
        """The uniform grid with this many nodes along each axis."""
        counts = (points,) * self.dim if isinstance(points, int) else tuple(points)
        return Grid(self.axes, self.lower, self.upper, counts, self.periodic)

    def __repr__(self) -> str:
        wraps = [axis for axis, wraps in zip(self.axes, self.periodic) if wraps]
        extents = [f"{a}=({low:g}, {high:g})" for a, low, high in zip(self.axes, self.lower, self.upper)]
        return f"Box({', '.join(extents)}{f', periodic={wraps}' if wraps else ''})"


def unit_box(dim: int, *, periodic: bool | Sequence[str] = ()) -> Box:
    """The unit interval, square or cube; along every axis or those named it wraps around.

    Raises
    ------
    InvalidInput
        If ``dim`` is not 1, 2 or 3, or there is no such axis.
    """
    if dim not in (1, 2, 3):
        raise InvalidInput("dim", dim, "1, 2 or 3")
    axes = "xyz"[:dim]
    wrapping = axes if periodic is True else periodic or ()
    return Box(periodic=wrapping, **{axis: (0.0, 1.0) for axis in axes})
