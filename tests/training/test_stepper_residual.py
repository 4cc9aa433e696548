"""The residual of trajectories: zero on the solution, differentiable, honest about parameters."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.mesh_nodes import MeshNodes
from pdeflow.problems import Burgers, Constant, GrayScott, Heat, Poisson, Uniform
from pdeflow.training import L2, StepperResidual

LINE = Grid(("x",), (0.0,), (1.0,), (32,), (True,))


def start(samples: int = 2) -> Tensor:
    x, phase = LINE.mesh()["x"], torch.linspace(0, 1, samples, dtype=torch.float64)[:, None]
    return torch.sin(2 * torch.pi * (x + phase)) + 0.5 * torch.cos(4 * torch.pi * x)


def batch_of(states: Tensor, step: float, names: tuple[str, ...] = ("u",)) -> dict[str, Any]:
    """Of states (batch, instants, channels, *shape)."""
    return {
        "input": states[:, 0],
        "target": states[:, 1:],
        "index": torch.arange(len(states)),
        "state": states.shape[2],
        "time_step": step,
        "names": names,
        "grid": LINE,
    }


def burgers(viscosity: Any = None) -> tuple[Burgers, dict[str, Any]]:
    problem = Burgers() if viscosity is None else Burgers(viscosity=viscosity)
    given = {"u0": start()} | ({} if viscosity is None else {"nu": torch.tensor([0.02, 0.05])})
    u = problem.evolve(LINE, given, 0.3, 4, rtol=1e-9).u[:, :, None]
    return problem, batch_of(u, 0.1)


def test_it_is_zero_on_the_solution_and_not_next_to_it() -> None:
    problem, batch = burgers()
    objective = StepperResidual(problem, steps=32)
    target = batch["target"]
    assert float(objective(target, batch)) < 1e-7
    off = target + 0.01 * torch.cos(2 * torch.pi * LINE.mesh()["x"])
    assert float(objective(off, batch)) > 1e-3


def test_it_is_the_relative_size_of_what_the_heat_kernel_misses() -> None:
    """Of one mode Phi is a factor: u1 = q u0 exactly, and the residual of (1 + d) u1 is d."""
    problem = Heat(dim=1)
    wave = torch.cos(2 * torch.pi * LINE.mesh()["x"])[None]
    u = problem.evolve(LINE, {"u0": wave}, 0.01, 2).u[:, :, None]
    batch = batch_of(u, 0.01)
    assert float(StepperResidual(problem)(1.25 * batch["target"], batch)) == pytest.approx(0.25, rel=1e-6)
    assert float(StepperResidual(problem, weight=2.0, loss=L2())(1.25 * batch["target"], batch)) == (
        pytest.approx(0.75, rel=1e-6)
    )


def test_numbers_are_read_from_the_channels_of_their_names() -> None:
    problem, batch = burgers(Uniform(0.01, 0.1))
    nu = torch.tensor([0.02, 0.05], dtype=torch.float64)[:, None, None].expand(2, 1, 32)
    batch |= {"input": torch.cat([batch["input"], nu], dim=1), "names": ("u", "nu")}
    objective = StepperResidual(problem, steps=32)
    assert float(objective(batch["target"], batch)) < 1e-7
    batch["input"] = torch.cat([batch["input"][:, :1], 2 * nu], dim=1)
    assert float(objective(batch["target"], batch)) > 1e-3


def test_several_unknowns() -> None:
    problem = GrayScott(feed=Constant(0.04), kill=Constant(0.06))
    grid = Grid(("x", "y"), problem.domain.lower, problem.domain.upper, (16, 16), (True, True))
    waves = [
        torch.cos(2 * torch.pi * v / (grid.upper[k] - grid.lower[k]))
        for k, v in enumerate(grid.mesh().values())
    ]
    given = {"u0": 0.8 + 0.1 * waves[0][None], "v0": 0.2 + 0.1 * waves[1][None]}
    u = problem.evolve(grid, given, 2.0, 3, rtol=1e-9).u
    batch = batch_of(u, 1.0, problem.fields) | {"grid": grid}
    objective = StepperResidual(problem, steps=16)
    assert float(objective(batch["target"], batch)) < 1e-6
    with pytest.raises(InvalidInput, match="unknowns of gray_scott"):
        objective(batch["target"][:, :, :1], batch)
    with pytest.raises(InvalidInput, match="in their order"):  # u and v change places
        objective(batch["target"], batch | {"names": ("v", "u")})


def test_a_validation_before_leaves_nothing_that_training_cannot_use() -> None:
    problem = GrayScott(feed=Constant(0.04), kill=Constant(0.06))
    grid = Grid(("x", "y"), problem.domain.lower, problem.domain.upper, (14, 14), (True, True))
    states = torch.rand(1, 3, 2, 14, 14, dtype=torch.float64)
    batch = batch_of(states, 0.01, problem.fields) | {"grid": grid}
    objective = StepperResidual(problem, steps=1)
    with torch.inference_mode():
        objective(batch["target"], batch)
    guess = batch["target"].clone().requires_grad_()
    objective(guess, batch).backward()
    assert guess.grad is not None
    assert bool(guess.grad.isfinite().all())


def test_the_gradient_goes_through_the_stepper() -> None:
    problem, batch = burgers()
    objective = StepperResidual(problem, steps=2, order=-0.5)
    near = (batch["target"] * 1.1).clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda u: objective(u, batch), (near,), fast_mode=True)


def test_what_is_refused() -> None:
    with pytest.raises(InvalidInput, match="Use Residual"):
        StepperResidual(Poisson(1))  # pyright: ignore[reportArgumentType]
    for arguments, key in (({"steps": 0}, "steps"), ({"order": 3.0}, "order"), ({"weight": 0.0}, "weight")):
        with pytest.raises(InvalidInput, match=rf"objective\.{key}"):
            StepperResidual(Burgers(), **arguments)
    pair = {"input": torch.zeros(1, 1, 32), "target": torch.zeros(1, 1, 32), "grid": LINE}
    with pytest.raises(InvalidInput, match="TrajectoryData"):
        StepperResidual(Burgers())(pair["target"], pair)
    numbers = torch.zeros(4, dtype=torch.int64)
    nodes = MeshNodes(numbers, torch.full((4,), 0.25), numbers, samples=1)
    sparse = {"state": 1, "target": torch.zeros(4, 2, 1), "grid": nodes, "time_step": 0.1}
    with pytest.raises(InvalidInput, match="Rollout, for the data are on meshes"):
        StepperResidual(Burgers())(sparse["target"], sparse)
