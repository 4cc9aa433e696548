"""Surrogates as programs; that every operator has one is in tests/contracts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._inductor import config as inductor
from torch_geometric.data import Data

from pdeflow.data import Normalisation
from pdeflow.errors import InvalidInput, MissingDependency
from pdeflow.exported_program import FACTS, ExportFailed, export, exported
from pdeflow.grid import Grid
from pdeflow.operators import (
    CODANO,
    FNO,
    GINO,
    GNO,
    LNO,
    MKGN,
    TFNO,
    UNO,
    DeepONet,
    GraphOperator,
    LocalNO,
    MeanVariance,
    MgNO,
    MultiONet,
    Operator,
    UNet,
)
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


FOURIER = {"modes": [4, 4], "width": 4, "in_channels": 2}
ON_MESHES = {"width": 4, "kernel_width": 4, "layers": 2, "in_channels": 2}
GRID_OF_GINO = {"grid": [6, 6], "lower": [0.0, 0.0], "upper": [1.0, 1.0]}
COMPILED: dict[str, Callable[[], Operator]] = {
    "FNO": lambda: FNO(layers=2, **FOURIER),
    "FNO in 1D": lambda: FNO(modes=[4], width=4, layers=1, in_channels=2),
    "FNO in 3D": lambda: FNO(modes=[4, 4, 4], width=2, layers=1, in_channels=2),
    "TFNO": lambda: TFNO(layers=2, rank=0.5, **FOURIER),
    "UNO": lambda: UNO(depth=1, **FOURIER),
    "LocalNO": lambda: LocalNO(layers=1, **FOURIER),
    "CODANO": lambda: CODANO(layers=1, **FOURIER),
    "MgNO": lambda: MgNO(mesh=[8, 9], width=4, layers=2, levels=3, in_channels=2),
    "MgNO on another grid": lambda: MgNO([5, 6], 4, layers=1, levels=2, in_channels=2, boundary="periodic"),
    "LNO": lambda: LNO(dim=2, width=4, layers=2, rank=2, kernel_width=4, in_channels=2),
    "DeepONet": lambda: DeepONet(sensors=[8, 9], width=8, layers=1, basis=4, in_channels=2),
    "MultiONet": lambda: MultiONet(sensors=[8, 9], width=8, layers=2, in_channels=2),
    "UNet": lambda: UNet(dim=2, width=4, depth=1, in_channels=2),
    "MeanVariance": lambda: MeanVariance(FNO(layers=1, out_channels=2, **FOURIER)),
    "GNO": lambda: GNO(radius=0.5, **ON_MESHES),
    "MKGN": lambda: MKGN([10, 4], inner=[0.5, 0.8, 2.0], inter=[0.5, 0.8], **ON_MESHES),
    "GINO": lambda: GINO(modes=[3, 3], in_radius=0.3, out_radius=0.2, **GRID_OF_GINO, **ON_MESHES),
}
NOT_COMPILED: dict[str, Callable[[], Operator]] = {
    "UNO in 3D": lambda: UNO(modes=[4, 4, 4], width=2, depth=1, in_channels=2),
    "CODANO in 3D": lambda: CODANO(modes=[4, 4, 4], width=2, layers=1, in_channels=2),
}
"""On three axes neuraloperator goes from grid to grid by Fourier series in complex numbers."""


def to_export(make: Callable[[], Operator]) -> tuple[Surrogate, dict[str, Any], Callable[..., Tensor]]:
    """A surrogate, for which grid or mesh it is to be exported, and what its program has to give."""
    torch.manual_seed(0)
    surrogate = Surrogate(make(), STATISTICS)
    model = surrogate.model
    if isinstance(model, GraphOperator):
        nodes = torch.from_numpy(np.random.default_rng(0).random((40, 2)).astype("f4"))

        def on_mesh(x: Tensor) -> Tensor:
            return torch.stack([surrogate(Data(x=one, pos=nodes)) for one in x])

        return surrogate, {"positions": nodes.numpy()}, on_mesh
    points = (8, 9, 10)[: model.dim]
    if isinstance(model, MeanVariance):
        return surrogate, {"points": points}, lambda x: torch.cat(surrogate.predict_with_std(x), dim=1)
    return surrogate, {"points": points}, surrogate


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ not installed")
@pytest.mark.parametrize("name", COMPILED)
def test_compiled_to_machine_code(name: str, tmp_path: Path) -> None:
    """Every operator, for one sample as for several."""
    surrogate, where, wanted = to_export(COMPILED[name])
    path = export(surrogate, tmp_path / "model.pt2", **where, compiled=True)
    program: Any = torch._inductor.aoti_load_package(str(path))
    shape = (40, 2) if "positions" in where else (2, *where["points"])
    for batch in (1, 5):
        x = torch.randn(batch, *shape)
        expected = wanted(x)
        assert (program(x) - expected).abs().max() < 1e-5 * expected.abs().max()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ not installed")
@pytest.mark.parametrize("name", NOT_COMPILED)
def test_what_cannot_be_compiled_is_told_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    surrogate, where, _ = to_export(NOT_COMPILED[name])
    with pytest.raises(ExportFailed, match="AOTInductor cannot compile the program"):
        export(surrogate, tmp_path / "model.pt2", **where, compiled=True)
    assert list(tmp_path.iterdir()) == []
