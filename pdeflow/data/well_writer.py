"""Writing The Well's HDF5 layout, whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from isal import isal_zlib

from pdeflow import atomic_file
from pdeflow.data.packed_chunks import pack_sample, places_in
from pdeflow.data.storage_dtype import narrowed
from pdeflow.data.well_content import WellContent, checked_boundary, texts, write_small
from pdeflow.data.well_layout import CHECKSUM, GENERATION, SCALARS, metadata_crc32
from pdeflow.data.well_reader import WellReader
from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid


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
        self._content = WellContent(
            name=name,
            grid=grid,
            n=int(n),
            fields=dict(fields),
            constant_fields=dict(constant_fields or {}),
            shared_fields={key: np.asarray(value) for key, value in (shared_fields or {}).items()},
            times=np.asarray(times, dtype=np.float64),
            scalars=tuple(scalars),
            boundary=checked_boundary(grid, boundary or {}),
            attributes=dict(attributes or {}),
            diagnostics={key: np.dtype(kind) for key, kind in (diagnostics or {}).items()},
            dtype=np.dtype(dtype),
        )
        self._content.check()
        self._written = np.zeros(self._content.n, dtype=bool)
        self._numbers: dict[str, np.ndarray] = {
            **{key: np.zeros(n) for key in scalars},
            **{key: np.zeros(n, kind) for key, kind in self._content.diagnostics.items()},
        }
        self._sums: dict[tuple[str, int], int] = {}  # CRC-32 of the packed bytes of a field of a sample
        self._file: h5py.File | None = None
        self._datasets: dict[str, h5py.Dataset] = {}
        self._places: dict[str, list[tuple[int, ...]]] = {}  # of the chunks of a sample

    def __enter__(self) -> WellWriter:
        with atomic_file.explain_write_errors(self.path):
            # No chunk cache: chunks reach the file in the order of the samples, not of their eviction.
            self._file = h5py.File(
                atomic_file.partial_path(self.path), "w", libver=("v110", "v110"), rdcc_nbytes=0
            )
        try:
            with atomic_file.explain_write_errors(self.path):
                self._datasets = self._content.write(self._file)
            self._places = {key: places_in(data) for key, data in self._datasets.items()}
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
                for key in self._datasets:
                    self._put(key, start + i, pack_sample(blocks[key][i]))
        self._note(start, k, blocks)

    def write_packed(
        self, start: int, packed: Mapping[str, Sequence[Sequence[bytes]]], numbers: Mapping[str, np.ndarray]
    ) -> None:
        """Write consecutive samples whose fields have been packed already.

        Parameters
        ----------
        start
            Index of the first one.
        packed
            Every field and constant field: what
            :func:`~pdeflow.data.packed_chunks.pack_sample` makes of each of the k samples, in the dtype of
            the file. The bytes are not looked into.
        numbers
            Every scalar and diagnostic, (k,).

        Raises
        ------
        InvalidInput
            If a name is missing, numbers of samples or chunks differ, or a sample was written before.
        WriteFailed
            If the operating system refuses.
        """
        counts = {key: len(values) for key, values in (*packed.items(), *numbers.items())}
        k = next(iter(counts.values()), 0)
        if set(counts) != set(self._content.shapes) or set(counts.values()) != {k} or k == 0:
            expected = f"the same number of samples of each of {list(self._content.shapes)}"
            raise InvalidInput("packed, numbers", counts, expected)
        for key, places in self._places.items():
            chunks = len(places)
            for sample in packed[key]:
                if len(sample) != chunks:
                    raise InvalidInput(f"packed[{key!r}]", len(sample), f"{chunks} chunks a sample")
        self._check_rows(start, k)
        with atomic_file.explain_write_errors(self.path):
            for i in range(k):
                for key in self._datasets:
                    self._put(key, start + i, packed[key][i])
        self._note(start, k, numbers)

    def _put(self, key: str, row: int, chunks: Sequence[bytes]) -> None:
        """Put the chunks of a field of a sample into the file as they are."""
        put, check = self._datasets[key].id.write_direct_chunk, 0
        for place, content in zip(self._places[key], chunks):
            put((row, *place), content)
            check = isal_zlib.crc32(content, check)
        self._sums[key, row] = check

    def _note(self, start: int, k: int, numbers: Mapping[str, np.ndarray]) -> None:
        for key, values in self._numbers.items():
            values[start : start + k] = numbers[key]
        self._written[start : start + k] = True

    def _check_rows(self, start: int, k: int) -> None:
        if self._file is None:
            raise InvalidInput("WellWriter", "a closed writer", "a call inside `with WellWriter(...)`")
        if start < 0 or start + k > len(self._written):
            raise InvalidInput("start", start, f"a block of {k} samples within 0..{len(self._written)}")
        if self._written[start : start + k].any():
            twice = (start + np.flatnonzero(self._written[start : start + k])).tolist()
            raise InvalidInput("start", start, f"samples that are not written yet; {_short(twice)} are")

    def _checked_blocks(self, arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], int]:
        shapes = self._content.shapes
        for key in arrays:
            if key not in shapes:
                raise InvalidInput("arrays", key, "a name given to WellWriter", choices=shapes)
        missing = [key for key in shapes if key not in arrays]
        if missing:
            raise InvalidInput("arrays", sorted(arrays), f"all names at once; {missing} are missing")
        blocks = {key: np.asarray(arrays[key]) for key in shapes}
        first = next(iter(blocks))
        k = blocks[first].shape[0] if blocks[first].ndim else 0
        for key, block in blocks.items():
            if block.shape != (k, *shapes[key]) or k == 0:
                raise InvalidInput(
                    f"arrays[{key!r}]",
                    block.shape,
                    f"shape {(k or 'k', *shapes[key])}, k samples first",
                )
            if block.dtype.kind not in "fiub":
                raise InvalidInput(f"arrays[{key!r}]", str(block.dtype), "real numbers")
            if key in self._datasets:
                blocks[key] = narrowed(f"arrays[{key!r}]", block, self._content.dtype)
        return blocks, k

    def _check_complete(self) -> None:
        missing = np.flatnonzero(~self._written).tolist()
        if missing:
            raise InvalidInput(
                str(self.path),
                f"{len(self._written) - len(missing)} samples",
                f"{len(self._written)}; {_short(missing)} were not written",
                "The unfinished file was removed.",
            )

    def _finish(self) -> None:
        assert self._file is not None
        with atomic_file.explain_write_errors(self.path):
            for group_name, names in (
                (SCALARS, self._content.scalars),
                (GENERATION, tuple(self._content.diagnostics)),
            ):
                if group_name == GENERATION and not names:
                    continue
                group = self._file.create_group(group_name)
                group.attrs["field_names"] = texts(names)
                for key in names:
                    values = self._numbers[key]
                    write_small(group, key, values, sample_varying=True, time_varying=False)
                    if group_name == SCALARS:
                        self._file.attrs[key] = np.array([values.min(), values.max()])
            self._file.attrs[CHECKSUM] = np.uint32(metadata_crc32(self._file))
            self._file.close()
        with WellReader(atomic_file.partial_path(self.path)) as reader:
            reader.verify(self._sums)
        atomic_file.publish(self.path)

    def _abandon(self) -> None:
        if self._file is not None:
            # On a full disk HDF5 cannot flush what it holds; the error that counts is already on its way.
            with contextlib.suppress(OSError, RuntimeError, ValueError):
                self._file.close()
        atomic_file.discard(self.path)


def _short(indices: list[int]) -> str:
    shown = ", ".join(map(str, indices[:8]))
    return f"{shown}, ... ({len(indices)} in all)" if len(indices) > 8 else shown
