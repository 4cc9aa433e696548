"""What every problem of the package keeps to: a new one is a new row."""

from __future__ import annotations

import json
import math
import pickle

import pytest
import torch

from pdeflow.linalg import Tag
from pdeflow.problems import (
    ComplexHelmholtz,
    Constant,
    ConvectionDiffusion,
    Darcy,
    GaussianField,
    Helmholtz,
    LogNormalField,
    NonlinearPoisson,
    NotLinear,
    PLaplace,
    Poisson,
    Problem,
    ThresholdedField,
    Uniform,
    cos,
    evaluate,
    exp,
    i_times,
    manufacture,
    sin,
)

SPD = {Tag.SYMMETRIC, Tag.POSITIVE_DEFINITE}

# problem, tags of its systems (None: not linear), formulas for the parameters of a manufactured solution
ROWS = [
    *((Poisson(dim), SPD, {}) for dim in (1, 2, 3)),
    (Poisson(2, source=Uniform(-1.0, 1.0)), SPD, {}),
    *((Darcy(dim), SPD, {"a": lambda at: 2 + sin(3 * at.x)}) for dim in (1, 2, 3)),
    (Darcy(2, coefficient=LogNormalField(std=1.5)), SPD, {"a": lambda at: exp(at.x * at.y)}),
    (Darcy(2, coefficient=ThresholdedField(modes=16), source=Constant(2.0)), SPD, {"a": 2.0}),
    *((Helmholtz(dim, Constant(20.0)), {Tag.SYMMETRIC}, {}) for dim in (1, 2, 3)),
    (Helmholtz(2, GaussianField(mean=20.0, std=1.0)), {Tag.SYMMETRIC}, {"k": lambda at: 20 + sin(at.y)}),
    *((ComplexHelmholtz(dim, Constant(20.0)), set(), {"eta": 0.3}) for dim in (1, 2, 3)),
    *((ConvectionDiffusion(dim), set(), {"d": 0.5, "vx": 1.0, "vy": -0.5, "vz": 0.3}) for dim in (1, 2, 3)),
    *((NonlinearPoisson(dim), None, {"b": lambda at: 1 + at.x}) for dim in (1, 2, 3)),
    *((PLaplace(dim), None, {"p": 3.0, "epsilon": 2.0}) for dim in (1, 2, 3)),
]


@pytest.fixture(params=range(len(ROWS)), ids=lambda k: f"{ROWS[k][0].name}-{k}")
def row(request):
    return ROWS[request.param]


def test_samples_have_the_stated_shapes_and_depend_on_their_index_alone(row):
    problem: Problem = row[0]
    grid = problem.grid([7, 6, 5][: problem.domain.dim])
    batch = problem.sample([0, 1, 2], grid, seed=9)
    alone = problem.sample([2], grid, seed=9)
    assert list(batch) == list(problem.parameters)
    for name, parameter in problem.parameters.items():
        assert batch[name].shape == ((3, *grid.shape) if parameter.distribution.is_field else (3,))
        assert batch[name].dtype == torch.float64
        assert torch.equal(batch[name][2], alone[name][0])
        assert (batch[name] > 0).all() or not parameter.positive


def test_systems_have_the_stated_tags_and_reproduce_the_residual(row):
    problem, tags, _ = row
    grid = problem.grid([7, 6, 5][: problem.domain.dim])
    parameters = problem.sample([0, 1], grid, seed=9)
    if tags is None:
        with pytest.raises(NotLinear):
            problem.discretise(grid, parameters)
        return
    system = problem.discretise(grid, parameters)
    assert system.operator.tags == tags
    x = torch.rand(2, *system.operator.shape, dtype=system.rhs.dtype)
    residual = problem.residual_on_grid(system.embed(x), grid, parameters)
    scale = float(residual.abs().max())
    torch.testing.assert_close(system.operator(x) - system.rhs, residual, rtol=0, atol=1e-13 * scale)


def test_a_manufactured_solution_satisfies_the_residual_at_points_and_on_the_grid(row):
    problem, _, formulas = row
    formulas = {name: value for name, value in formulas.items() if name in problem.parameters}
    turn = i_times if problem.complex_valued else float
    case = manufacture(problem, lambda at: cos(2 * at.x) + turn(1.0) * at.x, formulas)
    points = torch.rand(50, problem.domain.dim, dtype=torch.float64)
    at_points = case.problem.residual_at_points(
        lambda x: torch.cos(2 * x[:, 0]) + turn(1.0) * x[:, 0], points, case.parameters
    )
    assert at_points.abs().max() < 1e-12
    norms = []
    for n in (9, 17):
        grid = problem.grid(n)
        norms.append(
            float(
                case.problem.residual_on_grid(evaluate(case.exact, grid), grid, case.parameters).abs().max()
            )
        )
    assert math.log2(norms[0] / norms[1]) > 1.8


def test_it_describes_itself(row):
    card = row[0].describe()
    assert json.loads(json.dumps(card)) == card
    assert set(card["parameters"]) == set(row[0].parameters)
    assert " = " in card["equation"]
    assert row[0].symbol() != 0
    assert row[0].linear_part() != 0


def test_it_goes_to_another_process(row):
    problem = pickle.loads(pickle.dumps(row[0]))
    grid = problem.grid(5)
    for name, values in problem.sample([3], grid, seed=1).items():
        assert torch.equal(values, row[0].sample([3], grid, seed=1)[name])
