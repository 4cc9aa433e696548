"""Statements with an axis of time, marched: exact solutions, SciPy, and what is refused."""

from __future__ import annotations

import itertools
import math
import pickle

import numpy as np
import pytest
import scipy.integrate
import torch

from pdeflow.errors import InvalidInput
from pdeflow.linalg import Status
from pdeflow.problems import (
    Ball,
    Box,
    Constant,
    ConvectedSine,
    Cylinder,
    D,
    Dirichlet,
    FlowMixing,
    GaussianField,
    HeatConduction,
    HeatedRod,
    Initial,
    KleinGordon,
    MethodOfLines,
    Neumann,
    ObservedBurgers,
    Parameter,
    ParametricFamily,
    Problem,
    Robin,
    SineBurgers,
    SinePoisson,
    cos,
    exp,
    rosenbrock,
    sin,
)
from pdeflow.problems.calculus import Names


def exact_on_grid(problem: MethodOfLines, grid, times: torch.Tensor) -> torch.Tensor:
    """(instants, *grid.shape)."""
    here = grid.mesh()
    p = Names("parameter", problem.complete_parameters({}))
    found = []
    for t in times:
        at = {**here, "t": torch.full(grid.shape, float(t), dtype=torch.float64)}
        found.append(torch.as_tensor(problem.exact(Names("coordinate", at), p)).expand(grid.shape))
    return torch.stack(found)


class Plate(Problem):
    """2 u_t = a lap u, 0 at the ends of x, insulated at those of y; time is the first axis."""

    domain = Box(t=(0, 0.2), x=(0, 1), y=(-1, 1))
    a = Parameter(Constant(0.8))

    def __init__(self) -> None:
        insulated = Neumann(0.0, on=("y-", "y+"))
        self.conditions = (Dirichlet(0.0, on=("x-", "x+")), insulated, Initial(self.exact))

    def exact(self, at, p):
        return exp(-p.a * math.pi**2 * at.t) * sin(math.pi * at.x) * cos(math.pi * at.y)

    def residual(self, u, at, p):
        return 2 * D(u, "t") - p.a * (D(u, "x", 2) + D(u, "y", 2))


@pytest.mark.parametrize(
    ("statement", "nodes", "largest"),
    [
        (HeatedRod(stop=0.5), (9, 17), 2e-3),
        (Plate(), (9, 17), 1e-2),
        (SineBurgers(viscosity=0.1, stop=0.5), (17, 33), 2e-2),
        (ConvectedSine(beta=2.0), (32, 64), 1e-2),
    ],
    ids=lambda value: value.name if isinstance(value, Problem) else "",
)
def test_it_converges_to_the_exact_solution_with_order_two_in_space(statement, nodes, largest) -> None:
    problem, errors = MethodOfLines(statement), []
    for n in nodes:
        grid = problem.grid(n)
        path = problem.evolve(grid, problem.sample([0], grid, seed=0), problem.end, 3, rtol=1e-4)
        assert path.status.tolist() == [int(Status.CONVERGED)]
        exact = exact_on_grid(problem, grid, path.times)
        torch.testing.assert_close(path.u[0, 0], exact[0])
        errors.append(float((path.u[0] - exact).abs().max()))
    assert errors[-1] < largest
    assert math.log2(errors[0] / errors[1]) > 1.85


def test_its_steps_are_of_second_order() -> None:
    problem = MethodOfLines(SineBurgers(viscosity=0.1))
    grid = problem.grid(17)
    given = problem.sample([0], grid, seed=0)
    equations = rosenbrock.SemiDiscrete(problem, grid, given, 1)
    start = problem.initial_field(grid, problem.parameters_on_grid(grid, given))[
        equations.inside
    ].contiguous()
    ends = []
    for steps in (10, 20, 40):
        stepper = rosenbrock.Stepper(equations, 0.2 / steps, 1e-12)
        ends.append(rosenbrock.fixed_steps(stepper, start, 2, steps)[:, -1])
    coarse, fine = (float((b - a).norm()) for a, b in itertools.pairwise(ends))
    assert math.log2(coarse / fine) > 1.8


def relative(found: torch.Tensor, expected: np.ndarray) -> np.ndarray:
    """In L2 at each instant, as the tolerance is."""
    return np.linalg.norm(found.numpy() - expected, axis=1) / np.linalg.norm(expected, axis=1)


class Driven(Problem):
    """u_t + u u_x = nu u_xx + x (1 - u), the start and the left end from parameters of the sample."""

    domain = Box(x=(0, 1), t=(0, 1))
    conditions = (
        Dirichlet(lambda at, p: p.left, on="x-"),
        Dirichlet(0.2, on="x+"),
        Initial(lambda at, p: p.start + 0.5 * sin(math.pi * at.x)),
    )
    nu = Parameter(Constant(0.05), positive=True)
    left = Parameter(Constant(0.4))
    start = Parameter(GaussianField())

    def residual(self, u, at, p):
        return D(u, "t") + u * D(u, "x") - p.nu * D(u, "x", 2) - at.x * (1 - u)


def test_a_nonlinear_statement_is_that_of_scipy() -> None:
    """u u_x at a node is the mean of the two faces beside it, (u_{i+1}^2 - u_{i-1}^2) / 4h."""
    n, problem = 17, MethodOfLines(Driven())
    h, grid = 1 / (n - 1), problem.grid(n)
    x = np.linspace(0.0, 1.0, n)
    field = problem.sample([3], grid, seed=1)["start"]

    def rate(left):
        def of(t, inner):
            u = np.concatenate([[left], inner, [0.2]])
            spread = 0.05 * (u[2:] - 2 * inner + u[:-2]) / h**2
            return spread - (u[2:] ** 2 - u[:-2] ** 2) / (4 * h) + x[1:-1] * (1 - inner)

        return of

    lefts = [0.4, 0.9]
    path = problem.evolve(grid, {"start": field, "left": torch.tensor(lefts)}, 1.0, 3, rtol=1e-4)
    for k, left in enumerate(lefts):
        first = (field[0].numpy() + 0.5 * np.sin(math.pi * x))[1:-1]
        left = float(np.float32(left))
        radau = scipy.integrate.solve_ivp(
            rate(left), (0, 1), first, "Radau", [0.5, 1.0], rtol=1e-9, atol=1e-11
        )
        assert (relative(path.u[k, 1:, 1:-1], radau.y.T) < 1e-4).all()
        assert (path.u[k, :, 0] == left).all()


class Cooled(Problem):
    """u_t = lap u / 10 + u - u^3 on a strip that wraps along y, warm on the left, cooled on the right."""

    domain = Box(x=(0, 1), y=(0, 2), t=(0, 0.5), periodic=("y",))
    conditions = (
        Dirichlet(lambda at, p: 1 + 0.2 * sin(math.pi * at.y), on="x-"),
        Robin(2.0, 0.5, on="x+"),
        Initial(lambda at, p: 1 - 0.5 * at.x + 0.2 * sin(math.pi * at.y)),
    )

    def residual(self, u, at, p):
        return D(u, "t") - 0.1 * (D(u, "x", 2) + D(u, "y", 2)) - u + u**3


def test_a_nonlinear_statement_in_the_plane_is_that_of_scipy() -> None:
    nx, ny = 11, 12
    problem = MethodOfLines(Cooled())
    grid = problem.grid([nx, ny])
    hx, hy = 1 / (nx - 1), 2 / ny
    x, y = (grid.mesh()[axis].numpy() for axis in "xy")
    warm = 1 + 0.2 * np.sin(math.pi * y[:1])

    def rate(t, flat):
        u = np.concatenate([warm, flat.reshape(nx - 1, ny)])
        # A node beyond the right side, so that the central difference there is 0.5 - 2 u.
        u = np.concatenate([u, u[-2:-1] + 2 * hx * (0.5 - 2 * u[-1:])])
        inner = u[1:-1]
        across = (u[2:] - 2 * inner + u[:-2]) / hx**2
        along = (np.roll(inner, 1, 1) - 2 * inner + np.roll(inner, -1, 1)) / hy**2
        return (0.1 * (across + along) + inner - inner**3).ravel()

    start = 1 - 0.5 * x + 0.2 * np.sin(math.pi * y)
    radau = scipy.integrate.solve_ivp(
        rate, (0, 0.5), start[1:].ravel(), "Radau", [0.25, 0.5], rtol=1e-9, atol=1e-11
    )
    path = problem.evolve(grid, {}, 0.5, 3, rtol=1e-4)
    assert (relative(path.u[0, 1:, 1:].flatten(1), radau.y.T) < 1e-4).all()


def test_it_is_the_statement_that_points_evaluate() -> None:
    rod = HeatedRod()
    problem = MethodOfLines(rod)
    assert (problem.statement(), problem.describe()) == (rod.statement(), rod.describe())
    points = torch.tensor([[0.2, 0.1], [0.7, 0.4]], dtype=torch.float64)
    found = problem.residual_at_points(lambda q: q[:, 0] ** 2 * q[:, 1], points, {"a": 3.0})
    x, t = points.T
    torch.testing.assert_close(found, x**2 - 6 * t)


def test_of_a_family_the_parameters_are_drawn_from_their_ranges() -> None:
    problem = MethodOfLines(ParametricFamily(HeatedRod(), {"a": (0.1, 1.0)}))
    grid = problem.grid(17)
    for one in (problem, pickle.loads(pickle.dumps(problem))):
        given = one.sample(range(4), grid, seed=3)
        assert ((given["a"] > 0.1) & (given["a"] < 1.0)).all()
        assert len(given["a"].unique()) == 4
        path = one.evolve(grid, given, 0.5, rtol=1e-4)
        decayed = torch.exp(-given["a"] * math.pi**2 * 0.5)
        torch.testing.assert_close(path.u[:, -1, 8], decayed, rtol=0.02, atol=0)


class Small(Problem):
    """To be changed by a part at a time."""

    domain = Box(x=(0, 1), t=(0, 1))
    conditions = (Dirichlet(0.0), Initial(1.0))

    def residual(self, u, at, p):
        return D(u, "t") - D(u, "x", 2)


def other(**attributes) -> Problem:
    return type("Other", (Small,), attributes)()


REFUSED = {
    "a second derivative": (
        other(residual=lambda self, u, at, p: D(u, "t", 2) - D(u, "x", 2)),
        r"the derivative Derivative\(u\(x, t\), \(t, 2\)\)",
    ),
    "a mixed derivative": (
        other(residual=lambda self, u, at, p: D(u, "t") - D(D(u, "x", 2), "t")),
        r"the derivative Derivative\(u\(x, t\), \(x, 2\), t\)",
    ),
    "the derivative of an expression": (
        other(residual=lambda self, u, at, p: D(u**2, "t") - D(u, "x", 2)),
        r"the derivative Derivative\(u\(x, t\)\*\*2, t\)",
    ),
    "none": (other(residual=lambda self, u, at, p: D(u, "x", 2) - 1), "no derivative by t"),
    "a factor that varies": (
        other(residual=lambda self, u, at, p: (1 + at.x) * D(u, "t") - D(u, "x", 2)),
        r"the factor x \+ 1 of D\(u, 't'\)",
    ),
    "its square": (
        other(residual=lambda self, u, at, p: D(u, "t") ** 2 - D(u, "x", 2)),
        r"the factor 2\*Derivative\(u\(x, t\), t\) of D\(u, 't'\)",
    ),
    "a source in time": (
        other(residual=lambda self, u, at, p: D(u, "t") - D(u, "x", 2) - sin(at.t)),
        r"at\.t in its residual",
    ),
    "a value in time": (
        other(conditions=(Dirichlet(lambda at, p: at.x + at.t), Initial(1.0))),
        r"a condition on the whole boundary that depends on t, t \+ x",
    ),
    "no initial value": (other(conditions=(Dirichlet(0.0),)), "no initial value"),
    "no boundary condition": (
        other(conditions=(Dirichlet(0.0, on="x-"), Initial(1.0))), r"no condition on x\+"
    ),
    "a condition at the end": (
        other(conditions=(Dirichlet(0.0), Dirichlet(0.0, on="t+"), Initial(1.0))), r"a condition on t\+"
    ),
    "a slope at the start": (KleinGordon(), "an initial slope"),
    "values in time on all sides": (FlowMixing(), "a condition on the whole boundary that depends on t"),
    "measurements": (ObservedBurgers(), "the condition Observed"),
    "no time": (SinePoisson(), "the coordinates x, y"),
    "its own time": (HeatConduction(1), "the coordinates x, t"),
    "no space": (other(domain=Box(t=(0, 1)), conditions=(Initial(1.0),)), "no coordinate but t"),
    "a disc": (other(domain=Cylinder(Ball(1.0, x=0.0, y=0.0), (0, 1))), "the domain"),
    "a later start": (other(domain=Box(x=(0, 1), t=(1, 2))), "a time from 1 on"),
    "a time that wraps": (other(domain=Box(x=(0, 1), t=(0, 1), periodic="t")), "a time that wraps around"),
    "two unknowns": (other(fields=("u", "v")), "the unknowns u, v"),
    "complex values": (other(complex_valued=True), "complex values"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_marched_is_named(case: str) -> None:
    statement, has = REFUSED[case]
    with pytest.raises(InvalidInput, match=f"{statement.name}, which has {has}") as caught:
        MethodOfLines(statement)
    assert caught.value.name == "problem"


def test_too_high_a_derivative_in_space_is_named() -> None:
    problem = MethodOfLines(other(residual=lambda self, u, at, p: D(u, "t") + D(u, "x", 4)))
    with pytest.raises(InvalidInput, match="residual"):
        problem.evolve(problem.grid(17), {}, 0.1)
