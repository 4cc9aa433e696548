"""The inputs that ``predict`` finds in a file."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import torch

import pdeflow
from pdeflow.cli.predict import open_inputs, run
from pdeflow.data import Normalisation, WellReader, WellWriter
from pdeflow.errors import CorruptFile, InvalidInput, PdeflowError, UnsafeFile
from pdeflow.grid import Grid
from pdeflow.operators import FNO


def test_a_sample_whose_solve_failed_has_inputs_like_any_other(tmp_path):
    grid = Grid(("x", "y"), (0.0, 0.0), (1.0, 1.0), (5, 4))
    a = np.random.default_rng(0).random((6, 5, 4)).astype("f4")
    u = np.stack([0 * a, a], axis=1)
    u[2] = np.nan
    with WellWriter(
        tmp_path / "d.h5",
        name="d",
        grid=grid,
        n=6,
        fields={"u": 0},
        constant_fields={"a": 0},
        times=(0, 1),
        attributes={"steady": True},
        diagnostics={"status": "int8"},
    ) as writer:
        writer.write(0, {"a": a, "u": u, "status": np.array([0, 0, 1, 0, 0, 0], "int8")})
    inputs = open_inputs(tmp_path / "d.h5", ["a"], 2)
    assert inputs.n == 6
    found = np.concatenate([inputs.read(0, 4), inputs.read(4, 6)])
    np.testing.assert_array_equal(found, a[:, None])


def test_channels_of_an_npz(tmp_path):
    a, f = np.random.default_rng(0).random((2, 3, 5, 4))
    np.savez(tmp_path / "d.npz", f=f, a=a, other=np.zeros(7))
    inputs = open_inputs(tmp_path / "d.npz", ["a", "f"], 2)
    np.testing.assert_array_equal(inputs.read(0, 3), np.stack([a, f], axis=1))
    np.savez(tmp_path / "one.npz", f=f[0], a=a[0])
    np.testing.assert_array_equal(open_inputs(tmp_path / "one.npz", ["a", "f"], 2).read(0, 1)[0, 0], a[0])
    np.savez(tmp_path / "bad.npz", f=f[:2], a=a)
    with pytest.raises(InvalidInput, match="all alike"):
        open_inputs(tmp_path / "bad.npz", ["a", "f"], 2)


@pytest.mark.parametrize("name", ["d.npz", "d.npy"])
def test_damaged_numpy_files_are_named(tmp_path, name):
    path = tmp_path / name
    a = np.random.default_rng(0).random((3, 5, 4))
    if name == "d.npz":
        np.savez(path, a=a)
    else:
        np.save(path, a)
    whole = path.read_bytes()
    for size in range(0, len(whole), 11):
        path.write_bytes(whole[:size])
        with pytest.raises(CorruptFile, match=name):
            open_inputs(path, ["a"], 2)
    for position in range(0, 128):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 8]) + whole[position + 1 :])
        # A flip in a name or a shape is another file; anything else must be an error that a user can read.
        with contextlib.suppress(PdeflowError):
            open_inputs(path, ["a"], 2).read(0, 3)


def test_pickles_are_refused(tmp_path):
    objects = np.array([{"a": 1}], dtype=object)
    np.savez(tmp_path / "d.npz", a=objects)
    with pytest.raises(UnsafeFile, match=r"d\.npz.*pickled"):
        open_inputs(tmp_path / "d.npz", ["a"], 1)
    np.save(tmp_path / "d.npy", objects, allow_pickle=True)
    with pytest.raises(CorruptFile, match=r"d\.npy"):
        open_inputs(tmp_path / "d.npy", ["a"], 1)


def test_an_archive_named_npy_is_refused(tmp_path):
    np.savez(tmp_path / "d.npz", a=np.zeros((3, 4)))
    (tmp_path / "d.npz").rename(tmp_path / "d.npy")
    with pytest.raises(CorruptFile, match=r"d\.npy"):
        open_inputs(tmp_path / "d.npy", ["a"], 1)


def march_folder(tmp_path, names=("w", "k"), targets=("w",)):
    """A surrogate of one step, untrained, and a file of trajectories with a constant."""
    torch.manual_seed(0)
    model = FNO([4], width=4, layers=1, in_channels=len(names), positions=None)
    numbers = ([0.5] * len(names), [2.0] * len(names), [0.5], [2.0])
    pdeflow.save(model, tmp_path / "step", Normalisation(names, targets, *numbers), time_step=0.25)
    grid = Grid(("x",), (0.0,), (1.0,), (8,), (True,))
    w = np.random.default_rng(0).standard_normal((5, 3, 8)).astype("f4")
    with WellWriter(
        tmp_path / "d.h5", name="d", grid=grid, n=5, fields={"w": 0}, scalars=["k"], times=(0.0, 0.25, 0.5)
    ) as writer:
        writer.write(0, {"w": w, "k": np.arange(5.0)})
    return pdeflow.load(tmp_path / "step"), w


@pytest.mark.parametrize("output", ["out.h5", "out.npz"])
def test_steps_march_from_the_first_instant(tmp_path, output):
    surrogate, w = march_folder(tmp_path)
    command = [str(tmp_path / "step"), str(tmp_path / "d.h5"), "-o", str(tmp_path / output)]
    assert run([*command, "--steps", "4", "--batch_size", "2"]) == 0
    inputs = np.stack([w[:, 0], np.broadcast_to(np.arange(5.0)[:, None], (5, 8))], axis=1).astype("f4")
    expected = np.concatenate([w[:, None, 0], surrogate.rollout(inputs, 4)[:, :, 0]], axis=1)
    if output.endswith("npz"):
        with np.load(tmp_path / output) as stored:
            found = stored["w"]
    else:
        reader = WellReader(tmp_path / output)
        assert reader.times.tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
        assert not reader.steady
        found = reader.read("w", slice(None))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_what_cannot_march_says_why(tmp_path):
    march_folder(tmp_path)
    command = [str(tmp_path / "step"), str(tmp_path / "d.h5"), "-o", str(tmp_path / "out.h5")]
    with pytest.raises(InvalidInput, match="--steps: got 0"):
        run([*command, "--steps", "0"])
    (tmp_path / "other").mkdir()
    surrogate, w = march_folder(tmp_path / "other", names=("a", "k"))
    with pytest.raises(InvalidInput, match="Train on TrajectoryData"):
        surrogate.rollout(np.stack([w[:, 0], w[:, 0]], axis=1), 2)


def test_what_has_diverged_is_counted(tmp_path, capsys):
    surrogate, _ = march_folder(tmp_path)
    for weight in surrogate.model.parameters():
        weight.data.mul_(40.0)
    pdeflow.save(surrogate.model, tmp_path / "step", surrogate.normalisation)
    command = [str(tmp_path / "step"), str(tmp_path / "d.h5"), "--steps", "9"]
    with pytest.raises(InvalidInput, match="does not know the time of its step"):
        run([*command, "-o", str(tmp_path / "out.h5")])
    assert run([*command, "-o", str(tmp_path / "out.npz")]) == 0
    assert "5 of them left all bounds" in capsys.readouterr().out


def test_a_file_whose_axes_end_otherwise_than_the_operator_takes_is_refused(tmp_path):
    march_folder(tmp_path)  # its file wraps around
    pdeflow.save(
        FNO([4], width=4, layers=1), tmp_path / "bounded", Normalisation(("w",), ("w",), *[(1.0,)] * 4)
    )
    pdeflow.save(
        FNO([4], width=4, layers=1, positions="periodic"),
        tmp_path / "periodic",
        Normalisation(("w",), ("w",), *[(1.0,)] * 4),
    )
    out = str(tmp_path / "new" / "out.npz")
    for steps in ([], ["--steps", "2"]):
        with pytest.raises(
            InvalidInput, match=r"d\.h5: got 'axes of which x wraps around'.*'bounded'\): x ends"
        ):
            run([str(tmp_path / "bounded"), str(tmp_path / "d.h5"), "-o", out, *steps])
    assert not (tmp_path / "new").exists()
    assert run([str(tmp_path / "periodic"), str(tmp_path / "d.h5"), "-o", out]) == 0
    # A file of numbers alone says nothing of ends.
    np.savez(tmp_path / "d.npz", w=np.zeros((2, 8), "f4"))
    assert run([str(tmp_path / "bounded"), str(tmp_path / "d.npz"), "-o", str(tmp_path / "other.npz")]) == 0
