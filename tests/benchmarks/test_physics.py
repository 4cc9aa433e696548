"""The benchmark of physics-informed training: what the peers are given, the summary, the table."""

from __future__ import annotations

import importlib.util
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks import physics, physics_reference, readme
from benchmarks.error_at_points import ErrorAtPoints
from benchmarks.peers.pinn_cases import STATEMENTS
from benchmarks.peers.pinn_statement import Curve, Inverse, OnDomain, Statement
from benchmarks.physics_cases import CASES
from benchmarks.physics_conditioning import kappas
from benchmarks.result import ROOT, table
from pdeflow.fields import MLP
from pdeflow.problems import Dirichlet, LShapedPoisson, ObservedBurgers, Problem, SpreadingBumps
from pdeflow.problems.conditions import by_side
from pdeflow.problems.observed import observations
from pdeflow.training import Collocation, LevenbergMarquardt, PhysicsInformed, TrainingTask


class ByAutograd:
    """`Derivatives` of a function of coordinates."""

    def __init__(self, statement: Statement, x: Tensor, u) -> None:
        self.x, self.statement = x.requires_grad_(), statement
        number = statement.truth if isinstance(statement, Inverse) else math.nan
        self.unknown = torch.tensor(number, dtype=torch.float64)
        self.u = u(statement.coordinates(self.x))

    def at(self, axis: str) -> Tensor:
        return self.statement.coordinates(self.x)[axis]

    def _slope(self, value: Tensor, axis: str) -> Tensor:
        (slopes,) = torch.autograd.grad(value.sum(), self.x, create_graph=True)
        k = self.statement.axes.index(axis)
        return slopes[:, k : k + 1]

    def d(self, axis: str) -> Tensor:
        return self._slope(self.u, axis)

    def d2(self, axis: str) -> Tensor:
        return self._slope(self.d(axis), axis)


def some_points(statement: Statement) -> Tensor:
    torch.manual_seed(0)
    low, high = (
        torch.tensor([ends[a] for a in statement.axes]) for ends in (statement.lower, statement.upper)
    )
    return (low + (high - low) * torch.rand(20, len(statement.axes))).double()


BOXES = [name for name, state in STATEMENTS.items() if not isinstance(state(), OnDomain)]
CASE = {case.name: case for case in CASES}
DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1))
DOMAINS = [name for name in STATEMENTS if name not in BOXES]
NEAR = {"burgers": 1e-6, "inverse_burgers": 1e-6, "allen_cahn": 1e-4}
"""What is left of the residual where the solution is no formula."""
TABLES = {"nonlinear_diffusion": SpreadingBumps}
"""Of which there are splines, not differentiable."""


@pytest.mark.parametrize("case", [name for name in BOXES if name not in TABLES])
def test_solutions_of_the_peers_statements_have_no_residual(case: str) -> None:
    statement = STATEMENTS[case]()
    found = ByAutograd(statement, some_points(statement), statement.exact)
    assert float(statement.residual(found).abs().max()) < NEAR.get(case, 1e-10)
    wrong = ByAutograd(statement, some_points(statement), lambda at: statement.exact(at) + at["x"] ** 2)
    assert float(statement.residual(wrong).abs().max()) > 1e-2


@pytest.mark.parametrize("case", BOXES)
def test_forms_of_the_peers_meet_the_conditions(case: str) -> None:
    """Where values are not learned, whatever the network says; and the solution is among the fields."""
    statement = STATEMENTS[case]()
    for axis in statement.axes:
        for end, side in (("-", statement.lower), ("+", statement.upper)):
            periodic = len(statement.inputs(statement.coordinates(some_points(statement)))) > len(
                statement.axes
            )
            free = (axis == "t" and end == "+") or (axis == "x" and periodic)
            if free or f"{axis}{end}" in statement.learned:
                continue
            points = some_points(statement)
            points[:, statement.axes.index(axis)] = side[axis]
            at = statement.coordinates(points)
            torch.testing.assert_close(
                statement.form(at, torch.full_like(at[axis], 7.0)), statement.exact(at), rtol=0, atol=1e-7
            )


def residuals_agree(statement: Statement, problem: Problem, points: Tensor) -> None:
    """Of a function that solves neither."""

    def wave(x: Tensor) -> Tensor:
        return torch.sin(3 * x[:, :1]) * torch.exp(x[:, 1:].sum(dim=1, keepdim=True))

    theirs = ByAutograd(statement, points.clone(), lambda at: wave(torch.cat(list(at.values()), dim=1)))
    ours = problem.residual_at_points(lambda x: wave(x).squeeze(-1), points, {})
    torch.testing.assert_close(statement.residual(theirs), ours.reshape(-1, 1))


@pytest.mark.parametrize("case", TABLES)
def test_peers_are_told_our_equation(case: str) -> None:
    statement = STATEMENTS[case]()
    residuals_agree(statement, TABLES[case](), some_points(statement))


def test_peers_are_given_our_measurements() -> None:
    statement, problem = STATEMENTS["inverse_burgers"](), ObservedBurgers()
    assert isinstance(statement, Inverse)
    (_, observed), *_ = observations(problem)
    points = statement.on("measured", seed=5)
    assert torch.equal(
        torch.cat([points, statement.value("measured", points)], 1), torch.tensor(observed.table)
    )
    _, truth = statement.tested()
    assert CASE["inverse_burgers"].unknown == ("nu", float(truth))
    assert statement.adam == STATEMENTS["burgers"]().adam


@pytest.mark.parametrize("case", DOMAINS)
def test_peers_are_told_of_a_domain_what_ours_is(case: str) -> None:
    """Residuals of a function agree, and sides have the values of our conditions, at points of the domain."""
    statement = STATEMENTS[case]()
    assert isinstance(statement, OnDomain)
    problem, inside = statement.problem, statement.inside(seed=1)
    assert problem.domain.contains(inside.numpy()).all()
    assert abs(len(inside) - statement.points) < 0.02 * statement.points

    residuals_agree(statement, problem, inside[:20])
    assert set(statement.learned) == set(problem.domain.sides)
    conditions = by_side(problem.conditions, problem.domain)
    for side in statement.learned:
        points = statement.on(side, seed=1)
        assert problem.domain.reaches(points.numpy()).all()
        near = [problem.domain.contains(points.numpy() + 1e-6 * np.array(d)) for d in DIRECTIONS]
        assert not np.all(near, axis=0).any()
        condition = conditions[side]
        assert isinstance(condition, Dirichlet)
        assert (statement.value(side, points) == condition.value).all()


def test_a_reference_is_taken_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What peers are compared with is what `ErrorAtPoints` compares ours with; and it is read from a file."""
    monkeypatch.setattr(physics_reference, "FOLDER", tmp_path)
    asked = []

    class Linear(LShapedPoisson):
        def reference(self, points: np.ndarray) -> np.ndarray:
            asked.append(len(points))
            return points[:, 0]

    points, values = physics_reference.reference_at_points(Linear())
    again, _ = physics_reference.reference_at_points(Linear())
    assert len(asked) == 1
    assert torch.equal(points, again)
    assert torch.equal(values, points[:, :1])
    problem = Linear()
    field = MLP([-1.0, -1.0], [1.0, 1.0], widths=[4])
    task = TrainingTask(field, PhysicsInformed(problem), LevenbergMarquardt)
    trainer = lightning.Trainer(
        max_epochs=1,
        precision="64-true",
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[ErrorAtPoints()],
    )
    trainer.fit(task, datamodule=Collocation(problem, inside=50, steps=1, held_back=20))
    with torch.no_grad():
        error = (task.model.double().at(points) - values).norm() / values.norm()
    assert float(trainer.callback_metrics["valid/l2"]) == pytest.approx(float(error))


def test_points_on_sides_lie_there() -> None:
    statement = STATEMENTS["klein_gordon"]()
    points = statement.on("y+", seed=3)
    assert points.shape == (statement.points // 10, 3)
    assert (points[:, 1] == 1).all()
    assert points[:, 2].max() > 8
    assert torch.equal(points, statement.on("y+", seed=3))


def test_a_curve_counts_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look of five seconds is not charged; looks are a quarter of a second apart."""
    now = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: now[0])
    statement = STATEMENTS["poisson"]()
    curve = Curve(statement, 10.0)

    def slow(points: Tensor) -> Tensor:
        now[0] += 5.0
        return torch.zeros(len(points), 1, dtype=torch.float64)

    now[0] += 1.0
    curve.start()
    curve.look(slow)
    now[0] += 0.2
    curve.look(slow)  # too soon
    now[0] += 0.1
    curve.look(slow)
    assert [seconds for seconds, _ in curve.looks] == pytest.approx([0.0, 0.3])
    assert all(error == pytest.approx(1.0) for _, error in curve.looks)
    curve.stop()
    now[0] += 10.0
    assert not curve.over
    curve.start()
    now[0] += 9.0
    assert not curve.over
    now[0] += 1.0
    assert curve.over


def test_every_case_has_a_config_and_what_its_peers_need() -> None:
    for case in CASES:
        assert (ROOT / "configs" / f"{case.config}.yaml").is_file()
        assert not case.peers or case.name in STATEMENTS


def told(curve, error: float = 1e-4) -> dict:
    return {"curve": curve, "seconds": 60.0, "error": error, "parameters": 9}


def test_the_summary() -> None:
    """Failures count as never; where both peers fail the ratio is a bound."""
    poisson, heat = CASES[0], CASES[1]
    rows = [
        physics.row(poisson, "pdeflow", [told([(0.5, 1e-2), (1.0, 5e-4)], 2e-6), told([(2.0, 1e-4)], 4e-6)]),
        physics.row(poisson, "DeepXDE", [told([(30.0, 9e-4)])]),
        physics.row(poisson, "PINA", [{"failure": "not installed"}]),
        physics.row(heat, "pdeflow", [told([(4.0, 1e-5)], 1e-7)]),
        physics.row(heat, "DeepXDE", [told([(30.0, 1e-1)])]),
        physics.row(heat, "PINA", [told([(30.0, 1e-2)])]),
    ]
    summary = physics.summarise(rows)
    assert summary["worst_reach"] == pytest.approx(3.0)
    assert summary["speedup_to_1e3_poisson"] == pytest.approx(20.0)
    assert summary["speedup_to_1e3_heat"] == "> 15"
    assert summary["min_speedup_to_1e3"] == pytest.approx(15.0)
    assert summary["poisson_error"] == pytest.approx(3e-6)
    assert summary["helmholtz41_error"] == "not measured"
    assert summary["kappa_ratio"] == "not measured"
    assert physics.summarise(rows, 3e7)["kappa_ratio"] == 3e7
    assert rows[2]["error"] == "not measured"
    lost = [physics.row(heat, "pdeflow", [told([(4.0, 1e-2)])]), *rows[4:]]
    assert "speedup_to_1e3_heat" not in physics.summarise(lost)  # nobody came there
    sought = physics.row(CASE["inverse_burgers"], "pdeflow", [told([(4.0, 1e-4)], 2e-2)])
    assert sought["to_1e3_s"] == "-"
    assert physics.summarise([sought])["worst_reach"] == pytest.approx(2.0)
    lost[1] = physics.row(
        heat, "DeepXDE", [told([(9.0, 1e-4)]), {"failure": "killed"}, {"failure": "killed"}]
    )
    assert lost[1]["to_1e3_s"] == "never"
    assert lost[1]["failure"] == "2 of 3: killed"
    lost[1] = physics.row(heat, "DeepXDE", [told([(9.0, 1e-4)])])
    assert physics.summarise(lost)["min_speedup_to_1e3"] == 0.0
    assert physics.reached(told([(1.0, 1e-2)])) == math.inf


def test_a_failure_of_ours_is_of_its_row_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of every seed, and of one; the peers are then given all of the time."""

    def killed(command, environment):
        raise RuntimeError("killed")

    given = []
    monkeypatch.setattr(physics, "FOLDER", tmp_path)
    monkeypatch.setattr(physics, "timed", killed)
    monkeypatch.setattr(physics, "peer", lambda name, case, seed, seconds: given.append(seconds) or told([]))
    with ThreadPoolExecutor(1) as pool:
        found = physics.measured(CASES[0], 60.0, (0,), pool)
    assert found["pdeflow"] == [{"failure": "killed"}]
    assert given == [60.0, 60.0]
    other = physics.row(CASES[1], "pdeflow", [told([(1.0, 1e-4)])])
    for whole, failure, to in (
        (found["pdeflow"], "killed", "not measured"),
        ([told([(1.0, 1e-4)]), *found["pdeflow"] * 2], "2 of 3: killed", "never"),
    ):
        mine = physics.row(CASES[0], "pdeflow", whole)
        assert (mine["failure"], mine["to_1e3_s"]) == (failure, to)
        rows = [mine, physics.row(CASES[0], "DeepXDE", [told([(9.0, 1e-4)])]), other]
        summary = physics.summarise(rows)
        assert summary["worst_reach"] == "failed: poisson"
        assert summary["poisson_error"] == "failed"
        assert summary["min_speedup_to_1e3"] == 0.0
        assert table(rows)


def test_the_condition_numbers_are_those_of_the_paper() -> None:
    before, after = kappas()
    assert before == pytest.approx(3.43e7, rel=0.01)
    assert after == pytest.approx(1.11, abs=0.01)


def test_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        physics.row(CASES[0], "pdeflow", [told([(0.5, 5e-4)], 2e-6)]),
        physics.row(CASES[0], "DeepXDE", [told([(30.0, 1e-1)])]),
        physics.row(CASES[0], "PINA", [{"failure": "not installed"}]),
    ]
    monkeypatch.setattr(readme, "load", lambda name: {"rows": rows, "seeds": 3})
    assert "| `poisson` | 1.0e-06 | 2.0e-06 in 60 s | 1.0e-04 in 60 s |" in readme.physics()
    assert "| 0.50 | never | not measured |" in readme.physics()


@pytest.mark.parametrize(("package", "module"), list(physics.PEERS.values()))
@pytest.mark.parametrize(
    "case",
    [
        "poisson",
        pytest.param("inverse_burgers", marks=pytest.mark.slow),
        pytest.param("l_shape", marks=pytest.mark.slow),
    ],
)
def test_peers_learn(
    package: str, module: str, case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Conditions in the form, an unknown number, and a domain that is no box."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    monkeypatch.setattr(physics, "FOLDER", tmp_path)
    name = next(name for name, found in physics.PEERS.items() if found == (package, module))
    found = physics.peer(name, CASE[case], 0, 3.0)
    assert "failure" not in found, found
    assert found["error"] < 0.9 * found["curve"][0][1]
