"""The physics loss: norms against dense formulas, a solution has none of it, and it trains without labels."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from toy import toy_trainer

from pdeflow import linalg
from pdeflow.data import GridData
from pdeflow.errors import InvalidInput
from pdeflow.generate import Recipe, generate
from pdeflow.operators import FNO
from pdeflow.problems import (
    Box,
    Constant,
    D,
    Darcy,
    Dirichlet,
    GaussianField,
    Heat,
    Neumann,
    Parameter,
    Poisson,
    PolygonDiffusion,
    Problem,
)
from pdeflow.problems.closed_grid import closed_grid
from pdeflow.training import L2, OneCycle, Residual, TrainingTask
from pdeflow.training.residual import squared_h_minus_1, squared_residual


class Channel(Problem):
    """Walls of every kind: values below, a slope above, and x wraps around."""

    domain = Box(x=(0.0, 2.0), y=(0.0, 1.0), periodic=["x"])
    conditions = (Dirichlet(1.0, on="y-"), Neumann(0.5, on="y+"))
    f = Parameter(GaussianField())

    def residual(self, u, at, p):
        return -D(u, "x", 2) - D(u, "y", 2) - p.f


def solved(problem: Problem, points: int, samples: int = 3) -> tuple:
    grid = problem.grid(points)
    drawn = problem.sample(range(samples), grid, seed=0)
    system = problem.discretise(grid, drawn)
    solution = linalg.solve(system.operator, system.rhs, rtol=1e-12)
    return grid, drawn, system, system.embed(solution.x)


def batch_of(grid, drawn, u) -> dict:
    fields = {name: value for name, value in drawn.items() if value.ndim > 1}
    return {
        "input": torch.stack(list(fields.values()), dim=1),
        "target": u[:, None],
        "names": tuple(fields),
        "grid": grid,
    }


@pytest.mark.parametrize(
    "problem", [Poisson(1), Channel(), Poisson(3)], ids=lambda p: f"{p.name}{p.domain.dim}"
)
def test_the_negative_norm_against_the_solver(problem: Problem) -> None:
    grid, _, system, _ = solved(problem, 9)
    torch.manual_seed(0)
    residual = torch.randn_like(system.rhs)
    # r^T K^-1 r with K the matrix of -lap, whose rows are weighted by cells as the residual is.
    inverse = linalg.solve(system.operator, residual, rtol=1e-13).x
    expected = (residual * inverse).flatten(1).sum(1)
    torch.testing.assert_close(squared_h_minus_1(residual, closed_grid(problem, grid)), expected)


@pytest.mark.parametrize("norm", ["H-1", "L2"])
@pytest.mark.parametrize(
    "problem", [Darcy(coefficient=Constant(2.0), source=GaussianField()), Channel()], ids=type
)
def test_a_solution_has_no_residual_and_its_boundary_values_all_of_it(problem: Problem, norm: str) -> None:
    grid, drawn, system, u = solved(problem, 17)
    batch, objective = batch_of(grid, drawn, u), Residual(problem, norm)
    assert float(objective(u[:, None], batch)) < 1e-9
    half = (u + system.boundary.expand_as(u)) / 2
    assert float(objective(half[:, None], batch)) == pytest.approx(0.5, rel=1e-6)


class Ramp(Channel):
    """Whose value below is a number of the sample, an input of the network."""

    domain = Box(x=(0.0, 1.0), y=(0.0, 1.0), periodic=["x"])
    conditions = (Dirichlet(lambda at, p: p.g, on="y-"), Dirichlet(0.0, on="y+"))
    g = Parameter(GaussianField())


def test_boundary_values_may_be_those_of_the_sample() -> None:
    problem = Ramp()
    grid, drawn, system, u = solved(problem, 9)
    assert system.boundary.shape == u.shape
    torch.testing.assert_close(u[:, :, 0], drawn["g"][:, :, 0])
    batch, objective = batch_of(grid, drawn, u), Residual(problem)
    assert float(objective(u[:, None], batch)) < 1e-9
    other = batch | {"input": batch["input"].roll(1, 0)}
    assert float(objective(u[:, None], other)) > 0.1


def test_the_energy_error_is_what_the_negative_norm_measures() -> None:
    problem = Poisson(2)
    grid, drawn, _, u = solved(problem, 33)
    batch, objective = batch_of(grid, drawn, u), Residual(problem)
    error = torch.zeros_like(u)
    error[:, 1:-1, 1:-1] = 1e-3 * torch.randn_like(u[:, 1:-1, 1:-1])

    def energy(v):
        steps = [(v.narrow(k, 1, 32) - v.narrow(k, 0, 32)).square().flatten(1).sum(1) for k in (1, 2)]
        return sum(steps)

    expected = (energy(error) / energy(u)).sqrt().mean()
    assert float(objective((u + error)[:, None], batch)) == pytest.approx(float(expected), rel=1e-6)


def test_wrong_boundary_values_count_and_so_does_the_loss() -> None:
    problem = Poisson(2)
    grid, drawn, _, u = solved(problem, 9)
    batch = batch_of(grid, drawn, u)
    lifted = u.clone()
    lifted[:, 0] += 0.1
    weak, strong = (float(Residual(problem, boundary=w)(lifted[:, None], batch)) for w in (1.0, 3.0))
    # Of Poisson's equation the norm of the source is the energy of the solution.
    energy = sum((u.narrow(k, 1, 8) - u.narrow(k, 0, 8)).square().flatten(1).sum(1) for k in (1, 2))
    missed = (9 * 0.01 / 8 / energy).sqrt().mean()
    assert strong - weak == pytest.approx(2 * float(missed))
    both = Residual(problem, weight=0.5, loss=L2())(lifted[:, None], batch)
    expected = 0.5 * weak + float(L2()(lifted[:, None], u[:, None], grid))
    assert float(both) == pytest.approx(expected)


def test_shapes_and_gradients_reach_the_prediction_in_its_own_precision() -> None:
    grid, drawn, _, u = solved(Poisson(2), 9)
    batch = batch_of(grid, drawn, u)
    prediction = torch.zeros_like(u[:, None], dtype=torch.float32).requires_grad_()
    loss = Residual(Poisson(2))(prediction + 0.1, batch)
    loss.backward()
    assert loss.dtype == torch.float32
    assert torch.isfinite(prediction.grad).all()
    assert (prediction.grad != 0).all()
    plain = squared_residual(torch.ones(2, 7, 7), grid)
    assert plain.tolist() == [49.0, 49.0]


def test_the_level_is_held_where_nothing_else_fixes_it() -> None:
    problem = Poisson(2, conditions={"x": Neumann(0.0), "y": Neumann(0.0)})
    grid = problem.grid(9)
    drawn = problem.sample(range(2), grid, seed=0)
    system = problem.discretise(grid, drawn).made_solvable()
    u = system.embed(linalg.solve(system.operator, system.rhs, rtol=1e-12).x)
    batch, objective = batch_of(grid, drawn, u), Residual(problem)
    level = u.mean((1, 2), keepdim=True)
    right, shifted = (float(objective((u - level + c)[:, None], batch)) for c in (0.0, 1.0))
    assert shifted > right + 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"problem": Heat()}, "objective.problem: got 'Heat'"),
        ({"problem": PolygonDiffusion()}, "objective.problem: got 'PolygonDiffusion'"),
        ({"problem": Poisson(2), "norm": "H1"}, "objective.norm: got 'H1'"),
        ({"problem": Poisson(2), "weight": 0.0}, "objective.weight: got 0.0"),
        ({"problem": Poisson(2), "boundary": float("nan")}, "objective.boundary: got nan"),
    ],
)
def test_what_it_cannot_take_is_named(options: dict, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Residual(**options)


def test_a_parameter_that_is_no_input_is_named() -> None:
    grid, drawn, _, u = solved(Poisson(2), 9)
    batch = batch_of(grid, drawn, u) | {"names": ("g",)}
    with pytest.raises(InvalidInput, match="a value for 'f' too"):
        Residual(Poisson(2))(u[:, None], batch)


def test_an_operator_learns_without_labels(tmp_path: Path) -> None:
    problem = Poisson(2, source=GaussianField(alpha=3.0, tau=3.0))
    generate(Recipe(problem, resolution=17, samples=96, seed=1), tmp_path / "p.h5", progress=False)
    errors = {}
    for norm in ("H-1", "L2"):
        torch.manual_seed(0)
        data = GridData(str(tmp_path / "p.h5"), ["f"], ["u"], batch_size=16, split=(0.75, 0.125, 0.125))
        task = TrainingTask(
            FNO([8, 8], width=12, layers=2, padding=0.1),
            Residual(problem, norm),
            lambda parameters: torch.optim.AdamW(parameters, lr=1e-2),
            OneCycle(),
        )
        trainer = toy_trainer(tmp_path, 60, [], num_sanity_val_steps=0)
        trainer.fit(task, datamodule=data)
        errors[norm] = float(trainer.callback_metrics["valid/l2"])
    assert errors["H-1"] < 0.2, errors
    assert errors["H-1"] < errors["L2"], errors
