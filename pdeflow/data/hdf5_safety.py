"""Opening an HDF5 file of unknown origin: everything in it is looked at before anything is read."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

import h5py

from pdeflow.errors import CorruptFile, NoSuchFile, PdeflowError, UnsafeFile

# Deflate cannot shrink data more than 1032 times; what claims more is not data but a trap.
_LARGEST_RATIO = 1100
_SMALL = 1 << 20
_MOST_OBJECTS = 10_000
_LARGEST_ATTRIBUTE = 16 << 20
# deflate, shuffle, fletcher32, szip, n-bit, scale-offset, lzf: all built in. Others would load a plug-in.
_FILTERS = {1, 2, 3, 4, 5, 6, 32000}


@contextlib.contextmanager
def explain_read_errors(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Turn what HDF5 raises on damaged bytes into :class:`CorruptFile`, naming the part that was read."""
    try:
        yield
    except (PdeflowError, MemoryError):
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, UnicodeError) as error:
        raise CorruptFile(
            f"{path}: {what} cannot be read: {_first_line(error)}.\n"
            "The file is truncated or damaged: copy it again from its source, or generate it again."
        ) from error


def open_checked(path: str | os.PathLike[str]) -> h5py.File:
    """Open an HDF5 file read-only after checking that it is self-contained and honest about its size.

    Refused are soft, external and user-defined links, virtual data sets, external storage, references,
    filters that need a plug-in, and data sets that declare far more bytes than the file stores.

    Raises
    ------
    CorruptFile
        If the file is absent, empty, truncated or not HDF5.
    UnsafeFile
        If the file reaches outside itself or declares more than it holds.
    """
    path = Path(path)
    if path.is_dir():
        raise CorruptFile(f"{path}: is a folder, expected an HDF5 file.")
    if not path.is_file():
        error = NoSuchFile(f"{path}: no such file. Check the path, or make the file with `pdeflow generate`.")
        error.path = str(path)
        raise error
    size = path.stat().st_size
    if size == 0:
        raise CorruptFile(f"{path}: the file is empty. Copy it again from its source, or generate it again.")
    if not h5py.is_hdf5(path):
        with open(path, "rb") as handle:
            start = handle.read(8)
        raise CorruptFile(
            f"{path}: not an HDF5 file (it starts with {start!r}).\n"
            "Other formats become one with `pdeflow convert SOURCE DESTINATION.h5`."
        )
    with explain_read_errors(path, "the HDF5 structure"):
        # Finished files never change, and locks fail on some network file systems.
        file = h5py.File(path, "r", locking=False)
    try:
        with explain_read_errors(path, "the HDF5 structure"):
            _check_tree(file, path, size)
    except BaseException:
        file.close()
        raise
    return file


def get_group(parent: h5py.Group, name: str) -> h5py.Group:
    """A group that has to be there."""
    item = parent.get(name)
    if not isinstance(item, h5py.Group):
        raise CorruptFile(f"{parent.file.filename}: the group {_join(parent, name)} is missing.")
    return item


def get_dataset(parent: h5py.Group, name: str) -> h5py.Dataset:
    """A data set that has to be there."""
    item = parent.get(name)
    if not isinstance(item, h5py.Dataset):
        raise CorruptFile(f"{parent.file.filename}: the data set {_join(parent, name)} is missing.")
    return item


def _join(parent: h5py.Group, name: str) -> str:
    return f"{str(parent.name).rstrip('/')}/{name}"


def _check_tree(file: h5py.File, path: Path, size: int) -> None:
    # h5py compares objects by their address in the file.
    stored, seen = 0, {file["/"]}
    waiting: list[tuple[str, h5py.Group]] = [("", file)]
    _check_attributes(file, path, "/")
    while waiting:
        prefix, group = waiting.pop()
        for key in map(str, group):
            name = f"{prefix}/{key}"
            link = group.get(key, getlink=True)
            if not isinstance(link, h5py.HardLink):
                what = "a link into another file" if isinstance(link, h5py.ExternalLink) else "a soft link"
                raise UnsafeFile(
                    f"{path}: {name} is {what}; a data file must be self-contained.\n"
                    "Where it was made, copy what the link points to in its place (`h5copy -f soft,ext`)."
                )
            item = group[key]
            if item in seen:
                raise UnsafeFile(f"{path}: {name} is a second name of another object, expected a plain tree.")
            seen.add(item)
            if len(seen) > _MOST_OBJECTS:
                raise UnsafeFile(f"{path}: holds more than {_MOST_OBJECTS} objects; this is no field data.")
            if isinstance(item, h5py.Dataset):
                stored += _check_dataset(item, path, name)
            elif isinstance(item, h5py.Group):
                waiting.append((name, item))
            else:
                raise UnsafeFile(f"{path}: {name} is neither a group nor a data set.")
            _check_attributes(item, path, name)
    if stored > size:
        raise UnsafeFile(
            f"{path}: its data sets claim {stored} stored bytes, but the file has {size}; "
            "they overlap or are cut off."
        )


def _check_dataset(data: h5py.Dataset, path: Path, name: str) -> int:
    """Refuse a data set that reaches outside the file or overstates its size; give its stored bytes."""
    layout = data.id.get_create_plist()
    if layout.get_layout() == h5py.h5d.VIRTUAL:
        raise UnsafeFile(
            f"{path}: {name} is a virtual data set, which reads from other files.\nRepack it first."
        )
    if layout.get_external_count():
        raise UnsafeFile(
            f"{path}: {name} keeps its data in another file (external storage).\nRepack it first."
        )
    filters = [layout.get_filter(k)[0] for k in range(layout.get_nfilters())]
    if not set(filters) <= _FILTERS or len(set(filters)) < len(filters):
        raise UnsafeFile(
            f"{path}: {name} uses the HDF5 filters {filters}, expected built-in ones, once each."
        )
    if data.dtype.hasobject and h5py.check_string_dtype(data.dtype) is None:
        raise UnsafeFile(f"{path}: {name} holds references or variable-length data, expected numbers.")
    declared = math.prod(data.shape or ()) * data.dtype.itemsize
    stored = data.id.get_storage_size()
    if declared > _LARGEST_RATIO * stored + _SMALL:
        raise UnsafeFile(
            f"{path}: {name} declares shape {data.shape} ({declared} bytes) but stores only {stored} bytes."
        )
    if layout.get_layout() == h5py.h5d.CHUNKED and data.shape:
        expected = math.prod(-(-n // c) for n, c in zip(data.shape, layout.get_chunk()))
        if data.id.get_num_chunks() < expected:
            raise UnsafeFile(
                f"{path}: {name} declares {expected} chunks but stores {data.id.get_num_chunks()}; "
                "the rest would be invented fill values."
            )
    return stored


def _check_attributes(item: h5py.Group | h5py.Dataset, path: Path, name: str) -> None:
    for k in range(h5py.h5a.get_num_attrs(item.id)):
        attribute = h5py.h5a.open(item.id, index=k)
        if math.prod(attribute.shape or ()) * attribute.get_type().get_size() > _LARGEST_ATTRIBUTE:
            raise UnsafeFile(f"{path}: an attribute of {name} is larger than {_LARGEST_ATTRIBUTE} bytes.")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
