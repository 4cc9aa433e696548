"""Reading The Well's HDF5 layout, also from files of unknown origin."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from isal import isal_zlib

from pdeflow.data.hdf5_safety import explain_read_errors, get_dataset, open_checked
from pdeflow.data.packed_chunks import places_in
from pdeflow.data.well_description import Stored, describe
from pdeflow.errors import CorruptFile, InvalidInput
from pdeflow.grid import Grid

_VERIFY_VALUES = 1 << 22


class WellReader:
    """Reads a file in The Well's layout, ours or anyone's.

    On opening, the whole file is checked for links, virtual data sets and false sizes, and its description
    for consistency; data are read only when asked for. The object may be sent to other processes: each opens
    the file for itself.

    Parameters
    ----------
    path
        The HDF5 file.

    Attributes
    ----------
    name, n
        Name of the data set, number of samples.
    axes, shape
        Space coordinates and the number of nodes along each.
    times
        The instants, ``(T,)`` float64; ``(n, T)`` where each sample has its own.
    fields, constant_fields
        Name to tensor order, of what depends on time and what does not.
    scalars, diagnostics
        Names of numbers, one a sample.
    boundary
        Side (``"x-"``) to WALL, OPEN or PERIODIC, as far as the file says.
    attributes
        The root attributes beyond those of the layout.
    steady
        Whether it holds a steady problem: the solution is the last of two instants.

    Raises
    ------
    CorruptFile
        If the file is damaged, or is not in this layout, or its parts contradict each other.
    UnsafeFile
        If it reaches into other files or declares more than it stores.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._handle: h5py.File | None = None
        self._process = os.getpid()
        file = self._open()
        try:
            with explain_read_errors(self.path, "the description of the data"):
                described = describe(file, self.path)
        except BaseException:
            self.close()
            raise
        self.name, self.n = described.name, described.n
        self.axes, self.shape, self.times = described.axes, described.shape, described.times
        self.fields, self.constant_fields = described.fields, described.constant_fields
        self.scalars, self.diagnostics = described.scalars, described.diagnostics
        self.boundary, self.attributes = described.boundary, described.attributes
        self.steady = bool(self.attributes.get("steady", False))
        self._grid, self._stored = described.grid, described.stored

    def __enter__(self) -> WellReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None}

    def __repr__(self) -> str:
        return f"WellReader({str(self.path)!r}, n={self.n}, shape={self.shape})"

    def close(self) -> None:
        """Close the file; a later read opens it again."""
        if self._handle is not None and self._process == os.getpid():
            self._handle.close()
        self._handle = None

    @property
    def grid(self) -> Grid:
        """The uniform grid of all samples.

        Raises
        ------
        InvalidInput
            If the nodes are not equally spaced, or differ between samples.
        """
        if isinstance(self._grid, InvalidInput):
            raise self._grid
        return self._grid

    @property
    def wraps(self) -> dict[str, bool | None]:
        """By name of the axis, whether it wraps around; None where the file does not say how it ends."""
        known = {side[:-1] for side in self.boundary}
        around = zip(self.grid.axes, self.grid.periodic)
        return {axis: wraps if wraps or axis in known else None for axis, wraps in around}

    @property
    def names(self) -> tuple[str, ...]:
        """Everything that :meth:`read` knows."""
        return tuple(self._stored)

    def sample_shape(self, name: str) -> tuple[int, ...]:
        """Shape of one sample of ``name``."""
        stored = self._find(name)
        time = (self.times.shape[-1],) if stored.time_varying else ()
        space = self.shape if stored.dim_varying else ()
        return (*time, *space, *(len(self.axes),) * stored.order)

    def read(
        self, name: str, index: int | slice | Sequence[int] | np.ndarray, *, step: int | None = None
    ) -> np.ndarray:
        """Read samples of a field, constant field, scalar or diagnostic.

        Parameters
        ----------
        name
            What to read.
        index
            One sample, or several in any order.
        step
            Of a field that depends on time, this instant only; negative numbers count from the end.

        Returns
        -------
        ``(k, *sample_shape)``, without ``k`` for a single index and without the time axis for a ``step``, in
        the dtype of the file. What is the same for all samples or along an axis is repeated.

        Raises
        ------
        InvalidInput
            If there is no such name, sample or instant.
        CorruptFile
            If the bytes are damaged; the message names the sample.
        """
        stored = self._find(name)
        rows = self._rows(index)
        if step is not None:
            steps = self.times.shape[-1]
            if not stored.time_varying or not -steps <= step < steps:
                raise InvalidInput("step", step, f"an instant of {steps}, of a field that depends on time")
            step %= steps
        data = get_dataset(self._file(), stored.path)
        if stored.sample_varying:
            block = self._read_rows(data, name, rows, step)
        else:
            with explain_read_errors(self.path, repr(name)):
                one = data[()] if step is None else data[step]
            block = np.broadcast_to(one, (len(rows), *np.shape(one)))
        shape = self.sample_shape(name)[1 if step is not None else 0 :]
        block = _spread(block, stored, len(shape) - stored.order - len(stored.dim_varying), shape)
        return block[0] if not isinstance(index, slice) and np.ndim(index) == 0 else block

    def verify(self, packed: Mapping[tuple[str, int], int] | None = None) -> None:
        """Read every chunk against its checksum.

        Parameters
        ----------
        packed
            (name, sample) to the CRC-32 of its chunks as they were written, where that is known; those are
            compared without being unpacked.

        Raises
        ------
        CorruptFile
            Naming the first array and sample that is damaged.
        """
        known = packed or {}
        arrays = {
            name: get_dataset(self._file(), self._find(name).path) for name in {name for name, _ in known}
        }
        places = {name: places_in(data) for name, data in arrays.items()}
        for (name, row), expected in known.items():
            with explain_read_errors(self.path, f"{name!r} of sample {row}"):
                found = _packed_sum(arrays[name], row, places[name])
            if found != expected:
                raise CorruptFile(f"{self.path}: {name!r} of sample {row} is not what was written.")
        for name, stored in self._stored.items():
            block = max(1, _VERIFY_VALUES // max(1, math.prod(self.sample_shape(name))))
            rows = range(self.n if stored.sample_varying else 1)
            unknown = [row for row in rows if (name, row) not in known]
            for start in range(0, len(unknown), block):
                self.read(name, unknown[start : start + block])

    def _find(self, name: str) -> Stored:
        if name not in self._stored:
            raise InvalidInput("name", name, f"something that {self.path} holds", choices=self._stored)
        return self._stored[name]

    def _rows(self, index: int | slice | Sequence[int] | np.ndarray) -> np.ndarray:
        if isinstance(index, slice):
            return np.arange(*index.indices(self.n))
        rows = np.atleast_1d(np.asarray(index))
        if rows.size == 0:
            return rows.astype(np.int64)
        if rows.dtype.kind not in "iu" or rows.min() < -self.n or rows.max() >= self.n:
            raise InvalidInput("index", index, f"samples of 0..{self.n - 1}")
        return rows.astype(np.int64) % self.n

    def _read_rows(self, data: h5py.Dataset, name: str, rows: np.ndarray, step: int | None) -> np.ndarray:
        tail = data.shape[1:] if step is None else data.shape[2:]
        block = np.empty((len(rows), *tail), data.dtype)
        for at, start, stop in _runs(rows):
            try:
                self._read_run(data, name, block[at : at + stop - start], start, stop, step)
            except CorruptFile as error:
                self._name_sample(data, name, range(start, stop), step, error)
        return block

    def _read_run(
        self, data: h5py.Dataset, name: str, into: np.ndarray, start: int, stop: int, step: int | None
    ) -> None:
        with explain_read_errors(self.path, f"{name!r}, samples {start} to {stop - 1},"):
            into[...] = data[start:stop] if step is None else data[start:stop, step]

    def _name_sample(
        self, data: h5py.Dataset, name: str, rows: range, step: int | None, error: CorruptFile
    ) -> None:
        for row in rows:
            with explain_read_errors(self.path, f"{name!r} of sample {row}"):
                _ = data[row] if step is None else data[row, step]
        raise error

    def _open(self) -> h5py.File:
        self._handle, self._process = open_checked(self.path), os.getpid()
        return self._handle

    def _file(self) -> h5py.File:
        # A handle must not cross a fork: drop it, without closing it under the parent's feet.
        if self._handle is None or self._process != os.getpid():
            return self._open()
        return self._handle


def _packed_sum(data: h5py.Dataset, row: int, places: Sequence[tuple[int, ...]]) -> int:
    """CRC-32 of one sample, whose chunks begin at ``places``, as it lies in the file."""
    found = 0
    for place in places:
        found = isal_zlib.crc32(data.id.read_direct_chunk((row, *place))[1], found)
    return found


def _runs(rows: np.ndarray) -> Iterator[tuple[int, int, int]]:
    """Stretches of consecutive samples: (position in ``rows``, first sample, one past the last)."""
    cuts = [0, *(np.flatnonzero(np.diff(rows) != 1) + 1).tolist(), len(rows)]
    for a, b in itertools.pairwise(cuts):
        if b > a:
            yield a, int(rows[a]), int(rows[b - 1]) + 1


def _spread(block: np.ndarray, stored: Stored, steps: int, shape: tuple[int, ...]) -> np.ndarray:
    """Repeat along the space axes that the file leaves out."""
    for k, varies in enumerate(stored.dim_varying):
        if not varies and not stored.keeps_axes:
            block = np.expand_dims(block, 1 + steps + k)
    full = (block.shape[0], *shape)
    return block if block.shape == full else np.broadcast_to(block, full)
