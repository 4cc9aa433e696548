"""Parallel cyclic reduction against dense elimination."""

from __future__ import annotations

import pytest
import torch

from pdeflow.linalg import solve_tridiagonal


def system(n: int, periodic: bool, columns: bool) -> tuple[torch.Tensor, ...]:
    """Matrices (4, n, n), diagonally dominant by rows or by columns, their diagonals, a right-hand side."""
    generator = torch.Generator().manual_seed(n)
    lower, upper, b = (torch.rand(3, 4, n, dtype=torch.float64, generator=generator) - 0.5).unbind()
    at = torch.arange(n)
    A = torch.zeros(4, n, n, dtype=torch.float64)
    A[:, at, at.roll(1)] += lower
    A[:, at, at.roll(-1)] += upper
    if not periodic:
        A[:, 0, -1] = A[:, -1, 0] = 0
    diagonal = A.abs().sum(dim=1 if columns else 2) + 0.01
    A[:, at, at] += diagonal
    return A, lower, diagonal, upper, b


@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("n", [3, 4, 7, 64, 101])
def test_it_solves_dominant_systems_of_any_size(n: int, periodic: bool, columns: bool) -> None:
    A, lower, diagonal, upper, b = system(n, periodic, columns)
    x = solve_tridiagonal(lower, diagonal, upper, b, periodic=periodic)
    torch.testing.assert_close(x, torch.linalg.solve(A, b), rtol=1e-12, atol=1e-12)
    alone = solve_tridiagonal(lower[2:3], diagonal[2:3], upper[2:3], b[2:3], periodic=periodic)
    assert torch.equal(alone[0], x[2])


def test_it_runs_without_data() -> None:
    parts = [torch.empty(2, 9, dtype=torch.float64, device="meta") for _ in range(4)]
    x = solve_tridiagonal(*parts, periodic=True)
    assert (x.shape, x.dtype, x.device.type) == ((2, 9), torch.float64, "meta")
