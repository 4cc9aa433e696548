"""Writing The Well's HDF5 layout, whole or not at all."""

from __future__ import annotations

import contextlib
import math
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np

from pdeflow import atomic_file
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
    sides,
)
from pdeflow.data.well_reader import WellReader
from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid

# A sample a chunk, as long as the chunk can be read in one gulp.
_LARGEST_CHUNK = 32 << 20
_TEXT = h5py.string_dtype()


class WellWriter:
    """Writes ``n`` samples on one grid to an HDF5 file in The Well's layout.

    A context manager. The data go to ``path.partial``; when the block ends without an error and every sample
    was written, the file is closed, reopened, read through against its checksums, flushed to the disk and
    given its name. After an error ``path`` is what it was before, and the partial file is gone.

    Every chunk is one sample (shuffled, deflated, with a Fletcher-32 checksum). Nothing about the clock or
    the machine enters the file: the same samples in the same order give the same bytes, however they are
    cut into blocks.

    Parameters
    ----------
    path
        The file to make; ``.h5`` or ``.hdf5``, so that The Well's own reader finds it.
    name
        Name of the data set.
    grid
        Where the samples lie. Periodic axes get PERIODIC boundaries.
    n
        Number of samples.
    fields
        Name to tensor order (0 scalar, 1 vector, 2 tensor) of what depends on time: arrays
        ``(k, T, *grid.shape)`` followed by one axis of length ``grid.dim`` for each order.
    constant_fields
        The same for what does not: ``(k, *grid.shape, ...)``.
    shared_fields
        Name to array ``(*grid.shape)`` of constant fields that are the same for every sample; stored once.
    times
        The instants, increasing. A steady problem has the times (0, 1), zero and the solution, and the
        attribute ``steady=True``.
    scalars
        Names of numbers, one a sample, ``(k,)``; they are the simulation parameters.
    boundary
        Side (``"x-"``, ``"x+"``, ...) to ``"WALL"``, ``"OPEN"`` or ``"PERIODIC"``. Sides of bounded axes
        that are left out count as OPEN for readers.
    attributes
        More root attributes: text, numbers, booleans.
    diagnostics
        Name to dtype of numbers about the making of each sample, ``(k,)``, stored in ``/generation``.
    dtype
        ``"float32"`` or ``"float64"``, for fields and constant fields. Scalars are float64.

    Raises
    ------
    InvalidInput
        For names, shapes or sides that do not fit; for a sample written twice or missing at the end.
    WriteFailed
        If the disk is full or the folder cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        name: str,
        grid: Grid,
        n: int,
        fields: Mapping[str, int],
        constant_fields: Mapping[str, int] | None = None,
        shared_fields: Mapping[str, np.ndarray] | None = None,
        times: Sequence[float] | np.ndarray,
        scalars: Sequence[str] = (),
        boundary: Mapping[str, str] | None = None,
        attributes: Mapping[str, str | float | bool] | None = None,
        diagnostics: Mapping[str, Any] | None = None,
        dtype: str = "float32",
    ) -> None:
        self.path = Path(path)
        self.name, self.grid, self.n = name, grid, int(n)
        self.fields, self.constant_fields = dict(fields), dict(constant_fields or {})
        self.shared_fields = {key: np.asarray(value) for key, value in (shared_fields or {}).items()}
        self.times = np.asarray(times, dtype=np.float64)
        self.scalars = tuple(scalars)
        self.boundary = _checked_boundary(grid, boundary or {})
        self.attributes = dict(attributes or {})
        self.diagnostics = {key: np.dtype(kind) for key, kind in (diagnostics or {}).items()}
        self.dtype = np.dtype(dtype)
        self._check_description()
        self._shapes = self._expected_shapes()
        self._written = np.zeros(self.n, dtype=bool)
        self._numbers: dict[str, np.ndarray] = {
            **{key: np.zeros(self.n) for key in self.scalars},
            **{key: np.zeros(self.n, kind) for key, kind in self.diagnostics.items()},
        }
        self._copied: dict[tuple[str, int], int] = {}  # CRC-32 of the packed bytes of a field of a sample
        self._file: h5py.File | None = None
        self._datasets: dict[str, h5py.Dataset] = {}

    def __enter__(self) -> WellWriter:
        with atomic_file.explain_write_errors(self.path):
            # No chunk cache: chunks reach the file in the order of the samples, not of their eviction.
            self._file = h5py.File(
                atomic_file.partial_path(self.path), "w", libver=("v110", "v110"), rdcc_nbytes=0
            )
        try:
            with atomic_file.explain_write_errors(self.path):
                self._write_description(self._file)
        except BaseException:
            self._abandon()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._abandon()
            return
        try:
            self._check_complete()
            self._finish()
        except BaseException:
            self._abandon()
            raise

    def write(self, start: int, arrays: Mapping[str, np.ndarray]) -> None:
        """Write consecutive samples.

        Parameters
        ----------
        start
            Index of the first one. Blocks may come in any order.
        arrays
            Every field, constant field, scalar and diagnostic, each ``(k, ...)`` with the same ``k``.

        Raises
        ------
        InvalidInput
            If a name or shape is wrong, or a sample was written before.
        WriteFailed
            If the operating system refuses.
        """
        blocks, k = self._checked_blocks(arrays)
        self._check_rows(start, k)
        with atomic_file.explain_write_errors(self.path):
            for i in range(k):
                for key, dataset in self._datasets.items():
                    dataset[start + i] = blocks[key][i]
        for key, values in self._numbers.items():
            values[start : start + k] = blocks[key]
        self._written[start : start + k] = True

    def copy(self, start: int, source: WellReader, rows: Sequence[int]) -> None:
        """Copy samples of a file that was written with the same description, without unpacking their fields.

        Parameters
        ----------
        start
            Where the first of them goes; the others follow.
        source
            The other file.
        rows
            Its samples.

        Raises
        ------
        InvalidInput
            If the files do not agree, or a sample was written before.
        WriteFailed
            If the operating system refuses.
        """
        self._check_rows(start, len(rows))
        for key, made in self._datasets.items():
            if source.chunking(key) != (made.chunks, made.dtype):
                raise InvalidInput(
                    f"chunks of {key!r} in {source.path}",
                    source.chunking(key),
                    f"{(made.chunks, made.dtype)}",
                )
        with atomic_file.explain_write_errors(self.path):
            for i, row in enumerate(rows):
                for key, dataset in self._datasets.items():
                    check = 0
                    for place, mask, packed in source.packed_chunks(key, row):
                        dataset.id.write_direct_chunk((start + i, *place), packed, mask)
                        check = zlib.crc32(packed, check)
                    self._copied[key, start + i] = check
        for key, values in self._numbers.items():
            values[start : start + len(rows)] = source.read(key, rows)
        self._written[start : start + len(rows)] = True

    def _check_rows(self, start: int, k: int) -> None:
        if self._file is None:
            raise InvalidInput("WellWriter", "a closed writer", "a call inside `with WellWriter(...)`")
        if start < 0 or start + k > self.n:
            raise InvalidInput("start", start, f"a block of {k} samples within 0..{self.n}")
        if self._written[start : start + k].any():
            twice = (start + np.flatnonzero(self._written[start : start + k])).tolist()
            raise InvalidInput("start", start, f"samples that are not written yet; {_short(twice)} are")

    def _checked_blocks(self, arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], int]:
        for key in arrays:
            if key not in self._shapes:
                raise InvalidInput("arrays", key, "a name given to WellWriter", choices=self._shapes)
        missing = [key for key in self._shapes if key not in arrays]
        if missing:
            raise InvalidInput("arrays", sorted(arrays), f"all names at once; {missing} are missing")
        blocks = {key: np.asarray(arrays[key]) for key in self._shapes}
        first = next(iter(blocks))
        k = blocks[first].shape[0] if blocks[first].ndim else 0
        for key, block in blocks.items():
            if block.shape != (k, *self._shapes[key]) or k == 0:
                raise InvalidInput(
                    f"arrays[{key!r}]",
                    block.shape,
                    f"shape {(k or 'k', *self._shapes[key])}, k samples first",
                )
            if block.dtype.kind not in "fiub":
                raise InvalidInput(f"arrays[{key!r}]", str(block.dtype), "real numbers")
            if key in self._datasets and block.dtype != self.dtype:
                with np.errstate(over="ignore"):
                    narrow = block.astype(self.dtype)
                if block.dtype.kind == "f" and np.any(np.isinf(narrow) & np.isfinite(block)):
                    raise InvalidInput(
                        f"arrays[{key!r}]",
                        float(np.abs(block).max()),
                        f"numbers that fit in {self.dtype}",
                        'Write with dtype="float64".',
                    )
                blocks[key] = narrow
        return blocks, k

    def _check_description(self) -> None:
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

    def _expected_shapes(self) -> dict[str, tuple[int, ...]]:
        grid = self.grid
        shapes: dict[str, tuple[int, ...]] = {}
        for key, order in self.constant_fields.items():
            shapes[key] = (*grid.shape, *(grid.dim,) * order)
        for key, order in self.fields.items():
            shapes[key] = (self.times.size, *grid.shape, *(grid.dim,) * order)
        return {**shapes, **dict.fromkeys((*self.scalars, *self.diagnostics), ())}

    def _write_description(self, file: h5py.File) -> None:
        grid = self.grid
        file.attrs["dataset_name"] = self.name
        file.attrs["grid_type"] = "cartesian"
        file.attrs["n_spatial_dims"] = grid.dim
        file.attrs["n_trajectories"] = self.n
        file.attrs["simulation_parameters"] = _texts(self.scalars)
        for key, value in self.attributes.items():
            file.attrs[key] = value

        dimensions = file.create_group(DIMENSIONS)
        dimensions.attrs["spatial_dims"] = _texts(grid.axes)
        _checked_array(dimensions, TIME, self.times, sample_varying=False, time_varying=True)
        for axis, nodes, low, high in zip(grid.axes, grid.coordinates(), grid.lower, grid.upper):
            made = _checked_array(dimensions, axis, nodes.numpy(), sample_varying=False, time_varying=False)
            # The ends themselves: lower + (points - 1) h need not give upper to the last bit.
            made.attrs["lower"], made.attrs["upper"] = low, high

        boundaries = file.create_group(BOUNDARIES)
        for axis, points in zip(grid.axes, grid.points):
            kinds = (self.boundary.get(f"{axis}-"), self.boundary.get(f"{axis}+"))
            for kind in dict.fromkeys(kind for kind in kinds if kind):
                group = boundaries.create_group(f"{axis}_{kind.lower()}")
                group.attrs["bc_type"] = kind
                group.attrs["associated_dims"] = _texts([axis])
                group.attrs["associated_fields"] = _texts(self.fields)
                group.attrs["sample_varying"] = group.attrs["time_varying"] = False
                mask = np.zeros(points, dtype=bool)
                mask[0], mask[-1] = kinds[0] == kind, kinds[1] == kind
                _checked_array(group, "mask", mask)

        for order, group_name in enumerate(FIELD_GROUPS):
            group = file.create_group(group_name)
            constant = [key for key, own in self.constant_fields.items() if own == order]
            varying = [key for key, own in self.fields.items() if own == order]
            shared = list(self.shared_fields) if order == 0 else []
            group.attrs["field_names"] = _texts(shared + constant + varying)
            for key in shared:
                values = self.shared_fields[key].astype(self.dtype)
                made = _checked_array(group, key, values, sample_varying=False, time_varying=False)
                made.attrs["dim_varying"] = np.ones(grid.dim, dtype=bool)
            for key in constant + varying:
                self._datasets[key] = self._create_field(group, key, time_varying=key in self.fields)

    def _create_field(self, group: h5py.Group, key: str, *, time_varying: bool) -> h5py.Dataset:
        shape = self._shapes[key]
        dataset = group.create_dataset(
            key,
            shape=(self.n, *shape),
            dtype=self.dtype,
            chunks=(1, *_chunk(shape, self.dtype.itemsize)),
            compression="gzip",
            compression_opts=1,
            shuffle=True,
            fletcher32=True,
            fillvalue=np.nan,
        )
        dataset.attrs["dim_varying"] = np.ones(self.grid.dim, dtype=bool)
        dataset.attrs["sample_varying"] = True
        dataset.attrs["time_varying"] = time_varying
        return dataset

    def _check_complete(self) -> None:
        missing = np.flatnonzero(~self._written).tolist()
        if missing:
            raise InvalidInput(
                str(self.path),
                f"{self.n - len(missing)} samples",
                f"{self.n}; {_short(missing)} were not written",
                "The unfinished file was removed.",
            )

    def _finish(self) -> None:
        assert self._file is not None
        with atomic_file.explain_write_errors(self.path):
            for group_name, names in ((SCALARS, self.scalars), (GENERATION, tuple(self.diagnostics))):
                if group_name == GENERATION and not names:
                    continue
                group = self._file.create_group(group_name)
                group.attrs["field_names"] = _texts(names)
                for key in names:
                    values = self._numbers[key]
                    _checked_array(group, key, values, sample_varying=True, time_varying=False)
                    if group_name == SCALARS:
                        self._file.attrs[key] = np.array([values.min(), values.max()])
            self._file.attrs[CHECKSUM] = np.uint32(metadata_crc32(self._file))
            self._file.close()
        with WellReader(atomic_file.partial_path(self.path)) as reader:
            reader.verify(self._copied)
        atomic_file.publish(self.path)

    def _abandon(self) -> None:
        if self._file is not None:
            # On a full disk HDF5 cannot flush what it holds; the error that counts is already on its way.
            with contextlib.suppress(OSError, RuntimeError, ValueError):
                self._file.close()
        atomic_file.discard(self.path)


def _checked_array(group: h5py.Group, name: str, values: np.ndarray, **attributes: bool) -> h5py.Dataset:
    """A small array with a checksum of its own."""
    made = group.create_dataset(name, data=values, chunks=values.shape, fletcher32=True)
    for key, value in attributes.items():
        made.attrs[key] = value
    return made


def _chunk(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """The sample's shape, cut along its leading axes until it is at most ``_LARGEST_CHUNK`` bytes."""
    chunk = list(shape)
    for axis in range(len(chunk)):
        while chunk[axis] > 1 and math.prod(chunk) * itemsize > _LARGEST_CHUNK:
            chunk[axis] = -(-chunk[axis] // 2)
    return tuple(chunk)


def _checked_boundary(grid: Grid, boundary: Mapping[str, str]) -> dict[str, str]:
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


def _texts(values: Any) -> np.ndarray:
    return np.array(list(values), dtype=_TEXT)


def _short(indices: list[int]) -> str:
    shown = ", ".join(map(str, indices[:8]))
    return f"{shown}, ... ({len(indices)} in all)" if len(indices) > 8 else shown
