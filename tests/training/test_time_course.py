"""How training goes through time: against formulas, within steps, in checkpoints."""

from __future__ import annotations

import math
import re
import warnings
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning
import pytest
import torch
from statement_run import assert_resumed_is_whole, run, terms, tiny
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.fields import MLP, Field, Separable, TimeWindows
from pdeflow.problems import (
    Ball,
    Box,
    Cylinder,
    D,
    Dirichlet,
    Domain,
    HeatedRod,
    Initial,
    Observed,
    Problem,
    SinePoisson,
)
from pdeflow.training import (
    RAD,
    CausalWeights,
    Collocation,
    Curriculum,
    EnergyNaturalGradient,
    GrowingTime,
    LearningRateAnnealing,
    LevenbergMarquardt,
    NTKWeights,
    PhysicsInformed,
    Redraw,
    RestartedLBFGS,
    SSBroyden,
    Stage,
    Stages,
    TimeMarching,
)
from pdeflow.training.optimisers.vector_optimiser import NO_STEP, NOT_FACTORED, NOT_FINITE
from pdeflow.training.time_course import TimeCourse

Adam = partial(torch.optim.Adam, lr=1e-2)


@pytest.mark.parametrize(
    ("hard", "balanced"),
    [(False, None), (False, 2.5), (True, None)],
    ids=["initial values learned", "balanced", "met"],
)
def test_causal_weights_by_hand(hard: bool, balanced: float | None) -> None:
    """Three intervals, point by point; initial values count as in the loss."""
    causal = CausalWeights(intervals=3, tolerances=[0.02])
    balance = None if balanced is None else NTKWeights()
    settings: dict[str, Any] = {"hard": hard, "weight": 4.0, "time_course": causal, "balance": balance}
    objective, network, batch = tiny(HeatedRod(stop=2.0), **settings)
    if balance is not None:
        balance.weights[list(objective.statements).index("t-:value")] = balanced
    field = objective.constrain(network)
    objective.begin_step(field, 0)
    objective.weighted(field, batch)
    parts = terms(objective, field, batch)
    start = 0.0 if hard else 4.0 * (balanced or 1.0) * float(parts["t-:value"].detach().square().mean())
    times = batch["points"]["inside"][:, 1].tolist()
    squares = parts["inside"].detach().square().tolist()
    means = []
    for k in range(3):
        inside = [s for s, t in zip(squares, times) if 2 * k / 3 <= t < 2 * (k + 1) / 3]
        means.append(sum(inside) / len(inside))
    expected = [math.exp(-0.02 * (start + sum(means[:k]))) for k in range(3)]
    assert causal.weights.tolist() == pytest.approx(expected, rel=1e-9)
    places = torch.tensor([0.0, 0.5, 0.7, 1.4, 2.0], dtype=torch.float64)
    assert causal.weigh(places).tolist() == pytest.approx([expected[k] for k in (0, 0, 1, 2, 2)], rel=1e-9)


def test_tolerances_follow_one_another_once_all_weights_are_large() -> None:
    causal = CausalWeights(intervals=2, tolerances=[0.1, 1.0], threshold=0.9)
    causal.begin(HeatedRod())
    times, none = torch.tensor([0.2, 0.8]), torch.tensor(0.0)
    for residual, stage, weight in (
        (4.0, 0, math.exp(-0.4)),  # below the threshold
        (0.5, 1, math.exp(-0.05)),  # above
        (0.5, 1, math.exp(-0.5)),
        (0.0, 1, 1.0),  # above, and there is no other tolerance
    ):
        causal.adapt(times, torch.tensor([residual, 9.0]), none)
        assert (int(causal.stage), causal.weights.tolist()) == (stage, pytest.approx([1.0, weight]))


def test_an_interval_without_points_adds_nothing() -> None:
    causal = CausalWeights(intervals=3, tolerances=[1.0])
    causal.begin(HeatedRod(stop=3.0))
    causal.adapt(torch.tensor([0.5, 0.6, 2.5]), torch.tensor([1.0, 3.0, 7.0]), torch.tensor(0.5))
    assert causal.weights.tolist() == pytest.approx([math.exp(-0.5), math.exp(-2.5), math.exp(-2.5)])


def test_weights_are_roots_on_residuals_and_count_in_training_alone() -> None:
    """With a balance beside them: its terms have the weights of times."""
    causal, balance = CausalWeights(intervals=4, tolerances=[0.1]), LearningRateAnnealing(momentum=0.0)
    objective, field, batch = tiny(time_course=causal, balance=balance)
    named = {f"field.{name}": p.detach() for name, p in field.named_parameters()}
    objective.begin_step(field, 0)
    objective.weighted(field, batch)
    parts = terms(objective, field, batch)
    by_time = causal.weigh(batch["points"]["inside"][:, 1])
    assert bool((by_time != 1.0).any())
    losses = [(parts["inside"].square() * by_time).mean()]
    losses += [10.0 * part.square().mean() for name, part in parts.items() if name != "inside"]
    slopes = [
        torch.cat(
            [
                g.flatten()
                for g in torch.autograd.grad(
                    one,
                    list(field.parameters()),
                    retain_graph=True,
                    allow_unused=True,
                    materialize_grads=True,
                )
            ]
        )
        for one in losses
    ]
    expected = [1.0, *(float(slopes[0].abs().max() / slope.abs().mean()) for slope in slopes[1:])]
    assert balance.weights.tolist() == pytest.approx(expected)
    r, J = objective.linearised(field, named, batch)
    torch.testing.assert_close(r.square().sum(), sum(f * one for f, one in zip(expected, losses)))
    torch.testing.assert_close(2 * J.T @ r, sum(f * slope for f, slope in zip(expected, slopes)))
    objective.eval()
    plain = sum((1.0 if name == "inside" else 10.0) * part.square().mean() for name, part in parts.items())
    torch.testing.assert_close(objective.weighted(field, batch).square().sum(), plain)


def moved(batch: Any, first: float, length: float) -> dict[str, dict[str, Tensor]]:
    """A batch of the unit time in a part of it, but for the start."""
    points = {name: part.clone() for name, part in batch["points"].items()}
    for name in ("inside", "x-", "x+"):
        points[name][:, 1] = first + length * points[name][:, 1]
    return {"points": points}


def plain_loss(objective: PhysicsInformed, field: Any, batch: Any) -> Tensor:
    parts = terms(objective, field, batch)
    return sum((1.0 if name == "inside" else 10.0) * part.square().mean() for name, part in parts.items())  # pyright: ignore[reportReturnType]


def test_growing_time_moves_points_before_where_it_has_come() -> None:
    """Four steps a stage; a stall begins the next one, from which four steps are counted again."""
    growing = GrowingTime(steps=4, stages=3)
    objective, field, batch = tiny(time_course=growing)
    expected = {0: 1, 3: 1, 4: 2, 7: 2, 8: 3, 99: 3}
    for step, part in expected.items():
        objective.begin_step(field, step)
        loss = objective.weighted(field, batch).square().sum()
        torch.testing.assert_close(loss, plain_loss(objective, field, moved(batch, 0.0, part / 3)))
        assert float(objective.progress()["time reached"]) == pytest.approx(part / 3)
    assert not objective.advance(100)
    growing.stage = growing.began = 0
    assert objective.advance(2)
    for step, stage in ((3, 1), (5, 1), (6, 2)):
        objective.begin_step(field, step)
        assert growing.stage == stage
    objective.eval()
    torch.testing.assert_close(
        objective.weighted(field, batch).square().sum(), plain_loss(objective, field, batch)
    )


def test_observed_values_stay_at_their_times() -> None:
    problem = HeatedRod()
    problem.conditions = (*problem.conditions, Observed([[0.5, 0.9]], [0.1]))
    objective, _, batch = tiny(problem, time_course=GrowingTime(steps=1))
    found = objective.placed(batch["points"])
    observed = next(name for name in found if name not in ("inside", *problem.domain.sides))
    for name in (observed, "t-"):
        assert torch.equal(found[name], batch["points"][name])
    for name in ("inside", "x-", "x+"):
        assert float(found[name][:, 1].max()) <= 0.1
        assert torch.equal(found[name][:, 0], batch["points"][name][:, 0])


def test_points_are_chosen_by_residuals_where_they_are_moved_to() -> None:
    objective, field, batch = tiny(time_course=GrowingTime(steps=1))
    data = Collocation(objective.problem, resample=RAD())
    data.trainer = SimpleNamespace(lightning_module=SimpleNamespace(objective=objective, model=field))  # pyright: ignore[reportAttributeAccessIssue]
    found = data._residual_norm(batch["points"]["inside"])
    places = moved(batch, 0.0, 0.1)["points"]["inside"]
    torch.testing.assert_close(found, objective.residual(field, places).norm(dim=1).detach())


def windowed(**settings: Any) -> tuple[PhysicsInformed, Any, Any]:
    marching = TimeMarching(steps=4)
    objective, _, batch = tiny(time_course=marching, **settings)
    torch.manual_seed(0)
    field = objective.constrain(TimeWindows([0.0, 0.0], [1.0, 1.0], windows=3, widths=(5,)).double())
    return objective, field, batch


@pytest.mark.parametrize("hard", [False, True], ids=["learned", "met"])
def test_time_marching_trains_a_network_at_points_of_its_window(hard: bool) -> None:
    objective, field, batch = windowed(hard=hard)
    network = field.network if hard else field
    for step, k in ((0, 0), (3, 0), (4, 1), (8, 2), (50, 2)):
        objective.begin_step(field, step)
        trained = {name for name, p in network.named_parameters() if p.requires_grad}
        assert trained == {
            name for name, _ in network.named_parameters() if name.startswith(f"networks.{k}.")
        }
        inside = objective.placed(batch["points"])["inside"][:, 1]
        assert k / 3 <= float(inside.min()) < k / 3 + 0.05
        assert (k + 1) / 3 - 0.05 < float(inside.max()) <= (k + 1) / 3
        if not hard:
            loss = objective.weighted(field, batch).square().sum()
            field.eval()  # networks of later windows are nothing there
            expected = plain_loss(objective, field, moved(batch, k / 3, 1 / 3))
            field.train()
            torch.testing.assert_close(loss, expected)
        named = {f"field.{name}": p.detach() for name, p in field.named_parameters() if p.requires_grad}
        r, J = objective.linearised(field, named, batch)
        loss = objective.weighted(field, batch).square().sum()
        slopes = torch.autograd.grad(loss, [p for p in field.parameters() if p.requires_grad])
        torch.testing.assert_close(2 * J.T @ r, torch.cat([slope.flatten() for slope in slopes]))
        assert int(objective.progress()["window"]) == k + 1
    objective.eval()
    field.eval()
    if not hard:
        expected = plain_loss(objective, field, batch)
        torch.testing.assert_close(objective.weighted(field, batch).square().sum(), expected)


class Looks(lightning.Callback):
    """At a field at some points, before a step."""

    def __init__(self, step: int, places: Tensor) -> None:
        self.step, self.places = step, places

    @torch.no_grad()
    def on_train_batch_start(self, trainer: lightning.Trainer, pl_module: Any, *given: Any) -> None:
        if trainer.global_step == self.step:
            self.seen = pl_module.model.at(self.places)


def test_what_is_solved_stays_when_the_next_window_is_trained() -> None:
    """And the field is continuous where they meet."""
    times = torch.linspace(0, 0.5, 9).double()
    places = torch.stack([torch.full_like(times, 0.4), times], dim=1)
    network = TimeWindows([0.0, 0.0], [1.0, 1.0], windows=2, widths=(6,))
    looks = [Looks(2, places), Looks(4, places)]
    objective = PhysicsInformed(HeatedRod(), time_course=TimeMarching(steps=4))
    task, _ = run(objective, LevenbergMarquardt, epochs=2, model=network, callbacks=[*looks])
    task.double().eval()
    with torch.no_grad():
        assert not torch.equal(looks[0].seen, looks[1].seen)
        assert torch.equal(task.model.at(places), looks[1].seen)
        left, right = task.model.at(torch.tensor([[0.4, 0.5 - 1e-9], [0.4, 0.5 + 1e-9]], dtype=torch.float64))
    torch.testing.assert_close(left, right, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    "optimizer", [LevenbergMarquardt, EnergyNaturalGradient, partial(SSBroyden, iterations=2), Adam]
)
@pytest.mark.parametrize("course", ["causal", "growing", "marching"])
def test_a_resumed_run_is_the_whole_one(course: str, optimizer: Any, tmp_path: Path) -> None:
    """Halfway through 12 steps it is in the middle of a stage that is not the first."""

    def make() -> PhysicsInformed:
        made = {
            "causal": lambda: CausalWeights(intervals=4, tolerances=[0.001, 0.01, 0.1, 1.0]),
            "growing": lambda: GrowingTime(steps=4, stages=3),
            "marching": lambda: TimeMarching(steps=4),
        }
        return PhysicsInformed(HeatedRod(), time_course=made[course]())

    def network() -> TimeWindows | None:
        return TimeWindows([0.0, 0.0], [1.0, 1.0], windows=3, widths=(5,)) if course == "marching" else None

    state = assert_resumed_is_whole(make, optimizer, tmp_path, network)
    name = "stage" if course == "causal" else "_extra_state"
    assert int(state[f"objective.time_course.{name}"].flatten()[0]) > 0


class Stuck(LevenbergMarquardt):
    """Has no step after each third one."""

    why = NO_STEP

    def step(self, closure: Any, least_squares: Any) -> Any:
        result = super().step(closure, least_squares)
        self.steps = getattr(self, "steps", 0) + 1
        self.stalled, self.cause = self.steps % 3 == 0, self.why
        return result


class Diverged(Stuck):
    """For another reason."""

    why = NOT_FINITE


class Indefinite(Stuck):
    """For a third one."""

    why = NOT_FACTORED


@pytest.mark.parametrize(
    ("course", "told"),
    [
        (lambda: GrowingTime(100, stages=3), "stage 2 of 3 of GrowingTime begins"),
        (
            lambda: CausalWeights(tolerances=[1e-9, 2e-9, 3e-9], threshold=1 - 1e-15),
            "the tolerance 2e-09 of CausalWeights begins",
        ),
    ],
)
def test_an_optimiser_that_stalls_begins_the_next_stage(
    course: Any, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    """And the run ends where there is none, or where the cause is another one than an end."""
    caplog.set_level("INFO", logger="pdeflow.training")
    with pytest.warns(UserWarning, match="Stuck .*: stopped"):
        task, trainer = run(PhysicsInformed(HeatedRod(), time_course=course()), Stuck, epochs=9)
    assert trainer.global_step == 9
    if isinstance(made := task.objective.time_course, GrowingTime):
        assert made.began == 6  # the steps before the last stage
    assert f"Stuck found no step that makes the loss smaller in step 3: {told}" in caplog.text
    for optimizer in (Diverged, Indefinite):
        with pytest.warns(UserWarning, match=f"{optimizer.__name__} .*: stopped"):
            _, trainer = run(PhysicsInformed(HeatedRod(), time_course=course()), optimizer, epochs=9)
        assert trainer.global_step == 3


@pytest.mark.parametrize(
    ("settings", "resample", "cause"),
    [
        ({"time_course": GrowingTime(4, stages=3)}, None, "balance, time_course or curriculum"),
        ({"curriculum": Curriculum("a", 1.0, 4)}, None, "balance, time_course or curriculum"),
        ({"hard": False, "balance": NTKWeights()}, None, "balance, time_course or curriculum"),
        ({}, RAD(every=3), "data.resample"),
        ({}, Redraw(every=3), "data.resample"),
    ],
    ids=["course", "curriculum", "balance", "RAD", "Redraw"],
)
@pytest.mark.parametrize(
    "optimizer",
    [torch.optim.LBFGS, partial(Stages, stages=[Stage(Adam, 4), Stage(torch.optim.LBFGS)])],
    ids=["alone", "later"],
)
def test_differences_of_gradients_of_two_losses_are_refused(
    settings: Any, resample: Any, cause: str, optimizer: Any
) -> None:
    """Which torch's L-BFGS would take; it also moves what needs no gradient."""
    told = rf"optimizer: got 'torch.optim.LBFGS'(?s:.*)\({cause}\)(?s:.*)Take RestartedLBFGS"
    with pytest.raises(InvalidInput, match=told):
        run(PhysicsInformed(HeatedRod(), **settings), optimizer, resample=resample)
    _, trainer = run(
        PhysicsInformed(HeatedRod(), **settings),
        partial(RestartedLBFGS, iterations=1),
        epochs=1,
        resample=resample,
    )
    assert trainer.global_step == 4
    _, trainer = run(PhysicsInformed(HeatedRod()), partial(torch.optim.LBFGS, max_iter=1), epochs=1)
    assert trainer.global_step == 4


@pytest.mark.parametrize(
    ("course", "told"),
    [
        (
            GrowingTime(steps=4, stages=3),
            "before GrowingTime was through: it came to stage 1 of 3. .* fewer stages or steps",
        ),
        (
            CausalWeights(tolerances=[1e3]),
            "before CausalWeights was through: .* has a weight of 0. .* smaller tolerances",
        ),
        (GrowingTime(steps=1, stages=3), None),
        (CausalWeights(tolerances=[1e-9]), None),
    ],
)
def test_an_end_that_comes_too_soon_is_told(course: Any, told: str | None) -> None:
    objective = PhysicsInformed(HeatedRod(), time_course=course)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(objective, Adam, epochs=1)
    said = [str(one.message) for one in caught if "objective.time_course" in str(one.message)]
    assert len(said) == (told is not None)
    assert told is None or re.search(told, said[0])


@pytest.mark.parametrize(("wanted", "told"), [(1e3, 0), (1e-9, 1)])
def test_what_is_solved_over_the_whole_time_did_not_end_too_soon(wanted: float, told: int) -> None:
    course = GrowingTime(steps=4, stages=3)
    objective = PhysicsInformed(HeatedRod(), wanted_residual=wanted, time_course=course)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(objective, Adam, epochs=1)
    assert course.stage == 0
    assert sum("objective.time_course" in str(one.message) for one in caught) == told


@pytest.mark.parametrize("course", [CausalWeights(intervals=8), GrowingTime(steps=5, stages=4)])
def test_solutions_are_found(course: Any) -> None:
    _, trainer = run(PhysicsInformed(HeatedRod(), time_course=course), LevenbergMarquardt, epochs=20)
    assert float(trainer.callback_metrics["valid/l2"]) < 2e-3


def test_a_solution_is_found_window_by_window() -> None:
    network = TimeWindows([0.0, 0.0], [1.0, 1.0], windows=2, widths=(8,))
    objective = PhysicsInformed(HeatedRod(), time_course=TimeMarching(steps=40))
    _, trainer = run(objective, LevenbergMarquardt, epochs=20, model=network)
    assert float(trainer.callback_metrics["valid/l2"]) < 1e-3


class Wave(Problem):
    """u_tt = u_xx."""

    domain = Box(x=(0.0, 1.0), t=(0.0, 1.0))
    conditions = (Dirichlet(0.0, on=("x-", "x+")), Initial(0.0), Initial(0.0, order=1))

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return D(u, "t", 2) - D(u, "x", 2)


class TimeFirst(HeatedRod):
    """With the axes the other way round."""

    def __init__(self) -> None:
        super().__init__()
        self.domain = Box(t=(0.0, 1.0), x=(0.0, 1.0))


def measured() -> Problem:
    problem = HeatedRod()
    problem.conditions = (*problem.conditions, Observed([[0.5, 0.9]], [0.1]))
    return problem


@pytest.mark.parametrize(
    ("problem", "field", "told"),
    [
        (HeatedRod(), MLP, "model: got 'MLP', expected TimeWindows"),
        (Wave(), TimeWindows, "TimeMarching for wave, which has time derivatives up to order 2"),
        (TimeFirst(), TimeWindows, "which has the coordinates t, x"),
        (measured(), TimeWindows, "which has observed values"),
    ],
)
def test_what_cannot_be_solved_window_by_window_is_named(problem: Problem, field: Any, told: str) -> None:
    objective = PhysicsInformed(problem, time_course=TimeMarching(steps=4))
    with pytest.raises(InvalidInput, match=told):
        objective.constrain(field([0.0, 0.0], [1.0, 1.0]))


@pytest.mark.parametrize("times", [(0.0, 2.0), (0.5, 1.0)])
def test_windows_of_another_time_are_refused(times: tuple[float, float]) -> None:
    objective = PhysicsInformed(HeatedRod(), time_course=TimeMarching(steps=4))
    told = rf"TimeWindows from t = {times[0]:g} to {times[1]:g}', expected windows from 0 to 1, as heated_rod"
    with pytest.raises(InvalidInput, match=told):
        objective.constrain(TimeWindows([0.0, times[0]], [1.0, times[1]]))


class OnDomain(HeatedRod):
    """On a domain that a test gives."""

    def __init__(self, domain: Domain, *conditions: Any) -> None:
        super().__init__()
        self.domain, self.conditions = domain, conditions


HOLED = Box(x=(0.0, 1.0), t=(0.0, 1.0)) - Ball(0.2, x=0.5, t=0.5)


@pytest.mark.parametrize("course", [GrowingTime(steps=4), TimeMarching(steps=4)])
def test_points_are_moved_in_domains_that_are_the_same_at_all_times(course: Any) -> None:
    told = r"got '\w+ on .*Ball.*', expected a Box or a Cylinder(?s:.*)Take CausalWeights"
    with pytest.raises(InvalidInput, match=told):
        PhysicsInformed(OnDomain(HOLED, Dirichlet(0.0)), hard=False, time_course=course)
    PhysicsInformed(OnDomain(HOLED, Dirichlet(0.0)), hard=False, time_course=CausalWeights())


@pytest.mark.parametrize("course", [GrowingTime(steps=4), TimeMarching(steps=4), CausalWeights()])
def test_a_time_that_wraps_around_is_refused(course: Any) -> None:
    problem = OnDomain(Box(x=(0.0, 1.0), t=(0.0, 1.0), periodic=["t"]), Dirichlet(0.0))
    with pytest.raises(InvalidInput, match=r"objective\.time_course: got '\w+', .* wraps around"):
        PhysicsInformed(problem, time_course=course)


class CoolingDisc(Problem):
    """u_t = u_xx + u_yy on a disc."""

    domain = Cylinder(Ball(1.0, x=0.0, y=0.0), t=(1.0, 3.0))
    conditions = (Dirichlet(0.0, on="rim"), Initial(lambda at, p: 1.0 - at.x**2 - at.y**2))

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return D(u, "t") - D(u, "x", 2) - D(u, "y", 2)


@pytest.mark.parametrize("hard", [False, True], ids=["learned", "met"])
def test_points_of_a_cylinder_are_moved_along_it(hard: bool) -> None:
    """Normals stay, as do all other coordinates; the loss is that of the moved points."""
    objective, network, batch = tiny(CoolingDisc(), hard=hard, time_course=GrowingTime(steps=1, stages=4))
    field = objective.constrain(network)
    objective.begin_step(field, 0)
    found, points = objective.placed(batch["points"]), batch["points"]
    for name, part in points.items():
        others = [k for k in range(part.shape[1]) if k != 2]
        assert torch.equal(found[name][:, others], part[:, others])
        times = part[:, 2] if name.startswith("t") else 1.0 + (part[:, 2] - 1.0) / 4
        torch.testing.assert_close(found[name][:, 2], times)
    plain = PhysicsInformed(CoolingDisc(), hard=hard).double()
    expected = plain.weighted(field, {"points": found})
    torch.testing.assert_close(objective.weighted(field, batch), expected)


GRID_COURSES = {
    "none": lambda: None,
    "growing": lambda: GrowingTime(steps=1, stages=4),
    "marching": lambda: TimeMarching(steps=1),
    "causal": lambda: CausalWeights(intervals=4, tolerances=[0.01]),
}


@pytest.mark.parametrize("balance", [None, LearningRateAnnealing, NTKWeights])
@pytest.mark.parametrize(
    ("course", "last"),
    [(name, last) for name in GRID_COURSES for last in (True, False) if last or name != "marching"],
)
def test_a_grid_of_points_is_the_product_of_its_axes(course: str, balance: Any, last: bool) -> None:
    """In the second step, with the axes moved as the points are, by a field that knows a shorter way.

    With time as the last coordinate and, but for windows, as the first.
    """
    problem = HeatedRod() if last else TimeFirst()
    found = []
    for product in (True, False):
        torch.manual_seed(0)
        settings = {"hard": False, "balance": balance and balance(every=1)}
        objective = PhysicsInformed(problem, time_course=GRID_COURSES[course](), **settings).double()
        made: Field = TimeWindows([0.0, 0.0], [1.0, 1.0], windows=3, widths=(5,))
        network = made if course == "marching" else Separable([0.0, 0.0], [1.0, 1.0], rank=3, widths=(5,))
        field = objective.constrain(network.double())
        data = Collocation(problem, inside=36, on_sides=7, sampler="grid")
        points = data.points(0, 36)
        batch: dict[str, Any] = {"points": points, "axes": data.axes(points) if product else {}}
        assert bool(batch["axes"]) == product
        for step in range(2):
            objective.begin_step(field, step)
            residuals = objective.weighted(field, batch)
        named = {f"field.{name}": p.detach() for name, p in field.named_parameters() if p.requires_grad}
        weights = [objective.balance.weights] if balance else []
        found.append([residuals, *weights, *objective.linearised(field, named, batch)])
        torch.testing.assert_close(found[-1][-2], residuals)
    for ours, theirs in zip(*found):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("course", ["growing", "marching"])
def test_stages_go_on_where_a_course_moves_points(course: str, tmp_path: Path) -> None:
    """Resumed in the second stage of both."""
    made = {"growing": lambda: GrowingTime(steps=5, stages=3), "marching": lambda: TimeMarching(steps=5)}
    stages = [Stage(Adam, 5), Stage(LevenbergMarquardt, 3), Stage(partial(SSBroyden, iterations=2))]

    def network() -> TimeWindows | None:
        return TimeWindows([0.0, 0.0], [1.0, 1.0], windows=3, widths=(5,)) if course == "marching" else None

    def make() -> PhysicsInformed:
        return PhysicsInformed(HeatedRod(), time_course=made[course]())

    state = assert_resumed_is_whole(make, partial(Stages, stages=stages), tmp_path, network)
    assert state["objective.time_course._extra_state"].tolist() == [2, 10]


def test_a_course_is_one_of_its_kinds() -> None:
    with pytest.raises(TypeError, match="abstract"):
        TimeCourse()  # pyright: ignore[reportAbstractUsage]


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: CausalWeights(intervals=1), "objective.time_course.intervals: got 1"),
        (lambda: CausalWeights(tolerances=[]), "objective.time_course.tolerances"),
        (lambda: CausalWeights(tolerances=[1.0, 0.0]), "objective.time_course.tolerances"),
        (lambda: CausalWeights(threshold=1.0), "objective.time_course.threshold"),
        (lambda: GrowingTime(10, stages=1), "objective.time_course.stages: got 1"),
        (lambda: GrowingTime(0), "objective.time_course.steps: got 0"),
        (lambda: TimeMarching(0), "objective.time_course.steps: got 0"),
        (lambda: TimeWindows(windows=1), "model.windows: got 1"),
        (lambda: TimeWindows(periodic=[True, True]), "model.periodic"),
        (
            lambda: PhysicsInformed(SinePoisson(), time_course=CausalWeights()),
            "objective.time_course: got 'CausalWeights', expected none, for sine_poisson has no axis t",
        ),
    ],
)
def test_what_is_wrong_is_named(make: Any, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        make()


@pytest.mark.parametrize("course", [CausalWeights(), GrowingTime(steps=20)])
def test_no_device_is_named(course: Any) -> None:
    """On the device of shapes without numbers nothing is read on the host."""
    objective, field, batch = tiny(time_course=course)
    objective.to("meta")
    points = {name: part.to("meta") for name, part in batch["points"].items()}
    objective.begin_step(field, 0)
    assert objective.weighted(field.to("meta"), {"points": points}).device.type == "meta"


def test_no_device_is_named_by_windows() -> None:
    objective, field, batch = windowed()
    objective.to("meta")
    field.to("meta")
    points = {name: part.to("meta") for name, part in batch["points"].items()}
    named = {f"field.{name}": p.detach() for name, p in field.named_parameters() if "networks.1" in name}
    for step in (0, 4):
        objective.begin_step(field, step)
        assert objective.weighted(field, {"points": points}).device.type == "meta"
    assert objective.linearised(field, named, {"points": points})[1].device.type == "meta"
