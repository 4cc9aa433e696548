"""What a file in The Well's layout says about itself, checked for consistency before any field is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pdeflow.data.hdf5_safety import get_dataset, get_group
from pdeflow.data.mesh_layout import LAYOUT
from pdeflow.data.well_layout import (
    BOUNDARIES,
    BOUNDARY_TYPES,
    CHECKSUM,
    DIMENSIONS,
    FIELD_GROUPS,
    GENERATION,
    ROOT_ATTRIBUTES,
    SCALARS,
    TIME,
    metadata_crc32,
)
from pdeflow.errors import CorruptFile, InvalidInput
from pdeflow.grid import Grid


@dataclass(frozen=True)
class Stored:
    """How one array lies in the file: its path, tensor order, and along which axes it varies.

    Files exist that leave out the axes along which nothing varies, and files that keep them with length 1
    (``keeps_axes``).
    """

    path: str
    order: int
    sample_varying: bool
    time_varying: bool
    dim_varying: tuple[bool, ...]
    keeps_axes: bool


@dataclass(frozen=True)
class Description:
    """The content of a file; see :class:`~pdeflow.data.well_reader.WellReader` for the meaning of the parts.

    ``grid`` is the error to raise where the nodes form no uniform grid.
    """

    name: str
    n: int
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    grid: Grid | InvalidInput
    times: np.ndarray
    fields: dict[str, int]
    constant_fields: dict[str, int]
    scalars: tuple[str, ...]
    diagnostics: tuple[str, ...]
    boundary: dict[str, str]
    attributes: dict[str, Any]
    stored: dict[str, Stored]


def describe(file: h5py.File, path: Path) -> Description:
    """Read and check the description.

    Raises
    ------
    CorruptFile
        If the file is not in this layout, was altered, or its parts contradict each other.
    """
    if str(file.attrs.get("layout")) == LAYOUT:
        raise CorruptFile(
            f"{path}: holds samples on meshes, not on a grid.\n"
            "In a config they are `data: MeshData`, for an operator on meshes (GNO, MKGN, GINO), as in "
            "configs/polygon_diffusion_gno.yaml; in Python MeshReader reads them."
        )
    for group in (DIMENSIONS, *FIELD_GROUPS):
        if group not in file:
            raise CorruptFile(
                f"{path}: has no group /{group}, so it is not in The Well's layout.\n"
                "Turn other formats into it with `pdeflow convert SOURCE DESTINATION.h5`."
            )
    if CHECKSUM in file.attrs and int(attribute(file, CHECKSUM)) != metadata_crc32(file):
        raise CorruptFile(
            f"{path}: its attributes differ from what was written (by their checksum).\n"
            "Copy the file again from its source, or generate it again."
        )
    return _Parser(file, path).parse()


def attribute(item: h5py.Group | h5py.Dataset, name: str) -> Any:
    """An attribute that the layout requires."""
    if name not in item.attrs:
        raise CorruptFile(
            f"{item.file.filename}: {item.name} lacks the attribute {name!r} of The Well's layout."
        )
    return item.attrs[name]


class _Parser:
    """Walks through the groups, each checked against what came before."""

    def __init__(self, file: h5py.File, path: Path) -> None:
        self.file, self.path = file, path
        self.dimensions = get_group(file, DIMENSIONS)
        self.n = int(attribute(file, "n_trajectories"))
        self.axes = tuple(map(str, attribute(self.dimensions, "spatial_dims")))
        if self.n < 1 or not self.axes or len(self.axes) != int(attribute(file, "n_spatial_dims")):
            raise CorruptFile(f"{path}: {self.n} samples along {self.axes} contradict the root attributes.")
        self.times = self._coordinate(TIME)
        self.nodes = {axis: self._coordinate(axis) for axis in self.axes}
        self.shape = tuple(values.shape[-1] for values in self.nodes.values())
        self.stored: dict[str, Stored] = {}

    def parse(self) -> Description:
        file = self.file
        boundary = self._boundary()
        fields: dict[str, int] = {}
        constant_fields: dict[str, int] = {}
        for order, key in enumerate(FIELD_GROUPS):
            for name in self._names(key):
                stored = self._array(f"{key}/{name}", name, order)
                (fields if stored.time_varying else constant_fields)[name] = order
        scalars, diagnostics = self._numbers(SCALARS), self._numbers(GENERATION)
        known = (*ROOT_ATTRIBUTES, CHECKSUM, *scalars)
        return Description(
            name=str(attribute(file, "dataset_name")),
            n=self.n,
            axes=self.axes,
            shape=self.shape,
            grid=self._grid(boundary),
            times=self.times,
            fields=fields,
            constant_fields=constant_fields,
            scalars=scalars,
            diagnostics=diagnostics,
            boundary=boundary,
            attributes={key: _plain(value) for key, value in file.attrs.items() if key not in known},
            stored=self.stored,
        )

    def _names(self, group: str) -> tuple[str, ...]:
        return tuple(map(str, attribute(get_group(self.file, group), "field_names")))

    def _coordinate(self, axis: str) -> np.ndarray:
        data = get_dataset(self.dimensions, axis)
        values = np.asarray(data[()])
        if values.dtype.kind not in "fiu" or not values.size or not np.all(np.isfinite(values)):
            raise CorruptFile(
                f"{self.path}: the coordinate {axis!r} holds something else than finite numbers."
            )
        varies = bool(attribute(data, "sample_varying"))
        if values.ndim != 1 + varies or (varies and len(values) != self.n):
            raise CorruptFile(
                f"{self.path}: the coordinate {axis!r} has shape {values.shape}, "
                f"expected {(self.n, 'k') if varies else ('k',)}."
            )
        return values.astype(np.float64)

    def _array(self, path: str, name: str, order: int, *, on_grid: bool = True) -> Stored:
        data = get_dataset(self.file, path)
        if name in self.stored:
            raise CorruptFile(f"{self.path}: the name {name!r} is used twice.")
        if data.dtype.kind not in "fiub":
            raise CorruptFile(f"{self.path}: {name!r} is of type {data.dtype}, expected real numbers.")
        samples, times = bool(attribute(data, "sample_varying")), bool(attribute(data, "time_varying"))
        varying = tuple(map(bool, attribute(data, "dim_varying"))) if on_grid else ()
        lead = (*[self.n] * samples, *[self.times.shape[-1]] * times)
        tail = (len(self.axes),) * order
        kept = tuple(points if varies else 1 for points, varies in zip(self.shape, varying))
        cut = tuple(points for points, varies in zip(self.shape, varying) if varies)
        if data.shape not in ((*lead, *kept, *tail), (*lead, *cut, *tail)) or (
            on_grid and len(varying) != len(self.axes)
        ):
            raise CorruptFile(
                f"{self.path}: {name!r} has shape {data.shape}, expected {(*lead, *kept, *tail)} "
                f"({self.n} samples on the grid {self.shape})."
            )
        keeps_axes = data.ndim == len(lead) + len(kept) + len(tail)
        self.stored[name] = Stored(path, order, samples, times, varying, keeps_axes)
        return self.stored[name]

    def _numbers(self, group: str) -> tuple[str, ...]:
        if group not in self.file:
            return ()
        names = self._names(group)
        for name in names:
            self._array(f"{group}/{name}", name, 0, on_grid=False)
        return names

    def _boundary(self) -> dict[str, str]:
        found: dict[str, str] = {}
        if BOUNDARIES not in self.file:
            return found
        together = get_group(self.file, BOUNDARIES)
        for key in map(str, together):
            entry = get_group(together, key)
            kind = str(attribute(entry, "bc_type")).upper()
            dims = [str(dim) for dim in attribute(entry, "associated_dims")]
            if kind not in BOUNDARY_TYPES or not set(dims) <= set(self.axes):
                raise CorruptFile(f"{self.path}: {entry.name} is {kind!r} on {dims}, unknown to this layout.")
            mask = np.asarray(get_dataset(entry, "mask")[()], dtype=bool)
            expected = tuple(self.shape[self.axes.index(dim)] for dim in dims)
            if mask.shape != expected:
                raise CorruptFile(
                    f"{self.path}: the mask of {entry.name} has shape {mask.shape}, expected {expected}."
                )
            for k, dim in enumerate(dims):
                for end, at in (("-", 0), ("+", -1)):
                    face = mask.take(at, axis=k)
                    # A wall counts only where it covers the whole side, as in The Well's own reader.
                    if face.all() if kind == "WALL" else face.any():
                        found[dim + end] = kind
        return dict(
            sorted(found.items(), key=lambda item: (self.axes.index(item[0][:-1]), item[0][-1] == "+"))
        )

    def _grid(self, boundary: dict[str, str]) -> Grid | InvalidInput:
        lower, upper, periodic = [], [], []
        for axis, nodes in self.nodes.items():
            if nodes.ndim != 1 or len(nodes) < 2:
                return self._no_grid(axis, "its nodes are not shared by all samples")
            if str(self.file.attrs.get("grid_type", "cartesian")) != "cartesian":
                return self._no_grid(axis, "the coordinates are not Cartesian")
            step = (nodes[-1] - nodes[0]) / (len(nodes) - 1)
            # The Well stores float32 coordinates: allow for their rounding.
            slack = max(8 * np.finfo(np.float32).eps * np.abs(nodes).max(), 1e-4 * abs(step))
            if step <= 0 or np.any(np.abs(np.diff(nodes) - step) > slack):
                return self._no_grid(axis, "its nodes are not equally spaced")
            wraps = boundary.get(f"{axis}-") == "PERIODIC" == boundary.get(f"{axis}+")
            ends = (float(nodes[0]), float(nodes[-1] + step * wraps))
            given = self.dimensions[axis].attrs
            low, high = float(given.get("lower", ends[0])), float(given.get("upper", ends[1]))
            if not np.allclose((low, high), ends, rtol=0, atol=slack):
                raise CorruptFile(
                    f"{self.path}: the ends {(low, high)} of axis {axis!r} contradict its nodes."
                )
            lower.append(low)
            upper.append(high)
            periodic.append(wraps)
        return Grid(self.axes, tuple(lower), tuple(upper), self.shape, tuple(periodic))

    def _no_grid(self, axis: str, why: str) -> InvalidInput:
        return InvalidInput(
            f"grid of {self.path}",
            axis,
            f"an axis of a uniform grid, but {why}",
            "Interpolate the data first.",
        )


def _plain(value: Any) -> Any:
    """An attribute as a Python object."""
    if isinstance(value, h5py.Empty):
        return None
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
