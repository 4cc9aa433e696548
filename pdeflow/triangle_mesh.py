"""Triangle meshes of plane domains: where samples of a function lie if there is no grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pdeflow.errors import InvalidInput

BOUNDARY_PARTS = ("inside", "outer", "hole", "base")
"""What the numbers in `TriangleMesh.boundary` mean; "base" is the longest edge of the outer boundary."""


@dataclass(frozen=True)
class TriangleMesh:
    """Nodes, and triangles between them.

    Parameters
    ----------
    positions
        (nodes, 2) float64.
    triangles
        (triangles, 3) int32, three node numbers each, counterclockwise.
    boundary
        (nodes,) int8: for each node the index into ``BOUNDARY_PARTS`` of the part that it lies on.

    Raises
    ------
    InvalidInput
        If the shapes do not fit, a node number is out of range, or a triangle is not counterclockwise.
    """

    positions: np.ndarray
    triangles: np.ndarray
    boundary: np.ndarray

    def __post_init__(self) -> None:
        for name, kind in (("positions", np.float64), ("triangles", np.int32), ("boundary", np.int8)):
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), dtype=kind))
        nodes = len(self.positions)
        if self.positions.shape != (nodes, 2) or nodes < 3 or not np.isfinite(self.positions).all():
            raise InvalidInput("positions", self.positions.shape, "(nodes, 2) finite numbers")
        if self.triangles.ndim != 2 or self.triangles.shape[1:] != (3,) or not len(self.triangles):
            raise InvalidInput("triangles", self.triangles.shape, "(triangles, 3)")
        if self.triangles.min() < 0 or self.triangles.max() >= nodes:
            got = (int(self.triangles.min()), int(self.triangles.max()))
            raise InvalidInput("triangles", got, f"node numbers of 0..{nodes - 1}")
        if self.boundary.shape != (nodes,):
            raise InvalidInput("boundary", self.boundary.shape, f"({nodes},), one number a node")
        if self.boundary.min() < 0 or self.boundary.max() >= len(BOUNDARY_PARTS):
            raise InvalidInput("boundary", int(self.boundary.max()), f"indices into {BOUNDARY_PARTS}")
        if self.areas.min() <= 0:
            raise InvalidInput(
                "triangles", float(self.areas.min()), "positive areas, corners counterclockwise"
            )

    @property
    def areas(self) -> np.ndarray:
        """(triangles,), negative where the corners go round clockwise."""
        return signed_areas(self.positions, self.triangles)

    @property
    def node_areas(self) -> np.ndarray:
        """(nodes,), a third of the area of the triangles around each node."""
        shares = np.repeat(self.areas / 3, 3)
        return np.bincount(self.triangles.ravel(), weights=shares, minlength=len(self.positions))

    @property
    def edges(self) -> np.ndarray:
        """(edges, 2), each edge once, the smaller node number first, in lexicographic order."""
        sides = self.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
        return np.unique(np.sort(sides, axis=1), axis=0)

    def on(self, parts: tuple[str, ...]) -> np.ndarray:
        """(nodes,) whether a node lies on one of these parts of the boundary.

        Raises
        ------
        InvalidInput
            If there is no such part.
        """
        for part in parts:
            if part not in BOUNDARY_PARTS[1:]:
                raise InvalidInput("part of the boundary", part, "a known one", choices=BOUNDARY_PARTS[1:])
        return np.isin(self.boundary, [BOUNDARY_PARTS.index(part) for part in parts])


def signed_areas(positions: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(triangles,), negative where the corners go round clockwise."""
    a, b, c = (positions[triangles[:, k]] for k in range(3))
    return 0.5 * ((b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0]))
