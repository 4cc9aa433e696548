"""Systems of equations: several unknowns, each with conditions of its own."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from statement_run import run
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.fields import MLP, Field, FourierFeatures, Gaussians, HardConditions, PirateNet, Separable
from pdeflow.problems import (
    Ball,
    Box,
    D,
    Dirichlet,
    Initial,
    KovasznayFlow,
    Neumann,
    Observed,
    Parameter,
    Problem,
    Robin,
    Uniform,
)
from pdeflow.problems.calculus import cos, sin
from pdeflow.training import (
    CausalWeights,
    Collocation,
    EnergyNaturalGradient,
    LevenbergMarquardt,
    NTKWeights,
    PhysicsInformed,
    Residual,
    RestartedLBFGS,
    SSBroyden,
    TimeMarching,
)
from pdeflow.training.batch_squares import BatchSquares
from pdeflow.training.component_errors import ComponentErrors
from pdeflow.training.condition_number import condition_number
from pdeflow.training.last_layer import fit_last_layer


class Coupled(Problem):
    """u_x v - v_yy + k = 0, u_y + u v = sin x, with what a test gives it."""

    domain = Box(x=(0.0, 1.0), y=(0.0, 2.0))
    fields = ("u", "v")
    k = Parameter(Uniform(1.0, 4.0))

    def __init__(self, *conditions: Any, residual: Any = None) -> None:
        self.conditions = conditions
        self._residual = residual

    def residual(self, w: Any, at: Any, p: Any) -> Any:
        if self._residual is not None:
            return self._residual(w, at, p)
        return D(w.u, "x") * w.v - D(w.v, "y", 2) + p.k, D(w.u, "y") + w.u * w.v - sin(at.x)


class CauchyRiemann(Problem):
    """u_x = v_y, u_y = -v_x with u = x^2 - y^2, v = 2 x y: u is given all around, v in a corner."""

    domain = Box(x=(0.0, 1.0), y=(0.0, 1.0))
    fields = ("u", "v")

    def __init__(self) -> None:
        self.conditions = (
            Dirichlet(lambda at, p: self.exact(at, p)[0], of="u"),
            Observed([[0.0, 0.0]], [0.0], of="v"),
        )

    def exact(self, at: Any, p: Any) -> Any:
        return at.x**2 - at.y**2, 2 * at.x * at.y

    def residual(self, w: Any, at: Any, p: Any) -> Any:
        return D(w.u, "x") - D(w.v, "y"), D(w.u, "y") + D(w.v, "x")


class Wave(Problem):
    """u_t = v, v_t = u_xx: only u is given at the ends, both at the start."""

    domain = Box(x=(0.0, 1.0), t=(0.0, 1.0))
    fields = ("u", "v")
    conditions = (
        Dirichlet(0.0, on=("x-", "x+"), of="u"),
        Initial(lambda at, p: sin(math.pi * at.x), of="u"),
        Initial(0.0, of="v"),
    )

    def exact(self, at: Any, p: Any) -> Any:
        space = sin(math.pi * at.x)
        return space * cos(math.pi * at.t), -math.pi * space * sin(math.pi * at.t)

    def residual(self, w: Any, at: Any, p: Any) -> Any:
        return D(w.u, "t") - w.v, D(w.v, "t") - D(w.u, "x", 2)


CONDITIONS = (
    Dirichlet(lambda at, p: sin(at.y), on="x-", of="u"),
    Robin(0.5, 1.0, on="x+", of=("u", "v")),
    Dirichlet(0.3, on="y-", of="v"),
    Observed([[0.5, 0.5], [0.25, 1.0]], [0.2, 0.1], of="v"),
)


def network(problem: Problem, kind: type[Field] = MLP, **settings: Any) -> Field:
    torch.manual_seed(0)
    usual = {
        MLP: {"widths": (6,)},
        Gaussians: {"gaussians": 6, "sigma": 0.6},
        Separable: {"rank": 3, "widths": (4,)},
    }
    domain = problem.domain
    made = kind(
        lower=domain.lower,
        upper=domain.upper,
        components=len(problem.fields),
        **{**usual.get(kind, {}), **settings},
    )
    return made.double()


def points_of(problem: Problem, inside: int = 12) -> dict[str, Tensor]:
    return Collocation(problem, inside=inside, on_sides=5).points(0, inside)


def exact(problem: Problem, points: Tensor) -> Tensor:
    return Collocation(problem)._exact(points.unbind(1))


# The statement.


@pytest.mark.parametrize("problem", [KovasznayFlow(), KovasznayFlow(reynolds=200.0), CauchyRiemann(), Wave()])
def test_the_residual_of_the_exact_solution_vanishes(problem: Problem) -> None:
    x = points_of(problem, 200)["inside"]
    residual = problem.residual_at_points(lambda z: exact(problem, z), x, {})
    assert residual.shape == (200, len(problem.fields))
    assert float(residual.detach().abs().max()) < 1e-11


def test_another_flow_has_a_residual() -> None:
    """Velocities are in all equations, the pressure in those of momentum, with both of its slopes."""
    problem, x = KovasznayFlow(), points_of(KovasznayFlow(), 50)["inside"]
    for column, seen in ((0, [True, True, True]), (1, [True, True, True]), (2, [True, True, False])):
        changed = 0.1 * torch.eye(3, dtype=torch.float64)[column]

        def flow(z: Tensor, changed: Tensor = changed) -> Tensor:
            return exact(problem, z) + (z[:, 0] * z[:, 1])[:, None] * changed

        residual = problem.residual_at_points(flow, x, {})
        assert (residual.abs().amax(0) > 1e-3).tolist() == seen


def test_it_says_of_what_its_conditions_are() -> None:
    said = Coupled(Dirichlet(0.0, on="y-", of=("u", "v")), Robin(0.5, 1.0, on="x+", of="v")).describe()
    assert said["conditions"] == ["u, v: Dirichlet, 0 on y-", "dv/dn + 0.5*v = 1.0 on x+"]
    assert said["equation"].count(r"\\") == 1


def test_statements_have_what_was_observed_and_how_it_begins() -> None:
    class Started(Wave):
        def __init__(self, *conditions: Any) -> None:
            self.conditions = conditions

    begun = [
        Initial(0.0, of="u"),
        Initial(1.0, of="u"),
        Initial(0.0, order=1, of="u"),
        Initial(lambda at, p: sin(at.x), of="u"),
        Robin(0.0, 0.0, on="t-", of="u"),
        Observed([[0.5, 0.5]], [1.0], of="u"),
        Observed([[0.5, 0.5]], [2.0], of="u"),
        Observed([[0.5, 0.25]], [1.0], of="u"),
        Observed([[0.5, 0.25]], [1.0], of="v"),
    ]
    stated = [Started(condition).statement() for condition in begun]
    texts = [json.dumps(one) for one in stated]
    assert len(set(texts)) == len(begun)
    assert [json.loads(text) for text in texts] == stated


def test_two_statements_are_told_apart_by_what_a_condition_is_of() -> None:
    one, two = (Coupled(Dirichlet(0.0, of=name)).statement() for name in ("u", "v"))
    assert one != two


# Compiled, against automatic differentiation.


@pytest.mark.parametrize("kind", [MLP, Gaussians, Separable])
@pytest.mark.parametrize("hard", [True, False])
def test_residuals_and_their_jacobian_are_those_of_automatic_differentiation(
    kind: type[Field], hard: bool
) -> None:
    problem = Coupled(*CONDITIONS)
    objective = PhysicsInformed(problem, hard=hard, unknown={"k": 2.0}).double()
    field = objective.constrain(network(problem, kind))
    batch = {"points": points_of(problem)}
    x = batch["points"]["inside"]
    by_autograd = problem.residual_at_points(field.at, x, {"k": float(objective.found()["k"])})
    torch.testing.assert_close(objective.residual(field, x), by_autograd, rtol=1e-9, atol=1e-10)

    parameters = [*field.parameters(), *objective.parameters()]
    r, jacobian = BatchSquares(objective, field, parameters, batch).linearised()
    weighted = objective.weighted(field, batch)
    torch.testing.assert_close(r, weighted.detach())
    learned = {"x+:slope of u", "x+:slope of v", "observed 0:value of v"}
    soft = {"x-:value of u", "y-:value of v"}
    assert set(objective.statements) == {"inside"} | learned | (set() if hard else soft)
    assert len(r) == 2 * 12 + 5 + 5 + 2 + (0 if hard else 10)
    for row, value in zip(jacobian, weighted):
        slopes = torch.autograd.grad(value, parameters, retain_graph=True, materialize_grads=True)
        torch.testing.assert_close(row, torch.cat([s.flatten() for s in slopes]), rtol=1e-8, atol=1e-10)


def test_what_is_left_of_conditions_is_that_of_their_unknown() -> None:
    problem = Coupled(*CONDITIONS)
    objective = PhysicsInformed(problem, hard=False, unknown={"k": 2.0})
    field, points = network(problem), points_of(problem)
    found = objective.condition_residuals(field, points)
    left, below, known = points["x-"], points["y-"], points["observed 0"]
    torch.testing.assert_close(found["x-:value of u"][:, 0], field.at(left)[:, 0] - left[:, 1].sin())
    torch.testing.assert_close(found["y-:value of v"][:, 0], field.at(below)[:, 1] - 0.3)
    torch.testing.assert_close(
        found["observed 0:value of v"][:, 0], field.at(known[:, :2])[:, 1] - known[:, 2]
    )
    for column, name in enumerate("uv"):
        slope = field.derivatives(points["x+"], [(1, 0)])[1, 0][:, column]
        expected = slope + 0.5 * field.at(points["x+"])[:, column] - 1.0
        torch.testing.assert_close(found[f"x+:slope of {name}"][:, 0], expected)


def test_the_last_condition_on_a_side_holds_for_its_unknown_alone() -> None:
    problem = Coupled(
        Dirichlet(1.0, of=("u", "v")), Dirichlet(2.0, on="x-", of="v"), Neumann(0.0, on="y+", of="u")
    )
    with pytest.warns(UserWarning, match=r"conditions of coupled: v: x- gives 2 and y[+-] gives 1"):
        objective = PhysicsInformed(problem, hard=False, unknown={"k": 2.0})
    field, points = network(problem), points_of(problem)
    found = objective.condition_residuals(field, points)
    assert "y+:value of u" not in found
    assert {"y+:slope of u", "y+:value of v"} <= set(found)
    values = field.at(points["x-"])
    torch.testing.assert_close(found["x-:value of u"][:, 0], values[:, 0] - 1.0)
    torch.testing.assert_close(found["x-:value of v"][:, 0], values[:, 1] - 2.0)


# Met by form.


def test_each_unknown_meets_its_own_values_and_is_free_elsewhere() -> None:
    problem = KovasznayFlow()
    objective = PhysicsInformed(problem)
    assert set(objective.statements) == {"inside"}
    inner = network(problem)
    field, points = objective.constrain(inner), points_of(problem)
    assert isinstance(field, HardConditions)
    found = objective.condition_residuals(field, points)
    left = {name: float(part.detach().abs().max()) for name, part in found.items()}
    sides = ("x-", "x+", "y-", "y+")
    assert set(left) == {*(f"{side}:value of {name}" for side in sides for name in "uv"), "x+:value of p"}
    assert max(left.values()) < 1e-12
    for side in ("x-", "y-", "y+"):
        error = (field.at(points[side]) - exact(problem, points[side])).detach().abs()
        assert float(error[:, :2].max()) < 1e-12
        assert float(error[:, 2].max()) > 1e-2
    again = HardConditions.from_formulas(inner, **field.formulas())
    torch.testing.assert_close(again.at(points["inside"]), field.at(points["inside"]))


def test_an_unknown_without_values_is_the_network() -> None:
    problem = Coupled(Dirichlet(0.0, of="u"))
    inner = network(problem)
    field = PhysicsInformed(problem, unknown={"k": 2.0}).constrain(inner)
    x = points_of(problem)["inside"]
    torch.testing.assert_close(field.at(x)[:, 1], inner.at(x)[:, 1], rtol=0, atol=0)
    assert float((field.at(x) - inner.at(x))[:, 0].detach().abs().max()) > 1e-3


def test_a_slope_in_time_is_met_too() -> None:
    class Started(Wave):
        conditions = (Initial(0.5, of=("u", "v")), Initial(lambda at, p: at.x, order=1, of="v"))

    problem = Started()
    objective = PhysicsInformed(problem)
    field, points = objective.constrain(network(problem)), points_of(problem)
    assert set(objective.statements) == {"inside"}
    left = objective.condition_residuals(field, points)
    assert set(left) == {"t-:value of u", "t-:value of v", "t-:rate of v"}
    assert max(float(part.detach().abs().max()) for part in left.values()) < 1e-13
    slope = field.derivatives(points["t-"], [(0, 1)])[0, 1].detach()
    assert float((slope[:, 0] - points["t-"][:, 0]).abs().max()) > 1e-2


@pytest.mark.parametrize("kind", [Gaussians, Separable])
def test_at_products_of_axes(kind: type[Field]) -> None:
    problem = CauchyRiemann()
    objective = PhysicsInformed(problem).double()
    field, data = objective.constrain(network(problem, kind)), Collocation(problem, inside=16, sampler="grid")
    points = data.points(0, 16)
    parameters = {f"field.{name}": p.detach() for name, p in field.named_parameters()}
    r, jacobian = objective.linearised(field, parameters, {"points": points})
    on_axes = {"points": points, "axes": data.axes(points)}
    r_on_axes, jacobian_on_axes = objective.linearised(field, parameters, on_axes)
    torch.testing.assert_close(r_on_axes, r)
    torch.testing.assert_close(jacobian_on_axes, jacobian)


def test_on_a_disc() -> None:
    """By inverse distances; the normal derivative of the other unknown is learned."""

    class OnDisc(CauchyRiemann):
        domain = Ball(1.0, x=0.0, y=0.0)

        def __init__(self) -> None:
            self.conditions = (
                Dirichlet(lambda at, p: self.exact(at, p)[0], on="rim", of="u"),
                Neumann(lambda at, p: 4 * at.x * at.y, on="rim", of="v"),
            )

    problem = OnDisc()
    objective = PhysicsInformed(problem)
    assert set(objective.statements) == {"inside", "rim:slope of v"}
    field, points = objective.constrain(network(problem)), points_of(problem, 40)
    left = objective.condition_residuals(field, points)
    assert float(left["rim:value of u"].detach().abs().max()) < 1e-11

    class Exact(MLP):
        def derivatives(self, points: Tensor, wanted: Any) -> dict[tuple[int, ...], Tensor]:
            x, y = points.unbind(1)
            known = {(0, 0): (x**2 - y**2, 2 * x * y), (1, 0): (2 * x, 2 * y), (0, 1): (-2 * y, 2 * x)}
            return {index: torch.stack(known[index], dim=1) for index in wanted}

    solution = Exact([-1.0, -1.0], [1.0, 1.0], 2)
    for part in objective.condition_residuals(solution, points).values():
        assert float(part.abs().max()) < 1e-12
    assert float(objective.residual(solution, points["inside"]).abs().max()) < 1e-12


# Learned.


@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize(
    ("problem", "epochs", "error"), [(CauchyRiemann(), 6, 2e-2), (Wave(), 20, 1e-1)], ids=["elliptic", "wave"]
)
def test_linear_systems_are_solved(problem: Problem, epochs: int, error: float, hard: bool) -> None:
    model = network(problem, widths=(10,)).float()
    _, trainer = run(PhysicsInformed(problem, hard=hard), LevenbergMarquardt, epochs=epochs, model=model)
    assert float(trainer.callback_metrics["valid/l2"]) < error


@pytest.mark.parametrize(
    ("optimizer", "epochs"), [(EnergyNaturalGradient, 14), (SSBroyden, 1), (RestartedLBFGS, 1)]
)
def test_every_optimiser_makes_the_loss_smaller(optimizer: Any, epochs: int) -> None:
    problem, objective = CauchyRiemann(), PhysicsInformed(CauchyRiemann())
    start, batch = objective.constrain(network(problem)), {"points": points_of(problem, 30)}
    task, _ = run(PhysicsInformed(problem), optimizer, epochs=epochs, model=network(problem).float())
    assert isinstance(task.model, Field)
    before, after = (objective.weighted(field, batch).square().sum() for field in (start, task.model))
    assert float(after) < 0.1 * float(before)


def test_a_last_layer_starts_from_the_least_squares_of_all_equations() -> None:
    problem = CauchyRiemann()
    objective = PhysicsInformed(problem, hard=False).double()
    field, batch = network(problem, PirateNet, width=8, blocks=1), {"points": points_of(problem, 40)}
    assert fit_last_layer(objective, field, batch)
    loss = objective.weighted(field, batch).square().sum()
    last = [dict(field.named_parameters())[name] for name in field.linear_parameters]
    assert last[0].shape[0] == 2
    for slope in torch.autograd.grad(loss, last):
        assert float(slope.abs().max()) < 1e-5


def test_weights_and_times_know_the_conditions_of_each_unknown() -> None:
    problem = Wave()
    objective = PhysicsInformed(
        problem, hard=False, balance=NTKWeights(every=2), time_course=CausalWeights(tolerances=(1.0,))
    )
    run(objective, LevenbergMarquardt, epochs=1, model=network(problem).float())
    names = ["inside", "t-:value of u", "t-:value of v", "x+:value of u", "x-:value of u"]
    assert list(objective.statements) == names
    assert {f"weight of {name}" for name in names} <= set(objective.progress())
    assert all(bool(torch.isfinite(value).all()) for value in objective.progress().values())


def test_windows_of_time() -> None:
    from pdeflow.fields import TimeWindows

    problem = Wave()
    objective = PhysicsInformed(problem, time_course=TimeMarching(steps=32))
    model = network(problem, TimeWindows, windows=2, widths=(6,)).float()
    task, trainer = run(objective, LevenbergMarquardt, epochs=16, model=model)
    assert float(trainer.callback_metrics["valid/l2"]) < 0.3
    assert isinstance(task.model, Field)


# Told.


def test_the_error_of_each_component() -> None:
    metric, names = ComponentErrors(), ("u", "v", "zero")
    values = torch.tensor([[1.0, 3.0, 1.0], [1.0, 0.0, 0.0]])
    truth = torch.tensor([[1.0, 2.0, 0.0], [2.0, 0.0, 0.0]])
    metric.update(names, values[:1], truth[:1])
    metric.update(names, values[1:], truth[1:])
    found = {name: float(value) for name, value in metric.compute().items()}
    assert found == pytest.approx({"l2 of u": math.sqrt(1 / 5), "l2 of v": 0.5})
    on_grid = ComponentErrors()
    on_grid.update(names, values.T[None].reshape(1, 3, 2, 1), truth.T[None].reshape(1, 3, 2, 1))
    assert {name: float(value) for name, value in on_grid.compute().items()} == pytest.approx(found)


def test_the_condition_number_is_that_of_all_equations() -> None:
    """The condition is on u alone, so its matrix has nothing of the amplitudes of v."""

    class Half(CauchyRiemann):
        def __init__(self) -> None:
            self.conditions = (Dirichlet(0.0, on="x-", of="u"),)

    problem = Half()
    field = network(problem, FourierFeatures, modes=(1, 1))
    found = condition_number(problem, field)
    half = len(found.sides) // 2
    assert float(found.sides[:half, :half].trace()) > 0
    assert float(found.sides[half:].abs().max()) == 0
    u, v = found.inside[:half, :half], found.inside[half:, half:]
    torch.testing.assert_close(u, v)  # |grad u|^2 and |grad v|^2


# What is wrong with a system.


def two(first: Any, second: Any) -> Any:
    return lambda w, at, p: (first(w, at, p), second(w, at, p))


FINE = lambda w, at, p: D(w.u, "x") - w.v * p.k  # noqa: E731


@pytest.mark.parametrize(
    ("problem", "told"),
    [
        (
            Coupled(Dirichlet(0.0)),
            r"Dirichlet.of: got \(\), expected which of the unknowns u, v(?s:.*)Say of=",
        ),
        (Coupled(Dirichlet(0.0, of="w")), "Dirichlet.of: got 'w', expected an unknown: u, v"),
        (Coupled(Neumann(0.0, on="x-", of=("u", "p"))), "Neumann.of: got 'p', expected an unknown: u, v"),
        (Coupled(Observed([[0.5, 0.5]], [1.0])), r"Observed.of: got \(\), expected which of the unknowns"),
        (
            Coupled(residual=FINE),
            "Coupled.residual: got 'PointFunction', expected a tuple of 2 expressions, for u, v",
        ),
        (
            Coupled(residual=lambda w, at, p: (FINE(w, at, p),)),
            "Coupled.residual: got '1 of them', expected a tuple of 2 expressions, for u, v",
        ),
        (Coupled(residual=two(FINE, lambda w, at, p: 0.0)), "Coupled.residual: got .float., expected an exp"),
        (
            Coupled(residual=two(FINE, lambda w, at, p: at.x - p.k)),
            "Coupled.residual: got .equation 2 without an unknown., expected 2 that depend on",
        ),
        (
            Coupled(residual=two(lambda w, at, p: w.v - p.k, lambda w, at, p: D(w.v, "y"))),
            "Coupled.residual: got 'an expression without u'",
        ),
        (
            Coupled(Dirichlet(0.0, of=("u", "u"))),
            r"Dirichlet.of: got \('u', 'u'\), expected every unknown once",
        ),
        (Coupled(residual=two(FINE, lambda w, at, p: w.q)), "field: got 'q', expected one of u, v"),
        (
            Coupled(Dirichlet(0.0, of=("u", "v")), Dirichlet(1.0, on="x-", of="v")),
            r"conditions of coupled: got 'v: x- gives 1 and y[+-] gives 0 where they meet",
        ),
    ],
)
def test_what_is_wrong_is_named(problem: Problem, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        PhysicsInformed(problem, unknown={"k": 2.0})


def test_a_slope_in_time_needs_a_value_of_the_same_unknown() -> None:
    class Sloped(Wave):
        conditions = (Initial(0.0, of="u"), Initial(1.0, order=1, of="v"))

    with pytest.raises(
        InvalidInput, match=r"conditions of sloped: got .*slope, 1.0., expected one on v itself"
    ):
        PhysicsInformed(Sloped())


@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize("components", [1, 3])
def test_a_field_has_a_component_for_each_unknown(components: int, hard: bool) -> None:
    field = MLP([0.0, 0.0], [1.0, 1.0], widths=(4,), components=components)
    told = rf"model.components: got {components}, expected 2, .* u, v of .*\nSay MLP\(..., components=2\)"
    with pytest.raises(InvalidInput, match=told):
        PhysicsInformed(CauchyRiemann(), hard=hard).constrain(field)


class Referred(CauchyRiemann):
    """Its solution as a reference alone, in the shape that a test gives it."""

    def __init__(self, shaped: Any) -> None:
        super().__init__()
        self.shaped = shaped
        self.conditions = (Dirichlet(0.0, of=("u", "v")),)

    def exact(self, at: Any, p: Any) -> Any:
        return None

    def reference(self, points: Any) -> Any:
        x, y = points.T
        return self.shaped([x**2 - y**2, 2 * x * y])


def test_a_reference_has_a_column_for_each_unknown() -> None:
    problem = Referred(lambda parts: np.stack(parts, axis=1))
    (loader,) = Collocation(problem, held_back=16).test_dataloader()[:1]
    (batch,) = loader
    torch.testing.assert_close(batch["exact"], exact(CauchyRiemann(), batch["points"]["inside"]))
    for shaped, got in ((np.stack, r"\(2, 16\)"), (np.concatenate, r"\(32,\)"), (lambda w: w[0], r"\(16,\)")):
        with pytest.raises(InvalidInput, match=rf"Referred.reference: got {got}, expected \(16, 2\)"):
            Collocation(Referred(shaped), held_back=16).test_dataloader()


def test_names_of_unknowns_are_names() -> None:
    class Renamed(CauchyRiemann):
        def __init__(self) -> None:
            super().__init__()
            self.fields = ("u", "u")

    with pytest.raises(InvalidInput, match=r"fields of renamed: got .*a tuple of names"):
        PhysicsInformed(Renamed())


@pytest.mark.parametrize("reynolds", [0.0, -1.0, math.inf, math.nan])
def test_a_reynolds_number_is_positive(reynolds: float) -> None:
    with pytest.raises(InvalidInput, match=r"problem.reynolds: got .*a positive number"):
        KovasznayFlow(reynolds)


def test_waves_are_not_preconditioned_for_several_unknowns() -> None:
    problem = CauchyRiemann()
    objective = PhysicsInformed(problem, precondition=True)
    told = r"symbol of cauchyriemann: got 'a matrix, for u, v', expected a number a wave(?s:.*)Leave out"
    with pytest.raises(InvalidInput, match=told):
        objective.constrain(network(problem, FourierFeatures, modes=(1, 1)))


def test_on_grids_there_is_one_unknown() -> None:
    problem = KovasznayFlow()
    grid = problem.grid(9)
    told = "fields of kovasznay_flow: got .*one unknown, on a grid(?s:.*)PhysicsInformed"
    with pytest.raises(InvalidInput, match=told):
        problem.discretise(grid, {})
    with pytest.raises(InvalidInput, match=told):
        problem.residual_on_grid(torch.zeros(1, 9, 9, dtype=torch.float64), grid, {})
    with pytest.raises(InvalidInput, match=r"objective.problem: got .KovasznayFlow., expected a steady"):
        Residual(problem)


def test_a_condition_on_another_unknown_is_refused_on_grids() -> None:
    class Lone(Problem):
        domain = Box(x=(0.0, 1.0))
        conditions = (Dirichlet(0.0, of="v"),)

        def residual(self, u: Any, at: Any, p: Any) -> Any:
            return D(u, "x", 2) - 1.0

    with pytest.raises(InvalidInput, match=r"Dirichlet.of: got .v., expected an unknown: u"):
        Lone().discretise(Lone().grid(9), {})
