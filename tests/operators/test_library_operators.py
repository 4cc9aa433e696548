"""FNO, UNO, LocalNO, CODANO and UNet: what is particular to each."""

from __future__ import annotations

import math

import pytest
import torch

from pdeflow.errors import InvalidInput
from pdeflow.operators import CODANO, FNO, UNO, LocalNO, UNet
from pdeflow.operators.differential_kernel import SpectralAndDifferential


@pytest.mark.parametrize("bounded", [True, False])
@pytest.mark.parametrize("cells", [16, 32])
def test_differential_kernel_is_a_derivative(bounded: bool, cells: int) -> None:
    """With weights of a central difference: the derivative of a parabola, ends included, at any spacing."""
    kernel = SpectralAndDifferential(1, 1, (4, 4), bounded=bounded, unit=0.25, bias=False)
    stencil = torch.zeros(1, 1, 3, 3)
    stencil[0, 0, 0, 1], stencil[0, 0, 2, 1] = -0.5, 0.5
    with torch.no_grad():
        kernel.weight.tensor.zero_()
        kernel.differential.conv.weight.copy_(stencil)
        x = torch.arange(cells + bounded) / cells
        y = kernel((x * (1 - x))[None, None, :, None].expand(1, 1, -1, cells + bounded))
    inside = slice(None) if bounded else slice(1, -1)
    # A unit of length is a quarter of the domain.
    torch.testing.assert_close(y[0, 0, inside, 3], ((1 - 2 * x) / 4)[inside], rtol=1e-4, atol=1e-4)


def test_differential_kernel_does_not_see_constants() -> None:
    torch.manual_seed(0)
    kernel = SpectralAndDifferential(1, 1, (4, 4), bounded=True, unit=0.25, bias=False)
    with torch.no_grad():
        kernel.weight.tensor.zero_()
    assert kernel(torch.full((1, 1, 9, 9), 3.0)).abs().max() < 1e-5


@pytest.mark.parametrize("positions", ["bounded", "periodic"])
def test_the_shortest_wave_does_not_grow_with_the_mesh(positions) -> None:
    """With the same weights; one layer after the other would make it grow beyond any learning."""

    def change(points: int) -> float:
        torch.manual_seed(0)
        operator = LocalNO(modes=[6], mesh=[points], width=8, positions=positions)
        ripple = torch.tensor([1.0, -1.0]).repeat(points // 2)[None, None]
        with torch.no_grad():
            return float((operator(ripple) - operator(0 * ripple)).abs().mean())

    assert change(1024) < 2 * change(32)


def test_attention_does_not_sharpen_on_finer_grids() -> None:
    """The logits are means over the nodes; neuraloperator's grow with the root of their number."""
    torch.manual_seed(0)
    operator = CODANO(modes=[5, 5], width=6, layers=2, in_channels=2, positions=None)

    def at(n: int) -> torch.Tensor:
        x = 2 * math.pi * torch.arange(n) / n
        first = torch.sin(x)[:, None] + torch.cos(x)
        second = torch.cos(x)[:, None] * torch.sin(2 * x)
        return operator(torch.stack((first, second))[None])[..., :: n // 32, :: n // 32].detach()

    # As neuraloperator has it the difference is 0.15, the values' standard deviation being 0.25.
    assert (at(32) - at(128)).abs().max() < 1e-3
    assert at(32).std() > 0.1


def test_variables_share_their_weights() -> None:
    one, three = (CODANO(modes=[4, 4], width=4, layers=2, in_channels=n).network for n in (1, 3))
    assert sum(p.numel() for p in one.parameters()) == sum(p.numel() for p in three.parameters())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CODANO(modes=[4]), r"model\.modes: got \[4\], expected 2 or 3 numbers"),
        (lambda: CODANO(modes=[4, 4], heads=0), r"model\.heads: got 0"),
        (lambda: LocalNO(modes=[2, 4], mesh=[9, 9]), "at least 3 along each axis"),
        (
            lambda: LocalNO(modes=[4, 4], mesh=[9]),
            r"model\.mesh: got \[9\], expected one number for each axis",
        ),
        (lambda: LocalNO(modes=[4, 6], mesh=[9, 5]), r"got \[9, 5\], .* as many points as modes, \[4, 6\]"),
        (lambda: UNO(modes=[6, 12], depth=2), "at least 8 along each axis, two on the coarsest of 3 grids"),
        (lambda: UNO(modes=[8, 8], depth=0), r"model\.depth: got 0"),
        (lambda: UNO(modes=[]), "one number for each spatial axis"),
        (lambda: FNO(modes=[4], positions="wraps"), "got 'wraps', expected bounded or periodic or null"),
        (lambda: LocalNO(modes=[4], mesh=[9], positions="peridoic"), "Nearest: periodic"),
        (lambda: UNet(dim=4), r"model\.dim: got 4, expected 1, 2 or 3"),
        (lambda: UNet(dim=2, depth=0), r"model\.depth: got 0"),
    ],
)
def test_settings_out_of_range(make, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        make()


@pytest.mark.parametrize("make", [lambda: UNO(modes=[8, 8], width=2), lambda: CODANO(modes=[4, 4], width=2)])
def test_making_one_prints_nothing(make, capsys: pytest.CaptureFixture[str]) -> None:
    make()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("padding", [0.0, 0.125, 0.3, 1.0])
def test_the_fewest_points_for_any_number_of_modes_are_named(padding: float) -> None:
    operator = FNO([4, 4], width=4, layers=1, padding=padding)
    for modes in (*range(7, 60), 10**9):
        operator.modes = [4, modes]
        with pytest.raises(InvalidInput) as error:
            operator.check_resolution([4, 2])
        least = int(error.value.expected.split()[2])
        operator.check_resolution([4, least])
        with pytest.raises(InvalidInput):
            operator.check_resolution([4, least - 1])
