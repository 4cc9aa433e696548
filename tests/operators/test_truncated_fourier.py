"""Products with matrices against fast transforms of which most modes are thrown away."""

from __future__ import annotations

import pytest
import torch

from pdeflow.operators.truncated_fourier import from_modes, lowest_modes

CASES = [((12,), (5,)), ((12,), (7,)), ((11, 9), (5, 4)), ((12, 10), (12, 6)), ((7, 8, 9), (4, 5, 3))]


def places(modes: tuple[int, ...], points: tuple[int, ...]) -> tuple[torch.Tensor, ...]:
    """Where the kept modes stand in the spectrum of ``rfftn``."""
    waves = [torch.arange(-(m // 2), m - m // 2) % n for m, n in zip(modes[:-1], points[:-1])]
    return torch.meshgrid(*waves, torch.arange(modes[-1]), indexing="ij")


@pytest.mark.parametrize("norm", ["forward", "backward", "ortho"])
@pytest.mark.parametrize(("points", "modes"), CASES)
def test_both_ways_against_fast_transforms(points, modes, norm) -> None:
    torch.manual_seed(0)
    axes = tuple(range(2, 2 + len(points)))
    x = torch.randn(2, 3, *points, dtype=torch.float64)
    low = lowest_modes(x, modes, norm)
    full = torch.fft.rfftn(x, dim=axes, norm=norm)
    index = (slice(None), slice(None), *places(modes, points))
    torch.testing.assert_close(torch.complex(low[:, :, 0], low[:, :, 1]), full[index])
    finer = tuple(n + 3 for n in points)
    spectrum = torch.zeros(2, 3, *finer[:-1], finer[-1] // 2 + 1, dtype=torch.complex128)
    spectrum[(slice(None), slice(None), *places(modes, finer))] = torch.complex(low[:, :, 0], low[:, :, 1])
    expected = torch.fft.irfftn(spectrum, s=finer, dim=axes, norm=norm)
    torch.testing.assert_close(from_modes(low, finer, norm), expected)


def test_gradients() -> None:
    x = torch.randn(1, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda x: from_modes(lowest_modes(x, (4, 3), "forward"), (6, 7), "forward"), x
    )


def test_rounding_is_that_of_the_precision() -> None:
    x = torch.randn(1, 2, 64, 64)
    low = lowest_modes(x, (32, 17), "forward")
    exact = lowest_modes(x.double(), (32, 17), "forward")
    assert float((low - exact).norm() / exact.norm()) < 1e-6
    assert lowest_modes(x.to("meta"), (32, 17), "forward").shape == (1, 2, 2, 32, 17)


def test_what_inference_has_made_serves_training() -> None:
    points, modes = (13, 14), (6, 5)
    with torch.inference_mode():
        from_modes(lowest_modes(torch.randn(1, 1, *points), modes, "forward"), points, "forward")
    x = torch.randn(1, 1, *points, requires_grad=True)
    from_modes(lowest_modes(x, modes, "forward"), points, "forward").square().sum().backward()
    assert torch.isfinite(x.grad).all()
