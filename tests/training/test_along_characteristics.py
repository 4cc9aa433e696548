"""Learning a statement along its characteristics: where things move to, and what they carry."""

from __future__ import annotations

import math
from typing import Any

import lightning
import pytest
import torch
from torch import Tensor

from pdeflow.fields import MLP
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


def learned(problem: Problem, hard: bool = True) -> tuple[Tensor, Tensor]:
    """Points (x, t), and what a small network says there after 80 steps, (N, unknowns)."""
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
    torch.manual_seed(3)
    low, high = (torch.tensor(ends, dtype=torch.float64) for ends in (domain.lower, domain.upper))
    x = low + (high - low) * torch.rand(200, 2, dtype=torch.float64)
    return x, task.double().model.at(x).detach()


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
