"""GIOROM's split: a step learned at random nodes, a march on a few nodes, answers at many points."""

from __future__ import annotations

import math
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch_geometric.data import Batch, Data
from toy import toy_trainer

import pdeflow
from pdeflow.data import SparseTrajectoryData, WellWriter
from pdeflow.data.normalisation import Normalisation
from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.operators import FNO, GINO, GNO, MKGN, GraphOperator
from pdeflow.surrogate import Surrogate
from pdeflow.training import TrainingTask

RATE, TIMES = 0.7, 0.25 * np.arange(7)
UNIT = {"lower": [0.0, 0.0], "upper": [1.0, 1.0]}


def decaying(level: Any, x: Any, y: Any, time: Any) -> Any:
    """A wave that dies away with exp(-RATE t): the next state is the last one times a constant."""
    return level * np.exp(-RATE * time) * (1.5 + np.sin(3 * x) * np.cos(2 * y))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    grid = Grid(("x", "y"), (0.0, 0.0), (1.0, 1.0), (17, 17))
    x, y = (part.numpy() for part in grid.mesh().values())
    level = np.linspace(1.0, 2.0, 10)[:, None, None]
    states = np.stack([decaying(level, x, y, t) for t in TIMES], axis=1)
    path = tmp_path / "decaying.h5"
    with WellWriter(
        path, name="decaying", grid=grid, n=10, fields={"u": 0}, constant_fields={"a": 0}, times=TIMES
    ) as writer:
        writer.write(0, {"u": states, "a": np.broadcast_to(x, (10, 17, 17))})
    return path


def data(file: Path, **changes: Any) -> SparseTrajectoryData:
    return SparseTrajectoryData(str(file), ["u"], **({"nodes": 80, "constants": ["a"]} | changes))


def gino(**changes: Any) -> GINO:
    sizes = {"grid": [9, 9], "modes": [4, 4], "width": 8, "kernel_width": 8, "layers": 2}
    return GINO(**({**sizes, **UNIT, "in_radius": 0.2, "out_radius": 0.15, "in_channels": 2} | changes))


def test_batches_are_states_at_random_nodes_and_the_states_after_them(file: Path) -> None:
    module = data(file, history=2)
    module.setup("fit")
    assert (module.in_channels, module.out_channels, module.dim) == (3, 1, 2)
    batch = next(iter(module.train_dataloader()))
    assert batch["time_step"] == pytest.approx(0.25)
    x, pos, u = batch["input"].x, batch["input"].pos, batch["target"]
    assert x.shape == (4 * 80, 3)
    assert u.shape == (4 * 80, 1)
    factor = math.exp(-RATE * 0.25)
    torch.testing.assert_close(x[:, 1], x[:, 0] * factor)
    torch.testing.assert_close(u[:, 0], x[:, 1] * factor)
    torch.testing.assert_close(x[:, 2], pos[:, 0])
    one = batch["grid"].sample == 0
    assert len(np.unique(pos[one].numpy(), axis=0)) == 80
    shape = x[one, 1] / (1.5 + torch.sin(3 * pos[one, 0]) * torch.cos(2 * pos[one, 1]))
    torch.testing.assert_close(shape, shape[:1].expand(80))
    on_rim = (pos * (1 - pos)).prod(1) == 0
    assert torch.equal(batch["grid"].boundary == 1, on_rim)
    torch.testing.assert_close(batch["grid"].mean(torch.ones(320, 1)), torch.ones(4, 1))


def test_nodes_are_others_in_every_epoch_of_training_alone(file: Path) -> None:
    module = data(file)
    module.setup("fit")

    def places(loader: Any, epoch: int) -> dict[float, Tensor]:
        loader.sampler.set_epoch(epoch)
        found = {}
        for batch in loader:
            for k in range(len(batch["index"])):
                mine = batch["grid"].sample == k
                x, pos = batch["input"].x[mine], batch["input"].pos[mine]
                level = x[:, 0] / (1.5 + torch.sin(3 * pos[:, 0]) * torch.cos(2 * pos[:, 1]))
                found[round(float(level[0]), 4)] = pos  # tells the windows apart
        return found

    for loader, change in ((module.train_dataloader(), True), (module.val_dataloader()[0], False)):
        first, again, other = (places(loader, epoch) for epoch in (0, 0, 1))
        assert len(first) == len(loader.samples)
        assert first.keys() == again.keys() == other.keys()
        for key, pos in first.items():
            assert torch.equal(pos, again[key])
            assert torch.equal(pos, other[key]) != change


def test_trained_marched_and_asked_anywhere(file: Path, tmp_path: Path) -> None:
    """The march is autoregressive on 150 nodes that no epoch has seen; its end is known everywhere."""
    torch.manual_seed(0)
    task = TrainingTask(gino(), optimizer=lambda p: torch.optim.AdamW(p, lr=1e-2))
    module = data(file)
    trainer = toy_trainer(tmp_path, epochs=6, callbacks=[])
    trainer.fit(task, datamodule=module)
    assert float(trainer.callback_metrics["valid/l2"]) < 0.05
    surrogate = Surrogate(task.model, module.normalisation, time_step=0.25)
    surrogate = pdeflow.load(pdeflow.save(surrogate.model, tmp_path / "kept", module.normalisation))
    generator = torch.Generator().manual_seed(1)
    pos, points = (torch.rand(n, 2, generator=generator) for n in (150, 3000))

    def exact(places: Tensor, time: float) -> Tensor:
        x, y = places.numpy().T
        return torch.from_numpy(decaying(1.3, x, y, time)).float()

    graph = Data(x=torch.stack([exact(pos, 0.0), pos[:, 0]], dim=1), pos=pos)
    kept = graph.x.clone()
    states = surrogate.rollout(graph, 4)
    assert states.shape == (4, 150, 1)
    assert torch.equal(graph.x, kept)
    u = graph.x
    for state in states:
        u = torch.cat([surrogate(Data(x=u, pos=pos)), u[:, 1:]], dim=1)
        torch.testing.assert_close(state, u[:, :1], rtol=1e-4, atol=1e-5)
    dense = surrogate.rollout_at(graph, 4, points)
    assert dense.shape == (3000, 1)
    at_nodes = surrogate.rollout_at(graph, 4, pos)
    torch.testing.assert_close(at_nodes, states[-1], rtol=1e-3, atol=1e-4)
    for found, places in ((states[-1], pos), (dense, points)):
        truth = exact(places, 1.0)
        assert (found[:, 0] - truth).norm() < 0.1 * truth.norm()


def test_history_moves_on(file: Path) -> None:
    """Of two states the older one leaves."""
    torch.manual_seed(0)
    names = ("u[-1]", "u", "a")
    statistics = Normalisation(names, ("u",), (0.0,) * 3, (1.0,) * 3, (0.0,), (1.0,))
    surrogate = Surrogate(gino(in_channels=3), statistics)
    graph = Data(x=torch.rand(120, 3), pos=torch.rand(120, 2))
    first, second = surrogate.rollout(graph, 2)
    torch.testing.assert_close(first, surrogate(graph))
    later = torch.cat([graph.x[:, 1:2], first, graph.x[:, 2:]], dim=1)
    torch.testing.assert_close(second, surrogate(Data(x=later, pos=graph.pos)))
    torch.testing.assert_close(surrogate.rollout_at(graph, 2, graph.pos), second, rtol=1e-3, atol=1e-5)


class Largest(TorchDispatchMode):
    """The most numbers in one tensor that was made."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(one, Tensor):
                # A view has no memory of its own.
                self.numbers = max(self.numbers, one.untyped_storage().nbytes() // one.element_size())
        return made


def step_of(name: str) -> GraphOperator:
    if name == "GINO":
        return gino(grid=[32, 32], modes=[12, 12], in_radius=0.08, out_radius=0.06, in_channels=1)
    if name == "GNO":
        return GNO(radius=0.1, width=8, kernel_width=8, layers=2)
    return MKGN(coarse=[200, 50], inner=[0.1, 0.3, 1.0], inter=[0.1, 0.4], width=8, kernel_width=8, layers=1)


@pytest.mark.parametrize("name", ["GINO", "GNO", "MKGN"])
def test_a_hundred_thousand_points_from_a_thousand_nodes(name: str) -> None:
    """No table of points and nodes (1e8 numbers) is made, and memory does not grow with the points."""
    torch.manual_seed(0)
    statistics = Normalisation(("u",), ("u",), (0.0,), (1.0,), (0.0,), (1.0,))
    surrogate = Surrogate(step_of(name), statistics)
    graph, points = Data(x=torch.rand(1000, 1), pos=torch.rand(1000, 2)), torch.rand(100_000, 2)
    most = {}
    for count in (10_000, 100_000):
        tracemalloc.start()  # NumPy's memory
        with Largest() as largest:
            dense = surrogate.rollout_at(graph, 3, points[:count])
        most[count] = (largest.numbers, tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert dense.shape == (count, 1)
        assert torch.isfinite(dense).all()
    assert most[100_000][0] < 1.2 * max(most[10_000][0], 300_000)
    assert most[100_000][1] < 64e6
    # A point's answer does not depend on how many others there are.
    torch.testing.assert_close(
        dense[:500], surrogate.rollout_at(graph, 3, points[:500]), rtol=1e-3, atol=1e-5
    )


def test_what_cannot_be_marched(file: Path) -> None:
    plain = Surrogate(gino())
    with pytest.raises(InvalidInput, match="Train on TrajectoryData"):
        plain.rollout(Data(x=torch.rand(150, 2), pos=torch.rand(150, 2)), 2)
    statistics = Normalisation(("u",), ("u",), (0.0,), (1.0,), (0.0,), (1.0,))
    surrogate = Surrogate(gino(in_channels=1), statistics)
    graph = Data(x=torch.rand(150, 1), pos=torch.rand(150, 2))
    for attempt, message in (
        (lambda: surrogate.rollout(graph, 0), "steps"),
        (lambda: surrogate.rollout_at(graph, 0, graph.pos), "steps"),
        (lambda: surrogate.rollout(Batch.from_data_list([graph, graph]), 2), "one by one"),
        (lambda: surrogate.rollout_at(graph, 1, graph.pos + 9), "not in the domain"),
        (lambda: Surrogate(FNO([4, 4])).rollout_at(graph, 1, graph.pos), "an operator on meshes"),
    ):
        with pytest.raises(InvalidInput, match=message):
            attempt()


@pytest.mark.parametrize(
    ("changes", "key"),
    [({"nodes": 1}, "data.nodes"), ({"nodes": 400}, "data.nodes"), ({"history": 7}, "data.horizon")],
)
def test_settings_that_cannot_be_used(file: Path, changes: dict[str, Any], key: str) -> None:
    def prepare() -> None:
        module = data(file, **changes)
        module.setup("fit")
        module.train_dataloader()

    with pytest.raises(InvalidInput) as error:
        prepare()
    assert error.value.name == key
