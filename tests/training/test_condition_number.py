"""The condition number of training, and what a preconditioner does to it: the findings of De Ryck et al."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from statement_run import assert_resumed_is_whole

import pdeflow
from pdeflow.errors import InvalidInput
from pdeflow.fields import MLP, Field, FourierFeatures, Gaussians
from pdeflow.problems import (
    Box,
    Constant,
    ConvectedSine,
    D,
    Dirichlet,
    Helmholtz,
    Neumann,
    Problem,
    SineBurgers,
    SinePoisson,
    Uniform,
)
from pdeflow.problems.calculus import sin
from pdeflow.training import Collocation, PhysicsInformed, SafeCheckpointIO, TrainingTask
from pdeflow.training.callbacks import ConditionNumbers
from pdeflow.training.condition_number import ConditionNumber, best_weight, condition_number


class TwoWaves(Problem):
    """u_xx = -f on the unit interval, u = 0 at the ends, u = sin 2 pi x + 0.2 sin 10 pi x."""

    domain = Box(x=(0.0, 1.0))
    conditions = (Dirichlet(0.0),)

    def exact(self, at: Any, p: Any) -> Any:
        return sin(2 * math.pi * at.x) + 0.2 * sin(10 * math.pi * at.x)

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        first, second = (2 * math.pi) ** 2, 0.2 * (10 * math.pi) ** 2
        return D(u, "x", 2) + first * sin(2 * math.pi * at.x) + second * sin(10 * math.pi * at.x)


def waves(problem: Problem, modes: list[int]) -> FourierFeatures:
    domain = problem.domain
    field = FourierFeatures(domain.lower, domain.upper, periodic=domain.periodic, modes=modes)
    return field.double()


def both(problem: Problem, modes: list[int]) -> tuple[ConditionNumber, ConditionNumber]:
    """Before and after preconditioning."""
    field = waves(problem, modes)
    before = condition_number(problem, field)
    PhysicsInformed(problem, hard=False, precondition=True).constrain(field)
    return before, condition_number(problem, field)


@pytest.mark.parametrize(("modes", "kappa"), [(5, 1.33e3), (16, 1.34e5), (32, 2.14e6), (64, 3.43e7)])
def test_poisson(modes: int, kappa: float) -> None:
    before, after = both(SinePoisson(dim=1), [modes])
    assert before.kappa == pytest.approx(kappa, rel=0.01)
    assert after.kappa == pytest.approx(1.11, abs=0.01)


def test_advection() -> None:
    """It grows with the speed; preconditioned it does not."""
    found = {beta: both(ConvectedSine(beta=beta), [4, 4]) for beta in (1.0, 3.0, 10.0, 30.0, 100.0)}
    before = {beta: pair[0].kappa for beta, pair in found.items()}
    assert list(before.values()) == sorted(before.values())
    assert before[100.0] > 100 * before[1.0]
    assert all(after.kappa < 1.2 for _, after in found.values())


@pytest.mark.parametrize(("k", "most"), [(5.0, 1.1), (2 * math.pi, 100.0)], ids=["away", "resonance"])
def test_helmholtz(k: float, most: float) -> None:
    """At resonance two waves solve the equation, one is seen by its value and one by its slope alone."""
    conditions = {"x-": Dirichlet(0.0), "x+": Neumann(0.0)}
    problem = Helmholtz(dim=1, wave_number=Constant(k), source=Constant(1.0), conditions=conditions)
    before, after = both(problem, [32])
    assert before.kappa > 1e5
    assert after.kappa < most


def test_a_singular_matrix_is_infinitely_ill_conditioned() -> None:
    """At resonance with u = 0 at both ends, the sine is a solution of the homogeneous problem."""
    problem = Helmholtz(dim=1, wave_number=Constant(2 * math.pi), source=Constant(1.0))
    assert condition_number(problem, waves(problem, [8])).kappa == math.inf


def test_the_matrix_is_what_it_says() -> None:
    """Poisson's on plane waves: k^4 / 2, and products of the values at both ends."""
    found = condition_number(SinePoisson(dim=1), waves(SinePoisson(dim=1), [3]))
    k = 2 * math.pi * torch.tensor([0.0, 1, 2, 3, 1, 2, 3], dtype=torch.float64)
    torch.testing.assert_close(found.inside, torch.diag(k**4 / 2))
    ends = torch.tensor([1.0, -1, 1, -1, 0, 0, 0], dtype=torch.float64)
    torch.testing.assert_close(found.sides, 2 * torch.outer(ends, ends), rtol=0, atol=1e-12)
    torch.testing.assert_close(found.eigenvalues, torch.linalg.eigvalsh(found.matrix))
    assert found.kappa == pytest.approx(float(torch.linalg.cond(found.matrix)), rel=1e-6)
    # I - 2 rate A shrinks both ends of the spectrum alike.
    low, high = (float(1 - 2 * found.learning_rate * found.eigenvalues[k]) for k in (0, -1))
    assert low == pytest.approx(-high)
    assert found.with_weight(found.weight).kappa == pytest.approx(found.kappa)
    for weight in (found.weight / 3, found.weight * 3):
        assert found.with_weight(weight).kappa > found.kappa


@pytest.mark.parametrize(
    "field", [MLP([0.0], [1.0], widths=(5,)), Gaussians([0.0], [1.0], gaussians=4, features=1, hidden=0)]
)
def test_of_any_field(field: Field) -> None:
    """Its matrix is that of the Jacobian of all residuals."""
    torch.manual_seed(0)
    problem, field = SinePoisson(dim=1), field.double()
    points = Collocation(problem, inside=40, on_sides=1, sampler="grid").points(0, 40)
    found = condition_number(problem, field, points)
    objective = PhysicsInformed(problem, hard=False, weight=3.0)
    parameters = list(field.parameters())
    rows = []
    weighted = objective.weighted(field, {"points": points})
    for value in weighted:
        slopes = torch.autograd.grad(value, parameters, retain_graph=True)
        rows.append(torch.cat([s.flatten() for s in slopes]))
    jacobian = torch.stack(rows)
    torch.testing.assert_close(found.inside + 3.0 * found.sides, jacobian.T @ jacobian)
    assert found.kappa > 1e3


def test_points_are_looked_at_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = ConvectedSine(beta=3.0)
    field = waves(problem, [2, 2])
    found = condition_number(problem, field)
    monkeypatch.setattr("pdeflow.training.physics_informed.AT_ONCE", 101 * field.weight.numel())
    again = condition_number(problem, field)
    torch.testing.assert_close((again.inside, again.sides), (found.inside, found.sides))


def test_the_field_is_as_it_is_validated() -> None:
    """And afterwards as before."""
    seen = []

    class Seen(MLP):
        def pointwise_gradients(self, points: Any, cotangents: Any) -> dict[str, torch.Tensor]:
            seen.append(self.training)
            return super().pointwise_gradients(points, cotangents)

    field = Seen([0.0], [1.0], widths=(3,)).double()
    for training in (True, False):
        field.train(training)
        condition_number(SinePoisson(dim=1), field)
        assert field.training == training
    assert seen
    assert not any(seen)


def test_the_line_search_finds_the_valley() -> None:
    """As trial after trial does; each costs a decomposition, and there are not many."""
    torch.manual_seed(0)
    for rank in (1, 3, 8):
        inside = torch.diag(10.0 ** torch.linspace(-3, 3, 8, dtype=torch.float64))
        inside[0, 0] = 0.0
        rows = torch.randn(rank, 8, dtype=torch.float64)
        sides = 1e-4 * rows.T @ rows
        unit = float(inside.trace() / sides.trace())
        tried = {
            weight: ConditionNumber(inside, sides, weight).kappa
            for weight in (unit * 10.0 ** torch.linspace(-14, 6, 4001, dtype=torch.float64)).tolist()
        }
        found = ConditionNumber(inside, sides, best_weight(inside, sides))
        assert found.kappa <= 1.01 * min(tried.values())


def test_conditions_that_the_form_meets_do_not_count() -> None:
    field = PhysicsInformed(SinePoisson(dim=1)).constrain(waves(SinePoisson(dim=1), [4]))
    found = condition_number(SinePoisson(dim=1), field)
    assert found.weight == 0.0
    assert not found.sides.any()
    assert math.isfinite(found.kappa)


def test_slopes_that_are_not_finite_are_told_of() -> None:
    field = MLP([0.0], [1.0], widths=(3,)).double()
    with torch.no_grad():
        field.get_parameter("layers.0.weight").fill_(math.nan)
    with pytest.raises(InvalidInput, match="model MLP: got 'some that are not', expected finite"):
        pdeflow.condition_number(SinePoisson(dim=1), field)


def test_only_waves_are_preconditioned() -> None:
    with pytest.raises(InvalidInput, match=r"objective\.precondition: got True, expected false for MLP"):
        PhysicsInformed(SinePoisson(dim=1), precondition=True).constrain(MLP([0.0], [1.0]))


def test_unknown_parameters_are_those_of_the_start() -> None:
    problem = Helmholtz(dim=1, wave_number=Uniform(1.0, 9.0), source=Constant(1.0))
    objective = PhysicsInformed(problem, hard=False, unknown={"k": 5.0}, precondition=True)
    field = objective.constrain(waves(problem, [3]))
    assert isinstance(field, FourierFeatures)
    sizes = [25 * math.sqrt(2), *((math.tau * k) ** 2 - 25 for k in (1, 2, 3))]
    assert field.scales.tolist() == pytest.approx([min(sizes) / size for size in sizes])


def descended(folder: Path, precondition: bool, weight: float, lr: float) -> tuple[float, TrainingTask]:
    """The relative error after forty steps of gradient descent."""
    torch.manual_seed(0)
    problem = TwoWaves()
    data = Collocation(problem, inside=128, on_sides=1, sampler="grid", test_resolutions=(65,))
    objective = PhysicsInformed(problem, hard=False, weight=weight, precondition=precondition)
    field = FourierFeatures(**data.model_arguments, modes=[16])
    task = TrainingTask(field, objective, lambda parameters: torch.optim.SGD(parameters, lr=lr))
    trainer = lightning.Trainer(
        max_epochs=4,
        precision="64-true",
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        callbacks=[ConditionNumbers(folder)],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(task, datamodule=data)
    x = torch.linspace(0, 1, 101, dtype=torch.float64)
    exact = torch.sin(2 * math.pi * x) + 0.2 * torch.sin(10 * math.pi * x)
    with torch.no_grad():
        error = (field.at(x[:, None])[:, 0] - exact).norm() / exact.norm()
    return float(error), task


def test_a_resumed_run_has_the_same_waves(tmp_path: Path) -> None:
    problem = ConvectedSine(beta=2.0, stop=math.pi)
    data = Collocation(problem)

    def make() -> PhysicsInformed:
        return PhysicsInformed(problem, hard=False, precondition=True)

    def network() -> FourierFeatures:
        return FourierFeatures(**data.model_arguments, modes=[2, 2])

    plain, rescaled = network(), network()
    make().constrain(rescaled)
    assert not torch.equal(rescaled.scales, plain.scales)
    optimizer = partial(torch.optim.Adam, lr=1e-2)
    assert_resumed_is_whole(make, optimizer, tmp_path, network)


def test_gradient_descent_needs_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the best rate of each."""
    before, after = both(TwoWaves(), [16])
    found, error = {False: before, True: after}, {}
    for on in (False, True):
        folder = tmp_path / str(on)
        error[on], _ = descended(folder, on, found[on].weight, found[on].learning_rate)
    assert error[True] < 1e-8
    assert error[False] > 0.1
    assert not (tmp_path / "False").exists()
    told = json.loads((tmp_path / "True" / "conditioning.json").read_text())
    assert told["before"]["kappa"] == pytest.approx(before.kappa, rel=1e-3)
    assert told["after"]["kappa"] == pytest.approx(after.kappa, rel=1e-3)
    assert told["trained"] == {
        "kappa": pytest.approx(after.kappa, rel=1e-3),
        "weight": after.weight,
        "learning_rate": pytest.approx(after.learning_rate, rel=1e-3),
    }
    assert len(told["after"]["eigenvalues"]) == 33
    said = capsys.readouterr().out
    assert f"Condition number {before.kappa:.3g}, preconditioned {after.kappa:.3g}" in said


def told(folder: Path, inside: int = 64, resumed: Path | None = None, **settings: Any) -> Path:
    """Where the numbers of a nonlinear equation with waves of 49 parameters are, after two more epochs."""
    torch.manual_seed(0)
    problem = SineBurgers()
    data = Collocation(problem, inside=inside, on_sides=8, steps=2, test_resolutions=(5,))
    field = FourierFeatures(**data.model_arguments, **{"modes": [3, 3], **settings})
    objective = PhysicsInformed(problem, hard=False, precondition=True)
    task = TrainingTask(field, objective, lambda parameters: torch.optim.Adam(parameters, lr=0.1))
    trainer = lightning.Trainer(
        max_epochs=4 if resumed else 2, precision="64-true", accelerator="cpu", logger=False,
        enable_checkpointing=False, callbacks=[ConditionNumbers(folder)], plugins=[SafeCheckpointIO()],
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(task, datamodule=data, ckpt_path=resumed)
    trainer.save_checkpoint(folder.parent / "last.ckpt")
    return folder / "conditioning.json"


def test_a_resumed_run_keeps_the_numbers_of_its_start(tmp_path: Path) -> None:
    path = told(tmp_path / "run")
    first = json.loads(path.read_text())
    assert told(tmp_path / "run", resumed=tmp_path / "last.ckpt") == path
    assert json.loads(path.read_text()) == first


def test_few_points_of_training_make_no_matrix_singular(tmp_path: Path) -> None:
    few, fine = (json.loads(told(tmp_path / str(n), n).read_text()) for n in (4, 64))
    assert few["after"]["kappa"] == pytest.approx(fine["after"]["kappa"], rel=0.5)


@pytest.mark.parametrize(
    ("settings", "cause"),
    [
        ({"widths": [4]}, "the theory is of sums of waves, without widths"),
        ({"modes": [16, 16]}, "there are 1089 parameters, more than 1000"),
    ],
)
def test_where_there_are_none_it_says_why(
    settings: dict[str, Any], cause: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not told(tmp_path / "run", **settings).exists()
    assert f"No condition numbers of preconditioned waves: {cause}\n" in capsys.readouterr().out
