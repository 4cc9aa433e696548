"""A batch of no systems, as a filtered data set may end with: no solutions, and no error."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pdeflow.errors import InvalidInput
from pdeflow.linalg import (
    CG,
    FGMRES,
    GCRODR,
    GMRES,
    IC,
    ILU,
    LGMRES,
    MINRES,
    SSOR,
    AlgebraicMultigrid,
    Auto,
    BiCGStab,
    BlockCG,
    BlockJacobi,
    Chebyshev,
    DeflatedCG,
    FastPoisson,
    FlexibleCG,
    Frozen,
    Jacobi,
    LinearOperator,
    Multigrid,
    NestedDissection,
    Preconditioner,
    Sequence,
    Solution,
    Solver,
    SparseDirect,
    SparseOperator,
    StencilOperator,
    diffusion_stencil,
    full_multigrid,
    solve,
)

from .systems import convection, darcy, diffusion

SOLVERS = [
    CG(),
    FlexibleCG(),
    BlockCG(),
    DeflatedCG(recycle=2, window=4),
    MINRES(),
    GMRES(),
    FGMRES(),
    LGMRES(),
    GCRODR(),
    BiCGStab(),
    Auto(),
]
PRECONDITIONERS = [
    Jacobi(),
    BlockJacobi(),
    IC(),
    ILU(),
    SSOR(),
    NestedDissection(),
    Chebyshev(),
    FastPoisson(),
    Multigrid(),
    AlgebraicMultigrid(),
    SparseDirect(),
    Frozen(SparseDirect()),
]


def none_of(A: StencilOperator) -> StencilOperator:
    return A.with_parameter(A.coefficients[:0])


def check(solution: Solution, A: LinearOperator) -> None:
    assert solution.x.shape == (0, *A.shape)
    assert solution.x.dtype == A.dtype
    assert solution.status.shape == solution.iterations.shape == solution.residual_norm.shape == (0,)
    assert solution.history.shape == (1, 0)
    assert [t.dtype for t in (solution.status, solution.iterations, solution.residual_norm)] == [
        torch.int8,
        torch.int64,
        torch.float64,
    ]
    assert solution.describe() == "All 0 systems converged."


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: type(solver).__name__)
@pytest.mark.parametrize("kind", ["stencil", "sparse", "one operator for all"])
def test_every_solver(solver: Solver, kind: str) -> None:
    A = darcy(1, (6, 5)) if kind == "one operator for all" else none_of(darcy(1, (6, 5)))
    A = A.to_sparse() if kind == "sparse" else A
    b = torch.empty(0, *A.shape, dtype=A.dtype)
    check(solve(A, b, solver=solver), A)
    check(solve(A, b, solver=solver, x0=b), A)
    check(Sequence(solver).solve(A, b), A)


@pytest.mark.parametrize("preconditioner", PRECONDITIONERS, ids=lambda part: type(part).__name__)
@pytest.mark.parametrize("solver", [CG(), GMRES()], ids=lambda solver: type(solver).__name__)
def test_every_preconditioner(solver: Solver, preconditioner: Preconditioner) -> None:
    A = none_of(darcy(1, (6, 5)))
    check(solve(A, torch.empty(0, 6, 5, dtype=A.dtype), solver=solver, preconditioner=preconditioner), A)


def test_operators_made_of_nothing() -> None:
    A = diffusion_stencil(torch.ones(0, 8, 8, dtype=torch.float64), 0.1)
    check(solve(A, torch.empty(0, 6, 6, dtype=torch.float64)), A)
    values = torch.empty(0, 2, dtype=torch.float64)
    B = SparseOperator.from_csr(torch.tensor([0, 1, 2]), torch.tensor([0, 1]), values)
    check(solve(B, torch.empty(0, 2, dtype=torch.float64)), B)


def test_null_spaces() -> None:
    ring = diffusion_stencil(torch.ones(0, 8, 8, dtype=torch.float64), 0.1, "periodic")
    b = torch.empty(0, 8, 8, dtype=torch.float64)
    check(solve(ring, b), ring)
    given = diffusion(torch.ones(0, 8, 8, dtype=torch.float64), (True, True))
    check(solve(given, b, null_space=torch.ones(1, 8, 8, dtype=torch.float64)), given)


def test_derivatives_are_empty_or_zero() -> None:
    one = darcy(1, (6, 5))
    b = torch.empty(0, 6, 5, dtype=torch.float64, requires_grad=True)
    c = one.coefficients.clone().requires_grad_()
    solve(one.with_parameter(c), b).x.sum().backward()
    assert b.grad is not None
    assert b.grad.shape == b.shape
    assert c.grad is not None
    assert c.grad.shape == c.shape
    assert not c.grad.any()


def test_numpy_columns() -> None:
    matrix = darcy(1, (6, 5)).to_scipy()
    solution = solve(matrix, np.empty((30, 0)))
    assert isinstance(solution.x, np.ndarray)
    assert solution.x.shape == (30, 0)
    assert solution.status.shape == (0,)


def test_a_chain_goes_on_after_an_empty_system() -> None:
    A = convection(1, 12)
    b = torch.ones(1, 12, 12, dtype=torch.float64)
    chain, other = Sequence(GCRODR(restart=10, recycle=4)), Sequence(GCRODR(restart=10, recycle=4))
    for c in (chain, other):
        c.solve(A, b)
    chain.solve(A, b[:0])
    assert torch.equal(chain.solve(A, b).iterations, other.solve(A, b).iterations)


def test_full_multigrid() -> None:
    b = torch.empty(0, 6, 5, dtype=torch.float64)
    assert full_multigrid(darcy(1, (6, 5)), b).shape == b.shape
    assert full_multigrid(none_of(darcy(1, (6, 5))), b).shape == b.shape


def test_what_does_not_fit_is_refused_all_the_same() -> None:
    A = none_of(darcy(1, (6, 5)))
    with pytest.raises(InvalidInput, match=r"b\.shape"):
        solve(A, torch.empty(0, 5, 6, dtype=A.dtype))
    with pytest.raises(InvalidInput, match=r"A\.tags"):
        solve(A.retagged(()), torch.empty(0, 6, 5, dtype=A.dtype), solver=CG())
