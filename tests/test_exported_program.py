"""Surrogates as programs; that every operator has one is in tests/contracts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._inductor import config as inductor
from torch_geometric.data import Data

from pdeflow.data import Normalisation
from pdeflow.errors import InvalidInput, MissingDependency
from pdeflow.exported_program import FACTS, ExportFailed, export, exported
from pdeflow.grid import Grid
from pdeflow.operators import FNO, GNO, MgNO
from pdeflow.surrogate import Surrogate

STATISTICS = Normalisation(("a", "f"), ("u",), (1.0, -3.0), (2.0, 0.5), (10.0,), (4.0,))
GRID = Grid(("x", "y"), (0.0, 0.0), (1.0, 2.0), (8, 9))


@pytest.fixture
def surrogate() -> Surrogate:
    torch.manual_seed(0)
    return Surrogate(
        FNO(modes=[4, 5], width=4, layers=1, in_channels=2), STATISTICS, grid=GRID, time_step=0.5
    )


def test_round_trip(surrogate: Surrogate, tmp_path: Path) -> None:
    x = 5.0 + torch.randn(7, 2, 8, 9)
    wanted = surrogate(x)
    path = export(surrogate, tmp_path / "new/model.pt2")
    kept = {FACTS: ""}
    program = torch.export.load(path, extra_files=kept)
    assert (program.module()(x) - wanted).abs().max() < 1e-6 * wanted.abs().max()
    assert all(value.dtype == torch.float32 for value in {**program.state_dict, **program.constants}.values())
    found = json.loads(kept[FACTS])
    assert (found["operator"], found["inputs"], found["outputs"]) == ("FNO", ["a", "f"], ["u"])
    assert found["points"] == [8, 9]
    assert found["grid"]["upper"] == [1.0, 2.0]
    assert found["time_step"] == 0.5
    # The surrogate still has its complex weights.
    assert torch.equal(surrogate(x), wanted)
    assert any(p.is_complex() for p in surrogate.model.parameters())


@pytest.mark.parametrize("on", ["grids", "meshes"])
def test_weights_in_double_precision(surrogate: Surrogate, on: str, tmp_path: Path) -> None:
    nodes, shape = None, (2, 2, 8, 9)
    operator = surrogate.model.double()
    if on == "meshes":
        nodes, shape = torch.rand(20, 2, dtype=torch.float64), (2, 20, 1)
        operator = GNO(radius=0.7, width=4, kernel_width=4, layers=1).double()
    double = Surrogate(operator, STATISTICS if nodes is None else None, grid=GRID)
    path = export(double, tmp_path / "model.pt2", positions=None if nodes is None else nodes.numpy())
    kept, x = {FACTS: ""}, torch.randn(shape, dtype=torch.float64)
    found = torch.export.load(path, extra_files=kept).module()(x)
    assert json.loads(kept[FACTS])["dtype"] == "float64"
    if nodes is None:
        wanted = double(x)
    else:
        wanted = torch.stack([double(Data(x=one, pos=nodes.float())) for one in x])
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def test_another_grid(surrogate: Surrogate, tmp_path: Path) -> None:
    x = torch.randn(2, 2, 11, 12)
    kept = {FACTS: ""}
    path = export(surrogate, tmp_path / "model.pt2", (11, 12))
    found = torch.export.load(path, extra_files=kept).module()(x)
    torch.testing.assert_close(found, surrogate(x), rtol=1e-5, atol=1e-5)
    assert json.loads(kept[FACTS])["grid"]["points"] == [11, 12]


def test_what_cannot_be_exported(surrogate: Surrogate, tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(InvalidInput, match=r"ends in \.pt2"):
        export(surrogate, tmp_path / "model.onnx")
    with pytest.raises(InvalidInput, match="at least 5 points"):
        exported(surrogate, (8, 4))
    with pytest.raises(InvalidInput, match="knows no grid"):
        exported(Surrogate(MgNO(mesh=[8, 8], width=2, layers=1, levels=2)))
    with pytest.raises(InvalidInput, match=r"positions: .*operator on grids"):
        exported(surrogate, positions=np.zeros((3, 2)))
    on_meshes = Surrogate(GNO(radius=0.5, width=4, kernel_width=4))
    for arguments in ({}, {"points": (8, 9)}, {"points": (8, 9), "positions": np.zeros((3, 2))}):
        with pytest.raises(InvalidInput, match="operator on meshes"):
            exported(on_meshes, **arguments)
    with pytest.raises(InvalidInput, match=r"positions: got \(3, 1\), expected \(nodes, 2\)"):
        exported(on_meshes, positions=np.zeros((3, 1)))
    with (
        inductor.patch({"cpp.cxx": ("no-such-compiler",)}),
        pytest.raises(MissingDependency, match=r"(?s)needs a C\+\+ compiler.*Install"),
    ):
        export(surrogate, tmp_path / "model.pt2", compiled=True)
    monkeypatch.setattr(surrogate.model, "evaluate", lambda x: x if x.sum() > 0 else -x)
    with pytest.raises(ExportFailed, match=r"FNO: torch\.export cannot trace it"):
        exported(surrogate)
    assert list(tmp_path.iterdir()) == []
