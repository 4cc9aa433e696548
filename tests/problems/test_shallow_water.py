"""Shallow water against exact solutions, a solver in one dimension of its own, and its symmetries."""

from __future__ import annotations

import itertools
import math
import pickle

import numpy as np
import pytest
import scipy.optimize
import torch

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.linalg import Status
from pdeflow.problems import CellTrajectory, Constant, Disc, ShallowWater, Uniform, system_volumes
from pdeflow.problems.finite_volumes import merged_cells
from pdeflow.problems.system_volumes import SystemCells

ALL_WALLS = ("x-", "x+", "y-", "y+")


def solved(problem: ShallowWater, grid: Grid, p: dict, stop: float, instants: int = 2) -> CellTrajectory:
    path = problem.evolve(grid, p, stop, instants)
    assert (path.status == int(Status.CONVERGED)).all()
    return path


def orders(errors: list[torch.Tensor]) -> list[float]:
    """Of each refinement by 2, the smallest among the unknowns."""
    return [float(torch.log2(a / b).min()) for a, b in itertools.pairwise(errors)]


def vortex(x: torch.Tensor, y: torch.Tensor, t: torch.Tensor | float) -> torch.Tensor:
    """(..., 3): water that turns round a point, at which the depth balances it, in a current of (1, 1/2).

    The velocity around the point is r exp(1 - r^2) / 2, the depth 1 - exp(2 - 2 r^2) / 16; g is 1.
    """
    x, y = x - t, y - t / 2
    bell = torch.exp(1 - x**2 - y**2)
    h = 1 - bell**2 / 16
    return torch.stack([h, h * (1 - y * bell / 2), h * (0.5 + x * bell / 2)], dim=-1)


def test_the_statement_holds_for_a_vortex_at_points() -> None:
    points = 4 * torch.rand(200, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) - 2
    residual = ShallowWater().residual_at_points(lambda q: vortex(*q.unbind(1)), points, {"h0": 0.0})
    assert residual.shape == (200, 3)
    assert residual.abs().max() < 1e-12
    wrong = ShallowWater(gravity=Constant(1.1)).residual_at_points(
        lambda q: vortex(*q.unbind(1)), points, {"h0": 0.0}
    )
    assert wrong.abs().max() > 1e-3


def test_a_vortex_is_carried_along_with_second_order() -> None:
    """Averages over the cells; at the seam of the box the vortex is below rounding of what is measured."""
    problem, stop, errors = ShallowWater(length=8.0, periodic=("x", "y")), 0.5, []

    def averages(grid: Grid, t: float) -> torch.Tensor:
        fine = problem.grid([4 * n for n in grid.points]).mesh()
        return merged_cells(merged_cells(vortex(fine["x"], fine["y"], t).movedim(-1, 0), 2), 2)

    for cells in (32, 64, 128):
        grid = problem.grid(cells)
        start = dict(zip(problem.initials, averages(grid, 0.0)))
        path = solved(problem, grid, start, stop)
        errors.append((path.u[0, -1] - averages(grid, stop)).abs().mean(dim=(1, 2)))
        sums = path.u.sum(dim=(-2, -1))
        torch.testing.assert_close(sums[:, 1], sums[:, 0], rtol=1e-13, atol=1e-11)
    assert orders(errors)[-1] > 1.8, (errors, orders(errors))
    assert errors[-1].max() < 1e-3


def stoker(s: np.ndarray, deep: float, shallow: float) -> np.ndarray:
    """(2, ...): depth and momentum at x / t = s after a dam at 0 has broken, g = 1.

    A fan, a plateau and a bore: J. J. Stoker, "Water Waves" (1957), section 10.8.
    """

    def velocity(h: float) -> float:
        """Behind the bore, from the conditions of Rankine and Hugoniot."""
        return (h - shallow) * math.sqrt((1 / h + 1 / shallow) / 2)

    def gap(h: float) -> float:
        return velocity(h) - 2 * (math.sqrt(deep) - math.sqrt(h))

    h = scipy.optimize.brentq(gap, shallow, deep, xtol=1e-14)
    u, bore = velocity(h), h * velocity(h) / (h - shallow)
    fan = (2 * math.sqrt(deep) - s) / 3
    inside = (s > -math.sqrt(deep)) & (s < u - math.sqrt(h))
    left, middle = s <= -math.sqrt(deep), (s >= u - math.sqrt(h)) & (s <= bore)
    depth = np.select([left, inside, middle], [deep, fan**2, h], shallow)
    speed = np.select([left, inside, middle], [0.0, 2 * (math.sqrt(deep) - fan), u], 0.0)
    return np.stack([depth, depth * speed])


@pytest.mark.parametrize(("axis", "shallow"), [("x", 1.0), ("y", 1.0), ("x", 0.05)])
def test_a_dam_across_either_axis_breaks_as_stoker_says(axis: str, shallow: float) -> None:
    problem, stop, errors = ShallowWater(length=4.0, periodic=("y" if axis == "x" else "x",)), 0.6, []
    for cells in (64, 256):
        shape = (cells, 8) if axis == "x" else (8, cells)
        grid = problem.grid(shape)
        path = solved(
            problem, grid, {"h0": torch.where(grid.mesh()[axis] < 0, 2.0, shallow)}, stop, instants=4
        )
        h, hu, hv = path.u[0].unbind(1)
        along, across = (hu, hv) if axis == "x" else (hv, hu)
        assert across.abs().max() < 1e-12
        fine = np.linspace(-2, 2, 16 * cells, endpoint=False) + 2 / (16 * cells)
        exact = stoker(fine / stop, 2.0, shallow).reshape(2, cells, 16).mean(axis=2)
        found = torch.stack([h[-1], along[-1]])
        found = found if axis == "x" else found.transpose(1, 2)
        difference = (found - torch.as_tensor(exact)[..., None]).abs().mean(dim=(1, 2))
        errors.append(difference)
        size = torch.as_tensor(exact).abs().mean(dim=1)
        assert (difference / size).max() < 2 * path.error[0]
        assert h.min() > 0.99 * shallow
    assert float((torch.log2(errors[0] / errors[1]) / 2).min()) > 0.85, errors
    assert errors[-1].max() < 0.01


def radial(radius: float, stop: float, cells: int = 3000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distances, depth and outward momentum of the radial dam break: HLL of first order in the distance."""
    edges = np.linspace(0.0, 2.5, cells + 1)
    r, dr = (edges[:-1] + edges[1:]) / 2, edges[1]
    h, q, t = np.where(r < radius, 2.0, 1.0), np.zeros(cells), 0.0
    while t < stop:
        padded_h, padded_u = np.pad(h, 1, mode="edge"), np.pad(q / h, 1, mode="edge")
        padded_u[0] = -padded_u[0]
        c = np.sqrt(padded_h)
        low = np.minimum(np.minimum(padded_u[:-1] - c[:-1], padded_u[1:] - c[1:]), 0)
        high = np.maximum(np.maximum(padded_u[:-1] + c[:-1], padded_u[1:] + c[1:]), 0)
        dt = min(0.8 * dr / max(high.max(), -low.min()), stop - t)
        state = np.stack([padded_h, padded_h * padded_u])
        flux = np.stack([state[1], state[1] * padded_u + padded_h**2 / 2])
        through = high * flux[:, :-1] - low * flux[:, 1:] + low * high * (state[:, 1:] - state[:, :-1])
        through = edges * through / (high - low)
        # What the pressure of the curved sides adds balances that through the ends where h is constant.
        source = np.stack([np.zeros(cells), h**2 / 2])
        h, q = np.stack([h, q]) - dt / (r * dr) * (np.diff(through, axis=1) - dr * source)
        t += dt
    return r, h, q


def test_the_radial_dam_break_agrees_with_a_solver_in_one_dimension() -> None:
    problem, radius, stop, errors = ShallowWater(initial_depth=Disc(1.0, 2.0, (0.5, 0.5))), 0.5, 0.5, []
    r, h, q = radial(radius, stop)
    for cells in (32, 64):
        grid = problem.grid(cells)
        path = solved(problem, grid, problem.sample([0], grid, seed=0), stop)
        at = grid.mesh()
        distance = torch.sqrt(at["x"] ** 2 + at["y"] ** 2)
        outward = (path.u[0, -1, 1] * at["x"] + path.u[0, -1, 2] * at["y"]) / distance
        inside = distance < 2.4
        found = torch.stack([path.u[0, -1, 0], outward])[:, inside]
        exact = torch.as_tensor(np.stack([np.interp(distance[inside].numpy(), r, v) for v in (h, q)]))
        errors.append((found - exact).abs().mean(dim=1))
    assert min(orders(errors)) > 0.8, errors
    assert errors[-1].max() < 0.012


def test_what_is_round_stays_symmetric() -> None:
    """Under the mirrors of the square and its diagonal, with the momentum that they turn round."""
    problem = ShallowWater()
    grid = problem.grid(40)
    path = solved(problem, grid, problem.sample([3], grid, seed=2), 1.0)
    h, hu, hv = path.u[0, -1]
    assert h.std() > 0.02
    torch.testing.assert_close(h, h.flip(0), rtol=0, atol=1e-12)
    torch.testing.assert_close(h, h.T, rtol=0, atol=1e-12)
    torch.testing.assert_close(hu, -hu.flip(0), rtol=0, atol=1e-12)
    torch.testing.assert_close(hu, hu.flip(1), rtol=0, atol=1e-12)
    torch.testing.assert_close(hu, hv.T, rtol=0, atol=1e-12)


def test_walls_are_mirrors() -> None:
    """Between walls water does what it does in a box of twice the side that wraps and holds its images."""
    walled, doubled = ShallowWater(length=2.0, walls=ALL_WALLS), ShallowWater(4.0, periodic=("x", "y"))
    cells = 16
    at = walled.grid(cells).mesh()
    h = 1 + torch.exp(-(((at["x"] - 0.3) / 0.3) ** 2) - ((at["y"] + 0.5) / 0.4) ** 2)
    hu, hv = 0.3 * torch.cos(at["y"]) * h, 0.2 * torch.sin(2 * at["x"]) * h

    def images(values: torch.Tensor, sign_x: int, sign_y: int) -> torch.Tensor:
        wide = torch.cat([values, sign_x * values.flip(0)], dim=0)
        return torch.cat([wide, sign_y * wide.flip(1)], dim=1)

    inside = solved(walled, walled.grid(cells), {"h0": h, "hu0": hu, "hv0": hv}, 1.5, 4)
    given = {"h0": images(h, 1, 1), "hu0": images(hu, -1, 1), "hv0": images(hv, 1, -1)}
    outside = solved(doubled, doubled.grid(2 * cells), given, 1.5, 4)
    torch.testing.assert_close(inside.u, outside.u[..., :cells, :cells], rtol=0, atol=1e-12)
    assert inside.inflow[..., 0].abs().max() < 1e-15
    assert inside.inflow[..., 1:].abs().max() > 0.01  # the walls push


@pytest.mark.parametrize("ends", [{}, {"walls": ALL_WALLS}, {"periodic": ("x", "y")}])
def test_still_water_stays_still(ends: dict) -> None:
    problem = ShallowWater(**ends)
    path = solved(problem, problem.grid(8), {"h0": 1.7, "g": 9.81}, 1.0)
    torch.testing.assert_close(path.u[0, 1], path.u[0, 0], rtol=0, atol=1e-14)


@pytest.mark.parametrize("ends", [{"walls": ALL_WALLS}, {"periodic": ("x", "y")}])
def test_energy_is_only_ever_lost(ends: dict) -> None:
    problem = ShallowWater(2.0, **ends)
    grid = problem.grid(16)
    path = solved(problem, grid, problem.sample([0, 1], grid, seed=4), 2.0, 17)
    h, hu, hv = path.u.unbind(2)
    energy = ((hu**2 + hv**2) / h + h**2).mean(dim=(-2, -1)) / 2
    assert energy.diff(dim=1).max() < 0
    assert (path.inflow[..., 0].abs() < 1e-14).all()


def test_waves_leave_through_open_ends() -> None:
    """Nearly as from a box of three times the side; walls would send them back."""
    wide, n, stop = ShallowWater(length=6.0), 16, 1.0
    grid = wide.grid(3 * n)
    h0 = wide.sample([0], grid, seed=4)["h0"]
    middle = (..., slice(n, 2 * n), slice(n, 2 * n))
    reference = solved(wide, grid, {"h0": h0}, stop).u[0, -1, 0][middle]
    off = []
    for walls in ((), ALL_WALLS):
        problem = ShallowWater(length=2.0, walls=walls)
        path = solved(problem, problem.grid(n), {"h0": h0[middle]}, stop)
        off.append(float((path.u[0, -1, 0] - reference).abs().mean()))
    assert off[0] < 0.03
    assert off[1] > 10 * off[0]


def test_a_scale_of_gravity_is_a_scale_of_time() -> None:
    problem = ShallowWater(gravity=Uniform(1.0, 10.0))
    grid = problem.grid(16)
    h0 = problem.sample([0], grid, seed=1)["h0"]
    one = solved(problem, grid, {"g": 1.0, "h0": h0}, 0.8)
    four = solved(problem, grid, {"g": 4.0, "h0": h0}, 0.4)
    assert one.steps == four.steps
    torch.testing.assert_close(four.u[:, :, 0], one.u[:, :, 0], rtol=0, atol=1e-13)
    torch.testing.assert_close(four.u[:, :, 1:], 2 * one.u[:, :, 1:], rtol=0, atol=1e-13)


def test_the_depth_stays_positive_where_water_flees() -> None:
    """Two halves part faster than waves could follow: almost nothing is left between them."""
    problem = ShallowWater(length=4.0, periodic=("y",))
    grid = problem.grid((64, 8))
    away = torch.sign(grid.mesh()["x"])
    path = solved(problem, grid, {"h0": 1.0, "hu0": 4.0 * away}, 0.3, 4)
    h = path.u[0, :, 0]
    assert h.min() > 0
    assert h[-1].min() < 0.03
    # Two fans that empty the middle: h = (2 - |x| / t + 4)^2 / 9 up to |x| / t = 5, nothing below 2.
    s = grid.coordinates()[0].abs() / 0.3
    exact = torch.where(s > 5, 1.0, ((s - 2).clamp(min=0.0) / 3) ** 2)
    assert (h[-1, :, 0] - exact).abs().mean() < 0.03


def test_a_step_after_which_there_is_no_water_is_taken_again_a_quarter_as_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether a stage of the step or its end alone is below the bed."""
    problem = ShallowWater(length=4.0, periodic=("x", "y"))
    grid = problem.grid((32, 8))
    x = grid.mesh()["x"]
    h = torch.where(x.abs() < 0.5, 0.01, 1.0).to(torch.float64)
    w = torch.stack([h, 3 * torch.sign(x) * h, torch.zeros_like(h)])[None]
    one = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    cells = SystemCells(problem, {"g": one[0]}, grid.spacing)
    for length, below in ((0.02, False), (0.05, True), (0.0125, False)):
        new, _, longest, advised = cells.advance(w, 0 * one, length * one)
        assert (not bool((new[:, 0] > 0).all())) == below
        assert (float(longest) < length) == below
        assert (float(advised) == length / 4) == below
    below_bed = torch.stack([h - 0.011, w[0, 1], w[0, 2]])[None]
    monkeypatch.setattr(system_volumes, "ssp_rk3", lambda euler, u, t, dt: (below_bed, 0 * one))
    _, _, longest, advised = cells.advance(w, 0 * one, 0.01 * one)
    assert (float(longest), float(advised)) == (0.005, 0.0025)


def test_dry_beds_are_refused_with_words() -> None:
    problem = ShallowWater()
    grid = problem.grid(8)
    with pytest.raises(InvalidInput, match=r"(?s)'h0': got 0.0.*sample 1.*Dry beds") as caught:
        problem.evolve(grid, {"h0": torch.tensor([1.0, 0.0])}, 0.5)
    assert "above 0" in str(caught.value)
    field = torch.ones(8, 8)
    field[3, 4] = -0.1
    with pytest.raises(InvalidInput, match=r"got -0\.1"):
        problem.evolve(grid, {"h0": field}, 0.5)
    with pytest.raises(InvalidInput, match="all positive"):
        ShallowWater(initial_depth=Disc(0.0, 2.0))


def test_it_states_and_describes_itself() -> None:
    problem = ShallowWater(walls=("x-",), periodic=("y",))
    again = pickle.loads(pickle.dumps(problem))
    assert again.statement() == problem.statement()
    assert problem.describe()["conditions"] == ["wall on x-", "open on x+", "periodic along y"]
    assert problem.statement()["ends"] == {"x-": "wall", "x+": "open"}
    assert problem.statement() != ShallowWater(periodic=("y",)).statement()
    assert r"\frac{\partial}{\partial t} hu" in problem.latex()


def test_there_is_no_linear_part_around_a_dry_bed() -> None:
    for linearised in (ShallowWater().linear_part, ShallowWater().symbol):
        with pytest.raises(InvalidInput, match="divides by an unknown"):
            linearised()
