"""Parameters in the values that conditions give: met by form whatever they are, learned, kept, moved."""

from __future__ import annotations

import json
import math
import warnings
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from statement_run import assert_resumed_is_whole, run
from torch import Tensor

import pdeflow
from pdeflow.errors import InvalidInput
from pdeflow.fields import MLP, Field, Gaussians, HardConditions, Separable, Subdomains
from pdeflow.problems import (
    Ball,
    Box,
    Constant,
    Cylinder,
    D,
    Dirichlet,
    Initial,
    Observed,
    Parameter,
    ParametricFamily,
    Problem,
    Uniform,
)
from pdeflow.problems.calculus import exp, sin
from pdeflow.training import Collocation, LevenbergMarquardt, PhysicsInformed, SSBroyden, TrainingTask
from pdeflow.training.batch_squares import BatchSquares
from pdeflow.training.callbacks import default_callbacks
from pdeflow.training.callbacks.surrogate_export import as_stored
from pdeflow.training.condition_number import condition_number

DECAY = 0.1 * math.pi**2


class Rod(Problem):
    """u_t = 0.1 u_xx from a sin(pi x), 0 at the ends; a is 2 where it is measured."""

    domain = Box(x=(0.0, 1.0), t=(0.0, 1.0))
    a = Parameter(Uniform(0.5, 4.0))
    conditions = (Dirichlet(0.0), Initial(lambda at, p: p.a * sin(math.pi * at.x)))

    def __init__(self, *more: Any) -> None:
        places = np.array([[0.3, 0.2], [0.5, 0.5], [0.8, 0.9]])
        values = 2.0 * np.exp(-DECAY * places[:, 1]) * np.sin(math.pi * places[:, 0])
        self.conditions = (*type(self).conditions, Observed(places, values), *more)

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return D(u, "t") - 0.1 * D(u, "x", 2)


class KnownRod(Rod):
    """Whose amplitude is one number."""

    def __init__(self, a: float = 2.0) -> None:
        self.a, self.conditions = Parameter(Constant(a), positive=True), Rod.conditions

    def exact(self, at: Any, p: Any) -> Any:
        return p.a * exp(-DECAY * at.t) * sin(math.pi * at.x)


class Disc(Problem):
    """u_t = u_xx + u_yy in a disc that is g x warm around, and g x at the start."""

    domain = Cylinder(Ball(1.0, x=0.0, y=0.0), t=(0.0, 1.0))
    g = Parameter(Uniform(0.0, 4.0))
    conditions = (
        Dirichlet(lambda at, p: p.g * at.x),
        Initial(lambda at, p: p.g * (at.x * at.x + at.y * at.y) * at.x),
    )

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return D(u, "t") - D(u, "x", 2) - D(u, "y", 2)


class Edge(Problem):
    """u_xx + u_yy = 0 on a square, with one value on a side and another around it."""

    domain = Box(x=(0.0, 1.0), y=(0.0, 1.0))
    g = Parameter(Uniform(0.0, 4.0))

    def __init__(self, side: Any, around: Any) -> None:
        self.conditions = (Dirichlet(around), Dirichlet(side, on="x-"))

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return D(u, "x", 2) + D(u, "y", 2)


def network(problem: Problem, kind: type[Field] = MLP) -> Field:
    torch.manual_seed(0)
    settings: dict[type[Field], dict[str, Any]] = {
        MLP: {"widths": (6,)},
        Gaussians: {"gaussians": 6, "sigma": 0.6},
        Separable: {"rank": 3, "widths": (4,)},
        Subdomains: {"widths": (5,), "subdomains": (2, 1)},
    }
    return kind(lower=problem.domain.lower, upper=problem.domain.upper, **settings[kind]).double()


def put(objective: PhysicsInformed, name: str, value: float) -> None:
    """Give an unknown parameter a value between its bounds, which are near enough for the map of a sine."""
    low, high = objective.unknown.bounds[name]
    with torch.no_grad():
        objective.unknown.free[name].fill_(math.asin((2 * value - low - high) / (high - low)))


@pytest.mark.parametrize("problem", [Rod(), Disc()], ids=["box", "disc"])
def test_values_are_met_whatever_the_parameter_is(problem: Problem) -> None:
    (name,) = problem.parameters
    objective = PhysicsInformed(problem, unknown={name: 1.0}).double()
    field = objective.constrain(network(problem))
    points = Collocation(problem, on_sides=30).points(0, 10)
    assert {part for part in objective.statements if ":" in part} <= {"observed 0:value"}
    for value in (1.0, 3.3):
        put(objective, name, value)
        left = objective.condition_residuals(field, points)
        for part, residual in left.items():
            if not part.startswith("observed"):
                assert float(residual.detach().abs().max()) < 1e-11, part
    start = points["t-"][:, :-1]
    x = points["t-"][:, 0]
    expected = 3.3 * torch.sin(math.pi * x) if name == "a" else 3.3 * (start[:, :2].square().sum(1)) * x
    torch.testing.assert_close(field.at(points["t-"][:, : field.dim])[:, 0], expected)


@pytest.mark.parametrize("kind", [MLP, Gaussians, Separable, Subdomains])
@pytest.mark.parametrize("hard", [True, False])
def test_the_jacobian_knows_the_parameter(kind: type[Field], hard: bool) -> None:
    problem = Rod()
    objective = PhysicsInformed(problem, hard=hard, unknown={"a": 1.0}).double()
    field = objective.constrain(network(problem, kind))
    data = Collocation(problem, inside=16, on_sides=5, sampler="grid")
    if objective.interfaces is not None:
        data.interfaces = objective.interfaces.places
    points = data.points(0, 16)
    for batch in ({"points": points}, {"points": points, "axes": data.axes(points)}):
        parameters = [*field.parameters(), *objective.parameters()]
        r, jacobian = BatchSquares(objective, field, parameters, batch).linearised()
        weighted = objective.weighted(field, batch)
        torch.testing.assert_close(r, weighted.detach())
        for row, value in zip(jacobian, weighted):
            slopes = torch.autograd.grad(value, parameters, retain_graph=True, materialize_grads=True)
            torch.testing.assert_close(row, torch.cat([s.flatten() for s in slopes]), rtol=1e-8, atol=1e-9)
    assert float(jacobian[:, -1].abs().max()) > 1e-2


@pytest.mark.parametrize(
    ("optimizer", "hard"), [(LevenbergMarquardt, True), (LevenbergMarquardt, False), (SSBroyden, True)]
)
def test_an_amplitude_is_found_from_measurements(optimizer: Any, hard: bool) -> None:
    objective = PhysicsInformed(Rod(), hard=hard, unknown={"a": 1.0})
    run(objective, optimizer, epochs=8 if hard else 12)
    assert float(objective.found()["a"]) == pytest.approx(2.0, abs=2e-2)


def test_a_resumed_run_has_the_same_parameter(tmp_path: Path) -> None:
    def make() -> PhysicsInformed:
        return PhysicsInformed(Rod(), unknown={"a": 1.0})

    state = assert_resumed_is_whole(make, LevenbergMarquardt, tmp_path)
    assert float(state["objective.unknown.free.a"]) != pytest.approx(math.asin((2.0 - 4.5) / 3.5), abs=1e-3)
    assert [name for name in state if name.endswith("free.a")] == ["objective.unknown.free.a"]


def test_what_is_stored_has_the_parameter_of_its_checkpoint() -> None:
    problem = Rod()
    objective = PhysicsInformed(problem, unknown={"a": 1.0}).double()
    task = TrainingTask(network(problem), objective)
    put(objective, "a", 1.7)
    state = {name: value.clone() for name, value in task.state_dict().items()}
    put(objective, "a", 3.0)
    stored = as_stored(task, state)
    x = torch.tensor([[0.5, 0.0]], dtype=torch.float64)
    assert isinstance(stored, HardConditions)
    assert isinstance(task.model, HardConditions)
    assert stored.at(x).item() == pytest.approx(1.7)
    assert task.model.at(x).item() == pytest.approx(3.0)
    again = HardConditions.from_formulas(stored.network, **stored.formulas())
    torch.testing.assert_close(again.at(x), stored.at(x))


def test_a_loaded_field_starts_with_what_was_found(tmp_path: Path) -> None:
    problem = Rod()
    task = TrainingTask(
        network(problem).float(), PhysicsInformed(problem, unknown={"a": 1.0}), LevenbergMarquardt
    )
    trainer = lightning.Trainer(
        max_epochs=2, precision="64-true", accelerator="cpu", logger=False, default_root_dir=tmp_path,
        callbacks=default_callbacks(tmp_path), enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(task, datamodule=Collocation(problem, inside=30, steps=2, held_back=20))
    metrics = json.loads((tmp_path / "surrogate" / "surrogate.json").read_text())["metrics"]
    assert metrics["valid/a"] != pytest.approx(1.0, abs=1e-3)
    (start,) = pdeflow.load(tmp_path)(np.array([[0.5, 0.0]]))
    assert start == pytest.approx(metrics["valid/a"], rel=1e-6)


def test_the_parameter_moves_with_the_task() -> None:
    """To the meta device, where there are no numbers, and all that is computed lies there too."""
    problem = Rod()
    task = TrainingTask(network(problem), PhysicsInformed(problem, unknown={"a": 1.0}))
    assert isinstance(task.objective, PhysicsInformed)
    assert isinstance(task.model, HardConditions)
    task.to("meta")
    numbers = {**task.objective.found(), **task.model.numbers()}
    assert {number.device.type for number in numbers.values()} == {"meta"}
    x = torch.empty(5, 2, device="meta")
    assert task.model.float().at(x).device.type == "meta"


def test_of_one_number_it_is_that_number() -> None:
    """A constant, and a coordinate of a family."""
    problem = KnownRod(a=1.5)
    family = ParametricFamily(problem, {"a": (1.0, 3.0)})
    field = PhysicsInformed(problem).constrain(network(problem))
    whole = PhysicsInformed(family).constrain(network(family))
    x = torch.tensor([[0.3, 0.0], [0.5, 0.0]], dtype=torch.float64)
    sines = torch.sin(math.pi * x[:, 0])
    torch.testing.assert_close(field.at(x)[:, 0], 1.5 * sines)
    for value in (1.0, 2.7):
        lifted = torch.cat([x, torch.full((2, 1), value, dtype=torch.float64)], dim=1)
        torch.testing.assert_close(whole.at(lifted)[:, 0], value * sines)
    assert set(PhysicsInformed(family, hard=False).conditions) == {"x-:value", "x+:value", "t-:value"}
    known = condition_number(problem, field)
    assert known.inside.shape == (sum(p.numel() for p in field.parameters()),) * 2


def test_values_that_agree_for_no_number_but_one_are_refused_where_they_are_met() -> None:
    told = r"x- gives [\d.]+ and y[+-] gives 1 where they meet(?s:.*)hard: false"
    for start in (1.0, 2.0):  # with 1 they agree
        with pytest.raises(InvalidInput, match=told):
            PhysicsInformed(Edge(lambda at, p: p.g, 1.0), unknown={"g": start})
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            PhysicsInformed(Edge(lambda at, p: p.g, 1.0), unknown={"g": start}, hard=False)


def test_values_that_agree_for_all_numbers_are_met() -> None:
    problem = Edge(lambda at, p: p.g * (1 + at.y), lambda at, p: p.g * (1 + at.x + at.y))
    objective = PhysicsInformed(problem, unknown={"g": 2.0})
    assert set(objective.statements) == {"inside"}


def test_values_that_no_number_makes_agree_are_told() -> None:
    problem = Edge(lambda at, p: 2.0 + p.g * at.y * (1 - at.y), 1.0)
    with pytest.warns(UserWarning, match=r"x- gives 2 and y[+-] gives 1 where they meet"):
        PhysicsInformed(problem, unknown={"g": 1.0}, hard=False)


def test_a_parameter_that_nothing_contains_is_refused() -> None:
    class Spare(Rod):
        b = Parameter(Uniform(0.5, 4.0))
        c = Parameter(Uniform(0.5, 4.0))

    told = r"objective.unknown: got 'b, c', expected parameters that the equation or a condition of spare"
    with pytest.raises(InvalidInput, match=rf"{told} contains(?s:.*)Known: a\."):
        PhysicsInformed(Spare(), unknown={"a": 1.0, "b": 1.0, "c": 1.0})


def test_soft_values_have_the_parameter_too() -> None:
    objective = PhysicsInformed(Rod(), hard=False, unknown={"a": 1.5}).double()
    field = network(Rod())
    points: dict[str, Tensor] = Collocation(Rod(), on_sides=7).points(0, 5)
    found = objective.condition_residuals(field, points)["t-:value"][:, 0]
    expected = field.at(points["t-"])[:, 0] - 1.5 * torch.sin(math.pi * points["t-"][:, 0])
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)
