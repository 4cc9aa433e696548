"""Burgers' equation with fronts that the grid does not resolve, against Cole-Hopf solutions."""

from __future__ import annotations

import math

import pytest
import torch

from pdeflow.linalg import Status
from pdeflow.problems import Burgers, BurgersFronts, SineWaves

TAU = 2 * math.pi


def averages(centres: torch.Tensor, width: float, t: float, nu: float, wind: float = 0.0) -> torch.Tensor:
    """The solution from wind + sin(2 pi x), over cells with these centres.

    It is -2 nu (log phi)_x, moved by wind t, where phi solves the heat equation: the integral over y of
    exp(-(x - y)^2 / (4 nu t) + cos(2 pi y) / (4 pi nu)), here taken by the trapezoidal rule.
    """
    faces = torch.cat([centres, centres[-1:] + width]) - width / 2 - wind * t
    # |u - wind| <= 1, so what comes to x started no farther than t away, but for the width of the kernel.
    away = torch.linspace(-1.0, 1.0, 1601, dtype=torch.float64) * (t + 10 * math.sqrt(nu * t))
    exponent = -(away**2) / (4 * nu * t) + torch.cos(TAU * (faces[:, None] - away)) / (4 * math.pi * nu)
    return wind - 2 * nu * torch.logsumexp(exponent, dim=1).diff() / width


def test_the_reference_is_the_smooth_solution_of_the_spectral_method() -> None:
    """Where the viscosity is large both are accurate: no term of the formula is wrong."""
    problem, nu, stop = Burgers(), 0.05, 0.4
    x = problem.grid(64).coordinates()[0]
    path = problem.evolve(problem.grid(64), {"nu": nu, "u0": (0.5 + torch.sin(TAU * x))[None]}, stop)
    exact = torch.cat([averages(place[None], 1e-4, stop, nu, 0.5) for place in x])
    torch.testing.assert_close(path.u[0, -1], exact, rtol=0, atol=1e-6)


@pytest.mark.parametrize("stop", [0.1, 0.4])
def test_first_order_before_and_after_the_front_whatever_its_width(stop: float) -> None:
    """Fronts from 0.02 cells to 5 cells wide, carried along; they are there from the time 1 / (2 pi) on.

    The largest error over many instants, because the errors waver as a front crosses a cell.
    """
    law, wind, errors = BurgersFronts(), 1.0, []
    nu = torch.tensor([1e-4, 1e-3 / math.pi, 1e-2 / math.pi], dtype=torch.float64)
    for cells in (48, 192):
        x = law.grid(cells).coordinates()[0]
        path = law.evolve(law.grid(cells), {"nu": nu, "u0": wind + torch.sin(TAU * x)}, stop, 41)
        assert (path.status == int(Status.CONVERGED)).all()
        exact = torch.stack(
            [
                torch.stack([averages(x, 1 / cells, t, float(v), wind) for t in path.times[21:].tolist()])
                for v in nu
            ]
        )
        errors.append((path.u[:, 21:] - exact).abs().mean(dim=2).amax(dim=1))
        # The equation keeps the mass, and no new extrema arise.
        assert (path.u.mean(dim=2) - wind).abs().max() < 1e-12
        assert (path.u - wind).abs().max() <= 1 + 1e-12
    order = torch.log2(errors[0] / errors[-1]) / 2
    assert order.min() > 0.9, (errors, order)
    assert errors[-1].max() < 0.004, errors


def test_the_mean_carries_the_front_along() -> None:
    """u0 + c is u moved by c t: a front at c t + 1 / 2, across the seam, in the cell where it belongs."""
    law, cells, shift, stop = BurgersFronts(), 128, 1.5, 0.75
    x = law.grid(cells).coordinates()[0]
    path = law.evolve(law.grid(cells), {"u0": (shift + torch.sin(TAU * x))[None]}, stop)
    steepest = int(path.u[0, -1].diff().argmin())
    assert abs(float(x[steepest]) + 0.5 / cells - (0.5 + shift * stop) % 1) <= 1 / cells


def test_by_default_samples_are_those_of_pdebench() -> None:
    law = BurgersFronts()
    grid = law.grid(128)
    drawn = law.sample([0, 1], grid, seed=1)
    assert torch.equal(drawn["nu"], torch.full((2,), 1e-3 / math.pi, dtype=torch.float64))
    assert law.u0.distribution == SineWaves()
    path = law.evolve(grid, drawn, 0.2, 3)
    assert torch.equal(path.u[:, 0], drawn["u0"])
    assert (path.status == int(Status.CONVERGED)).all()
    assert law.describe()["conditions"] == ["u = u0(x) at t = 0", "periodic along x"]
