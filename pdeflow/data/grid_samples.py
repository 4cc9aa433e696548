"""Samples of one or more files as channels of input and target on one grid."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from pdeflow.data.well_reader import WellReader
from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid

# Up to here (inputs and targets, float32, at the chosen resolution) samples are kept in memory.
IN_MEMORY_BYTES = 2 << 30
T = TypeVar("T", bound="GridSamples")
BLOCK_BYTES = 64 << 20


class GridSamples:
    """Chosen samples, fields and resolution of files in The Well's layout.

    Fields become channels: a vector ``v`` gives ``v_x, v_y``, a tensor ``t`` gives ``t_xx, t_xy, ...``, a
    scalar is a channel with one value everywhere. Of fields that depend on time, an input is the first
    instant and a target the last; in a steady file both are the last, the solution.

    Parameters
    ----------
    readers
        Files with the same grid and fields; their samples are numbered through.
    rows
        The samples to use, by that number.
    inputs, targets
        Names of fields, constant fields or scalars.
    points
        Nodes along each axis, picked by whole strides out of those stored; all by default.
    keep_failed
        Samples that the generator recorded as failed are left out, with a warning, unless this is true: they
        have inputs but no solution.

    Raises
    ------
    InvalidInput
        For an unknown name, files that differ, or a resolution that strides cannot give.
    """

    def __init__(
        self,
        readers: Sequence[WellReader],
        rows: np.ndarray,
        inputs: Sequence[str],
        targets: Sequence[str],
        points: int | Sequence[int] | None = None,
        *,
        keep_failed: bool = False,
    ) -> None:
        self.readers = list(readers)
        self._starts = np.cumsum([0, *(reader.n for reader in self.readers)])
        rows = np.asarray(rows, dtype=np.int64)
        self.rows = rows if keep_failed else self._solved(rows)
        self.inputs, self.targets = tuple(inputs), tuple(targets)
        self._check()
        stored = self.readers[0].grid
        self.grid: Grid = stored if points is None else stored.with_points(points)
        self.strides = stored.strides_to(self.grid.points)
        self.input_names = tuple(name for key in self.inputs for name in self._channels(key))
        self.target_names = tuple(name for key in self.targets for name in self._channels(key))
        self._memory: tuple[torch.Tensor, torch.Tensor] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def nbytes(self) -> int:
        """Bytes of all inputs and targets as float32."""
        channels = len(self.input_names) + len(self.target_names)
        return 4 * len(self) * channels * int(np.prod(self.grid.shape))

    @property
    def in_memory(self) -> bool:
        """Whether :meth:`load` keeps the samples."""
        return self._memory is not None

    def __getitem__(self, index: torch.Tensor) -> dict[str, Any]:
        """A batch: ``input`` and ``target`` ``(B, C, *S)`` float32, ``index`` ``(B,)`` int64, ``names``.

        ``index`` counts the samples chosen here; the batch's ``index`` is the sample's number in the files,
        its ``names`` are those of the input channels.
        """
        if self._memory is not None:
            values, wanted = (part[index] for part in self._memory)
        else:
            values, wanted = self._read(np.asarray(index))
        return {
            "input": values,
            "target": wanted,
            "index": torch.from_numpy(self.rows)[index],
            "names": self.input_names,
        }

    def blocks(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """All inputs and targets in order, a few megabytes at a time."""
        return self._stored()

    def _stored(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """What `load` keeps of the rows, a few megabytes at a time."""
        k = max(1, int(BLOCK_BYTES * len(self.rows) // max(self.nbytes, 1)))
        for start in range(0, len(self.rows), k):
            rows = np.arange(start, min(start + k, len(self.rows)))
            if self._memory is None:
                yield self._read(rows)
            else:
                yield self._memory[0][rows], self._memory[1][rows]

    @property
    def _stored_names(self) -> tuple[Sequence[str], Sequence[str]]:
        """Names of the channels of both parts."""
        return self.input_names, self.target_names

    def load(self: T) -> T:
        """Check that all samples are finite, and keep them if they take at most 2 GiB.

        Raises
        ------
        InvalidInput
            Naming the field and the samples that hold NaN or infinity.
        """
        keep = self.nbytes <= IN_MEMORY_BYTES
        kept, bad = [], {name: [] for names in self._stored_names for name in names}
        at = 0
        for parts in self._stored():
            for names, part in zip(self._stored_names, parts):
                # Channels come before the axes of the grid, and behind time where there is one.
                finite = torch.isfinite(part).flatten(part.ndim - self.grid.dim).all(-1)
                finite = finite.all(1) if finite.ndim > 2 else finite
                for k, name in enumerate(names):
                    bad[name] += self.rows[at : at + len(part)][~finite[:, k].numpy()].tolist()
            at += len(parts[0])
            if keep:
                kept.append(parts)
        for name, rows in bad.items():
            if rows:
                shown = f"{', '.join(map(str, rows[:8]))}{', ...' if len(rows) > 8 else ''}"
                raise InvalidInput(
                    f"{self._where()}, {name!r}",
                    f"NaN or infinity in {len(rows)} of {len(self.rows)} samples: {shown}",
                    "finite numbers that fit in float32",
                    "Generate or convert the data again without these samples.",
                )
        if keep and kept:
            self._memory = (torch.cat([a for a, _ in kept]), torch.cat([b for _, b in kept]))
        return self

    def _solved(self, rows: np.ndarray) -> np.ndarray:
        """The rows without those whose solve failed, as the generator recorded it; says how many they are."""
        failed = [
            reader.read("status", slice(None)) != 0
            if "status" in reader.diagnostics
            else np.zeros(reader.n, dtype=bool)
            for reader in self.readers
        ]
        left_out = np.concatenate(failed)[rows]
        if left_out.any():
            warnings.warn(
                f"{self._where()}: {left_out.sum()} of {len(rows)} samples are left out, because their solve "
                "failed when they were generated (dataset /generation/status).",
                stacklevel=3,
            )
        return rows[~left_out]

    def _read(self, index: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        rows = self.rows[index]
        which = np.searchsorted(self._starts, rows, side="right") - 1
        parts = []
        for names, is_target in ((self.inputs, False), (self.targets, True)):
            channels = len(self.target_names if is_target else self.input_names)
            block = np.empty((len(rows), channels, *self.grid.shape), np.float32)
            for file in np.unique(which):
                chosen = which == file
                block[chosen] = self._read_file(
                    self.readers[file], rows[chosen] - self._starts[file], names, is_target
                )
            parts.append(torch.from_numpy(block))
        return parts[0], parts[1]

    def _read_file(
        self, reader: WellReader, rows: np.ndarray, names: Sequence[str], is_target: bool
    ) -> np.ndarray:
        columns = []
        for name in names:
            step = (-1 if is_target or reader.steady else 0) if name in reader.fields else None
            columns.append(self._on_grid(reader, name, reader.read(name, rows, step=step)))
        with np.errstate(over="ignore"):
            return np.concatenate([column.astype(np.float32) for column in columns], axis=1)

    def _on_grid(self, reader: WellReader, name: str, values: np.ndarray) -> np.ndarray:
        """Values (k, *stored, ...) of a field, (k,) of a scalar, at the chosen nodes: (k, channels, *S)."""
        if name in reader.scalars:
            column = values.reshape(-1, 1, *(1,) * self.grid.dim)
            return np.broadcast_to(column, (len(values), 1, *self.grid.shape))
        values = values[(slice(None), *(slice(None, None, s) for s in self.strides))]
        return np.moveaxis(values.reshape(len(values), *self.grid.shape, -1), -1, 1)

    def _channels(self, name: str) -> list[str]:
        reader = self.readers[0]
        order = {**reader.constant_fields, **reader.fields}.get(name, 0)
        if order == 0:
            return [name]
        return [f"{name}_{''.join(part)}" for part in itertools.product(reader.axes, repeat=order)]

    def _check(self) -> None:
        first = self.readers[0]
        for label, names in (("inputs", self.inputs), ("targets", self.targets)):
            if not names:
                raise InvalidInput(label, list(names), "at least one name", choices=self._usable(first))
            for name in names:
                for reader in self.readers:
                    if name not in self._usable(reader):
                        raise InvalidInput(
                            label, name, f"a field or scalar of {reader.path}", choices=self._usable(reader)
                        )
        for reader in self.readers[1:]:
            if reader.grid != first.grid:
                raise InvalidInput(
                    str(reader.path),
                    reader.grid.points,
                    f"the grid {first.grid.points} of {first.path}",
                    "Files of one set must share a grid; give others as `test_paths`.",
                )
            same = ({**r.constant_fields, **r.fields} for r in (reader, first))
            if (
                len({tuple(orders.get(name, 0) for name in (*self.inputs, *self.targets)) for orders in same})
                > 1
            ):
                raise InvalidInput(str(reader.path), reader.fields, f"the fields of {first.path}")

    @staticmethod
    def _usable(reader: WellReader) -> tuple[str, ...]:
        return (*reader.constant_fields, *reader.fields, *reader.scalars)

    def _where(self) -> Path:
        first = self.readers[0].path
        return first if len(self.readers) == 1 else first.parent
