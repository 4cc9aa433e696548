"""One statement, several evaluations: they agree."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from pdeflow.errors import InvalidInput
from pdeflow.problems import (
    Box,
    Constant,
    D,
    Darcy,
    Dirichlet,
    LogNormalField,
    Parameter,
    Poisson,
    Problem,
    Uniform,
    cos,
    cosh,
    exp,
    log,
    sin,
    sinh,
    sqrt,
    tan,
    tanh,
)


class Everything(Problem):
    """Nonlinear, with mixed, first and third derivatives and every elementary function."""

    domain = Box(x=(0.0, 1.0), y=(0.5, 1.5))
    conditions = (Dirichlet(0.0),)
    k = Parameter(Uniform(1.0, 2.0))

    def residual(self, u, at, p):
        steep = sqrt(1 + D(u, "x") ** 2 + D(u, "y") ** 2)
        flux_x = D(u, "x") / steep + sin(at.x) * D(u, "y")
        flux_y = cosh(at.x) * D(u, "y") / p.k
        return (
            D(flux_x, "x")
            + 2 * D(flux_y, "y")
            - D(D(u, "x"), "y") * tanh(at.y)
            + D(u, "x", 3)
            + exp(0.1 * u) * u
            - log(at.y) * cos(u)
            + (1 - u) / (2 + u**2)
            + abs(tan(at.x)) ** p.k
            - 2**u
            + sinh(at.y)
        )


class SteadyBurgers(Problem):
    """Periodic along x, bounded along y."""

    domain = Box(x=(0.0, 2.0), y=(0.0, 1.0), periodic=("x",))
    conditions = (Dirichlet(0.0),)
    nu = Parameter(Constant(0.1))

    def residual(self, u, at, p):
        viscosity = p.nu * (2 + sin(math.pi * at.x))
        return u * D(u, "x") - D(viscosity * D(u, "x"), "x") - p.nu * D(u, "y", 2)


def smooth(points: torch.Tensor, seed: int) -> torch.Tensor:
    """A random trigonometric polynomial, periodic in x on (0, 2) and (0, 1)."""
    generator = torch.Generator().manual_seed(seed)
    total = torch.zeros(points.shape[0], dtype=points.dtype)
    for _ in range(4):
        wave = 2 * math.pi * torch.randint(0, 2, (points.shape[1],), generator=generator)
        wave[1:] += torch.rand(points.shape[1] - 1, generator=generator)
        shift, height = torch.rand(2, generator=generator)
        total = total + 0.5 * height * torch.cos(points @ wave.to(points) + 6 * shift)
    return total


CASES = [
    (Everything(), {"k": 1.5}, (13, 25, 49, 97)),
    (SteadyBurgers(), {}, (16, 32, 64, 128)),
    (Poisson(1), {"f": lambda at: exp(at.x)}, (17, 33, 65, 129)),
    (Poisson(2), {"f": lambda at: at.x * at.y}, (17, 33, 65, 129)),
    (Darcy(1), {"a": lambda at: exp(sin(3 * at.x))}, (17, 33, 65, 129)),
    (Darcy(2), {"a": lambda at: 1 + at.x * at.y**2, "f": lambda at: at.y}, (17, 33, 65, 129)),
    (Darcy(3), {"a": lambda at: 1 + at.x * at.y + at.z}, (9, 17, 33)),
]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("problem", "parameters", "sizes"), CASES, ids=lambda c: getattr(c, "name", None))
def test_autograd_and_stencil_agree_to_second_order(problem, parameters, sizes, seed):
    errors = []
    for size in sizes:
        grid = problem.grid(size)
        mesh = torch.stack([x.flatten() for x in grid.mesh().values()], 1)
        u = smooth(mesh, seed).reshape(1, *grid.shape)
        stencil = problem.residual_on_grid(u, grid, parameters)[0]
        exact = problem.residual_at_points(lambda x: smooth(x, seed), mesh, parameters)
        exact = exact.detach().reshape(grid.shape)
        for k, wraps in enumerate(grid.periodic):
            if not wraps:
                lost = grid.points[k] - stencil.shape[k]
                exact = exact.narrow(k, lost // 2, stencil.shape[k])
        errors.append(float((stencil - exact).pow(2).mean().sqrt()))
    slopes = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert slopes[-1] >= 1.9, (errors, slopes)


def test_points_match_a_residual_differentiated_by_hand():
    points = torch.rand(20, 2, dtype=torch.float64)
    x, y = points.unbind(1)
    problem = Darcy(2)
    value = problem.residual_at_points(
        lambda p: torch.sin(p[:, 0]) * p[:, 1] ** 2, points, {"a": lambda at: at.x * at.y}
    )
    a_x, a_y, a = y, x, x * y
    u_x, u_y = torch.cos(x) * y**2, 2 * torch.sin(x) * y
    laplacian = -torch.sin(x) * y**2 + 2 * torch.sin(x)
    torch.testing.assert_close(value, -(a_x * u_x + a_y * u_y + a * laplacian) - 1)


def test_points_are_differentiable_by_a_network_and_obey_no_grad():
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1)).double()
    points = torch.rand(5, 2, dtype=torch.float64)
    values = {"f": torch.rand(5, dtype=torch.float64)}
    residual = Poisson(2).residual_at_points(lambda x: network(x).squeeze(-1), points, values)
    residual.square().mean().backward()
    assert all(p.grad is not None for p in network[0].parameters())
    with torch.no_grad():
        quiet = Poisson(2).residual_at_points(lambda x: network(x).squeeze(-1), points, values)
    assert not quiet.requires_grad
    torch.testing.assert_close(quiet, residual.detach())
    assert not points.requires_grad
    with pytest.raises(InvalidInput, match="squeeze"):
        Poisson(2).residual_at_points(network, points, values)


def test_the_grid_residual_is_differentiable():
    problem = Darcy(2, coefficient=LogNormalField())
    grid = problem.grid(6)
    a = problem.sample([0], grid, seed=0)["a"].requires_grad_()
    u = torch.rand(1, 6, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, u: problem.residual_on_grid(u, grid, {"a": a}), (a, u))


def test_batches_of_numbers_and_fields():
    class Reaction(Problem):
        domain = Box(x=(0, 1))
        conditions = (Dirichlet(0.0),)
        a = Parameter(LogNormalField())
        k = Parameter(Uniform(1.0, 2.0))

        def residual(self, u, at, p):
            return -D(p.a * D(u, "x"), "x") + p.k**2 * u

    problem, n = Reaction(), 4
    grid = problem.grid(9)
    values = problem.sample(range(n), grid, seed=5)
    u = torch.rand(n, 9, dtype=torch.float64)
    together = problem.residual_on_grid(u, grid, values)
    for i in range(n):
        alone = problem.residual_on_grid(u[i : i + 1], grid, {k: v[i : i + 1] for k, v in values.items()})
        assert torch.equal(together[i], alone[0])


def test_float32_stays_float32():
    grid = Poisson(2).grid(9)
    u = torch.rand(1, 9, 9)
    assert Poisson(2).residual_on_grid(u, grid, {"f": 1.0}).dtype == torch.float32
    assert Darcy(2).residual_on_grid(u, grid, {"a": torch.ones(1, 9, 9).double()}).dtype == torch.float32


def test_reflected_operations_and_tensor_numbers():
    class Odd(Problem):
        domain = Box(x=(1, 2))
        conditions = (Dirichlet(0.0),)

        def residual(self, u, at, p):
            two = torch.tensor(2.0, dtype=torch.float64)
            return two * u + 1 / at.x + 2**at.x + (3 - u) - two + 0 * D(5.0, "x") + D(u, "x", 2)

    grid = Odd().grid(9)
    x = grid.coordinates()[0]
    u = (x**2)[None]
    expected = 2 * x**2 + 1 / x + 2**x + 3 - x**2 - 2 + 2
    torch.testing.assert_close(Odd().residual_on_grid(u, grid, {})[0], expected[1:-1])
    at_points = Odd().residual_at_points(lambda p: p[:, 0] ** 2, x[:, None], {})
    torch.testing.assert_close(at_points, expected)


@pytest.mark.parametrize(
    "coefficient",
    [
        lambda square, k: square**k,
        lambda square, k: sqrt(square) / k + 1,
        lambda square, k: 3 - k * exp(-square),
        lambda square, k: 1 / (k + 2**square),
        lambda square, k: (-(square**2)) * k,
    ],
)
def test_a_coefficient_of_the_gradient_reaches_no_further_than_the_neighbours(coefficient):
    """It is evaluated at the faces where its flux lies, whatever the arithmetic, to second order."""

    class Flow(Problem):
        domain = Box(x=(0, 1), y=(0, 1))
        conditions = (Dirichlet(0.0),)
        k = Parameter(Uniform(1.0, 2.0))

        def residual(self, u, at, p):
            c = coefficient(1 + D(u, "x") ** 2 + D(u, "y") ** 2, p.k)
            return D(c * D(u, "x"), "x") + D(D(u, "y") * c, "y")

    problem, errors = Flow(), []
    for points in (33, 65):
        grid = problem.grid(points)
        mesh = torch.stack([x.flatten() for x in grid.mesh().values()], 1)

        def u(at):
            return torch.sin(at[:, 0] + 2 * at[:, 1])

        on_grid = problem.residual_on_grid(u(mesh).reshape(1, *grid.shape), grid, {"k": 1.5})[0]
        assert on_grid.shape == (points - 2, points - 2)
        exact = problem.residual_at_points(u, mesh, {"k": 1.5}).detach().reshape(grid.shape)[1:-1, 1:-1]
        errors.append(float((on_grid - exact).abs().max()))
    assert math.log2(errors[0] / errors[1]) > 1.9


class TestBadInput:
    def test_values_of_a_parameter_that_is_differentiated(self):
        """The gradient of a would silently be taken for 0."""
        points = torch.rand(4, 2, dtype=torch.float64)
        with pytest.raises(InvalidInput, match="parameter under a derivative"):
            Darcy(2).residual_at_points(lambda x: x[:, 0] ** 2, points, {"a": torch.ones(4).double()})
        scalar = Darcy(2).residual_at_points(
            lambda x: x[:, 0] ** 2, points, {"a": torch.tensor(2.0).double()}
        )
        torch.testing.assert_close(scalar, torch.full((4,), -5.0, dtype=torch.float64))

    def test_an_unknown_cut_off_from_the_points(self):
        with pytest.raises(InvalidInput, match="values without a gradient"):
            Poisson(1).residual_at_points(lambda x: x.detach()[:, 0] ** 2, torch.rand(4, 1), {"f": 0.0})

    def test_unknown_axis(self):
        class Wrong(Problem):
            domain = Box(x=(0, 1))

            def residual(self, u, at, p):
                return D(u, "z", 2)

        for evaluate in (
            lambda: Wrong().residual_on_grid(torch.zeros(1, 9), Wrong().grid(9), {}),
            lambda: Wrong().residual_at_points(lambda x: x[:, 0], torch.rand(3, 1), {}),
        ):
            with pytest.raises(InvalidInput, match="axis of D: got 'z'"):
                evaluate()

    @pytest.mark.parametrize("name", ["at.q", "p.q"])
    def test_unknown_name(self, name):
        class Wrong(Problem):
            domain = Box(x=(0, 1))

            def residual(self, u, at, p):
                return u + eval(name)

        with pytest.raises(InvalidInput, match="got 'q'"):
            Wrong().residual_on_grid(torch.zeros(1, 9), Wrong().grid(9), {})

    def test_order_and_bare_tensor(self):
        with pytest.raises(InvalidInput, match="order of D"):
            D(1.0, "x", 0)
        with pytest.raises(InvalidInput, match="lost its coordinates"):
            D(torch.zeros(3), "x")

    def test_tensor_in_a_grid_residual(self):
        class Wrong(Problem):
            domain = Box(x=(0, 1))

            def residual(self, u, at, p):
                return u * torch.zeros(9)

        with pytest.raises(InvalidInput, match="operand of a function on a grid"):
            Wrong().residual_on_grid(torch.zeros(1, 9), Wrong().grid(9), {})

    def test_shape_of_points(self):
        with pytest.raises(InvalidInput, match="shape of points"):
            Poisson(2).residual_at_points(lambda x: x[:, 0], torch.rand(3, 1), {"f": 0.0})

    def test_box(self):
        for wrong in (lambda: Box(), lambda: Box(x=(1, 0)), lambda: Box(x=(0, 1), periodic=("y",))):
            with pytest.raises(InvalidInput):
                wrong()

    def test_names_of_unknowns(self):
        with pytest.raises(InvalidInput, match=r"Stokes.fields: .*one for each unknown"):

            class Stokes(Problem):
                fields = ("u", "u")
