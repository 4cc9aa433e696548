"""Functions that a statement depends on, found from measurements: unknowns without an equation, in bounds."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sympy
import torch
from statement_run import assert_resumed_is_whole, run
from torch import Tensor

import pdeflow
from pdeflow.data.normalisation import Normalisation
from pdeflow.errors import CorruptFile, InvalidInput
from pdeflow.fields import (
    MLP,
    Field,
    FourierFeatures,
    Gaussians,
    HardConditions,
    JoinedFields,
    PirateNet,
    Separable,
)
from pdeflow.fields.bounds import bounded, freed
from pdeflow.problems import (
    Box,
    Coefficient,
    D,
    Dirichlet,
    Initial,
    Observed,
    ObservedDarcy,
    Parameter,
    ParametricFamily,
    Problem,
    Uniform,
)
from pdeflow.problems.calculus import Names, cos, log, sin
from pdeflow.training import Collocation, EnergyNaturalGradient, LevenbergMarquardt, PhysicsInformed
from pdeflow.training.batch_squares import BatchSquares

INFINITE = math.inf


class Rod(Problem):
    """-(k u')' = f with u = sin(pi x), measured at 200 points, and k = 1 + sin(2 pi x) / 2."""

    domain = Box(x=(0.0, 1.0))
    fields = ("u", "k")
    coefficients = (Coefficient("k", lower=0.0),)

    def __init__(self, *conditions: Any) -> None:
        x = np.linspace(0.0, 1.0, 200)
        measured = Observed(x[:, None], np.sin(np.pi * x), of="u")
        self.conditions = (Dirichlet(0.0, of="u"), measured, *conditions)

    def exact(self, at: Any, p: Any) -> Any:
        return sin(math.pi * at.x), 1 + sin(2 * math.pi * at.x) / 2

    def source(self, at: Any) -> Any:
        angle, (u, k) = math.pi * at.x, self.exact(at, None)
        return math.pi**2 * (k * u - cos(2 * angle) * cos(angle))

    def residual(self, w: Any, at: Any, p: Any) -> Any:
        return -D(w.k * D(w.u, "x"), "x") - self.source(at)


class Heated(Problem):
    """u_xx = -s for a source s that is to be found, of any sign: u = x^3 - x, s = -6 x."""

    domain = Box(x=(-1.0, 1.0))
    fields = ("u", "s")
    coefficients = (Coefficient("s"),)

    def __init__(self) -> None:
        x = np.linspace(-1.0, 1.0, 100)
        self.conditions = (Dirichlet(0.0, of="u"), Observed(x[:, None], x**3 - x, of="u"))

    def exact(self, at: Any, p: Any) -> Any:
        return at.x**3 - at.x, -6 * at.x

    def residual(self, w: Any, at: Any, p: Any) -> Any:
        return D(w.u, "x", 2) + w.s


class Cooling(Problem):
    """u_t = (k u_x)_x + c u with k(x, t) between 0.5 and 2, in a box of time."""

    domain = Box(x=(0.0, 1.0), t=(0.0, 2.0))
    fields = ("u", "k")
    coefficients = (Coefficient("k", 0.5, 2.0),)
    conditions = (
        Initial(lambda at, p: sin(math.pi * at.x), of="u"),
        Dirichlet(0.0, on=("x-", "x+"), of="u"),
        Observed([[0.5, 1.0], [0.25, 0.5]], [0.3, 0.2], of="u"),
    )
    c = Parameter(Uniform(-1.0, 1.0))

    def residual(self, w: Any, at: Any, p: Any) -> Any:
        return D(w.u, "t") - D(w.k * D(w.u, "x"), "x") - p.c * w.u


def mlp(problem: Problem, dim: int | None = None, **settings: Any) -> Field:
    domain = problem.domain
    return MLP(domain.lower[:dim], domain.upper[:dim], **{"widths": (8,), **settings})


def joined(problem: Problem, *parts: Field) -> JoinedFields:
    torch.manual_seed(0)
    return JoinedFields(parts or [mlp(problem, widths=(16,)), mlp(problem, widths=(12,))])


def exact(problem: Problem, points: Tensor) -> Tensor:
    return Collocation(problem)._exact(points.unbind(1))


def error_of(field: Field, problem: Problem, unknown: str) -> float:
    """The relative L2 error on a fine grid."""
    nodes = torch.linspace(*problem.domain.lower, *problem.domain.upper, 501, dtype=torch.float64)[:, None]
    k = problem.fields.index(unknown)
    with torch.no_grad():
        found, truth = field.at(nodes)[:, k], exact(problem, nodes)[:, k]
    return float((found - truth).norm() / truth.norm())


# The statement.


@pytest.mark.parametrize("problem", [Rod(), Heated(), ObservedDarcy(measurements=9)])
def test_the_residual_of_what_is_to_be_found_vanishes(problem: Problem) -> None:
    points = Collocation(problem).points(0, 200)["inside"]
    residual = problem.residual_at_points(lambda x: exact(problem, x), points, {})
    assert residual.shape == (len(points),)
    assert float(residual.detach().abs().max()) < 1e-10
    other = problem.residual_at_points(lambda x: exact(problem, x) + x[:, :1].square(), points, {})
    assert float(other.detach().abs().max()) > 1e-2


def test_measurements_are_of_the_solution_with_errors() -> None:
    plain, noisy = (ObservedDarcy(measurements=500, noise=noise) for noise in (0.0, 0.1))
    (first, second) = (problem.conditions[1] for problem in (plain, noisy))
    assert isinstance(first, Observed)
    assert isinstance(second, Observed)
    assert first.of == "u"
    x, y, u = first.table.T
    np.testing.assert_allclose(u, np.sin(np.pi * x) * np.sin(np.pi * y), rtol=0, atol=1e-15)
    errors = second.table[:, 2] - u
    assert np.array_equal(first.table[:, :2], second.table[:, :2])
    assert 0.09 < errors.std() < 0.11
    assert abs(errors.mean()) < 0.02


@pytest.mark.parametrize(
    "settings", [{"measurements": 0}, {"noise": -1.0}, {"noise": math.nan}, {"noise": INFINITE}]
)
def test_numbers_of_measurements(settings: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match=f"problem.{next(iter(settings))}: got"):
        ObservedDarcy(**settings)


def test_it_says_what_is_to_be_found() -> None:
    assert Rod().solved == ("u",)
    assert Rod().describe()["parameters"] == {"k": "a function to be found, above 0"}
    assert str(Coefficient("k", 0.5, 2.0)) == "a function to be found, from 0.5 to 2"
    assert str(Coefficient("k", upper=3.0)) == "a function to be found, below 3"
    assert str(Coefficient("k")) == "a function to be found"
    assert Rod().symbol().shape == (1, 2)


def test_residuals_are_those_of_sympy_and_of_automatic_differentiation() -> None:
    """At random points, of networks with bounds; k_x u_x + k u_xx for the flux form."""
    problem = Rod()
    objective = PhysicsInformed(problem)
    field = objective.constrain(joined(problem).double())
    torch.manual_seed(1)
    points = torch.rand(50, 1, dtype=torch.float64)
    found = objective.residual(field, points)
    assert found.shape == (50, 1)
    by_autograd = problem.residual_at_points(field.at, points, {})
    torch.testing.assert_close(found[:, 0], by_autograd, rtol=0, atol=1e-10)

    at = sympy.Symbol("x", real=True)
    f = sympy.lambdify([at], problem.source(Names("coordinate", {"x": at})), "numpy")
    values = field.derivatives(points, [(0,), (1,), (2,)])
    (_, slope, curve), (k, k_slope, _) = (
        [values[(order,)][:, part].detach().numpy() for order in range(3)] for part in (0, 1)
    )
    expected = -(k_slope * slope + k * curve) - f(points[:, 0].numpy())
    np.testing.assert_allclose(found[:, 0].detach().numpy(), expected, rtol=0, atol=1e-10)


def in_time(problem: Problem, narrow: bool) -> list[Field]:
    second = mlp(problem, dim=1) if narrow else Separable([0.0, 0.0], [1.0, 2.0], rank=3, widths=(4,))
    return [Gaussians([0.0, 0.0], [1.0, 2.0], gaussians=5, sigma=0.6), second]


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("hard", [False, True])
def test_jacobians_are_those_of_automatic_differentiation(hard: bool, narrow: bool) -> None:
    problem = Cooling()
    objective = PhysicsInformed(problem, hard=hard, unknown={"c": 0.3}).double()
    field = objective.constrain(joined(problem, *in_time(problem, narrow)).double())
    data = Collocation(problem, inside=16, on_sides=4, sampler="grid")
    points = data.points(0, 16)
    c = float(objective.found()["c"])
    by_autograd = problem.residual_at_points(field.at, points["inside"], {"c": c})
    torch.testing.assert_close(
        objective.residual(field, points["inside"])[:, 0], by_autograd, rtol=1e-10, atol=1e-10
    )
    parameters = [*field.parameters(), *objective.parameters()]
    for batch in ({"points": points}, {"points": points, "axes": data.axes(points)}):
        r, jacobian = BatchSquares(objective, field, parameters, batch).linearised()
        weighted = objective.weighted(field, batch)
        torch.testing.assert_close(r, weighted.detach())
        for row, value in zip(jacobian, weighted):
            slopes = torch.autograd.grad(value, parameters, retain_graph=True, materialize_grads=True)
            expected = torch.cat([s.flatten() for s in slopes])
            torch.testing.assert_close(row, expected, rtol=1e-8, atol=1e-10)


def test_a_part_with_fewer_coordinates_does_not_depend_on_the_others() -> None:
    problem = Cooling()
    field = joined(problem, *in_time(problem, narrow=True)).double()
    x = torch.rand(9, 2, dtype=torch.float64)
    later = x + torch.tensor([0.0, 0.5], dtype=torch.float64)
    assert torch.equal(field.at(x)[:, 1], field.at(later)[:, 1])
    assert float((field.at(x) - field.at(later))[:, 0].detach().abs().max()) > 1e-3
    found = field.derivatives(x, [(0, 1), (1, 1)])
    assert all(float(value[:, 1].detach().abs().max()) == 0.0 for value in found.values())


# Bounds.


@pytest.mark.parametrize(
    "between",
    [
        (0.5, 2.0),
        (-3.0, 1.0),
        (2.0, 1e6),
        (1e-6, 1e-2),
        (0.0, INFINITE),
        (-INFINITE, -1.0),
        (-INFINITE, INFINITE),
    ],
)
def test_bounds_are_kept_whatever_the_network_is(between: tuple[float, float]) -> None:
    low, high = between
    x = sympy.Symbol("x", real=True)
    network = MLP([-1.0], [1.0], widths=(5,)).double()
    torch.nn.init.normal_(network.layers[1].weight, std=30.0)
    field = HardConditions(network, [sympy.Integer(0)], [sympy.Integer(1)], {"x": x}, [between])
    points = torch.linspace(-1.0, 1.0, 101, dtype=torch.float64)[:, None]
    found = field.at(points).detach()
    slack = 1e-12 * max((abs(bound) for bound in between if math.isfinite(bound)), default=0.0)
    assert bool(torch.isfinite(found).all())
    assert low - slack <= float(found.min()) < float(found.max()) <= high + slack
    for value in (-2.0, 0.0, 1.5):
        inner = sympy.Float(value)
        assert float(freed(bounded(inner, low, high), low, high)) == pytest.approx(value, abs=1e-8)


def test_a_field_with_bounds_is_not_linear_in_its_last_layer() -> None:
    x, network = sympy.Symbol("x", real=True), PirateNet([-1.0], [1.0], width=8)
    parts = [sympy.Integer(0)], [sympy.Integer(1)], {"x": x}
    assert HardConditions(network, *parts).linear_parameters
    assert not HardConditions(network, *parts, [(0.0, INFINITE)]).linear_parameters


@pytest.mark.parametrize("hard", [False, True])
def test_bounds_hold_whether_conditions_do_or_not(hard: bool) -> None:
    problem = Cooling()
    field = PhysicsInformed(problem, hard=hard, unknown={"c": 0.0}).constrain(
        joined(problem, mlp(problem), mlp(problem))
    )
    for parameter in field.parameters():
        torch.nn.init.normal_(parameter, std=5.0)
    values = field.at(torch.rand(200, 2) * torch.tensor([1.0, 2.0])).detach()[:, 1]
    assert 0.5 <= float(values.min()) < 0.7
    assert 1.5 < float(values.max()) <= 2.0


def test_a_coefficient_meets_values_that_are_given() -> None:
    """Within its bounds: by form, or learned."""
    known = Dirichlet(lambda at, p: 1 + sin(2 * math.pi * at.x) / 2, on="x-", of="k")
    problem = Rod(known, Dirichlet(2.0, on="x+", of="k"))
    objective = PhysicsInformed(problem)
    assert set(objective.statements) == {"inside", "observed 0:value of u"}
    field = objective.constrain(joined(problem).double())
    ends = field.at(torch.tensor([[0.0], [1.0]], dtype=torch.float64)).detach()
    torch.testing.assert_close(ends[:, 1], torch.tensor([1.0, 2.0], dtype=torch.float64), rtol=0, atol=1e-14)
    soft = PhysicsInformed(problem, hard=False)
    assert {"x-:value of k", "x+:value of k"} <= set(soft.statements)


# Found.


@pytest.mark.parametrize(
    ("problem", "unknown", "optimizer", "weight", "wanted"),
    [
        (Rod(), "k", LevenbergMarquardt, 1e4, 3e-3),
        (Rod(), "k", partial(EnergyNaturalGradient, damping=1e-4), 1e4, 1e-2),
        (Heated(), "s", LevenbergMarquardt, 1e3, 3e-3),
    ],
    ids=["rod", "rod by natural gradients", "source"],
)
def test_coefficients_are_found(
    problem: Problem, unknown: str, optimizer: Any, weight: float, wanted: float
) -> None:
    """In 160 steps, from exact measurements."""
    task, _ = run(PhysicsInformed(problem, weight=weight), optimizer, epochs=40, model=joined(problem))
    assert isinstance(task.model, Field)
    assert error_of(task.model, problem, unknown) < wanted


def test_one_network_finds_both() -> None:
    """Its components are u and k."""
    torch.manual_seed(0)
    model = mlp(Rod(), components=2, widths=(20,))
    task, _ = run(PhysicsInformed(Rod(), weight=1e4), LevenbergMarquardt, epochs=40, model=model)
    assert isinstance(task.model, Field)
    assert error_of(task.model, Rod(), "k") < 1e-2


class Sloped(Problem):
    """-(k u')' = 0 with u = log(1 + x): u' vanishes nowhere, and k = 2 (1 + x) if it is 2 at the left."""

    domain = Box(x=(0.0, 1.0))
    fields = ("u", "k")
    coefficients = (Coefficient("k", lower=0.0),)

    def __init__(self) -> None:
        x = np.linspace(0.0, 1.0, 100)
        self.conditions = (
            Dirichlet(0.0, on="x-", of="u"),
            Dirichlet(math.log(2.0), on="x+", of="u"),
            Dirichlet(2.0, on="x-", of="k"),
            Observed(x[:, None], np.log(1 + x), of="u"),
        )

    def exact(self, at: Any, p: Any) -> Any:
        return log(1 + at.x), 2 * (1 + at.x)

    def residual(self, w: Any, at: Any, p: Any) -> Any:
        return -D(w.k * D(w.u, "x"), "x")


def test_a_value_on_a_side_decides_where_slopes_do_not() -> None:
    problem = Sloped()
    objective = PhysicsInformed(problem, weight=1e4)
    task, _ = run(objective, LevenbergMarquardt, epochs=10, model=joined(problem))
    assert isinstance(task.model, Field)
    assert error_of(task.model, problem, "k") < 2e-3


def test_a_run_goes_on_where_it_was(tmp_path: Path) -> None:
    problem = Rod()
    state = assert_resumed_is_whole(
        lambda: PhysicsInformed(problem), LevenbergMarquardt, tmp_path, network=lambda: joined(problem)
    )
    assert any(name.startswith("model.network.parts.1.") for name in state)


# Kept.


def kept(folder: Path) -> tuple[Field, Path]:
    problem = Rod()
    field = PhysicsInformed(problem).constrain(joined(problem).double())
    names = Normalisation(("x",), ("u", "k"), (0.0,), (1.0,), (0.0, 0.0), (1.0, 1.0))
    return field, pdeflow.save(field, folder, names)


def test_a_surrogate_has_both(tmp_path: Path) -> None:
    field, folder = kept(tmp_path / "kept")
    again = pdeflow.load(folder)
    points = torch.rand(7, 1, dtype=torch.float64)
    torch.testing.assert_close(again(points), field.at(points).detach(), rtol=0, atol=0)
    stored = json.loads((folder / "surrogate.json").read_text())
    assert stored["operator"] == "JoinedFields"
    assert stored["hard_conditions"]["bounds"] == [[None, None], [0.0, None]]
    card = (folder / "README.md").read_text()
    assert "- x from 0 to 1" in card
    assert "- k is above 0 by the form of the field" in card


@pytest.mark.parametrize(
    "change",
    [
        {"hard_conditions": {"bounds": [[None, None]]}},
        {"hard_conditions": {"bounds": [[None, None], [1.0, 0.0]]}},
        {"hard_conditions": {"bounds": [[None, None], ["0", None]]}},
        {"hard_conditions": {"bounds": [[None, None], [0.0]]}},
        {"hard_conditions": {"bounds": 1}},
        {"settings": {"parts": []}},
        {"settings": {"parts": [{"class_path": "os.system", "init_args": {}}] * 2}},
        {"settings": {"parts": [{"class_path": "JoinedFields", "init_args": {"parts": []}}] * 2}},
        {"settings": {"parts": [{"class_path": "MLP"}] * 2}},
        {"settings": {"parts": [{"class_path": ["MLP"], "init_args": {}}] * 2}},
        {"settings": {"parts": [{"class_path": "MLP", "init_args": {"depth": 2}}] * 2}},
        {"settings": {"parts": [None, None]}},
        {"settings": {"parts": 2}},
    ],
)
def test_files_of_another_form_are_refused(tmp_path: Path, change: dict[str, dict[str, Any]]) -> None:
    _, folder = kept(tmp_path / "kept")
    path = folder / "surrogate.json"
    stored = json.loads(path.read_text())
    path.write_text(json.dumps(stored | {key: stored[key] | part for key, part in change.items()}))
    with pytest.raises(CorruptFile):
        pdeflow.load(folder)


# What is wrong.


class Stated(Rod):
    """With what a test gives it."""

    def __init__(self, residual: Any = None, fields: Sequence[str] = ("u", "k"), **given: Any) -> None:
        super().__init__()
        self.fields, self._stated = tuple(fields), residual
        self.coefficients = tuple(given.get("coefficients", self.coefficients))
        self.conditions += tuple(given.get("conditions", ()))

    def residual(self, w: Any, at: Any, p: Any) -> Any:
        return super().residual(w, at, p) if self._stated is None else self._stated(w)


@pytest.mark.parametrize(
    ("problem", "settings", "told"),
    [
        (Stated(lambda w: D(w.u, "x", 2) - 1.0), {}, "Stated.residual: got 'an expression without k'"),
        (Stated(lambda w: w.k - 1.0), {}, "Stated.residual: got 'an expression without u'"),
        (
            Stated(lambda w: (D(w.u, "x"), w.k - w.u)),
            {},
            "Stated.residual: got '2 of them', expected one expression, for u",
        ),
        (
            Stated(fields=("k", "u")),
            {},
            "coefficients of stated: got 'k', expected the last of its fields k, u(?s:.*)Say fields",
        ),
        (Stated(coefficients=[Coefficient("q")]), {}, "coefficients of stated: got 'q'"),
        (
            Stated(coefficients=[Coefficient("u"), Coefficient("k")]),
            {},
            "coefficients of stated: got 'u, k'",
        ),
        (
            Stated(),
            {"unknown": {"k": 1.0}},
            "objective.unknown: got 'k', expected a parameter of stated(?s:.*)leave it out",
        ),
        (Stated(conditions=[Observed([[0.5]], [1.0])]), {}, r"Observed.of: got \(\)"),
    ],
)
def test_what_is_wrong_is_named(problem: Problem, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        PhysicsInformed(problem, **settings)


@pytest.mark.parametrize("between", [(1.0, 1.0), (2.0, 1.0), (math.nan, 1.0), (0.0, math.nan)])
def test_bounds_without_numbers_between_them(between: tuple[float, float]) -> None:
    with pytest.raises(InvalidInput, match="bounds of Coefficient 'k': got"):
        Coefficient("k", *between)


def test_values_that_bounds_do_not_allow() -> None:
    problem = Rod(Dirichlet(-1.0, on="x-", of="k"))
    objective = PhysicsInformed(problem)
    told = "conditions of rod: got '-1 on x-', expected values of k above 0 and below inf"
    with pytest.raises(InvalidInput, match=told):
        objective.constrain(joined(problem))

    class Started(Cooling):
        conditions = (*Cooling.conditions, Initial(1.0, of="k"), Initial(0.0, order=1, of="k"))

    objective = PhysicsInformed(Started(), unknown={"c": 0.0})
    with pytest.raises(InvalidInput, match="got 'a rate of k on t-'"):
        objective.constrain(joined(Started(), mlp(Started()), mlp(Started())))


def test_what_a_model_has_to_be() -> None:
    problem = Rod()
    told = r"model.components: got 3, expected 2(?s:.*)those of all its parts"
    with pytest.raises(InvalidInput, match=told):
        PhysicsInformed(problem).constrain(joined(problem, mlp(problem), mlp(problem, components=2)))
    with pytest.raises(InvalidInput, match=r"symbol of rod: got 'a matrix, for u, k'"):
        PhysicsInformed(problem, precondition=True).constrain(
            FourierFeatures([0.0], [1.0], components=2, modes=(2,))
        )


def test_a_family_has_known_coefficients() -> None:
    told = "problem.statement: got 'Cooling, where k is to be found', expected an equation of known"
    with pytest.raises(InvalidInput, match=told):
        ParametricFamily(Cooling(), {"c": (-1.0, 1.0)})
