"""The compiled steps are the eager ones, whatever the lengths, the batch and the terms of the rate."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pdeflow.errors import InvalidInput
from pdeflow.linalg import native
from pdeflow.problems import (
    Burgers,
    Constant,
    D,
    Evolution,
    GaussianField,
    Heat,
    KortewegDeVries,
    KuramotoSivashinsky,
    NavierStokes,
    Parameter,
    Uniform,
    etdrk4,
    inverse_laplacian,
)
from pdeflow.problems.compiled_etdrk4 import factors_of
from pdeflow.problems.domain import unit_box
from pdeflow.problems.spectral_rate import Rate


class Sourced(Evolution):
    """Heat with a source that is a field, and nothing to multiply."""

    domain = unit_box(1, periodic=True)
    f = Parameter(GaussianField())
    u0 = Parameter(GaussianField())

    def rate(self, u, p):
        return 0.1 * D(u, "x", 2) + p.f


class Mixed(Evolution):
    """Two factors, three products, numbers that vary, a source and what no polynomial symbol is."""

    c = Parameter(Uniform(0.5, 2.0))
    f = Parameter(GaussianField())
    u0 = Parameter(GaussianField())

    def __init__(self, dim: int) -> None:
        self.domain = unit_box(dim, periodic=True)

    def rate(self, u, p):
        slope = D(u, "x")
        grown = (2 * p.c + 1) ** 2 * (u * slope + slope**2) / 3 - 0.5 * u**2
        return p.f - grown + inverse_laplacian(u, self.domain.axes) + D(u, "x", 2) * p.c


class Square(Evolution):
    domain = unit_box(1, periodic=True)
    u0 = Parameter(GaussianField())

    def rate(self, u, p):
        return u * u


class Coefficient(Square):
    """A coefficient that is a field: no multiplier stands for it."""

    a = Parameter(GaussianField())

    def rate(self, u, p):
        return D(u, "x", 2) - p.a * u


def drawn(problem: Evolution, points: int | list[int], samples: int) -> tuple[Rate, torch.Tensor]:
    grid = problem.grid(points)
    p = problem.spectral_parameters(grid, problem.sample(range(samples), grid, seed=2), "cpu")
    v = p.pop(problem.initials[0]).coefficients
    return Rate(problem, grid, p, v.device), v


def near(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12 * float(expected.abs().max()))


CASES = [
    (Burgers(Uniform(0.01, 0.1)), 128, 1e-3),
    (Burgers(Constant(0.1)), 53, 1e-3),
    (Heat(1, Uniform(0.1, 0.2)), 40, 1e-2),
    (KuramotoSivashinsky(), 64, 1e-2),
    (KortewegDeVries(), 120, 1e-4),
    (Sourced(), 32, 1e-2),
    (Mixed(1), 64, 1e-4),
    (Mixed(2), [20, 24], 1e-4),
    (NavierStokes(), 32, 1e-3),
    (NavierStokes(Uniform(1e-3, 1e-2)), [40, 26], 1e-3),
]
NAMES = [f"{type(problem).__name__}-{points}" for problem, points, _ in CASES]


@pytest.mark.parametrize(("problem", "points", "h"), CASES, ids=NAMES)
@pytest.mark.parametrize("samples", [1, 3, 4, 5, 9])
def test_the_steps_are_the_eager_ones(problem, points, h, samples, monkeypatch) -> None:
    rate, v = drawn(problem, points, samples)
    assert rate.compiled(v) is not None, "the tests need a C compiler"
    step = etdrk4._Step(rate, h)
    rest, after = rate.rest(v), step.several(v, 7)
    monkeypatch.setenv("PDEFLOW_NATIVE", "0")
    assert rate.compiled(v) is None
    assert rest.shape == after.shape == v.shape
    near(rest, rate.rest(v))
    near(after, step.several(v, 7))


@pytest.mark.parametrize(
    "points", [4, 5, 8, 10, 11, 13, 16, 20, 32, 40, 48, 53, 64, 100, 128, 160, 256, 512, 1000]
)
def test_a_square_is_the_convolution_of_the_modes(points: int) -> None:
    """Which needs every transform: of the factors 2, 3, 4, 5 and 8, to the nodes and back."""
    rate, v = drawn(Square(), points, 3)
    v = torch.randn(v.shape, dtype=v.dtype, generator=torch.Generator().manual_seed(1))
    v[:, 0] = v[:, 0].real + 0j
    assert rate.compiled(v) is not None
    found = rate.rest(v)
    highest = v.shape[1] - 1
    for row in range(3):
        whole = np.concatenate([v[row, 1:].flip(0).conj().resolve_conj().numpy(), v[row].numpy()])
        square = np.convolve(whole, whole)[2 * highest : 3 * highest + 1]
        near(found[row], torch.from_numpy(square))


def test_lengths_and_their_factors() -> None:
    assert [factors_of(n) for n in (1, 2, 16, 768, 14)] == [[], [2], [4, 4], [3, 8, 8, 4], None]
    assert all(
        np.prod(factors_of(2**a * 3**b * 5**c)) == 2**a * 3**b * 5**c
        for a in range(9)
        for b in range(3)
        for c in range(3)
    )


@pytest.mark.parametrize(
    ("problem", "points"),
    [(KuramotoSivashinsky(), 18), (Heat(3), 8), (Coefficient(), 16)],
    ids=["7", "3D", "field"],
)
def test_what_the_loops_do_not_take_is_stepped_eagerly(problem, points) -> None:
    """A prime of 7 in the length, three axes, a coefficient that varies in space."""
    rate, v = drawn(problem, points, 2)
    assert rate.compiled(v) is None
    step = etdrk4._Step(rate, 1e-3)
    assert torch.equal(step.several(v, 2), step(step(v)))


def test_where_a_derivative_is_asked_for_the_steps_are_eager() -> None:
    rate, v = drawn(Burgers(), 32, 2)
    v.requires_grad_()
    etdrk4._Step(rate, 1e-3).several(v, 2).abs().sum().backward()
    assert v.grad is not None
    assert float(v.grad.abs().max()) > 0
    with torch.no_grad():
        assert rate.compiled(v) is not None


@pytest.mark.parametrize(
    ("problem", "points"),
    [(Burgers(Uniform(0.01, 0.1)), 128), (KortewegDeVries(), 96), (Mixed(1), 64), (Mixed(2), 16)],
    ids=["Burgers", "KortewegDeVries", "Mixed", "Mixed2D"],
)
def test_a_row_does_not_depend_on_the_rows_beside_it(problem, points) -> None:
    """To the last bit, also where a lone row has its number for itself."""
    rate, v = drawn(problem, points, 9)
    whole = etdrk4._Step(rate, 1e-4).several(v, 5)
    for chosen in ([7], [8, 2, 5], [0, 1, 2, 3, 4, 6]):
        rows = torch.tensor(chosen)
        alone = etdrk4._Step(rate.rows(rows), 1e-4).several(v[rows], 5)
        assert torch.equal(alone, whole[rows])
    spoilt = v.clone()
    spoilt[1] = torch.nan
    spoilt[2, ..., 1] = torch.inf
    after = etdrk4._Step(rate, 1e-4).several(spoilt, 5)
    others = [0, 3, 4, 5, 6, 7, 8]
    assert torch.equal(after[others], whole[others])
    assert not torch.isfinite(after[1:3]).any()


def test_solutions_are_those_of_the_eager_form(monkeypatch) -> None:
    problem = Burgers(Uniform(0.02, 0.1))
    grid = problem.grid(128)
    parameters = problem.sample(range(5), grid, seed=1)
    compiled = problem.evolve(grid, parameters, 0.5, 3, rtol=1e-6)
    monkeypatch.setenv("PDEFLOW_NATIVE", "0")
    eager = problem.evolve(grid, parameters, 0.5, 3, rtol=1e-6)
    assert torch.equal(compiled.steps, eager.steps)
    torch.testing.assert_close(compiled.u, eager.u, rtol=0, atol=1e-11)


def test_without_a_compiler_the_eager_form_serves_and_a_warning_says_so(monkeypatch) -> None:
    monkeypatch.setattr(native, "_loaded", {})
    monkeypatch.setenv("CC", "no-such-compiler")
    rate, v = drawn(Burgers(), 32, 2)
    step = etdrk4._Step(rate, 1e-3)
    with pytest.warns(RuntimeWarning, match="no C compiler"):
        after = step.several(v, 2)
    assert torch.equal(after, step(step(v)))


@pytest.mark.parametrize("tail", [1e-1, 1e-3, 1e-6])
@pytest.mark.parametrize(("problem", "points", "h"), CASES, ids=NAMES)
def test_the_modes_in_use_are_the_same(problem, points, h, tail, monkeypatch) -> None:
    """Also beside samples that are 0 or not finite, and where the last group of rows is not full."""
    rate, v = drawn(problem, points, 6)
    v = v.clone()
    for axis in range(1, v.ndim):  # fields that do not fill their grids, with another spectrum each
        sizes = torch.arange(1.0, 7.0).reshape(-1, *(1,) * (v.ndim - 1))
        count = torch.arange(v.shape[axis]).reshape(-1, *(1,) * (v.ndim - 1 - axis))
        count = count if axis == v.ndim - 1 else torch.minimum(count, v.shape[axis] - count)
        v *= torch.exp(-count / sizes)
    v[1], v[4, ..., 1] = 0, torch.nan
    parts = [torch.tensor(rows) for rows in ([0, 1, 2, 3, 4, 5], [5], [2, 3, 4], [1, 4])]
    found = [etdrk4._Band(rate.rows(rows), h, 1.0, tail).used(v[rows]) for rows in parts]
    monkeypatch.setenv("PDEFLOW_NATIVE", "0")
    assert found == [etdrk4._Band(rate.rows(rows), h, 1.0, tail).used(v[rows]) for rows in parts]
    assert max(found[1]) > 0


def test_coefficients_of_other_shapes_are_refused() -> None:
    rate, v = drawn(Burgers(Uniform(0.01, 0.1)), 32, 3)
    step = etdrk4._Step(rate, 1e-3)
    step.several(v, 1)
    for wrong in (v[:2], v[:, :-1], torch.cat([v, v])):
        with pytest.raises(InvalidInput, match="coefficients"):
            step.several(wrong, 1)
