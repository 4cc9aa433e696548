"""Marching in time: predictions fed back, errors by step, what stops a sample that leaves all bounds."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data
from toy import toy_trainer

import pdeflow
from pdeflow.data import TrajectoryData, WellReader, WellWriter
from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.mesh_nodes import MeshNodes
from pdeflow.operators import FNO
from pdeflow.operators.march import march
from pdeflow.problems import Poisson
from pdeflow.training import Evaluator, OneCycle, Residual, Rollout, Supervised, TrainingTask
from pdeflow.training.callbacks import TestResults
from pdeflow.training.callbacks.pictures import draw
from pdeflow.training.callbacks.surrogate_export import SurrogateExport
from pdeflow.training.rollout_error import RolloutError, held

GRID = Grid(("x",), (0.0,), (1.0,), (8,), (True,))


def batch_of(steps: int, samples: int = 3, state: int = 2) -> dict:
    torch.manual_seed(0)
    inputs, target = torch.randn(samples, state + 1, 8), torch.randn(samples, steps, 1, 8)
    return {"input": inputs, "target": target, "state": state, "grid": GRID}


def weighted(x: Tensor) -> Tensor:
    """A step of second order in time: 0.5 u_n - 0.25 u_{n-1} + constant."""
    return 0.5 * x[:, 1:2] - 0.25 * x[:, :1] + x[:, 2:]


@pytest.mark.parametrize("training", [True, False])
def test_each_prediction_is_read_by_the_next_step(training: bool) -> None:
    batch = batch_of(4)
    before, now, constant = (batch["input"][:, k : k + 1] for k in range(3))
    expected = []
    for _ in range(4):
        before, now = now, 0.5 * now - 0.25 * before + constant
        expected.append(now)
    found = Rollout().train(training).predict(weighted, batch)
    torch.testing.assert_close(found, torch.stack(expected, dim=1))


def on_nodes(batch: dict) -> dict:
    """The same batch on meshes whose nodes are those of the grid."""
    samples, _, points = batch["input"].shape
    sample, nothing = torch.arange(samples).repeat_interleave(points), torch.zeros(24, dtype=torch.int64)
    return {
        "input": Data(x=batch["input"].permute(0, 2, 1).flatten(0, 1)),
        "target": batch["target"].permute(0, 3, 1, 2).flatten(0, 1),
        "state": batch["state"],
        "grid": MeshNodes(sample, torch.full((samples * points,), 1 / points), nothing, samples),
    }


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("pushforward", [True, False])
def test_on_nodes_states_loss_and_gradient_are_those_on_a_grid_of_them(
    training: bool, pushforward: bool
) -> None:
    batch, objective = batch_of(4), Rollout(pushforward=pushforward).train(training)
    gradients = []
    for given in (batch, on_nodes(batch)):
        a = torch.tensor(0.9, requires_grad=True)
        step = lambda x, a=a: a * weighted(x if isinstance(x, Tensor) else x.x)  # noqa: E731
        found = objective.predict(step, given)
        loss = objective(found, given)
        gradients.append((float(loss.detach()), float(torch.autograd.grad(loss, a)[0])))
        if given is batch:
            expected = found.permute(0, 3, 1, 2).flatten(0, 1)
    torch.testing.assert_close(found, expected)
    assert gradients[0] == pytest.approx(gradients[1], rel=1e-5)


def test_on_nodes_a_sample_that_leaves_all_bounds_is_stopped_and_the_others_go_on() -> None:
    batch = on_nodes(batch_of(4, state=1))
    batch["input"].x = kept = batch["input"].x[:, :1]
    factor = torch.where(batch["grid"].sample == 1, 50.0, 0.5)[:, None]
    found = Rollout().eval().predict(lambda graph: factor * graph.x, batch)
    wild = batch["grid"].sample == 1
    assert torch.isnan(found[wild, 1:]).all()
    assert torch.isfinite(found[wild, 0]).all()
    torch.testing.assert_close(found[~wild, -1], kept[~wild] / 16)
    assert batch["input"].x is kept
    assert torch.isfinite(Rollout().eval()(found, batch))


def test_the_loss_is_the_mean_of_those_of_the_steps() -> None:
    batch, objective = batch_of(3), Rollout()
    prediction = objective.predict(weighted, batch)
    errors = (prediction - batch["target"]).norm(dim=-1) / batch["target"].norm(dim=-1)
    torch.testing.assert_close(objective(prediction, batch), errors.mean())


@pytest.mark.parametrize("pushforward", [True, False])
def test_push_forward_takes_the_gradient_of_the_last_step_alone(pushforward: bool) -> None:
    batch = batch_of(2, state=1)
    batch["input"] = batch["input"][:, :1]
    a = torch.tensor(0.7, requires_grad=True)
    objective = Rollout(pushforward=pushforward).train()
    objective(objective.predict(lambda x: a * x, batch), batch).backward()
    x, (first, last) = batch["input"][:, 0], batch["target"][:, :, 0].unbind(1)
    b = torch.tensor(0.7, requires_grad=True)
    if pushforward:
        loss = ((b * 0.7 * x - last).norm(dim=1) / last.norm(dim=1)).mean()
    else:
        errors = [(b * x - first).norm(dim=1) / first.norm(dim=1)]
        errors.append((b * b * x - last).norm(dim=1) / last.norm(dim=1))
        loss = torch.stack(errors).mean()
    loss.backward()
    torch.testing.assert_close(a.grad, b.grad)


def test_noise_is_on_the_states_of_training_alone() -> None:
    batch, objective = batch_of(1, samples=4000), Rollout(noise=0.1)
    clean = weighted(batch["input"])
    torch.testing.assert_close(objective.eval().predict(weighted, batch)[:, 0], clean)
    spread = (objective.train().predict(weighted, batch)[:, 0] - clean).std()
    assert float(spread) == pytest.approx(0.1 * math.hypot(0.5, 0.25), rel=0.05)


def test_a_sample_that_leaves_all_bounds_is_stopped_and_the_others_go_on() -> None:
    past = torch.tensor([[[1.0, 1.0]], [[1.0, 2.0]], [[0.0, 0.0]]])
    factor = torch.tensor([30.0, 0.5, 7.0]).view(3, 1, 1)
    found = march(lambda x: factor * x, past, past[:, :0], 4, 1)
    assert found[0, :, 0, 0].tolist()[:2] == [30.0, 900.0]
    assert torch.isnan(found[0, 2:]).all()
    torch.testing.assert_close(found[1, :, 0, 1], torch.tensor([1.0, 0.5, 0.25, 0.125]))
    assert (found[2] == 0).all()
    assert held(found)[0, :, 0, 0].tolist() == [30.0, 900.0, 900.0, 900.0]
    broken = march(lambda x: torch.where(x > 1.5, torch.inf, x), past, past[:, :0], 2, 1)
    assert torch.isnan(broken[1]).all()
    assert (held(broken)[1] == 0).all()


def test_errors_by_step_against_numpy() -> None:
    rng = np.random.default_rng(0)
    target, prediction = 1.0 + rng.standard_normal((2, 5, 3, 2, 8))
    prediction[4, 1:] = np.nan
    metric = RolloutError()
    for rows in (slice(0, 2), slice(2, 5)):
        metric.update(torch.from_numpy(prediction[rows]), torch.from_numpy(target[rows]), GRID)
    prediction[4, 1:] = prediction[4, 0]
    difference = prediction - target
    norm = lambda u: np.sqrt((u**2).sum(axis=(2, 3)))  # noqa: E731
    drift = np.abs(difference.mean(3)) / np.sqrt((target**2).mean(3))
    found = {name: value.numpy() for name, value in metric.compute().items()}
    np.testing.assert_allclose(found["rollout_l2"], (norm(difference) / norm(target)).mean(0))
    np.testing.assert_allclose(found["rollout_drift"], drift.mean((0, 2)))
    assert found["diverged"] == pytest.approx(0.2)
    assert found["l2_last"] == found["rollout_l2"][-1]


def test_errors_on_nodes_are_those_on_a_grid_of_them() -> None:
    torch.manual_seed(0)
    prediction, target = 1.0 + torch.randn(2, 4, 3, 2, 8)
    prediction[1, 1:] = torch.nan
    on_grid, on_nodes = RolloutError(), RolloutError()
    on_grid.update(prediction, target, GRID)
    sample, nothing = torch.arange(4).repeat_interleave(8), torch.zeros(32, dtype=torch.int64)
    nodes = MeshNodes(sample, torch.full((32,), 1 / 8), nothing, 4)
    on_nodes.update(*(u.permute(0, 3, 1, 2).flatten(0, 1) for u in (prediction, target)), nodes)
    found = on_nodes.compute()
    for name, value in on_grid.compute().items():
        torch.testing.assert_close(found[name], value)
    assert found["diverged"] == 0.25


def test_an_evaluator_takes_every_state_as_a_channel() -> None:
    torch.manual_seed(0)
    prediction, target = torch.randn(2, 4, 3, 1, 8)
    evaluator, flat = Evaluator(), Evaluator()
    evaluator.update(prediction, target, GRID)
    flat.update(prediction.flatten(1, 2), target.flatten(1, 2), GRID)
    found = evaluator.compute()
    assert set(found) - set(flat.compute()) == {"l2_last", "drift_last", "diverged"}
    for name, value in flat.compute().items():
        torch.testing.assert_close(found[name], value)
    assert evaluator.curves()["rollout_l2"].shape == (3,)
    evaluator.reset()
    evaluator.update(prediction[:, 0], target[:, 0], GRID)
    assert "diverged" not in evaluator.compute()


def test_a_diverged_sample_leaves_the_loss_finite_and_the_picture_drawn() -> None:
    batch, objective = batch_of(3, state=1), Rollout().eval()
    batch["input"] = batch["input"][:, :1]
    batch["input"][0] = 1.0
    found = objective.predict(lambda x: torch.where(x > 0.99, 1e4, 0.5) * x, batch)
    assert torch.isnan(found[0]).any()
    assert torch.isfinite(objective(found, batch))
    draw(batch["target"][0, -1], held(found[:1])[0, -1])


def test_trajectories_are_refused_by_the_other_objectives_and_a_push_needs_a_run_up() -> None:
    batch = batch_of(1)
    for objective in (Supervised(), Residual(Poisson(1))):
        with pytest.raises(InvalidInput, match="Rollout, for the data are trajectories"):
            objective(objective.predict(weighted, batch), batch)
    with pytest.raises(InvalidInput, match="horizon of at least 2"):
        Rollout(pushforward=True).train().predict(weighted, batch)


@pytest.mark.parametrize("noise", [-0.1, float("nan")])
def test_noise_is_not_negative(noise: float) -> None:
    with pytest.raises(InvalidInput, match=r"objective\.noise"):
        Rollout(noise=noise)


def test_pairs_are_no_trajectories() -> None:
    pair = {"input": torch.zeros(1, 1, 8), "target": torch.zeros(1, 1, 8), "grid": GRID}
    with pytest.raises(InvalidInput, match="TrajectoryData"):
        Rollout().predict(weighted, pair)


def write_waves(path: Path, samples: int = 24, instants: int = 9) -> None:
    """Waves that travel a quarter of a node a step, exactly."""
    rng = np.random.default_rng(0)
    x, t = np.arange(16) / 16, np.arange(instants) / 64
    phase, size = rng.uniform(0, 1, (2, samples, 3, 1, 1))
    waves = [np.sin(2 * np.pi * (k * (x - t[:, None]) + phase[:, k - 1])) * size[:, k - 1] for k in (1, 2, 3)]
    grid = Grid(("x",), (0.0,), (1.0,), (16,), (True,))
    with WellWriter(path, name="waves", grid=grid, n=samples, fields={"u": 0}, times=t) as writer:
        writer.write(0, {"u": sum(waves)})


def test_a_model_of_one_step_marches_in_training_test_and_as_a_surrogate(tmp_path: Path) -> None:
    write_waves(tmp_path / "waves.h5")
    torch.manual_seed(0)
    data = TrajectoryData(
        str(tmp_path / "waves.h5"), ["u"], horizon=2, batch_size=8, split=(16 / 24, 4 / 24, 4 / 24)
    )
    task = TrainingTask(
        FNO([8], width=12, layers=2, positions=None),
        Rollout(),
        lambda parameters: torch.optim.AdamW(parameters, lr=1e-2),
        OneCycle(),
    )
    callbacks = [TestResults(tmp_path), SurrogateExport(tmp_path)]
    trainer = toy_trainer(tmp_path, 25, callbacks, num_sanity_val_steps=0)
    trainer.fit(task, datamodule=data)
    trainer.test(task, datamodule=data, verbose=False)
    metrics = json.loads((tmp_path / "test" / "metrics.json").read_text())["16"]
    assert metrics["diverged"] == 0
    assert metrics["l2"] < 0.2, metrics
    with np.load(tmp_path / "test" / "16.npz") as stored:
        assert stored["rollout_l2"].shape == (8,)
        assert stored["rollout_l2"][-1] == pytest.approx(metrics["l2_last"])
        assert stored["prediction"].shape == (3, 1, 16)
    surrogate = pdeflow.load(tmp_path / "surrogate")
    assert surrogate.time_step == 1 / 64
    assert surrogate.state_channels == 1
    start = WellReader(tmp_path / "waves.h5").read("u", slice(0, 3), step=0).astype(np.float32)
    states, u = surrogate.rollout(start, 3), start
    assert states.shape == (3, 3, 16)
    for step in range(3):
        u = surrogate(u)
        np.testing.assert_allclose(states[:, step], u, rtol=1e-5, atol=1e-6)
    assert surrogate.rollout(start[0], 2).shape == (2, 16)
    with pytest.raises(InvalidInput, match="steps: got 0"):
        surrogate.rollout(start, 0)
