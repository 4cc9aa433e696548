"""The multipole graph neural operator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pdeflow.errors import InvalidInput
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
from pdeflow.operators.neighbours import (
    Edges,
    Neighbours,
    check_company,
    chosen,
    edges_within,
    random_order,
)

if TYPE_CHECKING:
    from scipy.spatial import KDTree


MEAN, LOCAL = 0.7, 0.5
"""At first, shares of the mean in each K, and of a W that keeps ``v``: a step up adds three maps."""


class MKGN(GraphOperator):
    """Multipole graph neural operator: short ranges among many nodes, long ranges among few.

    Level 0 has all nodes, each further level a random part of those above it, nested. With
    ``v_l = P(position, a)`` at the nodes of level l, a layer is a V-cycle,

    - down, l = 0, 1, ...: ``v_{l+1} <- act(v_{l+1} + K_{l+1,l} v_l)``,
    - up, l = ..., 1, 0: ``v_l <- act(W_l v_l + K_{l,l} v_l + K_{l,l+1} v_{l+1})``,

    and ``u = Q(v_0)``. Each ``K`` is a mean over the nodes within a radius of a kernel of its own times
    ``v`` (``KernelIntegral``), half as wide as that of the level above; all V-cycles share ``K`` and ``W``.
    Which nodes a level has depends on where they are, not on their numbers (``random_order``). As many are
    taken of a mesh of any size: on a finer mesh the coarse levels have as many nodes, though not the same,
    and their means are no nearer to integrals. The answer tends to a function where ``coarse`` grows with the
    mesh; no weight depends on it.
    At first each K is near a mean over the neighbours (``MEAN``): of kernels that are only drawn little comes
    through all levels, and learning takes longer.

    Input: a graph of torch-geometric with ``x`` (nodes, in_channels) and ``pos`` (nodes, dim), or a batch of
    such graphs; output (nodes, out_channels), float32 as made.

    Parameters
    ----------
    coarse
        Nodes of levels 1, 2, ..., decreasing.
    inner
        Radius of the neighbourhoods of each level, level 0 among them.
    inter
        Radius between each level and the next: one number fewer.
    width
        Channels of the hidden functions.
    kernel_width
        Hidden features of the kernel's network on level 0.
    layers
        Number of V-cycles.
    in_channels, out_channels
        Number of functions read and given.
    dim
        Number of spatial axes.

    Raises
    ------
    InvalidInput
        For settings out of range; on a call as ``GraphOperator``, for a mesh with fewer nodes than level 1,
        and for one in which a node has no neighbour within the first inner radius.

    References
    ----------
    Li, Kovachki, Azizzadenesheli, Liu, Bhattacharya, Stuart, Anandkumar: Multipole graph neural operator
    for parametric partial differential equations. NeurIPS 2020. arXiv:2006.09535.
    """

    def __init__(
        self,
        coarse: list[int],
        inner: list[float],
        inter: list[float],
        width: int = 32,
        kernel_width: int = 64,
        layers: int = 4,
        in_channels: int = 1,
        out_channels: int = 1,
        dim: int = 2,
    ) -> None:
        settings = {
            "coarse": list(coarse),
            "inner": list(inner),
            "inter": list(inter),
            "width": width,
            "kernel_width": kernel_width,
            "layers": layers,
            "in_channels": in_channels,
            "out_channels": out_channels,
            "dim": dim,
        }
        check_positive(settings, "width", "layers", "dim")
        check_kernel_width(kernel_width)
        levels = len(coarse) + 1
        if levels < 2 or min(coarse) < 1 or any(a <= b for a, b in pairwise(coarse)):
            raise InvalidInput("model.coarse", coarse, "numbers of nodes that decrease, at least one of them")
        for name, count in (("inner", levels), ("inter", levels - 1)):
            if len(settings[name]) != count or min(settings[name]) <= 0:
                hint = f"model.coarse makes {levels} levels, with the one of all nodes."
                raise InvalidInput(f"model.{name}", settings[name], f"{count} radii above 0", hint)
        super().__init__(settings, dim=dim, in_channels=in_channels, out_channels=out_channels)
        self.coarse, self.inner, self.inter, self.layers = list(coarse), list(inner), list(inter), layers
        self.query_radius = self.inner[0]

        def integral(level: int) -> KernelIntegral:
            made = KernelIntegral(2 * (dim + in_channels), width, max(kernel_width >> level, 4))
            made.start_as_mean(MEAN)
            return made

        self.lift = nn.Linear(dim + in_channels, width)
        self.local = nn.ModuleList(local_map(width, LOCAL) for _ in range(levels))
        self.within = nn.ModuleList(integral(level) for level in range(levels))
        self.down = nn.ModuleList(integral(level + 1) for level in range(levels - 1))
        self.up = nn.ModuleList(integral(level + 1) for level in range(levels - 1))
        self.project = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, out_channels)
        )

    def connect(self, positions: np.ndarray, *, sampled: bool = False) -> dict[str, Edges]:
        """``choice1``: the nodes of level 1 in level 0; ``inner0``: within; ``down0``, ``up0``: between."""
        self._check_size(len(positions))
        order = random_order(positions)
        # Numbers among all nodes; each level is a beginning of the one before.
        levels = [np.arange(len(positions)), *(order[:count] for count in self.coarse)]
        edges: dict[str, Edges] = {}
        for level, nodes in enumerate(levels):
            here = positions[nodes]
            edges[f"inner{level}"] = edges_within(self.inner[level], here, here)
            if level:
                above = levels[level - 1]
                place = order[: len(nodes)] if level == 1 else np.arange(len(nodes))
                edges[f"choice{level}"] = chosen(place, len(above))
                down = edges_within(self.inter[level - 1], here, positions[above])
                edges[f"down{level - 1}"], edges[f"up{level - 1}"] = down, down.reversed()
        if not sampled:
            check_company("model.inner[0]", self.inner[0], edges["inner0"])
        return edges

    def reach(self, points: np.ndarray, nodes: KDTree) -> dict[str, Edges]:
        """The nodes of levels 0 and 1 around each point."""
        self._check_size(nodes.n)
        inner = edges_within(self.inner[0], points, nodes)
        check_reached("model.inner[0]", self.inner[0], points, inner)
        coarse = nodes.data[random_order(nodes.data)[: self.coarse[0]]]
        return {"inner0": inner, "up0": edges_within(self.inter[0], points, coarse)}

    def evaluate(  # pyright: ignore[reportIncompatibleMethodOverride]  a graph, not a tensor
        self,
        x: Tensor,
        positions: Tensor,
        edges: Mapping[str, Neighbours],
        queries: Iterable[Query] | None = None,
    ) -> Tensor:
        """The V-cycles; the points of queries read levels 0 and 1, which do not read the points."""
        nodes = [(positions, x)]
        for level in range(1, len(self.inner)):
            source = edges[f"choice{level}"].source
            nodes.append((nodes[-1][0][source], nodes[-1][1][source]))
        bases = {name: self._basis(name, part, nodes) for name, part in edges.items() if "choice" not in name}
        v = [self.lift(torch.cat(points, dim=1)) for points in nodes]
        read = []  # by the last step up of each V-cycle
        for _ in range(self.layers):
            for level, down in enumerate(self.down):
                name = f"down{level}"
                v[level + 1] = F.gelu(v[level + 1] + down(bases[name], v[level], edges[name]))
            for level in reversed(range(1, len(v))):
                v[level] = self._ascended(level, v[level], v, edges, bases)
            read.append(v[:2])
            v[0] = self._ascended(0, v[0], v, edges, bases)
        if queries is None:
            return self.project(v[0])
        return torch.cat([self._at(query, nodes, read) for query in queries])

    def _at(self, query: Query, nodes: list[tuple[Tensor, Tensor]], read: list[list[Tensor]]) -> Tensor:
        """The values at points, from levels 0 and 1 as each V-cycle reads them."""
        inputs, points, edges = query
        bases = {name: self._basis(name, part, nodes, (points, inputs)) for name, part in edges.items()}
        there = self.lift(torch.cat((points, inputs), dim=1))
        for v in read:
            there = self._ascended(0, there, v, edges, bases)
        return self.project(there)

    def _ascended(
        self,
        level: int,
        own: Tensor,
        v: list[Tensor],
        edges: Mapping[str, Neighbours],
        bases: Mapping[str, list[Tensor]],
    ) -> Tensor:
        """``act(W v + K v + K_up v_below)`` at the nodes of a level, or where else ``edges`` lead to."""
        name, above = f"inner{level}", f"up{level}"
        total = self.local[level](own) + self.within[level](bases[name], v[level], edges[name])
        if level + 1 < len(v):
            total = total + self.up[level](bases[above], v[level + 1], edges[above])
        return F.gelu(total)

    def _basis(
        self,
        name: str,
        edges: Neighbours,
        nodes: list[tuple[Tensor, Tensor]],
        points: tuple[Tensor, Tensor] | None = None,
    ) -> list[Tensor]:
        """The kernel's features on the edges of this name, to the nodes of its level or to points."""
        kind = name.rstrip("0123456789")
        level = int(name.removeprefix(kind))
        modules, radii, to, origin = {
            "inner": (self.within, self.inner, level, level),
            "down": (self.down, self.inter, level + 1, level),
            "up": (self.up, self.inter, level, level + 1),
        }[kind]
        integral = modules[level]
        assert isinstance(integral, KernelIntegral)
        target = nodes[to] if points is None else points
        return integral.basis(edge_features(radii[level], edges, target, nodes[origin]), edges)

    def _check_size(self, nodes: int) -> None:
        if nodes < self.coarse[0]:
            raise InvalidInput(
                "input.pos",
                f"{nodes} nodes",
                f"at least {self.coarse[0]}, the nodes of level 1",
                "Take finer meshes, raise data.subsample (of SparseTrajectoryData: data.nodes), or let "
                f"model.coarse start at {nodes} or less.",
            )
