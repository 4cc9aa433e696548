"""Samples on meshes as batches of graphs, each mesh searched for neighbours once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from pdeflow.errors import InvalidInput
from pdeflow.mesh_nodes import MeshNodes

if TYPE_CHECKING:
    from torch_geometric.data import Data

    from pdeflow.data.mesh_graphs import MeshGraphs


class Connecting(Protocol):
    """What finds the neighbours of nodes, as ``pdeflow.operators.GraphOperator`` does."""

    def connect(self, positions: np.ndarray, *, sampled: bool = False) -> dict[str, Any]:
        """The edges of one mesh."""
        ...

    def connected(self, graphs: Sequence[Data], found: Sequence[Mapping[str, Any]]) -> Data:
        """The batch of some graphs with their edges."""
        ...


class MeshSamples:
    """Chosen samples of a file on meshes, in memory.

    Parameters
    ----------
    graphs
        The file.
    rows
        Which of its graphs to use.

    Raises
    ------
    InvalidInput
        If a value of a sample is NaN or infinite.
    """

    in_memory = True

    def __init__(self, graphs: MeshGraphs, rows: np.ndarray) -> None:
        from torch_geometric.data import Data

        self.input_names, self.target_names = graphs.input_names, graphs.targets
        # Without the sides of the triangles, which no operator reads.
        kept = ("x", "y", "pos", "area", "boundary", "sample", "face")
        self.graphs: list[Any] = [
            Data(**{name: graph[name] for name in kept}) for graph in map(graphs.__getitem__, rows)
        ]
        for graph in self.graphs:
            for name, values in (("inputs", graph.x), ("targets", graph.y)):
                if not bool(torch.isfinite(values).all()):
                    raise InvalidInput(
                        f"{graphs.reader.path}, {name} of sample {graph.sample}",
                        "NaN or infinity",
                        "finite numbers",
                        "Look at the file with `pdeflow inspect`, and generate or drop this sample.",
                    )
        self._operator: Connecting | None = None
        self._found: dict[int, dict[str, Any]] = {}
        self._subsample: int | None = None
        self._seed = 0
        self._epoch: Callable[[], int] | None = None

    def __len__(self) -> int:
        return len(self.graphs)

    def for_operator(self, operator: Connecting) -> MeshSamples:
        """The same samples, with the neighbours that an operator reads."""
        if operator is self._operator:
            return self
        made = copy.copy(self)
        made._operator, made._found = operator, {}
        return made

    def sampled(self, nodes: int, seed: int, epoch: Callable[[], int]) -> MeshSamples:
        """The same samples, of each of which as many nodes are drawn anew in every epoch.

        Parameters
        ----------
        nodes
            How many; a mesh that has fewer is taken whole.
        seed
            Root of the draws, which depend on nothing else but the epoch and the sample's number.
        epoch
            Asked for the number of the epoch.
        """
        made = copy.copy(self)
        made._subsample, made._seed, made._epoch = nodes, seed, epoch
        return made

    def __getitem__(self, index: torch.Tensor) -> dict[str, Any]:
        """A batch; see ``MeshData``. ``index`` counts the samples chosen here."""
        from torch_geometric.data import Batch, Data

        graphs, found = [], []
        for number in index.tolist():
            graph, edges = self._one(number)
            graphs.append(graph)
            found.append(edges)
        parts: list[Any] = [Data(x=graph.x, pos=graph.pos) for graph in graphs]
        operator = self._operator
        batch: Any = Batch.from_data_list(parts) if operator is None else operator.connected(parts, found)
        shares = [graph.area / graph.area.sum() for graph in graphs]
        return {
            "input": batch,
            "target": torch.cat([graph.y for graph in graphs]),
            "index": torch.tensor([graph.sample for graph in graphs], device="cpu"),
            "grid": MeshNodes(
                batch.batch, torch.cat(shares), torch.cat([graph.boundary for graph in graphs]), len(graphs)
            ),
        }

    def triangles(self, sample: int) -> torch.Tensor:
        """(triangles, 3) node numbers of the chosen sample that has this number in the file."""
        return next(graph.face.T for graph in self.graphs if graph.sample == sample)

    def channels(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Inputs (nodes, inputs) and targets (nodes, targets) of each sample, for statistics."""
        return [(graph.x.numpy(), graph.y.numpy()) for graph in self.graphs]

    def _one(self, number: int) -> tuple[Any, dict[str, Any]]:
        graph = self.graphs[number]
        nodes = len(graph.pos)
        if self._subsample is not None and self._subsample < nodes:
            assert self._epoch is not None
            stream = np.random.SeedSequence(self._seed, spawn_key=(2, self._epoch(), graph.sample))
            kept = np.sort(np.random.default_rng(stream).choice(nodes, self._subsample, replace=False))
            return self._part(graph, torch.from_numpy(kept))
        if self._operator is not None and number not in self._found:
            try:
                self._found[number] = self._operator.connect(graph.pos.numpy())
            except InvalidInput as error:
                where = f"{error.expected}, in sample {graph.sample}"
                raise InvalidInput(error.name, error.got, where, error.hint) from error
        return graph, self._found.get(number, {})

    def _part(self, graph: Any, kept: torch.Tensor) -> tuple[Any, dict[str, Any]]:
        columns = {name: graph[name][kept] for name in ("x", "y", "pos", "area", "boundary")}
        part = type(graph)(**columns, sample=graph.sample)
        if self._operator is None:
            return part, {}
        return part, self._operator.connect(part.pos.numpy(), sampled=True)
