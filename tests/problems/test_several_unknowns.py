"""Equations in time for several unknowns, against exact solutions."""

from __future__ import annotations

import itertools
import math

import pytest
import sympy
import torch

from pdeflow.errors import InvalidInput
from pdeflow.linalg import Status
from pdeflow.problems import (
    AllenCahn,
    Constant,
    D,
    Evolution,
    GaussianBumps,
    GaussianField,
    GrayScott,
    Parameter,
    Uniform,
    etdrk4,
    manufacture,
)
from pdeflow.problems.domain import unit_box
from pdeflow.problems.spectral_function import values_of, wave_numbers
from pdeflow.problems.spectral_rate import Rate, linear_symbol

TAU = 2 * math.pi


def numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


class Coupled(Evolution):
    """u_t = a u_xx + v - u / 2,  v_t = a v_xx / 2 + v_x - 2 u: each mode is a system of two equations."""

    domain = unit_box(1, periodic=True)
    fields = ("u", "v")
    a = Parameter(Uniform(0.01, 0.1))
    u0 = Parameter(GaussianField())
    v0 = Parameter(GaussianField())

    def rate(self, w, p):
        return p.a * D(w.u, "x", 2) + w.v - w.u / 2, p.a / 2 * D(w.v, "x", 2) + D(w.v, "x") - 2 * w.u


def coupled(grid, a: torch.Tensor, start: torch.Tensor, t: float) -> torch.Tensor:
    """The solution (n, 2, *grid.shape), by the exponential of the matrix of each mode."""
    (k,) = wave_numbers(grid, torch.device("cpu"))
    decay, one = a[:, None] * k**2, torch.ones(len(a), len(k), dtype=torch.float64)
    rows = [[-decay - 0.5 * one, one], [-2 * one, -decay / 2 + 1j * k]]
    matrix = torch.stack([torch.stack([e + 0j for e in row], -1) for row in rows], -2)
    v = torch.fft.rfft(start, norm="forward")[..., : len(k)].movedim(1, -1)
    v = (torch.linalg.matrix_exp(matrix * t) @ v[..., None])[..., 0].movedim(-1, 1)
    return values_of(v, grid)


def coupled_start(grid) -> torch.Tensor:
    x = grid.coordinates()[0]
    u = torch.exp(torch.sin(TAU * x))
    return torch.stack([torch.stack([u, 3 * torch.cos(TAU * x)]), torch.stack([u * 0, 1 / (2 + u)])])


def test_a_linear_system_is_that_of_its_matrix_exponentials() -> None:
    problem, a = Coupled(), numbers(0.02, 0.1)
    grid = problem.grid(41)
    start = coupled_start(grid)
    path = problem.evolve(grid, {"a": a, "u0": start[:, 0], "v0": start[:, 1]}, 0.8, 3, rtol=1e-9)
    assert path.u.shape == (2, 3, 2, 41)
    assert (path.status == int(Status.CONVERGED)).all()
    scale = path.u.norm(dim=3).amax(dim=1)
    for column, t in enumerate(path.times.tolist()):
        exact = coupled(grid, a, start, t)
        torch.testing.assert_close(path.u[:, column], exact, rtol=0, atol=2e-9)
        worst = ((path.u[:, column] - exact).norm(dim=2) / scale).amax(dim=1)
        assert column == 0 or (worst < path.error).all()
    for row in range(2):
        one = {"a": a[row : row + 1], "u0": start[row : row + 1, 0], "v0": start[row : row + 1, 1]}
        alone = problem.evolve(grid, one, 0.8, 3, rtol=1e-9)
        torch.testing.assert_close(alone.u[0], path.u[row], rtol=0, atol=1e-12)


def test_it_is_of_fourth_order_in_time() -> None:
    problem, a = Coupled(), numbers(0.02, 0.1)
    grid = problem.grid(21)
    start = coupled_start(grid)
    exact, errors = coupled(grid, a, start, 1.0), []
    p = problem.spectral_parameters(grid, {"a": a, "u0": 0.0, "v0": 0.0}, None)
    v = torch.fft.rfft(start, norm="forward")
    for steps in (16, 32, 64):
        end = etdrk4.fixed_steps(Rate(problem, grid, p, v.device), v, 1.0, 2, steps)[:, -1]
        errors.append(float((values_of(end, grid) - exact).abs().max()))
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert all(3.7 < order < 4.4 for order in orders), (errors, orders)


def test_the_diagonal_of_the_linear_terms_is_integrated_exactly() -> None:
    problem = Coupled()
    grid = problem.grid(9)
    p = problem.spectral_parameters(grid, {"a": numbers(0.02, 0.1), "u0": 0.0, "v0": 0.0}, None)
    k = TAU * torch.arange(5, dtype=torch.float64)
    rows = [torch.stack([-a * k**2 - 0.5 + 0j, -a / 2 * k**2 + 1j * k]) for a in (0.02, 0.1)]
    symbol = linear_symbol(problem, grid, p, torch.device("cpu"))
    torch.testing.assert_close(symbol, torch.stack(rows))


class Wave(Evolution):
    """u_t = v, v_t = u_xx."""

    domain = unit_box(1, periodic=True)
    fields = ("u", "v")
    u0 = Parameter(GaussianField())
    v0 = Parameter(Constant(0.0))

    def rate(self, w, p):
        return w.v, D(w.u, "x", 2)


def test_an_unknown_may_pass_through_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """u = cos(k x) cos(k t): u vanishes at the second instant, v at the others."""
    monkeypatch.setattr(etdrk4, "MOST_STEPS", 2**14)
    problem = Wave()
    grid = problem.grid(16)
    shape = torch.cos(TAU * grid.coordinates()[0])
    path = problem.evolve(grid, {"u0": shape[None]}, 0.5, 3, rtol=1e-9)
    assert path.status[0] == int(Status.CONVERGED)
    exact = torch.stack([torch.stack([shape, 0 * shape]), torch.stack([0 * shape, -TAU * shape])])
    torch.testing.assert_close(path.u[0, :2], exact, rtol=0, atol=1e-8)


class Unequal(Evolution):
    """u_t = -u / 10, large; v_t = v (1 - v), small, whose start is one over 1 + c."""

    domain = unit_box(1, periodic=True)
    fields = ("u", "v")
    u0 = Parameter(Constant(1e6))
    v0 = Parameter(Uniform(0.01, 0.1))

    def rate(self, w, p):
        return -w.u / 10, w.v * (1 - w.v)


def test_the_error_of_each_unknown_counts_by_its_own_size() -> None:
    problem = Unequal()
    v0 = numbers(0.01, 0.1)
    path = problem.evolve(problem.grid(4), {"v0": v0}, 6.0, rtol=1e-8)
    exact = (1 / (1 + (1 / v0 - 1) * math.exp(-6.0)))[:, None].expand(2, 4)
    torch.testing.assert_close(path.u[:, -1, 1], exact, rtol=1e-8, atol=0)
    decayed = torch.full((2, 4), 1e6 * math.exp(-0.6), dtype=torch.float64)
    torch.testing.assert_close(path.u[:, -1, 0], decayed, rtol=1e-8, atol=0)
    assert (path.error <= 1e-8).all()


class Burst(Evolution):
    """u_t = u^2, which ends at the time 1 / u0, beside v_t = u v."""

    domain = unit_box(1, periodic=True)
    fields = ("u", "v")
    u0 = Parameter(Uniform(0.1, 2.0))
    v0 = Parameter(Constant(1.0))

    def rate(self, w, p):
        return w.u**2, w.u * w.v


def test_a_sample_that_blows_up_leaves_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etdrk4, "MOST_STEPS", 256)
    problem = Burst()
    path = problem.evolve(problem.grid(4), {"u0": numbers(2.0, 0.1)}, 1.0)
    assert [Status(int(s)).name for s in path.status] == ["BREAKDOWN", "CONVERGED"]
    # v / v0 = u / u0 = 1 / (1 - u0 t)
    exact = torch.tensor([[0.1 / 0.9] * 4, [1 / 0.9] * 4], dtype=torch.float64)
    torch.testing.assert_close(path.u[1, -1], exact)


def test_the_residual_at_points_of_an_exact_solution_vanishes() -> None:
    def wave(points: torch.Tensor) -> torch.Tensor:
        x, t = TAU * points[:, 0], TAU * points[:, 1]
        return torch.stack([torch.cos(x) * torch.cos(t), -TAU * torch.cos(x) * torch.sin(t)], dim=1)

    points = torch.rand(20, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    residual = Wave().residual_at_points(wave, points, {"u0": 0.0})
    assert residual.shape == (20, 2)
    assert residual.abs().max() < 1e-12
    off = Wave().residual_at_points(lambda x: wave(x) * numbers(1.0, 2.0), points, {"u0": 0.0})
    # u_t - 2 v and 2 v_t - u_xx, with u_t = v
    torch.testing.assert_close(off[:, 0], -wave(points)[:, 1])


def test_the_statement_is_a_system() -> None:
    problem = Coupled()
    first, second = problem.latex().split(" \\\\\n")
    assert r"\frac{\partial}{\partial t} u" in first
    assert r"\frac{\partial}{\partial t} v" in second
    assert first.endswith(" = 0")
    assert problem.describe()["equation"] == problem.latex()
    assert len(problem.statement()["residual"]) == 2

    a, t, x, kt, kx = sympy.symbols("a t x k_t k_x", real=True)
    u, v = (sympy.Function(name)(x, t) for name in "uv")
    linear = [u.diff(t) - a * u.diff(x, 2) - v + u / 2, v.diff(t) - a / 2 * v.diff(x, 2) - v.diff(x) + 2 * u]
    assert sympy.simplify(problem.linear_part() - sympy.Matrix(linear)) == sympy.zeros(2, 1)
    i = sympy.I
    symbol = [
        [i * kt + a * kx**2 + sympy.Rational(1, 2), -1],
        [2, i * kt + a * kx**2 / 2 - i * kx],
    ]
    assert sympy.simplify(problem.symbol() - sympy.Matrix(symbol)) == sympy.zeros(2, 2)


def test_a_parameter_may_have_any_name() -> None:
    """The symbol is a derivative by a small number, which must not be the width epsilon of the fronts."""
    epsilon, kt, kx = sympy.symbols("epsilon k_t k_x", real=True)
    assert sympy.expand(AllenCahn(1).symbol() - (sympy.I * kt + epsilon**2 * kx**2 - 1)) == 0


def test_parameters_may_have_the_same_random_numbers() -> None:
    class Patches(GrayScott):
        """The same patches in u0 and v0, others in f."""

        def __init__(self) -> None:
            super().__init__()
            self.f = Parameter(GaussianBumps(0.0, 0.25, (10, 40), (0.05, 0.1)))

    problem = Patches()
    grid = problem.grid(32)
    drawn = problem.sample([4, 7], grid, seed=1)
    torch.testing.assert_close(1 - drawn["u0"], 2 * drawn["v0"])
    assert (drawn["v0"] - drawn["f"]).abs().max() > 0.1
    assert (drawn["v0"][0] - drawn["v0"][1]).abs().max() > 0.1
    assert "those of u0" in problem.describe()["parameters"]["v0"]
    problem.v0 = Parameter(GaussianBumps(), same_draw_as="u1")
    with pytest.raises(InvalidInput, match="same_draw_as of 'v0': got 'u1'"):
        problem.sample([0], grid, seed=0)


def test_what_cannot_be_is_refused() -> None:
    problem = Coupled()
    grid, flat = problem.grid(8), torch.zeros(1, 8, dtype=torch.float64)
    points = torch.rand(3, 2, dtype=torch.float64)
    given = {"a": 0.1, "u0": flat, "v0": flat}
    with pytest.raises(InvalidInput, match=r"shape of u: got \(1, 8\), expected \(n, \*\(2, 8\)\)"):
        problem.rate_on_grid(flat, grid, given)
    with pytest.raises(InvalidInput, match=r"shape of u\(points\).*a column for each of u, v"):
        problem.residual_at_points(lambda x: x[:, 0], points, {"a": 0.1, "u0": 0.0, "v0": 0.0})
    with pytest.raises(InvalidInput, match="residual_at_points"):
        problem.residual_on_grid(flat, grid, given)
    with pytest.raises(InvalidInput, match="Use evolve"):
        problem.discretise(grid, given)
    with pytest.raises(InvalidInput, match="one unknown"):
        manufacture(problem, lambda at: at.x, given, source="a")

    class Lone(Coupled):
        def rate(self, w, p):
            return D(w.u, "x", 2)

    class Three(Coupled):
        def rate(self, w, p):
            return w.u, w.v, w.u

    class Stranger(Coupled):
        def rate(self, w, p):
            return w.u, w.z

    for wrong, words in (
        (Lone(), "Lone.rate: got 'SpectralFunction', expected a tuple of 2 expressions, for u, v"),
        (Three(), "Three.rate: got '3 of them'"),
        (Stranger(), "field: got 'z', expected one of u, v"),
    ):
        with pytest.raises(InvalidInput, match=words):
            wrong.evolve(grid, given, 1.0)

    class Unstarted(Wave):
        fields = ("u", "q")

    with pytest.raises(InvalidInput, match="'q0' too, the initial field of 'q'"):
        Unstarted().evolve(grid, {"u0": flat}, 1.0)
    for names in (("u", "u"), (), "uv", ("_u", "v"), ("u v",)):
        with pytest.raises(InvalidInput, match="a tuple of names"):
            type("Wrong", (Coupled,), {"fields": names})
