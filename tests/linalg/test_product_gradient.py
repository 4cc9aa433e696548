"""Derivatives of ``A(x)`` and ``M(x)`` by x and by the coefficients of A."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg import (
    IC,
    ILU,
    SSOR,
    BlockJacobi,
    Chebyshev,
    FastPoisson,
    Frozen,
    FunctionOperator,
    Jacobi,
    LinearOperator,
    Multigrid,
    NestedDissection,
    Preconditioner,
    SparseDirect,
    StencilOperator,
    as_scipy,
    solve,
)

from .systems import convection, darcy, generator, hermitian, right_hand_side

OFFSETS = [(0, 0), (0, 1), (1, 0), (-1, 1), (0, -2)]


def coefficients(dtype: torch.dtype, batch: int = 2) -> Tensor:
    return torch.randn(batch, 5, 3, 4, dtype=dtype, generator=generator(0))


def vector(dtype: torch.dtype, batch: int = 2) -> Tensor:
    return torch.randn(batch, 3, 4, dtype=dtype, generator=generator(1))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("periodic", [(False, False), (True, False)])
@pytest.mark.parametrize("asked", ["x", "coefficients", "both"])
def test_products(dtype: torch.dtype, sparse: bool, periodic: tuple[bool, bool], asked: str) -> None:
    values, x = coefficients(dtype), vector(dtype)

    def answer(values: Tensor, x: Tensor) -> Tensor:
        A = StencilOperator(OFFSETS, values, periodic)
        return (A.to_sparse() if sparse else A)(x)

    values.requires_grad_(asked != "x")
    x.requires_grad_(asked != "coefficients")
    assert torch.autograd.gradcheck(answer, (values, x))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("sparse", [False, True])
def test_one_operator_on_several_vectors(dtype: torch.dtype, sparse: bool) -> None:
    values = coefficients(dtype, 1).requires_grad_()
    x = vector(dtype, 3).requires_grad_()

    def answer(values: Tensor, x: Tensor) -> Tensor:
        A = StencilOperator(OFFSETS, values)
        return (A.to_sparse() if sparse else A).expand(3)(x)

    assert torch.autograd.gradcheck(answer, (values, x))


def test_solve_with_an_expanded_operator_reaches_its_coefficients() -> None:
    A = darcy(1, (4, 4))
    values, b = A.coefficients.clone().requires_grad_(), torch.ones(3, 4, 4, dtype=torch.float64)
    single, expanded = (
        torch.autograd.grad(solve(form, b, rtol=1e-12).x.square().sum(), values)[0]
        for form in (A.with_parameter(values), A.with_parameter(values).expand(3))
    )
    torch.testing.assert_close(single, expanded)


PRECONDITIONERS: dict[str, Preconditioner] = {
    "jacobi": Jacobi(),
    "block jacobi": BlockJacobi(),
    "multigrid": Multigrid(dtype=None),
    "multigrid chebyshev": Multigrid(dtype=None, smoother="chebyshev"),
    "ssor": SSOR(),
    "dissection": NestedDissection(),
    "ic": IC(dtype=None),
    "ilu": ILU(dtype=None),
    "fast poisson": FastPoisson(dtype=None),
    "chebyshev": Chebyshev(),
    "direct": SparseDirect(),
    "frozen": Frozen(SSOR()),
}
SYSTEMS: dict[str, Callable[[], StencilOperator]] = {
    "real": lambda: darcy(2, (4, 5)),
    "hermitian": lambda: hermitian(2, 4),
    "not symmetric": lambda: convection(2, 4),
}


@pytest.mark.parametrize("preconditioner", PRECONDITIONERS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_preconditioners(preconditioner: str, system: str) -> None:
    A = SYSTEMS[system]()
    if preconditioner == "ic" and system == "not symmetric":
        pytest.skip("IC needs a Hermitian operator")
    A = A.with_parameter(A.coefficients / A.coefficients.abs().max())
    M = PRECONDITIONERS[preconditioner].init(A)
    assert torch.autograd.gradcheck(M, (right_hand_side(A).requires_grad_(),))


@pytest.mark.parametrize("preconditioner", PRECONDITIONERS)
def test_preconditioners_are_constants_or_tell_of_their_operator(preconditioner: str) -> None:
    A = darcy(2, (4, 4))
    b = right_hand_side(A)
    recipe = PRECONDITIONERS[preconditioner]
    expected = recipe.init(A)(b)
    M = recipe.init(A.with_parameter(A.coefficients.clone().requires_grad_()))
    found = M(b)
    torch.testing.assert_close(found.detach(), expected)
    assert found.requires_grad == (preconditioner in ("jacobi", "block jacobi")) == M.traced


def test_functions_are_followed_by_torch() -> None:
    a = torch.rand(2, 5, dtype=torch.float64, generator=generator(2)).requires_grad_()
    x = torch.rand(2, 5, dtype=torch.float64, generator=generator(3)).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, x: FunctionOperator(lambda v: a * v, (5,), 2)(x), (a, x))
    assert torch.autograd.gradgradcheck(lambda a, x: FunctionOperator(lambda v: a * v, (5,), 2)(x), (a, x))
    # Where torch cannot follow, as through a compiled loop, there is the adjoint.
    B = StencilOperator(OFFSETS, coefficients(torch.float64)).to_sparse()
    y = vector(torch.float64).requires_grad_()
    F = FunctionOperator(lambda v: B.apply(v.detach()), B.shape, 2, adjoint=B.adjoint.apply)
    assert torch.autograd.gradcheck(F, (y,))
    bare = FunctionOperator(lambda v: B.apply(v.detach()), B.shape, 2)(y).sum()
    with pytest.raises(InvalidInput, match="adjoint"):
        bare.backward()
    assert torch.autograd.gradcheck(FunctionOperator(B, B.shape, 2), (y,))


def test_nothing_is_recorded_unless_it_is_asked_for() -> None:
    A = StencilOperator(OFFSETS, coefficients(torch.float64))
    x = vector(torch.float64)
    assert not A(x).requires_grad
    with torch.no_grad():
        assert not A.with_parameter(A.coefficients.clone().requires_grad_())(x.requires_grad_()).requires_grad
    assert A.detach() is A
    learned = A.with_parameter(A.coefficients.clone().requires_grad_())
    assert not learned.detach().requires_grad
    assert learned.detach().coefficients.data_ptr() == learned.coefficients.data_ptr()
    y = as_scipy(learned, 1) @ np.ones(12)
    np.testing.assert_allclose(y, A(torch.ones_like(x))[1].flatten().detach().numpy())


def test_an_operator_that_hides_its_coefficients_is_refused() -> None:
    class Hidden(LinearOperator):
        requires_grad = True  # type: ignore[assignment]

        def apply(self, x: Tensor) -> Tensor:
            return 2 * x

        diagonal = adjoint = to = None  # type: ignore[assignment]

    with pytest.raises(InvalidInput, match="coefficients"):
        Hidden((5,), 1, torch.float64, torch.device("cpu"))(torch.ones(1, 5, dtype=torch.float64))


def test_an_f_cycle_knows_no_adjoint() -> None:
    M = Multigrid(cycle="F").init(darcy(1, (8, 8)))
    with pytest.raises(InvalidInput, match="cycle"):
        _ = M.adjoint


@pytest.mark.parametrize("derivative", ["x", "coefficients"])
def test_coefficients_that_are_changed_before_the_backward_pass_are_refused(derivative: str) -> None:
    """The gradient would be that of another operator."""
    values, x = coefficients(torch.float64), vector(torch.float64)
    (x if derivative == "x" else values).requires_grad_()
    A = StencilOperator(OFFSETS, values, (False, False))
    loss = A(x).sum()
    with torch.no_grad():
        values.mul_(2.0)
    with pytest.raises(RuntimeError, match="inplace operation"):
        loss.backward()
