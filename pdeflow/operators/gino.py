"""The geometry-informed neural operator."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.operators.fno import FNO
from pdeflow.operators.graph_operator import (
    GraphOperator,
    Query,
    check_kernel_width,
    check_positive,
    check_reached,
    edge_features,
    surely_within,
)
from pdeflow.operators.kernel_integral import KernelIntegral
from pdeflow.operators.neighbours import Edges, Neighbours, edges_within

if TYPE_CHECKING:
    from scipy.spatial import KDTree


class GINO(GraphOperator):
    r"""Geometry-informed neural operator: from the mesh to a regular grid, an FNO there, back to any point.

    - Encode: ``v(g) = K_in P(position, a)``, at each node g of a latent grid a mean over the nodes of the
      mesh within ``in_radius``, 0 where there are none.
    - ``w = FNO(v, s)``, on the grid; s is 1 where a grid node sees the mesh and 0 elsewhere: it tells the
      shape of the domain, as the signed distance does in the paper.
    - Decode: ``u(x) = Q(K_out w)``, at each node x of the mesh, or at any other point, a mean over the grid
      nodes within ``out_radius``.

    Each ``K`` has a kernel of its own, a matrix-valued network of both positions, and in ``K_in`` of the
    input (``KernelIntegral``). P is linear, Q has one hidden layer. The Fourier layers are
    neuraloperator's, as in ``FNO``; its own GINO takes one geometry a batch and looks for neighbours in a
    dense table.

    The decoder reads the grid alone: inputs at the points of a query are not used, and the answer there is
    as good as at the nodes. What is finer than the grid is lost. The grid is the same for all meshes, so that
    the cost of the Fourier layers does not depend on them, and no weight depends on the number of nodes: a
    mesh may be finer than those of the training.

    Input: a graph of torch-geometric with ``x`` (nodes, in_channels) and ``pos`` (nodes, dim), or a batch of
    such graphs; output (nodes, out_channels), float32 as made.

    Parameters
    ----------
    grid
        Nodes of the latent grid along each axis (1 to 3 axes), both ends of the box included.
    modes
        Fourier modes kept along each axis; at most as many as there are nodes, padding included.
    in_radius
        Of the neighbourhoods in the mesh, in units of length: wide enough that a grid node in the domain has
        several nodes of the mesh in it, those of a random part in training too, and at least half a diagonal
        of its cells. A query is answered at points that have a node of the mesh so near.
    out_radius
        Of the neighbourhoods in the grid: at least half the diagonal of its cells, so that every point of the
        box has a grid node in it.
    lower, upper
        Corners of the box that the grid fills and that the meshes lie in.
    width
        Channels of the hidden functions.
    kernel_width
        Hidden features of the kernels' networks.
    layers
        Number of Fourier layers.
    padding
        Zeros put around the box, as a fraction of its extent.
    in_channels, out_channels
        Number of functions read and given.

    Raises
    ------
    InvalidInput
        For settings out of range; on a call as ``GraphOperator``, and for a mesh with a node that no grid
        node sees, or that sees none.

    References
    ----------
    Li, Kovachki, Choy, Li, Kossaifi, Otta, Nabian, Stadler, Hundt, Azizzadenesheli, Anandkumar:
    Geometry-informed neural operator for large-scale 3D PDEs. NeurIPS 2023. arXiv:2309.00583.
    """

    reads_points = False

    def __init__(
        self,
        grid: list[int],
        modes: list[int],
        in_radius: float,
        out_radius: float,
        lower: list[float],
        upper: list[float],
        width: int = 32,
        kernel_width: int = 32,
        layers: int = 4,
        padding: float = 0.125,
        in_channels: int = 1,
        out_channels: int = 1,
    ) -> None:
        settings = {
            "grid": list(grid),
            "modes": list(modes),
            "in_radius": in_radius,
            "out_radius": out_radius,
            "lower": list(lower),
            "upper": list(upper),
            "width": width,
            "kernel_width": kernel_width,
            "layers": layers,
            "padding": padding,
            "in_channels": in_channels,
            "out_channels": out_channels,
        }
        dim = len(modes)
        check_positive(settings, "in_radius", "out_radius", "width", "layers")
        check_kernel_width(kernel_width)
        for name in ("grid", "lower", "upper"):
            if len(settings[name]) != dim:
                raise InvalidInput(
                    f"model.{name}", settings[name], f"{dim} numbers, as many as model.modes has"
                )
        if grid and min(grid) < 2:
            raise InvalidInput("model.grid", list(grid), "at least 2 nodes along each axis")
        if not all(a < b for a, b in zip(lower, upper)):
            raise InvalidInput("model.upper", list(upper), f"a corner above model.lower, {list(lower)}")
        super().__init__(settings, dim=dim, in_channels=in_channels, out_channels=out_channels)
        self.latent = Grid(("x", "y", "z")[:dim], tuple(lower), tuple(upper), tuple(grid))
        self.in_radius, self.out_radius, self.query_radius = in_radius, out_radius, in_radius
        self.fourier = FNO(modes, width, layers, in_channels=width + 1, out_channels=width, padding=padding)
        self.fourier.check_resolution(grid)
        least = math.hypot(*self.latent.spacing) / 2
        for name in ("in_radius", "out_radius"):
            if settings[name] < least:
                raise InvalidInput(
                    f"model.{name}",
                    settings[name],
                    f"at least {least:.3g}, half the diagonal of a cell of the grid",
                    "Raise it, or take a finer model.grid; there are points between the nodes that see none.",
                )
        self.lift = nn.Linear(dim + in_channels, width)
        self.encode = KernelIntegral(2 * dim + in_channels, width, kernel_width)
        self.decode = KernelIntegral(2 * dim, width, kernel_width)
        self.project = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, out_channels)
        )

    def connect(self, positions: np.ndarray, *, sampled: bool = False) -> dict[str, Edges]:
        """``encode``: the nodes around each grid node; ``decode``: the grid nodes around each node.

        A node far from the grid is refused in a random part of a mesh too: there it is as far from it.
        """
        encode = edges_within(self.in_radius, self._tree.data, positions)
        decode = edges_within(self.out_radius, positions, self._tree)
        for name, counts in (
            ("in_radius", np.bincount(encode.source, minlength=len(positions))),
            ("out_radius", decode.counts),
        ):
            if len(alone := np.flatnonzero(counts == 0)):
                nodes = ", ".join(map(str, alone[:5])) + (", ..." if len(alone) > 5 else "")
                radius = f"model.{name}"
                raise InvalidInput(
                    radius,
                    self.settings[name],
                    "a radius in which every node has a node of the grid from "
                    f"{self.latent.lower} to {self.latent.upper}; "
                    f"{len(alone)} of {len(positions)} have none (nodes {nodes})",
                    f"Raise {radius}, let model.lower and model.upper hold all meshes, take a finer "
                    "model.grid, or take nodes that stand alone out of the mesh.",
                )
        return {"encode": encode, "decode": decode}

    def reach(self, points: np.ndarray, nodes: KDTree) -> dict[str, Edges]:
        """The grid nodes around each point, which must have a node of the mesh within ``in_radius``.

        The grid is everywhere in the box; where the mesh is not, it knows nothing.
        """
        near = edges_within(self.in_radius, points, nodes)
        check_reached("model.in_radius", self.in_radius, points, near)
        edges = edges_within(self.out_radius, points, self._tree)
        check_reached("model.out_radius", self.out_radius, points, edges)
        return {"decode": edges}

    def answers(self, points: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """As ``GraphOperator.answers``, of the points that have a grid node within ``out_radius``."""
        return super().answers(points, positions) & surely_within(self.out_radius, points, self._tree)

    def evaluate(  # pyright: ignore[reportIncompatibleMethodOverride]  a graph, not a tensor
        self,
        x: Tensor,
        positions: Tensor,
        edges: Mapping[str, Neighbours],
        queries: Iterable[Query] | None = None,
    ) -> Tensor:
        """Encode, the Fourier layers, decode at the nodes or at the points of the queries."""
        encode, size = edges["encode"], math.prod(self.latent.shape)
        batch = encode.row.shape[0] // size
        places = self._places(x.dtype, x.device).repeat(batch, 1)
        latent = (places, _nothing(places))
        features = edge_features(self.in_radius, encode, latent, (positions, x))
        lifted = self.lift(torch.cat((positions, x), dim=1))
        v = self.encode(self.encode.basis(features, encode), lifted, encode)
        seen = torch.zeros_like(v[:, :1]).index_fill(0, encode.target, 1.0)
        functions = torch.cat((v, seen), dim=1).view(batch, *self.latent.shape, -1).movedim(-1, 1)
        w = self.fourier.evaluate(functions).movedim(1, -1).reshape(batch * size, -1)
        if queries is None:
            queries = [(x, positions, edges)]
        return torch.cat([self._decoded(w, latent, query) for query in queries])

    def _decoded(self, w: Tensor, latent: tuple[Tensor, Tensor], query: Query) -> Tensor:
        _, points, edges = query
        decode = edges["decode"]
        features = edge_features(self.out_radius, decode, (points, _nothing(points)), latent)
        return self.project(self.decode(self.decode.basis(features, decode), w, decode))

    @functools.cached_property
    def _tree(self) -> KDTree:
        """Of the nodes of the grid, on the host."""
        from scipy.spatial import KDTree

        return KDTree(self._places(torch.float64, "cpu").numpy())

    def _places(self, dtype: torch.dtype, device: torch.device | str) -> Tensor:
        """The nodes of the grid, (nodes, dim), the last axis fastest.

        They are made for each call: a module that is built without memory has nowhere to keep them.
        """
        return torch.stack([*self.latent.mesh(dtype, device).values()], dim=-1).flatten(0, -2)


def _nothing(points: Tensor) -> Tensor:
    """No inputs, at so many points."""
    return points[:, :0]
