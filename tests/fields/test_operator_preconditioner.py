"""Factors of waves from the symbol of an operator."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pdeflow.errors import InvalidInput
from pdeflow.fields import FourierFeatures
from pdeflow.fields.operator_preconditioner import RESONANT, symbol_preconditioner
from pdeflow.problems import (
    Box,
    Constant,
    ConvectedSine,
    D,
    Dirichlet,
    Helmholtz,
    Parameter,
    Problem,
    SineBurgers,
    SineHelmholtz,
    SinePoisson,
)


class Variable(Problem):
    """(1 + x / L) u_x + u = 0."""

    domain = Box(x=(0.0, 3.0))

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return (1.0 + at.x / 3.0) * D(u, "x") + u


class Reacting(Problem):
    """u_xx = k u."""

    domain = Box(x=(0.0, 1.0))
    conditions = (Dirichlet(0.0),)
    k = Parameter(Constant(3.0))

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return D(u, "x", 2) - p.k * u


class Beam(Problem):
    """u_xxxx = 1."""

    domain = Box(x=(0.0, 1.0))
    conditions = (Dirichlet(0.0),)

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return D(u, "x", 4) - 1.0


class Squared(Problem):
    """u^2 = 1, which has no linear part."""

    domain = Box(x=(0.0, 1.0))

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return u**2 - 1.0


def factors(problem: Problem, modes: list[int], **parameters: float) -> dict[tuple[float, ...], float]:
    waves = FourierFeatures(
        problem.domain.lower, problem.domain.upper, periodic=problem.domain.periodic, modes=modes
    ).wave_vectors
    known = {name: value.distribution.fixed for name, value in problem.parameters.items()} | parameters
    return dict(zip(map(tuple, waves), symbol_preconditioner(problem, waves, known)))


def test_poisson_is_one_over_the_square() -> None:
    found = factors(SinePoisson(dim=2), [2, 1])
    assert len(found) == 8
    smallest = (2 * math.pi) ** 2
    for (kx, ky), factor in found.items():
        expected = smallest / (kx**2 + ky**2) if kx or ky else RESONANT
        assert factor == pytest.approx(expected, rel=1e-12)


def test_convection_is_that_along_characteristics() -> None:
    """Waves that move with the stream are resonant: here k_t = - 2 k_x turns."""
    found = factors(ConvectedSine(beta=4 * math.pi), [1, 3])
    for (kx, kt), factor in found.items():
        size = abs(kt + 4 * math.pi * kx)
        expected = RESONANT if size < 1e-9 else 2 * math.pi / size
        assert factor == pytest.approx(expected, rel=1e-12)
    assert list(found.values()).count(RESONANT) == 2


def test_helmholtz_away_from_resonance() -> None:
    """A constant is twice as large in the mean square as the other waves."""
    problem = Helmholtz(dim=1, wave_number=Constant(5.0), source=Constant(1.0))
    found = factors(problem, [3])
    sizes = [abs(w**2 - 25.0) * (1 if w else math.sqrt(2)) for (w,) in found]
    assert list(found.values()) == pytest.approx([min(sizes) / size for size in sizes])


def test_a_small_wave_beside_large_ones_is_not_resonant() -> None:
    """Of a fourth derivative the first of 400 waves has a symbol 4e-11 times that of the last."""
    found = symbol_preconditioner(Beam(), [[0.0], [1.0], [400.0]], {})
    assert found == pytest.approx([RESONANT, 1.0, 400.0**-4])


def test_a_symbol_that_depends_on_the_place_is_averaged() -> None:
    """|sigma|^2 = (1 + x / L)^2 k^2, whose mean is 7 k^2 / 3, beside the 1 of the reaction."""
    found = factors(Variable(), [3])
    sizes = {k: math.sqrt(1.0 + 7 / 3 * k**2) if k else math.sqrt(2) for (k,) in found}
    for (k,), factor in found.items():
        assert factor == pytest.approx(math.sqrt(2) / sizes[k], rel=1e-4)


def test_parameters_count() -> None:
    wave = (2 * math.pi) ** 2
    for k in (3.0, 500.0):
        first, second = factors(Reacting(), [1], k=k).values()
        assert first / second == pytest.approx((wave + k) / (k * math.sqrt(2)))


def test_of_a_nonlinear_equation_it_is_the_linear_part() -> None:
    found = factors(SineBurgers(viscosity=0.1), [1, 1])
    sizes = {(kx, kt): math.hypot(kt, 0.1 * kx**2) for kx, kt in found if kx or kt}
    for wave, size in sizes.items():
        assert found[wave] == pytest.approx(min(sizes.values()) / size)


def test_what_has_no_symbol() -> None:
    with pytest.raises(InvalidInput, match="symbol of squared: got '0 for all of the waves'"):
        symbol_preconditioner(Squared(), [[0.0], [1.0]], {})
    with pytest.raises(InvalidInput, match="symbol of reacting: got 'k'"):
        symbol_preconditioner(Reacting(), [[0.0], [1.0]], {})
    # The constant has no sine beside it: 1 / (sqrt(2) k^2), against 1 / (20 - k^2) of the other wave.
    found = symbol_preconditioner(SineHelmholtz(k=2.0), [[0.0, 0.0], [4.0, 2.0]], {"k": 2.0})
    assert found == pytest.approx([1.0, 4 * math.sqrt(2) / 16])
