"""Files whose axes end where those of the training wrap around, or the reverse, are refused by every verb."""

from __future__ import annotations

import pytest

from pdeflow.data import WellReader, WellWriter
from pdeflow.grid import Grid

REFUSED = ("got 'axes of which x and y wrap around'", "(model.positions is 'bounded'): x and y end at sides")


@pytest.fixture
def files(tmp_path, darcy_file):
    """The samples of ``darcy_file`` in a file whose axes wrap around, and in one that does not say."""
    reader = WellReader(darcy_file)
    for name, around in (("around.h5", True), ("silent.h5", False)):
        grid = Grid(("x", "y"), (0.0, 0.0), (1.0, 1.0), (17, 17), (around, around))
        with WellWriter(
            tmp_path / name,
            name="d",
            grid=grid,
            n=40,
            fields={"u": 0},
            constant_fields={"a": 0},
            times=(0.0, 1.0),
            attributes={"steady": True},
        ) as writer:
            writer.write(0, {key: reader.read(key, slice(None)) for key in ("a", "u")})


@pytest.mark.slow
def test_files_that_contradict_the_training_are_refused(pdeflow, files, darcy_file, tiny, tmp_path):
    command = ("fit", "-c", "darcy_fno", f"--data.path={darcy_file}", *tiny, "--trainer.max_epochs=1")
    result = pdeflow(*command, "--data.test_paths=[around.h5]")
    assert result.code == 2
    assert all(said in result.err for said in ("around.h5", *REFUSED)), result.err
    assert not (tmp_path / "runs").exists()
    assert pdeflow(*command).code == 0

    for arguments in (
        ("predict", "darcy_fno", "around.h5", "-o", "new/out.h5"),
        ("test", "darcy_fno", "--data.test_paths=[around.h5]"),
        ("test", "darcy_fno", "--data.path=around.h5"),
        ("validate", "darcy_fno", "--data.path=around.h5"),
    ):
        result = pdeflow(*arguments)
        assert result.code == 2, arguments
        assert result.is_short, result.err
        assert all(said in result.err for said in ("around.h5", *REFUSED)), (arguments, result.err)
        assert "train on such data with model.positions: periodic" in result.err
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "runs/darcy_fno/test").exists()

    for arguments in (
        ("predict", "darcy_fno", "silent.h5", "-o", "out.h5"),
        ("predict", "darcy_fno", darcy_file, "-o", "out.npz"),
        ("test", "darcy_fno", "--data.test_paths=[silent.h5]"),
        ("validate", "darcy_fno", "--data.path=silent.h5"),
    ):
        result = pdeflow(*arguments)
        assert result.code == 0, (arguments, result.err)
