from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg import Tag, control_volumes, diffusion_stencil, solve

from .systems import dense, generator

D, N, P = "dirichlet", "neumann", "periodic"
AXES = [(D, D), (D, N), (N, D), (N, N), P]
# The exact solution along one axis of length 1, as a function of pi x, that meets the sides.
FACTORS = {
    (D, D): lambda t: torch.sin(t),
    (D, N): lambda t: torch.sin(t / 2),
    (N, D): lambda t: torch.cos(t / 2),
    (N, N): lambda t: torch.cos(t),
    P: lambda t: torch.sin(2 * t) + torch.cos(2 * t),
}
COMBINATIONS = [(axis,) for axis in AXES]
COMBINATIONS += list(itertools.product(AXES, repeat=2))
COMBINATIONS += [((D, N), P, (N, N)), ((D, D), (N, N), (D, N)), (P, P, (N, D)), ((N, N),) * 3, (P,) * 3]


def coordinates(sizes: list[int], boundary, points: str) -> tuple[Tensor, list[float]]:
    axes, spacing = [], []
    for cells, axis in zip(sizes, boundary):
        h = 1 / cells
        count = cells + 1 if points == "nodes" and axis != P else cells
        start = h / 2 if points == "cells" else 0.0
        axes.append(start + h * torch.arange(count, dtype=torch.float64))
        spacing.append(h)
    return torch.stack(torch.meshgrid(*axes, indexing="ij")), spacing


def coefficient(x: Tensor) -> Tensor:
    a = torch.ones_like(x[0])
    for k, axis in enumerate(x):
        a = a + 0.3 * torch.cos(2 * math.pi * axis + k)
    return a


def exact(x: Tensor, boundary) -> Tensor:
    u = torch.ones_like(x[0])
    for axis, sides in zip(x, boundary):
        u = u * FACTORS[sides](math.pi * axis)
    return u


def source(x: Tensor, boundary, reaction: float) -> Tensor:
    """-div(a grad u) + c u at the points, by automatic differentiation."""
    x = x.clone().requires_grad_()
    u = exact(x, boundary)
    (gradient,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    flux = coefficient(x) * gradient
    f = reaction * u
    for k in range(len(x)):
        f = f - torch.autograd.grad(flux[k].sum(), x, retain_graph=True)[0][k]
    return f.detach()


def unknowns(values: Tensor, boundary, points: str) -> Tensor:
    if points == "cells":
        return values
    keep = tuple(
        slice(None) if axis == P else slice(int(axis[0] == D), len_ - int(axis[1] == D))
        for axis, len_ in zip(boundary, values.shape)
    )
    return values[keep]


def error(cells: int, boundary, points: str, reaction: float) -> float:
    sizes = [cells * (4 + k) // 4 for k in range(len(boundary))]
    x, spacing = coordinates(sizes, boundary, points)
    A = diffusion_stencil(coefficient(x)[None], spacing, boundary, reaction, points=points)  # type: ignore[arg-type]
    w = control_volumes(x.shape[1:], boundary, points=points)  # type: ignore[arg-type]
    f = w * unknowns(source(x, boundary, reaction), boundary, points)
    u = unknowns(exact(x, boundary), boundary, points)
    if Tag.CONSTANT_NULL_SPACE in A.tags:
        f = f - f.mean()  # zero up to the error of the rule of integration
        u = u - (w * u).sum() / w.sum()
    solved = solve(A, f[None], rtol=1e-10).x[0]
    if Tag.CONSTANT_NULL_SPACE in A.tags:
        assert abs(solved.mean()) < 1e-12
        solved = solved - (w * solved).sum() / w.sum()
    return (solved - u).abs().max().item()


@pytest.mark.parametrize("boundary", COMBINATIONS, ids=str)
@pytest.mark.parametrize("points", ["nodes", "cells"])
@pytest.mark.parametrize("reaction", [0.0, 2.0])
def test_second_order_symmetric_and_right_null_space(boundary, points: str, reaction: float) -> None:
    cells = {1: 32, 2: 12, 3: 8}[len(boundary)]
    coarse, fine = (error(n, boundary, points, reaction) for n in (cells, 2 * cells))
    assert math.log2(coarse / fine) > 1.7
    x, spacing = coordinates([4, 3, 5][: len(boundary)], boundary, points)
    noise = torch.rand(2, *x.shape[1:], dtype=torch.float64, generator=generator(0)) + 0.1
    A = diffusion_stencil(noise, spacing, boundary, reaction, points=points)  # type: ignore[arg-type]
    matrix = dense(A)
    torch.testing.assert_close(matrix, matrix.mT)
    lowest = torch.linalg.eigvalsh(matrix)
    walls = any(D in axis for axis in boundary)
    if walls or reaction:
        assert A.tags == {Tag.SYMMETRIC, Tag.POSITIVE_DEFINITE}
        assert (lowest[:, 0] > 1e-3).all()
    else:
        assert A.tags == {Tag.SYMMETRIC, Tag.CONSTANT_NULL_SPACE}
        assert (lowest[:, 0].abs() < 1e-11).all()
        assert (lowest[:, 1] > 1e-3).all()
        assert matrix.sum(2).abs().max() < 1e-11


def test_by_hand_in_one_dimension() -> None:
    a = torch.tensor([[1.0, 3.0, 1.0]], dtype=torch.float64)  # harmonic means 1.5
    expected = {
        (N, N): [[1.5, -1.5, 0], [-1.5, 3.0, -1.5], [0, -1.5, 1.5]],
        (D, N): [[3.0, -1.5], [-1.5, 1.5]],
        (D, D): [[3.0]],
    }
    for sides, matrix in expected.items():
        A = diffusion_stencil(a, 2.0, [sides])
        torch.testing.assert_close(4 * dense(A)[0], torch.tensor(matrix, dtype=torch.float64))
    cells = diffusion_stencil(a, 1.0, [(D, N)], points="cells")
    matrix = torch.tensor([[3.5, -1.5, 0], [-1.5, 3.0, -1.5], [0, -1.5, 1.5]], dtype=torch.float64)
    torch.testing.assert_close(dense(cells)[0], matrix)
    assert control_volumes((3,), [(N, N)]).tolist() == [0.5, 1.0, 0.5]
    assert control_volumes((3,), [(D, N)]).tolist() == [1.0, 0.5]
    assert control_volumes((3, 4), N)[0].tolist() == [0.25, 0.5, 0.5, 0.25]
    assert control_volumes((3, 4), N, points="cells").eq(1).all()


def test_a_jump_between_two_points_keeps_the_flux() -> None:
    """-(a u')' = 0 with u(0) = 0 and the flux 1 at the other end is piecewise linear, and met exactly."""
    a = torch.ones(1, 10, dtype=torch.float64)
    a[:, 5:] = 100
    A = diffusion_stencil(a, 0.1, [(D, N)], points="cells")
    b = torch.zeros(1, 10, dtype=torch.float64)
    b[0, -1] = 1 / 0.1
    x = 0.05 + 0.1 * torch.arange(10, dtype=torch.float64)
    expected = torch.where(x < 0.5, x, 0.5 + (x - 0.5) / 100)
    torch.testing.assert_close(solve(A, b, rtol=1e-12, max_iterations=500).x[0], expected)


def test_reactions_dtypes_and_tags() -> None:
    a = torch.rand(2, 5, 6, dtype=torch.float64, generator=generator(1)) + 0.5
    c = torch.rand(2, 5, 6, dtype=torch.float64, generator=generator(2))
    plain = diffusion_stencil(a, 0.1)
    with_c = diffusion_stencil(a, 0.1, reaction=c)
    assert with_c.tags == {Tag.SYMMETRIC}
    torch.testing.assert_close(with_c.diagonal() - plain.diagonal(), c[:, 1:-1, 1:-1])
    assert diffusion_stencil(a, 0.1, reaction=-3.0).tags == {Tag.SYMMETRIC}
    damped = diffusion_stencil(a, 0.1, reaction=-3.0 + 1.0j)
    assert (damped.dtype, damped.tags) == (torch.complex128, frozenset())
    assert diffusion_stencil(a.float(), 0.1).dtype == torch.float32
    assert diffusion_stencil(a.to("meta"), 0.1, P).device.type == "meta"
    a.requires_grad_()
    assert diffusion_stencil(a, 0.1, [(D, N), P], points="cells").requires_grad


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"spacing": 0.0}, "spacing"),
        ({"spacing": (0.1, 0.1, 0.1)}, "spacing"),
        ({"boundary": "robin"}, "boundary"),
        ({"boundary": [D]}, "boundary"),
        ({"boundary": [(D, P), D]}, "boundary"),
        ({"boundary": [(D, D, D), D]}, "boundary"),
        ({"points": "faces"}, "points"),
        ({"reaction": torch.ones(3)}, "reaction"),
        ({"a": torch.ones(1, 2, 5)}, "unknown"),
        ({"a": torch.ones(5)}, "axes"),
    ],
)
def test_bad_arguments(options, name) -> None:
    arguments = {"a": torch.ones(1, 5, 5), "spacing": 0.1} | options
    with pytest.raises(InvalidInput, match=name):
        diffusion_stencil(**arguments)
