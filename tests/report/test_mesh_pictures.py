"""Pictures of samples with nodes of their own, what is read of them, and what is drawn between the nodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pdeflow.errors import CorruptFile
from pdeflow.report import write_report
from pdeflow.report.mesh_pictures import triangulation
from pdeflow.report.mesh_sample import MeshSample


def sample(nodes: np.ndarray, triangles: np.ndarray | None = None) -> MeshSample:
    ones = np.ones((len(nodes), 1))
    return MeshSample("best", 0, 0.1, nodes, triangles, ones, ones, ones)


def test_triangles_are_those_of_the_file() -> None:
    nodes = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    own = triangulation(sample(nodes, np.array([[0, 1, 2]])))
    assert own is not None
    np.testing.assert_array_equal(own.triangles, [[0, 1, 2]])


def test_long_triangles_between_nodes_without_a_mesh_are_left_out() -> None:
    """Two squares of nodes a distance apart: nothing is drawn between them."""
    square = np.stack(np.meshgrid(*[np.linspace(0.0, 1.0, 9)] * 2, indexing="ij"), axis=2).reshape(-1, 2)
    made = triangulation(sample(np.concatenate([square, square + np.array([3.0, 0.0])])))
    assert made is not None
    corners = made.x[made.get_masked_triangles()]
    assert len(corners) == 2 * 2 * 8 * 8
    assert not ((corners.min(1) <= 1.0) & (corners.max(1) >= 3.0)).any()


def test_nodes_on_a_line_or_in_space_have_no_triangles() -> None:
    places = np.linspace(0.0, 1.0, 7)
    for nodes in (
        places[:, None],
        np.stack([places, places], axis=1),
        np.random.default_rng(0).random((9, 3)),
    ):
        assert triangulation(sample(nodes)) is None


def mesh_run(run: Path, dim: int = 2) -> Path:
    """The test of this run, on nodes of their own instead of a grid."""
    (file,) = (run / "test").glob("*.npz")
    rng = np.random.default_rng(0)
    arrays = {"l2": np.array([0.5, 0.1, 0.2]), "index": np.array([4, 7, 9]), "number": np.array([7, 9, 4])}
    for rank, n in (("best", 40), ("median", 55), ("worst", 30)):
        arrays |= {f"{rank}_nodes": rng.random((n, dim)), f"{rank}_input": rng.random((n, 2))}
        arrays |= {f"{rank}_target": rng.random((n, 1)), f"{rank}_prediction": rng.random((n, 1))}
    np.savez(file, rank=np.array(["best", "median", "worst"]), **arrays)
    return run


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_samples_are_drawn_with_their_own_number_and_error(make_run, dim: int) -> None:
    run = mesh_run(make_run(((16, 16),)), dim)
    page = write_report(run).read_text()
    assert page.count("<figcaption>u, prediction</figcaption>") == 3
    assert page.count("<figcaption>a1, input</figcaption>") == 3
    for number, error in ((7, "0.1"), (9, "0.2"), (4, "0.5")):
        assert f"sample {number}, relative L2 error {error} at 16x16" in page
    assert "The spectrum of the error" not in page
    assert (run / "report.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("number", np.array([7, 9]), "array 'number' is int64 (2,)"),
        ("median_target", np.zeros((54, 1)), "the median sample has"),
        ("worst_nodes", np.array(["a"]), "array 'worst_nodes' is"),
        ("best_triangles", np.array([[0, 1, 40]]), "array 'best_triangles' is no (triangles, 3) of 40 nodes"),
    ],
)
def test_a_damaged_sample_is_named(make_run, name: str, value: np.ndarray, told: str) -> None:
    run = mesh_run(make_run(((16, 16),)))
    (file,) = (run / "test").glob("*.npz")
    np.savez(file, **{**np.load(file), name: value})
    with pytest.raises(CorruptFile) as caught:
        write_report(run)
    assert told in str(caught.value)
