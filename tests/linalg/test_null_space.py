from __future__ import annotations

import numpy as np
import pytest
import torch

from pdeflow.linalg import (
    Jacobi,
    Multigrid,
    SolveError,
    Status,
    StencilOperator,
    Tag,
    diffusion_stencil,
    solve,
)
from pdeflow.linalg.null_space import Projected, without_mean

from .systems import dense, jumps, right_hand_side

KINDS = {
    "periodic 1D": ((64,), "periodic"),
    "neumann 1D": ((33,), "neumann"),
    "periodic 2D": ((16, 32), "periodic"),
    "neumann 2D": ((17, 20), "neumann"),
    "mixed 2D": ((16, 17), ["periodic", "neumann"]),
    "neumann 3D": ((5, 6, 7), "neumann"),
    "mixed 3D": ((8, 5, 6), ["periodic", "neumann", "neumann"]),
}
PRECONDITIONERS = {"none": None, "jacobi": Jacobi(), "multigrid": Multigrid()}


def singular(name: str, points: str = "nodes") -> StencilOperator:
    shape, boundary = KINDS[name]
    return diffusion_stencil(jumps(2, shape), 1 / 16, boundary, points=points)  # type: ignore[arg-type]


def pseudo_inverse(A: StencilOperator, b: torch.Tensor) -> torch.Tensor:
    inverse = torch.linalg.pinv(dense(A), rtol=1e-11, hermitian=True)
    return torch.einsum("bij,bj->bi", inverse, b.flatten(1)).reshape(b.shape)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("preconditioner", PRECONDITIONERS)
@pytest.mark.parametrize("points", ["nodes", "cells"])
def test_consistent_systems_give_the_solution_of_least_norm(name, preconditioner, points) -> None:
    A = singular(name, points)
    b = without_mean(right_hand_side(A))
    guess = right_hand_side(A, 8) + 50.0
    for x0 in (None, guess):
        solution = solve(A, b, x0=x0, preconditioner=PRECONDITIONERS[preconditioner], rtol=1e-10)
        assert solution.status.tolist() == [Status.CONVERGED] * 2
        expected = pseudo_inverse(A, b)
        torch.testing.assert_close(solution.x, expected, rtol=0, atol=1e-7 * expected.abs().max().item())
        assert (solution.x.flatten(1).mean(1).abs() < 1e-12 * expected.abs().max()).all()
        true = torch.linalg.norm((b - A(solution.x)).flatten(1), dim=1)
        true = true / torch.linalg.norm(b.flatten(1), dim=1)
        assert (true <= 1e-10).all()
        torch.testing.assert_close(solution.residual_norm, true, rtol=1e-3, atol=1e-14)


@pytest.mark.parametrize("preconditioner", PRECONDITIONERS)
def test_inconsistent_systems_give_the_least_squares_solution(preconditioner: str) -> None:
    A = singular("neumann 2D")
    b = without_mean(right_hand_side(A))
    b[0] += 1e-3
    solution = solve(A, b, preconditioner=PRECONDITIONERS[preconditioner], rtol=1e-9, on_failure="return")
    assert solution.status.tolist() == [Status.SINGULAR, Status.CONVERGED]
    expected = pseudo_inverse(A, b)
    torch.testing.assert_close(solution.x, expected, rtol=0, atol=1e-7 * expected.abs().max().item())
    part = abs(b[0].mean().item()) * np.sqrt(A.size) / torch.linalg.norm(b[0]).item()
    assert solution.residual_norm[0].item() == pytest.approx(part, rel=1e-6)
    with pytest.raises(SolveError, match="SINGULAR: 1"):
        solve(A, b)


def test_a_mean_within_the_tolerance_is_consistent() -> None:
    A = singular("neumann 2D")
    b = without_mean(right_hand_side(A))
    b += 0.05e-6
    solution = solve(A, b, rtol=1e-6)
    assert solution.converged.all()
    true = torch.linalg.norm((b - A(solution.x)).flatten(1), dim=1) / torch.linalg.norm(b.flatten(1), dim=1)
    assert (true <= 1e-6).all()
    torch.testing.assert_close(solution.residual_norm, true)


def test_constants_zeros_and_bad_numbers() -> None:
    A = singular("neumann 2D")
    b = torch.full((2, 17, 20), 0.1, dtype=torch.float64)
    b[1] = 0
    solution = solve(A, b, on_failure="return")
    assert solution.status.tolist() == [Status.SINGULAR, Status.CONVERGED]
    assert solution.iterations.tolist() == [0, 0]
    assert (solution.x == 0).all()
    assert solution.residual_norm.tolist() == pytest.approx([1.0, 0.0])
    b = without_mean(right_hand_side(A))
    b[0, 3, 3] = float("nan")
    solution = solve(A, b, on_failure="return", preconditioner=Multigrid())
    assert solution.status.tolist() == [Status.NONFINITE_INPUT, Status.CONVERGED]
    assert torch.isnan(solution.x[0]).all()


def test_single_precision_and_complex() -> None:
    A = singular("periodic 2D")
    b = without_mean(right_hand_side(A))
    solution = solve(A.to(torch.float32), b.float(), rtol=1e-4)
    torch.testing.assert_close(solution.x.double(), pseudo_inverse(A, b), rtol=0, atol=1e-3)
    z = torch.complex(b, without_mean(right_hand_side(A, 9)))
    solution = solve(A.to(torch.complex128), z, rtol=1e-10, preconditioner=Multigrid())
    torch.testing.assert_close(solution.x.real, pseudo_inverse(A, z.real), rtol=1e-6, atol=1e-8)
    torch.testing.assert_close(solution.x.imag, pseudo_inverse(A, z.imag), rtol=1e-6, atol=1e-8)


def test_several_right_hand_sides() -> None:
    A = singular("neumann 2D").pieces(1)[0]
    b = without_mean(torch.randn(4, *A.shape, dtype=torch.float64))
    for M in PRECONDITIONERS.values():
        solution = solve(A, b, preconditioner=M, rtol=1e-10)
        for i in range(4):
            torch.testing.assert_close(
                solution.x[i : i + 1], pseudo_inverse(A, b[i : i + 1]), rtol=1e-6, atol=1e-8
            )


def test_projected_preconditioner_is_symmetric_and_reused() -> None:
    A = singular("periodic 2D")
    M = Projected(Multigrid(dtype=None)).init(A)
    matrix = dense(M)  # type: ignore[arg-type]
    torch.testing.assert_close(matrix, matrix.mT, rtol=0, atol=1e-12 * matrix.abs().max().item())
    assert matrix.sum(2).abs().max() < 1e-12 * matrix.abs().max()
    again = Projected(Multigrid(dtype=None)).init(A, M)
    assert again.inner is M.inner  # type: ignore[attr-defined]
    torch.testing.assert_close(M.adjoint(right_hand_side(A)), M(right_hand_side(A)))


def test_the_tag_can_be_taken_off() -> None:
    A = singular("neumann 2D")
    plain = A.retagged([Tag.SYMMETRIC])
    assert Tag.CONSTANT_NULL_SPACE in A.tags
    assert Tag.CONSTANT_NULL_SPACE not in plain.tags
    assert plain.coefficients is A.coefficients
    assert A.adjoint.tags == A.tags
