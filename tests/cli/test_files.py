"""``convert`` and ``inspect``."""

from __future__ import annotations

import numpy as np
import torch

from pdeflow.data import WellReader


def test_convert_and_inspect(pdeflow, tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 2, (6, 16, 16)).astype(bool), rng.normal(size=(6, 16, 16)).astype(np.float32)
    torch.save({"x": torch.from_numpy(x), "y": torch.from_numpy(y)}, tmp_path / "train.pt")
    result = pdeflow("convert", "train.pt", "-o", "data/small.h5")
    assert result.code == 0, result.err
    assert "Next: pdeflow inspect data/small.h5" in result.out
    with WellReader("data/small.h5") as reader:
        assert reader.n == 6
        (name,) = reader.fields
        np.testing.assert_array_equal(reader.read(name, slice(None))[:, -1], y)

    result = pdeflow("inspect", "data/small.h5", "--plot", "pictures/x.png", "--verify")
    assert result.code == 0, result.err
    assert "16 x 16" in result.out
    assert "Verified" in result.out
    assert (tmp_path / "pictures" / "x.png").stat().st_size > 1000
    assert pdeflow("convert", "train.pt", "-o", "data/small.h5").code == 2
    assert pdeflow("convert", "train.pt", "-o", "data/small.h5", "--overwrite").code == 0


def test_a_picture_of_a_file_with_two_samples(pdeflow, tmp_path):
    np.savez("two.npz", a=np.ones((2, 8, 8)), u=np.zeros((2, 8, 8)))
    assert pdeflow("convert", "two.npz", "-o", "two.h5").code == 0
    result = pdeflow("inspect", "two.h5", "--plot", "two.png")
    assert result.code == 0, result.err
    assert (tmp_path / "two.png").stat().st_size > 1000


def test_a_picture_with_an_unknown_ending_is_refused_at_once(pdeflow, darcy_file):
    result = pdeflow("inspect", darcy_file, "--plot", "out.xyz")
    assert (result.code, result.out, result.is_short) == (2, "", True)
    assert ".png" in result.err


def test_convert_renames(pdeflow):
    np.savez("in.npz", coefficient=np.ones((3, 8)), solution=np.zeros((3, 8)))
    options = ["--inputs", "a=coefficient", "--targets", "u=solution", "--periodic", "x"]
    result = pdeflow("convert", "in.npz", "-o", "out.h5", *options)
    assert result.code == 0, result.err
    with WellReader("out.h5") as reader:
        assert (list(reader.constant_fields), list(reader.fields)) == (["a"], ["u"])
        assert reader.grid.periodic == (True,)


def test_pickled_code_in_a_pt_is_refused(pdeflow, tmp_path):
    class Evil:
        def __reduce__(self):
            return open, (str(tmp_path / "was_run"), "w")

    torch.save({"x": Evil(), "y": torch.zeros(2, 4)}, tmp_path / "evil.pt")
    result = pdeflow("convert", "evil.pt", "-o", "out.h5")
    assert result.code == 1
    assert result.is_short, result.err
    assert not (tmp_path / "was_run").exists()
    assert not (tmp_path / "out.h5").exists()


def test_verify_finds_a_flipped_bit(pdeflow, tmp_path, darcy_file):
    whole = bytearray(darcy_file.read_bytes())
    whole[len(whole) // 2] ^= 1
    (tmp_path / "flipped.h5").write_bytes(whole)
    result = pdeflow("inspect", "flipped.h5", "--verify")
    assert result.code == 1
    assert result.is_short, result.err


def test_verify_compares_with_the_record_and_the_equation(pdeflow, tmp_path):
    assert pdeflow("generate", "-c", "darcy", "-o", "x.h5", "-n", 3, "--resolution", 9).code == 0
    result = pdeflow("inspect", "x.h5", "--verify")
    assert result.code == 0, result.err
    for word in ("checksum    ok", "parameters  ok", "residual    ok: 3 of 3 samples"):
        assert word in result.out
    with (tmp_path / "x.h5").open("ab") as file:
        file.write(b"\0")
    result = pdeflow("inspect", "x.h5", "--verify")
    assert result.code == 1
    assert "checksum    DIFFERS" in result.out


def test_verify_says_what_it_cannot_check(pdeflow, darcy_file):
    result = pdeflow("inspect", darcy_file, "--verify")
    assert result.code == 0, result.err
    assert "record      not checked" in result.out
