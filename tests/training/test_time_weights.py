"""Weights of the residual by time: against their formulas, within steps, in checkpoints."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from statement_run import assert_resumed_is_whole, run, terms, tiny

from pdeflow.errors import InvalidInput
from pdeflow.problems import HeatedRod, SinePoisson
from pdeflow.training import (
    CausalWeights,
    EnergyNaturalGradient,
    GrowingTime,
    LearningRateAnnealing,
    LevenbergMarquardt,
    PhysicsInformed,
    SSBroyden,
)

Adam = partial(torch.optim.Adam, lr=1e-2)


@pytest.mark.parametrize("hard", [False, True], ids=["initial values learned", "met"])
def test_causal_weights_by_hand(hard: bool) -> None:
    """Three intervals, point by point."""
    causal = CausalWeights(intervals=3, tolerances=[0.02])
    objective, network, batch = tiny(HeatedRod(stop=2.0), hard=hard, weight=4.0, time_weights=causal)
    field = objective.constrain(network)
    objective.begin_step(0)
    objective.weighted(field, batch)
    parts = terms(objective, field, batch)
    start = 0.0 if hard else 4.0 * float(parts["t-:value"].detach().square().mean())
    times = batch["points"]["inside"][:, 1].tolist()
    squares = parts["inside"].detach().square().tolist()
    means = []
    for k in range(3):
        inside = [s for s, t in zip(squares, times) if 2 * k / 3 <= t < 2 * (k + 1) / 3]
        means.append(sum(inside) / len(inside))
    expected = [math.exp(-0.02 * (start + sum(means[:k]))) for k in range(3)]
    assert causal.weights.tolist() == pytest.approx(expected, rel=1e-9)
    places = torch.tensor([0.0, 0.5, 0.7, 1.4, 2.0], dtype=torch.float64)
    assert causal.at(places).tolist() == pytest.approx([expected[k] for k in (0, 0, 1, 2, 2)], rel=1e-9)


def test_tolerances_follow_one_another_once_all_weights_are_large() -> None:
    causal = CausalWeights(intervals=2, tolerances=[0.1, 1.0], threshold=0.9)
    causal.begin(0.0, 1.0)
    times, none = torch.tensor([0.2, 0.8]), torch.tensor(0.0)
    for residual, stage, weight in (
        (4.0, 0, math.exp(-0.4)),  # below the threshold
        (0.5, 1, math.exp(-0.05)),  # above
        (0.5, 1, math.exp(-0.5)),
        (0.0, 1, 1.0),  # above, and there is no other tolerance
    ):
        causal.adapt(times, torch.tensor([residual, 9.0]), none, 0)
        assert (int(causal.stage), causal.weights.tolist()) == (stage, pytest.approx([1.0, weight]))


def test_an_interval_without_points_adds_nothing() -> None:
    causal = CausalWeights(intervals=3, tolerances=[1.0])
    causal.begin(0.0, 3.0)
    causal.adapt(torch.tensor([0.5, 0.6, 2.5]), torch.tensor([1.0, 3.0, 7.0]), torch.tensor(0.5), 0)
    assert causal.weights.tolist() == pytest.approx([math.exp(-0.5), math.exp(-2.5), math.exp(-2.5)])


def test_growing_time_counts_the_mean_up_to_where_it_has_come() -> None:
    """The loss of 30 even points is about that of those which count, and exactly their sum over their share."""
    growing = GrowingTime(steps=6, stages=3)
    objective, field, batch = tiny(weight=1.0, time_weights=growing)
    points = batch["points"]["inside"]
    parts = terms(objective, field, batch)
    for step, share in ((0, 1 / 3), (1, 1 / 3), (2, 2 / 3), (4, 1.0), (99, 1.0)):
        objective.begin_step(step)
        loss = objective.weighted(field, batch).square().sum()
        counted = parts["inside"][points[:, 1] <= share].square().sum() / (30 * share)
        conditions = sum(part.square().mean() for name, part in parts.items() if name != "inside")
        torch.testing.assert_close(loss, counted + conditions)
        shown = objective.weights()["weight of the end"]
        assert float(shown) == (1.0 if share == 1.0 else 0.0)


@pytest.mark.parametrize("weights", [CausalWeights(intervals=4, tolerances=[0.1]), GrowingTime(6, stages=3)])
def test_weights_are_roots_on_residuals_and_count_in_training_alone(weights: Any) -> None:
    """With a balance beside them: its terms have the weights of times."""
    balance = LearningRateAnnealing(momentum=0.0)
    objective, field, batch = tiny(time_weights=weights, balance=balance)
    named = {f"field.{name}": p.detach() for name, p in field.named_parameters()}
    objective.begin_step(0)
    objective.weighted(field, batch)
    parts = terms(objective, field, batch)
    by_time = weights.at(batch["points"]["inside"][:, 1])
    assert bool((by_time != 1.0).any())
    losses = [(parts["inside"].square() * by_time).mean()]
    losses += [10.0 * part.square().mean() for name, part in parts.items() if name != "inside"]
    slopes = [
        torch.cat([g.flatten() for g in torch.autograd.grad(one, list(field.parameters()), retain_graph=True)])
        for one in losses
    ]
    expected = [1.0, *(float(slopes[0].abs().max() / slope.abs().mean()) for slope in slopes[1:])]
    assert balance.weights.tolist() == pytest.approx(expected)
    r, J = objective.linearised(field, named, batch)
    torch.testing.assert_close(r.square().sum(), sum(f * one for f, one in zip(expected, losses)))
    torch.testing.assert_close(2 * J.T @ r, sum(f * slope for f, slope in zip(expected, slopes)))
    objective.eval()
    plain = sum(
        (1.0 if name == "inside" else 10.0) * part.square().mean() for name, part in parts.items()
    )
    torch.testing.assert_close(objective.weighted(field, batch).square().sum(), plain)


@pytest.mark.parametrize("optimizer", [LevenbergMarquardt, EnergyNaturalGradient, partial(SSBroyden, iterations=2), Adam])
def test_a_resumed_run_is_the_whole_one(optimizer: Any, tmp_path: Path) -> None:
    def causal() -> PhysicsInformed:
        weights = CausalWeights(intervals=4, tolerances=[0.001, 0.01, 0.1, 1.0])
        return PhysicsInformed(HeatedRod(), time_weights=weights)

    state = assert_resumed_is_whole(causal, optimizer, tmp_path)
    assert int(state["objective.time_weights.stage"]) > 0

    def growing() -> PhysicsInformed:
        return PhysicsInformed(HeatedRod(), time_weights=GrowingTime(steps=9, stages=3))

    assert_resumed_is_whole(growing, optimizer, tmp_path)


@pytest.mark.parametrize("weights", [CausalWeights(intervals=8), GrowingTime(steps=40, stages=4)])
def test_solutions_are_found(weights: Any) -> None:
    _, trainer = run(PhysicsInformed(HeatedRod(), time_weights=weights), LevenbergMarquardt, epochs=20)
    assert float(trainer.callback_metrics["valid/l2"]) < 1e-3
    assert float(trainer.callback_metrics["train/weight of the end"]) > 0.99


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: CausalWeights(intervals=1), "objective.time_weights.intervals: got 1"),
        (lambda: CausalWeights(tolerances=[]), "objective.time_weights.tolerances"),
        (lambda: CausalWeights(tolerances=[1.0, 0.0]), "objective.time_weights.tolerances"),
        (lambda: CausalWeights(threshold=1.0), "objective.time_weights.threshold"),
        (lambda: GrowingTime(10, stages=1), "objective.time_weights.stages: got 1"),
        (lambda: GrowingTime(5), "objective.time_weights.steps: got 5, expected at least 10"),
        (
            lambda: PhysicsInformed(SinePoisson(), time_weights=CausalWeights()),
            "objective.time_weights: got 'CausalWeights', expected none, for sine_poisson has no axis t",
        ),
    ],
)
def test_what_is_wrong_is_named(make: Any, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        make()


@pytest.mark.parametrize("weights", [CausalWeights(), GrowingTime(steps=20)])
def test_no_device_is_named(weights: Any) -> None:
    """On the device of shapes without numbers nothing is read on the host."""
    objective, field, batch = tiny(time_weights=weights)
    objective.to("meta")
    points = {name: part.to("meta") for name, part in batch["points"].items()}
    objective.begin_step(0)
    assert objective.weighted(field.to("meta"), {"points": points}).device.type == "meta"
