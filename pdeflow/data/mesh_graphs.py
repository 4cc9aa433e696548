"""Samples on meshes as graphs of torch-geometric."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import torch
from torch.utils.data import Dataset
from torch_geometric.data import Data

from pdeflow.data.mesh_reader import MeshReader
from pdeflow.errors import InvalidInput
from pdeflow.triangle_mesh import BOUNDARY_PARTS, TriangleMesh

BOUNDARY = "boundary"
BOUNDARY_CHANNELS = tuple(f"{BOUNDARY}_{part}" for part in BOUNDARY_PARTS[1:])


class MeshGraphs(Dataset):
    """The samples of a file in the layout of :mod:`pdeflow.data.mesh_layout`, each a ``Data``.

    ``pos`` (nodes, 2), ``x`` (nodes, inputs), ``y`` (nodes, targets) in float32; ``edge_index`` (2, edges),
    every side of a triangle in both directions; ``edge_attr`` (edges, 3), the offset of the neighbour and
    its length; ``face`` (3, triangles); ``boundary`` (nodes,), the part of the boundary; ``area`` (nodes,),
    a third of the triangles around; ``sample``, the number of the sample. A scalar is an input with one value
    at all nodes.

    Parameters
    ----------
    path
        The file.
    inputs, targets
        Names of fields, constant fields or scalars. The input ``boundary`` is a channel for each part of the
        boundary, 1 at the nodes that lie on it and 0 elsewhere.
    keep_failed
        Samples whose recorded status is not 0 are left out, unless this is true.

    Raises
    ------
    InvalidInput
        If a name is unknown.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        inputs: Sequence[str],
        targets: Sequence[str],
        *,
        keep_failed: bool = False,
    ) -> None:
        self.reader, self.inputs, self.targets = MeshReader(path), tuple(inputs), tuple(targets)
        known = (*self.reader.fields, *self.reader.constant_fields, *self.reader.scalars)
        for key, names in (("inputs", self.inputs), ("targets", self.targets)):
            for name in names:
                if name not in known and not (key == "inputs" and name == BOUNDARY):
                    raise InvalidInput(key, name, f"something that {path} holds", choices=(*known, BOUNDARY))
        self.rows = list(range(self.reader.n))
        if "status" in self.reader.diagnostics and not keep_failed:
            self.rows = np.flatnonzero(self.reader.read("status", slice(None)) == 0).tolist()

    @property
    def input_names(self) -> tuple[str, ...]:
        """A name for each column of ``x``."""
        channels = ((BOUNDARY_CHANNELS if name == BOUNDARY else (name,)) for name in self.inputs)
        return tuple(name for group in channels for name in group)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Data:
        """One sample."""
        row = self.rows[index]
        mesh = self.reader.mesh(row)
        edges = np.concatenate([mesh.edges, mesh.edges[:, ::-1]])
        offsets = mesh.positions[edges[:, 1]] - mesh.positions[edges[:, 0]]
        lengths = np.hypot(*offsets.T)[:, None]
        return Data(
            x=self._columns(self.inputs, row, mesh),
            y=self._columns(self.targets, row, mesh),
            pos=torch.from_numpy(mesh.positions.astype(np.float32)),
            edge_index=torch.from_numpy(edges.T.astype(np.int64)),
            edge_attr=torch.from_numpy(np.concatenate([offsets, lengths], axis=1).astype(np.float32)),
            face=torch.from_numpy(mesh.triangles.T.astype(np.int64)),
            boundary=torch.from_numpy(mesh.boundary.astype(np.int64)),
            area=torch.from_numpy(mesh.node_areas.astype(np.float32)),
            sample=row,
        )

    def _columns(self, names: Sequence[str], row: int, mesh: TriangleMesh) -> torch.Tensor:
        nodes = len(mesh.positions)
        columns: list[np.ndarray] = []
        for name in names:
            if name == BOUNDARY:
                columns += [mesh.boundary == part for part in range(1, len(BOUNDARY_PARTS))]
            else:
                columns.append(np.broadcast_to(self.reader.read(name, row), (nodes,)))
        stacked = np.stack(columns, axis=1) if columns else np.zeros((nodes, 0))
        return torch.from_numpy(stacked.astype(np.float32))
