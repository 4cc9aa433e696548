"""Conservation laws by finite volumes, against exact solutions with shocks and fronts."""

from __future__ import annotations

import itertools
import json
import math
import pickle

import pytest
import torch

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.linalg import Status
from pdeflow.problems import (
    AdvectedStep,
    Box,
    CellTrajectory,
    ConservationLaw,
    Constant,
    GaussianField,
    InviscidBurgers,
    Parameter,
    PorousMedium,
    Stefan,
    Uniform,
    finite_volumes,
    relu,
    tanh,
)
from pdeflow.problems.calculus import Names
from pdeflow.problems.finite_volumes import Cells
from pdeflow.problems.muscl import hlle_flux, muscl_flux
from pdeflow.problems.nonlinear_diffusion import backward_euler, newton_step

# law, parameter values of three samples, last instant
FAMILIES = [
    (PorousMedium(), {"m": [1.0, 3.0, 6.0]}, 0.7),
    (Stefan(), {"u_star": [0.5, 0.6, 0.7]}, 0.1),
    (InviscidBurgers(), {"a": [1.0, 3.0, 4.0]}, 0.7),
    (AdvectedStep(), {"beta": [1.0, 3.0, 5.0]}, 0.08),
]


@pytest.fixture(params=range(len(FAMILIES)), ids=lambda k: FAMILIES[k][0].name)
def family(request) -> tuple[ConservationLaw, dict[str, torch.Tensor], float]:
    law, values, stop = FAMILIES[request.param]
    return law, {name: numbers(*v) for name, v in values.items()}, stop


def numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def names(law: ConservationLaw, x: torch.Tensor, t: torch.Tensor | float, p: dict) -> tuple[Names, Names]:
    return Names("coordinate", {"x": x, "t": t}), Names("parameter", p)


def averages(law: ConservationLaw, grid: Grid, t: float, p: dict[str, torch.Tensor]) -> torch.Tensor:
    """Of the exact solution over the cells, (n, cells), by 64 midpoints a cell."""
    parts, h = 64, grid.spacing[0]
    offsets = ((torch.arange(parts, dtype=torch.float64) + 0.5) / parts - 0.5) * h
    x = (grid.coordinates()[0][:, None] + offsets).flatten()
    at, columns = names(law, x, numbers(t), {name: v[:, None] for name, v in p.items()})
    return law.exact(at, columns).unflatten(1, (-1, parts)).mean(dim=2)


def solved(law: ConservationLaw, cells: int, p: dict, stop: float, instants: int = 3) -> CellTrajectory:
    path = law.evolve(law.grid(cells), p, stop, instants)
    assert (path.status == int(Status.CONVERGED)).all()
    return path


def orders(errors: list[torch.Tensor]) -> list[float]:
    """Of each refinement by 2, the smallest among the samples."""
    return [float(torch.log2(a / b).min()) for a, b in itertools.pairwise(errors)]


def test_it_describes_itself_and_goes_to_another_process(family) -> None:
    law = family[0]
    card = law.describe()
    assert json.loads(json.dumps(card)) == card
    assert r"\frac{\partial}{\partial t} u" in card["equation"]
    assert card["conditions"][0].endswith("at t = 0")
    assert card["conditions"][1].endswith("on x- and x+")
    statement = pickle.loads(pickle.dumps(law)).statement()
    assert statement == law.statement()
    assert len({json.dumps(other.statement()) for other, _, _ in FAMILIES}) == len(FAMILIES)


def test_the_exact_solution_satisfies_the_statement_where_it_is_smooth(family) -> None:
    """At points of either side of the shock or front, by automatic differentiation."""
    law, parameters, stop = family
    points = torch.rand(400, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (low,), (high,) = law.domain.lower, law.domain.upper
    points[:, 0] = low + (high - low) * points[:, 0]
    points[:, 1] *= stop
    for (name, values), row in itertools.product(parameters.items(), range(3)):
        value = values[row]

        def exact(x: torch.Tensor, name=name, value=value) -> torch.Tensor:
            return law.exact(*names(law, x[:, 0], x[:, 1], {name: value})) + 0 * x[:, 0]

        residual = law.residual_at_points(exact, points, {name: value})
        # At the empty side of the porous medium's front the root has no derivative.
        smooth = torch.isfinite(residual)
        assert smooth.double().mean() > 0.15
        assert residual[smooth].abs().max() < 1e-7
        assert exact(points)[~smooth].abs().sum() == 0


def test_start_and_boundary_are_those_of_the_exact_solution(family) -> None:
    law, parameters, stop = family
    p = {name: v[:, None] for name, v in parameters.items()}
    x = law.grid(64).coordinates()[0]
    # The porous medium's ramp is as long as the time that has passed; Stefan's front goes with its root.
    start = law.start(*names(law, x, 0.0, p))
    torch.testing.assert_close(
        torch.as_tensor(start, dtype=torch.float64).expand(3, 64),
        law.exact(*names(law, x, numbers(1e-12), p)).expand(3, 64),
        rtol=0,
        atol=1e-10,
    )
    t = numbers(0.1, 0.5, 1.0)[None] * stop
    inflow_only = isinstance(law, AdvectedStep)
    for place in law.domain.lower if inflow_only else (*law.domain.lower, *law.domain.upper):
        given = law.boundary(*names(law, place, t, p))
        exact = law.exact(*names(law, torch.full((3, 3), place, dtype=torch.float64), t, p))
        torch.testing.assert_close(torch.as_tensor(given, dtype=torch.float64).expand(3, 3), exact)


def test_the_mass_is_the_integral_of_the_exact_solution(family) -> None:
    law, parameters, stop = family
    grid = law.grid(2000)
    for t in (0.1 * stop, 0.6 * stop, stop):
        integral = grid.spacing[0] * averages(law, grid, t, parameters).sum(dim=1)
        stated = law.mass(numbers(t), Names("parameter", parameters))
        torch.testing.assert_close(integral, stated, rtol=0, atol=2e-4)


def test_mass_is_conserved_to_rounding_and_comes_in_as_it_should(family) -> None:
    law, parameters, stop = family
    path = solved(law, 32, parameters, stop, 4)
    width = law.grid(32).spacing[0]
    mass = width * path.u.sum(dim=2)
    assert (path.inflow[:, 0] == 0).all()
    torch.testing.assert_close(mass - mass[:, :1], path.inflow, rtol=0, atol=1e-13)
    stated = torch.stack([law.mass(t, Names("parameter", parameters)) for t in path.times], dim=1)
    torch.testing.assert_close(mass, stated, rtol=0, atol=2.0 * width)


def errors_in_l1(law: ConservationLaw, cells: int, p: dict, stop: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Over the second half of the time, and by how much the largest of them exceeds the estimate."""
    path, found, relative = solved(law, cells, p, stop, 9), [], []
    for k in range(5, 9):
        exact = averages(law, law.grid(cells), float(path.times[k]), p)
        found.append((path.u[:, k] - exact).abs().mean(dim=1))
        relative.append(found[-1] / exact.abs().mean(dim=1))
    return torch.stack(found).mean(dim=0), torch.stack(relative).amax(dim=0) / path.error


@pytest.mark.parametrize(
    ("number", "coarse", "fine", "expected"),
    [
        (0, 24, 48, 0.8),
        pytest.param(0, 128, 256, 0.9, marks=pytest.mark.slow),
        (1, 32, 128, 0.9),
        (2, 64, 256, 0.9),
        (3, 64, 256, 0.5),
    ],
)
def test_order_in_l1(number: int, coarse: int, fine: int, expected: float) -> None:
    """First order, and 2/3 for a jump that nothing steepens; errors waver as the front crosses a cell."""
    law, values, stop = FAMILIES[number]
    p = {name: numbers(*v) for name, v in values.items()}
    errors, excess = zip(*(errors_in_l1(law, cells, p, stop) for cells in (coarse, fine)))
    order = torch.log2(errors[0] / errors[1]) / math.log2(fine / coarse)
    assert order.min() > expected
    assert torch.stack(excess).max() < 2.0


def test_fronts_and_shocks_are_in_the_cell_where_they_belong(family) -> None:
    law, parameters, stop = family
    path, grid = solved(law, 40, parameters, stop, 3), law.grid(40)
    h, x = grid.spacing[0], grid.coordinates()[0]
    fine = (torch.arange(20000, dtype=torch.float64) + 0.5) / 20000
    fine = law.domain.lower[0] + (law.domain.upper[0] - law.domain.lower[0]) * fine
    for k in (1, 2):
        at, p = names(law, fine, path.times[k], {name: v[:, None] for name, v in parameters.items()})
        exact = law.exact(at, p)
        # Half the height, but below the jump of Stefan's front.
        level = 0.48 * exact.amax(dim=1, keepdim=True)
        place = torch.where(exact > level, fine, -torch.inf).amax(dim=1)
        found = torch.where(path.u[:, k] > level, x + h / 2, -torch.inf).amax(dim=1)
        assert (place - found).abs().max() <= h


def test_no_new_extrema_and_no_new_variation(family) -> None:
    law, parameters, stop = family
    path = solved(law, 32, parameters, stop, 9)
    assert path.u.min() >= -1e-12
    t = path.times[None, None]
    p = {name: v[:, None, None] for name, v in parameters.items()}
    edge = torch.as_tensor(law.boundary(*names(law, law.domain.lower[0], t, p)), dtype=torch.float64)
    assert (path.u <= edge.expand(3, 1, 9).transpose(1, 2) + 1e-12).all()
    # All of them fall from the left end to the right one, and stay so.
    assert path.u.diff(dim=2).max() < 1e-12


def test_each_sample_is_what_it_is_alone(family) -> None:
    law, parameters, stop = family
    together = solved(law, 16, parameters, stop, 3)
    for row in range(3):
        alone = solved(law, 16, {name: v[row : row + 1] for name, v in parameters.items()}, stop, 3)
        torch.testing.assert_close(alone.u[0], together.u[row], rtol=0, atol=1e-14)
        assert alone.steps[0] == together.steps[row]


class Wind(ConservationLaw):
    """u_t + c u_x = 0 on an interval that wraps around."""

    domain = Box(x=(0.0, 1.0), periodic=["x"])
    c = Parameter(Uniform(-1.0, 1.0))
    u0 = Parameter(GaussianField())

    def flux(self, u, p):
        return p.c * u


def test_second_order_where_nothing_is_steep() -> None:
    """A wave that has gone round, or half round the other way; the limiter flattens its extrema alone."""
    law, errors = Wind(), []
    for cells in (32, 64, 128):
        x = law.grid(cells).coordinates()[0]
        p = {"c": numbers(1.0, -0.5), "u0": torch.sin(2 * math.pi * x)}
        path = solved(law, cells, p, 1.0, 2)
        exact = torch.stack([p["u0"], -p["u0"]])
        errors.append((path.u[:, -1] - exact).abs().mean(dim=1))
        assert float(path.u[:, -1].sum(dim=1).abs().max()) < 1e-12
    assert orders(errors)[-1] > 1.8, (errors, orders(errors))


def test_an_initial_field_may_be_a_number() -> None:
    path = solved(Wind(), 16, {"c": numbers(0.5, 1.0), "u0": 0.25}, 1.0, 2)
    torch.testing.assert_close(path.u, torch.full((2, 2, 16), 0.25, dtype=torch.float64), rtol=1e-13, atol=0)


class Riemann(ConservationLaw):
    """Burgers without viscosity from a jump at 0, left to right of it -s to s."""

    domain = Box(x=(-1.0, 1.0))
    s = Parameter(Uniform(-1.0, 1.0))
    u0 = Parameter(GaussianField())

    def flux(self, u, p):
        return u**2 / 2

    def boundary(self, at, p):
        return p.s * at.x


def test_the_entropy_condition_parts_shocks_from_fans() -> None:
    """A jump up opens into the fan x / t, through the sonic point; a jump down stays where it is."""
    law, errors = Riemann(), []
    for cells in (50, 100, 200):
        grid = law.grid(cells)
        x = grid.coordinates()[0]
        jump = torch.sign(x)
        path = solved(law, cells, {"s": numbers(1.0, -1.0), "u0": torch.stack([jump, -jump])}, 0.5, 2)
        torch.testing.assert_close(path.u[1, -1], -jump, rtol=0, atol=1e-13)
        errors.append((path.u[:1, -1] - (x / 0.5).clamp(-1, 1)).abs().mean(dim=1))
    assert orders(errors)[-1] > 0.9, errors


class ViscousWave(ConservationLaw):
    """u_t + (u^2 / 2)_x = nu u_xx, a wave 1 - tanh((x - t) / (2 nu)) that keeps its shape."""

    domain = Box(x=(-1.0, 2.0))
    nu = Parameter(Uniform(0.1, 0.2))

    def flux(self, u, p):
        return u**2 / 2

    def potential(self, u, p):
        return p.nu * u

    def exact(self, at, p):
        return 1 - tanh((at.x - at.t) / (2 * p.nu))

    def start(self, at, p):
        return 1 - tanh(at.x / (2 * p.nu))

    def boundary(self, at, p):
        return self.exact(at, p)


def test_convection_and_diffusion_together() -> None:
    law, errors, p = ViscousWave(), [], {"nu": numbers(0.1, 0.2)}
    for cells in (48, 96):
        path = solved(law, cells, p, 0.5, 2)
        errors.append((path.u[:, -1] - averages(law, law.grid(cells), 0.5, p)).abs().mean(dim=1))
    assert min(orders(errors)) > 0.9, (errors, orders(errors))
    assert float(errors[-1].max()) < 0.01


class Puddle(ConservationLaw):
    """The porous medium equation on an interval that wraps around."""

    domain = Box(x=(-1.0, 1.0), periodic=["x"])
    m = Parameter(Uniform(1.0, 4.0))
    u0 = Parameter(GaussianField())

    def potential(self, u, p):
        return relu(u) ** (p.m + 1) / (p.m + 1)


def barenblatt(x: torch.Tensor, t: float, m: torch.Tensor) -> torch.Tensor:
    """The puddle that spreads from a point (G. I. Barenblatt, Prikl. Mat. Mekh. 16, 1952), at the seam."""
    m = m[:, None]
    distance = (x % 2) - 1
    scale = t ** (-1 / (m + 2))
    return scale * torch.relu(0.1 - m / (2 * (m + 2)) * (distance * scale) ** 2) ** (1 / m)


def test_a_puddle_that_spreads_across_the_seam_keeps_its_mass() -> None:
    law, m, first, errors = Puddle(), numbers(1.0, 2.0, 4.0), 0.05, []
    for cells in (32, 64, 128):
        x = law.grid(cells).coordinates()[0]
        path = solved(law, cells, {"m": m, "u0": barenblatt(x, first, m)}, 0.2, 2)
        mass = path.u.mean(dim=2)
        torch.testing.assert_close(mass[:, 1], mass[:, 0], rtol=1e-13, atol=0)
        errors.append((path.u[:, -1] - barenblatt(x, first + 0.2, m)).abs().mean(dim=1))
    assert float(torch.log2(errors[0] / errors[-1]).min()) / 2 > 0.8, (errors, orders(errors))


class Surge(Riemann):
    """Burgers where what comes in grows fast."""

    def boundary(self, at, p):
        return 0.1 + 400 * relu(at.t - 0.05)


def test_a_step_that_turns_out_too_long_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    advance, tried = Cells.advance, []

    def watched(self, u, t, dt):
        result = advance(self, u, t, dt)
        tried.append((float(dt), float(result[2]), self.width))
        return result

    monkeypatch.setattr(Cells, "advance", watched)
    law = Surge()
    start = torch.full((1, 40), 0.1, dtype=torch.float64)
    path = solved(law, 40, {"s": 0.0, "u0": start}, 0.1, 2)
    fine = [(dt, longest) for dt, longest, width in tried if width < 0.06]
    taken = [dt for dt, longest in fine if dt <= longest]
    assert len(taken) == int(path.steps[0]) < len(fine)
    assert path.u[0, -1].diff().max() <= 1e-13
    assert path.u[0, -1].max() <= 20.1


def test_newton_finds_the_step_from_any_start() -> None:
    """Backward Euler's equations of a nearly empty medium and of Stefan's problem, with very long steps."""
    m = numbers(1.0, 3.0, 6.0)[:, None]
    u = torch.zeros(3, 50, dtype=torch.float64)
    u[:, 20:25] = 0.3
    left, right = torch.ones(3, 1, dtype=torch.float64), torch.zeros(3, 1, dtype=torch.float64)
    for potential in (lambda v: relu(v) ** (m + 1) / (m + 1), lambda v: relu(v - 0.5)):
        for ratio in (0.1, 10.0, 300.0):
            lengths = torch.full((3, 1), ratio, dtype=torch.float64)
            new, _, done = backward_euler(potential, u, left, right, lengths)
            assert done.all()
            residual, _, _ = newton_step(potential, u, new, left, right, lengths, False)
            assert residual.abs().max() < 1e-10
            assert new.min() > -1e-12
            assert new.max() < 1 + 1e-12


def test_the_flux_is_upwind_where_all_waves_go_one_way() -> None:
    left, right = numbers(1.0, -0.3, 2.0, -1.0)[None], numbers(0.5, -1.0, 3.0, 1.0)[None]
    found = hlle_flux(lambda u: u**2 / 2, left, right)
    torch.testing.assert_close(found[0, :3], numbers(0.5, 0.5, 2.0))
    assert float(found[0, 3]) == pytest.approx(-0.5)


def test_samples_that_fail_are_marked_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finite_volumes, "MOST_STEPS", 12)
    path = AdvectedStep().evolve(AdvectedStep().grid(8), {"beta": numbers(1.0, math.nan, 50.0)}, 0.5)
    assert [Status(int(s)).name for s in path.status] == ["CONVERGED", "BREAKDOWN", "MAX_ITERATIONS"]
    assert path.u[0].isfinite().all()
    assert path.error[1] == math.inf


def test_what_cannot_be_is_refused() -> None:
    law = PorousMedium()
    grid = law.grid(16)
    for change in ({"stop": 0.0}, {"instants": 1}, {"rtol": 0.0}):
        with pytest.raises(InvalidInput, match=next(iter(change))):
            law.evolve(**({"grid": grid, "parameters": {"m": 1.0}, "stop": 1.0} | change))
    with pytest.raises(InvalidInput, match="even number of cells"):
        law.evolve(law.grid(17), {"m": 1.0}, 0.5)
    with pytest.raises(InvalidInput, match="at least 8"):
        law.check_resolution(law.grid(4))
    with pytest.raises(InvalidInput, match="centres of equal cells"):
        law.evolve(law.domain.grid(16), {"m": 1.0}, 0.5)
    with pytest.raises(InvalidInput, match="shape of parameter 'm'"):
        law.evolve(grid, {"m": torch.ones(2, 16)}, 0.5)
    with pytest.raises(InvalidInput, match="samples of parameter"):
        Wind().evolve(Wind().grid(16), {"c": numbers(0.1, 0.2), "u0": torch.zeros(3, 16)}, 0.5)
    with pytest.raises(InvalidInput, match="Use evolve"):
        law.rate_on_grid(torch.zeros(1, 16), grid, {"m": 1.0})
    with pytest.raises(InvalidInput, match="threshold"):
        Stefan(Uniform(0.5, 1.5))

    class Walled(Wind):
        domain = Box(x=(0.0, 1.0))

    with pytest.raises(InvalidInput, match="boundary"):
        Walled().evolve(Walled().grid(16), {"c": 1.0, "u0": torch.zeros(1, 16)}, 0.5)

    class Plane(Wind):
        domain = Box(x=(0.0, 1.0), y=(0.0, 1.0), periodic=["x", "y"])

    with pytest.raises(InvalidInput, match="an interval"):
        Plane().grid(16)


def test_a_default_device_changes_nothing() -> None:
    law = PorousMedium(Constant(2.0))
    here = law.evolve(law.grid(8), {}, 0.5)
    with torch.device("meta"):
        elsewhere = law.evolve(law.grid(8), {}, 0.5)
    assert torch.equal(here.u, elsewhere.u)


def test_fluxes_and_newton_steps_run_without_data() -> None:
    u = torch.empty(2, 9, dtype=torch.float64, device="meta")
    end = torch.empty(2, 1, dtype=torch.float64, device="meta")
    flux = muscl_flux(lambda v: v**2 / 2, u, end, end, False)
    residual, correction, differences = newton_step(lambda v: v**3, u, u, end, end, end, True)
    assert flux.shape == differences.shape == (2, 10)
    assert residual.shape == correction.shape == (2, 9)
    assert {t.device.type for t in (flux, residual, correction, differences)} == {"meta"}
