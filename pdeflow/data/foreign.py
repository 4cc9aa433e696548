"""What a file in another format gives to the converter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid

AXES = ("x", "y", "z")


@dataclass(frozen=True)
class Foreign:
    """The content of a foreign file in the terms of :class:`~pdeflow.data.well_writer.WellWriter`.

    ``blocks(k)`` gives all samples in order, at most ``k`` at a time, as arrays ``(k, *S)`` of constant
    fields, ``(k, T, *S)`` of fields (``(k, *S)`` where ``steady``), ``(k,)`` of scalars.
    """

    name: str
    grid: Grid
    n: int
    times: np.ndarray
    steady: bool
    fields: Mapping[str, int]
    constant_fields: Mapping[str, int]
    blocks: Callable[[int], Iterator[dict[str, np.ndarray]]]
    scalars: tuple[str, ...] = ()
    attributes: Mapping[str, str | float | bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Wishes:
    """What the user said about a foreign file; see :func:`pdeflow.data.convert.convert`."""

    inputs: Sequence[str] = ()
    targets: Sequence[str] = ()
    dim: int | None = None
    lower: float = 0.0
    upper: float = 1.0
    periodic: Sequence[str] = ()
    time: str | None = None


def names_of(given: Sequence[str]) -> dict[str, str]:
    """``["a=x", "u"]`` as new name to stored name: ``{"a": "x", "u": "u"}``."""
    names: dict[str, str] = {}
    for entry in given:
        new, _, stored = entry.partition("=")
        if not new or new in names or (not stored and "=" in entry):
            raise InvalidInput("inputs or targets", entry, "NAME or NEW=STORED, each new name once")
        names[new] = stored or new
    return names


def box_grid(shape: Sequence[int], wishes: Wishes) -> Grid:
    """A grid of ``shape`` on the box that the user gave."""
    axes = _axes(len(shape), wishes)
    wraps = tuple(axis in wishes.periodic for axis in axes)
    return Grid(axes, (wishes.lower,) * len(axes), (wishes.upper,) * len(axes), tuple(shape), wraps)


def grid_of_nodes(nodes: Mapping[str, np.ndarray], shape: Sequence[int], wishes: Wishes, where: str) -> Grid:
    """The grid with these coordinates, which must be equally spaced.

    Raises
    ------
    InvalidInput
        If a coordinate does not fit the shape of the fields, or its spacing varies.
    """
    axes = _axes(len(shape), wishes)
    lower, upper, wraps = [], [], []
    for axis, points in zip(axes, shape):
        values = np.asarray(nodes[axis], dtype=np.float64)
        if values.shape != (points,) or points < 2:
            raise InvalidInput(
                f"{where}, coordinate {axis!r}", values.shape, f"shape {(points,)}, like the fields"
            )
        step = (values[-1] - values[0]) / (points - 1)
        if not (np.isfinite(step) and step > 0) or not np.allclose(np.diff(values), step, rtol=1e-3, atol=0):
            raise InvalidInput(
                f"{where}, coordinate {axis!r}", "uneven steps", "equally spaced, increasing nodes"
            )
        wraps.append(axis in wishes.periodic)
        lower.append(float(values[0]))
        upper.append(float(values[-1] + step * wraps[-1]))
    return Grid(axes, tuple(lower), tuple(upper), tuple(shape), tuple(wraps))


def _axes(dim: int, wishes: Wishes) -> tuple[str, ...]:
    if not 1 <= dim <= 3:
        raise InvalidInput(
            "dim", dim, "fields in 1, 2 or 3 dimensions", "Give `dim` if one axis holds channels."
        )
    for axis in wishes.periodic:
        if axis not in AXES[:dim]:
            raise InvalidInput("periodic", axis, f"axes out of {AXES[:dim]}", choices=AXES[:dim])
    return AXES[:dim]


def split_channels(
    name: str, shape: Sequence[int], dim: int | None
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Space shape and channel names of an array ``(N, *S)`` or ``(N, C, *S)``, given its shape without N.

    Without ``dim`` a leading axis of length 1 is a channel axis, any other is space.
    """
    if dim is None:
        dim = len(shape) - (len(shape) > 1 and shape[0] == 1)
    if len(shape) == dim:
        return tuple(shape), (name,)
    if len(shape) == dim + 1:
        count = shape[0]
        return tuple(shape[1:]), (name,) if count == 1 else tuple(f"{name}{k}" for k in range(count))
    raise InvalidInput(f"array {name!r}", ("N", *shape), f"(N, *S) or (N, C, *S) with {dim} axes of space")


def channel_arrays(block: np.ndarray, names: tuple[str, ...], dim: int) -> dict[str, np.ndarray]:
    """``(k, *S)`` or ``(k, C, *S)`` as one ``(k, *S)`` array a channel."""
    if block.ndim == dim + 1:
        return {names[0]: block}
    return {name: block[:, c] for c, name in enumerate(names)}
