from __future__ import annotations

import math

import pytest
import torch

from pdeflow.errors import InvalidInput
from pdeflow.linalg import Multigrid, StencilOperator, diffusion_stencil, full_multigrid, solve
from pdeflow.linalg.arena import Memory, OuterArray
from pdeflow.linalg.array_program import Program

from .systems import darcy, dense, diffusion, generator, hermitian, right_hand_side, waves
from .test_multigrid import FilledLevel


def poisson(shape: tuple[int, ...]):
    """A Laplacian on the unit cube with a right-hand side, a solution known in closed form, and its error."""
    A = diffusion(torch.ones(1, *(n + 2 for n in shape), dtype=torch.float64))
    waves_along = range(1, len(shape) + 1)
    axes = [torch.linspace(0, 1, n + 2, dtype=torch.float64)[1:-1] for n in shape]
    u = torch.ones((), dtype=torch.float64)
    for x, k in zip(torch.meshgrid(*axes, indexing="ij"), waves_along):
        u = u * (math.pi * k * x).sin()
    square = math.pi**2 * sum(k**2 for k in waves_along)
    # u is an eigenvector of the discrete operator too, with this eigenvalue.
    discrete = sum(
        (2 * (n + 1) * math.sin(math.pi * k / 2 / (n + 1))) ** 2 for n, k in zip(shape, waves_along)
    )
    return A, square * u[None], u[None], (u * (square / discrete - 1)).norm()


SIZES = [
    (32, 32),
    (64, 64),
    (128, 128),
    (256, 256),
    (100, 200),
    (97, 97),
    (500,),
    (1024,),
    (16, 16, 16),
    (31, 32, 33),
]


@pytest.mark.parametrize("smoother", ["gauss_seidel", "chebyshev"])
@pytest.mark.parametrize("shape", SIZES)
def test_the_error_is_that_of_the_discretisation(shape, smoother) -> None:
    A, b, u, error = poisson(shape)
    x0 = full_multigrid(A, b, Multigrid("W", dtype=None, smoother=smoother))
    assert (x0 - u).norm() <= {"gauss_seidel": 1.2, "chebyshev": 1.6}[smoother] * error
    if smoother == "gauss_seidel":
        assert torch.equal(x0, full_multigrid(A, b))


def test_the_error_falls_by_four_from_one_refinement_to_the_next() -> None:
    errors = []
    for n in (31, 63, 127, 255):
        A, b, u, _ = poisson((n, n))
        errors.append([(full_multigrid(A, b, Multigrid(c, dtype=None)) - u).norm() / n for c in "VWF"])
    coarse, fine = torch.tensor(errors[:-1]), torch.tensor(errors[1:])
    assert (coarse / fine > 3).all()


def test_v_cycles_do_where_the_grids_nest() -> None:
    for n in (31, 63, 127, 255):
        A, b, u, error = poisson((n, n))
        for smoother in ("gauss_seidel", "chebyshev"):
            x0 = full_multigrid(A, b, Multigrid(dtype=None, smoother=smoother))
            assert (x0 - u).norm() <= 2 * error


@pytest.mark.parametrize("shape", [(64, 64), (128, 128), (32, 32, 32)])
def test_it_saves_iterations_of_cg(shape) -> None:
    A, b, _, _ = poisson(shape)
    without = solve(A, b, preconditioner=Multigrid())
    guessed = solve(A, b, preconditioner=Multigrid(), x0=full_multigrid(A, b))
    assert int(guessed.iterations) <= int(without.iterations) - (2 if len(shape) == 2 else 1)
    rough = darcy(4, shape)
    b = torch.ones(4, *shape, dtype=torch.float64)
    without = solve(rough, b, preconditioner=Multigrid())
    guessed = solve(rough, b, preconditioner=Multigrid(), x0=full_multigrid(rough, b))
    assert (guessed.iterations < without.iterations).all()


@pytest.mark.parametrize("smoother", ["gauss_seidel", "chebyshev"])
@pytest.mark.parametrize("shape", [(1,), (4, 4), (7,), (2, 3, 4)])
def test_a_grid_that_is_coarse_already_is_solved(shape, smoother) -> None:
    A = darcy(2, shape)
    b = right_hand_side(A)
    exact = torch.linalg.solve(dense(A), b.flatten(1)).reshape(b.shape)
    torch.testing.assert_close(full_multigrid(A, b, Multigrid(dtype=None, smoother=smoother)), exact)


@pytest.mark.parametrize("smoother", ["gauss_seidel", "chebyshev"])
@pytest.mark.parametrize("interpolation", ["operator", "linear"])
def test_two_grids_against_matrices(interpolation, smoother) -> None:
    """The coarse solution, interpolated, and one cycle from there."""
    A = darcy(2, (9, 8))
    b, matrix = right_hand_side(A), dense(A)
    settings = Multigrid(interpolation=interpolation, dtype=None, smoother=smoother)
    P = FilledLevel(A, interpolation, True).prolongation()
    coarse = torch.linalg.solve(P.mT @ matrix @ P, P.mT @ b.flatten(1)[..., None])
    x = (P @ coarse).reshape(b.shape)
    x = x + settings.init(A)(b - A(x))
    torch.testing.assert_close(full_multigrid(A, b, settings), x)


@pytest.mark.parametrize("smoother", ["gauss_seidel", "chebyshev"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("shape", "periodic"), [((37, 40), (False, True)), ((70,), (False,)), ((9, 8, 12), (False, False, True))]
)
def test_compiled_gives_the_numbers_of_eager(
    shape, periodic, dtype, smoother, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = tuple(n if wraps else n + 2 for n, wraps in zip(shape, periodic))
    a = 1 + torch.rand(3, *nodes, dtype=torch.float64, generator=generator(0))
    A = diffusion(a, periodic)
    b = right_hand_side(A)
    settings = Multigrid("W", dtype=dtype, smoother=smoother)
    compiled = full_multigrid(A, b, settings)
    monkeypatch.setenv("PDEFLOW_NATIVE", "0")
    tolerance = {torch.float32: 1e-4, torch.float64: 1e-11}[dtype] * compiled.abs().max().item()
    torch.testing.assert_close(full_multigrid(A, b, settings), compiled, rtol=0, atol=tolerance)


def test_a_batch_is_a_loop_and_one_operator_serves_many() -> None:
    A = darcy(3, (40, 33))
    b = right_hand_side(A)
    x0 = full_multigrid(A, b)
    for i, one in enumerate(A.pieces(1)):
        assert torch.equal(full_multigrid(one, b[i : i + 1]), x0[i : i + 1])
    one = A.pieces(1)[0]
    several = full_multigrid(one, b)
    for i in range(3):
        assert torch.equal(full_multigrid(one, b[i : i + 1]), several[i : i + 1])


def test_one_operator_is_set_up_once_for_all_right_hand_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    A = darcy(1, (40, 33))
    b = torch.randn(20, 40, 33, generator=generator(0), dtype=torch.float64)
    made = []
    run = Program.run

    def counted(program: Program, memory: Memory, *outer: OuterArray) -> None:
        made.append((program, memory.batch, outer[0].values.shape[0]))
        run(program, memory, *outer)

    monkeypatch.setattr(Program, "run", counted)
    full_multigrid(A, b)
    assert [batch for _, *batch in made] == [[1, 1]] * 21
    assert len({id(program) for program, *_ in made[1:]}) == 1


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_tiny_and_huge_right_hand_sides(scale) -> None:
    A = darcy(2, (40, 33))
    b = right_hand_side(A)
    expected = full_multigrid(A, b, Multigrid("W"))
    torch.testing.assert_close(
        full_multigrid(A, scale * b, Multigrid("W")) / scale, expected, rtol=1e-5, atol=1e-9
    )


def test_a_zero_and_a_bad_right_hand_side_stay_alone() -> None:
    A = darcy(3, (40, 33))
    b = right_hand_side(A)
    expected = full_multigrid(A, b)
    b[0], b[2, 3, 4] = 0, float("nan")
    x0 = full_multigrid(A, b)
    assert torch.equal(x0[0], torch.zeros_like(x0[0]))
    assert torch.equal(x0[1], expected[1])
    assert not x0[2].isfinite().all()


@pytest.mark.parametrize("boundary", ["periodic", "neumann"])
def test_without_constants(boundary) -> None:
    points = 32
    A = diffusion_stencil(
        torch.ones(2, points, points, dtype=torch.float64), 1 / points, boundary, points="cells"
    )
    b = right_hand_side(A)
    b = b - b.mean((1, 2), keepdim=True)
    x0 = full_multigrid(A, b)
    assert x0.mean((1, 2)).abs().max() <= 1e-12 * x0.abs().max()
    x = solve(A, b, preconditioner=Multigrid(), rtol=1e-10).x
    assert ((x - x0).flatten(1).norm(dim=1) < 0.1 * x.flatten(1).norm(dim=1)).all()
    torch.testing.assert_close(full_multigrid(A, b + 1), x0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64, torch.complex128])
def test_dtypes(dtype: torch.dtype) -> None:
    A = hermitian(2, 40).to(dtype) if dtype.is_complex else darcy(2, (40, 40)).to(dtype)
    b = torch.ones(2, 40, 40, dtype=dtype)
    x0 = full_multigrid(A, b)
    assert x0.dtype == dtype
    start = torch.linalg.vector_norm(b.flatten(1), dim=1)
    assert (torch.linalg.vector_norm((b - A(x0)).flatten(1), dim=1) < 0.5 * start).all()


def test_it_takes_an_operator_that_is_not_symmetric() -> None:
    A = waves(2, 40, 4.0, damping=30.0)
    b = right_hand_side(A)
    without = solve(A, b, preconditioner=Multigrid())
    guessed = solve(A, b, preconditioner=Multigrid(), x0=full_multigrid(A, b))
    assert (guessed.iterations <= without.iterations).all()


@pytest.mark.parametrize("smoother", ["gauss_seidel", "chebyshev"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex128])
@pytest.mark.parametrize("shape", [(40,), (20, 17), (9, 8, 10)])
def test_it_runs_on_meta(shape, dtype: torch.dtype, smoother) -> None:
    A = darcy(2, shape).to(dtype, "meta")
    b = torch.empty(2, *shape, dtype=dtype, device="meta")
    x0 = full_multigrid(A, b, Multigrid(smoother=smoother))
    assert (x0.shape, x0.dtype, x0.device.type) == (b.shape, dtype, "meta")


def test_the_guess_has_no_derivative() -> None:
    A = darcy(1, (20, 20))
    b = right_hand_side(A).requires_grad_()
    A = A.with_parameter(A.coefficients.requires_grad_())
    assert not full_multigrid(A, b).requires_grad
    solve(A, b, x0=full_multigrid(A, b)).x.sum().backward()
    assert b.grad is not None


def test_errors() -> None:
    A = darcy(2, (20, 20))
    b = right_hand_side(A)
    with pytest.raises(InvalidInput, match="StencilOperator"):
        full_multigrid(A.to_sparse(), b)
    with pytest.raises(InvalidInput, match=r"b\.shape"):
        full_multigrid(A, b[:1])
    with pytest.raises(InvalidInput, match=r"b\.shape"):
        full_multigrid(A, b[0])
    with pytest.raises(InvalidInput, match=r"b\.dtype"):
        full_multigrid(A, b.float())
    with pytest.raises(InvalidInput, match="b"):
        full_multigrid(A, b.numpy())  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="offsets"):
        full_multigrid(
            StencilOperator([(0,), (2,)], torch.ones(1, 2, 9, dtype=torch.float64)), torch.ones(1, 9).double()
        )
