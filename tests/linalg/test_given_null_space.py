"""Null spaces that the user gives: rigid motions of a frame, constants of two fields."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.linalg import (
    CG,
    GCRODR,
    IC,
    MINRES,
    SSOR,
    Auto,
    BlockJacobi,
    Chebyshev,
    DeflatedCG,
    FunctionOperator,
    Jacobi,
    Multigrid,
    Sequence,
    SolveError,
    SparseOperator,
    Status,
    Tag,
    diffusion_stencil,
    from_scipy,
    solve,
)
from pdeflow.linalg.null_space import Without

from .systems import HERMITIAN, convection, darcy, generator, jumps, least_norm, same

ROWS, COLUMNS = 4, 5


def springs() -> tuple[Tensor, Tensor]:
    """A grid of joints with bars along both axes and both diagonals: elongations by motions, and the places.

    Elongations are ``(bars, 2 joints)``. Without supports the frame moves freely, and in no other way.
    """
    places = torch.cartesian_prod(torch.arange(ROWS), torch.arange(COLUMNS)).double()
    bars = []
    for i, here in enumerate(places):
        for j in range(i + 1, len(places)):
            along = places[j] - here
            if along.abs().max() <= 1:
                row = torch.zeros(len(places), 2, dtype=torch.float64)
                row[i], row[j] = -along / along.norm(), along / along.norm()
                bars.append(row.flatten())
    return torch.stack(bars), places


def frame(stiffness: Tensor) -> SparseOperator:
    """The stiffness matrix ``B* diag(k) B`` of every sample, for unknowns of shape (joints, 2)."""
    B, places = springs()
    matrix = torch.einsum("ei,be,ej->bij", B.to(stiffness.dtype), stiffness, B.to(stiffness.dtype))
    csr = scipy.sparse.csr_array((B.abs().mT @ B.abs()).numpy() > 0)
    rows = torch.from_numpy(np.repeat(np.arange(csr.shape[0]), np.diff(csr.indptr)))
    columns = torch.from_numpy(csr.indices).long()
    shape = (len(places), 2)
    return SparseOperator.from_csr(csr.indptr, csr.indices, matrix[:, rows, columns], shape, HERMITIAN)


def rigid_motions() -> Tensor:
    """Two translations and a rotation, ``(3, joints, 2)``."""
    _, places = springs()
    x, y = places.unbind(1)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    return torch.stack([torch.stack(pair, 1) for pair in ((one, zero), (zero, one), (-y, x))])


def stiffness(batch: int, seed: int = 0) -> Tensor:
    return 1 + 9 * torch.rand(batch, len(springs()[0]), generator=generator(seed), dtype=torch.float64)


def forces(batch: int, seed: int = 1) -> Tensor:
    """Random ones in equilibrium."""
    loads = torch.randn(batch, ROWS * COLUMNS, 2, generator=generator(seed), dtype=torch.float64)
    Q, _ = np.linalg.qr(rigid_motions().flatten(1).numpy().T)
    flat = loads.flatten(1)
    return (flat - flat @ torch.from_numpy(Q @ Q.T)).reshape(loads.shape)


KRYLOV = [CG(), MINRES(), GCRODR(20, 6), DeflatedCG(6, 20)]
METHODS = [(solver, M) for solver in KRYLOV for M in (None, Jacobi(), Chebyshev())]


@pytest.mark.parametrize(("solver", "preconditioner"), [*METHODS, (Auto(), None)])
def test_frames_without_supports(solver, preconditioner) -> None:
    A, b, modes = frame(stiffness(3)), forces(3), rigid_motions()
    expected = least_norm(A, b)  # type: ignore[arg-type]
    options = {"solver": solver, "preconditioner": preconditioner, "rtol": 1e-10, "null_space": modes}
    for x0 in (None, forces(3, 5) + 40 * modes[2] - 7 * modes[0]):
        solution = solve(A, b, x0=x0, **options)
        same(solution.x, expected)
        rigid = torch.einsum("bjc,kjc->bk", solution.x, modes)
        assert rigid.abs().max() < 1e-11 * expected.abs().max() * modes.abs().max() * A.size
        true = torch.linalg.vector_norm((b - A(solution.x)).flatten(1), dim=1)
        true = true / torch.linalg.vector_norm(b.flatten(1), dim=1)
        assert (true <= 1e-10).all()
        torch.testing.assert_close(solution.residual_norm, true, rtol=1e-2, atol=1e-14)
    loop = [solve(one, b[i : i + 1], **options).x for i, one in enumerate(A.pieces(1))]
    same(torch.cat(loop), expected)


@pytest.mark.parametrize("preconditioner", [None, SSOR(), IC(), Multigrid(), BlockJacobi(2)])
def test_given_constants_are_tagged_ones(preconditioner) -> None:
    tagged = diffusion_stencil(jumps(2, (8, 12)), 1 / 8, "neumann")
    A = tagged.retagged(HERMITIAN)
    b = torch.randn(2, *A.shape, dtype=torch.float64, generator=generator(0))
    b = b - b.mean((1, 2), keepdim=True)
    ones = torch.full((1, *A.shape), 3.0, dtype=torch.float64)
    solution = solve(A, b, preconditioner=preconditioner, null_space=ones, rtol=1e-10)
    same(solution.x, solve(tagged, b, rtol=1e-11).x)


def test_the_basis_of_the_null_space_does_not_matter() -> None:
    A, b, modes = frame(stiffness(2)), forces(2), rigid_motions()
    mixed = torch.einsum("lk,kjc->ljc", 100 * torch.randn(3, 3, dtype=torch.float64), modes)
    same(solve(A, b, null_space=mixed, rtol=1e-11).x, solve(A, b, null_space=modes, rtol=1e-11).x)


def test_forces_out_of_equilibrium_give_the_least_squares_solution() -> None:
    A, b, modes = frame(stiffness(2)), forces(2), rigid_motions()
    b[0] += 1e-3 * modes[2]
    solution = solve(A, b, null_space=modes, on_failure="return", rtol=1e-10)
    assert solution.status.tolist() == [Status.SINGULAR, Status.CONVERGED]
    same(solution.x, least_norm(A, b))  # type: ignore[arg-type]
    part = 1e-3 * float(modes[2].norm() / b[0].norm())
    assert solution.residual_norm[0].item() == pytest.approx(part, rel=1e-6)
    with pytest.raises(SolveError, match="SINGULAR: 1"):
        solve(A, b, null_space=modes)
    b[0], b[1] = modes[1] + 0.3 * modes[2], 0
    solution = solve(A, b, null_space=modes, on_failure="return")
    assert solution.status.tolist() == [Status.SINGULAR, Status.CONVERGED]
    assert solution.x.abs().max() < 1e-12
    b[1, 3] = float("nan")
    status = solve(A, b, null_space=modes, on_failure="return").status.tolist()
    assert status == [Status.SINGULAR, Status.NONFINITE_INPUT]
    k = stiffness(2)
    k[1, 3] = float("nan")
    status = solve(frame(k), forces(2), null_space=modes, on_failure="return").status.tolist()
    assert status == [Status.CONVERGED, Status.NONFINITE_INPUT]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex128])
def test_two_periodic_fields(dtype: torch.dtype) -> None:
    """Coupled diffusion of two fields: each has a constant of its own."""
    turn = 0.5j if dtype.is_complex else 0.5
    mixing = torch.tensor([[2.0, turn], [np.conj(turn), 1.0]], dtype=dtype)

    def product(x: Tensor) -> Tensor:
        mixed = torch.einsum("ij,bjn->bin", mixing.to(x.dtype), x)
        return 2 * mixed - mixed.roll(1, 2) - mixed.roll(-1, 2)

    A = FunctionOperator(product, (2, 16), 2, dtype, tags=HERMITIAN)
    modes = torch.zeros(2, 2, 16, dtype=dtype)
    modes[0, 0], modes[1, 1] = 1, 1
    b = torch.randn(2, 2, 16, dtype=dtype, generator=generator(0))
    b = b - b.mean(2, keepdim=True)
    single = dtype == torch.float32
    solution = solve(A, b, null_space=modes, rtol=1e-5 if single else 1e-11)
    assert solution.x.dtype == dtype
    same(solution.x, least_norm(A, b), 1e-3 if single else 1e-8)  # type: ignore[arg-type]
    assert solution.x.mean(2).abs().max() < (1e-5 if single else 1e-12)


@pytest.mark.parametrize("columns", [None, 3])
def test_scipy_and_numpy(columns: int | None) -> None:
    A, modes = frame(stiffness(1)), rigid_motions().flatten(1).numpy().T
    b = forces(columns or 1).flatten(1).numpy().T
    b = b[:, 0] if columns is None else b
    expected = np.linalg.pinv(A.to_scipy(0).toarray(), rcond=1e-11) @ b
    for matrix in (A.to_scipy(0), A.to_scipy(0).toarray()):
        x = solve(matrix, b, null_space=modes, rtol=1e-10).x
        assert isinstance(x, np.ndarray)
        np.testing.assert_allclose(x, expected, rtol=0, atol=1e-7 * np.abs(expected).max())
    ring = np.array([[2.0, -1, -1], [-1, 2, -1], [-1, -1, 2]])
    x = solve(ring, np.array([1.0, 0, -1]), null_space=np.ones(3)).x
    np.testing.assert_allclose(x, [1 / 3, 0, -1 / 3], atol=1e-12)
    with pytest.raises(InvalidInput, match=r"null_space\.shape"):
        solve(ring, np.array([1.0, 0, -1]), null_space=np.ones(4))


@pytest.mark.parametrize("solver", [CG(), DeflatedCG(6, 20), GCRODR(20, 6), Auto(pilot=2)])
@pytest.mark.parametrize("refresh", ["always", "frozen"])
def test_a_sequence_of_frames(solver, refresh) -> None:
    modes = rigid_motions()
    preconditioner = None if isinstance(solver, Auto) else Jacobi()
    chain = Sequence(solver, preconditioner, refresh)
    for i in range(4):
        A = frame(stiffness(1) + 0.1 * stiffness(1, i))
        b = forces(3, i)  # three loads on one frame
        solution = chain.solve(A, b, null_space=modes, rtol=1e-10)
        same(solution.x, least_norm(A, b))  # type: ignore[arg-type]
    if isinstance(solver, Auto):
        assert solution.choice is not None
        assert all("Projected" not in trial.name for trial in solution.choice.trials)


@pytest.mark.parametrize("chained", [False, True])
def test_gradients_on_the_range(chained: bool) -> None:
    k = stiffness(1).requires_grad_()
    loads = torch.randn(2, ROWS * COLUMNS, 2, generator=generator(7), dtype=torch.float64).requires_grad_()
    modes = rigid_motions()
    weight = torch.randn(loads.shape, generator=generator(8), dtype=torch.float64)
    project = Without(modes)

    def mine(k: Tensor, loads: Tensor) -> Tensor:
        options = {"null_space": modes, "rtol": 1e-12, "on_failure": "return"}
        if not chained:
            return solve(frame(k), project(loads), **options).x
        chain = Sequence(GCRODR(20, 6), Jacobi())
        first = chain.solve(frame(k), project(loads), **options).x
        return chain.solve(frame(k.sqrt()), first, **options).x

    def reference(k: Tensor, loads: Tensor) -> Tensor:
        # On the null space K + Z Z* is the identity, so its inverse is the pseudo-inverse on the range.
        Z = torch.linalg.qr(modes.flatten(1).mT)[0]
        x = (loads.flatten(1) - loads.flatten(1) @ Z @ Z.mT).mT
        for stiff in (k, k.sqrt()) if chained else (k,):
            B, _ = springs()
            x = torch.linalg.solve(B.mT @ (stiff[0][:, None] * B) + Z @ Z.mT, x)
        return x.mT.reshape(loads.shape)

    found = torch.autograd.grad((weight * mine(k, loads)).sum(), (k, loads))
    expected = torch.autograd.grad((weight * reference(k, loads)).sum(), (k, loads))
    for one, other in zip(found, expected):
        same(one, other, 1e-7)


def test_projection_runs_on_meta_and_removes_the_vectors() -> None:
    modes = rigid_motions()
    x = torch.randn(2, *modes.shape[1:], dtype=torch.float64, generator=generator(2))
    y = Without(modes)(x)
    assert torch.einsum("bjc,kjc->bk", y, modes).abs().max() < 1e-13 * modes.abs().max() * x.numel()
    same(Without(modes)(y), y, 1e-14)
    out = Without(modes.to("meta"))(x.to("meta"))
    assert (out.shape, out.dtype, out.device.type) == (x.shape, x.dtype, "meta")


def test_what_is_no_null_space_is_refused() -> None:
    A, b, modes = frame(stiffness(2)), forces(2), rigid_motions()
    wrong = modes.clone()
    wrong[2, 0, 0] += 1e-6
    cases = {
        "vector 2, which A stretches": wrong,
        "linearly independent": torch.cat([modes, modes[:1] - 2 * modes[2:]]),
        "not zero": torch.cat([modes, 0 * modes[:1]]),
        r"null_space\.shape": modes[0],
        "float64": modes.float(),
        "Tensor": modes.numpy(),
    }
    for message, vectors in cases.items():
        for call in (solve, Sequence(CG()).solve):
            with pytest.raises(InvalidInput, match=message):
                call(A, b, null_space=vectors)
    with pytest.raises(InvalidInput, match="NaN"):
        solve(A, b, null_space=modes * float("nan"))
    with pytest.raises(InvalidInput, match=r"null_space\.shape"):
        solve(A, b, null_space=modes[:0])
    stencil = convection(1, 6)
    ones = torch.ones(1, *stencil.shape, dtype=torch.float64)
    with pytest.raises(InvalidInput, match="SYMMETRIC"):
        solve(stencil, ones, null_space=ones)
    tagged = diffusion_stencil(jumps(1, (6, 6)), 1.0, "periodic")
    ones = torch.ones(1, 6, 6, dtype=torch.float64)
    with pytest.raises(InvalidInput, match="CONSTANT_NULL_SPACE"):
        solve(tagged, ones, null_space=ones)
    ones = torch.ones(1, 6, 6, dtype=torch.float64)
    with pytest.raises(InvalidInput, match="vector 0"):
        solve(darcy(1, (6, 6)), ones, null_space=ones)
    operator = from_scipy(tagged.to_scipy(0), tags=[Tag.SYMMETRIC])
    flat = torch.tensor([1.0, -1.0], dtype=torch.float64).repeat(18)[None]
    solve(operator, flat, null_space=torch.ones(1, 36, dtype=torch.float64))
