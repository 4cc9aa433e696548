"""The file format (safe reader, atomic writer, converters), splits, normalisation and the data module."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pdeflow.data.convert import convert
from pdeflow.data.grid_samples import GridSamples
from pdeflow.data.inspect import Summary, inspect, plot
from pdeflow.data.mesh_reader import MeshReader
from pdeflow.data.mesh_summary import MeshSummary
from pdeflow.data.mesh_writer import MeshWriter, write_meshes
from pdeflow.data.normalisation import Normalisation
from pdeflow.data.open_samples import open_samples
from pdeflow.data.split import Split, split_samples
from pdeflow.data.well_reader import WellReader
from pdeflow.data.well_writer import WellWriter

if TYPE_CHECKING:
    from pdeflow.data.datamodule import GridData
    from pdeflow.data.mesh_data import MeshData
    from pdeflow.data.mesh_graphs import MeshGraphs
    from pdeflow.data.sparse_trajectory_data import SparseTrajectoryData
    from pdeflow.data.trajectory_data import TrajectoryData

__all__ = [
    "GridData",
    "GridSamples",
    "MeshData",
    "MeshGraphs",
    "MeshReader",
    "MeshSummary",
    "MeshWriter",
    "Normalisation",
    "SparseTrajectoryData",
    "Split",
    "Summary",
    "TrajectoryData",
    "WellReader",
    "WellWriter",
    "convert",
    "inspect",
    "open_samples",
    "plot",
    "split_samples",
    "write_meshes",
]


def __getattr__(name: str) -> Any:
    # Lightning and torch-geometric take seconds to import, and only these need them.
    if name == "GridData":
        from pdeflow.data.datamodule import GridData

        return GridData
    if name == "MeshData":
        from pdeflow.data.mesh_data import MeshData

        return MeshData
    if name == "MeshGraphs":
        from pdeflow.data.mesh_graphs import MeshGraphs

        return MeshGraphs
    if name == "SparseTrajectoryData":
        from pdeflow.data.sparse_trajectory_data import SparseTrajectoryData

        return SparseTrajectoryData
    if name == "TrajectoryData":
        from pdeflow.data.trajectory_data import TrajectoryData

        return TrajectoryData
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
