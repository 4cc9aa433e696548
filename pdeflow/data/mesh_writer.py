"""Writing samples on meshes of their own, whole or not at all."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType

import h5py
import numpy as np

from pdeflow import atomic_file
from pdeflow.data.mesh_layout import GENERATION, LAYOUT, MESH, NODES, OWN_ATTRIBUTES, SCALARS
from pdeflow.data.mesh_reader import MeshReader
from pdeflow.data.storage_dtype import narrowed
from pdeflow.data.well_layout import CHECKSUM, metadata_crc32
from pdeflow.errors import InvalidInput
from pdeflow.triangle_mesh import TriangleMesh

_CHUNK_ROWS = 1 << 14
_FILTERS = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True}


class MeshWriter:
    """Writes samples on meshes, some at a time, to a file; see :mod:`pdeflow.data.mesh_layout`.

    A context manager. The data go to ``path.partial``; when the block ends without an error, the file is
    closed, every value read against its checksum, and the file given its name. After an error ``path`` is
    what it was before. What has been appended is not kept in memory, but for a few numbers a sample. The
    same calls give the same bytes.

    Parameters
    ----------
    path
        The HDF5 file to make.
    name
        Name of the data set.
    fields, constant_fields
        Names of what has a value at each node.
    scalars
        Names of numbers, one a sample, stored in float64.
    diagnostics
        Name to dtype of numbers about the making of each sample.
    attributes
        More root attributes.
    dtype
        ``"float32"`` or ``"float64"``, for the fields. Positions are float64.

    Raises
    ------
    InvalidInput
        If a name or a shape does not fit, a value does not fit in ``dtype``, or nothing was appended.
    WriteFailed
        If the operating system refuses.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        name: str,
        fields: Iterable[str],
        constant_fields: Iterable[str] = (),
        scalars: Iterable[str] = (),
        diagnostics: Mapping[str, np.dtype | str] | None = None,
        attributes: Mapping[str, str | float | bool] | None = None,
        dtype: str = "float32",
    ) -> None:
        self.path, self.name, self.dtype = path, name, dtype
        self.fields, self.constant_fields, scalars = tuple(fields), tuple(constant_fields), tuple(scalars)
        kinds = {**dict.fromkeys(scalars, "float64"), **(diagnostics or {})}
        self._places = {key: SCALARS for key in scalars} | dict.fromkeys(diagnostics or {}, GENERATION)
        self._numbers: dict[str, list[np.ndarray]] = {key: [np.empty(0, kind)] for key, kind in kinds.items()}
        self._sizes = {"node_offsets": [0], "triangle_offsets": [0]}
        self._attributes = attributes or {}
        names = [*self.fields, *self.constant_fields, *scalars, *(diagnostics or {})]
        self._check(names)
        self._open = contextlib.ExitStack()
        self._file: h5py.File | None = None

    def _check(self, names: list[str]) -> None:
        if self.dtype not in ("float32", "float64"):
            raise InvalidInput("dtype", self.dtype, "float32 or float64")
        for key in names:
            if not key or "/" in key or key in (".", "..") or names.count(key) > 1:
                raise InvalidInput("name of a field, scalar or diagnostic", key, "a unique name without '/'")
        if not (self.fields or self.constant_fields):
            raise InvalidInput("fields", {}, "at least one field")
        for key in self._attributes:
            if key in (*OWN_ATTRIBUTES, CHECKSUM):
                raise InvalidInput("attributes", key, "a name that the layout does not use itself")

    def __enter__(self) -> MeshWriter:
        with contextlib.ExitStack() as opening:
            opening.enter_context(atomic_file.explain_write_errors(self.path))
            partial = atomic_file.partial_path(self.path)
            self._file = opening.enter_context(h5py.File(partial, "w", libver=("v110", "v110")))
            for group in (MESH, NODES, SCALARS, GENERATION):
                self._file.create_group(group)
            self._open = opening.pop_all()
        return self

    def append(self, meshes: Sequence[TriangleMesh], arrays: Mapping[str, np.ndarray]) -> None:
        """Write samples after those that are there.

        Parameters
        ----------
        meshes
            One a sample.
        arrays
            Name to the values at the nodes of all these samples, one after the other; of scalars and
            diagnostics, to one number a sample.
        """
        if not meshes:
            raise InvalidInput("meshes", meshes, "at least one sample")
        nodes, triangles = ([len(getattr(m, key)) for m in meshes] for key in ("positions", "triangles"))
        names = (*self.fields, *self.constant_fields)
        on_nodes = {key: _checked(key, arrays[key], sum(nodes), "node") for key in names}
        numbers = {key: _checked(key, arrays[key], len(meshes), "sample") for key in self._numbers}
        narrow = {key: narrowed(key, values, self.dtype) for key, values in on_nodes.items()}
        for key in ("positions", "boundary", "triangles"):
            self._extend(f"{MESH}/{key}", [getattr(mesh, key) for mesh in meshes])
        for key, values in narrow.items():
            self._extend(f"{NODES}/{key}", [values])
        for key, values in numbers.items():
            self._numbers[key].append(values.astype(self._numbers[key][0].dtype))
        self._sizes["node_offsets"] += nodes
        self._sizes["triangle_offsets"] += triangles

    def _extend(self, key: str, parts: list[np.ndarray]) -> None:
        assert self._file is not None
        values = np.concatenate(parts)
        if key not in self._file:
            empty, columns = (0, *values.shape[1:]), values.shape[1:]
            self._file.create_dataset(
                key,
                shape=empty,
                dtype=values.dtype,
                maxshape=(None, *columns),
                chunks=(_CHUNK_ROWS, *columns),
                **_FILTERS,
            )
        data = self._file[key]
        assert isinstance(data, h5py.Dataset)
        start = data.shape[0]
        data.resize(start + len(values), axis=0)
        data[start:] = values

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                self._open.__exit__(kind, error, trace)
                return
            with self._open:
                self._end()
            with MeshReader(atomic_file.partial_path(self.path)) as reader:
                reader.verify()
            atomic_file.publish(self.path)
        finally:
            atomic_file.discard(self.path)

    def _end(self) -> None:
        """Write what is known at last: numbers, offsets, attributes and their checksum."""
        file, n = self._file, len(self._sizes["node_offsets"]) - 1
        assert file is not None
        if not n:
            raise InvalidInput("meshes", [], "at least one sample")
        for key, sizes in self._sizes.items():
            file.create_dataset(
                f"{MESH}/{key}", data=np.cumsum(sizes, dtype=np.int64), chunks=True, **_FILTERS
            )
        for key, parts in self._numbers.items():
            values = np.concatenate(parts)
            file.create_dataset(f"{self._places[key]}/{key}", data=values, chunks=True, **_FILTERS)
        file.attrs["layout"], file.attrs["dataset_name"], file.attrs["n_samples"] = LAYOUT, self.name, n
        for key, names in (("fields", self.fields), ("constant_fields", self.constant_fields)):
            file.attrs[key] = np.array(list(names), dtype=h5py.string_dtype())
        for key, value in self._attributes.items():
            file.attrs[key] = value
        file.attrs[CHECKSUM] = np.uint32(metadata_crc32(file))


def _checked(key: str, given: np.ndarray, rows: int, what: str) -> np.ndarray:
    values = np.asarray(given)
    if values.shape != (rows,) or values.dtype.kind not in "fiub":
        raise InvalidInput(f"shape of {key!r}", values.shape, f"({rows},) real numbers, one for each {what}")
    return values


def write_meshes(
    path: str | os.PathLike[str],
    *,
    name: str,
    meshes: Sequence[TriangleMesh],
    fields: Mapping[str, np.ndarray],
    constant_fields: Mapping[str, np.ndarray] | None = None,
    scalars: Mapping[str, np.ndarray] | None = None,
    diagnostics: Mapping[str, np.ndarray] | None = None,
    attributes: Mapping[str, str | float | bool] | None = None,
    dtype: str = "float32",
) -> None:
    """Write a data set on meshes, all of whose samples are at hand, to one file: see `MeshWriter`.

    Parameters
    ----------
    meshes
        One a sample.
    fields, constant_fields
        Name to the values at the nodes of all samples, one after the other.
    scalars, diagnostics
        Name to one number a sample.
    path, name, attributes, dtype
        As for `MeshWriter`, and so are the errors.
    """
    constant_fields, scalars, diagnostics = constant_fields or {}, scalars or {}, diagnostics or {}
    with MeshWriter(
        path,
        name=name,
        fields=fields,
        constant_fields=constant_fields,
        scalars=scalars,
        diagnostics={key: np.asarray(values).dtype for key, values in diagnostics.items()},
        attributes=attributes,
        dtype=dtype,
    ) as writer:
        writer.append(meshes, {**fields, **constant_fields, **scalars, **diagnostics})
