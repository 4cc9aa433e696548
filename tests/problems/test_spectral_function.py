"""Fourier series against trigonometric formulas and convolutions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pdeflow.errors import InvalidInput
from pdeflow.problems import Box, D, exp
from pdeflow.problems.domain import unit_box
from pdeflow.problems.spectral_function import SpectralFunction

TAU = 2 * math.pi


@pytest.mark.parametrize("points", [(15, 12), (12, 15), (16, 16), (9, 7)])
def test_derivatives_of_trigonometric_polynomials_are_exact(points: tuple[int, int]) -> None:
    grid = Box(x=(-1.0, 1.5), y=(0.0, 3.0), periodic=("x", "y")).grid(points)
    at = grid.mesh()
    a, b = TAU * 2 / 2.5, TAU * 3 / 3.0
    wave = torch.cos(a * at["x"]) * torch.sin(b * at["y"]) + 0.5
    u = SpectralFunction.of(wave[None], grid)
    torch.testing.assert_close(u.values[0], wave, rtol=0, atol=1e-13)
    torch.testing.assert_close(D(u, "x", 4).values[0], a**4 * (wave - 0.5), rtol=0, atol=1e-10)
    mixed = -a * b * torch.sin(a * at["x"]) * torch.cos(b * at["y"])
    torch.testing.assert_close(D(D(u, "y"), "x").values[0], mixed, rtol=0, atol=1e-11)


@pytest.mark.parametrize("points", [15, 16, 17])
def test_products_are_truncated_convolutions(points: int) -> None:
    grid = unit_box(1, periodic=True).grid(points)
    highest = (points - 1) // 2
    values = torch.rand(2, 3, points, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    u, v = SpectralFunction.of(values[0], grid), SpectralFunction.of(values[1], grid)
    product, square = (u * v).coefficients.numpy(), (u**2).coefficients.numpy()

    def full(f: SpectralFunction, row: int) -> np.ndarray:
        half = f.coefficients[row].numpy()
        return np.concatenate([half[:0:-1].conj(), half])

    for row in range(3):
        for got, other in ((product, v), (square, u)):
            expected = np.convolve(full(u, row), full(other, row))[2 * highest : 3 * highest + 1]
            np.testing.assert_allclose(got[row], expected, rtol=0, atol=1e-14)


def test_arithmetic_agrees_with_that_of_values() -> None:
    grid = unit_box(2, periodic=True).grid((24, 25))
    at = grid.mesh()
    x, y = torch.sin(TAU * at["x"]), torch.cos(TAU * at["y"])
    c = torch.tensor([0.3, -0.2], dtype=torch.float64)
    u = SpectralFunction.of(torch.stack([x, x * y]), grid)
    v = SpectralFunction.of(y[None], grid)
    p = SpectralFunction.of(c, grid)
    U, V, P = torch.stack([x, x * y]), y[None], c[:, None, None]
    cases = [
        (u + v - p, U + V - P),
        (p - u, P - U),
        (2 - u, 2 - U),
        (p * u + 3 * v, P * U + 3 * V),
        (u / p, U / P),
        (v / (8 + u), V / (8 + U)),
        (1 / (8 + v), 1 / (8 + V)),
        (u**3, U**3),
        (2**v, 2**V),
        (exp(p * u), torch.exp(P * U)),
        (-(p**2) * v, -(P**2) * V),
        (exp(p) / (1 + p), torch.exp(P) / (1 + P)),
    ]
    for got, expected in cases:
        torch.testing.assert_close(got.values, expected.expand_as(got.values), rtol=0, atol=1e-7)
    assert not D(p, "x").values.any()


def test_a_bare_tensor_and_an_unknown_axis_are_refused() -> None:
    grid = unit_box(1, periodic=True).grid(8)
    u = SpectralFunction.of(torch.ones(1, 8, dtype=torch.float64), grid)
    with pytest.raises(InvalidInput, match="Make it a Parameter"):
        _ = u * torch.ones(8)
    with pytest.raises(InvalidInput, match="axis of D"):
        D(u, "z")
