"""LNO: the integral by moments is the plain formula, and its quadrature is exact where it should be."""

from __future__ import annotations

import pytest
import torch

from pdeflow.errors import InvalidInput
from pdeflow.operators import LNO
from pdeflow.operators.lno import quadrature_weights


def test_moments_are_the_plain_formula() -> None:
    """``W v + sum_r <psi_r, v> phi_r`` with psi_r and phi_r written out at every node."""
    torch.manual_seed(0)
    layer = LNO(dim=2, width=5, layers=1, rank=3, kernel_width=7).double().layers[0]
    v = torch.randn(2, 12, 5, dtype=torch.float64)
    known = torch.randn(2, 12, 3, dtype=torch.float64)
    weights = torch.rand(12, 1, dtype=torch.float64)
    psi = torch.einsum("bnk,rkc->brnc", layer.psi_hidden(known), layer.psi)
    phi = torch.einsum("bnk,rkc->brnc", layer.phi_hidden(known), layer.phi)
    integrals = (psi * v[:, None] * weights).sum((2, 3))
    expected = layer.local(v) + (integrals[:, :, None, None] * phi).sum(1)
    torch.testing.assert_close(layer(v, known, weights), expected, rtol=1e-12, atol=1e-12)


def test_trapezoidal_rule_integrates_products_of_lines() -> None:
    x = torch.zeros(1, 1, 5, 9, dtype=torch.float64)
    weights = quadrature_weights(x, "bounded").view(5, 9)
    first, second = torch.linspace(0, 1, 5).double(), torch.linspace(0, 1, 9).double()
    product = (1 + 2 * first)[:, None] * (3 - second)[None]
    assert float((weights * product).sum()) == pytest.approx(2 * 2.5, rel=1e-14)


@pytest.mark.parametrize("kind", ["periodic", None])
def test_periodic_axes_have_equal_weights(kind) -> None:
    weights = quadrature_weights(torch.zeros(1, 1, 4, 6), kind)
    torch.testing.assert_close(weights, torch.full((24, 1), 1 / 24))


@pytest.mark.parametrize("name", ["width", "layers", "rank", "kernel_width"])
def test_sizes_of_zero_are_refused(name: str) -> None:
    with pytest.raises(InvalidInput, match=rf"model\.{name}: got 0, expected at least 1"):
        LNO(dim=2, **{name: 0})


def test_positions_that_are_unknown_are_refused() -> None:
    with pytest.raises(
        InvalidInput, match=r"model\.positions: got 'ends', expected bounded or periodic or null"
    ):
        LNO(dim=2, positions="ends")  # pyright: ignore[reportArgumentType]
