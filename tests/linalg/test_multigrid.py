from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pdeflow.errors import InvalidInput
from pdeflow.linalg import GMRES, BiCGStab, Multigrid, StencilOperator, Tag, diffusion_stencil, solve
from pdeflow.linalg.arena import Arena, Memory, OuterArray, OuterSpan, Span
from pdeflow.linalg.array_operations import Products
from pdeflow.linalg.artificial_diffusion import artificial_diffusion
from pdeflow.linalg.chebyshev import ChebyshevPolynomial
from pdeflow.linalg.chebyshev_smoother import RATIO, STEPS
from pdeflow.linalg.colour_layout import Values, natural_strides
from pdeflow.linalg.level import Level
from pdeflow.linalg.multigrid import COARSEST, MultigridCycle, coarsens

from .systems import (
    SPD,
    convection,
    darcy,
    dense,
    diffusion,
    generator,
    hermitian,
    iterations,
    jumps,
    right_hand_side,
    waves,
)


def full_stencil(
    batch: int, shape: tuple[int, ...], periodic: tuple[bool, ...], seed: int = 0
) -> StencilOperator:
    """Random, not symmetric, with all 3^d entries and values that point outside."""
    offsets = list(itertools.product((-1, 0, 1), repeat=len(shape)))
    values = torch.randn(batch, len(offsets), *shape, dtype=torch.float64, generator=generator(seed))
    values[:, offsets.index((0,) * len(shape))] += 40
    return StencilOperator(offsets, values, periodic)


class FilledLevel:
    """A level with the coefficients of A, its program steps run one by one."""

    def __init__(
        self,
        A: StencilOperator,
        interpolation: str = "linear",
        hermitian: bool = False,
        smoother: str = "gauss_seidel",
    ) -> None:
        self.arena = Arena(A.dtype, A.device)
        strides = natural_strides(A.shape)
        values: Values = {
            offset: (OuterSpan(1, k * A.size, len(A.offsets) * A.size), strides)
            for k, offset in enumerate(A.offsets)
        }
        self.level = Level(A.offsets, A.shape, A.periodic, self.arena, interpolation, smoother, hermitian)
        self.operations = self.level.set_up(values)
        self.natural = OuterSpan(1, 0, A.size), strides
        self.A, self._memory = A, None

    @property
    def memory(self) -> Memory:
        # Made late, when the operations that the test plans have got their places too.
        if self._memory is None:
            self._memory = Memory(self.arena, self.A.batch)
            self.run(self.operations, self.A.coefficients)
        return self._memory

    def run(self, operations, *outer: torch.Tensor) -> None:
        for operation in operations:
            operation.run(self.memory, [OuterArray(values) for values in outer])

    def field(self, place: Span) -> torch.Tensor:
        out = torch.zeros(self.A.batch, *self.A.shape, dtype=self.A.dtype)
        self.run(self.level.layout.rows(place, *self.natural, merge=True), out)
        return out

    def coarse(self, array: Span) -> torch.Tensor:
        place, strides = self.level.layout.coarse_rows(array)
        return self.memory.box(place, self.level.coarse_shape, strides)

    def prolongation(self) -> torch.Tensor:
        """P as matrices, from what the weights do to unit vectors."""
        level, layout = self.level, self.level.layout
        size = torch.Size(level.coarse_shape).numel()
        columns = []
        for j in range(size):
            unit = torch.zeros(self.A.batch, size, dtype=self.A.dtype)
            unit[:, j] = 1
            self.coarse(level.correction).copy_(unit.reshape(-1, *level.coarse_shape))
            self.run(layout.ghosts(level.correction))
            for colour in layout.colours:
                terms = [
                    (weight, level.correction.shifted(layout.shift(place)))
                    for (known, place), weight in level.interpolation.weights.items()
                    if known == colour
                ]
                self.run([Products(layout.n, layout.colour(level.x, colour), terms)])
            columns.append(self.field(level.x).flatten(1))
        return torch.stack(columns, 2)


def linear_interpolation(shape, periodic) -> torch.Tensor:
    P = torch.ones(1, 1, dtype=torch.float64)
    for n, wraps in zip(shape, periodic):
        P = torch.kron(P, interpolation(n, wraps))
    return P


def interpolation(n: int, periodic: bool) -> torch.Tensor:
    """Linear interpolation to n points from those with odd numbers, as a matrix."""
    P = torch.zeros(n, n // 2, dtype=torch.float64)
    for j in range(P.shape[1]):
        for step, weight in ((-1, 0.5), (0, 1.0), (1, 0.5)):
            i = 2 * j + 1 + step
            if periodic or i < n:
                P[i % n, j] += weight
    return P


SHAPES = [
    ((7,), (False,)),
    ((8,), (True,)),
    ((6, 5), (False, False)),
    ((4, 7), (True, False)),
    ((5, 6), (False, True)),
    ((6, 4), (True, True)),
    ((3, 4, 5), (False, False, False)),
    ((4, 3, 6), (False, False, True)),
    ((2, 5), (False, False)),
    ((2, 2), (True, True)),
]


@pytest.mark.parametrize(("shape", "periodic"), SHAPES)
def test_linear_interpolation(shape, periodic) -> None:
    filled = FilledLevel(full_stencil(2, shape, periodic))
    expected = linear_interpolation(shape, periodic)
    torch.testing.assert_close(filled.prolongation(), expected.expand(2, *expected.shape))


@pytest.mark.parametrize("kind", ["linear", "operator"])
@pytest.mark.parametrize(("shape", "periodic"), SHAPES)
def test_coarse_operator_is_the_galerkin_product(shape, periodic, kind) -> None:
    A = full_stencil(2, shape, periodic)
    filled = FilledLevel(A, kind)
    P = filled.prolongation()
    coarse = {offset: filled.coarse(array) for offset, array in filled.level.coarse.items()}
    C = StencilOperator(list(coarse), torch.stack(list(coarse.values()), 1), periodic)
    torch.testing.assert_close(dense(C), P.mT @ dense(A) @ P)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("shape", "periodic"), SHAPES)
def test_artificial_diffusion_against_matrices(shape, periodic, sign) -> None:
    """On the coarse operator of one whose off-diagonal entries have either sign."""
    A = full_stencil(2, shape, periodic)
    A = StencilOperator(A.offsets, sign * A.coefficients, periodic)
    filled = FilledLevel(A)
    operations = artificial_diffusion(filled.level.layout, filled.level.coarse)

    def coarse() -> torch.Tensor:
        arrays = {offset: filled.coarse(array) for offset, array in filled.level.coarse.items()}
        return dense(StencilOperator(list(arrays), torch.stack(list(arrays.values()), 1), periodic))

    filled.memory  # noqa: B018  makes the coarse operator
    before = sign * coarse()
    filled.run(operations)
    after = sign * coarse()
    torch.testing.assert_close(after.sum(2), before.sum(2))
    if any(n // 2 < 3 and wraps for n, wraps in zip(shape, periodic)):
        return  # several offsets lead to one neighbour, so that an entry of the matrix is not one of a pair
    mean, apart = (before + before.mT) / 2, (before - before.mT).abs() / 2
    D = (apart + mean.clamp(max=0)).clamp(min=0)
    torch.diagonal(D, dim1=1, dim2=2).zero_()
    assert D.count_nonzero() > 0 or before.shape[1] == 1
    torch.testing.assert_close(after, before - D + torch.diag_embed(D.sum(2)))


@pytest.mark.parametrize("make", [lambda: darcy(2, (40, 41)), lambda: waves(2, 40, 9.0)])
def test_a_symmetric_operator_needs_no_tag_for_its_coarse_ones(make) -> None:
    A = make()
    untagged = StencilOperator(A.offsets, A.coefficients)
    x, settings = right_hand_side(A), Multigrid(dtype=None)
    torch.testing.assert_close(settings.init(untagged)(x), settings.init(A)(x))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("speed", "most"), [(20.0, 7), (100.0, 9), (250.0, 12)])
@pytest.mark.parametrize("cycle", ["V", "W"])
def test_few_iterations_for_convection(speed: float, most: int, cycle, sign: int) -> None:
    """The cell Peclet number on the finest grid is up to 2; the coarse ones are unstable by themselves."""
    counts = []
    for n in (63, 127):
        A = convection(1, n, speed * (n + 1) / 128)
        A = StencilOperator(A.offsets, sign * A.coefficients)
        b = right_hand_side(A)
        solution = solve(A, b, solver=BiCGStab(), preconditioner=Multigrid(cycle), on_failure="return")
        assert solution.converged.all()
        counts.append(int(solution.iterations.max()))
    assert max(counts) <= most


@pytest.mark.parametrize(("shape", "periodic"), SHAPES)
def test_operator_dependent_interpolation_of_a_laplacian(shape, periodic) -> None:
    """Constants are kept away from Dirichlet sides, and a kink follows the coefficient."""
    nodes = tuple(n if wraps else n + 2 for n, wraps in zip(shape, periodic))
    P = FilledLevel(
        diffusion(torch.ones(1, *nodes, dtype=torch.float64), periodic), "operator"
    ).prolongation()
    ones = P[0].sum(1).reshape(shape)
    inside = tuple(
        slice(None) if wraps else slice(1, (n - 1) // 2 * 2 - 1) for n, wraps in zip(shape, periodic)
    )
    torch.testing.assert_close(ones[inside], torch.ones_like(ones[inside]))


def test_operator_dependent_interpolation_in_1d_is_exact() -> None:
    """In 1D it solves the equation between the coarse points, so that the Schur complement is the product."""
    A = darcy(2, (9,))
    filled = FilledLevel(A, "operator", hermitian=True)
    P, matrix = filled.prolongation(), dense(A)
    even, odd = torch.arange(0, 9, 2), torch.arange(1, 9, 2)
    exact = -torch.linalg.solve(matrix[:, even][:, :, even], matrix[:, even][:, :, odd])
    torch.testing.assert_close(P[:, even], exact)


@pytest.mark.parametrize("kind", ["linear", "operator"])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(("shape", "periodic"), SHAPES)
def test_sweeps_and_transfers_against_matrices(shape, periodic, first, kind) -> None:
    A = full_stencil(2, shape, periodic)
    filled = FilledLevel(A, kind)
    level, layout = filled.level, filled.level.layout
    P = filled.prolongation()
    colour = torch.zeros(shape, dtype=torch.int64)
    for rank, parity in enumerate(layout.colours):
        colour[tuple(slice(p, None, 2) for p in parity)] = rank
    colour = colour.flatten()
    matrix = dense(A)
    lower = torch.where(colour[:, None] >= colour[None, :], matrix, 0.0)
    upper = torch.where(colour[:, None] <= colour[None, :], matrix, 0.0)
    b, guess = right_hand_side(A), right_hand_side(A, 7)
    for place, values in ((level.b, b), (level.x, guess)):
        filled.run(layout.rows(place, *filled.natural), values)
        for parity in layout.colours:
            filled.run(layout.ghosts(layout.colour(place, parity)))
    x = torch.zeros_like(b).flatten(1) if first else guess.flatten(1)
    filled.run(level.sweep(zero_guess=first))
    x = x + torch.linalg.solve(lower, b.flatten(1) - (matrix @ x[..., None])[..., 0])
    torch.testing.assert_close(filled.field(level.x).flatten(1), x)
    filled.run(level.restrict(zero_guess=first))
    residual = b.flatten(1) - (matrix @ x[..., None])[..., 0]
    restricted = (P.mT @ residual[..., None])[..., 0]
    torch.testing.assert_close(filled.coarse(level.restricted).flatten(1), restricted)
    e = torch.randn(2, *level.coarse_shape, dtype=torch.float64, generator=generator(3))
    filled.coarse(level.correction).copy_(e)
    filled.run(level.prolong() + level.sweep(reverse=True))
    x = x + (P @ e.flatten(1)[..., None])[..., 0]
    x = x + torch.linalg.solve(upper, b.flatten(1) - (matrix @ x[..., None])[..., 0])
    torch.testing.assert_close(filled.field(level.x).flatten(1), x)


@pytest.mark.parametrize("hermitian_flag", [False, True])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(("shape", "periodic"), SHAPES)
def test_chebyshev_smoother_and_its_transfers_against_matrices(
    shape, periodic, first, hermitian_flag
) -> None:
    A = full_stencil(2, shape, periodic)
    if hermitian_flag:
        turned = {offset: A.adjoint.coefficients[:, k] for k, offset in enumerate(A.adjoint.offsets)}
        values = torch.stack([turned[offset] for offset in A.offsets], 1)
        inside = A.adjoint.adjoint.coefficients
        A = StencilOperator(A.offsets, (inside + values) / 2, periodic, SPD)
    filled = FilledLevel(A, "linear", hermitian_flag, "chebyshev")
    level, layout = filled.level, filled.level.layout
    P, matrix = filled.prolongation(), dense(A)
    sizes, ones = StencilOperator(A.offsets, A.coefficients.abs(), periodic), torch.ones(2, *shape).double()
    diagonal = A.coefficients[:, A.offsets.index((0,) * len(shape))]
    inverse = diagonal.abs() / diagonal * 2 / (sizes.apply(ones) + sizes.adjoint.apply(ones))
    low, high = torch.full((2,), 1 / RATIO).double(), torch.ones(2).double()
    reference = ChebyshevPolynomial(A, inverse, low, high, STEPS - 1)
    b, guess = right_hand_side(A), right_hand_side(A, 7)
    x = torch.zeros_like(b) if first else guess
    for place, values in ((level.b, b), (level.x, guess)):
        filled.run(layout.rows(place, *filled.natural), values)
        for parity in layout.colours:
            filled.run(layout.ghosts(layout.colour(place, parity)))
    filled.run(level.smooth(zero_guess=first))
    x = x + reference.apply(b - A.apply(x))
    torch.testing.assert_close(filled.field(level.x), x)
    filled.run(level.restrict(zero_guess=first))
    residual = (b - A.apply(x)).flatten(1)
    restricted = (P.mT @ residual[..., None])[..., 0]
    torch.testing.assert_close(filled.coarse(level.restricted).flatten(1), restricted)
    e = torch.randn(2, *level.coarse_shape, dtype=torch.float64, generator=generator(3))
    filled.coarse(level.correction).copy_(e)
    filled.run(level.prolong() + level.smooth(reverse=True))
    x = x + (P @ e.flatten(1)[..., None])[..., 0].reshape(x.shape)
    x = x + reference.apply(b - (matrix @ x.flatten(1)[..., None])[..., 0].reshape(x.shape))
    torch.testing.assert_close(filled.field(level.x), x)


@pytest.mark.parametrize("make", [lambda: darcy(2, (9, 8), low=1.0, high=1e3), lambda: hermitian(2, 9)])
def test_chebyshev_smoother_of_a_definite_operator_is_within_its_bounds(make) -> None:
    """Every error gets smaller, hence the cycle is definite; none is turned beyond the polynomial's bound."""
    A = make()
    n = A.size
    filled = FilledLevel(A, "linear", True, "chebyshev")
    level, layout = filled.level, filled.level.layout
    columns = []
    for unit in torch.eye(n, dtype=A.dtype):
        filled.run(layout.rows(level.b, *filled.natural), unit.reshape(1, *A.shape).repeat(A.batch, 1, 1))
        filled.run(level.smooth(zero_guess=True))
        columns.append(filled.field(level.x).flatten(1))
    error = torch.eye(n, dtype=A.dtype) - torch.stack(columns, 2) @ dense(A)
    spectrum = torch.linalg.eigvals(error)
    assert spectrum.imag.abs().max() < 1e-9
    theta, delta = (1 + 1 / RATIO) / 2, (1 - 1 / RATIO) / 2
    promised = 1 / math.cosh(STEPS * math.acosh(theta / delta))
    assert spectrum.real.max() < 1
    assert spectrum.real.min() >= -promised - 1e-9


@pytest.mark.parametrize("smoother", ["gauss_seidel", "chebyshev"])
@pytest.mark.parametrize("cycle", ["V", "W", "F"])
@pytest.mark.parametrize("kind", ["linear", "operator"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("shape", "periodic"), [*SHAPES, ((37, 40), (False, True)), ((1, 70), (False, False))]
)
def test_compiled_cycle_gives_the_numbers_of_the_eager_one(
    shape, periodic, dtype, kind, cycle, smoother, monkeypatch: pytest.MonkeyPatch
) -> None:
    A = full_stencil(3, shape, periodic)
    x = right_hand_side(A)
    settings = Multigrid(cycle, interpolation=kind, dtype=dtype, smoother=smoother)
    M = settings.init(A)
    assert M.compiled is not None, "the tests need a C compiler"
    compiled = M(x)
    in_turn = settings.init(A, in_turn=True)(x)
    monkeypatch.setenv("PDEFLOW_NATIVE", "0")
    eager = settings.init(A)
    assert eager.compiled is None
    tolerance = {torch.float32: 1e-4, torch.float64: 1e-11}[dtype] * compiled.abs().max().item()
    torch.testing.assert_close(compiled, eager(x), rtol=0, atol=tolerance)
    assert torch.equal(in_turn, compiled)


def test_plans_are_made_once_for_a_grid() -> None:
    first = Multigrid().init(darcy(2, (40, 41)))
    assert Multigrid().init(darcy(5, (40, 41)))._plan is first._plan
    assert Multigrid("W").init(darcy(2, (40, 41)))._plan is not first._plan
    assert Multigrid(smoother="chebyshev").init(darcy(2, (40, 41)))._plan is not first._plan


@st.composite
def elliptic(draw) -> StencilOperator:
    dim = draw(st.integers(1, 3))
    shape = tuple(draw(st.integers(1, {1: 300, 2: 20, 3: 9}[dim])) for _ in range(dim))
    return darcy(2, shape, draw(st.integers(0, 50)))


@given(
    elliptic(),
    st.sampled_from(["V", "W"]),
    st.sampled_from(["operator", "linear"]),
    st.sampled_from(["gauss_seidel", "chebyshev"]),
)
@settings(max_examples=80)
def test_cycle_is_symmetric_positive_definite_and_close_to_the_inverse(
    A: StencilOperator, cycle: str, kind: str, smoother: str
) -> None:
    M = dense(Multigrid(cycle, kind, dtype=None, smoother=smoother).init(A))  # type: ignore[arg-type]
    torch.testing.assert_close(M, M.mT, atol=1e-12 * M.abs().max().item(), rtol=0)
    spectrum = torch.linalg.eigvals(M @ dense(A)).real
    # The error after a symmetric cycle is positive semi-definite: the spectrum of M A ends at 1.
    assert spectrum.max() <= 1 + 1e-9
    assert spectrum.min() > 0.15


@pytest.mark.parametrize("smoother", ["gauss_seidel", "chebyshev"])
def test_complex_cycle_is_hermitian(smoother) -> None:
    M = dense(Multigrid(dtype=None, smoother=smoother).init(hermitian(2, 12)))  # type: ignore[arg-type]
    torch.testing.assert_close(M, M.mH, atol=1e-12 * M.abs().max().item(), rtol=0)
    assert (torch.linalg.eigvalsh(M) > 0).all()


@pytest.mark.parametrize("smoother", ["gauss_seidel", "chebyshev"])
@pytest.mark.parametrize(("shape", "periodic"), [((20, 13), (False, False)), ((16, 20), (True, False))])
def test_adjoint_of_the_cycle_of_any_operator(shape, periodic, smoother) -> None:
    M = Multigrid(dtype=None, smoother=smoother).init(full_stencil(2, shape, periodic))
    x, y = torch.randn(2, 2, *shape, dtype=torch.float64, generator=generator(1))
    left = torch.linalg.vecdot(M(x).flatten(1), y.flatten(1))
    right = torch.linalg.vecdot(x.flatten(1), M.adjoint(y).flatten(1))
    torch.testing.assert_close(left, right)


@pytest.mark.parametrize("smoother", ["gauss_seidel", "chebyshev"])
@pytest.mark.parametrize("interpolation", ["linear", "operator"])
@pytest.mark.parametrize("k", [6.0, 20.0])
def test_adjoint_of_the_cycle_of_a_complex_operator(k, interpolation, smoother) -> None:
    A = waves(2, 20, k, damping=5 * k)
    M = Multigrid(interpolation=interpolation, dtype=None, smoother=smoother).init(A)
    x, y = right_hand_side(A, 1), right_hand_side(A, 2)
    left = torch.linalg.vecdot(M(x).flatten(1), y.flatten(1))
    right = torch.linalg.vecdot(x.flatten(1), M.adjoint(y).flatten(1))
    torch.testing.assert_close(left, right)


@pytest.mark.parametrize("smoother", ["gauss_seidel", "chebyshev"])
@pytest.mark.parametrize("turn", [0.0, 0.7, 1.4])
def test_a_complex_diffusion_coefficient_takes_no_more_iterations_than_a_real_one(turn, smoother) -> None:
    field = jumps(2, (42, 42))
    phase = turn * torch.linspace(-1, 1, 42, dtype=torch.float64)[:, None]
    A = diffusion_stencil(torch.polar(field, phase.expand_as(field)), 1 / 41).retagged(())
    solution = solve(A, right_hand_side(A), solver=GMRES(), preconditioner=Multigrid(smoother=smoother))
    assert (solution.iterations <= 12).all()


@pytest.mark.parametrize("smoother", ["gauss_seidel", "chebyshev"])
def test_a_damped_wave_whose_diagonal_passes_zero(smoother) -> None:
    # k h = 0.6 on the finest grid: on a coarser one the diagonal of the Hermitian part is close to zero.
    A = waves(2, 50, 30.0, damping=900.0)
    solution = solve(A, right_hand_side(A), solver=GMRES(), preconditioner=Multigrid(smoother=smoother))
    assert (solution.iterations <= 150).all()


@pytest.mark.parametrize("smoother", ["gauss_seidel", "chebyshev"])
def test_cycle_of_the_negative_is_the_negative_cycle(smoother) -> None:
    A = darcy(2, (20, 17))
    negative = StencilOperator(A.offsets, -A.coefficients, tags=(Tag.SYMMETRIC,))
    x = right_hand_side(A)
    M = Multigrid(dtype=None, smoother=smoother)
    torch.testing.assert_close(M.init(negative)(x), -M.init(A)(x))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_batch_is_a_loop_with_the_chebyshev_smoother(dtype) -> None:
    A = darcy(3, (40, 33))
    x = right_hand_side(A)
    settings = Multigrid(smoother="chebyshev", dtype=dtype)
    alone = torch.cat([settings.init(one)(x[i : i + 1]) for i, one in enumerate(A.pieces(1))])
    assert torch.equal(settings.init(A)(x), alone)


@pytest.mark.parametrize("n", [31, 32, 37, 64, 97, 127, 128])
def test_few_iterations_at_any_size_2d(n: int) -> None:
    assert iterations(darcy(2, (n, n)), Multigrid()) <= 12


@pytest.mark.slow
@pytest.mark.parametrize("n", [255, 256, 257, 509, 1024])
def test_few_iterations_at_large_size_2d(n: int) -> None:
    assert iterations(darcy(2, (n, n)), Multigrid()) <= 13


@pytest.mark.parametrize("n", [15, 16, 17, 32])
def test_few_iterations_at_any_size_3d(n: int) -> None:
    assert iterations(darcy(1, (n, n, n)), Multigrid()) <= 13


@pytest.mark.slow
@pytest.mark.parametrize("n", [48, 64, 128])
def test_few_iterations_at_large_size_3d(n: int) -> None:
    assert iterations(darcy(1, (n, n, n)), Multigrid()) <= 14


def test_few_iterations_at_any_size_1d() -> None:
    for n in (1, 2, 3, 64, 65, 66, 500, 1000):
        assert iterations(darcy(2, (n,)), Multigrid()) <= 13


def test_other_coefficients() -> None:
    smooth = torch.randn(2, 66, 66, dtype=torch.float64, generator=generator(0))
    for _ in range(8):
        smooth = (smooth + smooth.roll(1, 1) + smooth.roll(1, 2) + smooth.roll((1, 1), (1, 2))) / 4
    assert iterations(diffusion((smooth / smooth.std()).exp()), Multigrid()) <= 20
    assert iterations(diffusion(torch.ones(1, 66, 66, dtype=torch.float64)), Multigrid()) <= 9
    assert iterations(diffusion(jumps(2, (64, 64)), (True, True), reaction=1.0), Multigrid()) <= 13
    assert iterations(hermitian(2, 64), Multigrid()) <= 40


@pytest.mark.parametrize("shape", [(64, 64), (65, 64), (16, 17, 16)])
def test_interpolation_that_follows_the_operator_stands_large_jumps(shape) -> None:
    A = darcy(4, shape, low=1.0, high=1e4)
    assert iterations(A, Multigrid()) < 0.5 * iterations(A, Multigrid(interpolation="linear"))
    assert iterations(A, Multigrid()) <= 40


def test_w_and_f_cycles_need_no_more_iterations_than_v() -> None:
    A = darcy(2, (96, 96))
    V, W, F = (iterations(A, Multigrid(cycle=cycle)) for cycle in "VWF")
    assert W <= F <= V


@pytest.mark.parametrize("shape", [(500,), (64, 64), (97, 128), (128, 128), (16, 17, 16), (32, 32, 32)])
def test_chebyshev_needs_no_more_iterations_than_gauss_seidel(shape) -> None:
    A = darcy(2, shape)
    assert iterations(A, Multigrid(smoother="chebyshev")) <= iterations(A, Multigrid())


def test_chebyshev_smoother_takes_other_operators() -> None:
    chebyshev = {"smoother": "chebyshev"}
    assert iterations(diffusion(jumps(2, (64, 64)), (True, True), reaction=1.0), Multigrid(**chebyshev)) <= 13
    assert iterations(hermitian(2, 64), Multigrid(**chebyshev)) <= 40
    assert iterations(darcy(4, (64, 64), low=1.0, high=1e4), Multigrid(**chebyshev)) <= 40
    assert iterations(convection(2, 40), Multigrid(**chebyshev)) <= 15


def test_float32_cycle_costs_no_iterations() -> None:
    A = darcy(2, (64, 64))
    assert abs(iterations(A, Multigrid()) - iterations(A, Multigrid(dtype=None))) <= 1


def test_previous_is_reused_where_it_fits() -> None:
    A, B = darcy(2, (40, 40), seed=1), darcy(2, (40, 40), seed=2)
    x = right_hand_side(A)
    expected = Multigrid().init(B)(x)
    M = Multigrid().init(A)
    again = Multigrid().init(B, M)
    assert again is M
    assert torch.equal(again(x), expected)
    assert Multigrid().init(darcy(2, (41, 40)), M) is not M
    assert Multigrid(dtype=None).init(B, M) is not M
    assert Multigrid(smoother="chebyshev").init(B, M) is not M


def test_to() -> None:
    A = darcy(2, (40, 40))
    x = right_hand_side(A).float()
    M = Multigrid().init(A)
    assert isinstance(M.to(torch.float32), MultigridCycle)
    torch.testing.assert_close(M.to(torch.float32)(x).double(), M(x.double()), rtol=1e-3, atol=1e-6)


def test_errors() -> None:
    wide = StencilOperator([(0,), (2,)], torch.ones(1, 2, 9, dtype=torch.float64), tags=SPD)
    with pytest.raises(InvalidInput, match="offsets"):
        Multigrid().init(wide)
    hollow = StencilOperator([(1,)], torch.ones(1, 1, 9, dtype=torch.float64))
    with pytest.raises(InvalidInput, match="diagonal"):
        Multigrid().init(hollow)
    odd = diffusion(torch.ones(1, 37, 37, dtype=torch.float64), (True, True), 1.0)
    with pytest.raises(InvalidInput, match="periodic"):
        Multigrid().init(odd)
    with pytest.raises(InvalidInput, match="cycle"):
        Multigrid("K")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="interpolation"):
        Multigrid(interpolation="cubic")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="smoother"):
        Multigrid(smoother="jacobi")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="dtype"):
        Multigrid(dtype=torch.float16)
    with pytest.raises(InvalidInput, match="diagonal"):
        Multigrid().init(darcy(1, (4, 4))).diagonal()
    assert COARSEST < 37 * 37


@pytest.mark.parametrize(
    ("shape", "periodic"),
    [
        ((40, 65), (False, True)),
        ((40, 64), (False, True)),
        ((33, 31), (True, True)),
        ((32, 33), (True, True)),
        ((1026, 3), (True, False)),
        ((1025,), (True,)),
        ((1023,), (True,)),
    ],
)
def test_which_periodic_grids_are_taken(shape: tuple[int, ...], periodic: tuple[bool, ...]) -> None:
    kinds = ["periodic" if wraps else "dirichlet" for wraps in periodic]
    A = diffusion_stencil(torch.ones(1, *shape, dtype=torch.float64), 1.0, kinds, 1.0, points="cells")
    if coarsens(shape, periodic):
        assert Multigrid().init(A).shape == shape
    else:
        with pytest.raises(InvalidInput, match="can be halved"):
            Multigrid().init(A)
