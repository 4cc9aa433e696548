"""Flow in a periodic square: the statement against derivatives by autograd, and against exact solutions."""

from __future__ import annotations

import itertools
import math

import pytest
import sympy
import torch

from pdeflow.errors import InvalidInput
from pdeflow.linalg import Status
from pdeflow.problems import Constant, GaussianField, NavierStokes, PlaneWave, etdrk4, inverse_laplacian
from pdeflow.problems.spectral_function import SpectralFunction
from pdeflow.problems.spectral_rate import Rate
from pdeflow.problems.symbolic import InverseLaplacian

TAU = 2 * math.pi


def stream(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return torch.sin(TAU * x + 0.2) * torch.cos(2 * TAU * y) / 20 + torch.cos(TAU * (x - 3 * y)) / 90


def first(value: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    return torch.autograd.grad(value.sum(), at, create_graph=True)[0]


def test_the_rate_is_that_of_a_known_stream_function() -> None:
    """Written as the product of velocity and gradient, not as a divergence, by automatic differentiation."""
    problem, nu = NavierStokes(), 0.02
    grid = problem.grid([24, 20])
    x, y = (c.clone().requires_grad_() for c in grid.mesh().values())
    psi = stream(x, y)
    w = -(first(first(psi, x), x) + first(first(psi, y), y))
    diffusion = first(first(w, x), x) + first(first(w, y), y)
    transport = first(psi, y) * first(w, x) - first(psi, x) * first(w, y)
    f = 0.1 * (torch.sin(TAU * (x + y)) + torch.cos(TAU * (x + y)))
    exact = nu * diffusion + f - transport
    rate = problem.rate_on_grid(w.detach()[None], grid, {"nu": nu})
    torch.testing.assert_close(rate[0], exact.detach(), rtol=0, atol=1e-9 * float(exact.detach().abs().max()))


def test_decaying_vortices_are_exact() -> None:
    """An eigenfunction of the Laplacian does not transport itself (G. I. Taylor, 1923)."""
    problem = NavierStokes(Constant(0.01), PlaneWave(0.0, {"x": 1}))
    grid, stop = problem.grid(16), 0.5
    at = grid.mesh()
    start = torch.cos(TAU * at["x"]) * torch.sin(TAU * at["y"]) + torch.sin(TAU * (at["x"] + at["y"]))
    path = problem.evolve(grid, {"w0": start[None]}, stop)
    decay = math.exp(-0.01 * 2 * TAU**2 * stop)
    torch.testing.assert_close(path.u[0, -1], decay * start, rtol=0, atol=1e-12)


def test_a_forced_shear_flow_is_exact() -> None:
    """Kolmogorov's: w = f (1 - exp(-nu k^2 t)) / (nu k^2), from rest."""
    k, nu, stop = 2 * TAU, 0.05, 0.7
    problem = NavierStokes(Constant(nu), PlaneWave(3.0, {"y": 2}))
    grid = problem.grid(12)
    path = problem.evolve(grid, {"w0": torch.zeros(1, 12, 12, dtype=torch.float64)}, stop)
    f = 3.0 * torch.sin(k * grid.mesh()["y"])
    exact = f * (1 - math.exp(-nu * k**2 * stop)) / (nu * k**2)
    torch.testing.assert_close(path.u[0, -1], exact, rtol=1e-8, atol=1e-10)


def test_energy_and_enstrophy_stay_without_viscosity() -> None:
    problem = NavierStokes(
        Constant(1e-30), PlaneWave(0.0, {"x": 1}), GaussianField(alpha=6.0, tau=7.0, std=1.0)
    )
    grid = problem.grid(32)
    parameters = problem.sample(range(2), grid, seed=3)
    path = problem.evolve(grid, parameters, 1.0, rtol=1e-9)

    def invariants(w: torch.Tensor) -> torch.Tensor:
        psi = -inverse_laplacian(SpectralFunction.of(w, grid), grid.axes).values
        return torch.stack([(w * psi).mean(dim=(1, 2)), (w**2).mean(dim=(1, 2)), w.mean(dim=(1, 2))])

    # What does not lie among the kept modes is lost at the start.
    kept = SpectralFunction.of(path.u[:, 0], grid).values
    torch.testing.assert_close(invariants(path.u[:, 1]), invariants(kept), rtol=1e-8, atol=1e-14)


def test_it_is_solved_with_fourth_order_in_time_and_spectral_accuracy_in_space() -> None:
    problem = NavierStokes(Constant(5e-3), initial=GaussianField(alpha=4.0, tau=7.0, std=2.0, modes=12))

    def end(points: int, steps: int) -> torch.Tensor:
        grid = problem.grid(points)
        parameters = problem.sample([0], grid, seed=1)
        p = problem.spectral_parameters(grid, parameters, None)
        start = p.pop("w0").coefficients
        rate = Rate(problem, grid, p, start.device)
        last = etdrk4.fixed_steps(rate, start, 1.0, 2, steps)[:, -1]
        stride = points // 12
        return SpectralFunction(last, grid).values[0, ::stride, ::stride]

    finest = end(24, 256)
    errors = [float((end(24, steps) - finest).abs().max()) for steps in (16, 32, 64)]
    assert all(12 < a / b < 20 for a, b in itertools.pairwise(errors)), errors
    fine = end(72, 128)
    errors = [float((end(points, 128) - fine).abs().max()) for points in (24, 36, 48)]
    assert errors[1] < errors[0] / 20, errors
    assert errors[2] < errors[1] / 20, errors


def test_the_released_initial_field_has_the_stated_strength() -> None:
    """Of the released code: sum over modes k of 2 (7^1.5)^2 (4 pi^2 |k|^2 + 49)^-2.5, the mean left out."""
    k = torch.arange(-256, 257, dtype=torch.float64)
    terms = (TAU**2 * (k[:, None] ** 2 + k**2) + 49.0) ** -2.5
    variance = 2 * 7.0**3 * (float(terms.sum()) - 49.0**-2.5)
    w0 = NavierStokes().w0.distribution
    assert isinstance(w0, GaussianField)
    assert w0.std == pytest.approx(math.sqrt(variance), rel=1e-3)


def test_the_defaults_run_and_say_what_they_are() -> None:
    problem = NavierStokes()
    grid = problem.grid(32)
    path = problem.evolve(grid, problem.sample(range(2), grid, seed=0), 1.0, rtol=1e-5)
    assert (path.status == int(Status.CONVERGED)).all()
    assert r"\Delta^{-1}" in problem.latex()
    assert problem.describe()["parameters"]["f"].startswith("0.141421 sin(2 pi (1 x + 1 y)")


def test_it_has_no_residual_at_points() -> None:
    points = torch.rand(4, 3, dtype=torch.float64)
    with pytest.raises(InvalidInput, match="inverse_laplacian"):
        NavierStokes().residual_at_points(lambda at: at.sum(dim=1), points, {"w0": 0.0})


def test_the_inverse_laplacian_of_symbols_is_linear() -> None:
    x, y, a = (sympy.Symbol(name, real=True) for name in "xya")
    u, v = sympy.Function("u")(x, y), sympy.Function("v")(x, y)
    inverse = InverseLaplacian(2 * a * u + v + 3, x, y)
    assert inverse == 2 * a * InverseLaplacian(u, x, y) + InverseLaplacian(v, x, y)
    assert (
        inverse_laplacian(sympy.exp(sympy.I * (2 * x + 3 * y)), ("x", "y"))
        == -sympy.exp(sympy.I * (2 * x + 3 * y)) / 13
    )
    assert InverseLaplacian(u, x, y).diff(x) == InverseLaplacian(u.diff(x), x, y)


def test_a_linear_term_that_is_not_local_is_stepped() -> None:
    """Rossby waves, w_t = -b psi_x: the symbol is no polynomial, and the steps take it."""

    class Rossby(NavierStokes):
        name = "rossby"

        def rate(self, u, p):
            from pdeflow.problems import D

            return 5.0 * D(inverse_laplacian(u, ("x", "y")), "x")

    problem = Rossby()
    grid, stop = problem.grid(12), 0.8
    at = grid.mesh()
    phase = TAU * (at["x"] + 2 * at["y"])
    path = problem.evolve(grid, {"w0": torch.cos(phase)[None]}, stop, rtol=1e-9)
    # w = cos(k x + l y - s t) with s = 5 k / (k^2 + l^2)
    shift = 5.0 * TAU / (5 * TAU**2) * stop
    torch.testing.assert_close(path.u[0, -1], torch.cos(phase - shift), rtol=0, atol=1e-7)


def test_axes_of_the_inverse_laplacian_are_all_of_the_box() -> None:
    grid = NavierStokes().grid(8)
    u = SpectralFunction.of(torch.zeros(1, 8, 8, dtype=torch.float64), grid)
    with pytest.raises(InvalidInput, match="axes of inverse_laplacian"):
        inverse_laplacian(u, ("x",))
