"""Each foreign format: the same numbers in The Well's layout, whatever the axes and channels."""

from __future__ import annotations

import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from pdeflow.data import WellReader, convert, inspect
from pdeflow.data.convert import detect_format
from pdeflow.errors import InvalidInput

SHARED = Path(__file__).parents[2] / "../shared/data"
rng = np.random.default_rng(0)


@pytest.mark.parametrize("channel", [False, True])
@pytest.mark.parametrize("kind", [torch.bool, torch.float32, torch.float64])
def test_neuraloperator(tmp_path, channel, kind):
    x = torch.rand(5, 7, 6) if kind != torch.bool else torch.rand(5, 7, 6) > 0.5
    y = torch.rand(5, 7, 6)
    shown = {"x": x.to(kind), "y": y}
    torch.save({k: v.unsqueeze(1) if channel else v for k, v in shown.items()}, tmp_path / "set.data")
    calls = []
    made = convert(tmp_path / "set.data", tmp_path / "d.h5", progress=lambda *done: calls.append(done))
    with WellReader(made) as reader:
        assert reader.steady
        assert (reader.fields, reader.constant_fields) == ({"u": 0}, {"a": 0})
        assert reader.grid.points == (7, 6)
        np.testing.assert_array_equal(reader.read("a", slice(None)), x.to(torch.float32))
        np.testing.assert_array_equal(reader.read("u", slice(None), step=-1), y)
        np.testing.assert_array_equal(reader.read("u", slice(None), step=0), 0 * y)
    assert calls[-1] == (5, 5)


def test_neuraloperator_names_channels_and_box(tmp_path):
    torch.save({"a": torch.rand(4, 3, 5, 6), "v": torch.rand(4, 5, 6)}, tmp_path / "d.pt")
    with pytest.raises(InvalidInput, match="Known: a, v"):
        convert(tmp_path / "d.pt", tmp_path / "d.h5")
    with pytest.raises(InvalidInput, match="the same grid"):
        convert(tmp_path / "d.pt", tmp_path / "d.h5", inputs=["k=a"], targets=["v"])
    settings = {"inputs": ["k=a"], "targets": ["v"], "dim": 2, "lower": -1, "upper": 3, "periodic": ["y"]}
    with WellReader(convert(tmp_path / "d.pt", tmp_path / "d.h5", **settings)) as reader:
        assert list(reader.constant_fields) == ["k0", "k1", "k2"]
        assert (reader.grid.lower, reader.grid.upper) == ((-1, -1), (3, 3))
        assert reader.grid.periodic == (False, True)
        assert reader.boundary == {"y-": "PERIODIC", "y+": "PERIODIC"}


def test_the_authors_small_darcy_set(tmp_path):
    source = SHARED / "darcy_test_16.pt"
    if not source.exists():
        pytest.skip(f"{source} is not here; it is checked where the project is developed")
    held = torch.load(source, weights_only=True)
    with WellReader(convert(source, tmp_path / "d.h5")) as reader:
        np.testing.assert_array_equal(reader.read("a", slice(None)), held["x"].float())
        np.testing.assert_array_equal(reader.read("u", slice(None), step=-1), held["y"])


def centres(n):
    return (np.arange(n) + 0.5) / n


def test_pdebench_darcy(tmp_path):
    nu, tensor = rng.random((6, 8, 9)).astype("f4"), rng.random((6, 1, 8, 9)).astype("f4")
    with h5py.File(tmp_path / "2D_DarcyFlow_beta1.0_Train.hdf5", "w") as file:
        file["nu"], file["tensor"] = nu, tensor
        file["x-coordinate"], file["y-coordinate"] = centres(8).astype("f4"), centres(9).astype("f4")
        file.attrs["beta"] = 1.0
    with WellReader(convert(tmp_path / "2D_DarcyFlow_beta1.0_Train.hdf5", tmp_path / "d.h5")) as reader:
        assert reader.steady
        assert reader.attributes["pdebench_beta"] == 1.0
        np.testing.assert_array_equal(reader.read("a", slice(None)), nu)
        np.testing.assert_array_equal(reader.read("u", slice(None), step=-1), tensor[:, 0])
        np.testing.assert_allclose(reader.grid.coordinates()[1], centres(9), atol=1e-6)


@pytest.mark.parametrize("shape", [(12,), (6, 7), (4, 5, 6)])
def test_pdebench_scalar_in_time(tmp_path, shape):
    tensor = rng.random((3, 5, *shape)).astype("f4")
    with h5py.File(tmp_path / "burgers.h5", "w") as file:
        file["tensor"] = tensor
        for axis, points in zip("xyz", shape):
            file[f"{axis}-coordinate"] = centres(points)
        file["t-coordinate"] = np.linspace(0, 2.5, 6)  # PDEBench stores one instant more than there are
    with WellReader(convert(tmp_path / "burgers.h5", tmp_path / "d.h5", periodic=["x"])) as reader:
        assert not reader.steady
        np.testing.assert_allclose(reader.times, np.arange(5) * 0.5)
        np.testing.assert_array_equal(reader.read("u", slice(None)), tensor)
        np.testing.assert_allclose(reader.grid.upper[0] - reader.grid.lower[0], 1.0)


def test_pdebench_flow(tmp_path):
    arrays = {key: rng.random((2, 3, 6, 7)).astype("f4") for key in ("density", "pressure", "Vx", "Vy")}
    with h5py.File(tmp_path / "cfd.h5", "w") as file:
        for key, values in arrays.items():
            file[key] = values
        file["x-coordinate"], file["y-coordinate"] = centres(6), centres(7)
        file["t-coordinate"] = np.arange(4.0)
    with WellReader(convert(tmp_path / "cfd.h5", tmp_path / "d.h5")) as reader:
        assert reader.fields == {"density": 0, "pressure": 0, "velocity": 1}
        np.testing.assert_array_equal(
            reader.read("velocity", slice(None)), np.stack([arrays["Vx"], arrays["Vy"]], axis=-1)
        )


@pytest.mark.parametrize("channels", [1, 2])
def test_pdebench_groups_of_seeds(tmp_path, channels):
    data = rng.random((4, 3, 6, 7, channels)).astype("f4")
    with h5py.File(tmp_path / "swe.h5", "w") as file:
        for seed in range(4):
            file[f"{seed:04d}/data"] = data[seed]
            for key, values in (("x", centres(6)), ("y", centres(7)), ("t", np.arange(3.0))):
                file[f"{seed:04d}/grid/{key}"] = values
    with WellReader(convert(tmp_path / "swe.h5", tmp_path / "d.h5")) as reader:
        assert list(reader.fields) == (["u"] if channels == 1 else ["u0", "u1"])
        for c, name in enumerate(reader.fields):
            np.testing.assert_array_equal(reader.read(name, slice(None)), data[..., c])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npz(tmp_path, save, order):
    a, u, k = (np.asarray(rng.random(s), order=order) for s in ((5, 6, 7), (5, 6, 7), 5))
    save(tmp_path / "d.npz", coefficient=a, u=u, k=k, x=np.linspace(0, 2, 6), y=np.linspace(1, 2, 7))
    with WellReader(
        convert(tmp_path / "d.npz", tmp_path / "d.h5", inputs=["a=coefficient", "k"], dtype="float64")
    ) as reader:
        np.testing.assert_array_equal(reader.read("a", slice(None)), a)
        np.testing.assert_array_equal(reader.read("u", slice(None), step=-1), u)
        np.testing.assert_array_equal(reader.read("k", slice(None)), k)
        assert (reader.grid.lower, reader.grid.upper) == ((0, 1), (2, 2))


def test_npz_by_default_and_in_time(tmp_path):
    x, y = rng.random((5, 8)), rng.random((5, 8))
    np.savez(tmp_path / "d.npz", x=x, y=y, note=np.zeros(3))
    with WellReader(convert(tmp_path / "d.npz", tmp_path / "d.h5", dtype="float64")) as reader:
        np.testing.assert_array_equal(reader.read("a", slice(None)), x)
        np.testing.assert_array_equal(reader.read("u", slice(None), step=-1), y)
    u = rng.random((5, 4, 8))
    np.savez(tmp_path / "t.npz", u=u, a=x, t=np.linspace(0, 1, 4))
    with WellReader(convert(tmp_path / "t.npz", tmp_path / "t.h5", time="t", dtype="float64")) as reader:
        np.testing.assert_array_equal(reader.read("u", slice(None)), u)
        np.testing.assert_allclose(reader.times, np.linspace(0, 1, 4))


def test_blocks_are_cut_without_a_seam(tmp_path, monkeypatch):
    # Four samples a block. The package's attribute of this name is the function.
    monkeypatch.setattr(sys.modules["pdeflow.data.convert"], "_BLOCK_BYTES", 8 * 3 * 8 * 4)
    x, y = rng.random((10, 8)), rng.random((10, 8))
    np.savez(tmp_path / "d.npz", a=x, u=y)
    torch.save({"x": torch.from_numpy(x), "y": torch.from_numpy(y)}, tmp_path / "d.pt")
    for source in ("d.npz", "d.pt"):
        calls: list[tuple[int, int]] = []

        def progress(done, total, calls=calls):
            calls.append((done, total))

        made = convert(tmp_path / source, tmp_path / f"{source}.h5", dtype="float64", progress=progress)
        assert calls == [(4, 10), (8, 10), (10, 10)]
        np.testing.assert_array_equal(WellReader(made).read("u", slice(None), step=-1), y)


def test_formats_are_seen_from_the_content(tmp_path):
    torch.save({"x": torch.rand(2, 4), "y": torch.rand(2, 4)}, tmp_path / "a.npz")
    assert detect_format(tmp_path / "a.npz") == "neuraloperator"
    torch.save({"x": torch.rand(2, 4)}, tmp_path / "b", _use_new_zipfile_serialization=False)
    assert detect_format(tmp_path / "b") == "neuraloperator"
    convert(tmp_path / "a.npz", tmp_path / "a.h5")
    with pytest.raises(InvalidInput, match="already"):
        convert(tmp_path / "a.h5", tmp_path / "b.h5")
    (tmp_path / "c").write_bytes(b"\x93NUMPY....")
    with pytest.raises(InvalidInput, match=r"neuraloperator \.pt, a PDEBench HDF5 or an \.npz"):
        convert(tmp_path / "c", tmp_path / "c.h5")


def test_what_a_destination_must_be(tmp_path):
    torch.save({"x": torch.rand(2, 4), "y": torch.rand(2, 4)}, tmp_path / "a.pt")
    with pytest.raises(InvalidInput, match=r"\.h5 or \.hdf5"):
        convert(tmp_path / "a.pt", tmp_path / "a.nc")
    convert(tmp_path / "a.pt", tmp_path / "a.h5")
    with pytest.raises(InvalidInput, match="overwrite"):
        convert(tmp_path / "a.pt", tmp_path / "a.h5")
    convert(tmp_path / "a.pt", tmp_path / "a.h5", overwrite=True)
    with pytest.raises(InvalidInput, match="Nearest: neuraloperator"):
        convert(tmp_path / "a.pt", tmp_path / "b.h5", format="neural_operator")


def test_inspect_of_a_foreign_file(tmp_path):
    torch.save({"x": torch.rand(2, 4) > 0.5, "y": torch.rand(2, 4)}, tmp_path / "a.pt")
    text = inspect(tmp_path / "a.pt").text()
    assert "neuraloperator" in text
    assert "4 nodes, x in [0, 1]" in text


def test_npz_with_unequal_counts_is_refused(tmp_path):
    np.savez(tmp_path / "d.npz", a=rng.random((5, 6, 6)), u=rng.random((4, 6, 6)))
    with pytest.raises(InvalidInput, match=r"'a': 5, 'u': 4|'u': 4, 'a': 5"):
        convert(tmp_path / "d.npz", tmp_path / "d.h5")
    assert not (tmp_path / "d.h5").exists()
