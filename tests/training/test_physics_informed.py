"""Learning from a statement: what is asked of it, what chooses the best epoch, and what a test says."""

from __future__ import annotations

import itertools
import json
import math
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from statement_run import Decay

from pdeflow.errors import InvalidInput
from pdeflow.fields import MLP, Field, Gaussians, PirateNet, Separable, Subdomains
from pdeflow.problems import (
    Ball,
    Box,
    Burgers,
    Constant,
    ConvectedSine,
    Cylinder,
    D,
    Darcy,
    Dirichlet,
    FlowMixing,
    HeatedRod,
    ImpedanceHelmholtz,
    Initial,
    KleinGordon,
    KovasznayFlow,
    LayeredConduction,
    Neumann,
    Observed,
    Poisson,
    Polygon,
    PolygonDiffusion,
    Problem,
    SineBurgers,
    SineHelmholtz,
    SinePoisson,
)
from pdeflow.problems.calculus import relu, sin
from pdeflow.training import (
    Collocation,
    EnergyNaturalGradient,
    Evaluator,
    LevenbergMarquardt,
    PhysicsInformed,
    RestartedLBFGS,
    SSBroyden,
    Stage,
    Stages,
    TrainingTask,
)
from pdeflow.training.batch_squares import BatchSquares
from pdeflow.training.callbacks import FieldResults, default_callbacks
from pdeflow.training.collocation import TEST, VALIDATION
from pdeflow.training.optimisers import ResidualOptimiser
from pdeflow.training.point_errors import PointErrors


class Stated(Problem):
    """u_xx + u_yy = 1 on the unit square, with what a test gives it."""

    def __init__(self, *conditions: Any, residual: Any = None, periodic: tuple[str, ...] = ()) -> None:
        self.domain = Box(x=(0.0, 1.0), y=(0.0, 1.0), periodic=periodic)
        self.conditions = conditions or (Dirichlet(0.0),)
        self._residual = residual or (lambda u, at, p: D(u, "x", 2) + D(u, "y", 2) - 1.0)

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return self._residual(u, at, p)


class Wave(Problem):
    """u_tt = u_xx, with what a test gives it."""

    domain = Box(x=(0.0, 1.0), t=(0.0, 2.0))

    def __init__(self, *conditions: Any) -> None:
        self.conditions = conditions

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return D(u, "t", 2) - D(u, "x", 2)


class OnSquare(Stated):
    """On the same square as a polygon."""

    def __init__(self, *conditions: Any) -> None:
        super().__init__(*conditions)
        self.domain = Polygon.of([(0, 0), (1, 0), (1, 1), (0, 1)], sides=("floor", "east", "top", "west"))


class OnDisc(Problem):
    """u_t = u_xx + u_yy on a disc."""

    domain = Cylinder(Ball(1.0, x=0.0, y=0.0), t=(0.0, 1.0))

    def __init__(self, *conditions: Any) -> None:
        self.conditions = conditions

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return D(u, "t") - D(u, "x", 2) - D(u, "y", 2)


class CauchyRiemann(Problem):
    """u_x = v_y, u_y = -v_x."""

    domain = Box(x=(0.0, 1.0), y=(0.0, 1.0))
    conditions = (Dirichlet(0.0, on="x-"),)

    def __init__(self) -> None:
        self.fields = ("u", "v")

    def residual(self, w: Any, at: Any, p: Any) -> Any:
        return D(w.u, "x") - D(w.v, "y"), D(w.u, "y") + D(w.v, "x")


def fitted(
    problem: Problem, field: type[Field] = MLP, epochs: int = 3, folder: Path | None = None, **settings: Any
) -> tuple[TrainingTask, lightning.Trainer, Collocation]:
    torch.manual_seed(0)
    optimizer = settings.pop("optimizer", LevenbergMarquardt)
    points = {
        "inside": 150,
        "on_sides": 20,
        "held_back": 200,
        "test_resolutions": (21,),
        **settings.pop("points", {}),
    }
    network = settings.pop("network", {"widths": (12,)} if field is MLP else {"gaussians": 30, "features": 1})
    data = Collocation(problem, **points)
    task = TrainingTask(
        field(**data.model_arguments, **network), PhysicsInformed(problem, **settings), optimizer
    )
    trainer = lightning.Trainer(
        max_epochs=epochs,
        precision="64-true",
        accelerator="cpu",
        logger=False,
        enable_checkpointing=folder is not None,
        callbacks=default_callbacks(folder) if folder else [],
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, datamodule=data)
    return task, trainer, data


@pytest.mark.parametrize(
    ("problem", "field", "error"),
    [
        (HeatedRod(), MLP, 1e-3),
        (ConvectedSine(beta=2.0), MLP, 1e-3),
        (ConvectedSine(beta=2.0), Gaussians, 2e-3),
        (SineHelmholtz(1, 1), MLP, 2e-2),
        (KleinGordon(stop=1.0), MLP, 1e-4),
        (KleinGordon(stop=1.0), Separable, 1e-3),
        (SineHelmholtz(1, 1), PirateNet, 1e-3),
        (SineBurgers(viscosity=0.1), MLP, 3e-2),
        (KovasznayFlow(), MLP, 1e-2),
        (FlowMixing(stop=0.5), MLP, 2e-2),
        (LayeredConduction(), Subdomains, 1e-3),
    ],
    ids=lambda value: value.name if isinstance(value, Problem) else getattr(value, "__name__", ""),
)
def test_known_solutions_are_found(problem: Problem, field: type[Field], error: float) -> None:
    networks: dict[type[Field], dict[str, Any]] = {
        MLP: {"widths": (16,)},
        Gaussians: {"sigma": 1.0, "gaussians": 40, "features": 1, "hidden": 0},
        PirateNet: {"width": 16, "blocks": 1},
        Separable: {"widths": (8,), "rank": 8},
        Subdomains: {"widths": (10,), "subdomains": (2, 1)},
    }
    _, trainer, _ = fitted(
        problem, field, network=networks[field], points={"inside": 300, "test_resolutions": (11,)}
    )
    assert float(trainer.callback_metrics["valid/l2"]) < error


def test_conditions_that_are_learned_are_counted() -> None:
    """Soft values and a slope: the loss has a part for each."""
    problem = Stated(Dirichlet(0.0), Neumann(1.0, on="x+"))
    assert set(PhysicsInformed(problem).statements) == {"inside", "x+:slope"}
    soft = PhysicsInformed(problem, hard=False)
    assert set(soft.statements) == {"inside", "x-:value", "y-:value", "y+:value", "x+:slope"}
    torch.manual_seed(0)
    field, batch = (
        MLP([0.0, 0.0], [1.0, 1.0]).double(),
        {"points": Collocation(problem, inside=9).points(0, 9)},
    )
    parts = soft.piecewise(field, batch["points"])
    expected = sum((1 if name == "inside" else 10) * part.square().mean() for name, part in parts.items())
    torch.testing.assert_close(
        soft(soft.predict(type("Step", (), {"model": field})(), batch), batch), expected
    )


START = Initial(lambda at, p: sin(math.pi * at.x))


@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize("conditions", [(Dirichlet(0.0), START), (START, Dirichlet(0.0))])
def test_a_value_on_all_sides_leaves_the_start_and_the_end_alone(conditions: Any, hard: bool) -> None:
    problem = HeatedRod()
    problem.conditions = conditions
    objective = PhysicsInformed(problem, hard=hard)
    assert set(objective.conditions) == {"x-:value", "x+:value", "t-:value"}
    points = Collocation(problem).points(0, 9)

    class Mode(MLP):
        def derivatives(self, points: torch.Tensor, wanted: Any) -> Any:
            x, t = points.unbind(1)
            values = torch.sin(math.pi * x) * torch.exp(-0.4 * math.pi**2 * t)
            return {(0, 0): values[:, None]}

    solution = Mode([0.0, 0.0], [1.0, 1.0])
    for part in objective.condition_residuals(solution, points).values():
        assert float(part.abs().max()) < 1e-12
    if hard:
        torch.manual_seed(0)
        field = objective.constrain(MLP([0.0, 0.0], [1.0, 1.0]).double())
        for part in objective.condition_residuals(field, points).values():
            assert float(part.detach().abs().max()) < 1e-12
        assert float(field.at(points["t+"]).detach().abs().max()) > 1e-3


def test_a_start_with_a_slope_and_an_end_are_met_together() -> None:
    """Of sin(pi x) cos(pi t) + x t: a slope at one end of the time, a value at the other."""
    problem = Wave(
        Dirichlet(lambda at, p: at.x * at.t),
        START,
        Initial(lambda at, p: at.x, order=1),
        Dirichlet(lambda at, p: sin(math.pi * at.x) + 2.0 * at.x, on="t+"),
    )
    objective = PhysicsInformed(problem)
    assert set(objective.statements) == {"inside"}
    torch.manual_seed(0)
    field = objective.constrain(MLP([0.0, 0.0], [1.0, 2.0]).double())
    left = objective.condition_residuals(field, Collocation(problem).points(0, 9))
    assert set(left) == {"x-:value", "x+:value", "t-:value", "t-:rate", "t+:value"}
    for name, part in left.items():
        assert float(part.detach().abs().max()) < 1e-12, name


def test_a_slope_at_one_end_of_an_axis_is_learned_beside_a_value_at_the_other() -> None:
    problem = Stated(Dirichlet(1.0, on="x-"), Neumann(0.5, on="x+"), periodic=("y",))
    objective = PhysicsInformed(problem)
    assert set(objective.statements) == {"inside", "x+:slope"}
    torch.manual_seed(0)
    field = objective.constrain(MLP([0.0, 0.0], [1.0, 1.0], periodic=[False, True]).double())
    points = Collocation(problem).points(0, 9)
    left = objective.condition_residuals(field, points)
    assert float(left["x-:value"].detach().abs().max()) < 1e-12
    slope = field.derivatives(points["x+"], [(1, 0)])[1, 0] - 0.5
    torch.testing.assert_close(left["x+:slope"], slope)


# What is wrong with a statement.


def z_squared(u: Any, at: Any, p: Any) -> Any:
    return D(u, "z", 2) - 1.0


@pytest.mark.parametrize(
    ("problem", "settings", "told"),
    [
        (Stated(residual=lambda u, at, p: at.x - 1.0), {}, "Stated.residual: .*without u.*depends on u"),
        (Stated(residual=z_squared), {}, "axis of D: got 'z', expected one of the domain's axes x, y"),
        (Stated(residual=lambda u, at, p: u - at.z), {}, "coordinate: got 'z', expected one of x, y"),
        (Stated(residual=lambda u, at, p: u - p.k), {}, "parameter: got 'k'"),
        (Stated(Dirichlet(0.0), periodic=("x",)), {}, None),
        (Stated(Dirichlet(0.0, on="x-"), periodic=("x",)), {}, "Dirichlet.on: got 'x-'(?s:.*)wraps around"),
        (
            Stated(Neumann(0.0, on=("y-", "x+")), periodic=("x",)),
            {},
            "Neumann.on: got 'x.'(?s:.*)wraps around",
        ),
        (Stated(Initial(0.0)), {}, "Initial.on: got 't-', expected 'all' or sides of the domain"),
        (Stated(Dirichlet(0.0, on="z-")), {}, "Dirichlet.on: got 'z-'"),
        (Stated(Dirichlet(lambda at, p: relu(at.x))), {}, r"expression: got 'Max\(0, x\)'"),
        (Stated(Dirichlet(math.nan)), {}, "Dirichlet.value: got nan, expected a finite number"),
        (
            Stated(Dirichlet(0.0), Dirichlet(1.0, on="x-")),
            {},
            r"x- gives 1 and y[+-] gives 0 where they meet \(x = 0, y = [01]\)(?s:.*)hard: false",
        ),
        (
            OnSquare(Dirichlet(0.0), Dirichlet(1.0, on="west")),
            {},
            "west gives 1 where they meet(?s:.*)hard: false",
        ),
        (Poisson(), {}, "parameter 'f' of poisson.*one number"),
        (Darcy(), {}, "parameter 'a' of darcy.*one number"),
        (Burgers(), {}, "problem: got 'burgers', expected an equation on a domain of all coordinates"),
        (PolygonDiffusion(), {}, "problem: got 'polygon_diffusion'"),
        (ImpedanceHelmholtz(), {}, "real unknown"),
        (CauchyRiemann(), {}, r"Dirichlet.of: got \(\), expected which of the unknowns u, v"),
        (Decay(), {}, "parameter 'k' of decay(?s:.*)objective.init_args.unknown"),
        (Decay(), {"unknown": {"k": 2.0}}, None),
        (
            Decay(),
            {"unknown": {"k": 5.0}},
            "objective.unknown.k: got 5.0, expected a start above 1 and below 4",
        ),
        (Decay(), {"unknown": {"c": 5.0}}, "objective.unknown: got 'c'"),
        (
            OnDisc(Dirichlet(lambda at, p: at.x), Initial(0.0)),
            {},
            "conditions of ondisc: got 'rim gives .* and t- gives 0 where they meet(?s:.*)hard: false",
        ),
        (
            Wave(Dirichlet(0.0), Initial(0.0), Initial(lambda at, p: 1.0 - at.x, order=1)),
            {},
            "t- gives 1 and x- gives 0, derivative 1 along t where they meet",
        ),
        (ConvectedSine(), {"unknown": {"beta": math.inf}}, "objective.unknown.beta: got inf"),
        (SineBurgers(), {"unknown": {"nu": 0.0}}, "objective.unknown.nu: got 0.0, expected a start above 0"),
        (SineHelmholtz(), {"unknown": {"k": -1.0}}, "objective.unknown.k: got -1.0, expected a start above"),
        (Decay(), {"unknown": {"k": 2.0}, "weight": 0.0}, "objective.weight"),
        (Decay(), {"unknown": {"k": 2.0}, "wanted_residual": 0.0}, "objective.wanted_residual"),
        (None, {}, "objective.problem"),
    ],
)
def test_what_is_wrong_is_named(problem: Problem | None, settings: dict[str, Any], told: str | None) -> None:
    if told is None:
        PhysicsInformed(problem, **settings)
        return
    with pytest.raises(InvalidInput, match=told):
        PhysicsInformed(problem, **settings)


def test_a_box_is_not_periodic_on_one_side() -> None:
    with pytest.raises(InvalidInput, match=r"periodic: got 'x-'(?s:.*)An axis wraps as a whole"):
        Stated(periodic=("x-",))


def test_values_that_are_learned_may_jump_in_a_corner_with_a_warning() -> None:
    with pytest.warns(UserWarning, match=r"x- gives 1 and y[+-] gives 0 where they meet"):
        PhysicsInformed(Stated(Dirichlet(0.0), Dirichlet(1.0, on="x-")), hard=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PhysicsInformed(SinePoisson(), hard=False)


@pytest.mark.parametrize("settings", [{"inside": 0}, {"on_sides": 0}, {"steps": 0}, {"held_back": 0}])
def test_numbers_of_points(settings: dict[str, int]) -> None:
    with pytest.raises(InvalidInput, match=f"data.{next(iter(settings))}: got 0, expected at least 1"):
        Collocation(SinePoisson(), **settings)


# What chooses the best epoch, and what ends a run.


@pytest.mark.parametrize("sampler", ["sobol", "halton", "lhs", "uniform", "grid"])
def test_points_that_are_held_back_are_others(sampler: Any) -> None:
    data = Collocation(SinePoisson(), inside=64, held_back=64, sampler=sampler)
    held = [batch["points"]["inside"] for batch in data.val_dataloader() if "points" in batch]
    tested = [batch["points"]["inside"] for batch in data.test_dataloader()[0]]
    trained = next(iter(data.train_dataloader()))["points"]["inside"]
    sets = [trained, held[0], tested[0]]
    assert all(len(points) == 64 and bool(((points > 0) & (points < 1)).all()) for points in sets)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert torch.cdist(sets[a], sets[b]).min() > 0
    again = Collocation(SinePoisson(), inside=64, held_back=64, sampler=sampler)
    torch.testing.assert_close(again.points(VALIDATION, 64)["inside"], held[0], rtol=0, atol=0)
    torch.testing.assert_close(again.points(TEST, 64)["inside"], tested[0], rtol=0, atol=0)


class Worsening(LevenbergMarquardt):
    """Makes the residual smaller for one epoch and larger later, whatever the error does."""

    def step(self, closure: Any, least_squares: Any) -> Any:
        result = super().step(closure, least_squares)
        self.steps = getattr(self, "steps", 0) + 1
        if self.steps > 10:
            self.place(self.vector() * 1.01)
        return result


def test_the_best_epoch_has_the_smallest_residual_at_points_that_are_held_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not the smallest error, which falls all the time here."""
    errors = itertools.count(100.0, -1.0)
    monkeypatch.setattr(Evaluator, "compute", lambda self: {"l2": torch.tensor(next(errors))})
    fitted(SinePoisson(), folder=tmp_path, optimizer=Worsening)
    history = json.loads((tmp_path / "history.json").read_text())
    losses = [row["valid/loss"] for row in history]
    assert np.argmin(losses) == 0
    surrogate = json.loads((tmp_path / "surrogate" / "surrogate.json").read_text())
    assert surrogate["metrics"] == {"valid/loss": losses[0], "valid/l2": history[0]["valid/l2"]}


def test_a_run_ends_at_the_wanted_residual() -> None:
    _, trainer, _ = fitted(SinePoisson(), epochs=50, wanted_residual=0.1)
    assert trainer.current_epoch < 50
    assert math.sqrt(float(trainer.callback_metrics["valid/loss"])) <= 0.1


class Stuck(LevenbergMarquardt):
    """Has no step after the 13th."""

    def step(self, closure: Any, least_squares: Any) -> Any:
        result = super().step(closure, least_squares)
        self.steps = getattr(self, "steps", 0) + 1
        self.stalled, self.cause = self.steps == 13, "has had enough"
        return result


def test_an_epoch_that_ends_early_is_recorded_with_its_own_loss(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="Stuck has had enough: stopped"):
        fitted(SinePoisson(), epochs=9, folder=tmp_path, optimizer=Stuck)
    history = json.loads((tmp_path / "history.json").read_text())
    assert [row["step"] for row in history] == [10, 13]
    assert history[1]["train/loss"] < 0.1 * history[0]["train/loss"]
    assert (tmp_path / "surrogate" / "surrogate.json").is_file()


def test_an_unknown_parameter_is_found_and_recorded(tmp_path: Path) -> None:
    """u_x = -k u with u(0) = 1 and u(1) = exp(-2): k = 2."""

    class Measured(Decay):
        conditions = (Dirichlet(1.0, on="x-"), Dirichlet(math.exp(-2.0), on="x+"))

    task, trainer, _ = fitted(Measured(), unknown={"k": 1.2}, folder=tmp_path)
    assert float(trainer.callback_metrics["valid/k"]) == pytest.approx(2.0, abs=1e-4)
    kept = torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    free = kept["objective.unknown.free.k"]  # between 1 and 4
    assert free.dtype == torch.float64
    assert 2.5 + 1.5 * math.sin(float(free)) == pytest.approx(2.0, abs=1e-4)
    assert task.objective.found()["k"].device == next(task.model.parameters()).device


@pytest.mark.parametrize(
    "optimizer",
    [LevenbergMarquardt, EnergyNaturalGradient, SSBroyden, RestartedLBFGS, partial(SSBroyden, iterations=1)],
)
def test_frozen_parameters_stay(optimizer: Any) -> None:
    """A layer, and then another one instead of it: what was learned of the first does not fit it."""
    problem = SinePoisson()
    torch.manual_seed(0)
    objective = PhysicsInformed(problem).double()
    field = objective.constrain(MLP([0.0, 0.0], [1.0, 1.0], widths=(5, 4)).double())
    batch = {"points": Collocation(problem, inside=20).points(0, 20)}
    parameters = list(field.parameters())
    optimiser = optimizer(parameters)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = objective.weighted(field, batch).square().sum()
        loss.backward()
        return loss

    for frozen in (0, 1):
        for k, parameter in enumerate(parameters):
            parameter.requires_grad_(k != frozen)
        before, loss = [p.detach().clone() for p in parameters], float(closure().detach())
        for _ in range(2):
            if isinstance(optimiser, ResidualOptimiser):
                optimiser.step(closure, BatchSquares(objective, field, optimiser.parameters, batch))
            else:
                optimiser.step(closure)
        moved = [not torch.equal(p, old) for p, old in zip(parameters, before)]
        assert moved == [k != frozen for k in range(len(parameters))]
        assert float(closure().detach()) < loss


def test_with_all_parameters_frozen_there_is_nothing_to_optimise() -> None:
    with pytest.raises(InvalidInput, match=r"optimizer\.params: got .*none that needs a gradient"):
        SSBroyden([torch.nn.Parameter(torch.zeros(2), requires_grad=False)])


# What a test says.


def test_what_is_left_at_points() -> None:
    metric = PointErrors()
    residual, side = torch.tensor([[3.0], [4.0]]), {"x-": torch.zeros(3, 1), "x+": torch.full((1, 1), 2.0)}
    values, exact = torch.tensor([[1.0], [2.0]]), torch.tensor([[1.0], [1.0]])
    metric.update(residual, side, values, exact)
    found = {name: float(value) for name, value in metric.compute().items()}
    expected = {"residual": math.sqrt(12.5), "conditions": 1.0, "l2": math.sqrt(0.5), "max_error": 1.0}
    assert found == pytest.approx(expected)
    metric.reset()
    metric.update(residual, {}, values)
    assert set(metric.compute()) == {"residual"}


def results_of(
    problem: Problem, folder: Path, **settings: Any
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    task, trainer, data = fitted(problem, epochs=1, folder=folder, **settings)
    trainer.callbacks.append(FieldResults(folder))
    trainer.test(task, datamodule=data, verbose=False)
    with np.load(next((folder / "test").glob("*.npz"))) as stored:
        return json.loads((folder / "test" / "metrics.json").read_text()), dict(stored)


def test_of_a_known_solution_the_error_is_told(tmp_path: Path) -> None:
    table, stored = results_of(SinePoisson(), tmp_path)
    assert set(table) == {"points", "21x21"}
    assert set(table["points"]) == {"residual", "conditions", "l2", "max_error"}
    assert table["points"]["conditions"] < 1e-12
    assert table["points"]["l2"] == pytest.approx(table["21x21"]["l2"], rel=0.5)
    assert {name: stored[name].shape for name in ("target", "prediction", "residual")} == dict.fromkeys(
        ("target", "prediction", "residual"), (1, 1, 21, 21)
    )
    assert stored["axes"].tolist() == ["x", "y"]
    statement = json.loads((tmp_path / "test" / "statement.json").read_text())
    assert statement["name"] == "sine_poisson"


def test_of_several_unknowns_the_error_of_each_is_told(tmp_path: Path) -> None:
    table, stored = results_of(KovasznayFlow(), tmp_path)
    each = {"l2 of u", "l2 of v", "l2 of p"}
    assert set(table) == {"points", "21x21"}
    assert set(table["points"]) == {"residual", "conditions", "l2", "max_error", *each}
    assert table["points"]["conditions"] < 1e-12
    assert each < set(table["21x21"])
    wrong = stored["prediction"] - stored["target"]
    error, truth = ((part**2).sum((0, 2, 3)) for part in (wrong, stored["target"]))
    for k, name in enumerate("uvp"):
        assert table["21x21"][f"l2 of {name}"] == pytest.approx(math.sqrt(error[k] / truth[k]), rel=1e-3)
    assert table["21x21"]["l2"] == pytest.approx(math.sqrt(error.sum() / truth.sum()), rel=1e-3)
    assert stored["residual"].shape == stored["target"].shape == (1, 3, 21, 21)


def test_of_an_unknown_solution_the_residual_is_told(tmp_path: Path) -> None:
    table, stored = results_of(Stated(), tmp_path)
    assert set(table) == {"points"}
    assert set(table["points"]) == {"residual", "conditions"}
    assert "target" not in stored
    assert stored["prediction"].shape == stored["residual"].shape == (1, 1, 21, 21)


def test_of_a_parameter_that_is_to_be_found_no_solution_is_known(tmp_path: Path) -> None:
    """The one that is known belongs to the Constant, 0.4, and the measurements to 0.7."""
    points = np.random.default_rng(0).random((30, 2))
    values = np.exp(-0.7 * np.pi**2 * points[:, 1]) * np.sin(np.pi * points[:, 0])

    class Measured(HeatedRod):
        conditions = (*HeatedRod.conditions, Observed(points, values))

    table, stored = results_of(Measured(), tmp_path, unknown={"a": 0.5})
    assert set(table) == {"points"}
    assert set(table["points"]) == {"residual", "conditions"}
    assert "target" not in stored
    (row,) = json.loads((tmp_path / "history.json").read_text())
    assert "valid/l2" not in row
    found = json.loads((tmp_path / "test" / "statement.json").read_text())["found"]
    assert found == {"a": pytest.approx(row["valid/a"])}
    assert found["a"] > 0.55  # on its way from 0.5, and not that of the Constant


def test_constants_that_a_problem_has_are_used() -> None:
    problem = Poisson(source=Constant(1.0))
    objective = PhysicsInformed(problem)
    field = objective.constrain(MLP([0.0, 0.0], [1.0, 1.0]).double())
    x = Collocation(problem, inside=5).points(0, 5)["inside"]
    expected = problem.residual_at_points(lambda points: field.at(points)[:, 0], x, {})
    torch.testing.assert_close(objective.residual(field, x)[:, 0], expected)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"gradient_clip_val": 1.0}, "gradient_clip_val"),
        ({"accumulate_grad_batches": 2}, "accumulate_grad_batches"),
        ({"callbacks": GradientAccumulationScheduler({1: 2}), "max_epochs": 2}, "accumulate_grad_batches"),
        ({"precision": "bf16-mixed"}, "precision"),
    ],
    ids=["clipped", "accumulated", "accumulated later", "16 bits"],
)
@pytest.mark.parametrize(
    "optimizer",
    [
        LevenbergMarquardt,
        partial(Stages, stages=[Stage(torch.optim.Adam, 1000), Stage(SSBroyden)]),
    ],
    ids=["alone", "as a later stage"],
)
def test_trainers_that_change_gradients_are_refused_with_line_searches(
    settings: dict, word: str, optimizer: Any
) -> None:
    problem = SinePoisson()
    task = TrainingTask(MLP([0.0, 0.0], [1.0, 1.0], widths=(4,)), PhysicsInformed(problem), optimizer)
    quiet = dict.fromkeys(
        ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
    )
    defaults = {"max_epochs": 1, "precision": "64-true", "accelerator": "cpu"}
    trainer = lightning.Trainer(**(defaults | quiet | settings))
    with pytest.raises(InvalidInput, match=f"trainer.{word}"):
        trainer.fit(task, datamodule=Collocation(problem, inside=20, held_back=5, test_resolutions=(5,)))
