"""What we write opens in The Well's own reader and in ours, with the same numbers; whole or not at all."""

from __future__ import annotations

import multiprocessing
import pickle
import time

import h5py
import numpy as np
import pytest
from the_well.data import WellDataset

from pdeflow.data import WellReader, WellWriter, well_reader
from pdeflow.data.packed_chunks import pack_sample
from pdeflow.errors import CorruptFile, InvalidInput

from .samples import box, steady_arrays, steady_writer, write_steady

WALL, OPEN, PERIODIC = 0, 1, 2


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("periodic", [(), ("x",)])
def test_steady_file_opens_in_the_well(tmp_path, dim, periodic):
    grid = box(dim, 7, periodic)
    arrays = steady_arrays(grid, 3)
    walls = {f"{axis}{end}": "WALL" for axis in grid.axes if axis not in periodic for end in "-+"}
    with steady_writer(tmp_path / "d.h5", grid, 3, boundary=walls) as writer:
        writer.write(0, arrays)
    dataset = WellDataset(path=str(tmp_path))
    assert len(dataset) == 3
    assert dataset.metadata.field_names[0] == ["u"]
    assert dataset.metadata.constant_scalar_names == ["k"]
    assert dataset.metadata.constant_field_names == {
        0: ["a"], 1: [f"b_{axis}" for axis in grid.axes], 2: []
    }  # fmt: skip
    for i in range(3):
        sample = dataset[i]
        constant = np.concatenate([arrays["a"][i, ..., None], arrays["b"][i]], axis=-1)
        np.testing.assert_array_equal(sample["constant_fields"], constant.astype("f4"))
        np.testing.assert_array_equal(sample["input_fields"], np.zeros((1, *grid.shape, 1), "f4"))
        np.testing.assert_array_equal(sample["output_fields"][0, ..., 0], arrays["u"][i, 1].astype("f4"))
        np.testing.assert_allclose(sample["constant_scalars"], arrays["k"][i : i + 1])
        np.testing.assert_allclose(sample["space_grid"][..., 0], grid.mesh()["x"])
        expected = [[PERIODIC] * 2 if axis in periodic else [WALL] * 2 for axis in grid.axes]
        np.testing.assert_array_equal(sample["boundary_conditions"], expected)


@pytest.mark.parametrize("dim", [2, 3])
def test_trajectories_of_scalars_vectors_and_tensors_open_in_the_well(tmp_path, dim):
    grid, n, steps = box(dim, 6), 2, 5
    rng = np.random.default_rng(1)
    orders = {"pressure": 0, "velocity": 1, "stress": 2, "density": 0}
    arrays = {name: rng.standard_normal((n, steps, *grid.shape, *(dim,) * k)) for name, k in orders.items()}
    sides = {"x-": "WALL", "x+": "OPEN"}
    times = np.linspace(0, 2, steps)
    with WellWriter(
        tmp_path / "t.hdf5", name="flow", grid=grid, n=n, fields=orders, times=times, boundary=sides
    ) as writer:
        for i in (1, 0):
            writer.write(i, {name: values[i : i + 1] for name, values in arrays.items()})
    dataset = WellDataset(path=str(tmp_path), n_steps_input=2, n_steps_output=2, normalize_time_grid=False)
    names = dataset.metadata.field_names
    assert names[0] == ["pressure", "density"]
    assert names[1] == [f"velocity_{axis}" for axis in grid.axes]
    assert len(dataset) == n * 2
    sample = dataset[2 + 1]
    flat = [
        arrays[name][1].reshape(steps, *grid.shape, -1)
        for name in ("pressure", "density", "velocity", "stress")
    ]
    together = np.concatenate(flat, axis=-1).astype("f4")
    np.testing.assert_array_equal(sample["input_fields"], together[1:3])
    np.testing.assert_array_equal(sample["output_fields"], together[3:5])
    np.testing.assert_allclose(sample["output_time_grid"], times[3:5])
    np.testing.assert_array_equal(sample["boundary_conditions"][0], [WALL, OPEN])
    np.testing.assert_array_equal(sample["boundary_conditions"][1], [OPEN, OPEN])

    with WellReader(tmp_path / "t.hdf5") as reader:
        assert reader.grid == grid
        assert reader.boundary == sides
        assert not reader.steady
        for name, values in arrays.items():
            np.testing.assert_array_equal(reader.read(name, slice(None)), values.astype("f4"))
            np.testing.assert_array_equal(reader.read(name, [1], step=-2), values[1:, -2].astype("f4"))


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("periodic", [(), ("x",)])
def test_our_reader_gives_back_what_was_written(tmp_path, dim, periodic):
    grid = box(dim, 6, periodic)
    arrays = write_steady(tmp_path / "d.h5", grid, 5)
    with WellReader(tmp_path / "d.h5") as reader:
        assert reader.grid == grid
        assert (reader.name, reader.n, reader.steady) == ("steady", 5, True)
        assert reader.fields == {"u": 0}
        assert reader.constant_fields == {"a": 0, "b": 1}
        assert (reader.scalars, reader.diagnostics) == (("k",), ("residual",))
        np.testing.assert_array_equal(reader.times, [0, 1])
        for name in ("a", "b", "u"):
            np.testing.assert_array_equal(reader.read(name, slice(None)), arrays[name].astype("f4"))
        for name in ("k", "residual"):
            np.testing.assert_array_equal(reader.read(name, slice(None)), arrays[name])
        rows = [4, 0, 1, 1, 3]
        np.testing.assert_array_equal(reader.read("b", rows), arrays["b"][rows].astype("f4"))
        np.testing.assert_array_equal(reader.read("a", -1), arrays["a"][-1].astype("f4"))
        assert reader.read("a", []).shape == (0, *grid.shape)


def test_float64_is_kept(tmp_path):
    grid = box()
    arrays = steady_arrays(grid, 2)
    with steady_writer(tmp_path / "d.h5", grid, 2, dtype="float64") as writer:
        writer.write(0, arrays)
    np.testing.assert_array_equal(WellReader(tmp_path / "d.h5").read("u", slice(None)), arrays["u"])


def test_same_samples_give_the_same_bytes(tmp_path):
    write_steady(tmp_path / "a.h5")
    time.sleep(1.1)  # a time stamp would have changed by now
    grid = box()
    arrays = steady_arrays(grid, 20)
    with steady_writer(tmp_path / "b.h5", grid, 20) as writer:
        for start, stop in ((0, 1), (1, 8), (8, 20)):
            writer.write(start, {name: values[start:stop] for name, values in arrays.items()})
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_a_sample_is_a_chunk_and_is_guarded(tmp_path):
    write_steady(tmp_path / "d.h5")
    with h5py.File(tmp_path / "d.h5") as file:
        u = file["t0_fields/u"]
        assert u.chunks == (1, 2, 9, 8)
        assert u.fletcher32
        assert u.shuffle


@pytest.mark.parametrize(
    ("starts", "message"),
    [((0, 1), "1 are"), ((0,), "2, 3 were not written"), ((3,), r"within 0\.\.4"), ((-1,), r"within 0\.\.4")],
)
def test_writing_twice_or_too_little_is_refused(tmp_path, starts, message):
    part = steady_arrays(box(), 2)

    def write():
        with steady_writer(tmp_path / "d.h5", box(), 4) as writer:
            for start in starts:
                writer.write(start, part)

    with pytest.raises(InvalidInput, match=message):
        write()
    assert list(tmp_path.iterdir()) == []


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "d.h5"
    write_steady(path)
    before = path.read_bytes()

    def write():
        with steady_writer(path, box(), 20) as writer:
            writer.write(0, steady_arrays(box(), 3))
            assert path.read_bytes() == before
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["d.h5"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"a": np.zeros((2, 3, 3))}, r"arrays\['a'\]"),
        ({"k": np.zeros((2, 1))}, r"arrays\['k'\]"),
        ({"a": np.zeros((2, 9, 8), complex)}, "real numbers"),
        ({"a": np.full((2, 9, 8), 1e300)}, "fit in float32"),
        ({"v": np.zeros(2)}, "name given to WellWriter"),
        ({"u": None}, r"\['u'\] are missing"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path, changes, message):
    arrays = {**steady_arrays(box(), 2), **changes}
    arrays = {name: values for name, values in arrays.items() if values is not None}
    with pytest.raises(InvalidInput, match=message), steady_writer(tmp_path / "d.h5", box(), 2) as writer:
        writer.write(0, arrays)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"boundary": {"w-": "WALL"}}, r"one of the sides x-, x\+, y-, y\+"),
        ({"boundary": {"x-": "DIRICHLET"}}, "WALL, OPEN, PERIODIC"),
        ({"boundary": {"x-": "PERIODIC"}}, "not periodic there"),
        ({"fields": {"u": 3}}, "tensor order"),
        ({"fields": {"a": 0}}, "unique name"),
        ({"fields": {"../u": 0}}, "without '/'"),
        ({"times": (1.0, 0.0)}, "increasing"),
        ({"times": (0.0, 1.0, 2.0)}, "steady"),
        ({"dtype": "float16"}, "float32 or float64"),
        ({"attributes": {"n_trajectories": 3}}, "does not use itself"),
        ({"n": 0}, "at least one sample"),
    ],
)
def test_descriptions_that_do_not_fit_are_named(tmp_path, changes, message):
    n = changes.pop("n", 2)
    with pytest.raises(InvalidInput, match=message):
        steady_writer(tmp_path / "d.h5", box(), n, **changes)
    assert list(tmp_path.iterdir()) == []


def _first_value(reader: WellReader) -> float:
    return float(reader.read("a", 0).ravel()[0])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_reader_works_in_other_processes(tmp_path, method):
    arrays = write_steady(tmp_path / "d.h5")
    reader = WellReader(tmp_path / "d.h5")
    expected = np.float32(arrays["a"].ravel()[0])
    assert _first_value(pickle.loads(pickle.dumps(reader))) == expected
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.map(_first_value, [reader]) == [expected]
    assert _first_value(reader) == expected


def foreign_file(path, *, times_of_samples=False):
    """A file as others write them: constant and repeated arrays, float32 coordinates, masks over two axes."""
    rng = np.random.default_rng(0)
    n, steps, shape = 3, 4, (5, 6)
    content = {
        "buoyancy": rng.random((n, steps, *shape)).astype("f4"),
        "gravity": rng.random(6).astype("f4"),  # only along y, the same for all samples
        "forcing": rng.random((n, 5, 1)).astype("f4"),  # only along x, the other axis kept
        "velocity": rng.random((n, steps, *shape, 2)).astype("f4"),
        "viscosity": np.float32(0.1),
        "energy": rng.random((n, steps)),
    }
    varying = {  # sample, time, dimensions
        "buoyancy": (True, True, [True, True]),
        "gravity": (False, False, [False, True]),
        "forcing": (True, False, [True, False]),
        "velocity": (True, True, [True, True]),
        "viscosity": (False, False, None),
        "energy": (True, True, None),
    }
    with h5py.File(path, "w") as file:
        file.attrs.update(dataset_name="foreign", grid_type="cartesian", n_spatial_dims=2, n_trajectories=n)
        file.attrs["simulation_parameters"] = ["viscosity"]
        file.attrs["viscosity"] = 0.1
        dims = file.create_group("dimensions")
        dims.attrs["spatial_dims"] = ["x", "y"]
        time_values = np.arange(steps) * np.ones((n, 1)) if times_of_samples else np.arange(steps)
        for key, values in (
            ("time", time_values), ("x", np.linspace(0, 4, 5, endpoint=False)), ("y", np.linspace(0, 1, 6))
        ):  # fmt: skip
            dims[key] = np.asarray(values, "f4")
            dims[key].attrs.update(
                sample_varying=key == "time" and times_of_samples, time_varying=key == "time"
            )
        conditions = file.create_group("boundary_conditions")
        mask = np.zeros(shape, bool)
        mask[:, 0] = mask[:, -1] = True
        for key, kind, names, values in (
            ("periodic", "PERIODIC", ["x"], np.arange(5) % 4 == 0), ("wall", "wall", ["x", "y"], mask)
        ):  # fmt: skip
            group = conditions.create_group(key)
            group.attrs.update(bc_type=kind, sample_varying=False, time_varying=False)
            group.attrs["associated_dims"], group.attrs["associated_fields"] = names, ["velocity"]
            group["mask"] = values
        groups = {"t0_fields": ["gravity", "buoyancy", "forcing"], "t1_fields": ["velocity"], "t2_fields": []}
        for key, names in {**groups, "scalars": ["viscosity", "energy"]}.items():
            group = file.create_group(key)
            group.attrs.create("field_names", np.array(names, dtype=h5py.string_dtype()))
            for name in names:
                group[name] = content[name]
                samples, times, dimensions = varying[name]
                group[name].attrs.update(sample_varying=samples, time_varying=times)
                if dimensions:
                    group[name].attrs["dim_varying"] = dimensions
    return content


def test_files_of_others_are_read_alike_by_both_readers(tmp_path):
    content = foreign_file(tmp_path / "f.hdf5")
    reader = WellReader(tmp_path / "f.hdf5")
    assert reader.fields == {"buoyancy": 0, "velocity": 1}
    assert reader.constant_fields == {"gravity": 0, "forcing": 0}
    assert reader.boundary == {"x-": "PERIODIC", "x+": "PERIODIC", "y-": "WALL", "y+": "WALL"}
    assert reader.grid.periodic == (True, False)
    np.testing.assert_allclose(reader.grid.upper, (4, 1), rtol=1e-6)
    np.testing.assert_array_equal(reader.read("buoyancy", [2, 0]), content["buoyancy"][[2, 0]])
    np.testing.assert_array_equal(reader.read("velocity", 1, step=2), content["velocity"][1, 2])
    np.testing.assert_array_equal(reader.read("gravity", 1), np.broadcast_to(content["gravity"], (5, 6)))
    np.testing.assert_array_equal(
        reader.read("forcing", slice(None)), np.broadcast_to(content["forcing"], (3, 5, 6))
    )
    np.testing.assert_array_equal(reader.read("viscosity", [0, 1]), content["viscosity"].repeat(2))
    np.testing.assert_array_equal(reader.read("energy", 2), content["energy"][2])

    sample = WellDataset(path=str(tmp_path))[0]
    ours = np.stack([reader.read("gravity", 0), reader.read("forcing", 0)], axis=-1)
    np.testing.assert_array_equal(sample["constant_fields"], ours)


def test_instants_of_each_sample(tmp_path):
    foreign_file(tmp_path / "f.hdf5", times_of_samples=True)
    assert WellReader(tmp_path / "f.hdf5").times.shape == (3, 4)


def test_an_uneven_grid_is_readable_but_gives_no_grid(tmp_path):
    foreign_file(tmp_path / "f.hdf5")
    with h5py.File(tmp_path / "f.hdf5", "r+") as file:
        file["dimensions/y"][:] = np.linspace(0, 1, 6) ** 2
    reader = WellReader(tmp_path / "f.hdf5")
    assert reader.read("buoyancy", 0).shape == (4, 5, 6)
    with pytest.raises(InvalidInput, match="equally spaced"):
        _ = reader.grid


def test_asking_for_what_is_not_there(tmp_path):
    write_steady(tmp_path / "d.h5")
    reader = WellReader(tmp_path / "d.h5")
    with pytest.raises(InvalidInput, match=r"Nearest: residual") as error:
        reader.read("residul", 0)
    assert "d.h5" in str(error.value)
    for index in (20, -21, [0, 20], [0.5]):
        with pytest.raises(InvalidInput, match=r"samples of 0\.\.19"):
            reader.read("a", index)
    with pytest.raises(InvalidInput, match="step"):
        reader.read("u", 0, step=2)
    with pytest.raises(CorruptFile, match="no such file"):
        WellReader(tmp_path / "absent.h5")


def test_a_field_that_all_samples_share_is_stored_once_and_opens_in_the_well(tmp_path):
    grid = box(2, 6, ("x", "y"))
    f = np.random.default_rng(0).standard_normal(grid.shape)
    u = np.random.default_rng(1).standard_normal((3, 2, *grid.shape))
    with WellWriter(
        tmp_path / "d.h5", name="d", grid=grid, n=3, fields={"u": 0}, shared_fields={"f": f}, times=(0, 1)
    ) as writer:
        writer.write(0, {"u": u})
    with h5py.File(tmp_path / "d.h5") as file:
        assert file["t0_fields/f"].shape == grid.shape
    with WellReader(tmp_path / "d.h5") as reader:
        assert reader.constant_fields == {"f": 0}
        np.testing.assert_array_equal(
            reader.read("f", [2, 0]), np.broadcast_to(f.astype("f4"), (2, *grid.shape))
        )
    sample = WellDataset(path=str(tmp_path))[1]
    np.testing.assert_array_equal(sample["constant_fields"][..., 0], f.astype("f4"))
    with pytest.raises(InvalidInput, match="shared_fields"):
        WellWriter(
            tmp_path / "e.h5",
            name="d",
            grid=grid,
            n=3,
            fields={"u": 0},
            shared_fields={"f": f[1:]},
            times=(0, 1),
        )


def packed(arrays: dict[str, np.ndarray], fields: tuple[str, ...], rows: list[int]) -> dict:
    return {name: [pack_sample(arrays[name][row].astype("f4")) for row in rows] for name in fields}


def test_packed_samples_are_the_same_to_the_byte_as_written_ones(tmp_path, monkeypatch):
    monkeypatch.setattr("pdeflow.data.packed_chunks.LARGEST_CHUNK", 200)  # several chunks a sample
    grid = box(2, 7)
    arrays = steady_arrays(grid, 5)
    order = [3, 0, 4]
    with steady_writer(tmp_path / "whole.h5", grid, 3) as writer:
        writer.write(0, {name: values[order] for name, values in arrays.items()})
    fields = ("u", "a", "b")
    numbers = {name: values for name, values in arrays.items() if name not in fields}
    with steady_writer(tmp_path / "packed.h5", grid, 3) as writer:
        writer.write_packed(
            1, packed(arrays, fields, order[1:]), {k: v[order[1:]] for k, v in numbers.items()}
        )
        first = packed(arrays, fields, order[:1]), {k: v[order[:1]] for k, v in numbers.items()}
        writer.write_packed(0, *first)
        with pytest.raises(InvalidInput, match="not written yet"):
            writer.write_packed(0, *first)
        with pytest.raises(InvalidInput, match="same number of samples"):
            writer.write_packed(0, first[0], {})
        with pytest.raises(InvalidInput, match="chunks a sample"):
            writer.write_packed(0, first[0] | {"u": [first[0]["u"][0][1:]]}, first[1])
    with WellReader(tmp_path / "whole.h5") as whole, WellReader(tmp_path / "packed.h5") as other:
        for name in whole.names:
            np.testing.assert_array_equal(whole.read(name, slice(None)), other.read(name, slice(None)))
    again = tmp_path / "again.h5"
    with steady_writer(again, grid, 3) as writer:
        writer.write_packed(0, packed(arrays, fields, order), {k: v[order] for k, v in numbers.items()})
    assert again.read_bytes() == (tmp_path / "whole.h5").read_bytes()


def test_a_chunk_that_did_not_reach_the_disk_is_noticed(tmp_path, monkeypatch):
    grid = box(2, 7)
    sound = well_reader._packed_sum
    monkeypatch.setattr(well_reader, "_packed_sum", lambda data, row, at: sound(data, row, at) ^ (row == 2))
    with (
        pytest.raises(CorruptFile, match="of sample 2 is not what was written"),
        steady_writer(tmp_path / "d.h5", grid, 3) as writer,
    ):
        writer.write(0, steady_arrays(grid, 3))
    assert not (tmp_path / "d.h5").exists()
