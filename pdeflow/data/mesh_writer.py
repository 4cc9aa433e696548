"""Writing samples on meshes of their own, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

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


def concatenated(meshes: Sequence[TriangleMesh]) -> dict[str, np.ndarray]:
    """The arrays of the group ``/mesh``."""
    nodes, triangles = ([len(getattr(m, key)) for m in meshes] for key in ("positions", "triangles"))
    return {
        "positions": np.concatenate([mesh.positions for mesh in meshes]),
        "boundary": np.concatenate([mesh.boundary for mesh in meshes]),
        "triangles": np.concatenate([mesh.triangles for mesh in meshes]),
        "node_offsets": np.cumsum([0, *nodes], dtype=np.int64),
        "triangle_offsets": np.cumsum([0, *triangles], dtype=np.int64),
    }


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
    """Write a data set on meshes to one file; see :mod:`pdeflow.data.mesh_layout`.

    The file appears under its name when it is closed and every value has been read against its checksum.
    The same arguments give the same bytes. All is held in memory.

    Parameters
    ----------
    path
        The HDF5 file to make.
    name
        Name of the data set.
    meshes
        One a sample.
    fields, constant_fields
        Name to the values at the nodes of all samples, one after the other.
    scalars, diagnostics
        Name to one number a sample; scalars are stored in float64.
    attributes
        More root attributes.
    dtype
        ``"float32"`` or ``"float64"``, for the fields. Positions are float64.

    Raises
    ------
    InvalidInput
        If a name or a shape does not fit, or a value does not fit in ``dtype``.
    WriteFailed
        If the operating system refuses.
    """
    if not meshes:
        raise InvalidInput("meshes", meshes, "at least one sample")
    if dtype not in ("float32", "float64"):
        raise InvalidInput("dtype", dtype, "float32 or float64")
    constant_fields, scalars, diagnostics = constant_fields or {}, scalars or {}, diagnostics or {}
    groups: dict[str, dict[str, np.ndarray]] = {
        MESH: concatenated(meshes),
        NODES: {key: np.asarray(values) for key, values in (*fields.items(), *constant_fields.items())},
        SCALARS: {key: np.asarray(values, dtype=np.float64) for key, values in scalars.items()},
        GENERATION: {key: np.asarray(values) for key, values in diagnostics.items()},
    }
    _check(groups, len(meshes), [*fields, *constant_fields, *scalars, *diagnostics], attributes or {})
    groups[NODES] = {key: narrowed(key, values, dtype) for key, values in groups[NODES].items()}
    try:
        with (
            atomic_file.explain_write_errors(path),
            h5py.File(atomic_file.partial_path(path), "w", libver=("v110", "v110")) as file,
        ):
            file.attrs["layout"], file.attrs["dataset_name"] = LAYOUT, name
            file.attrs["n_samples"] = len(meshes)
            for key, names in (("fields", fields), ("constant_fields", constant_fields)):
                file.attrs[key] = np.array(list(names), dtype=h5py.string_dtype())
            for key, value in (attributes or {}).items():
                file.attrs[key] = value
            for group, arrays in groups.items():
                made = file.create_group(group)
                for key, values in arrays.items():
                    _write(made, key, values)
            file.attrs[CHECKSUM] = np.uint32(metadata_crc32(file))
        with MeshReader(atomic_file.partial_path(path)) as reader:
            reader.verify()
        atomic_file.publish(path)
    except BaseException:
        atomic_file.discard(path)
        raise


def _write(group: h5py.Group, key: str, values: np.ndarray) -> None:
    rows = min(len(values), _CHUNK_ROWS)
    group.create_dataset(
        key,
        data=values,
        chunks=(rows, *values.shape[1:]),
        compression="gzip",
        compression_opts=1,
        shuffle=True,
        fletcher32=True,
    )


def _check(
    groups: Mapping[str, Mapping[str, np.ndarray]], n: int, names: list[str], attributes: Mapping[str, object]
) -> None:
    """Raise InvalidInput unless every array has a row for each node, or each sample."""
    for key in names:
        if not key or "/" in key or key in (".", "..") or names.count(key) > 1:
            raise InvalidInput("name of a field, scalar or diagnostic", key, "a unique name without '/'")
    if not groups[NODES]:
        raise InvalidInput("fields", {}, "at least one field")
    for key in attributes:
        if key in (*OWN_ATTRIBUTES, CHECKSUM):
            raise InvalidInput("attributes", key, "a name that the layout does not use itself")
    nodes = len(groups[MESH]["positions"])
    for group, rows in ((NODES, nodes), (SCALARS, n), (GENERATION, n)):
        for key, values in groups[group].items():
            if values.shape != (rows,) or values.dtype.kind not in "fiub":
                expected = f"({rows},) real numbers, one for each {'node' if group == NODES else 'sample'}"
                raise InvalidInput(f"shape of {key!r}", values.shape, expected)
