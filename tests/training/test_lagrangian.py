"""A field that moves with the flow: what it takes from the equation, what it learns, what it refuses."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from statement_run import run

from pdeflow.errors import InvalidInput
from pdeflow.fields import HardConditions, Lagrangian
from pdeflow.fields.lagrangian import transport_velocity
from pdeflow.problems import Box, ConvectedSine, Dirichlet, Initial, Problem, SineBurgers
from pdeflow.problems.calculus import D, Names, cos, exp, sin
from pdeflow.training import LevenbergMarquardt, PhysicsInformed

WAVES = 2 * math.pi


class DecayingWave(Problem):
    """2 u_t + 60 u_x = 0.8 u_xx - 0.2 u, periodic: exp(-t / 2) sin(x - 30 t)."""

    domain = Box(x=(0.0, WAVES), t=(0.5, 1.5), periodic=["x"])
    conditions = (Initial(lambda at, p: math.exp(-0.25) * sin(at.x - 15.0)),)

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return 2 * D(u, "t") + 60 * D(u, "x") - 0.8 * D(u, "x", 2) + 0.2 * u

    def exact(self, at: Any, p: Any) -> Any:
        return exp(-0.5 * at.t) * sin(at.x - 30.0 * at.t)


class Plane(Problem):
    """Two unknowns that move along (1, -2) together."""

    domain = Box(x=(0.0, 1.0), y=(0.0, 1.0), t=(0.0, 1.0), periodic=["x", "y"])
    fields = ("u", "v")
    second = 1.0

    def residual(self, w: Any, at: Any, p: Any) -> Any:
        u, v = w.u, w.v
        first = D(u, "t") + D(u, "x") - 2 * D(u, "y") - u * v * D(u, "x", 2)
        return first, 3 * D(v, "t") + 3 * self.second * D(v, "x") - 6 * D(v, "y") + u


class Apart(Plane):
    second = 2.0


class Uneven(Problem):
    domain = Box(x=(0.0, WAVES), t=(0.0, 1.0), periodic=["x"])

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return D(u, "t") + cos(at.x) * D(u, "x")


class Steady(Uneven):
    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return D(u, "t", 2) + D(u, "x")


class TimeFirst(Uneven):
    domain = Box(t=(0.0, 1.0), x=(0.0, WAVES), periodic=["x"])


class Inflow(Problem):
    """With a value where the flow comes in."""

    domain = Box(x=(0.0, 1.0), t=(0.0, 1.0))
    conditions = (Initial(lambda at, p: sin(at.x)), Dirichlet(lambda at, p: -sin(3 * at.t), on="x-"))

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return D(u, "t") + 3 * D(u, "x")


@pytest.mark.parametrize(
    ("problem", "velocity"),
    [(ConvectedSine(), [40.0]), (DecayingWave(), [30.0]), (Plane(), [1.0, -2.0]), (Inflow(), [3.0])],
)
def test_the_velocity_is_that_of_the_equation(problem: Problem, velocity: list[float]) -> None:
    assert transport_velocity(problem, problem.complete_parameters({})) == velocity


@pytest.mark.parametrize(
    ("problem", "word"),
    [
        (SineBurgers(), r"velocity of sine_burgers: got 'u\(x, t\)', expected numbers"),
        (Uneven(), r"velocity of uneven: got 'cos\(x\)', expected numbers"),
        (Steady(), "velocity of steady: got 'no first derivative of u by t'"),
        (Apart(), r"velocity of apart: got \[\[1.0, -2.0\], \[2.0, -2.0\]\], expected the same"),
        (TimeFirst(), "coordinates of timefirst: got 't, x', expected t as the last"),
    ],
)
def test_an_equation_without_one_velocity_is_refused(problem: Problem, word: str) -> None:
    parameters = problem.complete_parameters({})
    with pytest.raises(InvalidInput, match=word):
        transport_velocity(problem, parameters)


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("problem", [ConvectedSine(), DecayingWave()])
def test_a_wave_that_networks_fail_on_is_learned_in_seconds(problem: Any, hard: bool) -> None:
    """40 or 30 radians: an MLP at rest has an error of order 1 after as many steps."""
    domain = problem.domain
    torch.manual_seed(0)
    model = Lagrangian(domain.lower, domain.upper, periodic=domain.periodic, widths=(12, 12))
    task, _ = run(
        PhysicsInformed(problem, hard=hard), lambda p: LevenbergMarquardt(p), epochs=10, model=model
    )
    torch.manual_seed(3)
    low, high = (torch.tensor(ends, dtype=torch.float64) for ends in (domain.lower, domain.upper))
    x = low + (high - low) * torch.rand(200, 2, dtype=torch.float64)
    assert isinstance(task.model, HardConditions) is hard
    p = Names("parameter", problem.complete_parameters({}))
    expected = problem.exact(type("At", (), {"x": x[:, 0], "t": x[:, 1]}), p)
    assert (task.model.at(x)[:, 0] - expected).norm() < 2e-3 * expected.norm()


def test_a_velocity_that_is_given_stays_and_one_that_is_found_is_stored() -> None:
    problem = ConvectedSine()
    domain = problem.domain
    given = Lagrangian(domain.lower, domain.upper, periodic=domain.periodic, velocity=[39.0])
    PhysicsInformed(problem, hard=False).constrain(given)
    assert given.settings["velocity"] == [39.0]
    found = Lagrangian(domain.lower, domain.upper, periodic=domain.periodic)
    field = PhysicsInformed(problem).constrain(found)
    assert field.settings["velocity"] == [40.0]
    again = Lagrangian(**found.settings)
    again.load_state_dict(found.state_dict())
    x = torch.rand(5, 2)
    assert torch.equal(again.at(x), found.at(x))


def test_a_start_is_met_where_the_box_of_the_field_is_larger() -> None:
    problem = DecayingWave()
    field = PhysicsInformed(problem).constrain(Lagrangian([0.0, 0.0], [WAVES, 2.0], periodic=[True, False]))
    x = torch.tensor([[1.0, 0.5], [4.0, 0.5]])
    torch.testing.assert_close(field.at(x)[:, 0], math.exp(-0.25) * torch.sin(x[:, 0] - 15.0))


def test_the_box_of_the_network_holds_what_moves_through() -> None:
    field = Lagrangian([0.0, -1.0, 0.0], [1.0, 1.0, 0.5], velocity=[4.0, -2.0])
    corners = torch.cartesian_prod(
        torch.tensor([0.0, 1.0]), torch.tensor([-1.0, 1.0]), torch.tensor([0.0, 0.5])
    )
    seen = torch.cat([s[0] for s in field.network.seen.series(field._moved(corners), _zero())], dim=1)
    assert seen.abs().max() <= 1 + 1e-6
    torch.testing.assert_close(seen.min(0).values, -torch.ones(3))
    torch.testing.assert_close(seen.max(0).values, torch.ones(3))


def _zero() -> Any:
    from pdeflow.fields.taylor_series import Orders

    return Orders.of([(0, 0, 0)])


def test_more_than_a_start_is_learned() -> None:
    field = Lagrangian([0.0, 0.0], [1.0, 1.0])
    told = "model: got 'Lagrangian, with values or rates given on x-'.*Learn them"
    with pytest.raises(InvalidInput, match=f"(?s){told}"):
        PhysicsInformed(Inflow()).constrain(field)
    assert PhysicsInformed(Inflow(), hard=False).constrain(field) is field


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: Lagrangian([0.0], [1.0]), "model.lower"),
        (lambda: Lagrangian(periodic=(False, True)), "model.periodic"),
        (lambda: Lagrangian(velocity=[1.0, 2.0]), r"model.velocity: got \[1.0, 2.0\], expected 1 finite"),
        (lambda: Lagrangian(velocity=[math.inf]), "model.velocity"),
        (lambda: Lagrangian().at(torch.zeros(3, 2)), "model.velocity: got None"),
    ],
)
def test_wrong_settings(make: Any, word: str) -> None:
    with pytest.raises(InvalidInput, match=word):
        make()
