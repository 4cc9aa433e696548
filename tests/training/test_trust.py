"""Whether a solution is to be trusted: its residual beside its own terms, and the estimate of its error."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from statement_run import tiny
from torch import Tensor, nn

from pdeflow.fields import MLP, AutogradField, Field, Subdomains
from pdeflow.problems import (
    Box,
    ConvectedSine,
    D,
    Dirichlet,
    HeatedRod,
    Initial,
    LayeredConduction,
    Neumann,
    ObservedBurgers,
    Poisson,
    Polygon,
    Problem,
    SinePoisson,
)
from pdeflow.problems.distributions import Constant
from pdeflow.report import trust_lines, write_report
from pdeflow.training import Collocation, LevenbergMarquardt, PhysicsInformed, TrainingTask
from pdeflow.training.backward_error import BackwardError, backward_errors
from pdeflow.training.callbacks import FieldResults, TrustCheck, default_callbacks
from pdeflow.training.defect_correction import ErrorEstimate
from pdeflow.training.trust import Trust, examine


class Formula(nn.Module):
    """A function of points (N, d) that is known, with a number so that it has a dtype."""

    def __init__(self, *parts: Callable[..., Tensor]) -> None:
        super().__init__()
        self.parts = parts
        self.one = nn.Parameter(torch.ones(()))

    def forward(self, points: Tensor) -> Tensor:
        return self.one * torch.stack([part(*points.unbind(1)) for part in self.parts], dim=1)


def known(problem: Problem, *parts: Callable[..., Tensor]) -> Field:
    domain = problem.domain
    return AutogradField(Formula(*parts), domain.lower, domain.upper, len(parts)).double()


def mode(x: Tensor, t: Tensor, a: float = 0.4) -> Tensor:
    """The solution of the heated rod."""
    return torch.exp(-a * math.pi**2 * t) * torch.sin(math.pi * x)


class Riccati(Problem):
    """u_x + u^2 = 0 with u(0) = 1, so that u = 1 / (1 + x)."""

    domain = Box(x=(0.0, 2.0))
    conditions = (Dirichlet(1.0, on="x-"),)

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return D(u, "x") + u**2


class Pair(Problem):
    """u_t = v, v_t = -u, of which sine and cosine are solutions; v may be much smaller."""

    domain = Box(t=(0.0, 1.0))
    fields = ("u", "v")
    conditions = (Initial(0.0, of="u"), Initial(1.0, of="v"))

    def residual(self, w: Any, at: Any, p: Any) -> Any:
        return D(w.u, "t") - w.v, D(w.v, "t") + w.u


def by_name(found: list[BackwardError]) -> dict[str, BackwardError]:
    return {part.name: part for part in found}


def rms(values: Tensor) -> float:
    return float(values.square().mean().sqrt())


# What is left, beside its own terms.


def test_another_coefficient_is_the_residual() -> None:
    """The solution for 1.05 a: u_t - a u_xx = 0.05 a u_xx, of terms 1.05 a |u_xx| + a |u_xx|."""
    problem = HeatedRod(0.4)
    objective = PhysicsInformed(problem, hard=False).double()
    points = Collocation(problem, inside=100, on_sides=20).points(0, 100)
    found = by_name(backward_errors(objective, known(problem, partial(mode, a=0.42)), points))
    assert set(found) == {"equation", "x-:value", "x+:value", "t-:value"}
    assert found["equation"].relative == pytest.approx(0.05 / 2.05, rel=1e-9)
    assert found["equation"].met == "inside"
    exact = by_name(backward_errors(objective, known(problem, mode), points))
    assert max(part.relative for part in exact.values()) < 1e-12


def test_the_terms_of_any_field_are_its_own() -> None:
    """By automatic differentiation, without a compiled statement; conditions beside u and what is given."""
    objective, field, batch = tiny()
    points = batch["points"]
    found = by_name(backward_errors(objective, field, points))
    x = points["inside"].clone().requires_grad_()
    u = field.at(x)[:, 0]
    (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
    (bend,) = torch.autograd.grad(slope[:, 0].sum(), x)
    u_t, u_xx = slope[:, 1].detach(), bend[:, 0]
    assert found["equation"].residual == pytest.approx(rms(u_t - 0.4 * u_xx), rel=1e-12)
    assert found["equation"].terms == pytest.approx(rms(u_t.abs() + 0.4 * u_xx.abs()), rel=1e-12)
    with torch.no_grad():
        start, given = field.at(points["t-"])[:, 0], torch.sin(torch.pi * points["t-"][:, 0])
        end = field.at(points["x+"])[:, 0]
    inside = rms(u.detach())
    assert found["t-:value"].residual == pytest.approx(rms(start - given))
    assert found["t-:value"].terms == pytest.approx(math.hypot(rms(start.abs() + given.abs()), inside))
    assert found["x+:value"].terms == pytest.approx(math.hypot(rms(end), inside))
    assert {found[name].met for name in ("t-:value", "x+:value")} == {"learned"}


def test_values_by_form_are_told_from_those_that_are_learned_and_measured() -> None:
    objective, field, batch = tiny(ObservedBurgers(measurements=7), hard=True, unknown={"nu": 0.05})
    found = by_name(backward_errors(objective, objective.constrain(field), batch["points"]))
    met = {name: part.met for name, part in found.items()}
    assert met == {
        "equation": "inside",
        "x-:value": "form",
        "x+:value": "form",
        "t-:value": "form",
        "observed 0:value": "measured",
    }
    assert max(found[name].relative for name in ("x-:value", "x+:value", "t-:value")) < 1e-12
    assert found["observed 0:value"].relative > 0.01


def test_each_equation_of_a_system_has_terms_of_its_own() -> None:
    problem = Pair()
    objective = PhysicsInformed(problem, hard=False).double()
    points = Collocation(problem, inside=50, on_sides=1).points(0, 50)
    field = known(problem, torch.sin, lambda t: 1.1 * torch.cos(t))
    found = by_name(backward_errors(objective, field, points))
    assert set(found) == {"equation 1", "equation 2", "t-:value of u", "t-:value of v"}
    cosine, sine = torch.cos(points["inside"]), torch.sin(points["inside"])
    assert found["equation 1"].relative == pytest.approx(0.1 / 2.1, rel=1e-9)
    assert found["equation 2"].terms == pytest.approx(rms(2.1 * sine))
    assert found["t-:value of v"].residual == pytest.approx(0.1)
    assert found["t-:value of v"].terms == pytest.approx(math.hypot(2.1, rms(1.1 * cosine)))


class Heated(Problem):
    """-lap u = 1 on a square that is a polygon, through one side of which heat flows in."""

    domain = Polygon.of([(0, 0), (1, 0), (1, 1), (0, 1)], sides=("floor", "east", "top", "west"))
    conditions = (Dirichlet(0.0), Neumann(0.5, on="east"))

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return -D(u, "x", 2) - D(u, "y", 2) - 1.0


def test_slopes_on_a_domain_that_is_no_box() -> None:
    """Points of sides carry normals, and those inside none: there both slopes count."""
    problem = Heated()
    objective = PhysicsInformed(problem, hard=False).double()
    points = Collocation(problem, inside=60, on_sides=20).points(0, 60)
    field = known(problem, lambda x, y: 2 * x - 3 * y)
    found = by_name(backward_errors(objective, field, points))
    assert found["east:slope"].residual == pytest.approx(1.5)
    assert found["east:slope"].terms == pytest.approx(math.hypot(2.5, 5.0))
    assert found["equation"].relative == pytest.approx(1.0)


# The estimate of the error.


def wrong(x: Tensor, t: Tensor) -> Tensor:
    """An error that vanishes where the rod has values."""
    return 0.03 * x * (1 - x) * t * torch.cos(3 * x + t)


def looked_at(problem: Problem, field: Field, **settings: Any) -> Trust:
    return examine(PhysicsInformed(problem, **settings).double(), field, Collocation(problem, on_sides=50))


def test_a_known_error_is_found_to_a_percent() -> None:
    problem = HeatedRod()
    field = known(problem, lambda x, t: mode(x, t) + wrong(x, t))
    found = looked_at(problem, field, hard=False)
    x = Collocation(problem).points(7, 500)["inside"]
    truth, error = mode(*x.unbind(1)), wrong(*x.unbind(1))
    assert found.estimate is not None
    assert found.estimate.left < 0.02
    assert found.estimate.relative["u"] == pytest.approx(rms(error) / rms(truth), rel=0.05)
    with torch.no_grad():
        assert rms(found.estimate.correction.at(x)[:, 0] + error) < 0.02 * rms(error)


def test_an_error_of_a_condition_is_found_too() -> None:
    """The solution from 0.7 sin: nothing is left of the equation."""
    problem = HeatedRod()
    found = looked_at(problem, known(problem, lambda x, t: 0.7 * mode(x, t)), hard=False)
    assert found.estimate is not None
    assert found.estimate.relative["u"] == pytest.approx(0.3, rel=0.05)
    assert found.worst.name == "t-:value"
    assert len(found.doubts) == 2


def test_of_an_equation_that_is_not_linear_it_is_one_step_of_newton() -> None:
    problem = Riccati()
    field = known(problem, lambda x: 1 / (1 + x) + 0.02 * torch.sin(2 * x))
    found = looked_at(problem, field, hard=False)
    x = torch.linspace(0, 2, 400).double()
    assert found.estimate is not None
    expected = rms(0.02 * torch.sin(2 * x)) / rms(1 / (1 + x))
    assert found.estimate.relative["u"] == pytest.approx(expected, rel=0.1)


def test_corrections_meet_what_the_form_meets() -> None:
    problem = SinePoisson()
    objective = PhysicsInformed(problem).double()
    torch.manual_seed(0)
    field = objective.constrain(MLP(problem.domain.lower, problem.domain.upper, widths=(8,)).double())
    data = Collocation(problem, on_sides=30)
    found = examine(objective, field, data)
    assert found.estimate is not None
    points = data.points(0, 200)
    x, y = points["inside"].unbind(1)
    with torch.no_grad():
        best = (field.at(points["inside"]) + found.estimate.correction.at(points["inside"]))[:, 0]
        assert float(found.estimate.correction.at(points["x-"]).abs().max()) < 1e-12
    exact = torch.sin(torch.pi * x) * torch.sin(torch.pi * y)
    assert rms(best - exact) < 1e-3 * rms(exact)
    assert objective.training  # as they were
    assert field.training


def test_what_waves_do_not_see_is_not_estimated() -> None:
    problem = HeatedRod()
    field = known(problem, lambda x, t: mode(x, t) + 1e-6 * torch.sin(60 * math.pi * x) * t)
    found = looked_at(problem, field, hard=False)
    assert found.estimate is None
    assert "There is no estimate of the error: what is left of the residual is too fine for it." in found.told


@pytest.mark.parametrize(
    ("problem", "settings", "told"),
    [
        (ObservedBurgers(measurements=5), {"unknown": {"nu": 0.05}}, "errors of measurements"),
        (LayeredConduction(), {}, "several networks"),
    ],
)
def test_why_there_is_no_estimate(problem: Problem, settings: dict[str, Any], told: str) -> None:
    torch.manual_seed(0)
    kind = Subdomains if isinstance(problem, LayeredConduction) else MLP
    network = {"subdomains": (2, 1)} if kind is Subdomains else {}
    objective = PhysicsInformed(problem, **settings).double()
    data = Collocation(problem, on_sides=20)
    field = objective.constrain(kind(**data.model_arguments, widths=(5,), **network).double())
    if objective.interfaces is not None:
        data.interfaces = objective.interfaces.places
    found = examine(objective, field, data)
    assert found.estimate is None
    assert told in found.told


# What is said.


def judged(relative: float, error: float | None) -> Trust:
    part = BackwardError("equation", relative, 1.0, "inside")
    measured = BackwardError("observed 0:value", 0.5, 1.0, "measured")
    estimate = None if error is None else ErrorEstimate(MLP(), 0.1, {"u": error})
    return Trust([part, measured], estimate, "" if estimate else "of this")


@pytest.mark.parametrize(
    ("relative", "error", "doubts"),
    [
        (0.009, 0.09, 0),
        (0.011, 0.09, 1),
        (0.009, 0.11, 1),
        (0.2, 3.0, 2),
        (0.009, None, 0),
        (math.nan, None, 1),
        (0.0, math.nan, 1),
    ],
)
def test_when_it_is_not_to_be_trusted(relative: float, error: float | None, doubts: int) -> None:
    found = judged(relative, error)
    assert len(found.doubts) == doubts
    record = json.loads(json.dumps(found.record(), allow_nan=False))
    assert record["doubts"] == found.doubts
    assert bool(record["advice"]) == bool(doubts)
    assert [part["met"] for part in record["parts"]] == ["inside", "measured"]


def trained(
    problem: Problem,
    folder: Path,
    optimizer: Any,
    epochs: int,
    callbacks: list[lightning.Callback] | None = None,
    **settings: Any,
) -> tuple[TrainingTask, lightning.Trainer, Collocation]:
    torch.manual_seed(0)
    data = Collocation(problem, inside=400, on_sides=40, held_back=300, test_resolutions=(21,))
    field = MLP(**data.model_arguments, widths=(16, 16))
    task = TrainingTask(field, PhysicsInformed(problem, **settings), optimizer)
    trainer = lightning.Trainer(
        max_epochs=epochs, precision="64-true", accelerator="cpu", logger=False, default_root_dir=folder,
        callbacks=callbacks or default_callbacks(folder), enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(task, datamodule=data)
    return task, trainer, data


def results(task: TrainingTask, data: Collocation, folder: Path) -> dict[str, Any]:
    trainer = lightning.Trainer(
        accelerator="cpu", precision="64-true", logger=False, callbacks=[FieldResults(folder)],
        enable_progress_bar=False,
    )  # fmt: skip
    trainer.test(task, datamodule=data, verbose=False)
    return json.loads((folder / "test" / "trust.json").read_text())


def test_plain_training_fails_at_convection_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A. Krishnapriyan et al., NeurIPS 2021: beta = 30 is beyond a network that is trained at once."""
    adam = partial(torch.optim.Adam, lr=3e-3)
    with caplog.at_level(logging.INFO, "pdeflow.training"):
        task, trainer, data = trained(ConvectedSine(beta=30.0), tmp_path, adam, 30, hard=False)
    assert float(trainer.callback_metrics["valid/l2"]) > 0.5
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.message.startswith("The solution is not to be trusted: ")
    assert "the error of u is estimated at" in warning.message
    assert "objective.time_course" in warning.message
    record = results(task, data, tmp_path)
    assert len(record["doubts"]) == 2
    (tmp_path / "config.yaml").write_text("objective: {class_path: PhysicsInformed}\n")
    page = write_report(tmp_path).read_text()
    assert "The solution is not to be trusted" in page
    assert "The solution is not to be trusted" in trust_lines(tmp_path)


@pytest.mark.parametrize(
    ("problem", "settings"),
    [
        (SinePoisson(), {}),
        (HeatedRod(), {"hard": False}),
        (ConvectedSine(beta=2.0), {}),
    ],
    ids=["by form", "learned", "convection"],
)
def test_what_is_solved_is_trusted(
    problem: Problem, settings: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "pdeflow.training"):
        task, trainer, data = trained(problem, tmp_path, LevenbergMarquardt, 6, **settings)
    error = float(trainer.callback_metrics["valid/l2"])
    assert error < 1e-2
    (told,) = [record for record in caplog.records if "has not seen" in record.message]
    assert told.levelno == logging.INFO
    assert not [record for record in caplog.records if record.levelno == logging.WARNING]
    record = results(task, data, tmp_path)
    assert record["doubts"] == []
    assert record["parts"][0]["relative"] < 1e-2


def test_the_best_epoch_is_looked_at_and_the_last_weights_stay(tmp_path: Path) -> None:
    task, trainer, _ = trained(SinePoisson(), tmp_path, LevenbergMarquardt, 2)
    last = {name: value.clone() for name, value in task.state_dict().items()}
    best = torch.load(tmp_path / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    seen: list[Tensor] = []

    def looks(objective: PhysicsInformed, field: Field, data: Collocation) -> Trust:
        seen.append(torch.cat([p.detach().flatten() for p in field.parameters()]))
        return judged(0.0, 0.0)

    with torch.no_grad():
        for parameter in task.model.parameters():
            parameter += 1.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pdeflow.training.callbacks.trust_check.examine", looks)
        TrustCheck(tmp_path).on_fit_end(trainer, task)
    expected = torch.cat([value.flatten() for name, value in best.items() if name.startswith("model.")])
    torch.testing.assert_close(seen[0], expected)
    for name, value in task.state_dict().items():
        torch.testing.assert_close(value, last[name] + 1.0 if name.startswith("model.") else last[name])


def test_where_no_solution_is_known_the_error_is_drawn_as_estimated(tmp_path: Path) -> None:
    """Against the series of the square's torsion function, -lap u = 1."""
    problem = Poisson(source=Constant(1.0))
    task, _, data = trained(problem, tmp_path, partial(torch.optim.Adam, lr=1e-2), 3)
    results(task, data, tmp_path)
    with np.load(tmp_path / "test" / "21x21.npz") as stored:
        estimate, prediction = stored["estimate"], stored["prediction"]
        assert "target" not in stored
    assert estimate.shape == prediction.shape == (1, 1, 21, 21)
    x, y = np.meshgrid(*[np.linspace(0, 1, 21)] * 2, indexing="ij")
    odd = np.arange(1, 80, 2)
    waves = [
        np.sin(m * np.pi * x) * np.sin(n * np.pi * y) / (m * n * (m**2 + n**2)) for m in odd for n in odd
    ]
    exact = 16 / np.pi**4 * np.sum(waves, axis=0)
    error = prediction[0, 0] - exact
    assert np.abs(error).max() > 1e-3
    np.testing.assert_allclose(estimate[0, 0], error, atol=0.1 * np.abs(error).max())
    (tmp_path / "config.yaml").write_text("objective: {class_path: PhysicsInformed}\n")
    page = write_report(tmp_path).read_text()
    assert "u, estimated error" in page
    assert (tmp_path / "report.png").is_file()
