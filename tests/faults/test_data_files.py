"""Damaged, dishonest and dangerous data files: a clear error, never a wrong number, nothing lost."""

from __future__ import annotations

import errno
import io
import os
import pickle
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from pdeflow.data import GridSamples, WellReader, WellWriter, convert, inspect
from pdeflow.data.foreign import Wishes
from pdeflow.data.hdf5_safety import open_checked
from pdeflow.data.neuraloperator_pt import open_neuraloperator
from pdeflow.data.npz_arrays import read_arrays
from pdeflow.errors import CorruptFile, InvalidInput, PdeflowError, UnsafeFile, WriteFailed
from pdeflow.grid import Grid

GRID = Grid(("x", "y"), (0, 0), (1, 1), (8, 8))
N = 6


def write(path: Path, **changes: np.ndarray) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((N, 8, 8))
    arrays = {"a": a, "u": np.stack([0 * a, 2 * a], axis=1), "k": rng.random(N), **changes}
    with WellWriter(
        path,
        name="faults",
        grid=GRID,
        n=N,
        fields={"u": 0},
        constant_fields={"a": 0},
        times=(0, 1),
        scalars=["k"],
        boundary={side: "WALL" for side in ("x-", "x+", "y-", "y+")},
        attributes={"steady": True, "recipe": "darcy, tau = 3"},
    ) as writer:
        writer.write(0, arrays)
    return arrays


@pytest.fixture
def path(tmp_path):
    write(tmp_path / "d.h5")
    return tmp_path / "d.h5"


def everything(path) -> dict[str, object]:
    """All that a reader can tell about a file."""
    with WellReader(path) as reader:
        told = {name: reader.read(name, slice(None)).tobytes() for name in reader.names}
        known = (reader.name, reader.n, reader.grid, reader.fields, reader.boundary, reader.attributes)
        return {**told, "": repr(known), "times": reader.times.tobytes()}


# Damage ---------------------------------------------------------------------------------------------


def test_absent_empty_and_other_files(tmp_path):
    cases = {
        "empty.h5": b"",
        "text.h5": b"x,y\n1,2\n",
        "zeros.h5": bytes(4096),
        "pickle.h5": pickle.dumps([1]),
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CorruptFile, match=name) as error:
            WellReader(tmp_path / name)
        assert len(str(error.value).splitlines()) <= 5
    with pytest.raises(CorruptFile, match="no such file"):
        WellReader(tmp_path / "absent.h5")
    with pytest.raises(CorruptFile, match="folder"):
        WellReader(tmp_path)


def test_every_truncation_is_seen(path):
    whole = path.read_bytes()
    for size in np.linspace(0, len(whole) - 1, 60).astype(int):
        path.write_bytes(whole[:size])
        with pytest.raises(CorruptFile):
            everything(path)


def test_no_flipped_bit_gives_a_wrong_number(path):
    whole, expected = path.read_bytes(), everything(path)
    rng = np.random.default_rng(0)
    caught = 0
    for position, bit in zip(rng.integers(0, len(whole), 200), rng.integers(0, 8, 200)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << bit
        path.write_bytes(damaged)
        try:
            # A flip in unused space changes nothing; any other must be an error that a user can read.
            assert everything(path) == expected, position
        except PdeflowError:
            caught += 1
    assert caught > 100


def test_a_damaged_sample_is_named(path):
    with h5py.File(path, "r") as file:
        where = file["t0_fields/u"].id.get_chunk_info(4)
    damaged = bytearray(path.read_bytes())
    damaged[where.byte_offset + where.size // 2] ^= 8
    path.write_bytes(damaged)
    with WellReader(path) as reader:
        reader.read("u", [0, 1, 2, 3, 5])
        with pytest.raises(CorruptFile, match="'u' of sample 4"):
            reader.read("u", slice(None))
        with pytest.raises(CorruptFile, match="'u' of sample 4"):
            reader.verify()
        samples = GridSamples([reader], np.arange(N), ["a"], ["u"])
        with pytest.raises(CorruptFile, match="'u' of sample 4"):
            samples.load()


def test_edited_attributes_are_seen(path):
    with h5py.File(path, "r+") as file:
        file["boundary_conditions/x_wall"].attrs["bc_type"] = "OPEN"
    with pytest.raises(CorruptFile, match="attributes"):
        WellReader(path)


# Files that reach out -------------------------------------------------------------------------------


def refuse(path, match):
    with pytest.raises(UnsafeFile, match=match):
        WellReader(path)
    with pytest.raises(UnsafeFile, match=match):
        inspect(path)
    with pytest.raises(UnsafeFile, match=match):
        convert(path, path.with_name("out.h5"))
    assert not path.with_name("out.h5").exists()


@pytest.mark.parametrize("where", ["t0_fields/u", "extra", "boundary_conditions/x_wall/more"])
def test_external_link(path, tmp_path, where):
    write(tmp_path / "secret.h5")
    with h5py.File(path, "r+") as file:
        file.pop(where, None)
        file[where] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/t0_fields/u")
    refuse(path, f"{where} is a link into another file")


def test_soft_link_and_hard_link(path):
    with h5py.File(path, "r+") as file:
        file["t0_fields/v"] = h5py.SoftLink("/t0_fields/u")
    refuse(path, "/t0_fields/v is a soft link")
    with h5py.File(path, "r+") as file:
        del file["t0_fields/v"]
        file["t0_fields/loop"] = file["/"]
    refuse(path, "second name")


def test_virtual_data_set(path, tmp_path):
    write(tmp_path / "secret.h5")
    layout = h5py.VirtualLayout(shape=(N, 2, 8, 8), dtype="f4")
    layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "t0_fields/u", shape=(N, 2, 8, 8))
    with h5py.File(path, "r+") as file:
        file.create_virtual_dataset("t0_fields/v", layout)
    refuse(path, "/t0_fields/v is a virtual data set")


def test_external_storage(path):
    with h5py.File(path, "r+") as file:
        file.create_dataset("t0_fields/v", (16,), "u1", external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)])
    refuse(path, "external storage")


def test_unknown_filter_and_references(path):
    with h5py.File(path, "r+") as file:
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((4,))
        # An optional filter that is not installed: reading would look for a plug-in to load.
        plist.set_filter(32015, h5py.h5z.FLAG_OPTIONAL)
        h5py.h5d.create(file.id, b"packed", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((4,)), plist)
    refuse(path, "32015")
    with h5py.File(path, "r+") as file:
        del file["packed"]
        file.create_dataset("pointers", data=np.array([file.ref], dtype=h5py.ref_dtype), dtype=h5py.ref_dtype)
    refuse(path, "references")


# Files that lie about their size ----------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"chunks": (1, 1024, 1024)}, {}])
def test_a_bomb_of_fill_values(path, options):
    with h5py.File(path, "r+") as file:
        file.create_dataset("t0_fields/bomb", (100_000, 1024, 1024), "f4", **options)
    assert path.stat().st_size < 1 << 20
    refuse(path, "/t0_fields/bomb declares")


def test_a_few_missing_chunks(path):
    with h5py.File(path, "r+") as file:
        file.create_dataset("t0_fields/v", (4, 8), "f4", chunks=(1, 8))[:3] = 1
    refuse(path, "declares 4 chunks but stores 3")


def test_stacked_and_scale_offset_compression(path):
    with h5py.File(path, "r+") as file:
        n = 1 << 23
        file.create_dataset(
            "t0_fields/v", data=np.zeros(n, "i4"), chunks=(n,), scaleoffset=0, compression="gzip"
        )
    refuse(path, "stores only")


# Contradictions ---------------------------------------------------------------------------------------


def rebuilt(path, change):
    """Apply ``change`` as someone would who makes files by other means: no checksum over attributes."""
    with h5py.File(path, "r+") as file:
        del file.attrs["metadata_crc32"]
        change(file)


def replace(name, values, **attributes):
    def change(file):
        kept = dict(file[name].attrs)
        del file[name]
        file[name] = values
        file[name].attrs.update({**kept, **attributes})

    return change


CONTRADICTIONS = {
    "rank": (replace("t0_fields/u", np.zeros((N, 8, 8), "f4")), "'u' has shape"),
    "grid": (replace("t0_fields/u", np.zeros((N, 2, 8, 9), "f4")), "'u' has shape"),
    "samples": (replace("t0_fields/a", np.zeros((N - 1, 8, 8), "f4")), "'a' has shape"),
    "steps": (replace("dimensions/time", np.arange(3.0)), "has shape"),
    "complex": (replace("t0_fields/u", np.zeros((N, 2, 8, 8), "c8")), "real numbers"),
    "text": (replace("t0_fields/u", np.full((N, 2, 8, 8), b"x")), "real numbers"),
    "field gone": (lambda file: file.__delitem__("t0_fields/u"), "t0_fields/u is missing"),
    "group gone": (lambda file: file.__delitem__("t2_fields"), "no group /t2_fields"),
    "axis gone": (lambda file: file.__delitem__("dimensions/y"), "dimensions/y is missing"),
    "axis NaN": (replace("dimensions/y", np.full(8, np.nan)), "finite"),
    "axis 2D": (replace("dimensions/y", np.zeros((2, 8))), "coordinate 'y' has shape"),
    "mask": (replace("boundary_conditions/x_wall/mask", np.ones(3, bool)), "mask"),
    "attribute gone": (lambda file: file["t0_fields/u"].attrs.__delitem__("time_varying"), "time_varying"),
    "no samples": (lambda file: file.attrs.modify("n_trajectories", 0), "contradict"),
    "not a number": (lambda file: file.attrs.create("n_trajectories", "many"), "cannot be read"),
    "dimensions": (lambda file: file.attrs.modify("n_spatial_dims", 3), "contradict"),
    "ends": (lambda file: file["dimensions/x"].attrs.modify("upper", 7.0), "contradict its nodes"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_contradictions_are_named(path, case):
    change, message = CONTRADICTIONS[case]
    rebuilt(path, change)
    with pytest.raises(CorruptFile, match=message) as error:
        WellReader(path)
    assert str(path) in str(error.value)


def test_hdf5_of_something_else(tmp_path):
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file["layer/kernel"] = np.zeros(3)
    with pytest.raises(CorruptFile, match="The Well's layout"):
        WellReader(tmp_path / "weights.h5")
    with pytest.raises(InvalidInput, match="PDEBench"):
        convert(tmp_path / "weights.h5", tmp_path / "out.h5")


# Values -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_located(tmp_path, value):
    u = np.zeros((N, 2, 8, 8))
    u[2, 1, 3, 3] = u[5, 1, 0, 0] = value
    write(tmp_path / "d.h5", u=u)
    reader = WellReader(tmp_path / "d.h5")
    with pytest.raises(InvalidInput, match=r"'u'.*2 of 6 samples: 2, 5") as error:
        GridSamples([reader], np.arange(N), ["a"], ["u"]).load()
    assert "d.h5" in str(error.value)
    assert "Generate or convert" in str(error.value)
    # Rows that are not used do not matter.
    GridSamples([reader], np.array([0, 1, 3, 4]), ["a"], ["u"]).load()
    assert "NaN or infinity in 2" in inspect(tmp_path / "d.h5").text()


def test_values_too_large_for_float32_are_located(tmp_path):
    grid = Grid(("x",), (0,), (1,), (4,))
    u = np.ones((3, 2, 4))
    u[1, 1, 2] = 1e39
    with WellWriter(
        tmp_path / "d.h5", name="d", grid=grid, n=3, fields={"u": 0}, constant_fields={"a": 0}, times=(0, 1),
        attributes={"steady": True}, dtype="float64",
    ) as writer:  # fmt: skip
        writer.write(0, {"u": u, "a": u[:, 0]})
    with pytest.raises(InvalidInput, match="float32") as error:
        GridSamples([WellReader(tmp_path / "d.h5")], np.arange(3), ["a"], ["u"]).load()
    assert "1 of 3 samples: 1" in str(error.value)


# Other formats ------------------------------------------------------------------------------------------


class Payload:
    def __reduce__(self):
        return os.system, ("touch /tmp/pdeflow_was_here",)


@pytest.mark.parametrize("legacy", [False, True])
def test_pickled_code_in_a_torch_file_does_not_run(tmp_path, legacy):
    source = tmp_path / "d.pt"
    torch.save({"x": Payload(), "y": torch.zeros(2, 3, 3)}, source, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(UnsafeFile, match="run code"):
        convert(source, tmp_path / "out.h5")
    assert not Path("/tmp/pdeflow_was_here").exists()
    assert not (tmp_path / "out.h5").exists()


def test_a_torch_tensor_larger_than_its_storage(tmp_path):
    torch.save({"x": torch.zeros(1).expand(10**6, 10**3, 10**3), "y": torch.zeros(1)}, tmp_path / "d.pt")
    with pytest.raises(UnsafeFile, match="more than it stores"):
        convert(tmp_path / "d.pt", tmp_path / "out.h5")


def test_pickled_arrays_in_npz(tmp_path):
    np.savez(tmp_path / "d.npz", a=np.array([Payload()], dtype=object), u=np.zeros((1, 4)))
    with pytest.raises(UnsafeFile, match="pickled Python objects"):
        convert(tmp_path / "d.npz", tmp_path / "out.h5")
    assert not Path("/tmp/pdeflow_was_here").exists()


def test_an_npz_header_beyond_its_bytes(tmp_path):
    np.save(tmp_path / "u.npy", np.zeros((2, 4)))
    content = (tmp_path / "u.npy").read_bytes().replace(b"(2, 4)", b"(9, 4)")
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("u.npy", content)
    with pytest.raises(UnsafeFile, match=r"declares shape \(9, 4\)"):
        convert(tmp_path / "d.npz", tmp_path / "out.h5")


@pytest.mark.parametrize("kind", ["d.pt", "legacy.pt", "d.npz", "d.h5"])
def test_truncated_sources(tmp_path, kind):
    source = tmp_path / kind
    tensors = {"x": torch.rand(20, 8, 8), "y": torch.rand(20, 8, 8)}
    if kind.endswith("pt"):
        torch.save(tensors, source, _use_new_zipfile_serialization=kind == "d.pt")
    elif kind == "d.npz":
        np.savez_compressed(source, a=tensors["x"], u=tensors["y"])
    else:
        with h5py.File(source, "w") as file:
            file["tensor"], file["nu"] = tensors["y"][:, None], tensors["x"]
    whole = source.read_bytes()
    convert(source, tmp_path / "good.h5")
    for size in (0, 10, len(whole) // 2, len(whole) - 30):
        source.write_bytes(whole[:size])
        with pytest.raises(PdeflowError):
            convert(source, tmp_path / "out.h5")
        assert not (tmp_path / "out.h5").exists()
        assert not (tmp_path / "out.h5.partial").exists()


def test_a_flipped_bit_in_npz_is_seen_by_its_checksum(tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "d.npz", a=rng.random((9, 16)), u=rng.random((9, 16)))
    damaged = bytearray((tmp_path / "d.npz").read_bytes())
    damaged[600] ^= 1
    (tmp_path / "d.npz").write_bytes(damaged)
    with pytest.raises(CorruptFile, match="CRC"):
        convert(tmp_path / "d.npz", tmp_path / "out.h5")


def test_no_flipped_bit_in_a_torch_file_gives_a_wrong_number(tmp_path):
    source = tmp_path / "d.pt"
    torch.save({"x": torch.rand(9, 4, 4), "y": torch.rand(9, 4, 4)}, source)

    def held() -> bytes:
        block = next(open_neuraloperator(source, Wishes()).blocks(9))
        return block["a"].tobytes() + block["u"].tobytes()

    whole, expected = source.read_bytes(), held()
    rng = np.random.default_rng(0)
    caught = 0
    for position, bit in zip(rng.integers(0, len(whole), 200), rng.integers(0, 8, 200)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << bit
        source.write_bytes(damaged)
        try:
            assert held() == expected, position
        except PdeflowError:
            caught += 1
    assert caught > 50
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        entry = next(e for e in archive.infolist() if "/data/" in e.filename and e.file_size == 9 * 16 * 4)
    damaged = bytearray(whole)
    at = whole.index(entry.filename.encode()) + 100
    damaged[at : at + 64] = bytes(255 - byte for byte in whole[at : at + 64])
    source.write_bytes(damaged)
    with pytest.raises(CorruptFile, match=f"{source}.*checksum"):
        convert(source, tmp_path / "out.h5")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_no_damage_to_an_npz_gives_a_wrong_number(tmp_path, save):
    source = tmp_path / "d.npz"
    rng = np.random.default_rng(0)
    arrays = {
        "a": rng.random((9, 4)),
        "flags": np.zeros((0, 3), bool),
        "f": np.asfortranarray(rng.random((3, 2))),
    }
    save(source, **arrays)
    whole = source.read_bytes()

    def check() -> None:
        held = read_arrays(source)
        for name in held:
            np.testing.assert_array_equal(held[name], arrays[name], strict=True)

    check()
    assert list(read_arrays(source)) == list(arrays)
    for size in range(0, len(whole), 7):
        source.write_bytes(whole[:size])
        with pytest.raises(CorruptFile, match="not a readable"):
            read_arrays(source)
    caught = 0
    for position in range(0, len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << rng.integers(0, 8)
        source.write_bytes(damaged)
        try:
            check()
        except PdeflowError:
            caught += 1
    assert caught > len(whole) // 2


def test_an_npz_entry_that_claims_terabytes(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (2**27,)})
    content = header.getvalue() + bytes(64)
    size = len(content)
    with zipfile.ZipFile(tmp_path / "d.npz", "w") as archive:
        archive.writestr("u.npy", content)
    whole = bytearray((tmp_path / "d.npz").read_bytes())
    directory = whole.rindex(b"PK\x01\x02")
    assert struct.unpack_from("<I", whole, directory + 24) == (size,)
    struct.pack_into("<I", whole, directory + 24, len(header.getvalue()) + 2**30)
    (tmp_path / "d.npz").write_bytes(whole)
    with pytest.raises(UnsafeFile, match="more than a file of"):
        read_arrays(tmp_path / "d.npz")


# The disk -------------------------------------------------------------------------------------------------

FILL = """
import sys
sys.path.insert(0, {here!r})
import resource
import numpy as np
from pdeflow.data import WellWriter
from pdeflow.errors import WriteFailed
from pdeflow.grid import Grid
limit = {limit}
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
grid = Grid(("x", "y"), (0, 0), (1, 1), (64, 64))
rng = np.random.default_rng(0)
try:
    with WellWriter({path!r}, name="d", grid=grid, n=400, fields={{"u": 0}}, times=(0, 1)) as writer:
        for i in range(400):
            writer.write(i, {{"u": rng.standard_normal((1, 2, 64, 64))}})
except WriteFailed as error:
    print(error)
else:
    print("written")
"""


def fill(path: Path, limit: int = 0) -> str:
    code = FILL.format(here=str(Path(__file__).parents[2]), path=str(path), limit=limit)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_limit_on_file_size(tmp_path):
    path = tmp_path / "d.h5"
    write(path)
    before = path.read_bytes()
    told = fill(path, limit=1 << 20)
    assert "exceeds the size" in told
    assert "recorded before is intact" in told
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["d.h5"]


def test_a_full_disk(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    mount = shutil.which("mount")
    if (
        not mount
        or subprocess.run(
            [mount, "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True
        ).returncode
    ):
        pytest.skip("mounting a small file system is not permitted here")
    try:
        write(folder / "old.h5")
        told = fill(folder / "d.h5")
        assert "the disk is full" in told
        assert "Free some space, then run the same command again." in told
        assert [entry.name for entry in folder.iterdir()] == ["old.h5"]
        WellReader(folder / "old.h5").verify()
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_while_flushing(tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pdeflow.atomic_file.os.fsync", full)
    with pytest.raises(WriteFailed, match="the disk is full"):
        write(tmp_path / "d.h5")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(WriteFailed, match="folder does not exist"):
        write(tmp_path / "absent" / "d.h5")


def test_a_killed_writer_leaves_only_a_partial_file(tmp_path):
    path = tmp_path / "d.h5"
    code = FILL.format(here=str(Path(__file__).parents[2]), path=str(path), limit=0)
    code = code.replace(
        "writer.write(i,",
        "(i == 200 and __import__('os').kill(__import__('os').getpid(), 9)); writer.write(i,",
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120)
    assert done.returncode == -9
    assert [entry.name for entry in tmp_path.iterdir()] == ["d.h5.partial"]
    write(path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["d.h5"]


def test_open_checked_gives_back_a_good_file(path):
    with open_checked(path) as file:
        assert file.attrs["dataset_name"] == "faults"
