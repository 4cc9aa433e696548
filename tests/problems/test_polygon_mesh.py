"""Random polygons, and the meshes that fill them."""

from __future__ import annotations

import numpy as np
import pytest

from pdeflow.errors import InvalidInput
from pdeflow.problems import Polygon, RandomPolygon, triangulate
from pdeflow.problems.polygon import GAP
from pdeflow.triangle_mesh import BOUNDARY_PARTS, TriangleMesh

SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
HOLE = (0.4 + 0.25 * SQUARE)[::-1]


def seed(index: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(5, spawn_key=(index,))


def angles(mesh: TriangleMesh) -> np.ndarray:
    corners = mesh.positions[mesh.triangles]
    ahead, back = np.roll(corners, -1, axis=1) - corners, np.roll(corners, 1, axis=1) - corners
    norms = np.linalg.norm(ahead, axis=2) * np.linalg.norm(back, axis=2)
    return np.degrees(np.arccos((ahead * back).sum(axis=2) / norms))


@pytest.mark.parametrize("index", range(12))
def test_meshes_fill_the_polygon_with_sound_triangles(index: int) -> None:
    shape = RandomPolygon()
    polygon, size = shape.draw(seed(index)), [0.06, 0.0475][index % 2]
    mesh = triangulate(polygon, size)
    assert mesh.areas.min() > 0
    assert mesh.areas.sum() == pytest.approx(polygon.area, rel=1e-12)
    assert angles(mesh).min() > 22
    # Euler: nodes - edges + triangles = 1 - holes.
    edges = mesh.edges
    assert len(mesh.positions) - len(edges) + len(mesh.triangles) == 2 - len(polygon.loops)
    lengths = np.linalg.norm(np.diff(mesh.positions[edges], axis=1)[:, 0], axis=1)
    assert 0.9 * size < lengths.mean() < 1.1 * size
    on = mesh.boundary > 0
    assert polygon.distance(mesh.positions[on]).max() < 1e-12
    assert polygon.distance(mesh.positions[~on]).min() > size / 2
    assert polygon.contains(mesh.positions[~on]).all()
    assert (mesh.boundary == BOUNDARY_PARTS.index("hole")).any() == (len(polygon.loops) > 1)
    again = triangulate(shape.draw(seed(index)), size)
    assert again.positions.tobytes() == mesh.positions.tobytes()
    assert again.triangles.tobytes() == mesh.triangles.tobytes()


def test_random_polygons_keep_what_they_promise() -> None:
    shape = RandomPolygon()
    polygons = [shape.draw(seed(i)) for i in range(60)]
    assert {len(p.loops[0]) for p in polygons} == {5, 6, 7, 8, 9}
    assert {len(p.loops) - 1 for p in polygons} == {0, 1, 2, 3}
    for polygon in polygons:
        start, end = polygon.segments
        assert np.linalg.norm(end - start, axis=1).min() >= shape.detail
        assert np.abs(start).max() <= 1
        for k, loop in enumerate(polygon.loops):
            others = [other for j, other in enumerate(polygon.loops) if j != k]
            for other in others:
                assert Polygon((other,)).distance(loop).min() >= GAP - 1e-12
    assert not np.array_equal(polygons[0].loops[0], polygons[1].loops[0])


def test_a_square_with_a_hole() -> None:
    polygon = Polygon((SQUARE, HOLE))
    assert polygon.area == pytest.approx(1 - 0.0625)
    points = np.array([[0.5, 0.5], [0.1, 0.1], [1.2, 0.3], [0.7, 0.5], [0.5, 0.39]])
    assert polygon.contains(points).tolist() == [False, True, False, True, True]
    np.testing.assert_allclose(polygon.distance(points), [0.1, 0.1, 0.2, 0.05, 0.01], atol=1e-12)
    mesh = triangulate(polygon, 0.1)
    at = mesh.positions[mesh.on(("base",))]
    assert len(at) == 11
    assert (at[:, 1] == 0).all()
    assert mesh.on(("outer", "base")).sum() == 40
    assert mesh.on(("hole",)).sum() == 12


def test_what_is_too_small_for_the_mesh_is_refused() -> None:
    narrow = Polygon((SQUARE, (0.004 + 0.25 * SQUARE)[::-1]))
    with pytest.raises(InvalidInput, match=r"mesh_size: got 0\.2"):
        triangulate(narrow, 0.2)
    with pytest.raises(InvalidInput, match="a positive length"):
        triangulate(narrow, 0.0)
    with pytest.raises(InvalidInput, match="holes that fit"):
        RandomPolygon(holes=(8, 8), hole_radii=(0.4, 0.5)).draw(seed(0))
    with pytest.raises(InvalidInput, match="corners"):
        RandomPolygon(corners=(9, 5))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"triangles": [[0, 2, 1]]}, "positive areas"),
        ({"triangles": [[0, 1, 3]]}, r"node numbers of 0\.\.2"),
        ({"positions": [[0.0, 0.0], [1.0, 0.0], [0.0, np.nan]]}, "finite"),
        ({"boundary": [0, 1, 9]}, "boundary"),
        ({"boundary": [0, 1]}, "one number a node"),
    ],
)
def test_meshes_that_are_none(changes: dict, message: str) -> None:
    parts = {
        "positions": [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]],
        "triangles": [[0, 1, 2]],
        "boundary": [1, 1, 1],
    }
    TriangleMesh(**{key: np.array(value) for key, value in parts.items()})
    with pytest.raises(InvalidInput, match=message):
        TriangleMesh(**{key: np.array(value) for key, value in (parts | changes).items()})
