"""References that physics-informed training is measured by, against their statements and published data."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.problems import (
    ConvectedSine,
    CosineAllenCahn,
    FlowMixing,
    HeatedRod,
    ObservedBurgers,
    ParametricFamily,
    Problem,
    SineBurgers,
    SineHelmholtz,
    SpreadingBumps,
)
from pdeflow.problems.calculus import Names
from pdeflow.problems.cosine_allen_cahn import INSTANTS
from pdeflow.problems.observed import observations
from pdeflow.problems.spreading_bumps import march

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data" / "burgers.npz"


def exact(problem: Problem, points: Tensor) -> Tensor:
    p = Names("parameter", problem.complete_parameters({}))
    return problem.exact(Names("coordinate", {"x": points[:, 0], "t": points[:, 1]}), p)


def points(problem: Problem, n: int, first: float) -> Tensor:
    """From a time on."""
    torch.manual_seed(0)
    low, high = torch.tensor(problem.domain.lower), torch.tensor(problem.domain.upper)
    drawn = low + (high - low) * torch.rand(n, 2)
    drawn[:, 1] = first + (high[1] - first) * torch.rand(n)
    return drawn.double()


FAMILIES = [
    (HeatedRod(), "a", (0.1, 1.0), "t", 1e-11),
    (ConvectedSine(), "beta", (-5.0, 40.0), "t", 1e-10),
    (SineBurgers(), "nu", (0.05, 1.0), "t", 1e-7),
    (SineHelmholtz(1, 2, k=2.0), "k", (0.5, 5.0), "y", 1e-10),
]


@pytest.mark.parametrize(
    ("statement", "name", "ends", "second", "error"), FAMILIES, ids=lambda x: getattr(x, "name", "")
)
def test_solutions_are_known_for_a_range_of_a_parameter(
    statement: Problem, name: str, ends: tuple[float, float], second: str, error: float
) -> None:
    """And for the number that the statement has it is the member of the family."""
    family = ParametricFamily(statement, {name: ends})
    torch.manual_seed(0)
    low, high = torch.tensor(family.domain.lower), torch.tensor(family.domain.upper)
    x = low.double() + (high - low).double() * (0.05 + 0.9 * torch.rand(300, 3, dtype=torch.float64))

    def solution(points: Tensor) -> Tensor:
        at = Names("coordinate", dict(zip(("x", second, name), points.unbind(1))))
        return family.exact(at, Names("parameter", {}))

    residual = family.residual_at_points(solution, x, {}).detach()
    assert float(residual.abs().max()) < error * max(1.0, float(x[:, 2].abs().max())) ** 2
    own = float(statement.parameters[name].distribution.fixed)
    x[:, 2] = own
    at = Names("coordinate", dict(zip(("x", second), x.unbind(1))))
    torch.testing.assert_close(solution(x), statement.exact(at, Names("parameter", {name: own})))


def test_a_wave_number_at_resonance_is_refused() -> None:
    SineHelmholtz(1, 1, k=math.pi)
    with pytest.raises(InvalidInput, match=r"k: got .*away from resonance"):
        SineHelmholtz(0, 1, k=math.pi)
    for k in (0.0, -1.0):
        with pytest.raises(InvalidInput, match=r"k: got .*all positive"):
            SineHelmholtz(k=k)
    with pytest.raises(InvalidInput, match=r"viscosity: got .*all positive"):
        SineBurgers(viscosity=0.0)


@pytest.mark.parametrize("viscosity", [0.01 / math.pi, 0.1])
def test_the_quadrature_solves_burgers_equation(viscosity: float) -> None:
    problem = SineBurgers(viscosity)
    x = points(problem, 500, 0.01)
    residual = problem.residual_at_points(lambda p: exact(problem, p), x, {})
    steepest = 1 / viscosity  # u u_x is of this size in the front
    assert float(residual.detach().abs().max()) <= 1e-9 * steepest


def test_burgers_solution_starts_as_stated_and_keeps_its_ends() -> None:
    problem = SineBurgers()
    x = torch.linspace(-1, 1, 33, dtype=torch.float64)
    start = exact(problem, torch.stack([x, torch.zeros_like(x)], dim=1))
    torch.testing.assert_close(start, -torch.sin(math.pi * x))
    ends = exact(problem, torch.tensor([[-1.0, 0.3], [1.0, 0.8], [0.0, 1.0]], dtype=torch.float64))
    torch.testing.assert_close(ends, torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-12)


def test_burgers_solution_is_the_published_one() -> None:
    if not SHARED.is_file():
        pytest.skip(f"{SHARED.name} of the DeepXDE repository is not there")
    data = {name: torch.as_tensor(value) for name, value in np.load(SHARED).items()}
    x, t = torch.meshgrid(data["x"][:, 0], data["t"][:, 0], indexing="ij")
    found = exact(SineBurgers(), torch.stack([x.flatten(), t.flatten()], dim=1)).reshape(x.shape)
    assert float((found - data["usol"]).norm() / data["usol"].norm()) <= 1e-10


def test_the_reference_solves_the_allen_cahn_equation() -> None:
    """Between the instants, too, where it is cubic in time."""
    problem = CosineAllenCahn()
    x = points(problem, 400, 0.05)
    residual = problem.residual_at_points(lambda p: exact(problem, p), x, {})
    assert float(residual.detach().abs().max()) <= 1e-5
    x[:, 1] = (x[:, 1] * (INSTANTS - 1)).round() / (INSTANTS - 1)
    residual = problem.residual_at_points(lambda p: exact(problem, p), x, {})
    assert float(residual.detach().abs().max()) <= 1e-6


def test_the_allen_cahn_reference_starts_as_stated_wraps_around_and_is_even() -> None:
    problem = CosineAllenCahn()
    x = torch.linspace(-1, 1, 33, dtype=torch.float64)
    start = exact(problem, torch.stack([x, torch.zeros_like(x)], dim=1))
    torch.testing.assert_close(start, x**2 * torch.cos(math.pi * x))
    soon = exact(problem, torch.stack([x, torch.full_like(x, 1e-6)], dim=1))
    torch.testing.assert_close(soon, start, rtol=0, atol=1e-3)
    there = points(problem, 20, 0.0)
    for other in (there * torch.tensor([-1.0, 1.0]), there + torch.tensor([2.0, 0.0])):
        torch.testing.assert_close(exact(problem, there), exact(problem, other), rtol=0, atol=1e-10)


def test_allen_cahn_stays_between_its_phases() -> None:
    values = exact(CosineAllenCahn(), points(CosineAllenCahn(), 500, 0.9))
    assert -1 - 1e-9 <= float(values.min()) <= -0.999
    assert 0.99 <= float(values.max()) <= 1 + 1e-9


def test_the_front_is_wound_up() -> None:
    problem = FlowMixing()
    torch.manual_seed(0)
    x = torch.tensor([8.0, 8.0, 4.0]) * (torch.rand(300, 3) - torch.tensor([0.5, 0.5, 0.0]))
    x[0] = 0.0  # on the axis

    def solution(points: Tensor) -> Tensor:
        return problem.exact(Names("coordinate", dict(zip("xyt", points.unbind(1)))), None)

    assert float(problem.residual_at_points(solution, x.double(), {}).detach().abs().max()) <= 1e-12
    turned = problem.turning(Names("coordinate", {"x": torch.linspace(0, 4, 400), "y": torch.zeros(400)}))
    assert float((turned * torch.linspace(0, 4, 400)).max()) == pytest.approx(1.0, rel=1e-3)


def test_the_reference_of_the_bumps_converges() -> None:
    """With the square of the spacing, which is why it is extrapolated."""
    coarse, middle, fine = (march(n, 0.1)[-1][:: (n - 1) // 25, :: (n - 1) // 25] for n in (26, 51, 101))
    first, second = (coarse - fine).norm(), (middle - fine).norm()
    assert float(first / second) == pytest.approx(5.0, rel=0.2)  # (16 - 1) / (4 - 1)
    assert float(second / fine.norm()) <= 5e-3


def test_the_bumps_start_as_stated_and_vanish_around() -> None:
    problem = SpreadingBumps(stop=0.05)

    def solution(points: Tensor) -> Tensor:
        return problem.exact(Names("coordinate", dict(zip("xyt", points.unbind(1)))), None)

    x = torch.tensor([[-0.5, -0.1, 0.0], [-0.5, -0.1, 0.01], [1.0, 0.2, 0.0], [0.3, -1.0, 0.05]]).double()
    start, soon, *sides = solution(x).tolist()
    # alpha (|grad u|^2 + u laplace u) at the top of the second bump, of which the others are far
    rate = 0.05 * start * (-2 * 2 * 15 * 0.4)
    assert start == pytest.approx(0.4, rel=1e-2)
    assert (soon - start) / 0.01 == pytest.approx(rate, rel=0.15)
    early = problem.exact(Names("coordinate", {"x": x[0, 0], "y": x[0, 1], "t": torch.tensor(2e-4)}), None)
    assert (float(early) - start) / 2e-4 == pytest.approx(rate, rel=0.03)  # also between the first instants
    assert sides == [0.0, 0.0]
    one = problem.exact(Names("coordinate", {"x": x[1, 0], "y": x[1, 1], "t": x[1, 2]}), None)
    assert float(one) == soon


def test_measurements_are_of_the_solution_with_errors() -> None:
    (_, observed), *_ = observations(ObservedBurgers(measurements=4000, noise=0.02, seed=3))
    points, values = np.asarray(observed.points), np.asarray(observed.values)
    errors = values - exact(SineBurgers(), torch.from_numpy(points)).numpy()
    assert errors.std() == pytest.approx(0.02, rel=0.05)
    assert abs(errors.mean()) < 2e-3
    (_, again), *_ = observations(ObservedBurgers(measurements=4000, noise=0.02, seed=3))
    assert np.array_equal(observed.table, again.table)
    with pytest.raises(InvalidInput, match=r"problem.measurements: got 0"):
        ObservedBurgers(measurements=0)
    with pytest.raises(InvalidInput, match=r"problem.noise: got -1"):
        ObservedBurgers(noise=-1.0)
    for viscosity in (0.0, 1e-5):
        with pytest.raises(InvalidInput, match=r"problem.viscosity: got .*above 0.0001 and below 1"):
            ObservedBurgers(viscosity=viscosity)
