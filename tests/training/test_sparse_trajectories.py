"""GIOROM's split: a step learned at random nodes, a march on a few nodes, answers at many points."""

from __future__ import annotations

import dataclasses
import json
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
from pdeflow.errors import InvalidInput, NumericalFailure
from pdeflow.grid import Grid
from pdeflow.operators import FNO, GINO, GNO, MKGN, Ensemble, GraphOperator, graph_operator
from pdeflow.operators.march import march_on_nodes
from pdeflow.surrogate import Surrogate
from pdeflow.training import Rollout, Supervised, TrainingTask
from pdeflow.training.callbacks import TestResults

RATE, TIMES = 0.7, 0.25 * np.arange(7)
UNIT = {"lower": [0.0, 0.0], "upper": [1.0, 1.0]}


def decaying(level: Any, x: Any, y: Any, time: Any) -> Any:
    """A wave that dies away with exp(-RATE t): the next state is the last one times a constant."""
    return level * np.exp(-RATE * time) * (1.5 + np.sin(3 * x) * np.cos(2 * y))


def write(path: Path, points: int = 17, least: float = 1.0) -> Path:
    """Ten trajectories of seven instants on a square of so many nodes along each side; the first is least."""
    grid = Grid(("x", "y"), (0.0, 0.0), (1.0, 1.0), (points, points))
    x, y = (part.numpy() for part in grid.mesh().values())
    level = np.linspace(least, 2.0, 10)[:, None, None]
    states = np.stack([decaying(level, x, y, t) for t in TIMES], axis=1)
    with WellWriter(
        path, name="decaying", grid=grid, n=10, fields={"u": 0}, constant_fields={"a": 0}, times=TIMES
    ) as writer:
        writer.write(0, {"u": states, "a": np.broadcast_to(x, (10, points, points))})
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "decaying.h5")


def data(file: Path, **changes: Any) -> SparseTrajectoryData:
    return SparseTrajectoryData(str(file), ["u"], **({"nodes": 80, "constants": ["a"]} | changes))


def gino(**changes: Any) -> GINO:
    sizes = {"grid": [9, 9], "modes": [4, 4], "width": 8, "kernel_width": 8, "layers": 2}
    return GINO(**({**sizes, **UNIT, "in_radius": 0.2, "out_radius": 0.15, "in_channels": 2} | changes))


def test_batches_are_states_at_random_nodes_and_the_states_after_them(file: Path) -> None:
    module = data(file, history=2, horizon=2)
    module.setup("fit")
    assert (module.in_channels, module.out_channels, module.dim) == (3, 1, 2)
    batch = next(iter(module.train_dataloader()))
    assert batch["time_step"] == pytest.approx(0.25)
    x, pos, u = batch["input"].x, batch["input"].pos, batch["target"]
    assert x.shape == (4 * 80, 3)
    assert u.shape == (4 * 80, 2, 1)
    assert batch["state"] == 2
    assert "everywhere" not in batch
    factor = math.exp(-RATE * 0.25)
    torch.testing.assert_close(x[:, 1], x[:, 0] * factor)
    torch.testing.assert_close(u[:, 0, 0], x[:, 1] * factor)
    torch.testing.assert_close(u[:, 1], u[:, 0] * factor)
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
    task = TrainingTask(gino(), Rollout(), optimizer=lambda p: torch.optim.AdamW(p, lr=1e-2))
    module = data(file)
    trainer = toy_trainer(tmp_path, epochs=6, callbacks=[])
    trainer.fit(task, datamodule=module)
    assert float(trainer.callback_metrics["valid/l2"]) < 0.1  # of the whole march
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


def outcome(task: TrainingTask, module: SparseTrajectoryData, folder: Path) -> tuple[dict[str, float], Any]:
    """What the test writes: the metrics, and the arrays."""
    trainer = toy_trainer(folder, callbacks=[TestResults()])
    trainer.test(task, datamodule=module, verbose=False)
    (metrics,) = json.loads((folder / "test" / "metrics.json").read_text()).values()
    with np.load(folder / "test" / "17x17.npz") as stored:
        return metrics, dict(stored)


@pytest.mark.parametrize("members", [1, 2])
def test_the_test_marches_every_trajectory_and_asks_for_its_end_everywhere(
    file: Path, tmp_path: Path, members: int
) -> None:
    """Of an ensemble the mean is fed back."""
    torch.manual_seed(0)
    module = data(file, history=2, split=(0.6, 0.1, 0.3), batch_size=2)
    models = [gino(in_channels=3) for _ in range(members)]
    model = models[0] if members == 1 else Ensemble(models)
    assert isinstance(model, GraphOperator)
    task = TrainingTask(model, Rollout(), normalisation=module.normalisation)
    metrics, stored = outcome(task, module, tmp_path)
    surrogate = Surrogate(task.model, module.normalisation)
    errors, ends, silent, factor = [], [], [], math.exp(-RATE * 0.25)
    for batch in module.test_dataloader()[0]:
        for number, end in enumerate(batch["everywhere"]["last"][:, 0]):
            mine, points = batch["grid"].sample == number, batch["everywhere"]["points"]
            graph = Data(x=batch["input"].x[mine], pos=batch["input"].pos[mine])
            target = batch["target"][mine, :, 0].T
            truth = graph.x[:, 1] * factor ** torch.arange(1.0, 6.0)[:, None]
            torch.testing.assert_close(target, truth)
            states = surrogate.rollout(graph, 5)[:, :, 0]
            errors.append((states - target).norm(dim=1) / target.norm(dim=1))
            known = torch.from_numpy(model.answers(points.numpy(), graph.pos.numpy()))
            assert 280 < known.sum() <= 289
            silent.append(float((~known).sum()) / 289)
            shape = 1.5 + torch.sin(3 * points[:, 0]) * torch.cos(2 * points[:, 1])
            torch.testing.assert_close(end / end[0], shape / shape[0])
            there = surrogate.rollout_at(graph, 5, points[known])[:, 0]
            ends.append((there - end[known]).norm() / end[known].norm())
    assert len(ends) == 3
    np.testing.assert_allclose(stored["rollout_l2"], torch.stack(errors).mean(0), rtol=1e-4)
    assert metrics["l2_last"] == pytest.approx(float(torch.stack(errors).mean(0)[-1]), rel=1e-4)
    assert metrics["l2_last_everywhere"] == pytest.approx(float(torch.stack(ends).mean()), rel=1e-4)
    assert metrics["unanswered"] == pytest.approx(sum(silent) / 3, abs=1e-12)
    assert metrics["diverged"] == 0
    assert len(set(stored["index"].tolist())) == len(stored["l2"]) == 3


def test_nodes_that_stand_alone_are_marched_on_and_those_without_an_answer_are_counted(
    file: Path, tmp_path: Path
) -> None:
    """In a test as with ``Surrogate.rollout``, which is given the same nodes."""
    torch.manual_seed(0)
    module = data(file, split=(0.6, 0.1, 0.3))
    model = GNO(radius=0.08, width=4, kernel_width=4, layers=2, in_channels=2)
    task = TrainingTask(model, Rollout(), normalisation=module.normalisation)
    metrics, stored = outcome(task, module, tmp_path)
    surrogate = Surrogate(task.model, module.normalisation)
    errors, silent, alone = [], [], 0
    for batch in module.test_dataloader()[0]:
        for number in range(len(batch["index"])):
            mine, points = batch["grid"].sample == number, batch["everywhere"]["points"]
            graph = Data(x=batch["input"].x[mine], pos=batch["input"].pos[mine])
            states, target = surrogate.rollout(graph, 6)[:, :, 0], batch["target"][mine, :, 0].T
            errors.append((states - target).norm(dim=1) / target.norm(dim=1))
            alone += int(((torch.cdist(graph.pos, graph.pos) <= 0.08).sum(1) == 1).sum())
            silent.append(float((torch.cdist(points, graph.pos).amin(1) > 0.08).float().mean()))
    assert alone > 0
    assert min(silent) > 0.05
    np.testing.assert_allclose(stored["rollout_l2"], torch.stack(errors).mean(0), rtol=1e-4)
    assert metrics["unanswered"] == pytest.approx(sum(silent) / len(silent), abs=1e-6)


def validated(task: TrainingTask, module: SparseTrajectoryData, folder: Path) -> dict[str, float]:
    (found,) = toy_trainer(folder, callbacks=[]).validate(task, datamodule=module, verbose=False)
    return {name: float(value) for name, value in found.items()}


def test_validation_marches_every_trajectory_from_its_first_states(file: Path, tmp_path: Path) -> None:
    """As on grids: what is measured is what the test measures, not the error of one step."""
    torch.manual_seed(0)
    module = data(file, history=2, split=(0.5, 0.3, 0.2), batch_size=2)
    task = TrainingTask(gino(in_channels=3), Rollout(), normalisation=module.normalisation)
    found = validated(task, module, tmp_path)
    surrogate = Surrogate(task.model, module.normalisation)
    steps, whole, drift = [], [], []
    for batch in module.val_dataloader()[0]:
        for number in range(len(batch["index"])):
            mine = batch["grid"].sample == number
            graph = Data(x=batch["input"].x[mine], pos=batch["input"].pos[mine])
            states, target = surrogate.rollout(graph, 5)[:, :, 0], batch["target"][mine, :, 0].T
            torch.testing.assert_close(target[0], graph.x[:, 1] * math.exp(-RATE * 0.25))
            steps.append((states - target).norm(dim=1) / target.norm(dim=1))
            whole.append((states - target).norm() / target.norm())
            drift.append((states - target)[-1].mean().abs() / target[-1].square().mean().sqrt())
    assert len(steps) == 3
    assert (torch.stack(steps)[:, 0] - torch.stack(steps)[:, -1]).abs().min() > 1e-3
    wanted = {
        "valid/loss": torch.stack(steps).mean(),
        "valid/l2": torch.stack(whole).mean(),
        "valid/l2_last": torch.stack(steps)[:, -1].mean(),
        "valid/drift_last": torch.stack(drift).mean(),
        "valid/diverged": torch.tensor(0.0),
    }
    assert found == pytest.approx({name: float(value) for name, value in wanted.items()}, rel=1e-4)


def test_a_trajectory_that_leaves_all_bounds_is_stopped_in_validation(file: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = data(file)
    wild = dataclasses.replace(module.normalisation, target_std=(1e9,))
    found = validated(TrainingTask(gino(), Rollout(), normalisation=wild), module, tmp_path)
    # Zeros stand in for states that were never finite.
    assert found["valid/diverged"] == found["valid/l2_last"] == found["valid/loss"] == 1


def test_unrolled_training_pushes_forward_on_nodes(file: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = data(file, horizon=3)
    objective = Rollout(pushforward=True, noise=1e-3)
    task = TrainingTask(gino(), objective, optimizer=lambda p: torch.optim.AdamW(p, lr=1e-2))
    trainer = toy_trainer(tmp_path, epochs=4, callbacks=[])
    trainer.fit(task, datamodule=module)
    assert float(trainer.callback_metrics["train/loss"]) < 0.4  # at first it is 0.6
    assert float(trainer.callback_metrics["valid/diverged"]) == 0


def test_a_trajectory_of_zeros_is_named(tmp_path: Path) -> None:
    module = data(write(tmp_path / "zero.h5", least=0.0), split=(1, 0, 0), horizon=2)
    with pytest.raises(NumericalFailure, match=r"target of samples 0(, 0)* is zero"):
        toy_trainer(tmp_path).fit(TrainingTask(gino(), Rollout()), datamodule=module)


def test_pairs_are_not_what_is_trained_on(file: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="Rollout, for the data are trajectories"):
        toy_trainer(tmp_path, callbacks=[]).fit(TrainingTask(gino(), Supervised()), datamodule=data(file))


def test_a_member_draws_nodes_of_its_own_and_is_validated_on_the_same(file: Path) -> None:
    def places(order_seed: int) -> tuple[Tensor, Tensor]:
        module = data(file, split=(0.4, 0.3, 0.3), batch_size=24)
        module.order_seed = order_seed
        module.setup("fit")
        (trained,), (valid,) = module.train_dataloader(), module.val_dataloader()[0]
        return trained["input"].pos, valid["input"].pos

    (first, valid), (second, same) = places(0), places(7)
    assert not torch.equal(first.sort(0).values, second.sort(0).values)
    assert torch.equal(valid, same)


def test_what_leaves_all_bounds_is_nan_and_counted(file: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = data(file)
    wild = dataclasses.replace(module.normalisation, target_std=(1e9,))
    metrics, stored = outcome(TrainingTask(gino(), Rollout(), normalisation=wild), module, tmp_path)
    assert (metrics["diverged"], metrics["l2_last_everywhere"]) == (1.0, 1.0)
    assert (stored["rollout_l2"] == 1.0).all()
    surrogate = Surrogate(gino(), wild)
    graph, points = Data(x=torch.rand(150, 2), pos=torch.rand(150, 2)), torch.rand(7, 2) * 0.6 + 0.2
    for steps in (1, 3):  # in the query itself, and before it
        assert torch.isnan(surrogate.rollout(graph, steps)).all()
        found = surrogate.rollout_at(graph, steps, points)
        assert found.shape == (7, 1)
        assert torch.isnan(found).all()
    graph.x[3, 0] = torch.nan
    for attempt in (
        lambda: surrogate.rollout(graph, 1),
        lambda: surrogate.rollout_at(graph, 1, points),
        lambda: surrogate.query(graph, points),
    ):
        with pytest.raises(InvalidInput, match="NaN or infinite"):
            attempt()


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
        return gino(grid=[32, 32], modes=[12, 12], in_radius=0.12, out_radius=0.06, in_channels=3)
    if name == "GNO":
        return GNO(radius=0.1, width=8, kernel_width=8, layers=2, in_channels=3)
    reach = {"coarse": [200, 50], "inner": [0.1, 0.3, 1.0], "inter": [0.1, 0.4]}
    return MKGN(**reach, width=8, kernel_width=8, layers=1, in_channels=3)


@pytest.mark.parametrize("name", ["GINO", "GNO", "MKGN"])
def test_a_hundred_thousand_points_from_a_thousand_nodes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No table of points and nodes (1e8 numbers) is made; only points and answers grow with their number."""
    monkeypatch.setattr(graph_operator, "AT_ONCE", 1024)
    torch.manual_seed(0)
    statistics = Normalisation(("u", "a", "b"), ("u",), (0.0,) * 3, (1.0,) * 3, (0.0,), (1.0,))
    surrogate = Surrogate(step_of(name), statistics)
    graph, points = Data(x=torch.rand(1000, 3), pos=torch.rand(1000, 2)), torch.rand(100_000, 2)
    most = {}
    for count in (10_000, 100_000):
        tracemalloc.start()  # NumPy's memory
        with Largest() as largest:
            dense = surrogate.rollout_at(graph, 3, points[:count].clone())
        most[count] = (largest.numbers, tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert dense.shape == (count, 1)
        assert torch.isfinite(dense).all()
    # The inputs at all points together, as means over three nodes, would be 900,000 numbers.
    assert most[100_000][0] < 1.2 * max(most[10_000][0], 200_000) < 800_000
    assert most[100_000][1] < 1.2 * most[10_000][1]
    # A point's answer does not depend on how many others there are.
    torch.testing.assert_close(
        dense[:500], surrogate.rollout_at(graph, 3, points[:500]), rtol=1e-3, atol=1e-5
    )


def test_what_cannot_be_marched(file: Path) -> None:
    plain = Surrogate(gino())
    with pytest.raises(InvalidInput, match="Train on SparseTrajectoryData"):
        plain.rollout(Data(x=torch.rand(150, 2), pos=torch.rand(150, 2)), 2)
    statistics = Normalisation(("u",), ("u",), (0.0,), (1.0,), (0.0,), (1.0,))
    surrogate = Surrogate(gino(in_channels=1), statistics)
    graph = Data(x=torch.rand(150, 1), pos=torch.rand(150, 2))
    unequal = Batch.from_data_list([graph, Data(x=graph.x[:50], pos=graph.pos[:50])])
    for attempt, message in (
        (lambda: surrogate.rollout(graph, 0), "steps"),
        (lambda: surrogate.rollout_at(graph, 0, graph.pos), "steps"),
        (lambda: surrogate.rollout(Batch.from_data_list([graph, graph]), 2), "one by one"),
        (lambda: surrogate.rollout_at(graph, 1, graph.pos + 9), "not in the domain"),
        (lambda: Surrogate(FNO([4, 4])).rollout_at(graph, 1, graph.pos), "an operator on meshes"),
        (lambda: march_on_nodes(lambda both: both.x, unequal, 2, 1, 1, 1), r"meshes of \[50, 150\] nodes"),
    ):
        with pytest.raises(InvalidInput, match=message):
            attempt()


@pytest.mark.parametrize(
    ("changes", "key"),
    [({"nodes": 1}, "data.nodes"), ({"nodes": 400}, "data.nodes"), ({"history": 7}, "data.history")],
)
def test_settings_that_cannot_be_used(file: Path, changes: dict[str, Any], key: str) -> None:
    def prepare() -> None:
        module = data(file, **changes)
        module.setup("fit")
        module.train_dataloader()

    with pytest.raises(InvalidInput) as error:
        prepare()
    assert error.value.name == key


def test_a_test_on_fewer_nodes_than_are_drawn_is_refused_before_training(file: Path, tmp_path: Path) -> None:
    coarse = write(tmp_path / "coarse.h5", 8)
    data(file, nodes=64, test_paths=[str(coarse)]).setup("fit")
    with pytest.raises(InvalidInput, match=r"data.nodes: got 80, expected at most 64.*coarse"):
        data(file, test_paths=[str(coarse)]).setup("fit")


def test_an_operator_is_tried_on_the_nodes_before_training(file: Path) -> None:
    module = data(file)
    module.probe(gino())
    with pytest.raises(InvalidInput, match=r"data\.nodes"):
        module.probe(MKGN([100], inner=[0.2, 1.0], inter=[0.4], in_channels=2))
    with pytest.raises(InvalidInput, match=r"model\.lower and model\.upper"):
        module.probe(gino(upper=[0.8, 0.8]))
