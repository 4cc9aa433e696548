"""A statement along its characteristics: what it asks of u, what of the displacement, and what it refuses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import sympy
import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.problems import (
    AlongCharacteristics,
    Ball,
    Box,
    Constant,
    ConvectedSine,
    D,
    Dirichlet,
    FlowMixing,
    HeatedRod,
    Initial,
    KovasznayFlow,
    Neumann,
    Observed,
    Parameter,
    Problem,
    SineBurgers,
    Uniform,
    symbolic,
)
from pdeflow.problems.calculus import cos, exp, sin
from pdeflow.problems.compiled_statement import compile_residual


class Dispersing(Problem):
    """(2 + u^2) u_t + (x u + k) u_x = (e^x u_x)_x - u_xxx + u sin t, on what wraps around."""

    domain = Box(x=(0.0, 1.0), t=(0.0, 1.0), periodic=["x"])
    conditions = (Initial(0.0),)
    k = Parameter(Uniform(1.0, 4.0))

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        spread = D(exp(at.x) * D(u, "x"), "x") - D(u, "x", 3)
        return (2 + u**2) * D(u, "t") + (at.x * u + p.k) * D(u, "x") - spread - u * sin(at.t)


class TimeFirst(Dispersing):
    """With the axes the other way round."""

    domain = Box(t=(0.0, 1.0), x=(0.0, 1.0), periodic=["x"])


class Standing(Problem):
    """u_t + u u_x = sin x cos x, whose solution sin x stands still while things move through it."""

    domain = Box(x=(-math.pi, math.pi), t=(1.0, 3.0), periodic=["x"])
    conditions = (Initial(lambda at, *p: sin(at.x)),)

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return D(u, "t") + u * D(u, "x") - sin(at.x) * cos(at.x)

    def exact(self, at: Any, p: Any) -> Any:
        return sin(at.x)


class Stated(Problem):
    """u_t + u u_x = 0 with what a test gives it."""

    def __init__(self, *conditions: Any, domain: Any = None, residual: Any = None, a: Any = None) -> None:
        self.domain = domain or Box(x=(0.0, 1.0), t=(0.0, 1.0))
        self.conditions = (Initial(lambda at, *p: sin(math.pi * at.x)), *conditions)
        self._residual = residual or (lambda u, at, p: D(u, "t") + u * D(u, "x"))
        self.a = Parameter(a or Constant(1.0))

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return self._residual(u, at, p)


@pytest.mark.parametrize("member", [Dispersing(), TimeFirst()], ids=lambda p: p.name)
def test_both_equations_are_the_statement_where_things_have_moved_to(member: Problem) -> None:
    """Of any u and displacement: R(u) = first - a second u_x, for u_t + X_t u_x is the rate of what moves.

    First as it is divided by the stretch to the power that third derivatives have.
    """
    problem, order = AlongCharacteristics(member), [member.domain.axes.index(axis) for axis in "xt"]
    assert (problem.fields, problem.coordinates) == (("u", "displacement"), member.coordinates)
    torch.manual_seed(0)
    points = torch.rand(20, 2, dtype=torch.float64)

    def way(start: Tensor, t: Tensor) -> Tensor:
        return t * (0.3 + 0.2 * start)

    def value(start: Tensor, t: Tensor) -> Tensor:
        return torch.sin(2 * start + t) + start**2

    def carried(z: Tensor) -> Tensor:
        start, t = z[:, order[0]], z[:, order[1]]
        return torch.stack([value(start, t), way(start, t)], dim=1)

    def u(z: Tensor) -> Tensor:
        place, t = z[:, order[0]], z[:, order[1]]
        return value((place - 0.3 * t) / (1 + 0.2 * t), t)

    moved = points.clone()
    moved[:, order[0]] += way(points[:, order[0]], points[:, order[1]])
    moved.requires_grad_()
    (slopes,) = torch.autograd.grad(u(moved).sum(), moved)
    expected = member.residual_at_points(u, moved, {"k": 2.5})
    first, second = problem.residual_at_points(carried, points, {"k": 2.5}).unbind(1)
    stretch = 1 + 0.2 * points[:, order[1]]
    found = first / stretch**5 - (2 + u(moved) ** 2) * second * slopes[:, order[0]]
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    # And what training compiles is the same.
    statement = compile_residual(problem, {"k": 2.5})
    leaves = points.clone().requires_grad_()
    known = {index: _derivatives(carried(leaves), leaves, index) for index in statement.wanted}
    torch.testing.assert_close(statement(points, known, {}), torch.stack([first, second], dim=1))


def _derivatives(values: Tensor, points: Tensor, index: tuple[int, ...]) -> Tensor:
    columns = []
    for column in values.unbind(1):
        for axis, count in enumerate(index):
            for _ in range(count):
                if not column.requires_grad:  # a constant
                    column = torch.zeros_like(column)
                    break
                (slope,) = torch.autograd.grad(column.sum(), points, create_graph=True)
                column = slope[:, axis]
        columns.append(column)
    return torch.stack(columns, dim=1)


@pytest.mark.parametrize(
    ("member", "f"),
    [(Stated(Dirichlet(0.0, on=("x-", "x+"))), 0), (ConvectedSine(3.0), 0), (Standing(), None)],
    ids=["burgers", "convection", "standing"],
)
def test_transport_is_in_the_second_equation_only(member: Problem, f: Any) -> None:
    problem = AlongCharacteristics(member)
    at, (u, d) = symbolic.coordinates(problem), symbolic.unknowns(problem)
    stays, moves = symbolic.residuals(problem, [u, d], at, problem.complete_parameters({}))
    here = at["x"] + d
    f = -sympy.sin(here) * sympy.cos(here) if f is None else f
    c = 3.0 if isinstance(member, ConvectedSine) else u
    assert sympy.expand(stays - sympy.Derivative(u, at["t"]) - f) == 0
    assert sympy.expand(moves - sympy.Derivative(d, at["t"]) + c).is_zero


def test_conditions_are_those_of_the_statement_and_nothing_moves_at_the_start_and_at_the_ends() -> None:
    problem = AlongCharacteristics(SineBurgers(0.1))
    assert [(type(c), c.on, c.of) for c in problem.conditions] == [
        (Dirichlet, ("x-", "x+"), ("u",)),
        (Initial, "t-", ("u",)),
        (Dirichlet, ("x-", "x+"), "displacement"),
        (Initial, "t-", "displacement"),
    ]
    assert [c.of for c in AlongCharacteristics(Standing()).conditions] == [("u",), "displacement"]
    told = problem.describe()
    assert told["name"] == "sine_burgers_along_characteristics"
    assert "displacement: Initial, 0.0" in told["conditions"]


def test_the_reference_is_the_solution_at_the_ends_of_characteristics() -> None:
    """Those of u = sin x have tan(X / 2) = e^t tan(x / 2); those of convection go round the box."""
    rng = np.random.default_rng(0)
    points = rng.uniform([-3.1, 1.0], [3.1, 3.0], (50, 2))
    start, since = points[:, 0], points[:, 1] - 1.0
    places = 2 * np.arctan(np.exp(since) * np.tan(start / 2))
    found = AlongCharacteristics(Standing()).reference(points)
    assert found is not None
    np.testing.assert_allclose(found, np.stack([np.sin(places), places - start], axis=1), atol=1e-7)
    points = rng.uniform([0.0, 0.0], [6.2, 1.0], (50, 2))
    found = AlongCharacteristics(ConvectedSine(40.0)).reference(points)
    assert found is not None
    np.testing.assert_allclose(
        found, np.stack([np.sin(points[:, 0]), 40.0 * points[:, 1]], axis=1), atol=1e-7
    )


def test_there_is_no_reference_without_a_solution_or_with_a_parameter_to_be_found() -> None:
    points = np.array([[0.5, 0.5]])
    assert AlongCharacteristics(Stated(Dirichlet(0.0, on=("x-", "x+")))).reference(points) is None
    assert AlongCharacteristics(Dispersing()).reference(points) is None


PERIODIC = Box(x=(0.0, 1.0), t=(0.0, 1.0), periodic=["x"])


@pytest.mark.parametrize(
    ("member", "has"),
    [
        (KovasznayFlow(), "the coordinates x, y"),
        (FlowMixing(), "the coordinates x, y, t"),
        (AlongCharacteristics(Standing()), "the unknowns u, displacement"),
        (
            Stated(domain=Box(x=(0.0, 1.0), t=(0.0, 1.0)) - Ball(0.1, x=0.5, t=0.5)),
            "another domain than a box",
        ),
        (Stated(domain=Box(x=(0.0, 1.0), t=(0.0, 1.0), periodic=["t"])), "a time that wraps around"),
        (HeatedRod(), "no first derivative by x: nothing moves"),
        (Stated(domain=PERIODIC, residual=lambda u, at, p: D(u, "x") - u), "no first derivative by t"),
        (
            Stated(domain=PERIODIC, residual=lambda u, at, p: D(u, "t") + D(u, "x") + D(u, "t", 2)),
            "other derivatives by t than the first",
        ),
        (
            Stated(domain=PERIODIC, residual=lambda u, at, p: D(u, "t") + D(D(u, "x"), "t") + D(u, "x")),
            "other derivatives by t than the first",
        ),
        (
            Stated(domain=PERIODIC, residual=lambda u, at, p: D(u, "t") + D(u, "x") ** 2),
            "a speed that depends on slopes of u",
        ),
        (
            Stated(domain=PERIODIC, residual=lambda u, at, p: D(u, "t") + D(u, "x", 2) * D(u, "x")),
            "a speed that depends on slopes of u",
        ),
        (Stated(), "no value on x-, x+"),
        (Stated(Dirichlet(0.0, on="x-")), r"no value on x\+"),
        (Stated(Dirichlet(0.0, on="x-"), Dirichlet(1.0, on="x+")), r"a speed of 1\.0+ on x\+"),
        (Stated(Dirichlet(lambda at, *p: at.t, on=("x-", "x+"))), "a speed of t on x-"),
        (Stated(Dirichlet(0.0, on="x-"), Neumann(0.0, on="x+")), "the condition Neumann"),
        (Stated(Initial(0.0, order=1), domain=PERIODIC), "the condition Initial"),
        (Stated(Observed([[0.5, 0.5]], [0.1]), domain=PERIODIC), "the condition Observed"),
    ],
)
def test_what_is_no_such_statement_is_named(member: Problem, has: str) -> None:
    told = rf"problem\.statement: got '{member.name}, which has {has}(?s:.*)Take the statement itself"
    with pytest.raises(InvalidInput, match=told):
        AlongCharacteristics(member)


class Slope(Constant):
    """A formula of the place."""

    @property
    def fixed(self) -> Any:
        return lambda at: 1.0 + at.x


def test_a_parameter_that_is_a_field_is_named() -> None:
    with pytest.raises(InvalidInput, match="a parameter a that is a field"):
        AlongCharacteristics(Stated(domain=PERIODIC, a=Slope(1.0)))


def test_a_moving_end_at_which_the_speed_vanishes_is_none() -> None:
    """u is 2 on both sides, where the speed u - 2 is 0."""

    def residual(u: Any, at: Any, p: Any) -> Any:
        return D(u, "t") + (u - 2) * D(u, "x")

    problem = AlongCharacteristics(Stated(Dirichlet(2.0, on=("x-", "x+")), residual=residual))
    assert len(problem.conditions) == 4
