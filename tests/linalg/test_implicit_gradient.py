from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg import (
    FunctionOperator,
    Jacobi,
    LinearOperator,
    Multigrid,
    Solution,
    SolveError,
    Solver,
    StencilOperator,
    diffusion_stencil,
    solve,
)
from pdeflow.linalg.null_space import without_mean

from .systems import HERMITIAN, SPD, darcy, dense, generator, hermitian, jumps, right_hand_side


class Dense(Solver):
    """Elimination: the reference, and a solver for operators that are not symmetric."""

    def init(self, A: LinearOperator, preconditioner: Any = None, previous: Any = None) -> LinearOperator:
        return A

    def solve(self, state: Any, b: Tensor, x0: Tensor | None = None, **options: Any) -> tuple[Solution, Any]:
        x = torch.linalg.solve(dense(state), b.flatten(1)).reshape(b.shape)
        n = torch.zeros(b.shape[0])
        return Solution(x, n.to(torch.int8), n.long(), n.double(), n.double()[None]), state


def symmetric(A: StencilOperator, values: Tensor) -> StencilOperator:
    """A stencil whose matrix stays Hermitian however the values change: the mean with its adjoint."""
    parts = []
    mirror = [tuple(-step for step in offset) for offset in A.offsets]
    for k, offset in enumerate(A.offsets):
        j = mirror.index(offset)
        shifted = values[:, j].roll([-step for step in offset], list(range(1, values.ndim - 1))).conj()
        parts.append(0.5 * (values[:, k] + shifted))
    return StencilOperator(A.offsets, torch.stack(parts, 1), A.periodic, SPD)


@pytest.mark.parametrize("preconditioner", [None, Jacobi(), Multigrid()])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize(
    "system", [lambda: darcy(2, (3, 4)), lambda: hermitian(1, 3)], ids=["real", "complex"]
)
def test_gradients_of_symmetric_systems(system, sparse: bool, preconditioner) -> None:
    A = system()
    if sparse and isinstance(preconditioner, Multigrid):
        pytest.skip("multigrid takes stencils")
    scale = A.coefficients.abs().max()

    def answer(values: Tensor, b: Tensor) -> Tensor:
        S = symmetric(A, values * scale)
        B = S.to_sparse() if sparse else S
        return scale * solve(B, b, preconditioner=preconditioner, rtol=1e-13, on_failure="return").x

    values = (A.coefficients / scale).requires_grad_()
    b = right_hand_side(A).requires_grad_()
    # The iteration ends at 1e-13 or where rounding stops it; differences are wrong by 1e-13 / 1e-6.
    assert torch.autograd.gradcheck(answer, (values, b), eps=1e-5, atol=1e-6, rtol=1e-5, fast_mode=False)


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("periodic", [(False, False), (True, False)])
def test_gradients_of_other_systems(dtype: torch.dtype, sparse: bool, periodic: tuple[bool, bool]) -> None:
    offsets = [(0, 0), (0, 1), (1, 0), (-1, 1), (0, -2)]
    values = torch.randn(2, 5, 3, 4, dtype=dtype, generator=generator(0))
    values[:, 0] += 6
    b = torch.randn(2, 3, 4, dtype=dtype, generator=generator(1))

    def answer(values: Tensor, b: Tensor) -> Tensor:
        A = StencilOperator(offsets, values, periodic)
        return solve(A.to_sparse() if sparse else A, b, solver=Dense()).x

    assert torch.autograd.gradcheck(answer, (values.requires_grad_(), b.requires_grad_()))


def test_gradient_is_that_of_a_dense_solve() -> None:
    A = darcy(1, (5, 4)).to_sparse()
    values, b = A.values.clone().requires_grad_(), right_hand_side(darcy(3, (5, 4))).requires_grad_()
    weight = torch.randn(3, 5, 4, dtype=torch.float64, generator=generator(2))
    # One matrix, three right-hand sides: the gradient of the values is the sum over them.
    loss = (weight * solve(A.with_parameter(values), b, rtol=1e-13, on_failure="return").x).sum()
    found = torch.autograd.grad(loss, (values, b))
    matrix = torch.zeros(20, 20, dtype=torch.float64)
    full = torch.zeros(400, dtype=torch.float64).index_put(
        (A.pattern.row_numbers * 20 + A.pattern.indices,), values[0]
    )
    reference = (weight * torch.linalg.solve(full.view_as(matrix), b.flatten(1).T).T.reshape(b.shape)).sum()
    for mine, expected in zip(found, torch.autograd.grad(reference, (values, b))):
        torch.testing.assert_close(mine, expected, rtol=1e-8, atol=1e-10)


def test_only_what_is_asked_for() -> None:
    A, b = darcy(2, (5, 4)), right_hand_side(darcy(2, (5, 4)))
    assert not solve(A, b).x.requires_grad
    solution = solve(A, b.requires_grad_())
    (gradient,) = torch.autograd.grad(solution.x.sum(), b)
    torch.testing.assert_close(gradient, solve(A, torch.ones_like(b)).x)
    assert solution.converged.all()
    with torch.no_grad():
        assert not solve(A, b, preconditioner=Multigrid()).x.requires_grad
    guess = torch.zeros_like(b).requires_grad_()
    solve(A, b.detach(), x0=guess)  # a guess does not change the answer, so it has no derivative
    F = FunctionOperator(A.apply, A.shape, A.batch, tags=HERMITIAN)
    (gradient,) = torch.autograd.grad(solve(F, b).x.sum(), b)
    torch.testing.assert_close(gradient, solve(A, torch.ones_like(b.detach())).x)


@pytest.mark.parametrize("boundary", ["neumann", "periodic"])
def test_gradients_on_the_range_of_a_singular_operator(boundary: str) -> None:
    a = jumps(1, (4, 5)).requires_grad_()
    b = torch.randn(1, 4, 5, dtype=torch.float64, generator=generator(3)).requires_grad_()

    def answer(a: Tensor, b: Tensor) -> Tensor:
        return solve(diffusion_stencil(a, 1.0, boundary), without_mean(b), rtol=1e-13, on_failure="return").x

    assert torch.autograd.gradcheck(answer, (a, b), eps=1e-5, atol=1e-6, rtol=1e-5)


def test_failures_in_the_backward_pass_raise() -> None:
    A = darcy(2, (12, 12))
    b = right_hand_side(A)
    b[0, 0, 0] = float("nan")
    b.requires_grad_()
    solution = solve(A, b, on_failure="return")
    with pytest.raises(SolveError, match="NONFINITE_INPUT: 1"):
        solution.x.sum().backward()
    solve(A, b, on_failure="return").x[1].sum().backward()  # the other one does not mind
    assert b.grad is not None
    assert torch.isfinite(b.grad).all()
    assert (b.grad[0] == 0).all()
    # Forward from an exact guess without a step; backward needs more than the none that are allowed.
    x = right_hand_side(A, 5)
    solution = solve(A, A(x).requires_grad_(), x0=x, max_iterations=0)
    with pytest.raises(SolveError, match="MAX_ITERATIONS"):
        solution.x.sum().backward()


def test_an_operator_that_hides_its_coefficients_is_refused() -> None:
    class Hidden(FunctionOperator):
        requires_grad = True  # type: ignore[assignment]

    A = darcy(2, (5, 4))
    F = Hidden(A.apply, A.shape, A.batch, tags=HERMITIAN)
    with pytest.raises(InvalidInput, match="coefficients"):
        solve(F, right_hand_side(A))
    for method in (lambda: F.with_parameter(A.coefficients), lambda: F.parameter_gradient(A, A)):  # type: ignore[arg-type]
        with pytest.raises(InvalidInput, match="coefficients"):
            method()


def test_an_optimiser_finds_the_coefficient() -> None:
    """The use of it all: a diffusion coefficient from an observed solution."""
    a = 1 + torch.rand(1, 8, 8, dtype=torch.float64, generator=generator(4))
    b = torch.ones(1, 6, 6, dtype=torch.float64)
    observed = solve(diffusion_stencil(a, 1 / 7), b).x
    log = torch.zeros_like(a).requires_grad_()
    optimiser = torch.optim.LBFGS([log], max_iter=60, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        x = solve(diffusion_stencil(log.exp(), 1 / 7), b, preconditioner=Multigrid(), rtol=1e-10).x
        return ((x - observed) ** 2).sum() / (observed**2).sum()

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = loss()
        value.backward()
        return value

    first = loss().item()
    optimiser.step(closure)  # type: ignore[arg-type]
    assert loss().item() < 1e-4 * first
