"""Levenberg-Marquardt against SciPy, and inside the loop."""

from __future__ import annotations

import math
from typing import Any

import lightning
import numpy as np
import pytest
import scipy.optimize
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from pdeflow.errors import InvalidInput
from pdeflow.fields import MLP
from pdeflow.problems import HeatedRod, SinePoisson
from pdeflow.training import Collocation, LevenbergMarquardt, PhysicsInformed, TrainingTask
from pdeflow.training.batch_squares import BatchSquares


class Rosenbrock:
    """(10 (y - x^2), 1 - x), with a third residual that is 0 or a third parameter that nothing depends on."""

    def __init__(self, parameter: nn.Parameter, wide: bool) -> None:
        self.parameter, self.wide = parameter, wide

    def _function(self, p: Tensor) -> Tensor:
        r = [10 * (p[1] - p[0] ** 2), 1 - p[0]]
        return torch.stack(r if self.wide else [*r, 0 * p[0]])

    def residuals(self) -> Tensor:
        return self._function(self.parameter.detach())

    def linearised(self) -> tuple[Tensor, Tensor]:
        p = self.parameter.detach()
        return self._function(p), torch.func.jacrev(self._function)(p)


@pytest.mark.parametrize("wide", [False, True])
def test_it_finds_the_minimum_that_scipy_finds(wide: bool) -> None:
    start = [-1.2, 1.0, 0.5] if wide else [-1.2, 1.0]
    parameter = nn.Parameter(torch.tensor(start, dtype=torch.float64))
    squares = Rosenbrock(parameter, wide)
    optimiser = LevenbergMarquardt([parameter])
    losses = []
    for _ in range(60):
        optimiser.step(lambda: None, squares)
        losses.append(float(squares.residuals().square().sum()))
    expected = scipy.optimize.least_squares(
        lambda p: squares._function(torch.as_tensor(p)).numpy(), np.array(start), method="trf"
    ).x
    np.testing.assert_allclose(parameter.detach().numpy()[:2], expected[:2], atol=1e-9)
    assert losses == sorted(losses, reverse=True)
    if wide:
        assert float(parameter[2]) == 0.5


@pytest.mark.parametrize("wide", [False, True])
def test_a_step_is_bent_as_the_residuals_are(wide: bool) -> None:
    """Against dense formulas; residuals of second degree have the second derivative that is probed."""
    start = torch.tensor([2.0, 1.0, 0.5] if wide else [2.0, 1.0], dtype=torch.float64)
    parameter = nn.Parameter(start.clone())
    squares = Rosenbrock(parameter, wide)
    r, J = squares.linearised()
    optimiser = LevenbergMarquardt([parameter], damping=0.01)
    optimiser.step(lambda: None, squares)
    damping = optimiser.param_groups[0]["fall"] * optimiser.param_groups[0]["damping"]
    inverse = torch.linalg.inv(J.T @ J + damping * torch.eye(len(start), dtype=torch.float64))
    first = -inverse @ (J.T @ r)
    second = torch.zeros_like(r)
    second[0] = -20.0 * first[0] ** 2
    bent = -inverse @ (J.T @ second)
    assert float(bent.norm() / first.norm()) > 1e-3
    torch.testing.assert_close(parameter.detach(), start + first + bent / 2, rtol=1e-9, atol=1e-11)


def test_a_correction_that_does_not_help_is_left_out() -> None:
    start = torch.tensor([0.0, 1.0], dtype=torch.float64)
    parameter = nn.Parameter(start.clone())
    squares = Rosenbrock(parameter, wide=False)
    r, J = squares.linearised()
    optimiser = LevenbergMarquardt([parameter], damping=0.1)
    optimiser.step(lambda: None, squares)
    damping = optimiser.param_groups[0]["fall"] * optimiser.param_groups[0]["damping"]
    first = -torch.linalg.solve(J.T @ J + damping * torch.eye(2, dtype=torch.float64), J.T @ r)
    torch.testing.assert_close(parameter.detach(), start + first, rtol=1e-9, atol=1e-11)


def test_no_step_is_said() -> None:
    parameter = nn.Parameter(torch.tensor([1.0, 1.0], dtype=torch.float64))  # the minimum
    optimiser = LevenbergMarquardt([parameter])
    optimiser.step(lambda: None, Rosenbrock(parameter, wide=False))
    assert optimiser.stalled
    assert parameter.tolist() == [1.0, 1.0]


def test_the_jacobian_is_that_of_the_residuals() -> None:
    """Two statements, a learned condition, an unknown parameter, against one reverse pass a residual."""
    from pdeflow.problems import Constant, Robin
    from pdeflow.problems.convection_diffusion import ConvectionDiffusion

    problem = ConvectionDiffusion(
        dim=2,
        velocity=Constant(1.0),
        diffusion=Constant(0.3),
        source=Constant(1.0),
        conditions={"x+": Robin(2.0, 0.5)},
    )
    torch.manual_seed(0)
    objective = PhysicsInformed(problem, unknown={"d": 0.2}).double()
    field = objective.constrain(MLP([0.0, 0.0], [1.0, 1.0], widths=(5, 4)).double())
    batch = {"points": Collocation(problem, inside=7, on_sides=4).points(0, 7)}
    parameters = [*field.parameters(), *objective.parameters()]
    squares = BatchSquares(objective, field, parameters, batch)
    r, J = squares.linearised()
    torch.testing.assert_close(r, squares.residuals())
    assert J.shape == (7 + 4, sum(p.numel() for p in parameters))
    weighted = objective.weighted(field, batch)
    for k in range(len(r)):
        slopes = torch.autograd.grad(weighted[k], parameters, retain_graph=True, materialize_grads=True)
        torch.testing.assert_close(J[k], torch.cat([slope.flatten() for slope in slopes]))


class Large(TorchDispatchMode):
    """Keeps what is made of at least so many numbers."""

    def __init__(self, numbers: int) -> None:
        super().__init__()
        self.numbers, self.made = numbers, []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if isinstance(found, Tensor) and found.numel() >= self.numbers:
            self.made.append(found)  # which also keeps its memory from being used again
        return found


@pytest.mark.parametrize("hard", [False, True])
def test_the_jacobian_is_written_once(hard: bool) -> None:
    """It is the largest there is, and copies of it took half of the time of its numbers."""
    torch.manual_seed(0)
    problem = HeatedRod()
    objective = PhysicsInformed(problem, hard=hard).double()
    field = objective.constrain(MLP([0.0, 0.0], [1.0, 1.0], widths=(9, 9)).double())
    batch = {"points": Collocation(problem, inside=50, on_sides=6).points(0, 50)}
    squares = BatchSquares(objective, field, list(field.parameters()), batch)
    rows, columns = squares.linearised()[1].shape
    with Large(50 * columns) as large:
        squares.linearised()
    assert rows == (50 if hard else 50 + 3 * 6)
    assert len({made.untyped_storage().data_ptr() for made in large.made}) == 1


def test_a_poisson_problem_is_solved_to_five_digits() -> None:
    torch.manual_seed(0)
    problem = SinePoisson()
    task = TrainingTask(
        MLP([0.0, 0.0], [1.0, 1.0], widths=(24,)), PhysicsInformed(problem), optimizer=LevenbergMarquardt
    )
    data = Collocation(problem, inside=400, steps=10, held_back=100, test_resolutions=(41,))
    trainer = lightning.Trainer(
        max_epochs=15,
        precision="64-true",
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, datamodule=data)
    assert float(trainer.callback_metrics["valid/l2"]) < 1e-5
    assert float(trainer.callback_metrics["valid/loss"]) < 1e-6 * (2 * math.pi**2) ** 2


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"damping": 0.0}, "optimizer.damping"),
        ({"fall": 1.0}, "optimizer.fall"),
        ({"grow": 0.5}, "optimizer.grow"),
    ],
)
def test_wrong_settings(settings: dict[str, float], word: str) -> None:
    with pytest.raises(InvalidInput, match=word):
        LevenbergMarquardt([nn.Parameter(torch.zeros(1))], **settings)
