"""A parameter that changes while training: in the loss of each stage, in no other, and in checkpoints."""

from __future__ import annotations

import math
import re
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from statement_run import Decay, assert_resumed_is_whole, run, tiny

from pdeflow.errors import InvalidInput
from pdeflow.fields import MLP
from pdeflow.problems import (
    Box,
    Constant,
    ConvectedSine,
    D,
    Dirichlet,
    HeatedRod,
    Parameter,
    ParametricFamily,
    Problem,
    Robin,
    Uniform,
)
from pdeflow.training import (
    CausalWeights,
    Curriculum,
    EnergyNaturalGradient,
    LevenbergMarquardt,
    PhysicsInformed,
    SSBroyden,
    Stage,
    Stages,
    TimeMarching,
)
from pdeflow.training.collocation import VALIDATION
from pdeflow.training.optimisers.vector_optimiser import NO_STEP

Adam = partial(torch.optim.Adam, lr=1e-2)


class CooledBar(Problem):
    """u_xx = k u, which is 1 on the left and cools by h, of which k is a part too, on the right."""

    domain = Box(x=(0.0, 1.0))
    conditions = (Dirichlet(1.0, on="x-"), Robin(lambda at, p: p.h, lambda at, p: p.k, on="x+"))
    k = Parameter(Uniform(1.0, 4.0), positive=True)

    def __init__(self, h: float = 2.0) -> None:
        self.h = Parameter(Constant(h))

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return D(u, "x", 2) - p.k * u


def test_the_loss_of_a_stage_is_that_of_its_parameter() -> None:
    """Four steps a stage; the last value is the parameter itself, and validation has no other."""
    curriculum = Curriculum("a", 2.0, steps=4, stages=3)
    objective, field, batch = tiny(HeatedRod(0.4), curriculum=curriculum)
    named = {f"field.{name}": p.detach() for name, p in field.named_parameters()}

    def asked(diffusivity: float) -> PhysicsInformed:
        return PhysicsInformed(HeatedRod(diffusivity), hard=False).double()

    for step, value in ((0, 2.0), (3, 2.0), (4, 1.2), (7, 1.2), (8, 0.4), (99, 0.4)):
        objective.begin_step(field, step)
        assert float(objective.progress()["a of the stage"]) == pytest.approx(value)
        expected = asked(value)
        torch.testing.assert_close(objective.weighted(field, batch), expected.weighted(field, batch))
        torch.testing.assert_close(
            objective.linearised(field, named, batch), expected.linearised(field, named, batch)
        )
    curriculum.stage = curriculum.began = 0
    objective.eval()
    torch.testing.assert_close(objective.weighted(field, batch), asked(0.4).weighted(field, batch))
    objective.train()
    torch.testing.assert_close(objective.weighted(field, batch), asked(2.0).weighted(field, batch))


def test_conditions_read_it_too_beside_a_parameter_that_is_found() -> None:
    """And the gradient by the latter is that of the stage."""
    curriculum = Curriculum("h", -1.0, steps=1, stages=2)
    objective, field, batch = tiny(CooledBar(), curriculum=curriculum, unknown={"k": 2.0})
    for step, h in ((0, -1.0), (1, 2.0)):
        objective.begin_step(field, step)
        expected = PhysicsInformed(CooledBar(h), hard=False, unknown={"k": 2.0}).double()
        residuals = objective.weighted(field, batch)
        torch.testing.assert_close(residuals, expected.weighted(field, batch))
        free = objective.unknown.free["k"]
        named = {f"field.{name}": p.detach() for name, p in field.named_parameters()}
        r, J = objective.linearised(field, {**named, "objective.unknown.free.k": free.detach()}, batch)
        slopes = torch.autograd.grad(residuals.square().sum(), [*field.parameters(), free])
        torch.testing.assert_close(2 * J.T @ r, torch.cat([slope.flatten() for slope in slopes]))


def test_points_that_are_held_back_are_asked_for_the_statement_as_it_is() -> None:
    """After an epoch of a run, which is in the first stage."""
    objective = PhysicsInformed(HeatedRod(), curriculum=Curriculum("a", 3.0, steps=9))
    with pytest.warns(UserWarning, match=r"objective\.curriculum: training ended before"):
        task, trainer = run(objective, Adam, epochs=1)
    assert objective.curriculum is not None
    assert objective.curriculum.stage == 0
    held: Any = trainer.datamodule  # pyright: ignore[reportAttributeAccessIssue]
    plain, batch = PhysicsInformed(HeatedRod()).double(), {"points": held.points(VALIDATION, 20)}
    expected = float(plain.weighted(task.double().model, batch).detach().square().sum())
    assert float(trainer.callback_metrics["valid/loss"]) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    "optimizer", [LevenbergMarquardt, EnergyNaturalGradient, partial(SSBroyden, iterations=2), Adam]
)
def test_a_resumed_run_is_the_whole_one(optimizer: Any, tmp_path: Path) -> None:
    """Halfway through 12 steps it is in the middle of the second stage of three."""

    def make() -> PhysicsInformed:
        return PhysicsInformed(HeatedRod(), curriculum=Curriculum("a", 1.0, steps=4, stages=3))

    state = assert_resumed_is_whole(make, optimizer, tmp_path)
    assert state["objective.curriculum._extra_state"].tolist() == [2, 8]


def test_stages_of_optimisers_go_on_in_a_stage_of_the_parameter(tmp_path: Path) -> None:
    stages = [Stage(Adam, 5), Stage(LevenbergMarquardt, 3), Stage(partial(SSBroyden, iterations=2))]

    def make() -> PhysicsInformed:
        return PhysicsInformed(HeatedRod(), curriculum=Curriculum("a", 1.0, steps=5, stages=3))

    state = assert_resumed_is_whole(make, partial(Stages, stages=stages), tmp_path)
    assert state["objective.curriculum._extra_state"].tolist() == [2, 10]


class Stuck(LevenbergMarquardt):
    """Has no step after each third one."""

    def step(self, closure: Any, least_squares: Any) -> Any:
        result = super().step(closure, least_squares)
        self.steps = getattr(self, "steps", 0) + 1
        self.stalled, self.cause = self.steps % 3 == 0, NO_STEP
        return result


def test_an_optimiser_that_stalls_begins_the_next_stage(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="pdeflow.training")
    objective = PhysicsInformed(HeatedRod(), curriculum=Curriculum("a", 1.0, steps=100, stages=3))
    with pytest.warns(UserWarning, match="Stuck .*: stopped"):
        _, trainer = run(objective, Stuck, epochs=9)
    assert trainer.global_step == 9
    assert objective.curriculum is not None
    assert objective.curriculum.began == 6  # the steps before the last stage
    assert "in step 3: stage 2 of 3 of Curriculum begins" in caplog.text


@pytest.mark.parametrize(
    ("steps", "wanted", "told"),
    [
        (4, None, r"Curriculum was through: it came to stage 1 of 3\. .* fewer stages or steps"),
        (4, 1e3, None),  # by the statement as it is
        (1, None, None),
    ],
)
def test_an_end_that_comes_too_soon_is_told(steps: int, wanted: float | None, told: str | None) -> None:
    curriculum = Curriculum("a", 1.0, steps=steps, stages=3)
    objective = PhysicsInformed(HeatedRod(), wanted_residual=wanted, curriculum=curriculum)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(objective, Adam, epochs=1)
    said = [str(one.message) for one in caught if "objective.curriculum" in str(one.message)]
    assert len(said) == (told is not None)
    assert told is None or re.search(told, said[0])


def test_a_solution_is_found() -> None:
    """Of the statement as it is."""
    objective = PhysicsInformed(HeatedRod(), curriculum=Curriculum("a", 0.1, steps=5, stages=4))
    _, trainer = run(objective, LevenbergMarquardt, epochs=20)
    assert float(trainer.callback_metrics["valid/l2"]) < 2e-3


class Variable(HeatedRod):
    """With a diffusivity that is a formula of the place."""

    def __init__(self) -> None:
        super().__init__()
        self.a = Parameter(Shape())


class Shape(Constant):
    """A formula of the place."""

    def __init__(self) -> None:
        super().__init__(1.0)

    @property
    def fixed(self) -> Any:
        return lambda at: 1.0 + at.x


FAMILY = ParametricFamily(HeatedRod(), {"a": (0.1, 1.0)})


class Warmed(Problem):
    """u'' = 0, with a at one end, and nothing else of a."""

    domain = Box(x=(0.0, 1.0))
    conditions = (Dirichlet(0.0, on="x-"), Dirichlet(lambda at, p: p.a, on="x+"))
    a = Parameter(Constant(2.0))

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return D(u, "x", 2)


@pytest.mark.parametrize(
    ("problem", "curriculum", "settings", "told"),
    [
        (HeatedRod(), ("b", 1.0), {}, r"curriculum\.parameter: got 'b', expected a parameter of heated_rod"),
        (HeatedRod(), ("a", 0.4), {}, r"curriculum\.start: got 0\.4, expected another number than 0\.4"),
        (HeatedRod(), ("a", -1.0), {}, r"curriculum\.start: got -1\.0, expected a number above 0"),
        (ConvectedSine(3.0), ("beta", -1.0), {}, None),
        (HeatedRod(), ("a", math.nan), {}, r"curriculum\.start: got nan, expected a finite number"),
        (Decay(), ("k", 1.5), {"unknown": {"k": 2.0}}, "got 'k', expected a parameter that is given"),
        (Decay(), ("k", 1.5), {}, "parameter 'k' of decay"),  # which has no number to end at
        (FAMILY, ("a", 0.2), {}, "got 'a', expected a parameter without a range"),
        (Variable(), ("a", 0.2), {}, "got 'a', expected a number: a of variable is a field"),
        (Warmed(), ("a", 1.0), {"hard": False}, None),
        (Warmed(), ("a", 1.0), {}, "got 'a', expected a parameter in the equation, or in a condition that"),
        (HeatedRod(), ("a", 1.0), {"time_course": CausalWeights()}, "got 'Curriculum beside CausalWeights'"),
        (HeatedRod(), ("a", 1.0), {"time_course": TimeMarching(4)}, "got 'Curriculum beside TimeMarching'"),
    ],
)
def test_what_is_wrong_is_named(problem: Problem, curriculum: Any, settings: Any, told: str | None) -> None:
    def make() -> PhysicsInformed:
        return PhysicsInformed(problem, curriculum=Curriculum(*curriculum, steps=4), **settings)

    if told is None:
        make()
        return
    with pytest.raises(InvalidInput, match=told):
        make()


@pytest.mark.parametrize(
    ("settings", "told"),
    [({"steps": 0}, "steps: got 0"), ({"steps": 4, "stages": 1}, "stages: got 1, expected at least 2")],
)
def test_numbers_of_stages(settings: Any, told: str) -> None:
    with pytest.raises(InvalidInput, match=rf"objective\.curriculum\.{told}"):
        Curriculum("a", 1.0, **settings)


def test_no_device_is_named() -> None:
    """On the device of shapes without numbers nothing is read on the host."""
    objective, field, batch = tiny(curriculum=Curriculum("a", 1.0, steps=4))
    objective.to("meta")
    points = {name: part.to("meta") for name, part in batch["points"].items()}
    objective.begin_step(field, 4)
    assert isinstance(field, MLP)
    assert objective.weighted(field.to("meta"), {"points": points}).device.type == "meta"
