"""Modes that are empty are left out, and taken in again when they fill."""

from __future__ import annotations

import math

import pytest
import torch

from pdeflow.linalg import Status
from pdeflow.problems import (
    AllenCahn,
    Burgers,
    Constant,
    D,
    Evolution,
    GaussianField,
    KortewegDeVries,
    KuramotoSivashinsky,
    NavierStokes,
    Parameter,
    etdrk4,
)
from pdeflow.problems.bandwidth import band_grid, highest_modes, resized
from pdeflow.problems.domain import unit_box
from pdeflow.problems.spectral_function import coefficients_of, kept_modes, values_of
from pdeflow.problems.spectral_rate import Rate

TAU = 2 * math.pi


def test_the_highest_mode_in_use_is_found_along_each_axis() -> None:
    grid = NavierStokes().grid([32, 24])
    x, y = torch.meshgrid(*grid.coordinates(), indexing="ij")
    small = 1e-6 * torch.cos(TAU * 9 * x)
    waves = torch.stack([torch.sin(TAU * (3 * x - 7 * y)) + small, 5 * torch.cos(TAU * 4 * x) + small])
    v = coefficients_of(waves, grid).abs()
    assert highest_modes(v, 2, 1e-4) == (4, 7)
    assert highest_modes(v, 2, 1e-8) == (9, 7)
    broken = torch.cat([v, torch.full_like(v[:1], torch.nan)])
    assert highest_modes(broken, 2, 1e-4) == (4, 7)
    assert highest_modes(torch.zeros_like(v), 2, 1e-4) == (0, 0)


@pytest.mark.parametrize("points", [[64, 45], [45, 64]])
def test_a_band_has_room_and_the_function_stays(points: list[int]) -> None:
    grid = NavierStokes().grid(points)
    x, y = torch.meshgrid(*grid.coordinates(), indexing="ij")
    v = coefficients_of(torch.sin(TAU * (3 * x - 7 * y))[None] + 1.0, grid)
    coarse = band_grid(grid, (3, 7))
    assert all(low < k < high for low, k, high in zip((3, 7), kept_modes(coarse), kept_modes(grid)))
    narrow = resized(v, grid, coarse)
    x, y = torch.meshgrid(*coarse.coordinates(), indexing="ij")
    torch.testing.assert_close(values_of(narrow, coarse), torch.sin(TAU * (3 * x - 7 * y))[None] + 1.0)
    torch.testing.assert_close(resized(narrow, coarse, grid), v, rtol=0, atol=1e-15)
    assert band_grid(grid, kept_modes(grid)) == grid


def test_a_band_widens_as_a_front_steepens_and_narrows_as_it_decays(monkeypatch) -> None:
    problem, taken = Burgers(Constant(0.004)), []
    grid = problem.grid(512)
    start = coefficients_of(torch.sin(TAU * grid.coordinates()[0])[None], grid)
    rate = Rate(problem, grid, problem.spectral_parameters(grid, {"u0": 0.0}, "cpu"), start.device)
    whole = etdrk4.fixed_steps(rate, start, 0.5, 7, 256)
    advanced = etdrk4._Band.advanced

    def seen(self, v, steps):
        taken.append(kept_modes(self.grid)[0])
        return advanced(self, v, steps)

    monkeypatch.setattr(etdrk4._Band, "advanced", seen)
    found = etdrk4.fixed_steps(rate, start, 0.5, 7, 256, tail=1e-10)
    assert taken[0] < 10
    assert taken[-1] < max(taken) / 2
    assert max(taken) > 100
    relative = (found - whole).norm(dim=-1) / whole.norm(dim=-1)
    assert 0 < relative.max() < 1e-8


class Forced(Evolution):
    """Driven by the square of a field, whose modes the field itself does not have."""

    domain = unit_box(1, periodic=True)
    f = Parameter(GaussianField())
    u0 = Parameter(GaussianField())

    def rate(self, u, p):
        return 0.01 * D(u, "x", 2) + p.f * p.f


@pytest.mark.parametrize("m", [1, 2, 3, 5, 8, 11, 16])
@pytest.mark.parametrize(
    "problem", [Burgers(Constant(0.01)), AllenCahn(1), Forced()], ids=lambda p: type(p).__name__
)
def test_a_spectrum_with_gaps_is_stepped_as_on_the_whole_grid(
    monkeypatch, problem: Evolution, m: int
) -> None:
    grid = problem.grid(256)
    given = {"u0": torch.sin(TAU * m * grid.coordinates()[0])[None]}
    if isinstance(problem, Forced):
        given = {"u0": 0.0, "f": given["u0"]}
    found = problem.evolve(grid, given, 0.2, 3, rtol=1e-8, device="cpu")
    monkeypatch.setattr(etdrk4, "TAIL", 0.0)
    whole = problem.evolve(grid, given, 0.2, 3, rtol=1e-8, device="cpu")
    assert found.status.tolist() == whole.status.tolist() == [int(Status.CONVERGED)]
    assert (found.u - whole.u).norm() <= 1e-8 * whole.u.norm()


def test_what_grows_from_almost_nothing_is_kept(monkeypatch) -> None:
    problem = KuramotoSivashinsky(200.0)
    grid = problem.grid(256)
    x = TAU * grid.coordinates()[0] / 200.0
    start = {"u0": (1e-4 * torch.sin(x) + 1e-15 * torch.sin(22 * x))[None]}
    found = problem.evolve(grid, start, 60.0, 2, rtol=1e-8, device="cpu").u[:, -1]
    monkeypatch.setattr(etdrk4, "TAIL", 0.0)
    whole = problem.evolve(grid, start, 60.0, 2, rtol=1e-8, device="cpu").u[:, -1]
    mode = torch.fft.rfft(whole).abs()[0, 22]
    assert mode > 1e-6 * torch.fft.rfft(whole).abs().max()
    assert (found - whole).norm() <= 1e-8 * whole.norm()


def test_a_long_time_gathers_more() -> None:
    """Without friction a mode keeps what it is given: what is negligible in a step is not in all of them."""
    problem = KortewegDeVries(32.0)
    grid = problem.grid(256)
    x = TAU * grid.coordinates()[0] / 32.0
    p = problem.spectral_parameters(grid, {"u0": torch.cos(x)[None]}, "cpu")
    v = p.pop("u0").coefficients
    rate = Rate(problem, grid, p, v.device)
    (short,), (long,) = (etdrk4._Band(rate, 1e-3, stop, 1e-6).used(v) for stop in (1e-6, 10.0))
    assert (short, long) == (1, 2)
