"""Arguments of the wrong kind: InvalidInput names the argument and what to write instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse
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
    SSOR,
    AlgebraicMultigrid,
    Auto,
    BlockJacobi,
    Candidate,
    Chebyshev,
    DeflatedCG,
    FastPoisson,
    Frozen,
    FunctionOperator,
    Jacobi,
    LinearOperator,
    Multigrid,
    Sequence,
    SparseOperator,
    StencilOperator,
    Tag,
    as_scipy,
    control_volumes,
    diffusion_stencil,
    from_scipy,
    solve,
)

from .systems import darcy, dense, hermitian, right_hand_side

A: Any = darcy(2, (6, 5))
B: Any = A.to_sparse()
b = right_hand_side(A)
a = torch.ones(1, 5, 5, dtype=torch.float64)
three = torch.ones(1, 3, 4, dtype=torch.float64)
anything: Any = None

# What is called, the argument that the message names first, and what it must also say.
WRONG: dict[str, tuple[Callable[[], object], str, str]] = {
    # to solve
    "complex b": (lambda: solve(A, b + 1j), "b.dtype", r"A\.to\(torch\.complex128\)"),
    "real b": (lambda: solve(hermitian(2, 6), b.new_ones(2, 6, 6)), "b.dtype", r"b\.to\(torch\.complex128\)"),
    "preconditioner class": (lambda: solve(A, b, preconditioner=Jacobi), "preconditioner", r"Jacobi\(\)"),  # type: ignore[arg-type]
    "preconditioner name": (lambda: solve(A, b, preconditioner="jacobi"), "preconditioner", r"Jacobi\(\)"),  # type: ignore[arg-type]
    "prepared": (lambda: solve(A, b, preconditioner=Jacobi().init(A)), "preconditioner", "init"),  # type: ignore[arg-type]
    "solver as preconditioner": (lambda: solve(A, b, preconditioner=CG()), "preconditioner", "Multigrid"),  # type: ignore[arg-type]
    "solver class": (lambda: solve(A, b, solver=GMRES), "solver", r"GMRES\(\)"),  # type: ignore[arg-type]
    "solver name": (lambda: solve(A, b, solver="cg"), "solver", r"CG\(\)"),  # type: ignore[arg-type]
    "arrays, solver class": (lambda: solve(np.eye(3), np.ones(3), solver=GMRES), "solver", r"GMRES\(\)"),  # type: ignore[arg-type]
    "rtol of each": (lambda: solve(A, b, rtol=torch.full((2,), 1e-8)), "rtol", "all systems"),  # type: ignore[arg-type]
    "rtol text": (lambda: solve(A, b, rtol="1e-8"), "rtol", "finite number"),  # type: ignore[arg-type]
    "atol none": (lambda: solve(A, b, atol=None), "atol", "finite number"),  # type: ignore[arg-type]
    "atol complex": (lambda: solve(A, b, atol=np.array(1j)), "atol", "finite number"),  # type: ignore[arg-type]
    "half iterations": (lambda: solve(A, b, max_iterations=2.5), "max_iterations", "whole number"),  # type: ignore[arg-type]
    "dense tensor": (lambda: solve(dense(A)[0], b), "A", r"from_torch\(A\.to_sparse_csr\(\)\)"),
    "sparse tensor": (lambda: solve(torch.eye(3).to_sparse(), b), "A", r"from_torch\(A\)"),
    # operators
    "offsets without axes": (lambda: StencilOperator([-1, 0, 1], three), "offsets", r"\(-1,\)"),  # type: ignore[list-item]
    "offsets in halves": (lambda: StencilOperator([(0.5,)], three), "offsets", "whole"),  # type: ignore[list-item]
    "one periodic": (lambda: StencilOperator([(0,)], three[:, :1], True), "periodic", r"\(True,\)"),  # type: ignore[arg-type]
    "one tag": (
        lambda: StencilOperator([(0,)], three[:, :1], tags=Tag.SYMMETRIC),  # type: ignore[arg-type]
        "tags",
        r"\[Tag\.SYMMETRIC\]",
    ),
    "retagged with one": (lambda: A.retagged(Tag.SYMMETRIC), "tags", r"\[Tag\.SYMMETRIC\]"),
    "tags true": (lambda: A.retagged(True), "tags", "collection"),
    "list of coefficients": (lambda: StencilOperator([(0,)], [[[1.0]]]), "coefficients", "as_tensor"),  # type: ignore[arg-type]
    "half precision": (lambda: A.to(torch.float16), "dtype", r"to\(torch\.float64\)"),
    "half precision, sparse": (lambda: B.to(torch.bfloat16), "dtype", r"to\(torch\.float64\)"),
    "dtype of numpy": (lambda: FunctionOperator(A.apply, (6, 5), 2, np.float64), "dtype", "float32"),  # type: ignore[arg-type]
    "no function": (lambda: FunctionOperator(dense(A), (6, 5), 2), "function", "function of a tensor"),  # type: ignore[arg-type]
    "no adjoint": (
        lambda: FunctionOperator(A.apply, (6, 5), 2, adjoint=A.coefficients),
        "adjoint",
        "function",
    ),
    "shape of one axis": (lambda: FunctionOperator(A.apply, 30, 2), "shape", r"\(n,\)"),  # type: ignore[arg-type]
    "batch": (lambda: FunctionOperator(A.apply, (30,), 1.0), "batch", "whole number"),  # type: ignore[arg-type]
    "no pattern": (lambda: SparseOperator(B.to_scipy(), B.values), "pattern", "from_scipy"),  # type: ignore[arg-type]
    "list of values": (lambda: SparseOperator(B.pattern, B.values.tolist()), "values", "as_tensor"),  # type: ignore[arg-type]
    "sparse shape": (lambda: SparseOperator(B.pattern, B.values, 30), "shape", r"\(n,\)"),  # type: ignore[arg-type]
    "text in csr": (
        lambda: SparseOperator.from_csr([0, 1], [0], np.array(["1"])),  # type: ignore[arg-type]
        "dtype",
        "numbers",
    ),
    "dense from scipy": (lambda: SparseOperator.from_scipy(np.eye(3)), "matrices", r"linalg\.from_scipy"),
    "tensor from scipy": (lambda: SparseOperator.from_scipy(torch.eye(3)), "matrices", "from_torch"),
    "number from scipy": (lambda: SparseOperator.from_scipy(3), "matrices", "SciPy"),
    "scipy from torch": (
        lambda: SparseOperator.from_torch(scipy.sparse.eye_array(3)),  # type: ignore[arg-type]
        "matrix",
        r"from_scipy",
    ),
    "list": (lambda: from_scipy([[1.0]]), "A", "NumPy matrix"),
    "preconditioner to scipy": (lambda: as_scipy(Jacobi()), "A", r"init\(A\)"),  # type: ignore[arg-type]
    # diffusion
    "whole coefficients": (lambda: diffusion_stencil(a.long(), 0.1), "a.dtype", r"to\(torch\.float64\)"),
    "list of coefficients a": (lambda: diffusion_stencil([[1.0] * 5], 0.1), "a", "as_tensor"),  # type: ignore[arg-type]
    "half precision a": (lambda: diffusion_stencil(a.half(), 0.1), "dtype", r"to\(torch\.float64\)"),
    "spacing text": (lambda: diffusion_stencil(a, "0.1"), "spacing", "positive number"),  # type: ignore[arg-type]
    "spacing none": (lambda: diffusion_stencil(a, anything), "spacing", "positive number"),
    "boundary true": (lambda: diffusion_stencil(a, 0.1, True), "boundary", "periodic"),  # type: ignore[arg-type]
    "boundary numbers": (lambda: diffusion_stencil(a, 0.1, [1, 2]), "boundary", "periodic"),  # type: ignore[list-item]
    "reaction text": (lambda: diffusion_stencil(a, 0.1, reaction="1"), "reaction", "Tensor"),  # type: ignore[arg-type]
    "volumes of one axis": (lambda: control_volumes(5), "shape", r"\(n,\)"),  # type: ignore[arg-type]
    # settings
    "restart": (lambda: GMRES(restart=20.0), "restart", "whole number"),  # type: ignore[arg-type]
    "restart none": (lambda: FGMRES(restart=anything), "restart", "whole number"),
    "augment": (lambda: LGMRES(augment="2"), "augment", "whole number"),  # type: ignore[arg-type]
    "recycle": (lambda: GCRODR(recycle=2.0), "recycle", "whole number"),  # type: ignore[arg-type]
    "window": (lambda: DeflatedCG(window="64"), "window", "whole number"),  # type: ignore[arg-type]
    "check_every": (lambda: CG(check_every=1.5), "check_every", "whole number"),  # type: ignore[arg-type]
    "blocks": (lambda: BlockJacobi(2.5), "blocks", r"\(4, 2\)"),  # type: ignore[arg-type]
    "blocks in halves": (lambda: BlockJacobi((2.5, 2)), "blocks", r"\(4, 2\)"),  # type: ignore[arg-type]
    "degree": (lambda: Chebyshev(degree=2.5), "degree", "whole number"),  # type: ignore[arg-type]
    "degree of amg": (lambda: AlgebraicMultigrid(degree="2"), "degree", "whole number"),  # type: ignore[arg-type]
    "ratio": (lambda: Chebyshev(ratio="30"), "ratio", "above 1"),  # type: ignore[arg-type]
    "relaxation of ic": (lambda: IC(relaxation=anything), "relaxation", "from 0 to 1"),
    "relaxation of ilu": (lambda: ILU(relaxation="0.9"), "relaxation", "from 0 to 1"),  # type: ignore[arg-type]
    "omega": (lambda: SSOR(omega="1"), "omega", "between 0 and 2"),  # type: ignore[arg-type]
    "shift": (lambda: FastPoisson(shift="1j"), "shift", "finite number"),  # type: ignore[arg-type]
    "ends": (lambda: FastPoisson(ends="periodic"), "ends", "every axis"),  # type: ignore[arg-type]
    "ends in numbers": (lambda: FastPoisson(ends=(1,)), "ends", "every axis"),  # type: ignore[arg-type]
    "frozen class": (lambda: Frozen(IC), "preconditioner", r"IC\(\)"),  # type: ignore[arg-type]
    "slack": (lambda: Frozen(IC(), "0.3"), "slack", "from 0 to 1"),  # type: ignore[arg-type]
    "chain of a class": (lambda: Sequence(CG, Jacobi()), "solver", r"CG\(\)"),  # type: ignore[arg-type]
    "chain with a name": (lambda: Sequence(CG(), "ic"), "preconditioner", r"Jacobi\(\)"),  # type: ignore[arg-type]
    "bare candidate": (lambda: Auto((CG(),)), r"candidates\[0\]", "Candidate"),  # type: ignore[arg-type]
    "one candidate": (lambda: Auto(Candidate(CG())), "candidates", "tuple"),  # type: ignore[arg-type]
    "candidate class": (lambda: Candidate(CG), "solver", r"CG\(\)"),  # type: ignore[arg-type]
    "candidate of none": (lambda: Candidate(anything), "solver", r"CG\(\)"),
    "pilot": (lambda: Auto(pilot=2.0), "pilot", "whole number"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("name", WRONG)
def test_an_argument_of_the_wrong_kind(name: str) -> None:
    call, argument, told = WRONG[name]
    with pytest.raises(InvalidInput, match=rf"(?s)^{argument}: got .*{told}"):
        call()


def same_products(one: LinearOperator, other: LinearOperator) -> None:
    x = torch.randn(one.batch, *one.shape, dtype=one.dtype)
    torch.testing.assert_close(one(x), other(x), rtol=0, atol=0)


def test_numpy_arrays_are_coefficients() -> None:
    same_products(StencilOperator(A.offsets, A.coefficients.numpy()), A)
    same_products(SparseOperator(B.pattern, B.values.numpy(), A.shape), B)
    parts = (B.pattern.indptr.numpy(), B.pattern.indices.numpy(), B.values.numpy())
    same_products(SparseOperator.from_csr(*parts, A.shape), B)
    c = torch.rand(1, 5, 5, dtype=torch.float64) + 1
    same_products(
        diffusion_stencil(c.numpy(), 0.1, reaction=c.numpy()), diffusion_stencil(c, 0.1, reaction=c)
    )


@pytest.mark.parametrize("change", ["read-only", "backwards", "integers", "bytes swapped", "long double"])
def test_numpy_arrays_that_torch_does_not_take_are_copied(change: str) -> None:
    values = np.array([[[1.0, 2.0, 3.0, 4.0]]])
    if change == "read-only":
        values.flags.writeable = False
    elif change == "backwards":
        values = values[..., ::-1]
    else:
        values = values.astype(
            {"integers": "int32", "bytes swapped": ">f8", "long double": "longdouble"}[change]
        )
    operator = StencilOperator([(0,)], values)
    assert operator.dtype == torch.float64
    assert operator.coefficients.flatten().tolist() == values.flatten().tolist()


def test_numpy_arrays_share_their_memory() -> None:
    values = np.ones((1, 1, 4), dtype=np.float32)
    operator = StencilOperator([(0,)], values)
    assert operator.dtype == torch.float32
    assert operator.coefficients.data_ptr() == values.ctypes.data


def test_numbers_of_every_library_are_numbers() -> None:
    plain = diffusion_stencil(a, 0.5)
    for h in (
        np.float32(0.5),
        torch.tensor(0.5),
        np.array(0.5),
        torch.tensor([0.5, 0.5]),
        [np.float32(0.5)] * 2,
    ):
        assert torch.equal(diffusion_stencil(a, h).coefficients, plain.coefficients)  # type: ignore[arg-type]
    for c in (np.float32(0.25), torch.tensor(0.25), np.array(0.25)):
        made = diffusion_stencil(a, 0.5, reaction=c)  # type: ignore[arg-type]
        assert made.tags == {Tag.SYMMETRIC, Tag.POSITIVE_DEFINITE}
        assert torch.equal(made.coefficients, diffusion_stencil(a, 0.5, reaction=0.25).coefficients)
    assert diffusion_stencil(a, 0.5, reaction=np.complex64(1j)).dtype == torch.complex128  # type: ignore[arg-type]
    for number in (np.float32(1e-3), torch.tensor(1e-3), np.array(1e-3)):
        solution = solve(A, b, rtol=number, atol=number, max_iterations=np.int64(50))  # type: ignore[arg-type]
        assert torch.equal(solution.iterations, solve(A, b, rtol=1e-3, atol=1e-3).iterations)
    assert GMRES(restart=np.int64(5)) == GMRES(restart=5)  # type: ignore[arg-type]
    same_products(StencilOperator(np.array(A.offsets), A.coefficients), A)  # type: ignore[arg-type]
    same_products(StencilOperator(torch.tensor(A.offsets), A.coefficients), A)  # type: ignore[arg-type]


def test_a_chain_without_a_solver_takes_the_default_one() -> None:
    solution = Sequence(anything, Multigrid()).solve(A, b)
    assert solution.converged.all()
