"""Unknown parameters stay within their bounds, and say when they are at one."""

from __future__ import annotations

import math
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from statement_run import assert_resumed_is_whole, run

from pdeflow.errors import InvalidInput
from pdeflow.fields import MLP
from pdeflow.problems import Box, Constant, D, Dirichlet, Parameter, Problem, Uniform
from pdeflow.training import Collocation, LevenbergMarquardt, PhysicsInformed, SSBroyden, Stage, Stages
from pdeflow.training.bounded_numbers import BoundedNumbers
from pdeflow.training.schedules import Cosine

INFINITE = math.inf


class Decay(Problem):
    """u_x = -k u with u(0) = 1 and u(1) = exp(-truth): k = truth."""

    domain = Box(x=(0.0, 1.0))

    def __init__(self, truth: float, k: Parameter) -> None:
        self.k = k
        self.conditions = (Dirichlet(1.0, on="x-"), Dirichlet(math.exp(-truth), on="x+"))

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return D(u, "x") + p.k * u


@pytest.mark.parametrize(
    ("bounds", "start"),
    [
        ((1.0, 4.0), 1.2),
        ((1e-3, 0.1), 0.01),
        ((1e-6, 1.0), 0.3),
        ((0.0, INFINITE), 0.3),
        ((2.0, INFINITE), 5.0),
        ((-INFINITE, 1.0), -3.0),
        ((-INFINITE, INFINITE), 7.0),
    ],
)
def test_a_number_starts_where_it_is_told_and_never_leaves(bounds: tuple[float, float], start: float) -> None:
    numbers = BoundedNumbers({"k": start}, {"k": bounds}).double()
    assert float(numbers.values()["k"].detach()) == pytest.approx(start, rel=1e-6)
    free = torch.linspace(-40.0, 40.0, 2001, dtype=torch.float64, requires_grad=True)
    values = numbers.value("k", free)
    assert bool(((values >= bounds[0]) & (values <= bounds[1])).all())
    (slope,) = torch.autograd.grad(values.sum(), free)
    moved = (numbers.value("k", free + 1e-6) - numbers.value("k", free - 1e-6)) / 2e-6
    torch.testing.assert_close(slope, moved, rtol=1e-5, atol=1e-5)


def test_the_jacobian_knows_the_map() -> None:
    problem = Decay(2.0, Parameter(Uniform(1.0, 4.0)))
    torch.manual_seed(0)
    objective = PhysicsInformed(problem, unknown={"k": 3.0}).double()
    field = MLP([0.0], [1.0], widths=(4,)).double()
    batch = {"points": Collocation(problem, inside=9).points(0, 9)}
    free = objective.unknown.free["k"]
    r, J = objective.linearised(field, {"objective.unknown.free.k": free.detach()}, batch)
    (expected,) = torch.autograd.grad(objective.weighted(field, batch).square().sum(), free)
    torch.testing.assert_close(2 * J[:, 0] @ r, expected)
    # k' = 1.5 cos(theta) at 2.5 + 1.5 sin(theta) = 3, of residuals u / 3 for each unit of k.
    by_k = field.at(batch["points"]["inside"])[:, 0] / 3 * math.sqrt(1.5**2 - 0.5**2)
    torch.testing.assert_close(J[:9, 0], by_k.detach(), rtol=1e-6, atol=1e-6)


def test_what_is_asked_for_beyond_a_bound_is_told() -> None:
    """5 is wanted, and no more than 4 is allowed."""
    objective = PhysicsInformed(Decay(5.0, Parameter(Uniform(1.0, 4.0))), unknown={"k": 2.0})
    with pytest.warns(
        UserWarning, match=r"objective.unknown.k: training ended at (4|3.99\d*), at the bound 4 of k"
    ):
        run(objective, LevenbergMarquardt, epochs=5)
    assert float(objective.found()["k"]) <= 4.0


def test_a_number_that_is_found_within_its_bounds_says_nothing() -> None:
    """A positive parameter with one value has a lower bound only."""
    objective = PhysicsInformed(Decay(5.0, Parameter(Constant(2.0), positive=True)), unknown={"k": 2.0})
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="objective.unknown")
        run(objective, LevenbergMarquardt, epochs=5)
    assert float(objective.found()["k"]) == pytest.approx(5.0, abs=0.05)


@pytest.mark.parametrize(
    ("parameter", "start", "told"),
    [
        (Parameter(Uniform(1.0, 4.0)), 1.0, "got 1.0, expected a start above 1 and below 4, the bounds of k"),
        (Parameter(Uniform(1.0, 4.0)), 4.5, "got 4.5"),
        (Parameter(Constant(2.0), positive=True), -2.0, "got -2.0, expected a start above 0 and below inf"),
        (Parameter(Constant(2.0)), math.nan, "got nan, expected a start above -inf and below inf"),
        (Parameter(Constant(2.0)), -2.0, None),
    ],
)
def test_a_start_outside_of_the_bounds_is_named(parameter: Parameter, start: float, told: str | None) -> None:
    problem = Decay(2.0, parameter)
    if told is None:
        assert float(PhysicsInformed(problem, unknown={"k": start}).found()["k"]) == start
        return
    with pytest.raises(InvalidInput, match=f"objective.unknown.k: {told}"):
        PhysicsInformed(problem, unknown={"k": start})


def test_positive_bounds_far_apart_are_of_a_magnitude() -> None:
    """A small step from the geometric mean multiplies, as much whichever the decade; near bounds do not."""
    numbers = BoundedNumbers({"k": 1e-3, "q": 2.0}, {"k": (1e-6, 1.0), "q": (1.0, 3.0)}).double()
    theta = torch.tensor([-0.1, 0.0, 0.1], dtype=torch.float64)
    expected = [1e-3 * math.exp(math.log(1e3) * math.sin(one)) for one in (-0.1, 0.0, 0.1)]
    assert numbers.value("k", theta).tolist() == pytest.approx(expected)
    assert numbers.value("q", theta).tolist() == pytest.approx([2 - math.sin(0.1), 2.0, 2 + math.sin(0.1)])


def test_near_a_bound_is_measured_as_the_number_is() -> None:
    """5e-4 is far from a bound of 1e-4 for a number up to 1, and 1.0001e-4 is not."""
    for start, told in ((5e-4, False), (1.0001e-4, True)):
        numbers = BoundedNumbers({"k": start}, {"k": (1e-4, 1.0)}).double()
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            numbers.tell()
        assert [("at the bound 0.0001" in str(one.message)) for one in seen] == [True] * told


@pytest.mark.parametrize(
    "optimizer",
    [
        partial(torch.optim.AdamW, lr=1e-9, weight_decay=1e6),
        partial(torch.optim.SGD, lr=1e-9, weight_decay=1e6),
        partial(Stages, stages=[Stage(partial(torch.optim.AdamW, lr=1e-9, weight_decay=1e6), 4)]),
    ],
    ids=["AdamW", "SGD", "in stages"],
)
def test_an_unknown_does_not_decay(optimizer: Any) -> None:
    """Decay by 1e-3 a step for weights, none for the number, whose free parameter starts at -pi/6."""
    objective = PhysicsInformed(Decay(2.0, Parameter(Uniform(1.0, 5.0))), unknown={"k": 2.0})
    task, _ = run(objective, optimizer, epochs=1)
    assert float(objective.found()["k"]) == pytest.approx(2.0, abs=1e-6)
    torch.manual_seed(0)
    before = MLP([0.0], [1.0], widths=(8,)).double()
    old, new = (torch.cat([p.flatten() for p in m.parameters()]) for m in (before, task.model))
    assert float((new.norm() / old.norm()).detach()) == pytest.approx((1 - 1e-3) ** 4, rel=1e-5)


@pytest.mark.parametrize(
    "second",
    [partial(SSBroyden, iterations=1), torch.optim.AdamW, partial(torch.optim.LBFGS, max_iter=2)],
    ids=["SSBroyden", "AdamW", "LBFGS"],
)
@pytest.mark.parametrize("first", [torch.optim.AdamW, torch.optim.Adam], ids=["AdamW", "Adam"])
def test_a_schedule_goes_on_where_groups_are_apart(first: Any, second: Any, tmp_path: Path) -> None:
    """From a stage that decays to one that does not, and back: the rate of all groups is moved."""
    stages = partial(Stages, stages=[Stage(partial(first, lr=1e-3), 2), Stage(second)])
    schedule = Cosine(warmup=0.3, final=0.5)

    def make() -> PhysicsInformed:
        return PhysicsInformed(Decay(2.0, Parameter(Uniform(1.0, 5.0))), unknown={"k": 2.0})

    objective = make()
    task, trainer = run(objective, stages, epochs=1, schedule=schedule)
    inner: Any = trainer.optimizers[0]
    assert (inner.number, trainer.global_step) == (1, 4)
    moved = [p for group in inner.param_groups for p in group["params"]]
    assert [id(p) for p in moved] == [id(p) for p in (*task.model.parameters(), *objective.parameters())]
    assert len({group["lr"] for group in inner.param_groups}) == 1
    assert float(objective.found()["k"]) != 2.0
    assert_resumed_is_whole(make, stages, tmp_path, schedule=schedule)
