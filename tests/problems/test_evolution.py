"""Equations in time against exact solutions, and against SciPy where there is none."""

from __future__ import annotations

import itertools
import json
import math
import pickle

import numpy as np
import pytest
import scipy.integrate
import scipy.special
import torch

from pdeflow.errors import InvalidInput
from pdeflow.linalg import Status
from pdeflow.problems import (
    Advection,
    AllenCahn,
    Box,
    Burgers,
    Constant,
    D,
    Dirichlet,
    Evolution,
    Fisher,
    GaussianField,
    GrayScott,
    Heat,
    KortewegDeVries,
    KuramotoSivashinsky,
    NavierStokes,
    Parameter,
    PlaneWave,
    Uniform,
    cos,
    etdrk4,
    exp,
    sin,
)
from pdeflow.problems.domain import unit_box
from pdeflow.problems.spectral_function import SpectralFunction
from pdeflow.problems.spectral_rate import Rate, linear_symbol

TAU = 2 * math.pi
FAMILIES = [
    *(Heat(dim) for dim in (1, 2, 3)),
    *(Advection(dim) for dim in (1, 2, 3)),
    *(AllenCahn(dim) for dim in (1, 2, 3)),
    Burgers(),
    Burgers(Uniform(0.01, 0.1)),
    Fisher(),
    GrayScott(),
    KortewegDeVries(),
    KuramotoSivashinsky(),
    NavierStokes(),
    NavierStokes(Uniform(1e-4, 1e-3), PlaneWave(1.0, {"y": 4})),
]
LOCAL = [k for k, problem in enumerate(FAMILIES) if not isinstance(problem, NavierStokes)]


@pytest.fixture(params=range(len(FAMILIES)), ids=lambda k: f"{FAMILIES[k].name}-{k}")
def family(request) -> Evolution:
    return FAMILIES[request.param]


def numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_it_describes_itself_and_goes_to_another_process(family: Evolution) -> None:
    card = family.describe()
    assert json.loads(json.dumps(card)) == card
    assert rf"\frac{{\partial}}{{\partial t}} {family.fields[0]}" in card["equation"]
    assert card["conditions"] == [f"periodic along {axis}" for axis in family.domain.axes]
    copy = pickle.loads(pickle.dumps(family))
    assert copy.statement() == family.statement()


@pytest.mark.parametrize("family", LOCAL, indirect=True)
def test_the_rate_on_the_grid_is_that_of_the_residual_at_points(family: Evolution) -> None:
    """The spectral algebra against automatic differentiation, on functions that the grid resolves."""
    axes, lengths = family.domain.axes, [b - a for a, b in zip(family.domain.lower, family.domain.upper)]
    grid = family.grid([24, 12, 12][: len(axes)])
    parameters = {name: 0.3 for name in family.parameters if name not in family.initials}

    def waves(points: torch.Tensor) -> torch.Tensor:
        phases = [TAU * points[:, k] / length for k, length in enumerate(lengths)]
        shifts = [0.4 + k for k in range(len(family.fields))]
        values = [0.2 + sum(torch.sin(phase + shift) for phase in phases) for shift in shifts]
        return torch.stack(values, dim=1) if len(values) > 1 else values[0]

    points = torch.stack([x.flatten() for x in grid.mesh().values()], dim=1)
    with_time = torch.cat([points, torch.zeros(len(points), 1, dtype=torch.float64)], dim=1)
    starts = dict.fromkeys(family.initials, 0.0)
    residual = family.residual_at_points(waves, with_time, parameters | starts).movedim(-1, 0)
    values = waves(points).movedim(-1, 0)
    rate = family.rate_on_grid(values.reshape(1, *values.shape[:-1], *grid.shape), grid, parameters)
    torch.testing.assert_close(rate.reshape(residual.shape), -residual, rtol=0, atol=1e-10)


def test_linear_modes_of_heat_and_advection_are_exact() -> None:
    for dim in (1, 2, 3):
        grid = unit_box(dim, periodic=True).grid([17, 16, 9][:dim])
        at = grid.mesh()
        d, t = numbers(0.01, 0.03), 0.7

        def mode(shift: list[float], at=at, dim=dim) -> torch.Tensor:
            waves = [torch.cos(TAU * 2 * (at[axis] - s) + 0.3) for axis, s in zip("xyz"[:dim], shift)]
            return math.prod(waves[1:], start=waves[0])

        start = mode([0.0] * dim).expand(2, *grid.shape)
        path = Heat(dim).evolve(grid, {"d": d, "u0": start}, t, 3)
        for k, time in enumerate((0.0, t / 2, t)):
            decay = torch.exp(-d * dim * (2 * TAU) ** 2 * time).reshape(2, *[1] * dim)
            torch.testing.assert_close(path.u[:, k], decay * start, rtol=0, atol=1e-13)
        assert path.times.tolist() == [0.0, t / 2, t]
        assert path.error.max() < 1e-12
        velocity = {f"v{axis}": numbers(0.5 + k, -0.3 * k) for k, axis in enumerate("xyz"[:dim])}
        path = Advection(dim).evolve(grid, {**velocity, "u0": start}, t)
        for row in range(2):
            moved = mode([float(v[row]) * t for v in velocity.values()])
            torch.testing.assert_close(path.u[row, -1], moved, rtol=0, atol=1e-12)


def cole_hopf(x: torch.Tensor, t: float, nu: float, a: float = 0.7) -> torch.Tensor:
    """-2 nu phi_x / phi with phi = 1 + a exp(-4 pi^2 nu t) cos(2 pi x), which solves the heat equation."""
    phase, amplitude = TAU * x, a * math.exp(-(TAU**2) * nu * t)
    return 2 * nu * amplitude * TAU * torch.sin(phase) / (1 + amplitude * torch.cos(phase))


def burgers(points: int, steps: int, nu: float = 0.1, stop: float = 0.2) -> float:
    """The error at the end with so many steps on so many nodes."""
    problem = Burgers(Constant(nu))
    grid = problem.grid(points)
    x = grid.coordinates()[0]
    p = problem.spectral_parameters(grid, {"u0": cole_hopf(x, 0.0, nu)[None]}, None)
    start = p.pop("u0").coefficients
    end = etdrk4.fixed_steps(Rate(problem, grid, p, start.device), start, stop, 2, steps)[:, -1]
    return float((SpectralFunction(end, grid).values[0] - cole_hopf(x, stop, nu)).abs().max())


def test_burgers_is_solved_with_fourth_order_in_time() -> None:
    errors = [burgers(64, steps) for steps in (8, 16, 32)]
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert all(3.7 < order < 4.4 for order in orders), (errors, orders)


def test_burgers_is_solved_with_spectral_accuracy_in_space() -> None:
    errors = [burgers(points, 512) for points in (12, 24, 48)]
    assert errors[1] < errors[0] ** 1.6
    assert errors[2] < 1e-10


def test_burgers_against_cole_hopf_with_a_viscosity_of_each_sample() -> None:
    problem, stop = Burgers(Uniform(0.01, 0.2)), 0.5
    grid, nu = problem.grid(96), numbers(0.03, 0.1, 0.2)
    x = grid.coordinates()[0]
    start = torch.stack([cole_hopf(x, 0.0, float(v)) for v in nu])
    path = problem.evolve(grid, {"nu": nu, "u0": start}, stop, 3, rtol=1e-8)
    assert (path.status == int(Status.CONVERGED)).all()
    for row, v in enumerate(nu.tolist()):
        exact = torch.stack([cole_hopf(x, t, v) for t in path.times.tolist()])
        relative = (path.u[row] - exact).norm(dim=1) / exact.norm(dim=1)
        assert relative.max() < path.error[row] <= 1e-8
        alone = problem.evolve(grid, {"nu": nu[row : row + 1], "u0": start[row : row + 1]}, stop, 3)
        torch.testing.assert_close(alone.u[0], path.u[row], rtol=0, atol=1e-12)
        assert alone.steps[0] == path.steps[row]


def test_korteweg_de_vries_moves_a_soliton() -> None:
    problem, c, stop = KortewegDeVries(length=40.0), 2.0, 1.5
    grid = problem.grid(160)

    def soliton(t: float) -> torch.Tensor:
        x = torch.remainder(grid.coordinates()[0] - c * t, 40.0) - 20.0
        return c / 2 / torch.cosh(math.sqrt(c) / 2 * x) ** 2

    path = problem.evolve(grid, {"u0": soliton(0.0)[None]}, stop, rtol=1e-7)
    assert float((path.u[0, -1] - soliton(stop)).abs().max()) < 1e-8


def test_allen_cahn_grows_as_its_reaction_where_nothing_varies() -> None:
    problem, stop, start = AllenCahn(1), 2.0, numbers(0.1, -0.5, 1.5, 0.0)
    grid = problem.grid(8)
    path = problem.evolve(grid, {"u0": start[:, None].expand(4, 8)}, stop, rtol=1e-9)
    exact = start * math.exp(stop) / torch.sqrt(1 + start**2 * (math.exp(2 * stop) - 1))
    torch.testing.assert_close(path.u[:, -1], exact[:, None].expand(4, 8), rtol=0, atol=1e-9)
    assert (path.u[3] == 0).all()


def test_allen_cahn_leaves_a_periodic_row_of_fronts_where_it_is() -> None:
    """u = A sn(x / b, m) with b^2 = epsilon^2 (1 + m), A^2 = 2 m / (1 + m), one period in the box."""
    m = 0.99
    width = 1.0 / (4 * scipy.special.ellipk(m) * math.sqrt(1 + m))
    problem = AllenCahn(1, width=Constant(width))
    grid = problem.grid(128)
    x = grid.coordinates()[0].numpy()
    sn = scipy.special.ellipj(x * 4 * scipy.special.ellipk(m), m)[0]
    start = torch.as_tensor(math.sqrt(2 * m / (1 + m)) * sn)[None]
    assert problem.rate_on_grid(start, grid, {}).abs().max() < 1e-10
    path = problem.evolve(grid, {"u0": start}, 1.0)
    torch.testing.assert_close(path.u[:, -1], start, rtol=0, atol=1e-9)


def test_kuramoto_sivashinsky_against_an_implicit_method_of_scipy() -> None:
    """Dense differentiation matrices of the trigonometric interpolant, stepped by Radau."""
    problem, n, stop = KuramotoSivashinsky(length=22.0), 48, 2.0
    grid = problem.grid(n)
    x = grid.coordinates()[0].numpy()
    start = np.cos(TAU * x / 22) + 0.5 * np.sin(2 * TAU * x / 22)
    k = TAU / 22.0 * np.fft.fftfreq(n, 1 / n)
    first, second, fourth = (
        np.real(np.fft.ifft((s * np.where(odd & (np.abs(k) == np.abs(k).max()), 0, k) ** power)[:, None]
                            * np.fft.fft(np.eye(n), axis=0), axis=0))
        for s, power, odd in ((1j, 1, True), (-1, 2, False), (1, 4, False))
    )  # fmt: skip
    found = scipy.integrate.solve_ivp(
        lambda t, u: -first @ (u**2 / 2) - second @ u - fourth @ u,
        (0.0, stop),
        start,
        method="Radau",
        jac=lambda t, u: -first * u - second - fourth,
        rtol=1e-9,
        atol=1e-10,
    )
    path = problem.evolve(grid, {"u0": torch.as_tensor(start)[None]}, stop)
    np.testing.assert_allclose(path.u[0, -1].numpy(), found.y[:, -1], rtol=0, atol=1e-6)


def test_fisher_moves_the_wave_of_ablowitz_and_zeppetella() -> None:
    """1 / (1 + exp(z))^2 with z = sqrt(rho / (6 nu)) (x - 5 sqrt(rho nu / 6) t): two of them, back to back.

    M. J. Ablowitz, A. Zeppetella, Bull. Math. Biol. 41, 1979. In the middle both are 1 to rounding.
    """
    problem, rho, stop = Fisher(), 10.0, 0.4
    grid, nu = problem.grid(512), numbers(1e-4, 2e-4)
    away = (grid.coordinates()[0] - 0.5).abs()

    def wave(t: float) -> torch.Tensor:
        z = torch.sqrt(rho / (6 * nu))[:, None] * (away - 0.25 - 5 * torch.sqrt(rho * nu / 6)[:, None] * t)
        return (1 + torch.exp(z)) ** -2

    path = problem.evolve(grid, {"nu": nu, "rho": rho, "u0": wave(0.0)}, stop, rtol=1e-8)
    assert (wave(stop) - wave(0.0)).abs().max() > 0.3
    torch.testing.assert_close(path.u[:, -1], wave(stop), rtol=0, atol=1e-7)


def test_fisher_grows_as_its_reaction_where_nothing_varies() -> None:
    problem, stop, start = Fisher(), 0.7, numbers(0.0, 0.1, 0.9, 1.0)
    rho = numbers(1.0, 10.0, 5.0, 2.0)
    path = problem.evolve(problem.grid(8), {"rho": rho, "u0": start[:, None].expand(4, 8)}, stop, rtol=1e-9)
    grown = start * torch.exp(rho * stop)
    exact = grown / (1 - start + grown)
    torch.testing.assert_close(path.u[:, -1], exact[:, None].expand(4, 8), rtol=0, atol=1e-9)


class Forced(Evolution):
    """u_t = nu u_xx - a u + f, with coefficients that vary: the exact part is nu u_xx alone."""

    domain = unit_box(1, periodic=True)
    nu = Parameter(Constant(0.05))
    a = Parameter(GaussianField())
    f = Parameter(GaussianField())
    u0 = Parameter(GaussianField())

    def rate(self, u, p):
        return p.nu * D(u, "x", 2) - p.a * u + p.f


def test_fields_in_the_rate() -> None:
    """The steady state of a manufactured forcing attracts; only terms without fields are in the symbol."""
    problem = Forced()
    grid = problem.grid(32)
    exact = torch.exp(torch.sin(TAU * grid.coordinates()[0]))

    def forcing(at):
        u, slope = exp(sin(TAU * at.x)), TAU * cos(TAU * at.x)
        bend = u * (slope**2 - TAU**2 * sin(TAU * at.x))
        return -0.05 * bend + (2 + cos(TAU * at.x)) * u

    parameters = {"a": lambda at: 2 + cos(TAU * at.x), "f": forcing, "u0": 0.0}
    path = problem.evolve(grid, parameters, 12.0, rtol=1e-6)
    torch.testing.assert_close(path.u[0, -1], exact, rtol=0, atol=1e-7)
    p = problem.spectral_parameters(grid, parameters, None)
    k = TAU * torch.arange(16, dtype=torch.float64)
    symbol = linear_symbol(problem, grid, p, torch.device("cpu"))
    torch.testing.assert_close(symbol, (-0.05 * k**2)[None].to(torch.complex128))


class Runaway(Evolution):
    """u_t = u^2, which ends at the time 1 / u0."""

    domain = unit_box(1, periodic=True)
    u0 = Parameter(GaussianField())

    def rate(self, u, p):
        return u**2


def test_a_sample_that_blows_up_is_marked_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etdrk4, "MOST_STEPS", 256)
    problem = Runaway()
    start = numbers(2.0, 0.1, math.nan, 0.99)[:, None].expand(4, 4)
    path = problem.evolve(problem.grid(4), {"u0": start}, 1.0)
    names = [Status(int(s)).name for s in path.status]
    assert names == ["BREAKDOWN", "CONVERGED", "BREAKDOWN", "MAX_ITERATIONS"]
    torch.testing.assert_close(path.u[1, -1], torch.full((4,), 0.1 / 0.9, dtype=torch.float64))
    assert path.error[0] == math.inf
    assert path.error[3] > 1e-8


def test_what_cannot_be_is_refused() -> None:
    problem = Burgers()
    grid, u0 = problem.grid(8), torch.zeros(1, 8, dtype=torch.float64)
    for change in ({"stop": 0.0}, {"instants": 1}, {"rtol": 0.0}):
        with pytest.raises(InvalidInput, match=next(iter(change))):
            problem.evolve(**({"grid": grid, "parameters": {"u0": u0}, "stop": 1.0} | change))
    with pytest.raises(InvalidInput, match="Use evolve"):
        problem.discretise(grid, {"u0": u0})
    with pytest.raises(InvalidInput, match="residual_at_points"):
        problem.residual_on_grid(u0, grid, {"u0": u0})
    with pytest.raises(InvalidInput, match="shape of parameter 'u0'"):
        problem.evolve(grid, {"u0": torch.zeros(1, 9)}, 1.0)
    with pytest.raises(InvalidInput, match="samples of parameter 'nu'"):
        problem.evolve(grid, {"u0": u0.expand(3, 8), "nu": numbers(0.1, 0.2)}, 1.0)

    class Walled(Runaway):
        domain = Box(x=(0.0, 1.0))

    with pytest.raises(InvalidInput, match=r"periodic=\['x'\]"):
        Walled().evolve(Walled().grid(8), {"u0": u0}, 1.0)
    with pytest.raises(InvalidInput, match="every axis of the box wraps"):

        class Conditioned(Runaway):
            conditions = (Dirichlet(0.0),)


def test_a_default_device_changes_nothing() -> None:
    problem = AllenCahn(2)
    grid = problem.grid(8)
    parameters = problem.sample([0, 1], grid, seed=1, device="cpu")
    here = problem.evolve(grid, parameters, 0.5, device="cpu")
    with torch.device("meta"):
        elsewhere = problem.evolve(grid, parameters, 0.5, device="cpu")
    assert torch.equal(here.u, elsewhere.u)


def test_the_initial_field_of_burgers_has_the_covariance_of_the_fno_paper() -> None:
    m = np.arange(1, 4097)
    variance = 625.0 * 2 * np.sum(((TAU * m) ** 2 + 25.0) ** -2.0)
    assert Burgers().u0.distribution.std == pytest.approx(math.sqrt(variance), rel=1e-3)
