"""Statements on domains that are no boxes: hard values, slopes on sides, observed values, references."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.field_surrogate import FieldSurrogate
from pdeflow.fields import MLP, Field, HardConditions
from pdeflow.problems import (
    Ball,
    Box,
    Cylinder,
    D,
    Dirichlet,
    LShapedPoisson,
    Neumann,
    Observed,
    PoissonWithHoles,
    Polygon,
    Problem,
    Robin,
    exp,
    log,
    sin,
)
from pdeflow.problems.domain import Domain
from pdeflow.problems.initial import Initial
from pdeflow.problems.space_filling import space_filling
from pdeflow.report import write_report
from pdeflow.training import Collocation, LevenbergMarquardt, PhysicsInformed, TrainingTask
from pdeflow.training.batch_squares import BatchSquares
from pdeflow.training.callbacks import FieldResults
from pdeflow.training.physics_informed import INSIDE

RING = Ball(2.0, "outer", x=0.0, y=0.0) - Ball(1.0, "inner", x=0.0, y=0.0)
SQUARE = Box(x=(0, 1), y=(0, 1))


class Laplace(Problem):
    """``-div(grad u) = 0``, with conditions as they are given."""

    def __init__(self, domain: Domain, *conditions: Any, solution: Any = None) -> None:
        self.domain, self.conditions, self.solution = domain, conditions, solution

    def exact(self, at: Any, p: Any) -> Any:
        return None if self.solution is None else self.solution(at)

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return -D(u, "x", 2) - D(u, "y", 2)


class Heat(Problem):
    """``u_t = div(grad u)`` in a disc."""

    domain = Cylinder(Ball(1.0, x=0.0, y=0.0), t=(0.5, 1.0))

    def __init__(self, *conditions: Any) -> None:
        self.conditions = conditions

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return D(u, "t") - D(u, "x", 2) - D(u, "y", 2)


def network(problem: Problem, widths: tuple[int, ...] = (8,)) -> MLP:
    torch.manual_seed(0)
    domain = problem.domain
    return MLP(domain.lower, domain.upper, widths=widths).double()


def trained(problem: Problem, objective: PhysicsInformed, epochs: int, inside: int = 300) -> Field:
    task = TrainingTask(network(problem, (16,)), objective, optimizer=LevenbergMarquardt)
    trainer = lightning.Trainer(
        max_epochs=epochs, precision="64-true", accelerator="cpu", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(task, datamodule=Collocation(problem, inside=inside, on_sides=60, held_back=50))
    assert isinstance(task.model, Field)
    return task.model


def error(problem: Problem, field: Field) -> float:
    """Relative, against the exact solution."""
    data = Collocation(problem)
    points = data.points(7, 500)[INSIDE]
    exact = data._exact(points.unbind(1))
    return float((field.at(points) - exact).norm() / exact.norm())


HARD = {
    "one value": Laplace(RING, Dirichlet(3.0)),
    "two values": Laplace(RING, Dirichlet(math.log(2), on="outer"), Dirichlet(0.0, on="inner")),
    "formulas": Laplace(
        RING, Dirichlet(lambda at, p: sin(at.x) + at.y), Dirichlet(lambda at, p: at.x * at.y, on="inner")
    ),
    "two discs": Laplace(Ball(1.0, "left", x=0.0, y=0.0) | Ball(1.0, "right", x=1.0, y=0.0), Dirichlet(2.0)),
    "part of a polygon": Laplace(
        Polygon.of([(0, 0), (1, 0), (1, 1), (0, 1)], sides=("floor", "east", "top", "west")),
        Dirichlet(lambda at, p: at.x, on=("floor", "top")),
        Neumann(0.0, on=("east", "west")),
    ),
    "L": LShapedPoisson(),
    "holes": PoissonWithHoles(),
    "in time": Heat(Dirichlet(1.0, on="rim"), Initial(lambda at, p: at.x * at.x + at.y * at.y)),
    "formulas on a box with a hole": Laplace(
        SQUARE - Ball(0.2, "hole", x=0.5, y=0.5),
        Dirichlet(lambda at, p: (at.x - 2) * at.y),
        Dirichlet(lambda at, p: at.x, on="hole"),
    ),
    "a formula that holds at other times too": Heat(
        Dirichlet(lambda at, p: at.x * at.t, on="rim"),
        Initial(lambda at, p: at.x * at.t),
        Initial(lambda at, p: at.x, order=1),
    ),
    "with a slope in time": Heat(
        Dirichlet(lambda at, p: at.t, on="rim"),
        Initial(0.5),
        Initial(lambda at, p: exp(at.x - at.x), order=1),
    ),
}


@pytest.mark.parametrize("name", HARD)
def test_values_on_sides_hold_whatever_the_network_is(name: str) -> None:
    problem = HARD[name]
    objective = PhysicsInformed(problem)
    field = objective.constrain(network(problem))
    points = Collocation(problem, on_sides=80).points(0, 10)
    found = objective.condition_residuals(field, points)
    held = [part for part in found if not part.endswith(":slope")]
    assert held
    for part in held:
        # Slopes are those of quotients of numbers that nearly vanish.
        assert float(found[part].abs().max()) < (1e-6 if part.endswith(":rate") else 1e-11), part
    assert set(objective.statements) == {INSIDE, *(part for part in found if part.endswith(":slope"))}
    values = field.at(points[INSIDE])
    assert float(values.std()) > 0


def test_hard_conditions_of_a_domain_are_stored() -> None:
    for problem in (LShapedPoisson(), PoissonWithHoles()):
        field = PhysicsInformed(problem).constrain(network(problem))
        assert isinstance(field, HardConditions)
        again = HardConditions.from_formulas(field.network, **field.formulas())
        points = Collocation(problem).points(0, 50)[INSIDE]
        torch.testing.assert_close(again.at(points), field.at(points), rtol=1e-12, atol=1e-14)


def test_values_at_corners_are_limits() -> None:
    """At the re-entrant corner of an L; and where the rim meets the start, both of whose distances vanish."""
    ell = LShapedPoisson()
    solution = FieldSurrogate(PhysicsInformed(ell).constrain(network(ell)))
    assert isinstance(ell.domain, Polygon)
    np.testing.assert_allclose(solution(ell.domain.loops[0]), 0.0, atol=1e-11)
    heat = HARD["in time"]
    disc = FieldSurrogate(PhysicsInformed(heat).constrain(network(heat)))
    meeting = np.array([[1.0, 0.0, 0.5], [0.6, 0.8, 0.5], [-0.28, 0.96, 0.5]])
    np.testing.assert_allclose(disc(meeting), 1.0, atol=1e-11)


def test_where_sides_meet_others_do_not_matter() -> None:
    names = ("floor", "east", "top", "west")
    square = Polygon.of([(0, 0), (1, 0), (1, 1), (0, 1)], sides=names)
    problem = Laplace(
        square,
        Dirichlet(lambda at, p: sin(at.x), on="floor"),
        Dirichlet(lambda at, p: sin(at.x) + at.y, on="east"),
        Dirichlet(lambda at, p: sin(at.x) + at.y * at.y, on="top"),
    )
    u = FieldSurrogate(PhysicsInformed(problem).constrain(network(problem)))
    np.testing.assert_allclose(u(np.array([[1.0, 0.0], [1.0, 1.0]])), [math.sin(1), math.sin(1) + 1])


def test_slopes_across_curved_sides_are_those_of_the_normals() -> None:
    """Of u = log r: du/dr = 1/r on the outer circle, -1/r on the inner one, whose normal points inwards."""
    problem = Laplace(RING, Neumann(0.0, on="outer"), Robin(2.0, 0.0, on="inner"))
    objective = PhysicsInformed(problem)
    points = Collocation(problem, on_sides=40).points(0, 10)
    assert points["outer"].shape == (40, 4)

    class LogR(MLP):
        def derivatives(self, points: Tensor, wanted: Any) -> dict[tuple[int, ...], Tensor]:
            x, y = points.unbind(1)
            r2 = x * x + y * y
            known = {(0, 0): 0.5 * r2.log(), (1, 0): x / r2, (0, 1): y / r2}
            return {index: known[index][:, None] for index in wanted}

    field = LogR([-2.0, -2.0], [2.0, 2.0])
    found = objective.condition_residuals(field, points)
    torch.testing.assert_close(found["outer:slope"], torch.full((40, 1), 0.5, dtype=torch.float64))
    torch.testing.assert_close(found["inner:slope"], torch.full((40, 1), -1.0, dtype=torch.float64))


def test_the_jacobian_knows_normals_and_observed_values() -> None:
    observed = Observed([[1.5, 0.0], [0.0, -1.2]], [0.3, 0.1])
    problem = Laplace(RING, Dirichlet(0.0, on="inner"), Robin(1.0, 0.5, on="outer"), observed)
    objective = PhysicsInformed(problem).double()
    field = objective.constrain(network(problem, (4,)))
    batch = {"points": Collocation(problem, inside=9, on_sides=5).points(0, 9)}
    squares = BatchSquares(objective, field, list(field.parameters()), batch)
    r, jacobian = squares.linearised()
    torch.testing.assert_close(r, squares.residuals())
    weighted = objective.weighted(field, batch)
    assert len(weighted) == len(batch["points"][INSIDE]) + 5 + 2
    for k in range(len(r)):
        slopes = torch.autograd.grad(
            weighted[k], list(field.parameters()), retain_graph=True, materialize_grads=True
        )
        torch.testing.assert_close(jacobian[k], torch.cat([slope.flatten() for slope in slopes]))


SADDLE = {
    "values": (Dirichlet(lambda at, p: saddle(at)),),
    "values and a slope": (
        Dirichlet(lambda at, p: saddle(at), on="outer"),
        Neumann(lambda at, p: -2 * saddle(at), on="inner"),
    ),
    "radiation": (
        Robin(1.0, lambda at, p: 2 * saddle(at), on="outer"),
        Robin(lambda at, p: 1 + at.x * at.x, lambda at, p: (at.x * at.x - 1) * saddle(at), on="inner"),
    ),
    "slopes and one value": (
        Neumann(lambda at, p: saddle(at), on="outer"),
        Neumann(lambda at, p: -2 * saddle(at), on="inner"),
        Observed([[1.5, 0.0]], [0.5625]),
    ),
}


def saddle(at: Any) -> Any:
    """A solution of Laplace's equation; its slope along r is 2 / r of it."""
    return (at.x * at.x - at.y * at.y) / 4


@pytest.mark.parametrize("name", SADDLE)
def test_a_ring_is_solved(name: str) -> None:
    problem = Laplace(RING, *SADDLE[name], solution=saddle)
    assert error(problem, trained(problem, PhysicsInformed(problem), epochs=4, inside=150)) < 2e-3


def test_a_coefficient_is_found_from_values_inside() -> None:
    """Robin's c on the outer circle of a ring, of u = (x^2 - y^2) / 4: u + c u = 3 u."""
    from pdeflow.problems import Parameter, Uniform

    class Cooled(Laplace):
        c = Parameter(Uniform(0.1, 10.0))

    angles = np.linspace(0, 6, 5)
    places = 1.5 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    problem = Cooled(
        RING,
        Dirichlet(lambda at, p: saddle(at), on="inner"),
        Robin(lambda at, p: p.c, lambda at, p: 3 * saddle(at), on="outer"),
        Observed(places, (places[:, 0] ** 2 - places[:, 1] ** 2) / 4),
    )
    objective = PhysicsInformed(problem, unknown={"c": 5.0})
    trained(problem, objective, epochs=4, inside=150)
    assert float(objective.found()["c"]) == pytest.approx(2.0, rel=1e-2)


@pytest.fixture(scope="module")
def ell() -> LShapedPoisson:
    return LShapedPoisson()


def test_references_are_right(ell: LShapedPoisson) -> None:
    holes = PoissonWithHoles()
    assert float(ell.solution.load @ ell.solution.values) == pytest.approx(0.2140758036, rel=2e-6)
    sides, away = np.array([[0.5, 0.2], [0.1, -0.5]]), np.array([[0.3, 0.2 - 1e-7], [0.4 + 1e-7, 0.3]])
    np.testing.assert_allclose(holes.reference(sides), 1.0, atol=1e-10)
    np.testing.assert_allclose(holes.reference(away), 0.0, atol=1e-4)
    points = holes.domain.inside(200, lambda n, d: space_filling("sobol", n, d, np.random.SeedSequence(0)))
    turned = np.stack([-points[:, 1], points[:, 0]], axis=1)
    np.testing.assert_allclose(holes.reference(points), holes.reference(turned), atol=2e-4)


def test_a_test_compares_with_the_reference(ell: LShapedPoisson) -> None:
    data = Collocation(ell, held_back=64)
    assert data.test_names == ["points"]
    (loader,) = data.test_dataloader()
    (batch,) = loader
    expected = ell.reference(batch["points"][INSIDE].numpy())
    np.testing.assert_array_equal(batch["exact"][:, 0].numpy(), expected)


@pytest.mark.slow
def test_an_l_is_solved_to_half_a_percent() -> None:
    problem = LShapedPoisson()
    field = trained(problem, PhysicsInformed(problem), epochs=15, inside=600)
    points = Collocation(problem).points(7, 500)[INSIDE]
    exact = torch.from_numpy(problem.reference(points.numpy()))[:, None]
    assert float((field.at(points) - exact).norm() / exact.norm()) < 5e-3


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ([Dirichlet(0.0, on="rim")], r"Dirichlet.on: got 'rim'.*\n.*inner, outer"),
        ([Observed([[0.0, 0.0]], [1.0])], r"Observed.points\[0\]: got \[0.0, 0.0\].*1 of 1 lie outside"),
        ([Observed([[1.5, 0.0], [1.0, 0.0]], [1.0, math.nan])], r"Observed.values\[1\]: got nan"),
        ([Observed([[1.5, math.inf]], [1.0])], r"Observed.points\[0\]"),
        ([Observed([[1.5, 0.0, 0.0]], [1.0])], r"shape of Observed.points.*coordinates x, y"),
        ([Observed([[1.5, 0.0]], [1.0, 2.0])], "shape of Observed"),
    ],
)
def test_what_is_wrong_is_named(conditions: list[Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        PhysicsInformed(Laplace(RING, *conditions))


def test_hard_values_on_part_of_a_union_are_refused() -> None:
    union = Ball(1.0, "left", x=0.0, y=0.0) | Ball(1.0, "right", x=1.0, y=0.0)
    problem = Laplace(union, Dirichlet(0.0, on="left"), Neumann(0.0, on="right"))
    with pytest.raises(InvalidInput, match=r"right too.*\n.*objective.hard: false"):
        PhysicsInformed(problem).constrain(network(problem))
    soft = PhysicsInformed(problem, hard=False)
    assert soft.constrain(network(problem)).__class__ is MLP


def test_hard_values_on_parts_that_only_touch_are_refused() -> None:
    """Both distances would vanish between them, inside of the domain."""
    problem = Laplace(SQUARE | Box(x=(1, 2), y=(0, 1)), Dirichlet(0.0))
    with pytest.raises(InvalidInput, match="overlap"):
        PhysicsInformed(problem).constrain(network(problem))
    overlapping = Laplace(SQUARE | Box(x=(0.5, 2), y=(0, 1)), Dirichlet(0.0))
    field = PhysicsInformed(overlapping).constrain(network(overlapping))
    assert float(field.at(torch.tensor([[0.75, 0.25], [1.0, 0.25]], dtype=torch.float64)).abs().min()) > 0


def test_optimisers_that_need_every_residual_refuse_a_field_that_leaves_gradients_out() -> None:
    class Forgetful(MLP):
        def pointwise_gradients(self, points: Tensor, cotangents: Any) -> dict[str, Tensor]:
            found = super().pointwise_gradients(points, cotangents)
            return {name: value for name, value in found.items() if name != "layers.1.bias"}

    problem = Laplace(RING, Dirichlet(0.0))
    objective = PhysicsInformed(problem, hard=False)
    field = Forgetful(RING.lower, RING.upper, widths=(4,)).double()
    batch = {"points": Collocation(problem, inside=9, on_sides=4).points(0, 9)}
    with pytest.raises(InvalidInput, match=r"Forgetful.*layers.1.bias"):
        BatchSquares(objective, field, list(field.parameters()), batch).linearised()


def in_ring(x: np.ndarray) -> Any:
    return (np.hypot(x[0], x[1]) > 1) & (np.hypot(x[0], x[1]) < 2)


DRAWN = {
    "ring, exact": (
        Laplace(
            RING,
            Dirichlet(math.log(2), on="outer"),
            Dirichlet(0.0, on="inner"),
            solution=lambda at: log(at.x * at.x + at.y * at.y) / 2,
        ),
        in_ring,
    ),
    "disc in time": (
        Heat(Dirichlet(1.0, on="rim"), Initial(lambda at, p: at.x * at.x + at.y * at.y)),
        lambda x: (np.hypot(x[0], x[1]) < 1) & (x[2] > 0.5) & (x[2] < 1.0),
    ),
}


@pytest.mark.parametrize("name", list(DRAWN))
def test_what_is_drawn_of_a_domain_is_the_field_inside(name: str, tmp_path: Path) -> None:
    """On the grid of the box around it; nodes on the boundary, such as those at the start, are left out."""
    problem, contains = DRAWN[name]
    task = TrainingTask(network(problem), PhysicsInformed(problem), optimizer=LevenbergMarquardt)
    data = Collocation(problem, inside=50, on_sides=9, held_back=30, test_resolutions=(13,))
    trainer = lightning.Trainer(
        precision="64-true", accelerator="cpu", logger=False, callbacks=[FieldResults(tmp_path)],
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.test(task, datamodule=data, verbose=False)
    axes = [c.double() for c in problem.grid(13).coordinates()]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    inside = np.reshape(contains(places.numpy()), places.shape[1:])
    with np.load(tmp_path / "test" / f"{'x'.join(['13'] * data.dim)}.npz") as stored:
        np.testing.assert_array_equal(stored["inside"], inside)
        assert stored["axes"].tolist() == list(problem.coordinates)
        assert ("target" in stored) == (name != "disc in time")
        points = places[:, torch.from_numpy(inside)].T
        known = data.known(points)
        wanted = {
            "prediction": task.model.at(points).detach(),  # pyright: ignore[reportCallIssue]
            "residual": task.objective.residual(task.model, points).detach(),  # pyright: ignore[reportCallIssue]
            **({} if known is None else {"target": known}),
        }
        for key, values in wanted.items():
            np.testing.assert_allclose(stored[key][0, :, inside], values.numpy(), rtol=1e-9, atol=1e-9)
            assert np.isnan(stored[key][0][:, ~inside]).all()
    assert "Nodes outside of the domain are left blank." in write_report(tmp_path).read_text()


def test_there_is_no_grid() -> None:
    problem = Laplace(RING, Dirichlet(0.0))
    with pytest.raises(InvalidInput, match=r"laplace.domain.*a Box, to compute on a grid"):
        problem.residual_on_grid(torch.zeros(1, 9, 9), problem.grid(9), {})


def test_points_on_the_boundary_may_be_observed() -> None:
    Observed([[0.0, 0.0], [1.0, 0.5], [1.0, 1.0]], [0.0, 0.0, 0.0]).check(SQUARE)
