"""``pdeflow export``: from a run to a file, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from torch._inductor import config as inductor

from pdeflow.grid import Grid
from pdeflow.operators import GNO, MgNO

GRID = Grid(("x", "y"), (0.0, 0.0), (1.0, 1.0), (8, 9))


@pytest.fixture
def saved(tmp_path):
    """The folder of a saved surrogate."""
    import pdeflow as package

    return package.save(MgNO(mesh=[8, 9], width=2, layers=1, levels=2), tmp_path / "saved", grid=GRID)


def test_export(pdeflow, saved, tmp_path):
    import pdeflow as package

    result = pdeflow("export", saved, "-o", "new/model.pt2")
    assert result.code == 0, result.err
    assert "(batch, 1, 8, 9) of input0 to (batch, 1, 8, 9) of output0" in result.out
    x = torch.randn(5, 1, 8, 9)
    found = torch.export.load(tmp_path / "new/model.pt2").module()(x)
    torch.testing.assert_close(found, package.load(saved)(x), rtol=1e-6, atol=1e-6)
    assert pdeflow("export", saved, "-o", "new/model.pt2").code == 2
    result = pdeflow("export", saved, "-o", "new/model.pt2", "--overwrite", "--points", 16, 17)
    assert "(batch, 1, 16, 17)" in result.out


def test_refused(pdeflow, saved, darcy_file):
    for arguments, said in (
        (("-o", "model.onnx"), "ends in .pt2"),
        (("-o", "model.pt2", "--points", 8), "2 spatial axes"),
        (("-o", "model.pt2", "--points", 8, 3), "at least 4 points"),
        (("-o", "model.pt2", "--mesh", darcy_file), "a file of meshes"),
        (("-o", "model.pt2", "--mesh", "none.h5"), "none.h5"),
        (("-o", "model.pt2", "--device", "nowhere"), "a device of this machine"),
    ):
        result = pdeflow("export", saved, *arguments)
        assert result.code in (1, 2), arguments
        assert result.is_short, result.err
        assert said in result.err, arguments
    with inductor.patch({"cpp.cxx": ("no-such-compiler",)}):
        result = pdeflow("export", saved, "-o", "model.pt2", "--aot")
    assert result.is_short
    assert "needs a C++ compiler" in result.err


def test_what_cannot_be_compiled_is_named_in_a_line(pdeflow, saved, tmp_path, monkeypatch):
    def refuses(*arguments, **settings):
        raise RuntimeError("no lowering for aten.some_operation" + "\nand more" * 20)

    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", refuses)
    result = pdeflow("export", saved, "-o", "model.pt2", "--aot")
    assert result.code == 1
    (line,) = result.err.strip().splitlines()
    assert "MgNO: AOTInductor cannot compile it; leave --aot out" in line
    assert "(no lowering for aten.some_operation)" in line
    assert not (tmp_path / "model.pt2").exists()
    assert pdeflow("export", saved, "-o", "model.pt2").code == 0


@pytest.mark.slow
def test_on_a_mesh(pdeflow, write_squares, tmp_path):
    import pdeflow as package
    from pdeflow.data import MeshGraphs

    write_squares(tmp_path / "squares.h5", [9, 11])
    model = GNO(radius=0.3, width=4, kernel_width=4, layers=1, in_channels=1)
    saved = package.save(model, tmp_path / "saved")
    result = pdeflow("export", saved, "-o", "model.pt2")
    assert "operator on meshes" in result.err
    assert pdeflow("export", saved, "-o", "model.pt2", "--mesh", "squares.h5", "--sample", 2).code == 2
    result = pdeflow("export", saved, "-o", "model.pt2", "--mesh", "squares.h5", "--sample", 1)
    assert result.code == 0, result.err
    graph = MeshGraphs(tmp_path / "squares.h5", ["a"], ["u"])[1]
    found = torch.export.load(tmp_path / "model.pt2").module()(graph.x[None])
    torch.testing.assert_close(found[0], package.load(saved)(graph), rtol=1e-5, atol=1e-6)
