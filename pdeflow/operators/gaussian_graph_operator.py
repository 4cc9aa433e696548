"""A mean and a variance at the nodes of meshes, and at any point."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.operators.composed_gaussian import ComposedGaussian
from pdeflow.operators.gaussian_operator import Gaussian
from pdeflow.operators.graph_operator import GraphOperator, Query
from pdeflow.operators.neighbours import Edges, Neighbours

if TYPE_CHECKING:
    from scipy.spatial import KDTree
    from torch_geometric.data import Data


class GaussianGraphOperator(GraphOperator, ComposedGaussian):
    """A `ComposedGaussian` that is made of graph operators, and is one: nodes see each other as in these.

    ``distribution`` and ``query_distribution`` give a mean and a variance, ``forward`` and ``query`` the mean
    alone. The neighbours of a mesh are searched once for all that it is made of; the points of a query by
    each in turn, so that the memory of a query does not grow with their number here either.
    """

    @property
    def _first(self) -> GraphOperator:
        core = self.core
        assert isinstance(core, GraphOperator)
        return core

    @property
    def query_radius(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]  it is read alone
        """A query is answered at points that have a node at most so far away."""
        return self._first.query_radius

    @property
    def reads_points(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]  likewise
        """Whether the inputs at the points of a query are read."""
        return self._first.reads_points

    @property
    def _kind(self) -> str:
        # Neighbours that were found for this one are those of what it is made of.
        return self._first._kind

    def connect(self, positions: np.ndarray, *, sampled: bool = False) -> dict[str, Edges]:
        """As what it is made of."""
        return self._first.connect(positions, sampled=sampled)

    def reach(self, points: np.ndarray, nodes: KDTree) -> dict[str, Edges]:
        """As what it is made of."""
        return self._first.reach(points, nodes)

    def answers(self, points: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """As what it is made of."""
        return self._first.answers(points, positions)

    def forward(self, x: Data) -> Tensor:
        """The mean at the nodes, (nodes, out_channels); raises InvalidInput as `GraphOperator`."""
        return self.distribution(x).mean

    def distribution(self, x: Data) -> Gaussian:
        """Mean and variance at the nodes, (nodes, out_channels) each, at least float32.

        Parameters
        ----------
        x
            A graph, or a batch of graphs of different sizes.

        Raises
        ------
        InvalidInput
            As ``GraphOperator.forward``.
        """
        self.check(x)
        graph = self._searched(x)
        return self.gathered(lambda operator: operator(graph))

    def query(self, graph: Data, points: Tensor, inputs: Tensor | None = None) -> Tensor:
        """The mean at points that are no nodes, (points, out_channels); see ``GraphOperator.query``."""
        return self.query_distribution(graph, points, inputs).mean

    def query_distribution(self, graph: Data, points: Tensor, inputs: Tensor | None = None) -> Gaussian:
        """Mean and variance at points that are no nodes, (points, out_channels) each, at least float32.

        Parameters
        ----------
        graph, points, inputs
            As for ``GraphOperator.query``.

        Raises
        ------
        InvalidInput
            As ``GraphOperator.query``.
        """
        self.check(graph)
        known = self._searched(graph)
        return self.gathered(lambda operator: operator.query(known, points, inputs))

    def evaluate(
        self,
        x: Tensor,
        positions: Tensor,
        edges: Mapping[str, Neighbours],
        queries: Iterable[Query] | None = None,
    ) -> Tensor:
        """The mean at the nodes, of what these evaluate.

        Raises
        ------
        InvalidInput
            For queries: they are read once, and each that it is made of would have to read them.
        """
        if queries is not None:
            hint = "Take query, or query_distribution."
            raise InvalidInput("queries", type(queries).__name__, "none", hint)
        return self.gathered(lambda operator: operator.evaluate(x, positions, edges)).mean

    def _searched(self, graph: Data) -> Data:
        """The graph with the neighbours of its nodes."""
        if self._fits(graph):
            return graph
        known: Any = copy.copy(graph)
        self._keep(known, self._edges(graph))
        return known
