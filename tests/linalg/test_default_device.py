"""A default device other than the operands' changes nothing; run as a program, this file does the solves."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import scipy.sparse
import torch
from torch import Tensor
from torch.utils import _device

import pdeflow.linalg
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
    FunctionOperator,
    Jacobi,
    LinearOperator,
    Multigrid,
    NestedDissection,
    Preconditioner,
    Sequence,
    Solver,
    SparseDirect,
    SparseOperator,
    StencilOperator,
    Tag,
    as_scipy,
    diffusion_stencil,
    full_multigrid,
    solve,
)
from pdeflow.linalg.solver import default_solver

SHAPE = (8, 7)
SOLVERS: list[Solver] = [
    *(CG(), CG(check_every=3), MINRES(), BiCGStab(), FlexibleCG(), DeflatedCG(), BlockCG()),
    *(GMRES(), FGMRES(), LGMRES(), GCRODR()),
]
PRECONDITIONERS: list[Preconditioner] = [
    *(Jacobi(), IC(), IC(relaxation=0.9), ILU(), ILU(dtype=torch.float32), SparseDirect()),
    *(AlgebraicMultigrid(), BlockJacobi(), BlockJacobi(3), Chebyshev()),
]
FOR_STENCILS: list[Preconditioner] = [
    *(Multigrid(), Multigrid("W", dtype=None), Multigrid(smoother="chebyshev")),
    *(SSOR(), FastPoisson(), FastPoisson(scaling=True), NestedDissection()),
]


def operators() -> dict[str, LinearOperator]:
    numbers = np.random.default_rng(0)
    field = torch.from_numpy(numbers.uniform(1, 3, (2, *SHAPE)))
    stencil = diffusion_stencil(field, 0.1, "dirichlet", 1.0, points="cells")
    turned = torch.from_numpy(np.exp(1j * numbers.uniform(size=(2, *SHAPE))))
    values = stencil.coefficients.to(torch.complex128)
    for axis in range(2):
        back, ahead = (stencil.offsets.index(tuple(s * (a == axis) for a in range(2))) for s in (-1, 1))
        values[:, back] *= turned
        values[:, ahead] *= turned.roll(-1, axis + 1).conj()
    matrices = [stencil.to_scipy(index) for index in range(2)]
    sparse = SparseOperator.from_scipy(matrices, SHAPE)
    return {
        "stencil": stencil,
        "float32": stencil.to(torch.float32),
        "periodic": diffusion_stencil(field, 0.1, "periodic", 1.0),
        "pure neumann": diffusion_stencil(field, 0.1, "neumann", points="cells"),
        "complex": StencilOperator(stencil.offsets, values, tags=stencil.tags),
        "line": diffusion_stencil(field[:, 0], 0.1, "dirichlet", 1.0),
        "sparse": sparse,
    }


def right_hand_side(A: LinearOperator) -> Tensor:
    b = torch.from_numpy(np.random.default_rng(1).standard_normal((A.batch, *A.shape)))
    return (b - b.mean((1, 2), keepdim=True) if Tag.CONSTANT_NULL_SPACE in A.tags else b).to(A.dtype)


def rows(names: Iterable[str]) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    """Names, and what is worked out: every tensor that is given lies in host memory."""

    def answer(A: LinearOperator, solver: Solver, M: Preconditioner | None) -> Tensor:
        A = A.pieces(1)[0] if solver.couples else A
        rtol = 1e-4 if A.dtype == torch.float32 else 1e-8
        b = right_hand_side(A)
        try:
            return solve(A, b, solver=solver, preconditioner=M, rtol=rtol, on_failure="return").x
        except InvalidInput:  # not every pair fits; a refusal must be the same, too
            return b[:0]

    for name in names:
        A = operators()[name]
        for solver in SOLVERS:
            yield f"{name}, {solver}", lambda A=A, s=solver: answer(A, s, None)
        for M in PRECONDITIONERS + FOR_STENCILS * isinstance(A, StencilOperator):
            for solver in (default_solver(A), GMRES()):
                yield f"{name}, {solver}, {M}", lambda A=A, s=solver, M=M: answer(A, s, M)

    A, sparse = operators()["stencil"], operators()["sparse"]
    assert isinstance(A, StencilOperator)
    assert isinstance(sparse, SparseOperator)
    places = torch.stack([sparse.pattern.row_numbers, sparse.pattern.indices])
    coo = torch.sparse_coo_tensor(places, sparse.values[1], (A.size, A.size), device="cpu")
    made = {
        "from csr": SparseOperator.from_csr(
            sparse.pattern.indptr, sparse.pattern.indices, sparse.values, SHAPE, sparse.tags
        ),
        "from torch": SparseOperator.from_torch(coo.to_sparse_csr(), SHAPE, sparse.tags),
        "from coo": SparseOperator.from_torch(coo, SHAPE, sparse.tags),
        "from stencil": SparseOperator.from_stencil(A),
    }
    for name, B in made.items():
        yield name, lambda B=B: answer(B, CG(), None)

    b = right_hand_side(A)

    def derivative() -> Tensor:
        leaf = A.coefficients.clone().requires_grad_()
        solve(StencilOperator(A.offsets, leaf, tags=A.tags), b).x.square().sum().backward()
        assert leaf.grad is not None
        return leaf.grad

    def in_sequence() -> Tensor:
        chain = Sequence(GCRODR(), preconditioner=IC())
        return torch.stack([chain.solve(A, c).x for c in (b, b + 1)])

    constant = torch.from_numpy(np.ones((1, *SHAPE)))
    floating = operators()["pure neumann"].retagged([Tag.SYMMETRIC])
    matrix, vector = A.to_scipy(), b[0].flatten().numpy()
    yield "Auto", lambda: answer(A, Auto(), None)
    yield "derivative", derivative
    yield "sequence", in_sequence
    yield "full multigrid", lambda: full_multigrid(A, b)
    yield "one operator", lambda: solve(A.pieces(1)[0], b, preconditioner=Multigrid()).x
    yield (
        "null space",
        lambda: solve(floating, right_hand_side(operators()["pure neumann"]), null_space=constant).x,
    )
    yield (
        "function",
        lambda: answer(FunctionOperator(A.apply, A.shape, A.batch, A.dtype, tags=A.tags), CG(), None),
    )
    yield "SciPy matrix", lambda: torch.from_numpy(solve(matrix, vector).x)
    yield (
        "SciPy operator",
        lambda: torch.from_numpy(solve(scipy.sparse.linalg.aslinearoperator(matrix), vector).x),
    )
    yield "as SciPy", lambda: torch.from_numpy(as_scipy(A, 1) @ vector)


def main() -> None:
    """Work out every row with another default device first, so that nothing kept from the second helps."""
    with_loops, eagerly = tuple(operators()), ("stencil", "complex", "sparse")
    for native, names in (("1", with_loops), ("0", eagerly)):
        os.environ["PDEFLOW_NATIVE"] = native
        torch.set_default_device("meta")
        elsewhere = {name: work() for name, work in rows(names)}
        torch.set_default_device(None)
        found = {name: work() for name, work in rows(names)}
        for name, x in found.items():
            assert elsewhere[name].device.type == "cpu", name
            if name == "Auto":  # what is chosen by measuring need not be the same twice
                torch.testing.assert_close(elsewhere[name], x, rtol=1e-6, atol=1e-7 * x.abs().max().item())
            else:
                assert torch.equal(elsewhere[name], x), name
        print(sum(x.numel() > 0 for x in found.values()))


def test_operands_in_host_memory_stay_there() -> None:
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    compared = [int(line) for line in done.stdout.split()]
    assert min(compared) > 100
    assert compared[0] > 200


def test_every_tensor_is_made_on_a_named_device() -> None:
    names = {function.__name__ for function in _device._device_constructors()} | {"fftfreq", "rfftfreq"}
    assert {"tensor", "as_tensor", "zeros", "full", "arange"} <= names
    folder = Path(pdeflow.linalg.__file__).parent
    unnamed = []
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            called = ast.unparse(node.func)
            named = any(keyword.arg == "device" for keyword in node.keywords)
            if called.startswith("torch.") and node.func.attr in names and not named:
                unnamed.append(f"{path.name}:{node.lineno}: {ast.unparse(node)}")
    assert not unnamed, "\n".join(["These need device=:", *unnamed])


if __name__ == "__main__":
    main()
