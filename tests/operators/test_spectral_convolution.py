"""The spectral convolution: each mode meets its own weights on odd and even grids, and on other ones."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pdeflow.operators.spectral_convolution import SpectralConvolution


def wave(points: tuple[int, ...], frequencies: tuple[int, ...], phase: float = 0.3) -> Tensor:
    """``cos(2 pi k . x + phase)`` on a periodic grid, ``(1, 1, *points)``."""
    angle = torch.tensor(phase)
    for axis, (n, k) in enumerate(zip(points, frequencies)):
        turns = 2 * math.pi * k * torch.arange(n) / n
        angle = angle + turns.view(-1, *(1,) * (len(points) - 1 - axis))
    return torch.cos(angle)[None, None]


def convolution(modes: tuple[int, ...]) -> SpectralConvolution:
    torch.manual_seed(0)
    return SpectralConvolution(1, 1, modes, bias=False)


def response(weights: Tensor, points: tuple[int, ...], frequencies: tuple[int, ...]) -> Tensor:
    """What weights ``R_k`` make of ``wave``: its amplitude and its phase are multiplied by ``R_k``."""
    factor = weights.detach()[tuple(k + m // 2 for k, m in zip(frequencies[:-1], weights.shape))][
        frequencies[-1]
    ]
    return factor.abs() * wave(points, frequencies, 0.3 + float(factor.angle()))


@pytest.mark.parametrize("points", [(10, 12), (11, 13), (10, 13), (11, 12)])
@pytest.mark.parametrize("frequencies", [(0, 1), (2, 1), (-2, 1), (-1, 2)])
def test_each_mode_meets_its_own_weights(points: tuple[int, ...], frequencies: tuple[int, ...]) -> None:
    operator = convolution((5, 5))
    weights = operator.weight.to_tensor()[0, 0]
    given = operator(wave(points, frequencies))
    torch.testing.assert_close(given, response(weights, points, frequencies), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("wanted", [(7, 6), (22, 25)])
@pytest.mark.parametrize("frequencies", [(2, 1), (-2, 1)])
def test_output_on_another_grid(wanted: tuple[int, ...], frequencies: tuple[int, ...]) -> None:
    operator = convolution((5, 5))
    weights = operator.weight.to_tensor()[0, 0]
    given = operator(wave((11, 12), frequencies), output_shape=wanted)
    torch.testing.assert_close(given, response(weights, wanted, frequencies), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("points", [(9, 7, 8), (8, 8, 9)])
def test_shifts_in_three_dimensions(points: tuple[int, ...]) -> None:
    operator = convolution((5, 5, 5))
    x = torch.randn(2, 1, *points, generator=torch.Generator().manual_seed(1))
    shifted = operator(x.roll((3, 1, 2), (2, 3, 4)))
    torch.testing.assert_close(shifted, operator(x).roll((3, 1, 2), (2, 3, 4)), rtol=1e-4, atol=1e-5)
    assert operator(torch.ones(1, 1, *points)).std() < 1e-6


def test_same_numbers_as_neuraloperator_where_it_is_right() -> None:
    from neuralop.layers.spectral_convolution import SpectralConv

    ours = convolution((6, 6))
    torch.manual_seed(0)
    theirs = SpectralConv(1, 1, (6, 6), bias=False)
    x = torch.randn(2, 1, 12, 9)
    torch.testing.assert_close(ours(x), theirs(x))


def test_in_double_precision() -> None:
    """``double()`` leaves the complex weights in single precision; the arithmetic is in double."""
    operator = convolution((6, 5))
    x = torch.randn(2, 1, 12, 9, dtype=torch.float64)
    single = operator(x.float())
    double = operator.double()(x)
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), single, rtol=1e-4, atol=1e-6)
    shifted = operator(x.roll((3, 1), (2, 3)))
    torch.testing.assert_close(shifted, double.roll((3, 1), (2, 3)), rtol=1e-10, atol=1e-12)
    double.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in operator.parameters())
