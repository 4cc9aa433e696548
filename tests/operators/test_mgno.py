"""What MgNO promises beyond the contract: any grid, the same function on it, and errors that help."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.operators import MgNO
from pdeflow.operators.grid_convolution import Boundary, coarse_points
from pdeflow.operators.lagrange_interpolation import interpolate
from pdeflow.operators.mgno import most_levels


@pytest.mark.parametrize("mesh", [[16], [17], [11, 14], [9, 4], [5, 6, 8]], ids=str)
@pytest.mark.parametrize("boundary", ["dirichlet", "neumann", "periodic"])
def test_any_mesh(mesh: list[int], boundary: Boundary) -> None:
    torch.manual_seed(0)
    operator = MgNO(mesh, width=3, layers=2, levels=most_levels(mesh), boundary=boundary)
    for points in (mesh, [n + 3 for n in mesh], [2 * n for n in mesh]):
        y = operator(torch.randn(2, 1, *points))
        assert y.shape == (2, 1, *points)
        assert y.isfinite().all()


def test_levels() -> None:
    assert coarse_points((65, 64, 7)) == (33, 32, 4)
    assert [most_levels((n,)) for n in (4, 5, 9, 33, 64, 65)] == [2, 3, 4, 6, 6, 7]
    assert most_levels((65, 9)) == 4


def smooth(*points: int, wraps: bool = False) -> Tensor:
    """A function of period 1 on these nodes, (1, 1, *points)."""
    axes = [torch.arange(n) / (n if wraps else n - 1) for n in points]
    x, y = torch.meshgrid(*axes, indexing="ij")
    return (torch.sin(2 * math.pi * x) * torch.cos(2 * math.pi * y) + 0.5)[None, None]


def test_finer_grids_give_the_same_values_at_shared_nodes() -> None:
    torch.manual_seed(0)
    operator = MgNO([9, 17], width=4, layers=2, levels=3)
    fine = operator(smooth(25, 33))
    torch.testing.assert_close(fine[..., ::3, ::2], operator(smooth(9, 17)), rtol=1e-5, atol=1e-6)


def test_discretisation_convergence() -> None:
    """From grids that share no inner node with the mesh, the output converges with the spacing."""
    torch.manual_seed(0)
    operator = MgNO([9, 9], width=4, layers=2, levels=3)
    exact = operator(smooth(9, 9))[..., 4, 4]
    coarse, fine = ((operator(smooth(n, n))[..., n // 2, n // 2] - exact).abs().item() for n in (15, 59))
    assert 0 < fine < 0.3 * coarse


@pytest.mark.parametrize("wraps", [False, True])
@pytest.mark.parametrize(("degree", "order"), [(1, 2), (3, 4)])
def test_interpolation_converges(degree: int, order: int, wraps: bool) -> None:
    errors = []
    for n in (20, 40):
        x = smooth(n, n + 1, wraps=wraps).double()
        y = interpolate(x, (75, 77), (wraps, wraps), degree)
        errors.append((y - smooth(75, 77, wraps=wraps)).abs().max().item())
    assert errors[1] < 1.5 * errors[0] / 2**order


def test_periodic_shifts_of_the_coarsest_mesh() -> None:
    torch.manual_seed(0)
    operator = MgNO([16, 12], width=4, layers=2, levels=3, boundary="periodic")
    x = torch.randn(2, 1, 32, 12)
    shifted = operator(x.roll((8, 4), (2, 3)))  # 4 nodes of the mesh along both axes, 1 of the coarsest
    torch.testing.assert_close(shifted, operator(x).roll((8, 4), (2, 3)), rtol=1e-4, atol=1e-6)


def test_boundary_conditions_differ_at_the_ends_only() -> None:
    """On one level with one step a layer reaches one node: far from the ends all conditions agree."""
    results = []
    for boundary in ("dirichlet", "neumann", "periodic"):
        torch.manual_seed(0)
        operator = MgNO([12, 12], width=4, layers=2, levels=1, boundary=boundary)
        results.append(operator(torch.randn(1, 1, 12, 12, generator=torch.Generator().manual_seed(1))))
    for other in results[1:]:
        inside = (..., slice(2, -2), slice(2, -2))
        torch.testing.assert_close(other[inside], results[0][inside])
        assert (other - results[0])[..., 0, :].abs().min() > 0


@pytest.mark.parametrize("residual", [False, True])
def test_layers(residual: bool) -> None:
    torch.manual_seed(0)
    operator = MgNO([9, 9], width=4, layers=3, levels=3, residual=residual)
    for gain in operator.gains:
        torch.nn.init.uniform_(gain, 0.5, 2.0)
    v = x = torch.randn(2, 1, 9, 9)
    for layer, (V, W) in enumerate(zip(operator.cycles, operator.pointwise)):
        n = v
        if residual and layer:
            n = v / v.square().mean(1, keepdim=True).sqrt() * operator.gains[layer - 1][:, None, None]
        total = V(n) + torch.einsum("oc,bcxy->boxy", W.weight, n) + W.bias[:, None, None]
        v = torch.nn.functional.gelu(total) + (n if residual and layer else 0.0)
    expected = torch.einsum("oc,bcxy->boxy", operator.last.weight, v) + operator.last.bias
    torch.testing.assert_close(operator(x), expected, rtol=1e-4, atol=1e-5)
    assert len(operator.gains) == (2 if residual else 0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"mesh": [33, 9], "levels": 5},
            r"model\.levels: got 5, expected at most 4.*at least 17 nodes an axis",
        ),
        ({"mesh": [3, 9]}, r"model\.mesh.*at least 4 nodes"),
        ({"mesh": [9] * 4}, r"model\.mesh.*1 to 3"),
        ({"width": 0}, r"model\.width.*at least 1"),
        ({"smoothing": 0}, r"model\.smoothing.*at least 1"),
        ({"cycle": "w"}, r"model\.cycle.*backslash"),
        ({"boundary": "neuman"}, r"model\.boundary.*Nearest: neumann"),
        ({"boundary": ["neumann"]}, r"model\.boundary.*one for each of the 2"),
    ],
    ids=str,
)
def test_bad_settings(settings: dict, message: str) -> None:
    with pytest.raises(InvalidInput, match=f"(?s){message}"):
        MgNO(**{"mesh": [9, 9], "levels": 3, **settings})
