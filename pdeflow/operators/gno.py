"""The graph neural operator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pdeflow.operators.graph_operator import (
    GraphOperator,
    Query,
    check_kernel_width,
    check_positive,
    check_reached,
    edge_features,
    local_map,
)
from pdeflow.operators.kernel_integral import KernelIntegral
from pdeflow.operators.neighbours import Edges, Neighbours, check_company, edges_within

if TYPE_CHECKING:
    from scipy.spatial import KDTree


class GNO(GraphOperator):
    """Graph neural operator, or graph kernel network: ``v <- act(W v + K v)`` on the nodes of any mesh.

    ``v_0 = P(position, a)``, ``u = Q(v_L)``; P is linear, Q has one hidden layer. ``K`` is the mean over the
    nodes within a radius, the node itself among them, of a matrix-valued kernel times ``v``
    (``KernelIntegral``), and the kernel is a network of both positions and both inputs. As in the paper all
    layers share ``W`` and the kernel.

    Input: a graph of torch-geometric with ``x`` (nodes, in_channels) and ``pos`` (nodes, dim), or a batch of
    such graphs; output (nodes, out_channels), float32 as made.

    Parameters
    ----------
    radius
        Of the neighbourhoods, in units of length.
    width
        Channels of the hidden functions.
    kernel_width
        Hidden features of the kernel's network.
    layers
        How often the layer is applied.
    in_channels, out_channels
        Number of functions read and given.
    dim
        Number of spatial axes.

    Raises
    ------
    InvalidInput
        For settings out of range; on a call as ``GraphOperator``, and for a mesh in which a node has no
        neighbour within the radius.

    References
    ----------
    Anandkumar, Azizzadenesheli, Bhattacharya, Kovachki, Li, Liu, Stuart: Neural operator: graph kernel
    network for partial differential equations. 2020. arXiv:2003.03485.
    """

    def __init__(
        self,
        radius: float,
        width: int = 32,
        kernel_width: int = 64,
        layers: int = 6,
        in_channels: int = 1,
        out_channels: int = 1,
        dim: int = 2,
    ) -> None:
        settings = {
            "radius": radius,
            "width": width,
            "kernel_width": kernel_width,
            "layers": layers,
            "in_channels": in_channels,
            "out_channels": out_channels,
            "dim": dim,
        }
        check_positive(settings, "radius", "width", "layers", "dim")
        check_kernel_width(kernel_width)
        super().__init__(settings, dim=dim, in_channels=in_channels, out_channels=out_channels)
        self.radius, self.layers, self.query_radius = radius, layers, radius
        self.lift = nn.Linear(dim + in_channels, width)
        self.local = local_map(width)
        self.integral = KernelIntegral(2 * (dim + in_channels), width, kernel_width)
        self.project = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, out_channels)
        )

    def connect(self, positions: np.ndarray, *, sampled: bool = False) -> dict[str, Edges]:
        """The nodes within the radius of each node."""
        edges = edges_within(self.radius, positions, positions)
        if not sampled:
            check_company("model.radius", self.radius, edges)
        return {"inner": edges}

    def reach(self, points: np.ndarray, nodes: KDTree) -> dict[str, Edges]:
        """The nodes within the radius of each point."""
        edges = edges_within(self.radius, points, nodes)
        check_reached("model.radius", self.radius, points, edges)
        return {"inner": edges}

    def evaluate(  # pyright: ignore[reportIncompatibleMethodOverride]  a graph, not a tensor
        self,
        x: Tensor,
        positions: Tensor,
        edges: Mapping[str, Neighbours],
        queries: Iterable[Query] | None = None,
    ) -> Tensor:
        """The layers; at the points of queries each layer reads the nodes, which do not read the points."""
        nodes = (positions, x)
        inner = edges["inner"]
        basis = self.integral.basis(edge_features(self.radius, inner, nodes, nodes), inner)
        v = [self._lifted(x, positions)]
        for _ in range(self.layers):
            v.append(F.gelu(self.local(v[-1]) + self.integral(basis, v[-1], inner)))
        if queries is None:
            return self.project(v[-1])
        return torch.cat([self._at(query, nodes, v) for query in queries])

    def _at(self, query: Query, nodes: tuple[Tensor, Tensor], v: list[Tensor]) -> Tensor:
        """The values at points, from what each layer reads at the nodes."""
        inputs, points, edges = query
        near = edges["inner"]
        basis = self.integral.basis(edge_features(self.radius, near, (points, inputs), nodes), near)
        there = self._lifted(inputs, points)
        for read in v[:-1]:
            there = F.gelu(self.local(there) + self.integral(basis, read, near))
        return self.project(there)

    def _lifted(self, x: Tensor, positions: Tensor) -> Tensor:
        return self.lift(torch.cat((positions, x), dim=1))
