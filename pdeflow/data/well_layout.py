"""Names of The Well's HDF5 layout, shared by the writer and the reader.

Ohana et al. 2024, "The Well: a Large-Scale Collection of Diverse Physics Simulations for Machine Learning".
A file holds root attributes, ``/dimensions`` (coordinates), ``/boundary_conditions``, ``/scalars``, and the
fields by tensor order in ``/t0_fields``, ``/t1_fields``, ``/t2_fields``. Ours adds ``/generation``: one
number a sample about how it was made.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import h5py
import numpy as np

FIELD_GROUPS = ("t0_fields", "t1_fields", "t2_fields")
DIMENSIONS, BOUNDARIES, SCALARS, GENERATION = "dimensions", "boundary_conditions", "scalars", "generation"
TIME = "time"
BOUNDARY_TYPES = ("WALL", "OPEN", "PERIODIC")
ROOT_ATTRIBUTES = (
    "dataset_name",
    "grid_type",
    "n_spatial_dims",
    "n_trajectories",
    "simulation_parameters",
)
CHECKSUM = "metadata_crc32"


def sides(axes: tuple[str, ...]) -> tuple[str, ...]:
    """The sides of a box with these axes: ``x-``, ``x+``, ``y-``, ..."""
    return tuple(axis + end for axis in axes for end in "-+")


def metadata_crc32(file: h5py.File) -> int:
    """A checksum over all attributes of the file.

    HDF5 checks its headers and we ask it to check the data, but variable-length strings lie in a heap that
    nothing guards.
    """
    crc = 0
    for path, attributes in _attribute_sets(file):
        for name in sorted(attributes):
            if path == "/" and name == CHECKSUM:
                continue
            value = np.asarray(attributes[name])
            text = f"{path}@{name}{value.shape}{value.tolist()!r}"
            crc = zlib.crc32(text.encode("utf-8", "surrogateescape"), crc)
    return crc


def _attribute_sets(group: h5py.Group) -> Iterator[tuple[str, h5py.AttributeManager]]:
    yield str(group.name), group.attrs
    for key in sorted(group):
        item = group[key]
        if isinstance(item, h5py.Group):
            yield from _attribute_sets(item)
        else:
            yield str(item.name), item.attrs
