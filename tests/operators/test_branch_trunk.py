"""DeepONet and MultiONet away from the grid of their sensors."""

from __future__ import annotations

from typing import Literal

import pytest
import torch

from pdeflow.errors import InvalidInput
from pdeflow.operators import DeepONet, MultiONet
from pdeflow.operators.branch_trunk import at_sensors


@pytest.mark.parametrize(("positions", "sensors", "points"), [("bounded", 9, 33), ("periodic", 8, 24)])
def test_sensors_among_the_nodes_get_their_values(
    positions: Literal["bounded", "periodic"], sensors: int, points: int
) -> None:
    x = torch.randn(2, 3, points, points)
    step = points // sensors if positions == "periodic" else (points - 1) // (sensors - 1)
    assert torch.equal(at_sensors(x, [sensors, sensors], positions), x[..., ::step, ::step])


def test_lines_are_interpolated_without_error() -> None:
    x = torch.linspace(0, 1, 7).double()
    plane = (1 + x)[:, None] * (2 - x)[None]
    y, z = torch.linspace(0, 1, 10).double(), torch.linspace(0, 1, 4).double()
    expected = (1 + y)[:, None] * (2 - z)[None]
    torch.testing.assert_close(at_sensors(plane[None, None], [10, 4], "bounded")[0, 0], expected)


def test_the_last_sensor_of_a_periodic_axis_reads_the_first_node() -> None:
    x = torch.tensor([5.0, 1.0])[None, None]
    assert at_sensors(x, [4], "periodic").tolist() == [[[5.0, 3.0, 1.0, 3.0]]]


@pytest.mark.parametrize("kind", [DeepONet, MultiONet])
def test_a_finer_grid_gives_the_same_values_at_the_same_places(kind) -> None:
    torch.manual_seed(0)
    operator = kind(sensors=[9, 9], width=16, layers=2)
    x = torch.randn(2, 1, 33, 33)
    torch.testing.assert_close(operator(x)[..., ::4, ::4], operator(x[..., ::4, ::4]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [DeepONet, MultiONet])
def test_periodic_outputs_wrap_around(kind) -> None:
    """On a bounded grid's nodes the trunk would give the upper end another value than the lower one."""
    torch.manual_seed(0)
    operator = kind(sensors=[8], width=16, layers=2, positions="periodic")
    y = operator(torch.randn(1, 1, 2048)).detach()[0, 0]
    assert (y[0] - y[-1]).abs() < 2 * (y[1:] - y[:-1]).abs().max()
    assert y.std() > 1e-3


def test_multionet_is_the_mean_over_its_layers() -> None:
    torch.manual_seed(0)
    operator = MultiONet(sensors=[4], width=6, layers=2)
    values, places = torch.randn(3, 4), torch.rand(5, 1)
    gelu = torch.nn.functional.gelu
    b1, t1 = gelu(operator.branch[0](values)), gelu(operator.trunk[0](places))
    b2, t2 = gelu(operator.branch[1](b1)), gelu(operator.trunk[1](t1))
    w = operator.weights[:, 0]
    expected = ((b1 * w[0]) @ t1.T + (b2 * w[1]) @ t2.T) / 2 + operator.bias
    torch.testing.assert_close(operator.combine(values, places)[:, 0], expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sensors": []}, "one number for each spatial axis"),
        ({"sensors": [1, 9]}, "at least 2 along each axis"),
        ({"sensors": [9], "width": 0}, r"model\.width: got 0"),
        ({"sensors": [9], "basis": 0}, r"model\.basis: got 0"),
        ({"sensors": [9], "positions": None}, "positions: got None, expected bounded or periodic"),
    ],
)
def test_settings_out_of_range(arguments, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        DeepONet(**arguments)
