"""The learned cycle with the stencils of Poisson's equation as weights is the classical multigrid cycle."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import scipy.signal
import torch
from torch import Tensor

from pdeflow import linalg
from pdeflow.operators.grid_convolution import Boundary, GridConvolution, Prolongation, coarse_points
from pdeflow.operators.learned_cycle import LearnedCycle

LINEAR = np.array([0.5, 1.0, 0.5])
SECOND = np.array([-1.0, 2.0, -1.0])
MIDDLE = np.array([0.0, 1.0, 0.0])


def outer(*lines: np.ndarray) -> np.ndarray:
    """The tensor product of one stencil an axis."""
    total = np.array(1.0)
    for line in lines:
        total = np.multiply.outer(total, line)
    return total


def poisson(dim: int, reaction: float = 0.0) -> np.ndarray:
    """``-lap u + reaction u`` for spacing 1."""
    axes = [outer(*(SECOND if a == axis else MIDDLE for a in range(dim))) for axis in range(dim)]
    return sum(axes) + reaction * outer(*[MIDDLE] * dim)


def fill(module: torch.nn.Module, stencil: np.ndarray) -> None:
    assert isinstance(module, GridConvolution | Prolongation)
    with torch.no_grad():
        module.weight.copy_(torch.as_tensor(stencil))


def assemble(cycle: LearnedCycle, operators: list[np.ndarray], smoothers: list[list[np.ndarray]]) -> None:
    """Give a V-cycle these stencils, a level each, and linear interpolation with its adjoint between them."""
    transfer = outer(*[LINEAR] * operators[0].ndim)
    for level, stencil in enumerate(operators):
        for place, smoother in zip(cycle.smoothers[level].steps, smoothers[level]):
            fill(place, smoother)
        if str(level) in cycle.operators:
            fill(cycle.operators[str(level)], stencil)
        if level < cycle.levels - 1:
            for place, smoother in zip(cycle.post_smoothers[level].steps, smoothers[level]):
                fill(place, smoother)
            fill(cycle.restrictions[level], transfer)
            fill(cycle.prolongations[level], transfer)


def galerkin(stencil: np.ndarray) -> np.ndarray:
    """The stencil of ``P^T A P`` far from the ends."""
    transfer = outer(*[LINEAR] * stencil.ndim)
    long = scipy.signal.convolve(scipy.signal.convolve(transfer, stencil), transfer)
    return long[(slice(1, None, 2),) * stencil.ndim]


def periodic_inverse(stencil: np.ndarray) -> np.ndarray:
    """On three points along each axis, all wrapping around, the inverse is a stencil again."""
    offsets = list(product((-1, 0, 1), repeat=stencil.ndim))
    matrix = np.zeros((len(offsets),) * 2)
    for row, at in enumerate(offsets):
        for step, value in zip(offsets, stencil.flatten()):
            matrix[row, offsets.index(tuple((a + s + 1) % 3 - 1 for a, s in zip(at, step)))] += value
    return np.linalg.inv(matrix)[len(offsets) // 2].reshape(stencil.shape)


@pytest.mark.parametrize(("points", "levels"), [((48, 48), 5), ((12, 12, 12), 3)])
def test_v_cycle_is_that_of_linalg(points: tuple[int, ...], levels: int) -> None:
    """linalg's V-cycle: linear interpolation, Galerkin operators, two Chebyshev steps, dense inverse last."""
    dim = len(points)
    operators = [poisson(dim, reaction=0.01)]
    for _ in range(levels - 1):
        operators.append(galerkin(operators[-1]))
    # The Chebyshev polynomial on [1/4, 1] as two Jacobi steps, scaled by the sums of the rows.
    zeros = [5 / 8 - 3 / 8 * math.cos(math.pi * (k + 0.5) / 2) for k in range(2)]
    middle = outer(*[MIDDLE] * dim)
    smoothers = [[middle / (zero * np.abs(A).sum()) for zero in zeros] for A in operators]
    smoothers[-1] = [periodic_inverse(operators[-1]), 0 * middle]  # three points are left along each axis
    cycle = LearnedCycle(1, 1, levels, ("periodic",) * dim, cycle="v", smoothing=2).double()
    assemble(cycle, operators, smoothers)

    offsets = list(product((-1, 0, 1), repeat=dim))
    coefficients = torch.as_tensor(operators[0].flatten()).view(1, -1, *[1] * dim)
    A = linalg.StencilOperator(
        offsets,
        coefficients.expand(1, -1, *points).contiguous(),
        (True,) * dim,
        tags=(linalg.Tag.SYMMETRIC, linalg.Tag.POSITIVE_DEFINITE),
    )
    M = linalg.Multigrid(interpolation="linear", smoother="chebyshev", dtype=None).init(A)
    f = torch.randn(1, *points, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    # linalg coarsens to the odd points, which on every level lie one spacing on from ours.
    shift, axes = (2 ** (levels - 1) - 1,) * dim, tuple(range(1, dim + 1))
    expected = M.apply(f.roll(shift, axes)).roll([-s for s in shift], axes)
    torch.testing.assert_close(cycle(f[None])[0], expected, rtol=1e-12, atol=1e-12)


def matrix(stencil: np.ndarray, n: int, kind: Boundary) -> np.ndarray:
    """One axis of a stencil as a matrix, from what the boundary condition says of the point beyond."""
    full = np.zeros((n, n))
    for i in range(n):
        for step, value in zip((-1, 0, 1), stencil):
            j = i + step
            if kind == "periodic":
                full[i, j % n] += value
            elif kind == "neumann":
                full[i, {-1: 1, n: n - 2}.get(j, j)] += value
            elif 0 <= j < n:
                full[i, j] += value
    return full


def interpolation(n: int, kind: Boundary) -> np.ndarray:
    """One axis of linear interpolation from the nodes 0, 2, 4, ... to all n nodes."""
    coarse = (n + 1) // 2
    full = np.zeros((n, coarse))
    for i in range(n):
        for j in (i // 2, (i + 1) // 2):
            beyond = {"periodic": 0, "neumann": coarse - 1, "dirichlet": None}[kind]
            if j < coarse:
                full[i, j] += 0.5
            elif beyond is not None:
                full[i, beyond] += 0.5
    return full


def dense_v_cycle(points: tuple[int, int], boundary: tuple[Boundary, Boundary], levels: int) -> np.ndarray:
    """The textbook recursion with matrices: one damped Jacobi step before and one after."""

    def both(stencils: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        return np.kron(*(matrix(s, n, kind) for s, n, kind in zip(stencils, points, boundary)))

    A = both((SECOND, MIDDLE)) + both((MIDDLE, SECOND))
    S = 0.2 * np.eye(len(A))  # omega = 0.8 times the inverse of the diagonal, 4
    if levels == 1:
        return S
    even = np.zeros(points)
    even[::2, ::2] = 1
    R = both((LINEAR, LINEAR))[even.flatten() == 1]
    P = np.kron(*(interpolation(n, kind) for n, kind in zip(points, boundary)))
    coarse = dense_v_cycle(coarse_points(points), boundary, levels - 1)  # type: ignore[arg-type]
    identity = np.eye(len(A))
    u = S + P @ coarse @ R @ (identity - A @ S)
    return u + S @ (identity - A @ u)


@pytest.mark.parametrize(
    ("points", "boundary"),
    [
        ((17, 17), ("dirichlet", "dirichlet")),
        ((17, 17), ("neumann", "neumann")),
        ((16, 16), ("periodic", "periodic")),
        ((13, 18), ("neumann", "dirichlet")),
        ((18, 11), ("neumann", "periodic")),
        ((12, 14), ("dirichlet", "periodic")),
    ],
    ids=str,
)
def test_v_cycle_is_the_textbook_one(points: tuple[int, int], boundary: tuple[Boundary, Boundary]) -> None:
    levels = 3
    cycle = LearnedCycle(1, 1, levels, boundary, cycle="v").double()
    assemble(cycle, [poisson(2)] * levels, [[0.2 * outer(MIDDLE, MIDDLE)]] * levels)
    f = np.random.default_rng(0).standard_normal(points)
    expected = (dense_v_cycle(points, boundary, levels) @ f.flatten()).reshape(points)
    np.testing.assert_allclose(cycle(torch.as_tensor(f)[None, None])[0, 0].detach(), expected, atol=1e-12)


def contraction(n: int, levels: int) -> float:
    """The factor by which one more cycle reduces the residual of -lap u + u / n^2 = f, in the end."""
    boundary: tuple[Boundary, Boundary] = ("periodic", "periodic")
    operators = [poisson(2, reaction=1 / n**2)]
    for _ in range(levels - 1):
        operators.append(galerkin(operators[-1]))
    smoothers = [[0.8 / A[1, 1] * outer(MIDDLE, MIDDLE)] for A in operators]
    smoothers[-1] = [periodic_inverse(operators[-1])]
    cycle = LearnedCycle(1, 1, levels, boundary, cycle="v").double()
    assemble(cycle, operators, smoothers)
    apply = GridConvolution(1, 1, boundary).double()
    fill(apply, operators[0])
    f = torch.randn(1, 1, n, n, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    u, norms = torch.zeros_like(f), []
    with torch.no_grad():
        for _ in range(10):
            u = u + cycle(f - apply(u))
            norms.append((f - apply(u)).norm().item())
    return norms[-1] / norms[-2]


def test_v_cycle_contracts_whatever_the_size() -> None:
    assert contraction(12, 3) < 0.4
    assert contraction(96, 6) < 0.4


@pytest.mark.parametrize("smoothing", [1, 2])
@pytest.mark.parametrize("cycle", ["backslash", "v"])
def test_linear(cycle: str, smoothing: int) -> None:
    torch.manual_seed(0)
    V = LearnedCycle(2, 3, 3, ("dirichlet", "neumann"), cycle, smoothing).double()  # type: ignore[arg-type]
    f, g = torch.randn(2, 1, 2, 9, 12, dtype=torch.float64)
    torch.testing.assert_close(V(f - 2 * g), V(f) - 2 * V(g), rtol=1e-10, atol=1e-12)


def test_backslash_is_the_published_one() -> None:
    """Two levels, written out: both are restricted, the way up only adds."""
    torch.manual_seed(0)
    V = LearnedCycle(2, 3, 2, ("dirichlet", "dirichlet")).double()
    f = torch.randn(1, 2, 9, 9, dtype=torch.float64)

    def convolve(x: Tensor, module: torch.nn.Module, stride: int = 1) -> Tensor:
        assert isinstance(module, GridConvolution)
        return torch.nn.functional.conv2d(x, module.weight, stride=stride, padding=1)

    u = convolve(f, V.smoothers[0].steps[0])  # type: ignore[index]
    f2, u2 = convolve(f, V.restrictions[0], 2), convolve(u, V.solution_restrictions[0], 2)
    u2 = u2 + convolve(f2 - convolve(u2, V.operators["1"]), V.smoothers[1].steps[0])  # type: ignore[index]
    P = V.prolongations[0].weight
    expected = u + torch.nn.functional.conv_transpose2d(u2, P, stride=2, padding=1)
    torch.testing.assert_close(V(f), expected)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_it_starts_as_a_cycle_that_passes_constants_on(dim: int) -> None:
    """With S of the middle alone u is l + 1 times the constant on level l, and each level counts half."""
    cycle = LearnedCycle(2, 2, 4, ["periodic"] * dim)
    for smoother in cycle.smoothers:
        for step in smoother.modules():
            if isinstance(step, GridConvolution):
                step.set_each_channel((0.0, 1.0, 0.0))
    f = torch.tensor([1.0, -3.0]).view(1, 2, *(1,) * dim).expand(1, 2, *(8,) * dim)
    torch.testing.assert_close(cycle(f), f * sum((level + 1) / 2**level for level in range(4)))
