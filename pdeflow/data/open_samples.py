"""The reader that a file asks for."""

from __future__ import annotations

import os
from pathlib import Path

from pdeflow.data.hdf5_safety import explain_read_errors, open_checked
from pdeflow.data.mesh_layout import LAYOUT
from pdeflow.data.mesh_reader import MeshReader
from pdeflow.data.well_reader import WellReader


def open_samples(path: str | os.PathLike[str]) -> WellReader | MeshReader:
    """A reader of meshes where the file says that it holds some, else one of The Well's layout.

    Raises
    ------
    CorruptFile, UnsafeFile
        If the file is damaged, unsafe, or in neither layout.
    """
    return MeshReader(path) if holds_meshes(path) else WellReader(path)


def holds_meshes(path: str | os.PathLike[str]) -> bool:
    """Whether a file says that it holds samples on meshes.

    Raises
    ------
    CorruptFile, UnsafeFile
        If it is HDF5, and damaged or unsafe.
    """
    if not is_hdf5(path):
        return False
    with open_checked(path) as file, explain_read_errors(path, "the layout"):
        return str(file.attrs.get("layout")) == LAYOUT


def is_hdf5(path: str | os.PathLike[str]) -> bool:
    """Whether there is a file that begins as HDF5 does."""
    with open(path if Path(path).is_file() else os.devnull, "rb") as handle:
        return handle.read(8) == b"\x89HDF\r\n\x1a\n"
