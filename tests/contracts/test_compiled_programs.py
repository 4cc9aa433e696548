"""What AOTInductor makes of operators gives what the surrogate gives."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import test_graph_operators as on_meshes
import test_operators as on_grids
import torch
from torch import Tensor
from torch_geometric.data import Data

from pdeflow.exported_program import export
from pdeflow.surrogate import Surrogate

SECONDS = 900
"""For one model, on a busy machine."""
# The rows of the contracts that are compiled soonest, one for an operator.
GRIDS = (
    on_grids.TestFNO1D,
    on_grids.TestTFNO1D,
    on_grids.TestUNO1D,
    on_grids.TestLocalNO1D,
)
MESHES = (on_meshes.TestGNO,)
ROWS = [pytest.param(row, id=row.__name__.removeprefix("Test")) for row in (*GRIDS, *MESHES)]


@pytest.fixture
def limited() -> Iterator[None]:
    """A compiler that hangs fails the test, and is ended."""

    def fail(*_: object) -> None:
        pytest.fail(f"not compiled in {SECONDS} s")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def given_by(surrogate: Surrogate, x: Tensor | Data, axis: int) -> Tensor:
    """What the surrogate gives, with the standard deviations after the means where it has these."""
    return torch.cat(surrogate.predict_with_std(x), dim=axis) if surrogate.std_names else surrogate(x)


def on_a_grid(row: type[on_grids.OperatorContract], path: Path) -> Iterator[tuple[Tensor, Tensor]]:
    """Compile; then functions, and what the surrogate gives of them."""
    contract = row()
    statistics = on_grids.some_statistics(contract.in_channels, contract.out_channels)
    surrogate = Surrogate(contract.make(), statistics)
    export(surrogate, path, contract.shape, compiled=True)
    for batch in (1, 5):
        x = contract.sample(batch)
        yield x, given_by(surrogate, x, 1)


def on_a_mesh(row: type[on_meshes.GraphOperatorContract], path: Path) -> Iterator[tuple[Tensor, Tensor]]:
    """The same for functions on one mesh."""
    contract = row()
    surrogate, nodes = Surrogate(contract.make()), on_meshes.mesh(min(contract.sizes)).pos
    export(surrogate, path, positions=nodes.numpy(), compiled=True)
    for batch in (1, 4):
        x = torch.randn(batch, len(nodes), contract.in_channels)
        yield x, torch.stack([given_by(surrogate, Data(x=one, pos=nodes), 1) for one in x])


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="g++ not installed")
@pytest.mark.usefixtures("limited")
@pytest.mark.parametrize("row", ROWS)
def test_a_compiled_program_gives_what_the_surrogate_gives(row: type, tmp_path: Path) -> None:
    torch.manual_seed(0)
    path, compiled = tmp_path / "model.pt2", None
    for x, wanted in (on_a_mesh if row in MESHES else on_a_grid)(row, path):
        compiled = compiled or torch._inductor.aoti_load_package(str(path))
        found = compiled(x)
        assert found.shape == wanted.shape
        assert (found - wanted).abs().max() < 1e-5 * wanted.abs().max()
