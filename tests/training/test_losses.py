"""Losses and derivatives against NumPy and against functions whose norms are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.training import H1, L2, RelativeL2
from pdeflow.training.derivative import gradient


def bounded(*points: int) -> Grid:
    return Grid(tuple("xyz"[: len(points)]), (0.0,) * len(points), (2.0,) * len(points), points)


@pytest.mark.parametrize("shape", [(9,), (5, 7), (4, 3, 6)])
def test_bounded_gradient_is_numpys(shape: tuple[int, ...]) -> None:
    u = torch.randn(2, 3, *shape, dtype=torch.float64)
    grid = bounded(*shape)
    for axis, derivative in enumerate(gradient(u, grid)):
        expected = np.gradient(u.numpy(), grid.spacing[axis], axis=2 + axis, edge_order=2)
        np.testing.assert_allclose(derivative.numpy(), expected, atol=1e-12)


def test_periodic_gradient_wraps_and_converges() -> None:
    errors = []
    for n in (32, 64):
        grid = Grid(("x", "y"), (0.0, 0.0), (2.0, 1.0), (n, 6), (True, False))
        mesh = grid.mesh()
        u = torch.sin(math.pi * mesh["x"]) * mesh["y"]
        exact = math.pi * torch.cos(math.pi * mesh["x"]) * mesh["y"]
        errors.append((gradient(u, grid)[0] - exact).abs().max().item())
        spectral = gradient(u, grid, spectral=True)
        torch.testing.assert_close(spectral[0], exact, atol=1e-12, rtol=0)
        torch.testing.assert_close(spectral[1], torch.sin(math.pi * mesh["x"]), atol=1e-12, rtol=0)
    assert errors[0] / errors[1] == pytest.approx(4.0, rel=0.05)


def test_two_points() -> None:
    u = torch.tensor([[[1.0, 4.0]]])
    assert gradient(u, bounded(2))[0].tolist() == [[[1.5, 1.5]]]


def test_gradient_of_another_grid() -> None:
    with pytest.raises(InvalidInput, match=r"\(5, 7\)"):
        gradient(torch.zeros(1, 1, 5, 6), bounded(5, 7))


def test_relative_l2_is_a_mean_of_sample_norms() -> None:
    p, t = torch.randn(4, 2, 5, 7), torch.randn(4, 2, 5, 7)
    expected = np.mean(
        [np.linalg.norm((a - b).ravel()) / np.linalg.norm(b.ravel()) for a, b in zip(p.numpy(), t.numpy())]
    )
    for loss in (RelativeL2(), L2()):
        assert float(loss(p, t, bounded(5, 7))) == pytest.approx(float(expected), rel=1e-5)


def test_h1_of_known_functions() -> None:
    """t = sin(pi x), p = t + 0.1 sin(3 pi x) on a period: norms known in closed form."""
    grid = Grid(("x",), (0.0,), (2.0,), (4096,), (True,))
    x = grid.mesh()["x"]
    t = torch.sin(math.pi * x)[None, None]
    p = t + 0.1 * torch.sin(3 * math.pi * x)
    expected = 0.1 * math.sqrt((1 + 9 * math.pi**2) / (1 + math.pi**2))
    assert float(H1()(p, t, grid)) == pytest.approx(expected, rel=1e-4)


def test_h1_sees_slopes_in_units_of_length() -> None:
    """The same samples on a box of half the size have twice the slopes."""
    t = torch.sin(torch.linspace(0, 3, 50))[None, None]
    p = t + 0.01 * torch.cos(torch.linspace(0, 30, 50))
    wide = Grid(("x",), (0.0,), (3.0,), (50,))
    tall = Grid(("x",), (0.0,), (0.3,), (50,))
    assert float(H1()(p, t, tall)) > float(H1()(p, t, wide)) > float(L2()(p, t, wide))


@pytest.mark.parametrize("loss", [RelativeL2(), H1()])
def test_gradients_flow(loss: RelativeL2 | H1) -> None:
    p = torch.randn(2, 1, 4, 4, dtype=torch.float64, requires_grad=True)
    t = torch.randn(2, 1, 4, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda q: loss(q, t, bounded(4, 4)), (p,))
