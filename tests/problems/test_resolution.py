"""From how many nodes on an equation in time is taken, and what fewer would give."""

from __future__ import annotations

import math

import pytest
import torch

from pdeflow.errors import InvalidInput
from pdeflow.problems import (
    Burgers,
    Constant,
    Evolution,
    Fisher,
    GaussianBumps,
    GaussianField,
    Helmholtz,
    KortewegDeVries,
    NavierStokes,
    ShallowWater,
    SineWaves,
    Uniform,
)
from pdeflow.problems.burgers import FNO_STD


@pytest.mark.parametrize(
    ("problem", "points"),
    [
        *(
            (Burgers(Constant(nu)), 1024) for nu in (1e-1, 1e-2, 1e-3)
        ),  # the FNO paper's 8192 nodes, every eighth
        (Burgers(Constant(0.01 / math.pi), SineWaves()), 256),  # PDEBench's 1024, every fourth
        *((NavierStokes(Constant(nu)), 64) for nu in (1e-3, 1e-4, 1e-5)),
        (ShallowWater(), 128),
        *((Fisher(Constant(nu), Constant(10.0)), 256) for nu in (0.5, 5.0)),  # PDEBench's 1024, every fourth
        (KortewegDeVries(), 128),
        (Burgers(Constant(1e-9), GaussianBumps()), 32),  # how high its fronts are is not known
    ],
)
def test_published_settings_are_taken(problem: Evolution, points: int) -> None:
    problem.check_resolution(problem.grid(points))


@pytest.mark.parametrize(
    ("problem", "told"),
    [
        (Helmholtz(wave_number=Constant(1e12)), "at least 1.6e+12 nodes"),
        (Helmholtz(wave_number=Constant(1e308)), "at least inf nodes"),
        (Burgers(Constant(1e-300)), "nodes along each axis, for fronts"),
    ],
)
def test_numbers_beyond_all_grids_are_told(problem, told: str) -> None:
    with pytest.raises(InvalidInput, match="resolution") as caught:
        problem.check_resolution(problem.grid(64))
    assert told in str(caught.value)


def test_fewer_nodes_than_burgers_takes_do_not_resolve_its_fronts() -> None:
    """Relative errors against four times as many nodes, four samples, six instants, the same functions."""
    problem = Burgers(Constant(0.01), GaussianField(alpha=2.0, tau=5.0, std=FNO_STD, modes=21))

    def solution(points: int) -> torch.Tensor:
        grid = problem.grid(points)
        path = problem.evolve(grid, problem.sample(range(4), grid, seed=1), 1.0, 6, rtol=1e-5)
        return path.u[..., :: points // 21]

    problem.check_resolution(problem.grid(42))
    with pytest.raises(
        InvalidInput, match=r"resolution: got 41, expected at least 42 nodes.*viscosity 0\.01"
    ):
        problem.check_resolution(problem.grid(41))
    exact = solution(168)
    errors = [((solution(n) - exact).norm(dim=-1) / exact.norm(dim=-1)).max() for n in (21, 42)]
    assert errors[0] > 0.1
    assert errors[1] < 0.02


@pytest.mark.parametrize(
    "family", [lambda u0: Burgers(Constant(0.001), u0), lambda u0: KortewegDeVries(50.0, u0)]
)
def test_the_average_of_an_initial_field_asks_for_no_nodes(family) -> None:
    """It moves the solution on, as a whole."""
    needed = []
    for more in ({}, {"constant_mode": True}, {"constant_mode": True, "mean": 5.0}):
        problem = family(GaussianField(alpha=2.0, tau=0.3, **more))
        with pytest.raises(InvalidInput, match="resolution") as caught:
            problem.check_resolution(problem.grid(2))
        needed.append(caught.value.expected.split()[2])
    assert len(set(needed)) == 1


def test_fewer_nodes_than_fisher_takes_do_not_resolve_its_fronts() -> None:
    """Relative errors against eight times as many nodes, six samples, six instants."""
    problem = Fisher(Constant(1e-4), Uniform(5.0, 10.0))

    def errors(points: int) -> torch.Tensor:
        found, exact = (
            problem.evolve(grid, problem.sample(range(6), grid, seed=1), 0.8, 6, rtol=1e-5).u
            for grid in (problem.grid(points), problem.grid(8 * points))
        )
        exact = exact[..., ::8]
        return ((found - exact).norm(dim=-1) / exact.norm(dim=-1)).amax(1)

    problem.check_resolution(problem.grid(80))
    with pytest.raises(InvalidInput, match=r"resolution: got 79, expected at least 80 nodes.*0\.00316"):
        problem.check_resolution(problem.grid(79))
    assert errors(80).max() < 0.015
    assert errors(40).median() > 0.01


def test_fewer_nodes_than_korteweg_de_vries_takes_are_said() -> None:
    problem = KortewegDeVries(length=50.0, initial=GaussianField(std=2.0))
    needed = math.ceil(50 * math.sqrt(2 * 2.0) / 0.75)
    problem.check_resolution(problem.grid(needed))
    with pytest.raises(InvalidInput, match=f"resolution: got {needed - 1}, expected at least {needed} nodes"):
        problem.check_resolution(problem.grid(needed - 1))
