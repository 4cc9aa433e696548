"""What is to be written to a file in The Well's layout: names, shapes, and everything but the samples."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import h5py
import numpy as np

from pdeflow.data.packed_chunks import create_packed
from pdeflow.data.well_layout import (
    BOUNDARIES,
    BOUNDARY_TYPES,
    CHECKSUM,
    DIMENSIONS,
    FIELD_GROUPS,
    ROOT_ATTRIBUTES,
    TIME,
    sides,
)
from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid

_TEXT = h5py.string_dtype()


@dataclass(frozen=True)
class WellContent:
    """A description of ``n`` samples; see :class:`~pdeflow.data.well_writer.WellWriter` for its parts."""

    name: str
    grid: Grid
    n: int
    fields: dict[str, int]
    constant_fields: dict[str, int]
    shared_fields: dict[str, np.ndarray]
    times: np.ndarray
    scalars: tuple[str, ...]
    boundary: dict[str, str]
    attributes: dict[str, str | float | bool]
    diagnostics: dict[str, np.dtype]
    dtype: np.dtype

    @functools.cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one sample of each field, scalar and diagnostic."""
        grid = self.grid
        shapes: dict[str, tuple[int, ...]] = {}
        for key, order in self.constant_fields.items():
            shapes[key] = (*grid.shape, *(grid.dim,) * order)
        for key, order in self.fields.items():
            shapes[key] = (self.times.size, *grid.shape, *(grid.dim,) * order)
        return {**shapes, **dict.fromkeys((*self.scalars, *self.diagnostics), ())}

    def check(self) -> None:
        """Raise InvalidInput unless names, times and shapes fit together."""
        if self.n < 1:
            raise InvalidInput("n", self.n, "at least one sample")
        if self.dtype not in (np.dtype("float32"), np.dtype("float64")):
            raise InvalidInput("dtype", str(self.dtype), "float32 or float64")
        names = [
            *self.fields,
            *self.constant_fields,
            *self.shared_fields,
            *self.scalars,
            *self.diagnostics,
        ]
        if not self.fields and not self.constant_fields:
            raise InvalidInput("fields", {}, "at least one field")
        for key in names:
            if not key or "/" in key or key in (".", "..") or names.count(key) > 1:
                raise InvalidInput("name of a field, scalar or diagnostic", key, "a unique name without '/'")
        for key, order in {**self.fields, **self.constant_fields}.items():
            if order not in (0, 1, 2):
                raise InvalidInput(f"tensor order of {key!r}", order, "0 (scalar), 1 (vector) or 2 (tensor)")
        for key, values in self.shared_fields.items():
            if values.shape != self.grid.shape:
                raise InvalidInput(f"shared_fields[{key!r}]", values.shape, f"shape {self.grid.shape}")
        if self.times.ndim != 1 or not self.times.size or not np.all(np.isfinite(self.times)):
            raise InvalidInput("times", self.times.tolist(), "at least one finite instant")
        if np.any(np.diff(self.times) <= 0):
            raise InvalidInput("times", self.times.tolist(), "increasing instants")
        if self.attributes.get("steady") and self.times.size != 2:
            raise InvalidInput("times", self.times.tolist(), "two instants, (0, 1), for a steady problem")
        for key in self.attributes:
            if key in ROOT_ATTRIBUTES or key == CHECKSUM or key in self.scalars:
                raise InvalidInput("attributes", key, "a name that the layout does not use itself")
        if TIME in self.grid.axes:
            raise InvalidInput("grid.axes", self.grid.axes, f"names of space coordinates, not {TIME!r}")

    def write(self, file: h5py.File) -> dict[str, h5py.Dataset]:
        """Write the description to an empty file, and make the arrays of the fields, which are returned."""
        grid = self.grid
        file.attrs["dataset_name"] = self.name
        file.attrs["grid_type"] = "cartesian"
        file.attrs["n_spatial_dims"] = grid.dim
        file.attrs["n_trajectories"] = self.n
        file.attrs["simulation_parameters"] = texts(self.scalars)
        for key, value in self.attributes.items():
            file.attrs[key] = value

        dimensions = file.create_group(DIMENSIONS)
        dimensions.attrs["spatial_dims"] = texts(grid.axes)
        write_small(dimensions, TIME, self.times, sample_varying=False, time_varying=True)
        for axis, nodes, low, high in zip(grid.axes, grid.coordinates(), grid.lower, grid.upper):
            made = write_small(dimensions, axis, nodes.numpy(), sample_varying=False, time_varying=False)
            # The ends themselves: lower + (points - 1) h need not give upper to the last bit.
            made.attrs["lower"], made.attrs["upper"] = low, high

        boundaries = file.create_group(BOUNDARIES)
        for axis, points in zip(grid.axes, grid.points):
            kinds = (self.boundary.get(f"{axis}-"), self.boundary.get(f"{axis}+"))
            for kind in dict.fromkeys(kind for kind in kinds if kind):
                group = boundaries.create_group(f"{axis}_{kind.lower()}")
                group.attrs["bc_type"] = kind
                group.attrs["associated_dims"] = texts([axis])
                group.attrs["associated_fields"] = texts(self.fields)
                group.attrs["sample_varying"] = group.attrs["time_varying"] = False
                mask = np.zeros(points, dtype=bool)
                mask[0], mask[-1] = kinds[0] == kind, kinds[1] == kind
                write_small(group, "mask", mask)

        datasets: dict[str, h5py.Dataset] = {}
        for order, group_name in enumerate(FIELD_GROUPS):
            group = file.create_group(group_name)
            constant = [key for key, own in self.constant_fields.items() if own == order]
            varying = [key for key, own in self.fields.items() if own == order]
            shared = list(self.shared_fields) if order == 0 else []
            group.attrs["field_names"] = texts(shared + constant + varying)
            for key in shared:
                values = self.shared_fields[key].astype(self.dtype)
                made = write_small(group, key, values, sample_varying=False, time_varying=False)
                made.attrs["dim_varying"] = np.ones(grid.dim, dtype=bool)
            for key in constant + varying:
                made = create_packed(group, key, self.n, self.shapes[key], self.dtype)
                made.attrs["dim_varying"] = np.ones(grid.dim, dtype=bool)
                made.attrs["sample_varying"], made.attrs["time_varying"] = True, key in self.fields
                datasets[key] = made
        return datasets


def write_small(group: h5py.Group, name: str, values: np.ndarray, **attributes: bool) -> h5py.Dataset:
    """A small array with a checksum of its own."""
    made = group.create_dataset(name, data=values, chunks=values.shape, fletcher32=True)
    for key, value in attributes.items():
        made.attrs[key] = value
    return made


def checked_boundary(grid: Grid, boundary: Mapping[str, str]) -> dict[str, str]:
    """Sides and kinds, PERIODIC where the grid wraps; InvalidInput for what contradicts the grid."""
    known = sides(grid.axes)
    periodic = {f"{axis}{end}" for axis, wraps in zip(grid.axes, grid.periodic) if wraps for end in "-+"}
    for side, kind in boundary.items():
        if side not in known:
            raise InvalidInput("boundary", side, f"one of the sides {', '.join(known)}", choices=known)
        if kind not in BOUNDARY_TYPES:
            raise InvalidInput(f"boundary[{side!r}]", kind, ", ".join(BOUNDARY_TYPES), choices=BOUNDARY_TYPES)
        if (kind == "PERIODIC") != (side in periodic):
            raise InvalidInput(
                f"boundary[{side!r}]",
                kind,
                "PERIODIC" if side in periodic else "WALL or OPEN, because the grid is not periodic there",
            )
    return {
        side: "PERIODIC" if side in periodic else boundary[side]
        for side in known
        if side in periodic or side in boundary
    }


def texts(values: Iterable[str]) -> np.ndarray:
    """Strings of any length, as an attribute."""
    return np.array(list(values), dtype=_TEXT)
