"""Burgers' equation with fronts that the grid does not resolve, against Cole-Hopf solutions."""

from __future__ import annotations

import math

import pytest
import torch

from pdeflow.linalg import Status
from pdeflow.problems import Burgers, BurgersFronts, SineWaves

TAU = 2 * math.pi


def cole_hopf(x: torch.Tensor, t: float, nu: float) -> torch.Tensor:
    """The solution from sin(2 pi x), as a ratio of integrals of the heat kernel by the trapezoidal rule.

    u = <(x - y) / t> with the weights exp(-(x - y)^2 / (4 nu t) - (1 - cos(2 pi y)) / (4 pi nu)); that is the
    logarithmic derivative of the solution of the heat equation. Their logarithms are shifted by the largest.
    """
    # |u| <= 1, so what comes to x started no farther than t away, but for the width of the kernel.
    reach = t + 10 * math.sqrt(nu * t)
    y = x[:, None] + torch.linspace(-reach, reach, 6001, dtype=torch.float64)
    exponent = -((x[:, None] - y) ** 2) / (4 * nu * t) + torch.cos(TAU * y) / (4 * math.pi * nu)
    weight = torch.exp(exponent - exponent.amax(dim=1, keepdim=True))
    return ((x[:, None] - y) / t * weight).sum(dim=1) / weight.sum(dim=1)


def averages(cells: int, t: float, nu: float) -> torch.Tensor:
    """Of the exact solution, over cells whose centres are k / cells, by 16 midpoints a cell."""
    offsets = (torch.arange(16, dtype=torch.float64) + 0.5) / 16 - 0.5
    x = (torch.arange(cells, dtype=torch.float64)[:, None] + offsets) / cells
    return cole_hopf(x.flatten(), t, nu).unflatten(0, (cells, 16)).mean(dim=1)


def test_the_reference_is_the_smooth_solution_of_the_spectral_method() -> None:
    """Where the viscosity is large both are accurate: no term of the formula is wrong."""
    problem, nu, stop = Burgers(), 0.05, 0.4
    x = problem.grid(64).coordinates()[0]
    path = problem.evolve(problem.grid(64), {"nu": nu, "u0": torch.sin(TAU * x)[None]}, stop, rtol=1e-9)
    torch.testing.assert_close(path.u[0, -1], cole_hopf(x, stop, nu), rtol=0, atol=1e-8)


@pytest.mark.parametrize("stop", [0.1, 0.4])
def test_first_order_before_and_after_the_front_whatever_its_width(stop: float) -> None:
    """Fronts from 0.2 cells to 8 cells wide; they are there from the time 1 / (2 pi) on."""
    law, errors = BurgersFronts(), []
    nu = torch.tensor([1e-4, 1e-3 / math.pi, 1e-2 / math.pi], dtype=torch.float64)
    for cells in (64, 128, 256):
        x = law.grid(cells).coordinates()[0]
        path = law.evolve(law.grid(cells), {"nu": nu, "u0": torch.sin(TAU * x)}, stop)
        assert (path.status == int(Status.CONVERGED)).all()
        exact = torch.stack([averages(cells, stop, float(v)) for v in nu])
        errors.append((path.u[:, -1] - exact).abs().mean(dim=1))
        # The equation keeps the mass, and no new extrema arise.
        assert path.u[:, -1].sum(dim=1).abs().max() < 1e-11
        assert path.u.abs().max() <= 1 + 1e-12
    order = torch.log2(errors[0] / errors[-1]) / 2
    assert order.min() > 0.8, (errors, order)
    assert errors[-1].max() < 0.006, errors


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
    assert law.describe()["conditions"] == ["u = u0 at t = 0", "periodic along x"]
