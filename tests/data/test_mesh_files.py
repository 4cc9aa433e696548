"""Samples on meshes of their own: files that give back what was written, or are refused; graphs."""

from __future__ import annotations

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from torch_geometric.data import Batch
from torch_geometric.utils import is_undirected

from pdeflow.data import MeshGraphs, MeshReader, MeshWriter, WellReader, write_meshes
from pdeflow.errors import CorruptFile, InvalidInput, PdeflowError, UnsafeFile
from pdeflow.triangle_mesh import TriangleMesh

SQUARE = TriangleMesh(
    np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]),
    np.array([[0, 1, 2], [0, 2, 3]]),
    np.array([3, 3, 1, 1]),
)
TRIANGLE = TriangleMesh(
    np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 1.5]]), np.array([[0, 1, 2]]), np.array([1, 1, 2])
)
MESHES = [SQUARE, TRIANGLE, SQUARE]
VALUES = np.random.default_rng(0).standard_normal(11)


def write(path: Path, **changes) -> Path:
    settings = {
        "name": "meshes",
        "meshes": MESHES,
        "fields": {"u": VALUES},
        "constant_fields": {"a": VALUES**2},
        "scalars": {"k": np.array([1.0, 2.0, 3.0])},
        "diagnostics": {"status": np.array([0, 2, 0], dtype=np.int8)},
        "attributes": {"steady": True, "equation": "u = a", "seed": 3},
    }
    write_meshes(path, **(settings | changes))
    return path


def everything(path: Path) -> dict[str, object]:
    with MeshReader(path) as reader:
        names = (*reader.fields, *reader.constant_fields, *reader.scalars, *reader.diagnostics)
        told: dict[str, object] = {name: reader.read(name, slice(None)).tobytes() for name in names}
        told |= {
            f"mesh {i}": [part.tobytes() for part in vars(reader.mesh(i)).values()] for i in range(reader.n)
        }
        return told | {"": (reader.name, reader.n, reader.attributes)}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_reader_gives_back_what_was_written(tmp_path: Path, dtype: str) -> None:
    reader = pickle.loads(pickle.dumps(MeshReader(write(tmp_path / "m.h5", dtype=dtype))))
    assert (reader.name, reader.n, reader.fields, reader.constant_fields) == ("meshes", 3, ("u",), ("a",))
    assert (reader.scalars, reader.diagnostics) == (("k",), ("status",))
    assert reader.attributes == {"steady": True, "equation": "u = a", "seed": 3}
    for i, (mesh, start) in enumerate(zip(MESHES, (0, 4, 7))):
        stored = reader.mesh(i)
        for part in ("positions", "triangles", "boundary"):
            np.testing.assert_array_equal(getattr(stored, part), getattr(mesh, part))
        rows = slice(start, start + len(mesh.positions))
        np.testing.assert_array_equal(reader.read("u", i), VALUES[rows].astype(dtype))
        assert reader.read("k", i) == i + 1
    np.testing.assert_array_equal(reader.read("a", slice(None)), (VALUES**2).astype(dtype))


def test_the_same_samples_give_the_same_bytes_and_leave_nothing_else(tmp_path: Path) -> None:
    assert write(tmp_path / "a.h5").read_bytes() == write(tmp_path / "b.h5").read_bytes()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.h5", "b.h5"]


def test_samples_may_come_some_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pdeflow.data.mesh_writer._CHUNK_ROWS", 3)
    with MeshWriter(tmp_path / "m.h5", name="meshes", fields=["u"], scalars=["k"]) as writer:
        for meshes, rows, numbers in ((MESHES[:1], VALUES[:4], [1.0]), (MESHES[1:], VALUES[4:], [2.0, 3.0])):
            writer.append(meshes, {"u": rows, "k": np.array(numbers)})
    bare = {"constant_fields": None, "diagnostics": None, "attributes": None}
    assert everything(tmp_path / "m.h5") == everything(write(tmp_path / "whole.h5", **bare))


def test_an_error_between_two_appends_leaves_the_old_file(tmp_path: Path) -> None:
    before = write(tmp_path / "m.h5").read_bytes()

    def interrupted() -> None:
        with MeshWriter(tmp_path / "m.h5", name="meshes", fields=["u"]) as writer:
            writer.append([SQUARE], {"u": VALUES[:4]})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("m.h5", before)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fields": {"u": VALUES[:-1]}}, "shape of 'u'"),
        ({"scalars": {"k": np.zeros(2)}}, "shape of 'k'"),
        ({"fields": {"a": VALUES}}, "unique name"),
        ({"fields": {}, "constant_fields": {}}, "at least one field"),
        ({"fields": {"u": VALUES * 1e300}}, "fit in float32"),
        ({"attributes": {"layout": "mine"}}, "does not use itself"),
        ({"dtype": "float16"}, "float32 or float64"),
        ({"meshes": []}, "at least one sample"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_written(tmp_path: Path, changes, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        write(tmp_path / "m.h5", **changes)
    assert list(tmp_path.iterdir()) == []


def test_damage_never_gives_a_wrong_number(tmp_path: Path) -> None:
    path = write(tmp_path / "m.h5")
    whole, expected = path.read_bytes(), everything(path)
    for size in np.linspace(0, len(whole) - 1, 20).astype(int):
        path.write_bytes(whole[:size])
        with pytest.raises(CorruptFile):
            everything(path)
    rng, caught = np.random.default_rng(0), 0
    for position, bit in zip(rng.integers(0, len(whole), 150), rng.integers(0, 8, 150)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << bit
        path.write_bytes(damaged)
        try:
            # A flip in unused space changes nothing; any other must be an error that a user can read.
            assert everything(path) == expected, position
        except PdeflowError:
            caught += 1
    assert caught > 20


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("mesh/node_offsets", [0, 4, 4, 11], "does not rise"),
        ("mesh/node_offsets", [0, 4, 7, 99], "expected"),
        ("mesh/triangles", [[0, 1, 2], [0, 2, 9], [0, 1, 2], [0, 1, 2], [0, 2, 3]], "sample 0 is none"),
        ("nodes/u", [1.0, 2.0], "expected"),
        ("nodes/more", [1.0], "other fields"),
    ],
)
def test_parts_that_contradict_each_other(tmp_path: Path, name: str, value, message: str) -> None:
    path = write(tmp_path / "m.h5")
    with h5py.File(path, "r+") as file:
        file.pop(name, None)
        file[name] = value
    with pytest.raises(CorruptFile, match=message):
        MeshReader(path).verify()


def test_links_and_other_layouts_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "m.h5")
    with pytest.raises(CorruptFile, match="not on a grid"):
        WellReader(path)
    with h5py.File(path, "r+") as file:
        file["nodes/v"] = h5py.ExternalLink("other.h5", "/u")
    with pytest.raises(UnsafeFile, match="a link into another file"):
        MeshReader(path)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["u"] = [1.0]
    with pytest.raises(CorruptFile, match="not in the layout"):
        MeshReader(tmp_path / "other.h5")
    reader = MeshReader(write(tmp_path / "n.h5"))
    with pytest.raises(InvalidInput, match="Nearest: status"):
        reader.read("statuss", 0)
    with pytest.raises(InvalidInput, match=r"a sample of 0\.\.2"):
        reader.mesh(3)


def test_samples_are_graphs(tmp_path: Path) -> None:
    path = write(tmp_path / "m.h5")
    graphs = MeshGraphs(path, inputs=["a", "k"], targets=["u"])
    assert [graph.sample for graph in graphs] == [0, 2]
    assert Batch.from_data_list(list(graphs)).sample.tolist() == [0, 2]
    assert len(MeshGraphs(path, ["a"], ["u"], keep_failed=True)) == 3
    graph = graphs[1]
    graph.validate()
    assert is_undirected(graph.edge_index)
    assert graph.num_edges == 10
    start, end = graph.edge_index
    torch.testing.assert_close(graph.edge_attr[:, :2], graph.pos[end] - graph.pos[start])
    torch.testing.assert_close(graph.edge_attr[:, 2], (graph.pos[end] - graph.pos[start]).norm(dim=1))
    np.testing.assert_array_equal(graph.x[:, 0], (VALUES[7:] ** 2).astype("f4"))
    assert (graph.x[:, 1] == 3).all()
    np.testing.assert_array_equal(graph.y[:, 0], VALUES[7:].astype("f4"))
    assert graph.face.T.tolist() == SQUARE.triangles.tolist()
    torch.testing.assert_close(graph.area, torch.tensor([1 / 3, 1 / 6, 1 / 3, 1 / 6]))
    flags = MeshGraphs(path, inputs=["boundary", "a"], targets=["u"])
    assert flags.input_names == ("boundary_outer", "boundary_hole", "boundary_base", "a")
    assert flags[1].x[:, :3].tolist() == [[0, 0, 1], [0, 0, 1], [1, 0, 0], [1, 0, 0]]
    with pytest.raises(InvalidInput, match="targets"):
        MeshGraphs(path, ["a"], ["v"])
