"""Schedules of optimisers: when the next one begins, in the loop and from a state."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor, nn

from pdeflow.errors import InvalidInput, NumericalFailure
from pdeflow.fields import MLP
from pdeflow.problems import SinePoisson
from pdeflow.training import (
    Collocation,
    LevenbergMarquardt,
    NonFiniteLoss,
    PhysicsInformed,
    RestartedLBFGS,
    SafeCheckpointIO,
    SSBroyden,
    Stage,
    Stages,
    TrainingTask,
)
from pdeflow.training.schedules import Cosine

ADAM = partial(torch.optim.Adam, lr=0.1)


def parabola() -> tuple[nn.Parameter, Stages]:
    parameter = nn.Parameter(torch.tensor([3.0, -2.0], dtype=torch.float64))
    return parameter, Stages(iter([parameter]), [Stage(ADAM, 3), Stage(partial(SSBroyden, iterations=1))])


def step(parameter: nn.Parameter, optimiser: Stages) -> float:
    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = (parameter - 1).square().sum() + (parameter - 1).pow(4).sum()
        loss.backward()
        return loss

    return float(torch.as_tensor(optimiser.step(closure)).detach())


def test_the_next_begins_after_its_steps() -> None:
    parameter, optimiser = parabola()
    names = []
    for _ in range(5):
        names.append(type(optimiser.current).__name__)
        step(parameter, optimiser)
    assert names == ["Adam", "Adam", "Adam", "SSBroyden", "SSBroyden"]
    assert optimiser.param_groups is optimiser.current.param_groups
    assert not optimiser.stalled


def test_the_next_begins_when_one_stalls_and_the_last_one_ends_it() -> None:
    parameter = nn.Parameter(torch.ones(2, dtype=torch.float64))  # the minimum
    optimiser = Stages([parameter], [Stage(RestartedLBFGS, 100), Stage(SSBroyden)])
    step(parameter, optimiser)
    assert isinstance(optimiser.current, SSBroyden)
    assert not optimiser.stalled
    step(parameter, optimiser)
    assert optimiser.stalled


def test_a_last_stage_with_steps_ends_after_them() -> None:
    parameter = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    optimiser = Stages([parameter], [Stage(ADAM, 2)])
    step(parameter, optimiser)
    assert not optimiser.over
    step(parameter, optimiser)
    assert optimiser.over
    assert not optimiser.stalled


@pytest.mark.parametrize("before", [2, 3, 4])
def test_it_goes_on_from_its_state_to_the_same_numbers(before: int) -> None:
    whole, optimiser = parabola()
    for _ in range(6):
        step(whole, optimiser)
    parameter, optimiser = parabola()
    for _ in range(before):
        step(parameter, optimiser)
    again, resumed = parabola()
    again.data.copy_(parameter.detach())
    resumed.load_state_dict(optimiser.state_dict())
    for _ in range(6 - before):
        step(again, resumed)
    assert again.tolist() == whole.tolist()


def test_a_state_of_more_stages_is_refused() -> None:
    parameter, optimiser = parabola()
    for _ in range(3):
        step(parameter, optimiser)
    with pytest.raises(InvalidInput, match=r"optimizer\.stages"):
        Stages([parameter], [Stage(ADAM)]).load_state_dict(optimiser.state_dict())


def test_a_schedule_moves_the_learning_rate_of_the_stage() -> None:
    parameter, optimiser = parabola()
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.5)
    step(parameter, optimiser)
    schedule.step()
    assert optimiser.current.param_groups[0]["lr"] == pytest.approx(0.05)
    for _ in range(3):
        step(parameter, optimiser)
        schedule.step()
    assert isinstance(optimiser.current, SSBroyden)


@pytest.mark.parametrize(
    ("stages", "word"),
    [
        ([], "optimizer.stages"),
        ([Stage(ADAM), Stage(SSBroyden)], r"stages\[0\].steps: got None.*another stage follows"),
        ([Stage(ADAM, 2), Stage(SSBroyden, 0)], r"stages\[1\].steps: got 0"),
    ],
)
def test_wrong_settings(stages: list[Stage], word: str) -> None:
    with pytest.raises(InvalidInput, match=word):
        Stages([nn.Parameter(torch.zeros(1))], stages)


def test_a_schedule_of_what_has_no_learning_rate_is_refused() -> None:
    task = TrainingTask(
        MLP([0.0, 0.0], [1.0, 1.0], widths=(3,)),
        PhysicsInformed(SinePoisson()),
        optimizer=SSBroyden,
        lr_scheduler=Cosine(),
    )
    with pytest.raises(InvalidInput, match=r"lr_scheduler.*SSBroyden has no learning rate"):
        task.configure_optimizers()


def test_soap_of_a_library_is_a_stage() -> None:
    soap = pytest.importorskip("pytorch_optimizer", reason='pip install "pdeflow[soap]"').SOAP
    torch.manual_seed(0)
    field = MLP([0.0, 0.0], [1.0, 1.0], widths=(8,)).double()
    stages = [Stage(partial(soap, lr=1e-2), 40), Stage(SSBroyden)]
    optimiser = Stages(field.parameters(), stages)
    x = torch.rand(50, 2, dtype=torch.float64)
    losses = []

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = (field.at(x)[:, 0] - x.prod(1)).square().mean()
        loss.backward()
        losses.append(float(loss.detach()))
        return loss

    for _ in range(41):
        optimiser.step(closure)
    assert losses[40] < 0.1 * losses[0]
    assert losses[-1] < 0.1 * losses[40]


def task(problem: SinePoisson, stages: list[Stage], objective: PhysicsInformed | None = None) -> TrainingTask:
    torch.manual_seed(0)
    field = MLP([0.0, 0.0], [1.0, 1.0], widths=(16,))
    return TrainingTask(
        field, objective or PhysicsInformed(problem), optimizer=partial(Stages, stages=stages)
    )


def trainer(epochs: int, **settings: Any) -> lightning.Trainer:
    quiet = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    return lightning.Trainer(max_epochs=epochs, precision="64-true", accelerator="cpu", **quiet, **settings)


def points(problem: SinePoisson) -> Collocation:
    return Collocation(problem, inside=200, steps=10, held_back=50, test_resolutions=(21,))


def test_adam_levenberg_marquardt_and_ssbroyden_solve_poissons_equation_in_one_run() -> None:
    problem = SinePoisson()
    stages = [Stage(partial(torch.optim.Adam, lr=1e-2), 20), Stage(LevenbergMarquardt, 20), Stage(SSBroyden)]
    model, loop = task(problem, stages), trainer(6)
    model.make_scheduler = Cosine()
    loop.fit(model, datamodule=points(problem))
    optimiser = loop.optimizers[0]
    assert isinstance(optimiser, Stages)
    assert isinstance(optimiser.current, SSBroyden)
    assert optimiser.current.restarts == 0
    assert float(loop.callback_metrics["valid/l2"]) < 1e-4


def test_a_resumed_run_is_the_whole_one(tmp_path: Path) -> None:
    """Resumed in the second stage, whose matrix is in the checkpoint."""
    problem, stages = SinePoisson(), [Stage(ADAM, 5), Stage(partial(SSBroyden, iterations=2))]
    whole = task(problem, stages)
    trainer(3).fit(whole, datamodule=points(problem))
    half, loop = task(problem, stages), trainer(2, plugins=[SafeCheckpointIO()])
    loop.fit(half, datamodule=points(problem))
    loop.save_checkpoint(tmp_path / "half.ckpt")
    resumed = task(problem, stages)
    trainer(3, plugins=[SafeCheckpointIO()]).fit(
        resumed, datamodule=points(problem), ckpt_path=str(tmp_path / "half.ckpt")
    )
    for ours, theirs in zip(resumed.parameters(), whole.parameters()):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


class Rates(lightning.Callback):
    """The learning rate of every step."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_batch_start(self, trainer: lightning.Trainer, *rest: Any) -> None:
        self.seen.append(trainer.optimizers[0].param_groups[0]["lr"])


def test_a_schedule_starts_from_the_rate_of_each_stage(tmp_path: Path) -> None:
    """Also where a run goes on from a checkpoint in the second one."""
    problem = SinePoisson()
    stages = [Stage(partial(torch.optim.Adam, lr=lr), steps) for lr, steps in ((1e-2, 4), (1e-4, None))]

    def rates(epochs: int, path: str | None = None) -> list[float]:
        seen, model = Rates(), task(problem, stages)
        model.make_scheduler = Cosine()
        loop = trainer(epochs, callbacks=[seen], plugins=[SafeCheckpointIO()], limit_val_batches=0)
        loop.fit(model, datamodule=points(problem), ckpt_path=path)
        loop.save_checkpoint(tmp_path / f"{epochs}.ckpt")
        return seen.seen

    def expected(step: int, steps: int) -> float:
        return (1e-2 if step < 4 else 1e-4) * (1 + math.cos(math.pi * step / steps)) / 2

    assert rates(1) == pytest.approx([expected(step, 10) for step in range(10)])
    again = rates(2, str(tmp_path / "1.ckpt"))
    assert again[1:] == pytest.approx([expected(step, 20) for step in range(11, 20)])


def test_a_later_stage_is_refused_at_once() -> None:
    with pytest.raises(InvalidInput, match=r"optimizer\.history"):
        Stages([nn.Parameter(torch.zeros(1))], [Stage(ADAM, 2), Stage(partial(RestartedLBFGS, history=0))])


def test_the_run_ends_with_its_last_stage() -> None:
    problem = SinePoisson()
    loop = trainer(100)
    loop.fit(task(problem, [Stage(ADAM, 13)]), datamodule=points(problem))
    assert loop.global_step == 13


class Spike(PhysicsInformed):
    """A loss that is infinite once."""

    def __init__(self, problem: SinePoisson, evaluation: int) -> None:
        super().__init__(problem)
        self.evaluation, self.seen = evaluation, 0

    def forward(self, prediction: Tensor, batch: dict[str, Any]) -> Tensor:
        self.seen += 1
        loss = super().forward(prediction, batch)
        return loss / 0 if self.seen == self.evaluation else loss


def test_a_line_search_may_meet_an_infinite_loss_and_a_batch_may_not() -> None:
    problem = SinePoisson()
    for evaluation in (2, 1):
        model = task(problem, [Stage(partial(SSBroyden, iterations=3))], Spike(problem, evaluation))
        loop = trainer(1, callbacks=[NonFiniteLoss()], limit_val_batches=0)
        if evaluation == 1:
            with pytest.raises(NumericalFailure, match=r"epoch 1, batch 1.*\n.*not finite at some point"):
                loop.fit(model, datamodule=points(problem))
        else:
            loop.fit(model, datamodule=points(problem))
            assert float(loop.callback_metrics["train/loss"]) < math.inf
