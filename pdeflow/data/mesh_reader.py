"""Reading samples on meshes of their own, also from files of unknown origin."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np

from pdeflow.data.hdf5_safety import explain_read_errors, get_dataset, get_group, open_checked
from pdeflow.data.mesh_layout import GENERATION, LAYOUT, MESH, NODES, OFFSETS, OWN_ATTRIBUTES, SCALARS
from pdeflow.data.well_description import attribute
from pdeflow.data.well_layout import CHECKSUM, metadata_crc32
from pdeflow.errors import CorruptFile, InvalidInput
from pdeflow.triangle_mesh import TriangleMesh

_ARRAYS = {"positions": (2, "f"), "boundary": (None, "i"), "triangles": (3, "i")}


class MeshReader:
    """Reads a file in the layout of :mod:`pdeflow.data.mesh_layout`.

    On opening, the whole file is checked for links and false sizes, its attributes against their checksum,
    and every array for its shape; values are read when they are asked for. The object may be sent to other
    processes: each opens the file for itself.

    Parameters
    ----------
    path
        The HDF5 file.

    Attributes
    ----------
    name, n
        Name of the data set, number of samples.
    fields, constant_fields
        Names of what lives on the nodes: unknowns, and coefficients.
    scalars, diagnostics
        Names of numbers, one a sample.
    attributes
        The root attributes beyond those of the layout.

    Raises
    ------
    CorruptFile
        If the file is damaged, is not in this layout, or its parts contradict each other.
    UnsafeFile
        If it reaches into other files or declares more than it stores.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._handle: h5py.File | None = None
        self._process = os.getpid()
        file = self._file()
        try:
            with explain_read_errors(self.path, "the description of the data"):
                self._describe(file)
        except BaseException:
            self.close()
            raise

    def _describe(self, file: h5py.File) -> None:
        if str(file.attrs.get("layout")) != LAYOUT:
            raise CorruptFile(
                f"{self.path}: holds no samples on meshes (it is not in the layout {LAYOUT!r}).\n"
                "Samples on grids are `data: GridData` in a config, for an operator on grids such as FNO; in "
                "Python WellReader reads them."
            )
        if CHECKSUM not in file.attrs or int(attribute(file, CHECKSUM)) != metadata_crc32(file):
            raise CorruptFile(
                f"{self.path}: its attributes differ from what was written (by their checksum)."
            )
        self.name, self.n = str(attribute(file, "dataset_name")), int(attribute(file, "n_samples"))
        self.fields = tuple(map(str, attribute(file, "fields")))
        self.constant_fields = tuple(map(str, attribute(file, "constant_fields")))
        known = (*OWN_ATTRIBUTES, CHECKSUM)
        self.attributes: dict[str, Any] = {
            key: value.item() if isinstance(value, np.generic) else value
            for key, value in file.attrs.items()
            if key not in known
        }
        self.scalars, self.diagnostics = (tuple(get_group(file, key)) for key in (SCALARS, GENERATION))
        mesh = get_group(file, MESH)
        self._offsets = {key: self._checked_offsets(get_dataset(mesh, key)) for key in OFFSETS}
        nodes, triangles = (int(self._offsets[key][-1]) for key in OFFSETS)
        for key, (columns, kind) in _ARRAYS.items():
            rows = triangles if key == "triangles" else nodes
            self._check(get_dataset(mesh, key), (rows,) if columns is None else (rows, columns), kind)
        if set(get_group(file, NODES)) != {*self.fields, *self.constant_fields}:
            raise CorruptFile(f"{self.path}: /{NODES} holds other fields than the attributes name.")
        for group, names, rows in (
            (NODES, (*self.fields, *self.constant_fields), nodes),
            (SCALARS, self.scalars, self.n),
            (GENERATION, self.diagnostics, self.n),
        ):
            for key in names:
                self._check(get_dataset(get_group(file, group), key), (rows,), "fiub")

    def _checked_offsets(self, data: h5py.Dataset) -> np.ndarray:
        self._check(data, (self.n + 1,), "i")
        values = np.asarray(data[()], dtype=np.int64)
        if self.n < 1 or values[0] != 0 or (np.diff(values) <= 0).any():
            raise CorruptFile(f"{self.path}: {data.name} does not rise from 0.")
        return values

    def _check(self, data: h5py.Dataset, shape: tuple[int, ...], kinds: str) -> None:
        if data.shape != shape or data.dtype.kind not in kinds:
            raise CorruptFile(f"{self.path}: {data.name} is {data.dtype} {data.shape}, expected {shape}.")

    def __enter__(self) -> MeshReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None}

    def close(self) -> None:
        """Close the file; a later read opens it again."""
        if self._handle is not None and self._process == os.getpid():
            self._handle.close()
        self._handle = None

    @property
    def node_counts(self) -> np.ndarray:
        """(samples,) how many nodes each sample has."""
        return np.diff(self._offsets["node_offsets"])

    @property
    def triangle_counts(self) -> np.ndarray:
        """(samples,) how many triangles each sample has."""
        return np.diff(self._offsets["triangle_offsets"])

    def mesh(self, index: int) -> TriangleMesh:
        """The mesh of one sample.

        Raises
        ------
        InvalidInput
            If there is no such sample.
        CorruptFile
            If the bytes are damaged, or the triangles are none.
        """
        triangles = self._rows("triangle_offsets", index)
        parts = {
            key: self._values(f"{MESH}/{key}", triangles if key == "triangles" else self.nodes(index))
            for key in _ARRAYS
        }
        try:
            return TriangleMesh(**parts)
        except InvalidInput as error:
            raise CorruptFile(f"{self.path}: the mesh of sample {index} is none: {error}") from error

    def nodes(self, index: int) -> slice:
        """Where the nodes of one sample lie among those of all."""
        return self._rows("node_offsets", index)

    def read(self, name: str, index: int | slice) -> np.ndarray:
        """Values of a field, constant field, scalar or diagnostic.

        Parameters
        ----------
        name
            What to read.
        index
            One sample, or ``slice(None)`` for all: of a field the nodes of all samples one after the other.

        Returns
        -------
        ndarray
            (nodes of the sample or of all,) of a field; () or (n,) of a number.

        Raises
        ------
        InvalidInput
            If there is no such name or sample.
        CorruptFile
            If the bytes are damaged.
        """
        names = (*self.fields, *self.constant_fields, *self.scalars, *self.diagnostics)
        if name not in names:
            raise InvalidInput("name", name, f"something that {self.path} holds", choices=names)
        if isinstance(index, slice) and index != slice(None):
            raise InvalidInput("index", index, "one sample, or slice(None)")
        on_nodes = name in (*self.fields, *self.constant_fields)
        group = NODES if on_nodes else SCALARS if name in self.scalars else GENERATION
        if isinstance(index, slice):
            return self._values(f"{group}/{name}", index)
        rows = self.nodes(index)
        return self._values(f"{group}/{name}", rows if on_nodes else index)

    def verify(self) -> None:
        """Read every value against its checksum, and check every mesh.

        Raises
        ------
        CorruptFile
            Naming what is damaged.
        """
        for name in (*self.fields, *self.constant_fields, *self.scalars, *self.diagnostics):
            self.read(name, slice(None))
        for index in range(self.n):
            self.mesh(index)

    def _rows(self, offsets: str, index: int) -> slice:
        if not 0 <= index < self.n:
            raise InvalidInput("index", index, f"a sample of 0..{self.n - 1}")
        return slice(*map(int, self._offsets[offsets][index : index + 2]))

    def _values(self, path: str, rows: slice | int) -> np.ndarray:
        with explain_read_errors(self.path, f"/{path}"):
            return np.asarray(get_dataset(self._file(), path)[rows])

    def _file(self) -> h5py.File:
        # A handle must not cross a fork: drop it, without closing it under the parent's feet.
        if self._handle is None or self._process != os.getpid():
            self._handle, self._process = open_checked(self.path), os.getpid()
        return self._handle
