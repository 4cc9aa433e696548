"""Robin and Neumann conditions: systems against half cells summed by hand, and what solvers make of them."""

from __future__ import annotations

import itertools
import json
import math
import pickle

import numpy as np
import pytest
import torch

from pdeflow.errors import InvalidInput
from pdeflow.linalg import (
    CG,
    GMRES,
    IC,
    ILU,
    FastPoisson,
    Multigrid,
    NestedDissection,
    SparseDirect,
    Status,
    Tag,
    solve,
)
from pdeflow.problems import (
    Box,
    Constant,
    D,
    Darcy,
    Dirichlet,
    GaussianField,
    Helmholtz,
    ImpedanceHelmholtz,
    LogNormalField,
    Neumann,
    NotLinear,
    Parameter,
    Poisson,
    Problem,
    Robin,
    cos,
    evaluate,
    exp,
    newton,
    sin,
)

SPD = {Tag.SYMMETRIC, Tag.POSITIVE_DEFINITE}


def on(problem: Problem, *conditions) -> Problem:
    problem.conditions = conditions
    return problem


def dense(operator, sample: int = 0) -> torch.Tensor:
    return torch.from_numpy(operator.to_scipy(sample).toarray())


def half_cells(a, f, h, closed, c, g):
    """-div(a grad u) = f integrated over the part of each cell in the box, over h^d, node by node.

    ``closed`` says of every axis and end whether du/dn + c u = g there, else u = 0; c and g are (axis, end)
    to an array of all nodes.
    """
    dim, sizes = a.ndim, a.shape
    nodes = [
        node
        for node in np.ndindex(*sizes)
        if all(closed[k][e] or node[k] != (n - 1) * e for k, n in enumerate(sizes) for e in (0, 1))
    ]
    number = {node: i for i, node in enumerate(nodes)}
    matrix, rhs = np.zeros((len(nodes),) * 2), np.zeros(len(nodes))
    for node, row in number.items():
        widths = [0.5 if node[k] in (0, sizes[k] - 1) else 1.0 for k in range(dim)]
        rhs[row] = f[node] * math.prod(widths)
        for k, end in itertools.product(range(dim), (0, 1)):
            area = math.prod(widths) / widths[k]
            if node[k] == (sizes[k] - 1) * end:  # the face is the boundary: a du/dn = a (g - c u)
                matrix[row, row] += area * a[node] * c[k, end][node] / h
                rhs[row] += area * a[node] * g[k, end][node] / h
                continue
            other = tuple(i + (2 * end - 1 if j == k else 0) for j, i in enumerate(node))
            flux = area * 0.5 * (a[node] + a[other]) / h**2
            matrix[row, row] += flux
            if other in number:
                matrix[row, number[other]] -= flux
    return matrix, rhs


CLOSED = {
    1: [((True, True),), ((True, False),), ((False, True),)],
    2: [((True, True), (True, True)), ((True, False), (False, True)), ((False, False), (True, True))],
    3: [((True, False), (True, True), (False, False))],
}


@pytest.mark.parametrize(("dim", "closed"), [(dim, closed) for dim in CLOSED for closed in CLOSED[dim]])
def test_darcy_equals_half_cells_by_hand(dim, closed):
    problem = Darcy(dim, coefficient=LogNormalField(), source=GaussianField())
    natural = [(k, e) for k in range(dim) for e in (0, 1) if closed[k][e]]
    problem.conditions = (
        Dirichlet(0.0),
        *(
            Robin(
                lambda at, p, k=k: (k + 1) * p.a + at.x**2,
                lambda at, p, e=e: e + sin(at.x) + p.a,
                on="xyz"[k] + "-+"[e],
            )
            for k, e in natural
        ),
    )
    grid = problem.grid({1: 9, 2: 7, 3: 5}[dim])
    parameters = problem.sample([3, 4], grid, seed=1)
    system = problem.discretise(grid, parameters)
    assert system.operator.tags == SPD
    x = grid.mesh()["x"].numpy()
    for sample in range(2):
        a, f = parameters["a"][sample].numpy(), parameters["f"][sample].numpy()
        c = {(k, e): (k + 1) * a + x**2 for k, e in natural}
        g = {(k, e): e + np.sin(x) + a for k, e in natural}
        matrix, rhs = half_cells(a, f, grid.spacing[0], closed, c, g)
        np.testing.assert_allclose(dense(system.operator, sample).numpy(), matrix, rtol=1e-13, atol=1e-11)
        np.testing.assert_allclose(system.rhs[sample].flatten().numpy(), rhs, rtol=1e-12, atol=1e-11)


class Everything(Problem):
    """Mixed derivatives of both orders, products of the unknown, a third of the sides of each kind."""

    b = Parameter(LogNormalField())
    f = Parameter(GaussianField())

    def __init__(self, periodic: tuple[str, ...] = ()) -> None:
        self.domain = Box(x=(0, 1), y=(-1, 1), periodic=periodic)
        self.conditions = (Robin(lambda at, p: p.b + 1, lambda at, p: at.y * p.f),)
        if not periodic:
            self.conditions += (Dirichlet(lambda at, p: 2 + at.x, on="x+"), Neumann(3.0, on="y+"))

    def residual(self, u, at, p):
        flux_x = (1 + p.b) * D(u, "x") + 0.5 * cos(at.y) * D(u, "y")
        flux_y = 0.5 * cos(at.y) * D(u, "x") + 3 * D(u, "y")
        drift = D(p.b * u, "x") + D(D(u, "y"), "x") + D(p.b * u, "y", 2)
        return -D(flux_x, "x") - D(flux_y, "y") + drift + p.b * u - p.f


@pytest.mark.parametrize("periodic", [(), ("x",)])
@pytest.mark.parametrize("points", [(3, 3), (5, 7), (10, 9)])
def test_systems_are_the_residual_column_by_column(periodic, points):
    problem = Everything(periodic)
    grid = problem.grid(points)
    parameters = problem.sample([0], grid, seed=3)
    system = problem.discretise(grid, parameters)
    size = system.operator.size
    at_zero = problem.residual_on_grid(system.embed(torch.zeros_like(system.rhs)), grid, parameters)
    torch.testing.assert_close(-at_zero, system.rhs)
    u = system.embed(torch.eye(size, dtype=torch.float64).reshape(size, *system.operator.shape))
    columns = (problem.residual_on_grid(u, grid, parameters) - at_zero).flatten(1)
    torch.testing.assert_close(dense(system.operator), columns.T, rtol=1e-11, atol=1e-9)


class Powers(Everything):
    """An equation of the square of the unknown, and of twice its reciprocal, however they are written."""

    m = Parameter(Constant(2.0))

    def __init__(self, written: str) -> None:
        super().__init__()
        self.written = written

    def residual(self, u, at, p):
        if self.written == "products":
            square, reciprocal = u * u, 2 / u
        else:
            square, reciprocal = u**p.m, p.m * u ** (1 - p.m)
        mixed = D(p.b * D(square, "x"), "y") + D(D(reciprocal, "y"), "x")
        return D(square, "x", 2) + D(square, "y", 2) + D(reciprocal, "x", 2) + mixed


def test_a_power_with_a_parameter_as_exponent_is_the_product_up_to_the_corners():
    products, powers = Powers("products"), Powers("powers")
    grid = products.grid((6, 7))
    parameters = products.sample([0, 1], grid, seed=5)
    u = 1 + torch.rand((2, 6, 7), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = products.residual_on_grid(u, grid, parameters)
    torch.testing.assert_close(powers.residual_on_grid(u, grid, parameters), expected, rtol=1e-11, atol=1e-9)


def test_values_meet_in_corners():
    """Dirichlet values hold in corners with other sides, and the later of two conditions on one side."""
    problem = on(Poisson(2), Neumann(), Dirichlet(1.0, on=("x-", "y-")), Robin(2.0, on="y-"))
    grid = problem.grid(5)
    system = problem.discretise(grid, problem.sample([0], grid, seed=0))
    assert system.operator.shape == (4, 5)
    u = system.embed(torch.full((1, 4, 5), 7.0, dtype=torch.float64))
    assert (u[:, 0] == 1).all()
    assert (u[:, 1:] == 7).all()
    system = on(problem, Robin(2.0), Dirichlet(3.0)).discretise(grid, problem.sample([0], grid, seed=0))
    assert system.operator.shape == (3, 3)
    assert (system.boundary[:, 0] == 3).all()


def test_without_values_anywhere_a_constant_is_left_open():
    """The exact solution of mean 0 under Neumann conditions alone, and one that no solution has."""
    problem = on(Poisson(2), Neumann())
    errors = []
    for n in (9, 17, 33):
        grid = problem.grid(n)
        system = problem.discretise(
            grid, {"f": lambda at: math.pi**2 * cos(math.pi * at.x) * 2 * cos(math.pi * at.y)}
        )
        A = system.operator
        assert A.tags == {Tag.SYMMETRIC, Tag.CONSTANT_NULL_SPACE}
        assert A(torch.ones_like(system.rhs)).abs().max() < 1e-9
        u = system.embed(solve(A, system.rhs, solver=GMRES(), preconditioner=FastPoisson(dtype=None)).x)
        exact = evaluate(lambda at: cos(math.pi * at.x) * cos(math.pi * at.y), grid)
        errors.append(float((u - exact).abs().max()))
    assert math.log2(errors[-2] / errors[-1]) > 1.9
    system = problem.discretise(grid, {"f": 1.0})
    failed = solve(A, system.rhs, solver=GMRES(), on_failure="return")
    assert failed.status.tolist() != [int(Status.CONVERGED)]


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize(
    "method",
    [
        (CG(), Multigrid()),
        (CG(), Multigrid(smoother="chebyshev")),
        (CG(), IC()),
        (CG(), FastPoisson()),
        (GMRES(), ILU()),
        (GMRES(), SparseDirect()),
        (GMRES(), NestedDissection()),
    ],
    ids=str,
)
def test_solvers(dim, method):
    if isinstance(method[1], NestedDissection) and dim != 2:
        pytest.skip("for plane stencils")
    problem = on(Darcy(dim, coefficient=LogNormalField()), Neumann(1.0), Robin(2.0, 1.0, on="x+"))
    if dim > 1:
        problem.conditions += (Dirichlet(1.0, on="y-"),)
    grid = problem.grid({1: 65, 2: 17, 3: 9}[dim])
    system = problem.discretise(grid, problem.sample([0, 1], grid, seed=4))
    assert system.operator.tags == SPD
    found = solve(system.operator, system.rhs, solver=method[0], preconditioner=method[1], rtol=1e-10)
    if isinstance(method[1], Multigrid):
        assert found.iterations.max() <= 14
    for k in range(2):
        expected = torch.linalg.solve(dense(system.operator, k), system.rhs[k].flatten())
        error = (found.x[k].flatten() - expected).abs().max()
        assert error < 1e-7 * expected.abs().max()


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("reaction", [0.0, 4.0])
def test_fast_transforms_know_the_ends(dim, reaction):
    """Constant coefficients with walls of both kinds are inverted in one step."""
    problem = on(Helmholtz(dim, Constant(reaction)), Neumann(), Dirichlet(2.0, on="x-"))
    grid = problem.grid(9)
    system = problem.discretise(grid, problem.sample([0], grid, seed=0))
    found = solve(system.operator, system.rhs, solver=GMRES(), preconditioner=FastPoisson(dtype=None))
    assert found.iterations.tolist() == [1]
    expected = torch.linalg.solve(dense(system.operator), system.rhs.flatten())
    torch.testing.assert_close(found.x.flatten(), expected, rtol=1e-6, atol=1e-6)


def test_newton_solves_what_is_linear_in_one_step():
    problem = Everything()
    grid = problem.grid(9)
    parameters = problem.sample([0, 1], grid, seed=5)
    system = problem.discretise(grid, parameters)
    expected = torch.stack(
        [torch.linalg.solve(dense(system.operator, k), system.rhs[k].flatten()) for k in (0, 1)]
    )
    found = newton(problem, grid, parameters, solver=GMRES(), preconditioner=SparseDirect(), rtol=1e-9)
    assert found.converged.all()
    assert found.iterations.max() <= 2
    torch.testing.assert_close(
        found.u, system.embed(expected.reshape(system.rhs.shape)), rtol=1e-6, atol=1e-6
    )


def test_a_plane_wave_goes_out():
    """1D: what comes in at one end leaves by the other, and nothing comes back."""
    k, errors = 8.0, []
    problem = ImpedanceHelmholtz(1, Constant(k))
    problem.conditions = (*problem.conditions, Robin(-1j * k, -2j * k, on="x-"))
    for n in (33, 65, 129):
        grid = problem.grid(n)
        system = problem.discretise(grid, {"f": 0.0})
        u = system.embed(torch.linalg.solve(dense(system.operator), system.rhs.flatten()).reshape(1, -1))
        errors.append(float((u - torch.exp(1j * k * grid.coordinates()[0])).abs().max()))
    assert math.log2(errors[-2] / errors[-1]) > 1.9
    assert errors[-1] < 0.02


def test_what_a_source_sends_out_is_that_of_the_whole_line():
    """1D: the integral of the outgoing fundamental solution, i exp(i k |x - y|) / (2 k)."""
    k = 9.0
    problem = ImpedanceHelmholtz(1, Constant(k))
    grid = problem.grid(513)
    system = problem.discretise(grid, {"f": lambda at: exp(at.x) * cos(5 * at.x)})
    u = system.embed(solve(system.operator, system.rhs, solver=GMRES(), preconditioner=ILU()).x)[0]
    y, weights = np.polynomial.legendre.leggauss(200)
    for i in (0, 100, 256, 512):
        x, total = i / 512, 0.0
        for low, high in ((0.0, x), (x, 1.0)):
            at = low + (high - low) * (y + 1) / 2
            kernel = 1j * np.exp(1j * k * np.abs(x - at)) / (2 * k)
            total += (high - low) / 2 * np.sum(weights * kernel * np.exp(at) * np.cos(5 * at))
        assert abs(complex(u[i]) - total) < 2e-4 * float(u.abs().max())


def test_no_energy_is_made():
    """Im of (A u, u) is minus k times the norm on the boundary: what leaves is what the source gives."""
    problem = ImpedanceHelmholtz(2, Constant(12.0))
    grid = problem.grid(17)
    system = problem.discretise(grid, problem.sample([0], grid, seed=0))
    A = dense(system.operator)
    h = grid.spacing[0]
    lost = torch.diagonal(A.imag).reshape(17, 17)
    expected = torch.zeros(17, 17, dtype=torch.float64)
    for side in (expected[0], expected[-1], expected[:, 0], expected[:, -1]):
        side[1:-1] -= 12.0 / h
        side[[0, -1]] -= 6.0 / h
    torch.testing.assert_close(lost, expected)
    torch.testing.assert_close(A, A.T)


def test_it_says_what_it_is():
    problem = on(Darcy(2), Robin(lambda at, p: p.a + 1, 2.0), Neumann(on="x-"), Dirichlet(1.0, on="y-"))
    card = problem.describe()
    assert json.loads(json.dumps(card)) == card
    assert card["conditions"] == [
        "du/dn + u*(a(x, y) + 1) = 2.0 on the whole boundary",
        "du/dn = 0.0 on x-",
        "Dirichlet, 1 on y-",
    ]
    statements = [
        json.dumps(on(Darcy(2), *conditions).statement())
        for conditions in (
            (Dirichlet(0.0),),
            (Neumann(0.0),),
            (Robin(0.0),),
            (Robin(1.0),),
            (Robin(1.0, 2.0),),
            (Robin(lambda at, p: p.a),),
            (Robin(1.0, on=("x-", "x+", "y-")),),
        )
    ]
    assert statements[1] == statements[2]
    assert len(set(statements)) == 6
    again = pickle.loads(pickle.dumps(ImpedanceHelmholtz(2)))
    assert again.statement() == ImpedanceHelmholtz(2).statement()


def test_mistakes_are_named():
    problem = on(Poisson(1), Neumann(on="y-"))
    grid = problem.grid(9)
    with pytest.raises(InvalidInput, match=r"Neumann\.on"):
        problem.discretise(grid, {"f": 1.0})
    with pytest.raises(InvalidInput, match=r"x\+ has none"):
        on(problem, Neumann(on="x-")).discretise(grid, {"f": 1.0})
    with pytest.raises(InvalidInput, match="complex_valued = True"):
        on(problem, Robin(1j)).discretise(grid, {"f": 1.0})
    with pytest.raises(InvalidInput, match="complex_valued = True"):
        on(problem, Robin(1.0, 1j)).discretise(grid, {"f": 1.0})
    for bad in (math.nan, math.inf):
        with pytest.raises(InvalidInput, match=r"Robin\.coefficient: .*a finite number"):
            on(problem, Robin(bad)).discretise(grid, {"f": 1.0})
        with pytest.raises(InvalidInput, match=r"Neumann\.value: .*a finite number"):
            on(problem, Neumann(bad)).discretise(grid, {"f": 1.0})
        with pytest.raises(InvalidInput, match="NaN or Inf"):
            on(problem, Neumann(lambda at, p, bad=bad: bad * (1 + at.x))).discretise(grid, {"f": 1.0})

    class Third(Problem):
        domain = Box(x=(0, 1))
        conditions = (Robin(1.0),)

        def residual(self, u, at, p):
            return D(u, "x", 3) - 1.0

    with pytest.raises(InvalidInput, match="wider than one node"):
        Third().discretise(grid, {})

    class Square(Problem):
        domain = Box(x=(0, 1))
        conditions = (Robin(1.0),)

        def residual(self, u, at, p):
            return -D(u, "x", 2) + u**2

    with pytest.raises(NotLinear):
        Square().discretise(grid, {})
