"""Schedules of optimisers: when the next one begins, in the loop and from a state."""

from __future__ import annotations

from functools import partial

import lightning
import pytest
import torch
from torch import Tensor, nn

from pdeflow.errors import InvalidInput
from pdeflow.fields import MLP
from pdeflow.problems import SinePoisson
from pdeflow.training import (
    Collocation,
    LevenbergMarquardt,
    PhysicsInformed,
    RestartedLBFGS,
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


def test_adam_levenberg_marquardt_and_ssbroyden_solve_poissons_equation_in_one_run() -> None:
    torch.manual_seed(0)
    problem = SinePoisson()
    stages = [Stage(partial(torch.optim.Adam, lr=1e-2), 20), Stage(LevenbergMarquardt, 20), Stage(SSBroyden)]
    task = TrainingTask(
        MLP([0.0, 0.0], [1.0, 1.0], widths=(16,)),
        PhysicsInformed(problem),
        optimizer=partial(Stages, stages=stages),
        lr_scheduler=Cosine(),
    )
    data = Collocation(problem, inside=200, steps=10, held_back=50, test_resolutions=(21,))
    trainer = lightning.Trainer(
        max_epochs=6, precision="64-true", accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(task, datamodule=data)
    optimiser = trainer.optimizers[0]
    assert isinstance(optimiser, Stages)
    assert isinstance(optimiser.current, SSBroyden)
    assert optimiser.current.restarts == 0
    assert float(trainer.callback_metrics["valid/l2"]) < 1e-4
