"""What the peers of the benchmark of physics-informed training are given: equation, points, steps."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks import physics
from benchmarks.peers.pinn_cases import STATEMENTS
from benchmarks.peers.pinn_points import points_of, problem_of, settings
from benchmarks.peers.pinn_statement import FOREVER, Curve, Inverse, OnDomain, Statement, ends, stated
from benchmarks.physics_cases import CASES
from pdeflow.problems import Dirichlet, ObservedBurgers
from pdeflow.problems.conditions import by_side
from pdeflow.problems.observed import observations
from pdeflow.training import Collocation


class ByAutograd:
    """`Derivatives` of a function of coordinates."""

    def __init__(self, statement: Statement, x: Tensor, u) -> None:
        self.x, self.statement = x.requires_grad_(), statement
        number = statement.truth if isinstance(statement, Inverse) else math.nan
        self.unknown = torch.tensor(number, dtype=torch.float64)
        self.u = u(statement.coordinates(self.x))

    def at(self, axis: str) -> Tensor:
        return self.statement.coordinates(self.x)[axis]

    def _slope(self, value: Tensor, axis: str) -> Tensor:
        (slopes,) = torch.autograd.grad(value.sum(), self.x, create_graph=True)
        k = self.statement.axes.index(axis)
        return slopes[:, k : k + 1]

    def d(self, axis: str) -> Tensor:
        return self._slope(self.u, axis)

    def d2(self, axis: str) -> Tensor:
        return self._slope(self.d(axis), axis)


def some_points(statement: Statement) -> Tensor:
    torch.manual_seed(0)
    low, high = (
        torch.tensor([ends[a] for a in statement.axes]) for ends in (statement.lower, statement.upper)
    )
    return (low + (high - low) * torch.rand(20, len(statement.axes))).double()


BOXES = [name for name, state in STATEMENTS.items() if not isinstance(state(), OnDomain)]
CASE = {case.name: case for case in CASES}
DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1))
DOMAINS = [name for name in STATEMENTS if name not in BOXES]
NEAR = {"burgers": 1e-6, "inverse_burgers": 1e-6, "allen_cahn": 1e-4}
"""What is left of the residual where the solution is no formula."""
TABLES = ("nonlinear_diffusion",)
"""Of which there are splines, not differentiable."""


@pytest.mark.parametrize("case", [name for name in BOXES if name not in TABLES])
def test_solutions_of_the_peers_statements_have_no_residual(case: str) -> None:
    statement = STATEMENTS[case]()
    found = ByAutograd(statement, some_points(statement), statement.exact)
    assert float(statement.residual(found).abs().max()) < NEAR.get(case, 1e-10)
    wrong = ByAutograd(statement, some_points(statement), lambda at: statement.exact(at) + at["x"] ** 2)
    assert float(statement.residual(wrong).abs().max()) > 1e-2


@pytest.mark.parametrize("case", BOXES)
def test_forms_of_the_peers_meet_the_conditions(case: str) -> None:
    """Where values are not learned, whatever the network says; and the solution is among the fields."""
    statement = STATEMENTS[case]()
    for axis in statement.axes:
        for end, side in (("-", statement.lower), ("+", statement.upper)):
            periodic = len(statement.inputs(statement.coordinates(some_points(statement)))) > len(
                statement.axes
            )
            free = (axis == "t" and end == "+") or (axis == "x" and periodic)
            if free or f"{axis}{end}" in statement.learned:
                continue
            points = some_points(statement)
            points[:, statement.axes.index(axis)] = side[axis]
            at = statement.coordinates(points)
            torch.testing.assert_close(
                statement.form(at, torch.full_like(at[axis], 7.0)), statement.exact(at), rtol=0, atol=1e-7
            )


def wave(x: Tensor) -> Tensor:
    """A function that solves nothing, slow and small in time."""
    return torch.sin(3 * x[:, :1]) * torch.exp(0.3 * x[:, 1:].sum(dim=1, keepdim=True))


@pytest.mark.parametrize("case", STATEMENTS)
def test_peers_are_told_our_equation(case: str) -> None:
    """That of the config, in the same box; the sides of an equation may be exchanged."""
    statement, problem = STATEMENTS[case](), problem_of(CASE[case].config)
    domain = problem.domain
    assert tuple(domain.axes) == statement.axes
    for corner, told in ((domain.lower, statement.lower), (domain.upper, statement.upper)):
        assert corner == pytest.approx(tuple(told.values()))
    points = points_of(CASE[case].config, 1)["inside"][:20]
    theirs = ByAutograd(statement, points.clone(), lambda at: wave(torch.cat(list(at.values()), dim=1)))
    known = {"nu": statement.truth} if isinstance(statement, Inverse) else {}
    ours = problem.residual_at_points(lambda x: wave(x).squeeze(-1), points, known)
    torch.testing.assert_close(statement.residual(theirs).abs(), ours.reshape(-1, 1).abs())


@pytest.mark.parametrize("case", STATEMENTS)
def test_peers_are_given_our_points(case: str) -> None:
    """Those of the first step of our training, in the same number, others for another seed."""
    config = CASE[case].config
    told = settings(config)
    given, windows = told["data"]["init_args"], told["model"]["init_args"].get("windows", 1)
    ours = given | {"inside": given["inside"] * windows, "resample": None}
    (batch, *_) = Collocation(problem_of(config), **ours, seed=1).train_dataloader()
    points = points_of(config, 1)
    assert torch.equal(points["inside"], batch["points"]["inside"])
    assert not CASE[case].on_grid or len(points["inside"]) == given["inside"] * windows
    assert torch.equal(points["inside"], points_of(config, 1)["inside"])
    if given.get("sampler") != "grid":  # of which there is one
        assert not torch.equal(points["inside"], points_of(config, 2)["inside"])
    statement = STATEMENTS[case]()
    for side, (places, values) in statement.values(points).items():
        assert len(places) == len(values)
        if side != "measured" and CASE[case].on_grid:
            assert len(places) == given.get("on_sides", len(points["inside"]) // 10)
        if "on_sides" in given:
            assert torch.equal(places, batch["points"][side])


@pytest.mark.parametrize("case", [name for name in BOXES if CASE[name].unknown is None])
def test_peers_are_compared_where_ours_is(case: str) -> None:
    """At the same nodes with the same solution."""
    config = CASE[case].config
    (nodes,) = settings(config)["data"]["init_args"]["test_resolutions"][:1]
    ours = Collocation(problem_of(config)).on_grid(nodes)
    points, solution = STATEMENTS[case]().tested(config)
    assert torch.equal(points, ours["input"][0].flatten(1).T)
    torch.testing.assert_close(solution, ours["target"].reshape(-1, 1))


def test_peers_are_given_our_measurements() -> None:
    statement, problem = STATEMENTS["inverse_burgers"](), ObservedBurgers()
    assert isinstance(statement, Inverse)
    (_, observed), *_ = observations(problem)
    (found,) = statement.values(points_of("observed_burgers_mlp", 5)).values()
    assert torch.equal(torch.cat(found, 1), torch.tensor(observed.table))
    _, truth = statement.tested("observed_burgers_mlp")
    assert CASE["inverse_burgers"].unknown == ("nu", float(truth))
    assert statement.adam == STATEMENTS["burgers"]().adam


@pytest.mark.parametrize("case", DOMAINS)
def test_peers_are_told_of_a_domain_what_ours_is(case: str) -> None:
    """Sides have the values of our conditions, at points of the domain."""
    statement, given = STATEMENTS[case](), points_of(CASE[case].config, 1)
    assert isinstance(statement, OnDomain)
    problem = statement.problem
    assert problem.domain.contains(given["inside"].numpy()).all()
    assert set(statement.learned) == set(problem.domain.sides)
    conditions = by_side(problem.conditions, problem.domain)
    for side, (points, values) in statement.values(given).items():
        assert problem.domain.reaches(points.numpy()).all()
        near = [problem.domain.contains(points.numpy() + 1e-6 * np.array(d)) for d in DIRECTIONS]
        assert not np.all(near, axis=0).any()
        condition = conditions[side]
        assert isinstance(condition, Dirichlet)
        assert (values == condition.value).all()


def test_points_on_sides_lie_there() -> None:
    statement = STATEMENTS["klein_gordon"]()
    points, values = statement.values(points_of("klein_gordon_gaussians", 3))["y+"]
    assert points.shape == (400, 3)
    assert (points[:, 1] == 1).all()
    assert points[:, 2].max() > 8
    torch.testing.assert_close(values, statement.exact(statement.coordinates(points)))


def test_a_curve_counts_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look of five seconds is not charged; looks are a quarter of a second apart."""
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    curve = Curve(torch.zeros(5, 2), torch.ones(5, 1, dtype=torch.float64))

    def slow(points: Tensor) -> Tensor:
        now[0] += 5.0
        return torch.zeros(len(points), 1, dtype=torch.float64)

    now[0] += 1.0
    curve.start()
    curve.look(slow)
    now[0] += 0.2
    curve.look(slow)  # too soon
    now[0] += 0.1
    curve.look(slow)
    assert [seconds for seconds, _ in curve.looks] == pytest.approx([0.0, 0.3])
    assert all(error == pytest.approx(1.0) for _, error in curve.looks)
    curve.stop()
    now[0] += 10.0
    assert curve.taken == pytest.approx(0.3)
    curve.start()
    now[0] += 9.0
    assert curve.taken == pytest.approx(9.3)


def test_adam_has_its_seconds_and_half_of_all_at_most() -> None:
    statement = STATEMENTS["burgers"]()
    job = {"seconds": 600.0, "steps": None}
    assert ends(statement, job) == ((60.0, FOREVER), (600.0, FOREVER))
    assert ends(statement, job | {"seconds": 100.0})[0] == (50.0, FOREVER)
    assert ends(statement, job | {"steps": 7}) == ((math.inf, 7), (math.inf, 7))
    changed = stated(statement, {"settings": {"rate": 1e-2, "adam": 5.0}})
    assert (changed.rate, changed.adam, changed.hidden) == (1e-2, 5.0, statement.hidden)
    assert changed.setting == "rate 0.01, Adam 5 s"
    assert STATEMENTS["allen_cahn"]().setting == "rate 0.001, weight 100, Adam 60 s"


STEPS = {"poisson": 100, "inverse_burgers": 400, "l_shape": 100}
"""Of Adam, and as many of L-BFGS: the seconds of a machine decide nothing."""
FASTER = {"inverse_burgers": {"rate": 1e-2}}
"""The number that is looked for is far away."""


@pytest.mark.parametrize(("package", "module"), list(physics.PEERS.values()))
@pytest.mark.parametrize(
    "case",
    [
        "poisson",
        pytest.param("inverse_burgers", marks=pytest.mark.slow),
        pytest.param("l_shape", marks=pytest.mark.slow),
    ],
)
def test_peers_learn(
    package: str, module: str, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Conditions in the form, an unknown number, and a domain that is no box."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    monkeypatch.setattr(physics, "FOLDER", tmp_path)
    name = next(name for name, found in physics.PEERS.items() if found == (package, module))
    found = physics.peer(name, CASE[case], 0, 60.0, FASTER.get(case, {}), STEPS[case])
    assert "failure" not in found, found
    assert found["error"] < 0.9 * found["curve"][0][1]
