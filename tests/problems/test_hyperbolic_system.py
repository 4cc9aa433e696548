"""Hyperbolic systems by finite volumes: what each keeps to, and exact solutions in one dimension and two."""

from __future__ import annotations

import itertools
import json
import math

import pytest
import torch

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.linalg import Status
from pdeflow.problems import (
    Box,
    CellTrajectory,
    GaussianField,
    HyperbolicSystem,
    Parameter,
    ShallowWater,
    Uniform,
    finite_volumes,
)
from pdeflow.problems.finite_volumes import merged_cells
from pdeflow.problems.system_volumes import SystemCells


def numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


class Sound(HyperbolicSystem):
    """s_t + q_x = 0, q_t + c^2 s_x = 0: waves at the speeds -c and c."""

    fields = ("s", "q")
    mirrored = {"x": ("q",)}  # noqa: RUF012
    c = Parameter(Uniform(0.5, 2.0), positive=True)
    s0 = Parameter(GaussianField())
    q0 = Parameter(GaussianField())

    def __init__(self, walls: tuple[str, ...] = (), periodic: tuple[str, ...] = ()) -> None:
        self.domain = Box(x=(0.0, 1.0), periodic=periodic)
        self.walls = walls

    def flux(self, w, axis, p):
        return w.q, p.c**2 * w.s

    def waves(self, left, right, axis, p):
        c = p.c.expand_as(left.s)
        return -c, c


class Drift(HyperbolicSystem):
    """u_t + a u_x + b u_y = 0: one unknown in the plane."""

    domain = Box(x=(0.0, 1.0), y=(0.0, 2.0), periodic=("x", "y"))
    a = Parameter(Uniform(-1.0, 1.0))
    b = Parameter(Uniform(-1.0, 1.0))
    u0 = Parameter(GaussianField())

    def flux(self, u, axis, p):
        return (p.a if axis == "x" else p.b) * u

    def waves(self, left, right, axis, p):
        speed = (p.a if axis == "x" else p.b).expand_as(left)
        return speed, speed


# system, cells, last instant; each is solved from three samples of its own
FAMILIES = [
    (ShallowWater(), (16, 12), 0.8),
    (ShallowWater(length=2.0, periodic=("x",), walls=("y-", "y+")), (16, 16), 0.5),
    (ShallowWater(length=2.0, walls=("x-",)), (16, 16), 1.5),
    (Sound(), (16,), 0.5),
    (Sound(walls=("x-", "x+")), (32,), 0.5),
    (Drift(), (16, 16), 0.5),
]


@pytest.fixture(params=range(len(FAMILIES)), ids=lambda k: f"{FAMILIES[k][0].name}-{k}")
def family(request) -> tuple[HyperbolicSystem, Grid, dict[str, torch.Tensor], float]:
    system, cells, stop = FAMILIES[request.param]
    grid = system.grid(cells)
    return system, grid, system.sample([0, 1, 2], grid, seed=5), stop


def solved(system: HyperbolicSystem, grid: Grid, p: dict, stop: float, instants: int = 3) -> CellTrajectory:
    path = system.evolve(grid, p, stop, instants)
    assert (path.status == int(Status.CONVERGED)).all()
    return path


def integrals(system: HyperbolicSystem, grid: Grid, path: CellTrajectory) -> torch.Tensor:
    """Of each unknown over the domain, shaped like ``inflow``."""
    return path.u.flatten(-grid.dim).sum(dim=-1) * math.prod(grid.spacing)


def test_it_describes_itself(family) -> None:
    system = family[0]
    card = system.describe()
    assert json.loads(json.dumps(card)) == card
    assert card["equation"].count(r"\frac{\partial}{\partial t}") == len(system.fields)
    said = " ".join(card["conditions"])
    for side, kind in system.ends.items():
        assert side in said.split(kind)[1]
    assert all(f"periodic along {axis}" in said for axis in system.domain.axes if not system.ends)
    assert json.loads(json.dumps(system.statement())) == system.statement()
    assert len({json.dumps(other.statement()) for other, _, _ in FAMILIES}) == len(FAMILIES)


def test_the_sums_change_by_what_comes_in_to_rounding(family) -> None:
    system, grid, p, stop = family
    path = solved(system, grid, p, stop)
    held = integrals(system, grid, path)
    assert path.inflow.shape == held.shape
    assert (path.inflow[:, 0] == 0).all()
    torch.testing.assert_close(held - held[:, :1], path.inflow, rtol=0, atol=1e-12)
    if not system.ends:
        assert path.inflow.abs().max() < 1e-14


def test_each_sample_is_what_it_is_alone(family) -> None:
    system, grid, p, stop = family
    together = solved(system, grid, p, stop)
    for row in range(3):
        alone = solved(system, grid, {name: v[row : row + 1] for name, v in p.items()}, stop)
        torch.testing.assert_close(alone.u[0], together.u[row], rtol=0, atol=1e-13)
        torch.testing.assert_close(alone.error[0], together.error[row], rtol=1e-9, atol=0)
        assert alone.steps[0] == together.steps[row]


def test_fluxes_run_without_data(family) -> None:
    system, grid, p, _ = family
    ones = (1,) * grid.dim
    there = {k: v.reshape(-1, *ones).to("meta") for k, v in p.items() if k not in system.initials}
    w = torch.empty(3, len(system.fields), *grid.shape, dtype=torch.float64, device="meta")
    t = torch.empty(3, 1, *ones, dtype=torch.float64, device="meta")
    new, gain, longest, advised = SystemCells(system, there, grid.spacing).advance(w, t, t)
    assert new.shape == w.shape
    assert gain.shape == (3, len(system.fields), *ones)
    assert longest.shape == advised.shape == t.shape
    assert {x.device.type for x in (new, gain, longest, advised)} == {"meta"}


def test_a_default_device_changes_nothing(family) -> None:
    system, grid, p, stop = family
    here = system.evolve(grid, p, stop / 4)
    with torch.device("meta"):
        elsewhere = system.evolve(grid, p, stop / 4)
    assert torch.equal(here.u, elsewhere.u)


def orders(errors: list[torch.Tensor]) -> list[float]:
    """Of each refinement by 2, the smallest among the samples."""
    return [float(torch.log2(a / b).min()) for a, b in itertools.pairwise(errors)]


@pytest.mark.parametrize("walls", [True, False])
def test_sound_is_of_second_order_and_comes_back_from_walls(walls: bool) -> None:
    """D'Alembert's solution from s = P(x), q = 0: P is even around both walls, and its period is 2 or 1."""
    system = Sound(("x-", "x+")) if walls else Sound(periodic=("x",))
    turns, c, stop, errors = (1 if walls else 2), numbers(1.0, 0.7)[:, None], 1.3, []

    def wave(x: torch.Tensor) -> torch.Tensor:
        return torch.exp(torch.cos(turns * math.pi * x))

    for cells in (32, 64, 128):
        grid = system.grid(cells)
        x = grid.coordinates()[0]
        path = solved(system, grid, {"c": c[:, 0], "s0": wave(x), "q0": 0.0}, stop, 2)
        forth, back = wave(x - c * stop) / 2, wave(x + c * stop) / 2
        exact = torch.stack([forth + back, c * (forth - back)], dim=1)
        errors.append((path.u[:, -1] - exact).abs().mean(dim=(1, 2)))
        assert path.error.max() < 1.0
    assert orders(errors)[-1] > 1.8, (errors, orders(errors))
    assert errors[-1].max() < 3e-3


def test_sound_leaves_through_open_ends() -> None:
    """A bump parts into two halves, which are gone when they have crossed the interval."""
    system = Sound()
    grid = system.grid(128)
    x = grid.coordinates()[0]
    bump = torch.exp(-(((x - 0.5) / 0.08) ** 2))
    path = solved(system, grid, {"c": numbers(1.0), "s0": 1 + bump, "q0": 0.0}, 1.2, 2)
    assert (path.u[0, -1, 0] - 1).abs().max() < 2e-4
    assert path.u[0, -1, 1].abs().max() < 2e-4
    assert float(path.inflow[0, -1, 0]) == pytest.approx(-0.08 * math.sqrt(math.pi), rel=1e-3)


def test_one_unknown_in_the_plane_is_carried_along_with_second_order() -> None:
    system, errors, stop = Drift(), [], 0.8
    a, b = (numbers(*v)[:, None, None] for v in ((1.0, -0.5, 0.0), (0.5, 1.0, 0.0)))

    def start(at: dict[str, torch.Tensor], t: float) -> torch.Tensor:
        return torch.sin(2 * math.pi * (at["x"] - a * t)) * torch.cos(math.pi * (at["y"] - b * t))

    for cells in (32, 64):
        grid = system.grid(cells)
        given = {"a": a.flatten(), "b": b.flatten(), "u0": start(grid.mesh(), 0.0)}
        path = solved(system, grid, given, stop, 2)
        assert path.u.shape == (3, 2, cells, cells)
        errors.append((path.u[:, -1] - start(grid.mesh(), stop)).abs().mean(dim=(1, 2)))
        assert path.steps[2] == 1  # nothing moves
    assert errors[-1][2] < 1e-16
    assert orders([e[:2] for e in errors])[-1] > 1.7, (errors, orders(errors))


def test_a_step_that_is_too_long_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the first step much too long, it would be tried, and shortened."""
    advance, tried = SystemCells.advance, []

    def watched(self, u, t, dt):
        result = advance(self, u, t, dt)
        tried.append((float(dt), float(result[2]), self.widths))
        return result

    monkeypatch.setattr(SystemCells, "advance", watched)
    system = ShallowWater()
    grid = system.grid(16)
    given = system.sample([0], grid, seed=1)
    usual = solved(system, grid, given, 0.5, 2)
    before = len(tried)
    monkeypatch.setattr(finite_volumes, "COURANT_AIM", 3.0)
    path = solved(system, grid, given, 0.5, 2)
    fine = [(dt, longest) for dt, longest, widths in tried[before:] if widths == grid.spacing]
    taken = [dt for dt, longest in fine if dt <= longest]
    assert len(taken) == int(path.steps[0]) < len(fine)
    assert (path.u - usual.u).abs().max() < 0.02


def test_samples_that_fail_are_marked_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finite_volumes, "MOST_STEPS", 20)
    system = ShallowWater()
    grid = system.grid(8)
    given = {"h0": system.sample([0, 1, 2], grid, seed=1)["h0"], "g": numbers(1.0, -1.0, 1e6)}
    path = system.evolve(grid, given, 0.5)
    assert [Status(int(s)).name for s in path.status] == ["CONVERGED", "BREAKDOWN", "MAX_ITERATIONS"]
    assert path.u[0].isfinite().all()
    assert torch.isinf(path.error).tolist() == [False, True, True]


def test_the_error_is_that_of_half_the_cells() -> None:
    system = Sound(periodic=("x",))
    fine, coarse = system.grid(32), system.grid(16)
    given = system.sample([0], fine, seed=2)
    path = solved(system, fine, given, 0.5, 3)
    half = solved(system, coarse, given | {k: merged_cells(given[k]) for k in system.initials}, 0.5, 3)
    difference = (merged_cells(path.u) - half.u).abs().mean(dim=3).amax(dim=1)
    expected = (difference / path.u.abs().mean(dim=3).amax(dim=1)).amax(dim=1)
    torch.testing.assert_close(path.error, expected)


def test_what_cannot_be_is_refused() -> None:
    for system, name in (
        (Sound(walls=("y-",)), "sides of Box"),
        (Sound(walls=("x-",), periodic=("x",)), "sides of Box"),
        (Drift(), "mirrored"),
    ):
        if isinstance(system, Drift):
            system.domain, system.walls = Box(x=(0.0, 1.0), y=(0.0, 2.0)), ("y-",)
        with pytest.raises(InvalidInput, match=name) as caught:
            system.grid(16)
        assert caught.value.name == "walls"
    system = Sound()
    grid = system.grid(16)
    given = {"c": 1.0, "s0": torch.zeros(16), "q0": torch.zeros(16)}
    for change in ({"stop": 0.0}, {"instants": 1}, {"rtol": 0.0}):
        with pytest.raises(InvalidInput, match=next(iter(change))):
            system.evolve(**({"grid": grid, "parameters": given, "stop": 1.0} | change))
    with pytest.raises(InvalidInput, match="Try 18"):
        system.evolve(system.grid(17), given, 0.5)
    with pytest.raises(InvalidInput, match="at least 8"):
        system.evolve(system.grid(6), given, 0.5)
    with pytest.raises(InvalidInput, match="centres of equal cells"):
        system.evolve(system.domain.grid(16), given, 0.5)
    with pytest.raises(InvalidInput, match="shape of parameter 's0'"):
        system.evolve(grid, given | {"s0": torch.zeros(2, 8)}, 0.5)
    with pytest.raises(InvalidInput, match="shape of parameter 'c'"):
        system.evolve(grid, given | {"c": torch.ones(2, 16)}, 0.5)
    with pytest.raises(InvalidInput, match="samples of parameter"):
        system.evolve(grid, given | {"c": numbers(1, 2), "s0": torch.zeros(3, 16)}, 0.5)
    with pytest.raises(InvalidInput, match="Use evolve"):
        system.rate_on_grid(torch.zeros(1, 2, 16), grid, given)

    class Unstarted(Drift):
        u0 = None

    with pytest.raises(InvalidInput, match="'u0' too"):
        Unstarted().evolve(Unstarted().grid(16), {"a": 1.0, "b": 1.0}, 0.5)

    class Short(Sound):
        def flux(self, w, axis, p):
            return w.q

    with pytest.raises(InvalidInput, match=r"Short.flux.*tuple of 2"):
        Short().evolve(Short().grid(16), given, 0.5)
