"""What every operator on meshes is: a module from graphs of torch-geometric to values at their nodes."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pdeflow.errors import InvalidInput
from pdeflow.operators.neighbours import Edges, Neighbours, joined
from pdeflow.operators.operator import Operator

if TYPE_CHECKING:
    from scipy.spatial import KDTree
    from torch_geometric.data import Data

Query = tuple[Tensor, Tensor, Mapping[str, Neighbours]]
"""Inputs at points (points, in_channels), or (points, 0) for an operator that does not read them there; the
points (points, dim); and the edges to them."""

AT_ONCE = 4096
"""Points of a query that are read together: what is worked out of them does not grow with their number."""


class GraphOperator(Operator):
    """A map from functions on the nodes of meshes to functions on the same nodes, for meshes of any size.

    A graph is a torch-geometric ``Data``, or a ``Batch`` of them, with ``x`` (nodes, in_channels) and ``pos``
    (nodes, dim). Which nodes see each other follows from the positions (``connect``). It is searched on the
    host for every call, unless the graph has it already (``connected``), as the graphs of ``MeshData`` do,
    which searches once a mesh. Where nodes have been moved since, or another operator was asked, it is
    searched anew.

    A subclass writes ``connect``, ``reach`` and ``evaluate``, and sets ``query_radius``. Parameters are those
    of ``Operator``.
    """

    query_radius: float
    """A query is answered at points that have a node at most so far away."""
    reads_points = True
    """Whether the inputs at the points of a query are read."""

    @abc.abstractmethod
    def connect(self, positions: np.ndarray, *, sampled: bool = False) -> dict[str, Edges]:
        """The edges of one mesh, by name.

        Parameters
        ----------
        positions
            (nodes, dim).
        sampled
            Whether these nodes are a random part of a mesh, in which a node may stand alone.

        Raises
        ------
        InvalidInput
            If a node of a whole mesh stands alone, or there are fewer nodes than the operator needs.
        """

    @abc.abstractmethod
    def reach(self, points: np.ndarray, nodes: KDTree) -> dict[str, Edges]:
        """The edges from one mesh to points that are no nodes, by name.

        Parameters
        ----------
        points
            (points, dim).
        nodes
            The tree of the positions of the nodes.

        Raises
        ------
        InvalidInput
            If a point has no node in reach.
        """

    @abc.abstractmethod
    def evaluate(  # pyright: ignore[reportIncompatibleMethodOverride]  a graph, not a tensor
        self,
        x: Tensor,
        positions: Tensor,
        edges: Mapping[str, Neighbours],
        queries: Iterable[Query] | None = None,
    ) -> Tensor:
        """The map itself: values at the nodes, or, where there are queries, at the points of all of them.

        Parameters
        ----------
        x, positions
            (nodes, in_channels), (nodes, dim).
        edges
            As ``connect`` gives them, joined.
        queries
            With the edges that ``reach`` gives, joined. They are read one by one, once.
        """

    def connected(self, graphs: Sequence[Data], found: Sequence[Mapping[str, Edges]]) -> Data:
        """The batch of some graphs, with what ``connect`` found for each.

        Raises
        ------
        InvalidInput
            For a graph without nodes.
        """
        from torch_geometric.data import Batch

        _check_nodes([len(graph.pos) for graph in graphs if graph.pos is not None])
        batch: Any = Batch.from_data_list(list(graphs))
        self._keep(batch, {name: joined([each[name] for each in found]) for name in found[0]})
        return batch

    def _keep(self, graph: Any, edges: Mapping[str, Neighbours]) -> None:
        """Store neighbours in a graph, with whose they are and where its nodes were."""
        graph.connections, graph.connected_for = edges, self._kind
        # A copy, for nodes may be moved in place. It goes with the graph to another device.
        graph.connected_at = graph.pos.detach().clone()

    @property
    def _kind(self) -> str:
        """What tells whose neighbours they are: another operator has other radii."""
        return f"{type(self).__name__}({self.settings})"

    def check(self, graph: Data) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Say whether a graph can be read.

        Raises
        ------
        InvalidInput
            If it has no nodes, or inputs or positions are missing, of another number of channels or axes
            than the operator was made for, or do not belong to the same nodes.
        """
        x, positions = getattr(graph, "x", None), getattr(graph, "pos", None)
        if x is None or positions is None:
            missing = "x" if x is None else "pos"
            raise InvalidInput("input", type(graph).__name__, f"a graph of torch-geometric with {missing}")
        if positions.ndim != 2 or positions.shape[1] != self.dim:
            raise InvalidInput(
                "input.pos",
                tuple(positions.shape),
                f"(nodes, {self.dim}), the positions of the nodes",
                f"This {type(self).__name__} is {self.dim}-dimensional: set model.dim.",
            )
        if x.ndim != 2 or x.shape[1] != self.in_channels:
            raise InvalidInput(
                "input.x",
                tuple(x.shape),
                f"(nodes, {self.in_channels})",
                f"Set model.in_channels to {x.shape[-1]}, or change which fields the data give as inputs.",
            )
        if not len(positions) or len(x) != len(positions):
            raise InvalidInput(
                "input.x",
                tuple(x.shape),
                "a row for each of at least one node",
                f"The mesh has {len(positions)} positions; take meshes without nodes out of the data.",
            )
        if not x.is_floating_point():
            raise InvalidInput("input dtype", str(x.dtype), "float32", "Convert graph.x with .float().")

    def forward(self, x: Data) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Apply the operator.

        Parameters
        ----------
        x
            A graph, or a batch of graphs of different sizes; its ``x`` of the dtype of the weights.

        Returns
        -------
        Tensor
            (nodes, out_channels), of the same dtype.

        Raises
        ------
        InvalidInput
            As ``check`` and ``connect``; for inputs in double precision where the weights are in single, for
            positions that are not finite, and for a batch with a mesh that has no nodes.
        """
        self.check(x)
        inputs, positions = _tensors(x)
        self.check_dtype(inputs)
        return self.evaluate(inputs, positions, self._edges(x))

    def query(self, graph: Data, points: Tensor, inputs: Tensor | None = None) -> Tensor:
        """Values at points that are no nodes, by the operator's integrals over the nodes around them.

        At a node, with the inputs that the node has, it is the value that the operator gives there. The nodes
        are worked out once, then the points, ``AT_ONCE`` together: without gradients the memory is that for
        so many and for the answer, and the time grows with their number.

        Parameters
        ----------
        graph
            One mesh.
        points
            (points, dim).
        inputs
            (points, in_channels), the inputs at the points. Where it is None they are averages of those at
            the nearest three nodes, weighted by the inverse squared distance. An operator that reads none
            there (``reads_points``) takes any.

        Returns
        -------
        Tensor
            (points, out_channels).

        Raises
        ------
        InvalidInput
            As ``check`` and ``connect``; for a batch of several meshes, points or inputs of another shape,
            points that are not finite, and a point with no node in reach.
        """
        self.check_query(graph, points, inputs)
        x, positions = _tensors(graph)
        queries = self._queries(x, positions, points, inputs)
        return self.evaluate(x, positions, self._edges(graph), queries)

    def check_query(self, graph: Data, points: Tensor, inputs: Tensor | None = None) -> None:
        """Raise InvalidInput for a graph that cannot be read, or where a query has another shape."""
        self.check(graph)
        if getattr(graph, "num_graphs", 1) != 1:
            raise InvalidInput("graph", f"{graph.num_graphs} meshes", "one mesh", "Query them one by one.")
        if points.ndim != 2 or points.shape[1] != self.dim:
            raise InvalidInput("points", tuple(points.shape), f"(points, {self.dim})")
        if inputs is not None and inputs.shape != (len(points), self.in_channels):
            raise InvalidInput("inputs", tuple(inputs.shape), f"({len(points)}, {self.in_channels})")

    def answers(self, points: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """(points,) at which of these points a query of a mesh with these nodes is answered."""
        from scipy.spatial import KDTree

        return surely_within(self.query_radius, points, KDTree(positions))

    def _queries(
        self, x: Tensor, positions: Tensor, points: Tensor, inputs: Tensor | None
    ) -> Iterator[Query]:
        from scipy.spatial import KDTree

        tree = KDTree(positions.detach().cpu().numpy())
        # At least one, which may be empty.
        for start in range(0, max(len(points), 1), AT_ONCE):
            part = slice(start, start + AT_ONCE)
            places = points[part].detach().cpu().numpy()
            if not np.isfinite(places).all():
                raise InvalidInput("points", "values that are NaN or infinite", "finite numbers")
            found = self.reach(places, tree)
            edges = {name: joined([each]).to(positions.device) for name, each in found.items()}
            there = points[part].to(positions)
            if not self.reads_points:
                given = there[:, :0]
            elif inputs is None:
                given = interpolated(x, tree, places)
            else:
                given = inputs[part]
            yield given, there, edges

    def _edges(self, graph: Any) -> Mapping[str, Neighbours]:
        if self._fits(graph):
            return graph.connections
        start = graph.ptr.tolist() if hasattr(graph, "ptr") else [0, len(graph.pos)]
        positions = graph.pos.detach().cpu().numpy()
        if not np.isfinite(positions).all():
            raise InvalidInput("input.pos", "values that are NaN or infinite", "finite numbers")
        _check_nodes([b - a for a, b in pairwise(start)])
        found = [self.connect(positions[a:b]) for a, b in pairwise(start)]
        return {name: joined([each[name] for each in found]).to(graph.pos.device) for name in found[0]}

    def _fits(self, graph: Any) -> bool:
        """Whether a graph has neighbours that this operator found for its nodes where they are now."""
        if getattr(graph, "connected_for", None) != self._kind:
            return False
        known, positions = graph.connected_at, graph.pos
        if known.device != positions.device:
            return False
        # Without memory there is nothing to compare.
        return known.is_meta or torch.equal(known, positions.to(known.dtype))


def edge_features(
    radius: float, edges: Neighbours, target: tuple[Tensor, Tensor], source: tuple[Tensor, Tensor]
) -> Tensor:
    """What the kernel reads of an edge: both positions and both inputs, (edges, 2 dim + 2 in_channels).

    The position of the source is given from the target, in units of the radius: the same information, in
    numbers of one size.

    Parameters
    ----------
    radius
        Of the neighbourhood.
    edges
        From sources to targets.
    target, source
        Positions (points, dim) and inputs (points, in_channels) on either side.
    """
    (here, x), (there, y) = target, source
    offset = (there[edges.source] - here[edges.target]) / radius
    return torch.cat((here[edges.target], offset, x[edges.target], y[edges.source]), dim=1)


def interpolated(x: Tensor, tree: KDTree, points: np.ndarray) -> Tensor:
    """Means of the values at the nearest three nodes, weighted by the inverse squared distance.

    Parameters
    ----------
    x
        (nodes, channels).
    tree
        Of the positions of the nodes.
    points
        (points, dim).
    """
    count = min(3, tree.n)
    distance, number = tree.query(points, k=count)
    distance, number = (part.reshape(len(points), count) for part in (distance, number))
    # Far smaller than any distance between nodes: at a node its own value is all that counts.
    weight = 1.0 / (np.square(distance) + 1e-30)
    weight = torch.from_numpy(weight / weight.sum(axis=1, keepdims=True)).to(x)
    return (x[torch.from_numpy(number).to(x.device)] * weight[:, :, None]).sum(dim=1)


def surely_within(radius: float, points: np.ndarray, nodes: KDTree) -> np.ndarray:
    """(points,) which points have a node nearer than the radius, by more than round-off."""
    return nodes.query(points)[0] < (1 - 1e-6) * radius


def check_reached(name: str, radius: float, points: np.ndarray, edges: Edges) -> None:
    """Raise InvalidInput for a point that has no node within the radius."""
    lost = np.flatnonzero(edges.counts == 0)
    if len(lost):
        where = ", ".join(f"{value:g}" for value in points[lost[0]])
        raise InvalidInput(
            "points",
            f"one at ({where}), far from every node",
            f"points with a node within {name} {radius:g}",
            "Leave out points that are not in the domain.",
        )


def check_positive(settings: Mapping[str, Any], *names: str) -> None:
    """Raise InvalidInput for a setting that is not above 0."""
    for name in names:
        if not settings[name] > 0:
            raise InvalidInput(f"model.{name}", settings[name], "a number above 0")


def local_map(width: int, share: float = 1.0) -> nn.Linear:
    """``W``, at first ``share`` of one that keeps the size of ``v`` (He); torch's leaves little of it."""
    made = nn.Linear(width, width)
    nn.init.kaiming_normal_(made.weight, nonlinearity="relu")
    with torch.no_grad():
        made.weight.mul_(share)
    nn.init.zeros_(made.bias)
    return made


def check_kernel_width(kernel_width: int) -> None:
    """Raise InvalidInput where there is no room for a feature beside the constant."""
    if kernel_width < 2:
        raise InvalidInput("model.kernel_width", kernel_width, "at least 2")


def _check_nodes(counts: Sequence[int]) -> None:
    """Raise InvalidInput for a mesh without nodes among those of a batch."""
    if 0 in counts:
        where = f"none in mesh {list(counts).index(0)} of {len(counts)}"
        raise InvalidInput("nodes", where, "at least one", "Take meshes without nodes out of the data.")


def _tensors(graph: Data) -> tuple[Tensor, Tensor]:
    x, positions = graph.x, graph.pos
    assert x is not None
    assert positions is not None
    return x, positions.to(x.dtype)
