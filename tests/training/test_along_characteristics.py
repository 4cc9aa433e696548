"""Learning a statement along its characteristics: where things move to, and what they carry."""

from __future__ import annotations

import math
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor, nn

from pdeflow.fields import MLP, AutogradField, Field
from pdeflow.problems import (
    AlongCharacteristics,
    Box,
    ConvectedSine,
    Dirichlet,
    Initial,
    Problem,
    SineBurgers,
)
from pdeflow.problems.calculus import D, Names, sin
from pdeflow.training import Collocation, LevenbergMarquardt, PhysicsInformed, TrainingTask
from pdeflow.training.trust import Trust, examine


class Drifting(SineBurgers):
    """The same sine on a stream: U + v(x - U t, t), with the v that it is without a stream."""

    stream = 20.0

    def __init__(self) -> None:
        super().__init__(viscosity=0.2)
        self.domain = Box(x=(-1.0, 1.0), t=(0.0, 0.5), periodic=["x"])
        self.conditions = (Initial(lambda at, *p: self.stream - sin(math.pi * at.x)),)

    def exact(self, at: Any, p: Any) -> Any:
        there = Names("coordinate", {"x": at.x - self.stream * at.t, "t": at.t})
        return self.stream + super().exact(there, p)


class Steepening(Problem):
    """Burgers' equation without viscosity, before the characteristics of -sin(pi x) meet at t = 1 / pi."""

    domain = Box(x=(-1.0, 1.0), t=(0.0, 0.3))
    conditions = (Dirichlet(0.0, on=("x-", "x+")), Initial(lambda at, *p: -sin(math.pi * at.x)))

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return D(u, "t") + u * D(u, "x")


def trained(problem: Problem, hard: bool = True) -> TrainingTask:
    """A small network after 80 steps."""
    domain, components = problem.domain, len(problem.fields)
    torch.manual_seed(0)
    model = MLP(domain.lower, domain.upper, components, domain.periodic, widths=(12, 12))
    task = TrainingTask(model, PhysicsInformed(problem, hard=hard), LevenbergMarquardt)
    trainer = lightning.Trainer(
        max_epochs=8, precision="64-true", accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    data = Collocation(problem, inside=200, on_sides=50, held_back=50, test_resolutions=(5,))
    trainer.fit(task, datamodule=data)
    return task.double()


def learned(problem: Problem, hard: bool = True) -> tuple[Tensor, Tensor]:
    """Points (x, t), and what a small network says there after training, (N, unknowns)."""
    domain, task = problem.domain, trained(problem, hard)
    torch.manual_seed(3)
    low, high = (torch.tensor(ends, dtype=torch.float64) for ends in (domain.lower, domain.upper))
    x = low + (high - low) * torch.rand(200, 2, dtype=torch.float64)
    assert isinstance(task.model, Field)
    return x, task.model.at(x).detach()


def exact(member: Problem, place: Tensor, times: Tensor) -> Tensor:
    p = Names("parameter", member.complete_parameters({}))
    return member.exact(Names("coordinate", {"x": place, "t": times}), p)


@pytest.mark.parametrize(
    ("member", "hard"),
    [(ConvectedSine(), False), (ConvectedSine(), True), (SineBurgers(viscosity=0.2), True)],
)
def test_characteristics_are_learned_beside_what_they_carry(member: Problem, hard: bool) -> None:
    """Those of the exact solution; and where they have come to u is what it is there."""
    problem = AlongCharacteristics(member)
    x, values = learned(problem, hard)
    reference = problem.reference(x.numpy())
    assert reference is not None
    expected = torch.from_numpy(reference)
    assert bool(((values - expected).norm(dim=0) < 1e-2 * expected.norm(dim=0)).all())
    u = exact(member, x[:, 0] + values[:, 1], x[:, 1])
    assert (values[:, 0] - u).norm() < 1e-2 * u.norm()


def test_a_front_on_a_stream_is_learned_where_it_moves_and_not_where_it_passes() -> None:
    """Five waves far: a network of place and time is far from it after as many steps."""
    member = Drifting()
    x, values = learned(AlongCharacteristics(member))
    u = exact(member, x[:, 0] + values[:, 1], x[:, 1])
    assert (values[:, 0] - u).norm() < 1e-2 * (u - member.stream).norm()
    x, values = learned(member)
    u = exact(member, x[:, 0], x[:, 1])
    assert (values[:, 0] - u).norm() > 0.2 * (u - member.stream).norm()


def test_without_viscosity_all_of_it_is_on_straight_characteristics() -> None:
    x, values = learned(AlongCharacteristics(Steepening()))
    u = -torch.sin(math.pi * x[:, 0])
    expected = torch.stack([u, x[:, 1] * u], dim=1)
    assert (values - expected).norm() < 1e-3 * expected.norm()


class Formula(nn.Module):
    """The solution of `Steepening` along its characteristics, beyond the time when they meet too."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, points: Tensor) -> Tensor:
        u = -torch.sin(math.pi * points[:, 0])
        return self.one * torch.stack([u, points[:, 1] * u], dim=1)


def looked_at(stop: float) -> Trust:
    member = Steepening()
    member.domain = Box(x=(-1.0, 1.0), t=(0.0, stop))
    problem = AlongCharacteristics(member)
    objective = PhysicsInformed(problem, hard=False)
    field = AutogradField(Formula(), problem.domain.lower, problem.domain.upper, 2)
    return examine(objective, field, Collocation(problem, held_back=200))


def test_characteristics_that_cross_are_told_where_they_do_first(caplog: pytest.LogCaptureFixture) -> None:
    """Both equations hold to rounding beyond the shock too: only the fold tells that u has several values."""
    found = looked_at(stop=0.6)
    assert found.worst.relative < 1e-9
    assert found.crossing is not None
    assert 1 / math.pi < found.crossing.time < 1 / math.pi + 0.02
    assert abs(found.crossing.place) < 0.02
    start, time = found.crossing.start, found.crossing.time
    assert found.crossing.stretch == pytest.approx(1 - math.pi * time * math.cos(math.pi * start), abs=1e-9)
    found.tell()
    (told,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    for word in (f"t = {time:.3g}", "first at x = ", "several values", "End the time", "viscosity"):
        assert word in told
    assert found.record()["advice"] in told
    assert "Train longer" not in told


def test_characteristics_that_do_not_cross_are_trusted() -> None:
    found = looked_at(stop=0.3)
    assert found.crossing is None
    assert not found.doubts


def test_a_solution_that_was_learned_beyond_the_shock_is_said_to_fold() -> None:
    member = Steepening()
    member.domain = Box(x=(-1.0, 1.0), t=(0.0, 0.6))
    problem = AlongCharacteristics(member)
    task = trained(problem)
    assert isinstance(task.objective, PhysicsInformed)
    assert isinstance(task.model, Field)
    found = examine(task.objective, task.model, Collocation(problem, held_back=200))
    assert found.crossing is not None
    assert found.crossing.time == pytest.approx(1 / math.pi, abs=0.03)
