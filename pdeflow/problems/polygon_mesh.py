"""Triangle meshes of polygons: boundary-conforming Delaunay triangulation, smoothed.

The usual libraries do not go with our licence: Triangle is not free for commercial use, and MeshPy contains
it; Gmsh is under the GPL. SciPy's Qhull triangulates, and nodes are placed so that nothing
more is needed: an edge of the boundary whose circle holds no other node is in every Delaunay triangulation
(K. R. Gabriel, R. R. Sokal, "A new statistical approach to geographic variation analysis", Syst. Zool. 18,
1969), so no constraint has to be put in afterwards. Inner nodes begin as a hexagonal lattice and move to the
centroid of the triangles around them, weighted by area (L. Chen, "Mesh smoothing schemes based on optimal
Delaunay triangulations", 13th International Meshing Roundtable, 2004, the scheme called CPT).
"""

from __future__ import annotations

import math

import numpy as np

from pdeflow.errors import InvalidInput
from pdeflow.problems.polygon import Polygon
from pdeflow.triangle_mesh import BOUNDARY_PARTS, TriangleMesh, signed_areas

SWEEPS = 12
_START, _KEPT = 0.65, 0.5  # distance of inner nodes from the boundary, in mesh sizes
_FLAT = 1e-9  # triangles below this share of a squared mesh size are rounding errors of straight edges


def triangulate(polygon: Polygon, mesh_size: float) -> TriangleMesh:
    """A mesh of the polygon whose edges are about ``mesh_size`` long, the same for the same input.

    Edges of the boundary are cut into equal parts no longer than ``mesh_size``. That the mesh conforms is
    certain where no edge of the polygon and no gap between two loops is shorter than ``mesh_size`` and no
    angle below 60 degrees, and checked always.

    Raises
    ------
    InvalidInput
        If the mesh size is not positive, or too large for a detail of the polygon.
    """
    if not (math.isfinite(mesh_size) and mesh_size > 0):
        raise InvalidInput("mesh_size", mesh_size, "a positive length")
    fixed, parts, segments = _boundary(polygon, mesh_size)
    inner = _lattice(fixed, mesh_size)
    inner = inner[polygon.contains(inner)]
    inner = inner[polygon.distance(inner) > _START * mesh_size]
    for _ in range(SWEEPS):
        inner = _smoothed(polygon, fixed, inner, mesh_size)
    inner = inner[polygon.contains(inner)]
    inner = inner[polygon.distance(inner) > _KEPT * mesh_size]
    nodes = np.concatenate([fixed, inner])
    triangles = _delaunay(polygon, nodes, mesh_size)
    _check(polygon, nodes, triangles, segments, mesh_size)
    boundary = np.concatenate([parts, np.zeros(len(inner), dtype=np.int8)])
    return TriangleMesh(nodes, triangles, boundary)


def _boundary(polygon: Polygon, mesh_size: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes on the boundary, the part that each lies on, and the segments between them."""
    nodes, parts, segments, first = [], [], [], 0
    for number, loop in enumerate(polygon.loops):
        ends = np.roll(loop, -1, axis=0)
        lengths = np.hypot(*(ends - loop).T)
        pieces = np.maximum(1, np.ceil(lengths / mesh_size - 1e-9).astype(int))
        for start, end, count in zip(loop, ends, pieces):
            nodes.append(start + (end - start) * (np.arange(count) / count)[:, None])
        total = int(pieces.sum())
        part = np.full(total, BOUNDARY_PARTS.index("hole" if number else "outer"), dtype=np.int8)
        if number == 0:
            base = int(lengths.argmax())
            on_base = int(pieces[:base].sum()) + np.arange(pieces[base] + 1)
            part[on_base % total] = BOUNDARY_PARTS.index("base")
        parts.append(part)
        around = first + np.arange(total)
        segments.append(np.stack([around, np.roll(around, -1)], axis=1))
        first += total
    return np.concatenate(nodes), np.concatenate(parts), np.concatenate(segments)


def _lattice(points: np.ndarray, mesh_size: float) -> np.ndarray:
    """The hexagonal lattice over the box around the points: neighbours ``mesh_size`` apart."""
    low, high = points.min(axis=0), points.max(axis=0)
    height = mesh_size * math.sqrt(3) / 2
    columns = np.arange(math.ceil((high[0] - low[0]) / mesh_size) + 1)
    rows = np.arange(math.ceil((high[1] - low[1]) / height) + 1)
    row, column = (index.ravel() for index in np.meshgrid(rows, columns, indexing="ij"))
    return np.stack([low[0] + mesh_size * (column + 0.5 * (row % 2)), low[1] + height * row], axis=1)


def _delaunay(polygon: Polygon, nodes: np.ndarray, mesh_size: float) -> np.ndarray:
    """The Delaunay triangles inside the polygon, counterclockwise, in an order that the nodes decide."""
    from scipy.spatial import Delaunay  # slow to import, and most problems have no meshes

    triangles = Delaunay(nodes).simplices.astype(np.int32)
    areas = signed_areas(nodes, triangles)
    triangles = np.where(areas[:, None] < 0, triangles[:, ::-1], triangles)
    triangles = triangles[np.abs(areas) > _FLAT * mesh_size**2]
    triangles = triangles[polygon.contains(nodes[triangles].mean(axis=1))]
    first = triangles.argmin(axis=1)
    triangles = np.take_along_axis(triangles, (first[:, None] + np.arange(3)) % 3, axis=1)
    return triangles[np.lexsort(triangles.T[::-1])]


def _smoothed(polygon: Polygon, fixed: np.ndarray, inner: np.ndarray, mesh_size: float) -> np.ndarray:
    """The inner nodes, each at the centroid of the triangles around it, weighted by area."""
    nodes = np.concatenate([fixed, inner])
    triangles = _delaunay(polygon, nodes, mesh_size)
    areas, centroids = signed_areas(nodes, triangles), nodes[triangles].mean(axis=1)
    corners, weights = triangles.ravel(), np.repeat(areas, 3)
    around = np.bincount(corners, weights, len(nodes))[len(fixed) :]
    sums = [
        np.bincount(corners, weights * np.repeat(column, 3), len(nodes))[len(fixed) :]
        for column in centroids.T
    ]
    moved = np.stack(sums, axis=1) / np.where(around > 0, around, 1.0)[:, None]
    return np.where(around[:, None] > 0, moved, inner)


def _check(
    polygon: Polygon, nodes: np.ndarray, triangles: np.ndarray, segments: np.ndarray, mesh_size: float
) -> None:
    """Raise InvalidInput unless the triangles fill the polygon and have its boundary among their edges."""
    sides = np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    keys, counts = np.unique(sides @ np.array([len(nodes), 1]), return_counts=True)
    rim = np.sort(segments, axis=1) @ np.array([len(nodes), 1])
    conforms = np.array_equal(keys[counts == 1], np.sort(rim))
    filled = math.isclose(float(signed_areas(nodes, triangles).sum()), polygon.area, rel_tol=1e-9)
    if not (conforms and filled):
        raise InvalidInput(
            "mesh_size",
            mesh_size,
            "a length below the edges of the polygon and the gaps between its loops",
            "Make it smaller (raise the resolution).",
        )
