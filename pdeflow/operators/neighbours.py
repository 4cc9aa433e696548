"""Which nodes a node of a mesh sees: found on the host without a dense table, joined for a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pdeflow.errors import InvalidInput

if TYPE_CHECKING:
    from scipy.spatial import KDTree

# More tables are fuller, and more products are made for them.
TABLES = 6


@dataclass(frozen=True)
class Edges:
    """Edges of one mesh from source nodes to target nodes, ordered by target; on the host, to be kept.

    Parameters
    ----------
    source, target
        (edges,) int32, node numbers on either side.
    sources, targets
        How many nodes there are on either side.
    """

    source: np.ndarray
    target: np.ndarray
    sources: int
    targets: int

    @property
    def counts(self) -> np.ndarray:
        """(targets,) how many sources each target sees."""
        return np.bincount(self.target, minlength=self.targets)

    def reversed(self) -> Edges:
        """The same edges from targets to sources."""
        order = np.lexsort((self.target, self.source))
        return Edges(self.target[order], self.source[order], self.targets, self.sources)


@dataclass(frozen=True)
class Neighbours:
    """Edges of all meshes of a batch, and their numbers as tables with a row for each target.

    A sum over the sources of each target is then a product of small matrices instead of a scatter. Targets
    with about as many sources share a table, so that little of it is empty.

    Parameters
    ----------
    source, target
        (edges,) int64.
    among
        (edges,) float32, how many sources the target of each edge has.
    tables
        Each (rows, widest) int64: the numbers of the edges that end in one target, then ``edges``, which
        stands for none.
    row
        (targets,) int64, the row of each target, counted through all tables.
    """

    source: Tensor
    target: Tensor
    among: Tensor
    tables: tuple[Tensor, ...]
    row: Tensor

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Neighbours:
        """The same on another device."""

        def moved(part: Tensor) -> Tensor:
            return part.to(device, non_blocking=non_blocking)

        parts = (moved(self.source), moved(self.target), moved(self.among))
        return Neighbours(*parts, tuple(map(moved, self.tables)), moved(self.row))


def edges_within(radius: float, targets: np.ndarray, sources: np.ndarray | KDTree) -> Edges:
    """All pairs of a target and a source at most ``radius`` apart, by k-d trees.

    Parameters
    ----------
    radius
        The distance.
    targets, sources
        (points, dim) positions, of the sources also as a tree. A point that is in both is its own neighbour.
    """
    from scipy.spatial import KDTree

    tree = KDTree(np.asarray(sources, np.float64)) if isinstance(sources, np.ndarray) else sources
    near = KDTree(np.asarray(targets, np.float64)).sparse_distance_matrix(tree, radius, output_type="ndarray")
    order = np.lexsort((near["j"], near["i"]))
    source, target = (near[key][order].astype(np.int32) for key in ("j", "i"))
    return Edges(source, target, tree.n, len(targets))


def chosen(nodes: np.ndarray, sources: int) -> Edges:
    """One edge to each of some nodes from where it stands among all ``sources``."""
    return Edges(nodes.astype(np.int32), np.arange(len(nodes), dtype=np.int32), sources, len(nodes))


def joined(parts: Sequence[Edges]) -> Neighbours:
    """The edges of several meshes as those of one batch, on the host."""
    starts = [np.cumsum([0, *(getattr(part, side) for part in parts)]) for side in ("sources", "targets")]
    source, target = (
        torch.from_numpy(
            np.concatenate([getattr(part, side) + start[k] for k, part in enumerate(parts)]).astype(np.int64)
        )
        for side, start in zip(("source", "target"), starts)
    )
    counts = np.concatenate([part.counts for part in parts])
    first = np.cumsum(counts) - counts
    order = np.argsort(counts, kind="stable")
    tables = []
    for rows in np.array_split(order, TABLES):
        # At least one column: torch.export cannot store two tables without any.
        place = np.arange(counts[rows].max(initial=1))
        inside = place < counts[rows][:, None]
        tables.append(torch.from_numpy(np.where(inside, first[rows][:, None] + place, len(source))))
    among = torch.from_numpy(np.repeat(counts, counts).astype(np.float32))
    return Neighbours(source, target, among, tuple(tables), torch.from_numpy(np.argsort(order)))


def repeated(edges: Neighbours, times: int, sources: int, targets: int) -> Neighbours:
    """The edges of so many copies of one mesh, copy by copy; in torch alone, so that it can be traced.

    Parameters
    ----------
    edges
        Of one mesh.
    times
        How many copies.
    sources, targets
        How many nodes the mesh has on either side.
    """
    count, device = len(edges.source), edges.source.device
    copy = torch.arange(times, device=device)[:, None]
    tables, row, start = [], torch.zeros_like(edges.row), 0
    for table in edges.tables:
        numbered = (table + count * copy[:, :, None]).flatten(0, 1)
        tables.append(torch.where((table == count).repeat(times, 1), count * times, numbered))
        inside = (edges.row >= start) & (edges.row < start + len(table))
        # Its copies of the table lie behind those of the tables before.
        moved = start * times + len(table) * copy + (edges.row - start)
        row = torch.where(inside, moved, row)
        start += len(table)
    source, target = (
        (part + size * copy).flatten() for part, size in ((edges.source, sources), (edges.target, targets))
    )
    return Neighbours(source, target, edges.among.repeat(times), tuple(tables), row.flatten())


def random_order(positions: np.ndarray) -> np.ndarray:
    """Nodes in an order that is as good as random, and that depends on where they are alone.

    Each node is put at a number mixed from the bits of its float32 coordinates (splitmix64), so that the
    same nodes are chosen first however a mesh numbers them.
    """
    mixed = np.zeros(len(positions), dtype=np.uint64)
    # Adding zero makes one number of the two zeros.
    bits = (np.asarray(positions, np.float32) + np.float32(0)).view(np.uint32).astype(np.uint64)
    for column in bits.T:
        mixed = mixed + column + np.uint64(0x9E3779B97F4A7C15)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
        mixed = mixed ^ (mixed >> np.uint64(31))
    return np.argsort(mixed, kind="stable")


def check_company(name: str, radius: float, edges: Edges) -> None:
    """Raise InvalidInput for a node that has no neighbour within the radius but itself."""
    alone = np.flatnonzero(edges.counts <= 1)
    if len(alone) and edges.targets > 1:
        nodes = ", ".join(map(str, alone[:5])) + (", ..." if len(alone) > 5 else "")
        raise InvalidInput(
            name,
            radius,
            f"a radius in which every node has a neighbour; {len(alone)} of {edges.targets} have none "
            f"(nodes {nodes})",
            f"Raise {name}, or take nodes that stand alone out of the mesh.",
        )
