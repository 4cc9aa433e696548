"""What is read off a rate agrees with the rate as it stands, and what has another form is left alone."""

from __future__ import annotations

import pytest
import torch

from pdeflow.problems import (
    AllenCahn,
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
from pdeflow.problems.domain import unit_box
from pdeflow.problems.quadratic_rate import NotQuadratic, QuadraticRest
from pdeflow.problems.richardson import weights
from pdeflow.problems.spectral_rate import Rate, linear_symbol

CPU = torch.device("cpu")


class Mixed(Evolution):
    """Powers, numbers on both sides, a linear term that no polynomial of wave numbers is, a field."""

    domain = unit_box(2, periodic=True)
    c = Parameter(Uniform(0.5, 2.0))
    f = Parameter(GaussianField())
    u0 = Parameter(GaussianField())

    def rate(self, u, p):
        slope = D(u, "x")
        grown = (2 * p.c + 1) ** 2 * (u * slope + slope**2) / 3 - 0.5 * u**2
        return p.f - grown + inverse_laplacian(u, ("x", "y")) + D(u, "y", 2) * p.c


class Varying(Evolution):
    domain = unit_box(1, periodic=True)
    a = Parameter(GaussianField())
    u0 = Parameter(GaussianField())

    def rate(self, u, p):
        return D(u, "x", 2) - p.a * u


class Quotient(Varying):
    def rate(self, u, p):
        return D(u, "x", 2) + p.a / (2 + u)


class Shifted(Varying):
    def rate(self, u, p):
        return D(u, "x", 2) + 1.0 - u * u


def drawn(problem, points):
    grid = problem.grid(points)
    p = problem.spectral_parameters(grid, problem.sample(range(3), grid, seed=2), "cpu")
    v = p.pop(problem.initials[0]).coefficients
    return grid, p, v


def as_it_stands(problem, grid, p, v):
    return problem.evaluate_rate(v, grid, p) - linear_symbol(problem, grid, p, CPU) * v


@pytest.mark.parametrize("points", [17, 20])
@pytest.mark.parametrize(
    ("problem", "transforms", "products"),
    [
        (Burgers(Uniform(0.01, 0.1)), 1, 1),
        (KuramotoSivashinsky(), 1, 1),
        (KortewegDeVries(), 1, 1),
        (NavierStokes(), 2, 2),
        (Heat(2, Constant(0.1)), 0, 0),
        (Mixed(), 2, 2),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_the_rest_is_the_rate_as_it_stands(problem, transforms, products, points) -> None:
    grid, p, v = drawn(problem, points)
    symbol = linear_symbol(problem, grid, p, CPU)
    rest = QuadraticRest.of(problem.rate, grid, p, symbol)
    assert (len(rest.factors), len(rest.products)) == (transforms, products)
    expected = as_it_stands(problem, grid, p, v)
    scale = float((symbol * v).abs().max() + expected.abs().max())
    torch.testing.assert_close(rest(v), expected, rtol=0, atol=1e-12 * scale)
    assert (rest.left is None) == (not isinstance(problem, Mixed))


@pytest.mark.parametrize("problem", [AllenCahn(1), Varying(), Quotient(), Shifted()])
def test_other_forms_are_refused_and_evaluated_as_they_stand(problem) -> None:
    grid, p, v = drawn(problem, 16)
    symbol = linear_symbol(problem, grid, p, CPU)
    with pytest.raises(NotQuadratic):
        QuadraticRest.of(problem.rate, grid, p, symbol)
    rate = Rate(problem, grid, p, CPU)
    torch.testing.assert_close(rate.rest(v), as_it_stands(problem, grid, p, v), rtol=0, atol=1e-12)


def test_solutions_are_extrapolated_from_their_last_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is returned is what these say together, and is nearer to the truth than all of them."""
    problem = Burgers(Constant(0.02))
    grid = problem.grid(64)
    start = problem.sample([0], grid, seed=1)
    runs, fixed_steps = [], etdrk4.fixed_steps

    def counted(rate, start, interval, instants, steps, tail=0.0):
        runs.append(steps)
        return fixed_steps(rate, start, interval, instants, steps, tail)

    monkeypatch.setattr(etdrk4, "fixed_steps", counted)
    path = problem.evolve(grid, start, 0.5, rtol=1e-5)
    p = problem.spectral_parameters(grid, start, "cpu")
    v, rate = p.pop("u0").coefficients, Rate(problem, grid, p, CPU)

    def stepped(steps: int) -> torch.Tensor:
        return etdrk4.values_of(fixed_steps(rate, v, 0.5, 2, steps), grid)

    assert int(path.steps[0]) == runs[-1]
    solutions = [stepped(steps) for steps in runs[-3:]]
    by_two, by_three = (
        sum(w * u for w, u in zip(weights(torch.tensor([runs[-k:]]), 4)[0], solutions[-k:])) for k in (2, 3)
    )
    assert min((path.u - by).abs().max() for by in (by_two, by_three)) < 1e-8  # what the band leaves out
    assert (by_two - by_three).abs().max() > 1e-7
    truth = stepped(16 * runs[-1])
    assert (path.u - truth).norm() < (solutions[-1] - truth).norm() / 2
