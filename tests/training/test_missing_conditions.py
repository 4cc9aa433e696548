"""Sides and starts without a condition are told of where the equation needs one, and only there."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from pdeflow.problems import (
    Ball,
    Box,
    ConvectedSine,
    CosineAllenCahn,
    Cylinder,
    D,
    Dirichlet,
    FlowMixing,
    HeatedRod,
    Initial,
    KleinGordon,
    KovasznayFlow,
    LayeredConduction,
    LShapedPoisson,
    Neumann,
    Observed,
    ObservedBurgers,
    ParametricFamily,
    PoissonWithHoles,
    Polygon,
    Problem,
    Robin,
    SineBurgers,
    SineHelmholtz,
    SinePoisson,
    SpreadingBumps,
)
from pdeflow.problems.domain import Domain
from pdeflow.training import PhysicsInformed

SQUARE = Box(x=(0.0, 1.0), y=(0.0, 1.0))
TURNED = Polygon.of([(0, 0), (1, 0), (1, 1), (0, 1)], sides=("floor", "east", "top", "west"))
RING = Ball(2.0, "outer", x=0.0, y=0.0) - Ball(1.0, "inner", x=0.0, y=0.0)
STRIP = Box(x=(0.0, 1.0), t=(0.0, 1.0))
MANY = Observed([[0.5, 0.5], [0.2, 0.7]], [0.0, 0.1])
ONE = Observed([[0.5, 0.5]], [0.0])


def laplace(u: Any) -> Any:
    return D(u, "x", 2) + D(u, "y", 2) - 1.0


def carried_sideways(u: Any) -> Any:
    """Diffusion across y alone."""
    return D(u, "x") - D(u, "y", 2)


def flux_form(u: Any) -> Any:
    return D((1 + u * u) * D(u, "x"), "x") - D(u, "y")


def carried(u: Any) -> Any:
    return D(u, "t") + D(u, "x")


def heat(u: Any) -> Any:
    return D(u, "t") - D(u, "x", 2)


def wave(u: Any) -> Any:
    return D(u, "t", 2) - D(u, "x", 2)


class Stated(Problem):
    """An equation on a domain, with conditions as they are given."""

    def __init__(self, equation: Any, domain: Domain, *conditions: Any) -> None:
        self.equation, self.domain, self.conditions = equation, domain, conditions

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return self.equation(u)


class Flow(Stated):
    """Two unknowns, of which only u diffuses; v has a slope along y."""

    fields = ("u", "v")

    def __init__(self, *conditions: Any) -> None:
        super().__init__(None, SQUARE, *conditions)

    def residual(self, w: Any, at: Any, p: Any) -> Any:
        return D(w.u, "x", 2) + D(w.u, "y", 2) - w.v, D(w.v, "y") - w.u


WHOLE = [
    Stated(laplace, SQUARE, Dirichlet(0.0)),
    Stated(laplace, SQUARE, Dirichlet(0.0, on=("x-", "y-")), Neumann(0.0, on="x+"), Robin(1.0, on="y+")),
    Stated(laplace, Box(x=(0.0, 1.0), y=(0.0, 1.0), periodic=["x"]), Dirichlet(0.0)),
    Stated(carried_sideways, SQUARE, Dirichlet(0.0, on=("y-", "y+", "x-"))),
    Stated(carried_sideways, TURNED, Dirichlet(0.0, on=("floor", "top", "west"))),
    Stated(carried, STRIP, Initial(0.0), Dirichlet(0.0, on="x-")),
    Stated(heat, STRIP, Initial(0.0), Dirichlet(0.0)),
    Stated(heat, STRIP, Dirichlet(0.0, on="t-"), Neumann(0.0)),
    Stated(heat, STRIP, Dirichlet(0.0, on="t+"), Neumann(0.0)),
    Stated(wave, STRIP, Initial(0.0), Initial(0.0, order=1), Dirichlet(0.0)),
    Stated(wave, STRIP, Initial(0.0), Dirichlet(0.0), Dirichlet(0.0, on="t+")),
    Stated(laplace, SQUARE, MANY),
    Flow(Dirichlet(0.0, of="u"), Dirichlet(0.0, on="y-", of="v")),
]

SHIPPED = [
    *(SinePoisson(dim) for dim in (1, 2, 3)),
    SineHelmholtz(),
    HeatedRod(),
    ConvectedSine(),
    KleinGordon(),
    SineBurgers(),
    CosineAllenCahn(),
    FlowMixing(),
    SpreadingBumps(),
    KovasznayFlow(),
    LayeredConduction(),
    LShapedPoisson(),
    PoissonWithHoles(),
    ParametricFamily(HeatedRod(), {"a": (0.1, 1.0)}),
]


@pytest.mark.parametrize("problem", [*WHOLE, *SHIPPED], ids=lambda problem: problem.name)
def test_what_is_stated_in_full_is_not_told_of(problem: Problem) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="conditions of .*many solutions")
        PhysicsInformed(problem, hard=False)


def test_an_unknown_parameter_changes_nothing() -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="conditions of .*many solutions")
        PhysicsInformed(ObservedBurgers(), unknown={"nu": 0.05})


@pytest.mark.parametrize(
    ("problem", "told"),
    [
        (
            Stated(laplace, SQUARE, Dirichlet(0.0, on="x-")),
            r"none on x\+, y-, y\+, across which .* of u\. .*Dirichlet\(value, on='x\+'\), or Neumann\(0\.0",
        ),
        (Stated(laplace, TURNED, Dirichlet(0.0, on="floor")), "none on east, top, west, across which"),
        (Stated(laplace, RING, Dirichlet(0.0, on="outer")), "none on inner, across which"),
        (Stated(carried_sideways, SQUARE, Dirichlet(0.0, on=("x-", "y-"))), r"none on y\+, across"),
        (Stated(carried_sideways, TURNED, Dirichlet(0.0, on=("west", "top"))), "none on floor, across"),
        (Stated(flux_form, SQUARE, Dirichlet(0.0, on="y-")), r"none on x-, x\+, across"),
        (Stated(laplace, SQUARE, ONE), r"none on x-, x\+, y-, y\+, across"),
        (Stated(heat, STRIP, Initial(0.0)), r"none on x-, x\+, across"),
        (
            Stated(heat, STRIP, Dirichlet(0.0)),
            r"none at the start, where the equation needs 1, its order in t, of u\. .*say Initial\(value\)\.",
        ),
        (
            Stated(wave, STRIP, Initial(0.0), Dirichlet(0.0)),
            r"1 at the start, where the equation needs 2.*say Initial\(slope, order=1\)\.",
        ),
        (Stated(laplace, Cylinder(RING, t=(0.0, 1.0)), Dirichlet(0.0, on="inner")), "none on outer, across"),
        (
            Flow(Dirichlet(0.0, on=("x-", "x+", "y-"), of="u")),
            r"none on y\+, .* of u\..*Dirichlet\(value, on='y\+', of='u'\)",
        ),
    ],
)
def test_what_is_missing_is_named(problem: Problem, told: str) -> None:
    with pytest.warns(UserWarning, match=rf"conditions of (stated|flow): {told}"):
        PhysicsInformed(problem)


def test_values_observed_of_another_unknown_do_not_count() -> None:
    problem = Flow(Observed(MANY.points, MANY.values, of="v"))
    with pytest.warns(UserWarning, match=r"none on x-, x\+, y-, y\+, across which .* of u\."):
        PhysicsInformed(problem)
