"""Losses in Sobolev norms and in bands of wave numbers, against dense matrices and known functions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.mesh_nodes import MeshNodes
from pdeflow.training import H1, L2, Loss, Sobolev, Spectral
from pdeflow.training.sobolev_norm import squared_sobolev

MIXED = Grid(("x", "y"), (0.0, -1.0), (2.0, 2.0), (7, 6), (False, True))


def second_differences(n: int, h: float, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Minus the second differences of one axis, and its cells: ``K`` with ``cells * K`` symmetric."""
    matrix, cells = 2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1), np.ones(n)
    if kind == "periodic":
        matrix[0, -1] = matrix[-1, 0] = -1
    if kind == "free":  # no slope: the value behind a side is that before it
        matrix[0, 1] = matrix[-1, -2] = -2
        cells[[0, -1]] = 0.5
    return matrix / h**2, cells


@pytest.mark.parametrize("sides", ["free", "zero"])
@pytest.mark.parametrize("order", [-2.0, -1.0, -0.5, 0.0, 1.0, 2.0])
def test_the_norm_is_that_of_a_dense_power(order: float, sides: str) -> None:
    u = torch.randn(3, 2, *MIXED.shape, dtype=torch.float64)
    inner = u if sides == "free" else u[:, :, 1:-1]
    (x, cx), (y, cy) = (
        second_differences(inner.shape[2], MIXED.spacing[0], sides),
        second_differences(6, MIXED.spacing[1], "periodic"),
    )
    operator = np.kron(x, np.eye(6)) + np.kron(np.eye(len(x)), y) + np.eye(6 * len(x))
    if order == -1:
        power = scipy.linalg.inv(operator)
    else:
        power = np.real(scipy.linalg.fractional_matrix_power(operator, order))
    cells = np.kron(cx, cy) / (6 * 6)  # six cells along each axis, the mean over the box
    expected = [
        sum(cells @ (c * (power @ c)) for c in sample.reshape(2, -1)) for sample in inner.flatten(2).numpy()
    ]
    found = squared_sobolev(u, MIXED, order, sides)  # pyright: ignore[reportArgumentType]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("wraps", [True, False])
@pytest.mark.parametrize("order", [-1.0, 0.5])
def test_the_loss_of_smooth_functions_is_known_and_does_not_depend_on_the_grid(
    order: float, wraps: bool
) -> None:
    """t = cos(k x) of eigenvalue k^2, p = t + 0.1 cos(3 k x)."""
    wave = (2 if wraps else 1) * math.pi / 3
    expected = 0.1 * ((1 + 9 * wave**2) / (1 + wave**2)) ** (order / 2)
    found = []
    for n in (64, 128):
        grid = Grid(("x",), (0.0,), (3.0,), (n if wraps else n + 1,), (wraps,))
        t = torch.cos(wave * grid.mesh()["x"])[None, None]
        p = t + 0.1 * torch.cos(3 * wave * grid.mesh()["x"])
        found.append(float(Sobolev(order)(p, t, grid)))
    errors = [abs(value / expected - 1) for value in found]
    assert errors[1] < 2e-3
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)


def test_sides_that_are_zero_have_sines() -> None:
    grid = Grid(("x",), (0.0,), (1.0,), (257,))
    t = torch.sin(math.pi * grid.mesh()["x"])[None, None]
    p = t + 0.1 * torch.sin(2 * math.pi * grid.mesh()["x"])
    p[..., 0] = 5.0  # does not count
    expected = 0.1 * math.sqrt((1 + math.pi**2) / (1 + 4 * math.pi**2))
    assert float(Sobolev(sides="zero")(p, t, grid)) == pytest.approx(expected, rel=1e-4)


def test_orders_0_and_1_are_the_losses_of_these_names() -> None:
    grid = Grid(("x", "y"), (0.0, 0.0), (1.0, 2.0), (128, 128), (True, True))
    mesh = grid.mesh()
    t = torch.sin(2 * math.pi * mesh["x"] + math.pi * mesh["y"])[None, None]
    p = t + 0.1 * torch.cos(4 * math.pi * mesh["x"])
    torch.testing.assert_close(Sobolev(0.0)(p, t, grid), L2()(p, t, grid))
    torch.testing.assert_close(Sobolev(1.0)(p, t, grid), H1()(p, t, grid), rtol=1e-2, atol=0)


@pytest.mark.parametrize("wraps", [True, False])
def test_the_spectral_loss_adds_the_norms_of_bands(wraps: bool) -> None:
    grid = Grid(("x",), (0.0,), (1.0,), (64 if wraps else 65,), (wraps,))
    x = grid.mesh()["x"]
    wave = lambda k: torch.cos(2 * math.pi * k * x)[None, None]  # noqa: E731
    t = wave(1) + wave(5)
    p = t + 0.3 * wave(2) + 0.4 * wave(3) + 0.05 * wave(4) + 0.02 * wave(12)
    expected = (0.5 + 0.05 + 0.02) / math.sqrt(2)
    assert float(Spectral()(p, t, grid)) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("loss", [Sobolev(), Sobolev(1.5, "zero"), Spectral()], ids=["H-1", "H1.5", "bands"])
def test_gradients_and_dtypes(loss: Loss) -> None:
    grid = Grid(("x", "y"), (0.0, 0.0), (1.0, 1.0), (9, 10), (False, True))
    p = torch.randn(2, 1, 9, 10, dtype=torch.float64, requires_grad=True)
    t = torch.randn(2, 1, 9, 10, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda q: loss(q, t, grid), (p,))
    assert loss(p.float(), t.float(), grid).dtype == torch.float32
    assert loss(p.to("meta"), t.to("meta"), grid).device.type == "meta"


def test_a_loss_of_validation_first_does_not_spoil_training() -> None:
    grid = Grid(("x",), (0.0,), (1.0,), (23,))
    t = torch.randn(1, 1, 23, dtype=torch.float64)
    with torch.inference_mode():
        Sobolev()(t, t, grid)
    p = torch.randn(1, 1, 23, dtype=torch.float64, requires_grad=True)
    Sobolev()(p, t, grid).backward()
    assert bool((p.grad != 0).all())


def test_what_is_refused() -> None:
    for arguments, key in (((2.5,), r"loss\.order"), ((math.nan,), r"loss\.order"), ((1.0, "odd"), "sides")):
        with pytest.raises(InvalidInput, match=key):
            Sobolev(*arguments)
    mesh = MeshNodes(torch.zeros(4, dtype=torch.long), torch.full((4,), 0.25), torch.zeros(4), 1)
    for loss in (Sobolev(), Spectral()):
        with pytest.raises(InvalidInput, match="meshes"):
            loss(torch.zeros(4, 1), torch.zeros(4, 1), mesh)
    flat = torch.zeros(1, 1, 2)
    with pytest.raises(InvalidInput, match="at least 3"):
        Sobolev(sides="zero")(flat, flat, Grid(("x",), (0.0,), (1.0,), (2,)))
