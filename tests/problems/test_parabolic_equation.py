"""Implicit steps on boxes with conditions: exact solutions, SciPy, and the sequence of linear systems."""

from __future__ import annotations

import itertools
import json
import math
import pickle

import numpy as np
import pytest
import scipy.integrate
import torch

from pdeflow import linalg
from pdeflow.errors import InvalidInput
from pdeflow.linalg import Sequence, Status
from pdeflow.problems import (
    Box,
    Constant,
    D,
    Dirichlet,
    Evolution,
    GaussianField,
    HeatConduction,
    Neumann,
    ParabolicEquation,
    Parameter,
    Robin,
    cos,
    exp,
    rosenbrock,
    sin,
)

FAMILIES = [
    *(HeatConduction(dim) for dim in (1, 2, 3)),
    HeatConduction(conditions={"x-": Dirichlet(1.0), "x+": Robin(2.0, 0.5), "y": Neumann(-0.3)}),
    HeatConduction(conditions={"x": Neumann()}, periodic=["y"]),
    HeatConduction(periodic=["x", "y"]),
]


@pytest.mark.parametrize("problem", FAMILIES, ids=lambda p: f"{p.name}_{p.domain.dim}d")
def test_it_describes_itself_and_its_samples_are_solved(problem: ParabolicEquation) -> None:
    card = problem.describe()
    assert json.loads(json.dumps(card)) == card
    assert r"\frac{\partial}{\partial t} u" in card["equation"]
    copy = pickle.loads(pickle.dumps(problem))
    assert copy.statement() == problem.statement()
    grid = problem.grid(9)
    parameters = problem.sample(range(2), grid, seed=5)
    path = problem.evolve(grid, parameters, 0.1, 3, rtol=1e-3)
    assert path.u.shape == (2, 3, *grid.shape)
    assert path.status.tolist() == [int(Status.CONVERGED)] * 2
    assert (path.error <= 1e-3).all()
    assert (path.linear_iterations > 0).all()


def test_it_is_the_statement_that_points_evaluate() -> None:
    """The residual at points of what a formula says u is: u_t - div(a grad u) - f."""
    problem = HeatConduction(1)
    points = torch.tensor([[0.2, 0.1], [0.7, 0.4]], dtype=torch.float64)
    given = {"a": lambda at: 1 + at.x, "f": 0.5, "u0": 0.0}
    found = problem.residual_at_points(lambda q: q[:, 0] ** 2 * q[:, 1], points, given)
    x, t = points.T
    torch.testing.assert_close(found, x**2 - (2 * t + 4 * x * t) - 0.5)


def order(errors: list[float]) -> float:
    return math.log2(errors[-2] / errors[-1])


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_heat_between_a_warm_and_an_insulated_side_converges_with_order_two(dim: int) -> None:
    """A steady parabola, and a mode that decays as its eigenvalue says."""
    a, f, stop, errors = 0.7, 0.3, 0.2, []
    rest = {axis: Neumann() for axis in "yz"[: dim - 1]}
    problem = HeatConduction(dim, conditions={"x-": Dirichlet(1.0), "x+": Neumann(0.5), **rest})
    decay = a * math.pi**2 * (0.25 + dim - 1)
    for n in (9, 17):
        grid = problem.grid(n)
        at = grid.mesh()
        steady = 1 + (0.5 + f / a) * at["x"] - f / (2 * a) * at["x"] ** 2
        mode = torch.sin(math.pi * at["x"] / 2)
        for axis in rest:
            mode = mode * torch.cos(math.pi * at[axis])
        given = {"a": a, "f": f, "u0": (steady + mode)[None]}
        path = problem.evolve(grid, given, stop, 3, rtol=1e-4)
        exact = torch.stack([steady + math.exp(-decay * t) * mode for t in (0.0, stop / 2, stop)])
        torch.testing.assert_close(path.u[0, 0], exact[0])
        errors.append(float((path.u[0] - exact).abs().max()))
    assert errors[-1] < 2e-3
    assert order(errors) > 1.9


class Reacting(ParabolicEquation):
    """Diffusivity, wind and decay that vary, Robin conditions whose coefficients do, periodic along y."""

    domain = Box(x=(0, 1), y=(-1, 1), periodic=("y",))
    conditions = (Robin(lambda at, p: p.c * 0 + 0.5 * at.x + 1, 0.0, "x-"), Neumann(0.0, "x+"))
    a = Parameter(Constant(1.0))
    c = Parameter(GaussianField())
    u0 = Parameter(GaussianField())

    def rate(self, u, p):
        spread = D(p.a * D(u, "x"), "x") + D(p.a * D(u, "y"), "y")
        return spread - 0.4 * D(u, "x") + p.c * u


def test_all_that_varies_converges_with_order_two() -> None:
    """u = exp(-t) s(x, y), the decay being the one that makes it so."""
    stop, errors = 0.3, []

    def shape(at):
        # s_x = s at x = 0, as the outward normal there has -s_x + s = 0; s_x = 0 at x = 1.
        return (1 + at.x - at.x**2 / 2) * exp(0.3 * sin(math.pi * at.y))

    def a(at):
        return 1 + 0.4 * at.x * cos(math.pi * at.y)

    def decay(at):
        s = shape(at)
        spread = D(a(at) * D(s, "x"), "x") + D(a(at) * D(s, "y"), "y")
        return -(spread - 0.4 * D(s, "x") + s) / s

    import sympy

    x, y = sympy.symbols("x y", real=True)
    from pdeflow.problems.calculus import Names

    formula = sympy.lambdify((x, y), decay(Names("coordinate", {"x": x, "y": y})).doit(), "numpy")
    for n in ([9, 16], [17, 32]):
        problem = Reacting()
        grid = problem.grid(n)
        at = {k: v.numpy() for k, v in grid.mesh().items()}
        c = torch.from_numpy(np.broadcast_to(formula(at["x"], at["y"]), grid.shape).copy())
        start = (1 + at["x"] - at["x"] ** 2 / 2) * np.exp(0.3 * np.sin(math.pi * at["y"]))
        given = {"a": a, "c": c[None], "u0": torch.from_numpy(start)[None]}
        path = problem.evolve(grid, given, stop, rtol=1e-4)
        errors.append(float((path.u[0, -1] - math.exp(-stop) * torch.from_numpy(start)).abs().max()))
    assert errors[-1] < 3e-3
    assert order(errors) > 1.9


class ChafeeInfante(ParabolicEquation):
    """u_t = nu u_xx + u - u^3, a temperature at one end, insulated at the other."""

    domain = Box(x=(0, 1))
    conditions = (Dirichlet(0.8, "x-"), Neumann(0.2, "x+"))
    nu = Parameter(Constant(0.1))
    u0 = Parameter(GaussianField())

    def rate(self, u, p):
        return p.nu * D(u, "x", 2) + u - u**3


def start(n: int) -> torch.Tensor:
    x = torch.linspace(0.0, 1.0, n, dtype=torch.float64)
    return (0.8 + 0.3 * torch.sin(3 * x) - x**2)[None]


def test_a_nonlinear_rate_is_that_of_scipy() -> None:
    n, nu, stop = 33, 0.1, 1.0
    h, problem = 1 / (n - 1), ChafeeInfante()

    def rate(t, u):
        inner = np.concatenate([[0.8], u, [u[-2] + 2 * h * 0.2]])
        return nu * (inner[2:] - 2 * inner[1:-1] + inner[:-2]) / h**2 + u - u**3

    first = start(n)[0].numpy()
    expected = scipy.integrate.solve_ivp(
        rate, (0, stop), first[1:], "Radau", [stop / 2, stop], rtol=1e-9, atol=1e-11
    ).y.T
    path = problem.evolve(problem.grid(n), {"u0": start(n)}, stop, 3, rtol=2e-5)
    np.testing.assert_allclose(path.u[0, 1:, 1:].numpy(), expected, rtol=0, atol=2e-5)
    assert (path.u[0, :, 0] == 0.8).all()


@pytest.mark.parametrize("problem", [ChafeeInfante(), HeatConduction(1)], ids=["nonlinear", "linear"])
def test_the_steps_are_of_second_order(problem: ParabolicEquation) -> None:
    grid = problem.grid(17)
    given = {} if problem.name == "chafeeinfante" else {"a": torch.ones(1, 17, dtype=torch.float64)}
    equations = rosenbrock.SemiDiscrete(problem, grid, given, 1)
    x = (start(17) * torch.linspace(1, 0, 17, dtype=torch.float64))[equations.inside].contiguous()
    ends = []
    for steps in (20, 40, 80):
        stepper = rosenbrock.Stepper(equations, 0.1 / steps, 1e-12)
        ends.append(rosenbrock.fixed_steps(stepper, x, 2, steps)[:, -1])
    assert order([float((b - a).norm()) for a, b in itertools.pairwise(ends)]) > 1.8


class Independent(rosenbrock.Stepper):
    """Each system solved as if there had been none before."""

    def _solved(self, A, sequence, b, guess):
        assert self.method is not None
        solver, preconditioner = self.method.solver, self.method.preconditioner
        solution = linalg.solve(A, b, solver=solver, preconditioner=preconditioner, rtol=self.tolerance)
        self.iterations += solution.iterations
        return solution.x


@pytest.mark.parametrize("dim", [1, 2])
def test_a_sequence_gives_what_independent_solves_do_in_fewer_iterations(dim: int, monkeypatch) -> None:
    problem = HeatConduction(dim, conditions={"x": Neumann()})
    grid = problem.grid(33)
    parameters = problem.sample(range(3), grid, seed=2)
    first = parameters.pop("u0")
    equations = rosenbrock.SemiDiscrete(problem, grid, parameters, 3)
    x, steps, calls, solve = first[equations.inside].contiguous(), 40, [], Sequence.solve
    monkeypatch.setattr(Sequence, "solve", lambda *a, **k: calls.append(1) or solve(*a, **k))
    ends, iterations = [], []
    for kind in (rosenbrock.Stepper, Independent):
        stepper = kind(equations, 0.05 / steps, 1e-8)
        ends.append(rosenbrock.fixed_steps(stepper, x, 2, steps)[:, -1])
        iterations.append(float(stepper.iterations.double().mean()))
    assert len(calls) == 2 * steps
    torch.testing.assert_close(ends[0], ends[1], rtol=0, atol=1e-7 * float(ends[1].abs().max()))
    assert iterations[0] < 0.9 * iterations[1]


def test_a_kept_preconditioner_costs_a_nonlinear_rate_no_accuracy(monkeypatch) -> None:
    problem, grid = ChafeeInfante(), ChafeeInfante().grid(17)
    one = problem.evolve(grid, {"u0": start(17)}, 0.5, rtol=1e-3)
    monkeypatch.setattr(rosenbrock, "Frozen", lambda preconditioner: preconditioner)
    two = problem.evolve(grid, {"u0": start(17)}, 0.5, rtol=1e-3)
    assert one.steps.tolist() == two.steps.tolist()
    torch.testing.assert_close(one.u, two.u, rtol=0, atol=1e-6)


class Growing(ParabolicEquation):
    """u_t = u_xx / 10 + u^2 without a way out: what starts high blows up."""

    domain = Box(x=(0, 1))
    conditions = (Neumann(),)
    u0 = Parameter(GaussianField())

    def rate(self, u, p):
        return 0.1 * D(u, "x", 2) + u**2


def test_a_sample_that_blows_up_leaves_the_others_alone(monkeypatch) -> None:
    monkeypatch.setattr(rosenbrock, "MOST_STEPS", 32)
    grid, low = Growing().grid(9), torch.full((1, 9), 0.2, dtype=torch.float64)
    alone = Growing().evolve(grid, {"u0": low}, 1.0, rtol=1e-3)
    both = Growing().evolve(grid, {"u0": torch.cat([low, 50 * low])}, 1.0, rtol=1e-3)
    assert both.status[0] == int(Status.CONVERGED) != both.status[1]
    torch.testing.assert_close(both.u[:1], alone.u, rtol=0, atol=1e-8)
    torch.testing.assert_close(alone.u[0, -1], torch.full((9,), 0.25, dtype=torch.float64), rtol=0, atol=1e-4)


def test_a_tolerance_that_is_out_of_reach_is_said(monkeypatch) -> None:
    monkeypatch.setattr(rosenbrock, "MOST_STEPS", 8)
    problem = HeatConduction(1)
    grid = problem.grid(9)
    path = problem.evolve(grid, problem.sample([0], grid, seed=0), 1.0, rtol=1e-9)
    assert path.status.tolist() == [int(Status.MAX_ITERATIONS)]


def test_conditions_are_for_equations_that_take_them() -> None:
    with pytest.raises(InvalidInput, match="no conditions"):
        type("Wrapped", (Evolution,), {"conditions": (Dirichlet(0.0),)})
    with pytest.raises(InvalidInput) as caught:
        HeatConduction(conditions={"w": Dirichlet(0.0)})
    assert caught.value.name == "conditions.w"
    with pytest.raises(InvalidInput) as caught:
        HeatConduction(1).evolve(HeatConduction(1).grid(9), {"a": 1.0}, 1.0)
    assert caught.value.name == "parameters"
    problem = HeatConduction(1)
    with pytest.raises(InvalidInput) as caught:
        problem.evolve(problem.grid(9), {"a": -1.0, "u0": torch.zeros(1, 9)}, 1.0)
    assert caught.value.name == "parameter 'a'"


def test_parameters_in_single_precision_conserve_what_is_there() -> None:
    """Insulated all round, a constant stays what it is, however the coefficient is rounded."""
    problem = HeatConduction(1, conditions={"x-": Neumann(), "x+": Neumann()})
    grid = problem.grid(65)
    drawn = problem.sample([0], grid, seed=1)
    single = {name: values.to(torch.float32) for name, values in drawn.items()}
    single["u0"], single["f"] = torch.ones(1, 65), torch.zeros(1)
    path = problem.evolve(grid, single, 0.5, rtol=1e-6)
    torch.testing.assert_close(path.u, torch.ones_like(path.u), rtol=0, atol=1e-10)
