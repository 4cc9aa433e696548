"""The same residual on SymPy symbols, and what the cards say."""

from __future__ import annotations

import json
import math

import pytest
import sympy
import torch
from scipy.sparse.linalg import spsolve

from pdeflow.errors import InvalidInput
from pdeflow.problems import (
    Box,
    Constant,
    D,
    Darcy,
    Dirichlet,
    GaussianField,
    LogNormalField,
    Parameter,
    Poisson,
    Problem,
    Uniform,
    cos,
    erf,
    exp,
    manufacture,
    relu,
    sin,
    step,
)
from pdeflow.problems.point_function import PointFunction


class Helmholtz(Problem):
    """As in the design, with a source of its own."""

    domain = Box(x=(-1, 1), y=(-1, 1))
    fields = ("u",)
    k = Parameter(Uniform(1.0, 4.0))
    conditions = (Dirichlet(0.0),)

    def source(self, at, p):
        return (p.k**2 - 2 * math.pi**2) * sin(math.pi * at.x) * sin(math.pi * at.y)

    def residual(self, u, at, p):
        return D(u, "x", 2) + D(u, "y", 2) + p.k**2 * u - self.source(at, p)

    def exact(self, at, p):
        return sin(math.pi * at.x) * sin(math.pi * at.y)


def test_the_designs_helmholtz_works_every_way():
    problem = Helmholtz()
    assert problem.name == "helmholtz"
    assert list(problem.parameters) == ["k"]
    grid = problem.grid(65)
    parameters = problem.sample([0, 1, 2], grid, seed=0)
    assert parameters["k"].shape == (3,)
    assert (parameters["k"] >= 1).all()
    system = problem.discretise(grid, parameters)
    mesh = grid.mesh()
    exact = (torch.sin(math.pi * mesh["x"]) * torch.sin(math.pi * mesh["y"]))[None].expand(3, -1, -1)
    assert problem.residual_on_grid(exact, grid, parameters).abs().max() < 0.05
    for sample in range(3):
        matrix = system.operator.to_scipy(sample).tocsc()
        x = torch.from_numpy(spsolve(matrix, system.rhs[sample].flatten().numpy()))
        x = x.reshape(1, *system.operator.shape).expand(3, -1, -1)
        assert (system.embed(x)[0] - exact[0]).abs().max() < 1e-2
    points = torch.rand(7, 2, dtype=torch.float64)
    values = problem.residual_at_points(
        lambda x: torch.sin(math.pi * x[:, 0]) * torch.sin(math.pi * x[:, 1]), points, {"k": 2.0}
    )
    assert values.abs().max() < 1e-12
    k, kx, ky = sympy.symbols("k k_x k_y", real=True)
    assert sympy.simplify(problem.symbol() - (k**2 - kx**2 - ky**2)) == 0
    assert json.loads(json.dumps(problem.describe()))["parameters"] == {"k": "uniform between 1 and 4"}


def test_latex_keeps_the_flux_form():
    assert Poisson(1).latex() == r"- \frac{d^{2}}{d x^{2}} u = f"
    latex = Darcy(2).latex()
    assert latex.endswith("= f")
    assert latex.startswith(r"- \frac{\partial}{\partial x} \left(a \frac{\partial}{\partial x} u\right)")
    assert r"a \frac{\partial}{\partial y} u" in latex


def test_linear_part_and_symbol_of_a_nonlinear_equation():
    class Reaction(Problem):
        domain = Box(x=(0, 1), y=(0, 1))
        a = Parameter(LogNormalField())
        c = Parameter(Constant(1.0))
        f = Parameter(GaussianField())

        def residual(self, u, at, p):
            return -D(p.a * D(u, "x"), "x") + p.c * D(u, "y") + u**3 + sin(u) * cos(at.x) - p.f

    x, y, c, kx, ky = sympy.symbols("x y c k_x k_y", real=True)
    a, u = sympy.Function("a", real=True)(x, y), sympy.Function("u")(x, y)
    expected = -(a * u.diff(x)).diff(x) + c * u.diff(y) + u * sympy.cos(x)
    assert sympy.simplify(Reaction().linear_part() - expected.doit()) == 0
    symbol = sympy.Symbol("a", real=True) * kx**2 + sympy.I * c * ky + sympy.cos(x)
    assert sympy.simplify(Reaction().symbol() - symbol) == 0
    assert r"\sin{\left(u \right)}" in Reaction().latex()
    assert r"u^{3}" in Reaction().latex()


def test_the_symbol_freezes_coefficients_given_as_formulas():
    class Variable(Problem):
        domain = Box(x=(0, 1))

        def residual(self, u, at, p):
            return D(exp(at.x) * D(u, "x"), "x") - u

    x, kx = sympy.symbols("x k_x", real=True)
    assert sympy.simplify(Variable().symbol() - (-sympy.exp(x) * kx**2 - 1)) == 0


def test_describe():
    card = Darcy(2).describe()
    assert json.loads(json.dumps(card)) == card
    assert card["conditions"] == ["Dirichlet, 0 on the whole boundary"]
    assert card["parameters"]["a"].startswith("12 where psi >= 0, 3 elsewhere")

    class Periodic(Problem):
        domain = Box(x=(0, 1), y=(0, 1), periodic=("y",))
        conditions = (Dirichlet(lambda at, p: at.y, on="x-"), Dirichlet(1.0, on=("x+",)))

        def residual(self, u, at, p):
            return D(u, "x")

    assert Periodic().describe()["conditions"] == [
        "Dirichlet, a given function on x-",
        "Dirichlet, 1 on x+",
        "periodic along y",
    ]


def test_a_manufactured_solution_satisfies_a_nonlinear_equation():
    class Bratu(Problem):
        domain = Box(x=(0, 1), y=(0, 1))
        conditions = (Dirichlet(0.0),)
        a = Parameter(LogNormalField())
        f = Parameter(GaussianField())

        def residual(self, u, at, p):
            return 3 * p.f - D(p.a * D(u, "x"), "x") + exp(u) * D(u, "y") - abs(u)

    case = manufacture(Bratu(), lambda at: sin(at.x) + at.y**2, {"a": lambda at: 1 + at.x * at.y})
    points = torch.rand(30, 2, dtype=torch.float64)
    residual = case.problem.residual_at_points(
        lambda x: torch.sin(x[:, 0]) + x[:, 1] ** 2, points, case.parameters
    )
    assert residual.abs().max() < 1e-12
    off = case.problem.residual_at_points(lambda x: x[:, 0], points, case.parameters)
    assert off.abs().max() > 0.1


def test_manufacture_says_what_is_wrong():
    with pytest.raises(InvalidInput, match="source: got 'f'"):
        manufacture(Helmholtz(), lambda at: at.x, {"k": 1.0})
    with pytest.raises(InvalidInput, match="'a'"):
        manufacture(Darcy(2), lambda at: at.x)
    with pytest.raises(InvalidInput, match="affine"):
        manufacture(Darcy(2), lambda at: at.x, {"f": 1.0}, source="a")
    with pytest.raises(InvalidInput, match="elementary"):
        manufacture(Poisson(1), lambda at: sympy.gamma(at.x))


def test_functions_with_corners_and_the_error_function_mean_the_same_everywhere() -> None:
    values = [-1.5, -0.25, 0.0, 0.75]
    for function, expected in (
        (relu, [0.0, 0.0, 0.0, 0.75]),
        (step, [0.0, 0.0, 1.0, 1.0]),
        (erf, [math.erf(value) for value in values]),
    ):
        assert [function(value) for value in values] == expected
        x = torch.tensor(values, dtype=torch.float64)
        torch.testing.assert_close(function(x), torch.tensor(expected, dtype=torch.float64))
        at = PointFunction(x, x[:, None], ["x"])
        torch.testing.assert_close(function(at).values, torch.tensor(expected, dtype=torch.float64))
        X = sympy.Symbol("X", real=True)
        assert [float(function(X).subs(X, value)) for value in values] == pytest.approx(expected)
