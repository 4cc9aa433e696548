"""Weights of the terms of a loss: against their formulas, within steps, in checkpoints."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from statement_run import assert_resumed_is_whole, run, terms, tiny
from torch import Tensor
from torch.func import functional_call, jacrev

from pdeflow.errors import InvalidInput
from pdeflow.fields import MLP
from pdeflow.problems import HeatedRod
from pdeflow.training import (
    EnergyNaturalGradient,
    LearningRateAnnealing,
    LevenbergMarquardt,
    NTKWeights,
    PhysicsInformed,
    ReLoBRaLo,
    SSBroyden,
)
from pdeflow.training.loss_balancing import LossBalance
from pdeflow.training.statement_slopes import StatementSlopes

Adam = partial(torch.optim.Adam, lr=1e-2)
WEIGHT = 3.0


def scale(name: str) -> float:
    return 1.0 if name == "inside" else WEIGHT


def test_annealing_follows_the_gradients() -> None:
    """Against gradients of each mean of squares, one by one; between changes the weights stay."""
    balance = LearningRateAnnealing(every=2, momentum=0.8)
    objective, field, batch = tiny(weight=WEIGHT, balance=balance)
    expected = {name: 1.0 for name in objective.statements}
    for step in range(3):
        objective.begin_step(field, step)
        objective.weighted(field, batch)
        if step % 2 == 0:
            slopes = {}
            for name, r in terms(objective, field, batch).items():
                loss = scale(name) * r.square().mean()
                found = torch.autograd.grad(
                    loss, list(field.parameters()), allow_unused=True, materialize_grads=True
                )
                slopes[name] = torch.cat([part.flatten() for part in found]).abs()
            for name in list(expected)[1:]:
                wanted = float(slopes["inside"].max() / slopes[name].mean())
                expected[name] = 0.8 * expected[name] + 0.2 * wanted
        assert balance.weights.tolist() == pytest.approx(list(expected.values()), rel=1e-9)
        with torch.no_grad():  # the next change is another one
            for p in field.parameters():
                p.mul_(1.1)
    assert balance.weights[0] == 1.0
    assert bool((balance.weights[1:] != 1.0).all())


def test_ntk_weights_are_quotients_of_sums_of_eigenvalues() -> None:
    balance = NTKWeights()
    objective, field, batch = tiny(weight=WEIGHT, balance=balance)
    objective.begin_step(field, 0)
    objective.weighted(field, batch)
    parameters = {name: p.detach() for name, p in field.named_parameters()}

    class Residuals(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.field = field

        def forward(self) -> dict[str, Tensor]:
            parts = objective.piecewise(self.field, batch["points"])
            return {name: part.flatten() * math.sqrt(scale(name) / len(part)) for name, part in parts.items()}

    module = Residuals()
    jacobians = jacrev(
        lambda p: functional_call(module, {f"field.{name}": value for name, value in p.items()}, ())
    )(parameters)
    rows = {name: torch.cat([s.flatten(1) for s in by.values()], dim=1) for name, by in jacobians.items()}
    assert list(rows) == list(objective.statements)
    own = {name: float(torch.linalg.eigvalsh(J @ J.T).sum()) for name, J in rows.items()}
    together = torch.cat(list(rows.values()))
    total = float(torch.linalg.eigvalsh(together @ together.T).sum())
    assert balance.weights.tolist() == pytest.approx([total / value for value in own.values()], rel=1e-9)


def test_ntk_weights_look_at_all_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether some at a time or all together; at a time as few as parameters leave room for."""
    found, seen = [], []
    jacobian = StatementSlopes.jacobian

    def counted(self: StatementSlopes, field: Any, statement: Any, points: Tensor, names: Any) -> Any:
        seen.append(len(points))
        return jacobian(self, field, statement, points, names)

    monkeypatch.setattr(StatementSlopes, "jacobian", counted)
    for some in (4, 1000, 0):
        balance = NTKWeights()
        objective, field, batch = tiny(balance=balance)
        parameters = sum(p.numel() for p in field.parameters())
        monkeypatch.setattr("pdeflow.training.physics_informed.AT_ONCE", some * parameters + 1)
        objective.begin_step(field, 0)
        objective.weighted(field, batch)
        found.append(balance.weights)
    for weights in found:
        torch.testing.assert_close(weights, found[0])
    inside, side = [4] * 7 + [2], [4, 3]
    assert seen == inside + 3 * side + [30, 7, 7, 7] + [1] * 51


class Losses:
    """Terms with values that a test gives; these are the traces too, and the gradients by one parameter."""

    def __init__(self, values: list[float], dtype: torch.dtype = torch.float64) -> None:
        self._values = torch.tensor(values, dtype=dtype)

    def values(self) -> Tensor:
        return self._values

    traces = values

    def gradients(self) -> Tensor:
        return self._values[:, None]


def softmax(quotients: list[float]) -> list[float]:
    powers = [math.exp(q) for q in quotients]
    return [len(powers) * power / sum(powers) for power in powers]


@pytest.mark.parametrize("remembering", [0.0, 0.5, 1.0])
def test_relobralo_by_hand(remembering: float) -> None:
    balance = ReLoBRaLo(memory=0.7, temperature=0.5, remembering=remembering, seed=3)
    balance.begin(3)
    balance.double()
    history = [[4.0, 1.0, 2.0], [2.0, 0.9, 2.5], [1.0, 0.4, 0.2], [0.9, 0.5, 0.1], [0.2, 0.1, 0.1]]
    weights = [1.0, 1.0, 1.0]
    for step, losses in enumerate(history):
        balance.adapt(Losses(losses), step)
        if step:
            since_start, since_before = (
                softmax([now / (0.5 * then) for now, then in zip(losses, history[k])]) for k in (0, step - 1)
            )
            rho = np.random.default_rng(np.random.SeedSequence(3, spawn_key=(step,))).random() < remembering
            kept = weights if rho else since_start
            weights = [0.7 * a + 0.3 * b for a, b in zip(kept, since_before)]
        assert balance.weights.tolist() == pytest.approx(weights, rel=1e-12)
    assert sum(weights) == pytest.approx(3.0)


def test_relobralo_after_a_loss_of_zero() -> None:
    balance = ReLoBRaLo(memory=0.0)
    balance.begin(2)
    balance.double()
    balance.adapt(Losses([1.0, 0.0]), 0)
    balance.adapt(Losses([1.0, 0.1]), 1)
    assert balance.weights.tolist() == [0.0, 2.0]


@pytest.mark.parametrize("balance", [LearningRateAnnealing(momentum=0.0), NTKWeights()])
@pytest.mark.parametrize(("dtype", "least"), [(torch.float32, 1e-44), (torch.float64, 5e-324)])
def test_quotients_stay_finite(balance: LossBalance, dtype: torch.dtype, least: float) -> None:
    """As a term next to 0 makes them; one of 0 changes nothing."""
    balance.begin(3)
    balance.to(dtype)
    balance.adapt(Losses([1.0, least, 0.0], dtype), 0)
    assert balance.weights.tolist() == pytest.approx([1.0, 1e30, 1.0])


# In the loop.


def test_weights_are_roots_on_residuals_and_count_in_training_alone() -> None:
    """Residual, Jacobian and loss of second-order optimisers and of others are of the same function."""
    objective, field, batch = tiny(weight=WEIGHT, balance=LearningRateAnnealing())
    weights = [1.0, 2.0, 5.0, 0.3]
    objective.balance.weights.copy_(torch.tensor(weights))
    parts = terms(objective, field, batch)
    for training, factors in ((True, weights), (False, [1.0] * 4)):
        objective.train(training)
        loss = torch.stack(
            [f * scale(n) * parts[n].square().mean() for n, f in zip(objective.statements, factors)]
        ).sum()
        expected = torch.autograd.grad(loss, list(field.parameters()), retain_graph=True)
        named = {f"field.{name}": p.detach() for name, p in field.named_parameters()}
        r, J = objective.linearised(field, named, batch)
        torch.testing.assert_close(r.square().sum(), loss)
        torch.testing.assert_close(2 * J.T @ r, torch.cat([part.flatten() for part in expected]))
        torch.testing.assert_close(objective.weighted(field, batch), r)


@pytest.mark.parametrize("balance", [LearningRateAnnealing, NTKWeights, ReLoBRaLo])
def test_weights_stay_within_a_step(balance: Any) -> None:
    """Whatever the parameters are: a line search compares values of one function."""
    objective, field, batch = tiny(balance=balance(every=1))
    objective.begin_step(field, 1)
    before = objective.balance.weights.clone()
    objective.weighted(field, batch)
    first = objective.balance.weights.clone()
    assert not torch.equal(before, first)
    with torch.no_grad():
        for p in field.parameters():
            p.mul_(1.5)
    objective.weighted(field, batch)
    assert torch.equal(objective.balance.weights, first)
    objective.begin_step(field, 2)
    objective.eval()
    objective.weighted(field, batch)
    assert torch.equal(objective.balance.weights, first)


@pytest.mark.parametrize(
    ("balance", "optimizer"),
    [
        (partial(LearningRateAnnealing, every=4), LevenbergMarquardt),
        (partial(LearningRateAnnealing, every=5), Adam),
        (partial(NTKWeights, every=5), EnergyNaturalGradient),
        (partial(ReLoBRaLo, memory=0.6, remembering=0.5), Adam),
        (partial(ReLoBRaLo, every=5), partial(SSBroyden, iterations=2)),
    ],
    ids=[
        "annealing, LM",
        "annealing, Adam",
        "NTK, natural gradient",
        "ReLoBRaLo, Adam",
        "ReLoBRaLo, SSBroyden",
    ],
)
def test_a_resumed_run_is_the_whole_one(balance: Any, optimizer: Any, tmp_path: Path) -> None:
    def make() -> PhysicsInformed:
        return PhysicsInformed(HeatedRod(), hard=False, balance=balance())

    state = assert_resumed_is_whole(make, optimizer, tmp_path)
    assert bool((state["objective.balance.weights"] != 1.0).any())


def test_weights_are_logged_and_validation_goes_by_the_loss_without_them() -> None:
    objective = PhysicsInformed(HeatedRod(), hard=False, balance=NTKWeights(every=4))
    task, trainer = run(objective, LevenbergMarquardt)
    logged = {name: float(v) for name, v in trainer.callback_metrics.items() if "weight" in name}
    names = ["inside", "t-:value", "x+:value", "x-:value"]
    assert sorted(logged) == sorted(f"train/weight of {name}" for name in names)
    assert max(logged.values()) > 5.0
    task.double()
    held = trainer.datamodule.val_dataloader().batches[-1]
    plain = PhysicsInformed(HeatedRod(), hard=False).double()
    expected = plain.weighted(task.model, held).square().sum()
    torch.testing.assert_close(trainer.callback_metrics["valid/loss"].double(), expected)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: LearningRateAnnealing(every=0), "objective.balance.every: got 0"),
        (lambda: LearningRateAnnealing(momentum=1.0), "objective.balance.momentum: got 1.0"),
        (lambda: NTKWeights(every=0), "objective.balance.every"),
        (lambda: ReLoBRaLo(memory=1.1), "objective.balance.memory"),
        (lambda: ReLoBRaLo(remembering=-0.1), "objective.balance.remembering"),
        (lambda: ReLoBRaLo(temperature=0.0), "objective.balance.temperature"),
        (lambda: ReLoBRaLo(seed=-1), "objective.balance.seed"),
        (
            lambda: PhysicsInformed(HeatedRod(), balance=NTKWeights()).constrain(MLP([0.0] * 2, [1.0] * 2)),
            "objective.balance: got 'NTKWeights', expected none, for heated_rod leaves(?s:.*)hard: false",
        ),
    ],
)
def test_what_is_wrong_is_named(make: Any, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        make()


@pytest.mark.parametrize("balance", [LearningRateAnnealing, NTKWeights, ReLoBRaLo])
def test_no_device_is_named(balance: Any) -> None:
    """On the device of shapes without numbers nothing is read on the host."""
    objective, field, batch = tiny(balance=balance())
    objective.to("meta")
    points = {name: part.to("meta") for name, part in batch["points"].items()}
    objective.begin_step(field, 1 if balance is ReLoBRaLo else 0)
    assert objective.weighted(field.to("meta"), {"points": points}).device.type == "meta"
