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
from pdeflow.problems.calculus import sin


class Variable(Problem):
    """(a u_x)_x = 0, a = 2 + sin x on a whole period."""

    domain = Box(x=(0.0, 2 * math.pi), periodic=["x"])

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return D((2.0 + sin(at.x)) * D(u, "x"), "x")


class Reacting(Problem):
    """u_xx = k u."""

    domain = Box(x=(0.0, 1.0))
    conditions = (Dirichlet(0.0),)
    k = Parameter(Constant(3.0))

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return D(u, "x", 2) - p.k * u


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
    largest = 1 / (2 * math.pi) ** 2
    for (kx, ky), factor in found.items():
        expected = 1 / (kx**2 + ky**2) if kx or ky else RESONANT * largest
        assert factor == pytest.approx(expected, rel=1e-12)


def test_convection_is_that_along_characteristics() -> None:
    """Waves that move with the stream are resonant: here k_t = - 2 k_x turns."""
    found = factors(ConvectedSine(beta=4 * math.pi), [1, 3])
    for (kx, kt), factor in found.items():
        size = abs(kt + 4 * math.pi * kx)
        smallest = 2 * math.pi
        expected = RESONANT / smallest if size < 1e-9 else 1 / size
        assert factor == pytest.approx(expected, rel=1e-12)
    assert sum(factor == pytest.approx(RESONANT / (2 * math.pi)) for factor in found.values()) == 2


def test_helmholtz_away_from_resonance() -> None:
    problem = Helmholtz(dim=1, wave_number=Constant(5.0), source=Constant(1.0))
    found = factors(problem, [3])
    assert [1 / p for p in found.values()] == pytest.approx(
        [abs(w**2 - 25.0) * (1 if w else math.sqrt(2)) for (w,) in found]
    )


def test_a_symbol_that_depends_on_the_place_is_averaged() -> None:
    """Its square: |sigma|^2 = a^2 k^4 + a'^2 k^2 without a', which frozen coefficients do not have."""
    found = factors(Variable(), [3])
    for (k,), factor in found.items():
        if k:
            assert factor == pytest.approx(1 / (k**2 * math.sqrt(4.5)), rel=1e-3)


def test_parameters_count() -> None:
    ((_, first), *_) = factors(Reacting(), [1]).items()
    assert first == pytest.approx(1 / (3 * math.sqrt(2)))
    ((_, first), *_) = factors(Reacting(), [1], k=5.0).items()
    assert first == pytest.approx(1 / (5 * math.sqrt(2)))


def test_of_a_nonlinear_equation_it_is_the_linear_part() -> None:
    found = factors(SineBurgers(viscosity=0.1), [1, 1])
    for (kx, kt), factor in found.items():
        if kx or kt:
            assert factor == pytest.approx(1 / math.hypot(kt, 0.1 * kx**2))


def test_what_has_no_symbol() -> None:
    with pytest.raises(InvalidInput, match="symbol of squared: got '0 for all of the waves'"):
        symbol_preconditioner(Squared(), [[0.0], [1.0]], {})
    with pytest.raises(InvalidInput, match="symbol of reacting: got 'k'"):
        symbol_preconditioner(Reacting(), [[0.0], [1.0]], {})
    assert symbol_preconditioner(SineHelmholtz(k=2.0), [[0.0, 0.0]], {}) == pytest.approx(
        [0.25 / math.sqrt(2)]
    )
