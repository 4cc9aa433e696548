"""NumPy archives: named arrays whose first axis counts the samples."""

from __future__ import annotations

import contextlib
import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from pdeflow.data.foreign import (
    AXES,
    Foreign,
    Wishes,
    box_grid,
    channel_arrays,
    grid_of_nodes,
    names_of,
    split_channels,
)
from pdeflow.errors import CorruptFile, InvalidInput, PdeflowError, UnsafeFile

# Deflate makes at most 1032 bytes out of one.
_MOST_DEFLATED = 1032


@dataclass(frozen=True)
class Header:
    """Shape, dtype and memory order of one array in the archive."""

    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays ``(*shape)`` of an ``.npz`` archive by name, in their stored dtypes; never unpickled.

    Raises
    ------
    UnsafeFile
        If an array holds Python objects, or the archive declares more than it stores.
    CorruptFile
        If the archive is damaged: no zip archive, cut, or a checksum that does not match.
    """
    with _explained(path):
        headers = _headers(path)
        with zipfile.ZipFile(path) as archive:
            arrays: dict[str, np.ndarray] = {}
            for name in headers:
                with archive.open(f"{name}.npy") as stream:
                    arrays[name] = np.lib.format.read_array(stream, allow_pickle=False)
                    # The checksum is compared at the end of the entry, which an empty array does not reach.
                    stream.read()
            return arrays


def open_npz(path: Path, wishes: Wishes) -> Foreign:
    """Arrays ``(N, *S)``, ``(N, C, *S)`` or ``(N,)``; with ``time``, targets are ``(N, T, *S)``.

    ``inputs`` and ``targets`` name them. Without these, the target is ``u``, or ``y`` renamed so, and all
    other arrays of more than one axis are inputs, ``x`` renamed to ``a``. One-dimensional arrays
    ``x``, ``y``, ``z`` are the coordinates of the grid. The arrays are read in blocks, never unpickled.

    Raises
    ------
    UnsafeFile
        If an array holds Python objects, or the archive declares more than it stores.
    CorruptFile
        If the archive is damaged.
    InvalidInput
        If a name is missing or shapes do not fit together.
    """
    with _explained(path):
        headers = _headers(path)
    inputs, targets = _chosen(path, headers, wishes)
    stored = {**inputs, **targets}
    counts = {name: headers[key].shape[0] for name, key in stored.items()}
    if len(set(counts.values())) != 1:
        raise InvalidInput(
            str(path),
            counts,
            "the same number of samples (the first axis) in all arrays",
            "Mend the archive, or name the arrays that are to be used: inputs, targets.",
        )
    n = next(iter(counts.values()))

    steady = wishes.time is None
    times = np.array([0.0, 1.0]) if steady else _small(path, headers, str(wishes.time))
    scalars = tuple(name for name in inputs if len(headers[inputs[name]].shape) == 1)
    layout: dict[str, tuple[tuple[int, ...], tuple[str, ...]]] = {}
    for name, key in stored.items():
        shape = headers[key].shape[1:]
        if name in scalars:
            continue
        if name in targets and not steady:
            if shape[:1] != times.shape:
                raise InvalidInput(
                    f"{path}, {key!r}", headers[key].shape, f"(N, {times.size}, *S), as in time"
                )
            layout[name] = shape[1:], (name,)
        else:
            layout[name] = split_channels(name, shape, wishes.dim)
    spaces = {name: space for name, (space, _) in layout.items()}
    if len(set(spaces.values())) != 1:
        raise InvalidInput(
            str(path),
            spaces,
            "the same grid in all arrays",
            "Give `dim` if an axis holds channels, `time` if one holds instants.",
        )
    space = next(iter(spaces.values()))
    nodes = {
        axis: _small(path, headers, axis)
        for axis in AXES[: len(space)]
        if axis in headers and axis not in stored.values() and len(headers[axis].shape) == 1
    }
    grid = (
        grid_of_nodes(nodes, space, wishes, str(path))
        if len(nodes) == len(space)
        else box_grid(space, wishes)
    )

    def blocks(k: int) -> Iterator[dict[str, np.ndarray]]:
        with _explained(path), zipfile.ZipFile(path) as archive, contextlib.ExitStack() as streams:
            rows = {name: _rows(archive, streams, key, k) for name, key in stored.items()}
            for _ in range(0, n, k):
                part: dict[str, np.ndarray] = {}
                for name, stream in rows.items():
                    block = next(stream)
                    if name in scalars or (name in targets and not steady):
                        part[name] = block
                    else:
                        part |= channel_arrays(block, layout[name][1], len(space))
                yield part

    return Foreign(
        name=path.stem,
        grid=grid,
        n=n,
        times=times,
        steady=steady,
        fields={channel: 0 for name in targets for channel in layout[name][1]},
        constant_fields={channel: 0 for name in inputs if name in layout for channel in layout[name][1]},
        scalars=scalars,
        blocks=blocks,
    )


def _chosen(path: Path, headers: dict[str, Header], wishes: Wishes) -> tuple[dict[str, str], dict[str, str]]:
    inputs, targets = names_of(wishes.inputs), names_of(wishes.targets)
    if not targets:
        target = next((key for key in ("u", "y") if key in headers and len(headers[key].shape) > 1), None)
        if target is None:
            raise InvalidInput(
                f"targets, {path}", list(headers), "the name of the solution, for example targets=[u]"
            )
        targets = {"u": target}
    if not inputs:
        inputs = {
            "a" if key == "x" else key: key
            for key, header in headers.items()
            if key not in targets.values() and len(header.shape) > 1
        }
    for key in (*inputs.values(), *targets.values()):
        if key not in headers:
            raise InvalidInput(f"{path}", key, "an array of this name in the archive", choices=headers)
        if headers[key].dtype.kind not in "fiub" or not headers[key].shape or not headers[key].shape[0]:
            raise InvalidInput(
                f"{path}, {key!r}",
                f"{headers[key].dtype} of shape {headers[key].shape}",
                "real numbers, samples first",
            )
    return inputs, targets


def _headers(path: Path) -> dict[str, Header]:
    headers = {}
    stored = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            if not entry.filename.endswith(".npy"):
                continue
            with archive.open(entry) as stream:
                header, used = _header(stream)
                label = f"{path}: the array {entry.filename[:-4]!r}"
                if header.dtype.hasobject:
                    raise UnsafeFile(f"{label} holds pickled Python objects, expected numbers.")
                declared = math.prod(header.shape) * header.dtype.itemsize
                if min(header.shape, default=0) < 0 or entry.file_size > _MOST_DEFLATED * stored:
                    raise UnsafeFile(
                        f"{label} declares shape {header.shape}, more than a file of {stored} bytes can hold."
                    )
                if declared != entry.file_size - used:
                    raise UnsafeFile(
                        f"{label} declares shape {header.shape} ({declared} bytes) "
                        f"but stores {entry.file_size - used} bytes."
                    )
            headers[entry.filename[:-4]] = header
    return headers


def _header(stream: IO[bytes]) -> tuple[Header, int]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    else:
        raise ValueError(f"unknown version {version} of the .npy format")
    return Header(shape, dtype, fortran), stream.tell()


def _rows(archive: zipfile.ZipFile, streams: contextlib.ExitStack, key: str, k: int) -> Iterator[np.ndarray]:
    stream = streams.enter_context(archive.open(f"{key}.npy"))
    header, _ = _header(stream)
    n, *rest = header.shape
    if header.fortran:
        # Samples lie scattered in this order; there is no reading them one by one.
        flat = np.frombuffer(stream.read(), header.dtype)
        whole = flat.reshape(header.shape, order="F")
        yield from (whole[start : start + k] for start in range(0, n, k))
        return
    size = math.prod(rest) * header.dtype.itemsize
    for start in range(0, n, k):
        count = min(k, n - start)
        yield np.frombuffer(stream.read(count * size), header.dtype).reshape(count, *rest)


def _small(path: Path, headers: dict[str, Header], key: str) -> np.ndarray:
    if key not in headers:
        raise InvalidInput(f"time, {path}", key, "an array of this name in the archive", choices=headers)
    if len(headers[key].shape) != 1:
        raise InvalidInput(f"{path}, {key!r}", headers[key].shape, "one axis")
    with _explained(path), np.load(path, allow_pickle=False) as archive:
        return np.asarray(archive[key], dtype=np.float64)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except PdeflowError:
        raise
    except (
        zipfile.BadZipFile,
        zlib.error,
        tokenize.TokenError,
        ValueError,
        EOFError,
        OSError,
        KeyError,
        RuntimeError,
    ) as error:
        raise CorruptFile(
            f"{path}: not a readable .npz file ({error}).\nMake it again, or copy it again from its source."
        ) from error
