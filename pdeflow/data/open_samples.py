"""The reader that a file asks for."""

from __future__ import annotations

import os

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
    with explain_read_errors(path, "the layout"), open_checked(path) as file:
        meshes = str(file.attrs.get("layout")) == LAYOUT
    return MeshReader(path) if meshes else WellReader(path)
