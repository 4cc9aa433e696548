"""Networks on the parts of a box: what joins them, what they learn, what is refused."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from statement_run import assert_resumed_is_whole, run
from torch import Tensor

import pdeflow
from pdeflow.errors import InvalidInput
from pdeflow.fields import MLP, Field, HardConditions, Subdomains
from pdeflow.fields.subdomains import Jump
from pdeflow.problems import (
    Box,
    ConvectedSine,
    D,
    Dirichlet,
    HeatedRod,
    Interface,
    KovasznayFlow,
    LayeredConduction,
    LShapedPoisson,
    Problem,
    SinePoisson,
)
from pdeflow.problems.calculus import Names, step
from pdeflow.training import (
    Collocation,
    GrowingTime,
    LevenbergMarquardt,
    NTKWeights,
    PhysicsInformed,
    SSBroyden,
)


class Beam(Problem):
    """u_xxxx = 1, clamped in name only: what counts is its order."""

    domain = Box(x=(0.0, 1.0))
    conditions = (Dirichlet(0.0),)

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return D(u, "x", 4) - 1.0


class Islands(Problem):
    """Poisson's equation on two squares with a gap between them."""

    domain = Box(x=(0.0, 1.0), y=(0.0, 1.0)) | Box(x=(2.0, 3.0), y=(0.0, 1.0))
    conditions = (Dirichlet(0.0),)

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return D(u, "x", 2) + D(u, "y", 2) - 1.0


class Jumping(Problem):
    """A coefficient that jumps, under a derivative."""

    domain = Box(x=(0.0, 1.0))
    conditions = (Dirichlet(0.0),)

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return D((1 + step(at.x - 0.5)) * D(u, "x"), "x")


def parts(problem: Problem, subdomains: Any, widths: tuple[int, ...] = (6,)) -> Subdomains:
    torch.manual_seed(0)
    domain = problem.domain
    return Subdomains(
        domain.lower, domain.upper, len(problem.fields), domain.periodic, subdomains, widths
    ).double()


def batch_of(objective: PhysicsInformed, inside: int = 20) -> dict[str, dict[str, Tensor]]:
    data = Collocation(objective.problem, inside=inside, on_sides=7)
    assert objective.interfaces is not None
    data.interfaces = objective.interfaces.places
    return {"points": data.points(0, inside)}


def across(field: Field, problem: Problem, place: float) -> Tensor:
    """What a field jumps by (N,) where x is at a place."""
    rng = np.random.default_rng(0)
    points = torch.from_numpy(problem.domain.across(0, place, 50, lambda n, d: rng.random((n, d))))
    return Jump(field).at(points)[:, 0].detach()


@pytest.mark.parametrize(
    ("problem", "subdomains", "expected"),
    [
        (SinePoisson(), [2, 1], {"x=0.5:value", "x=0.5:slope"}),
        (SinePoisson(1), [[0.25]], {"x=0.25:value", "x=0.25:slope"}),
        (Beam(), [2], {"x=0.5:value", "x=0.5:slope", "x=0.5:order 2", "x=0.5:order 3"}),
        (HeatedRod(), [1, 2], {"t=0.5:value"}),
        (ConvectedSine(), [2, 1], {"x=0:value", "x=3.14159:value"}),
        (
            KovasznayFlow(),
            [[0.25], 1],
            {
                f"x=0.25:{k} of {u}"
                for u, k in (("u", "value"), ("u", "slope"), ("v", "value"), ("v", "slope"))
            }
            | {"x=0.25:value of p"},
        ),
    ],
)
def test_what_joins_networks_follows_from_the_equation(
    problem: Problem, subdomains: Any, expected: set[str]
) -> None:
    objective = PhysicsInformed(problem)
    before = set(objective.statements)
    objective.constrain(parts(problem, subdomains))
    assert set(objective.statements) - before == expected
    assert expected <= set(objective.conditions)
    objective.join(MLP(problem.domain.lower, problem.domain.upper))
    assert set(objective.statements) == before


def test_a_jump_is_the_difference_of_both_networks() -> None:
    """Of hard conditions around each of them, too, and of networks at both ends of an axis that wraps."""
    problem = LayeredConduction()
    field = PhysicsInformed(problem).constrain(parts(problem, [2, 1]))
    points = torch.tensor([[0.5, 0.2], [0.5, 0.9]], dtype=torch.float64)
    wanted = [(0, 0), (1, 0), (0, 1)]
    below, above = (
        HardConditions(network, field.lift, field.distance, field.coordinates).derivatives(points, wanted)
        for network in field.network.networks
    )
    found = Jump(field, 2.0, 3.0).derivatives(points, wanted)
    for index in wanted:
        torch.testing.assert_close(found[index], 3.0 * above[index] - 2.0 * below[index])
        assert found[index].abs().min() > 1e-3
    wave = parts(ConvectedSine(), [2, 1])
    ends = [torch.tensor([[x, 0.3]], dtype=torch.float64) for x in (0.0, 2 * math.pi)]
    first, last = (network.at(end) for network, end in zip(wave.networks, ends))
    torch.testing.assert_close(Jump(wave).at(ends[0]), first - last)
    torch.testing.assert_close(wave.at(ends[1]), wave.at(ends[0]))


@pytest.mark.parametrize("problem", [LayeredConduction(), SinePoisson()])
@pytest.mark.parametrize("hard", [False, True])
def test_the_jacobian_is_that_of_automatic_differentiation(problem: Problem, hard: bool) -> None:
    objective = PhysicsInformed(problem, hard=hard)
    field = objective.constrain(parts(problem, [2, 2], (4,)))
    batch = batch_of(objective)
    names = [name for name, _ in field.named_parameters()]

    def residuals(*values: Tensor) -> Tensor:
        class Weighted(torch.nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.field = field

            def forward(self) -> Tensor:
                return objective.weighted(self.field, batch)

        held = {f"field.{name}": value for name, value in zip(names, values)}
        return torch.func.functional_call(Weighted(), held, ())

    values = tuple(p.detach() for p in field.parameters())
    expected = torch.cat([j.flatten(1) for j in torch.autograd.functional.jacobian(residuals, values)], dim=1)
    r, J = objective.linearised(field, {f"field.{name}": v for name, v in zip(names, values)}, batch)
    torch.testing.assert_close(r, objective.weighted(field, batch))
    torch.testing.assert_close(J, expected, rtol=1e-9, atol=1e-10)
    shared = [name for name in objective.statements if name.startswith(("x=", "y="))]
    assert len(shared) == 4


@pytest.mark.parametrize(
    ("problem", "subdomains", "optimizer", "epochs", "error"),
    [
        (SinePoisson(), [2, 2], LevenbergMarquardt, 4, 5e-3),
        (SinePoisson(1), [2], SSBroyden, 2, 1e-4),
        (ConvectedSine(beta=1.0), [2, 2], LevenbergMarquardt, 6, 2e-2),
    ],
)
def test_known_solutions_are_found(
    problem: Any, subdomains: Any, optimizer: Any, epochs: int, error: float
) -> None:
    domain = problem.domain
    task, _ = run(
        PhysicsInformed(problem), optimizer, epochs=epochs, model=parts(problem, subdomains, (10,)).float()
    )
    torch.manual_seed(5)
    low, high = (torch.tensor(ends, dtype=torch.float64) for ends in (domain.lower, domain.upper))
    x = low + (high - low) * torch.rand(300, domain.dim, dtype=torch.float64)
    p = Names("parameter", problem.complete_parameters({}))
    expected = problem.exact(type("At", (), dict(zip(domain.axes, x.T))), p)
    assert (task.model.at(x)[:, 0] - expected).norm() < error * expected.norm()
    middle = (domain.lower[0] + domain.upper[0]) / 2
    assert across(task.model, problem, middle).abs().max() < 3 * error


def test_the_flux_is_what_is_continuous() -> None:
    """A slope that jumps tenfold at the interface, and a flux that does not."""
    problem = LayeredConduction()
    task, _ = run(
        PhysicsInformed(problem), LevenbergMarquardt, epochs=8, model=parts(problem, [2, 1], (10,)).float()
    )
    y = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    points = torch.stack([torch.full_like(y, 0.5), y], dim=1)
    flux = Jump(task.model, 1.0, 10.0).derivatives(points, [(1, 0)])[1, 0][:, 0]
    slope = Jump(task.model).derivatives(points, [(1, 0)])[1, 0][:, 0]
    assert flux.abs().max() < 1e-2
    torch.testing.assert_close(slope, -0.9 * torch.sin(torch.pi * y), rtol=0, atol=1e-2)


def test_hard_conditions_hold_on_all_parts() -> None:
    problem = LayeredConduction()
    field = PhysicsInformed(problem).constrain(parts(problem, [2, 3]))
    y = torch.rand(40, dtype=torch.float64)
    for x, scale in ((0.0, -0.5), (1.0, 0.05)):
        points = torch.stack([torch.full_like(y, x), y], dim=1)
        torch.testing.assert_close(field.at(points)[:, 0], scale * torch.sin(torch.pi * y))


def test_points_of_interfaces_lie_inside() -> None:
    problem = LShapedPoisson()
    domain = problem.domain
    objective = PhysicsInformed(problem)
    objective.join(parts(problem, [[-0.5, 0.5], 1]))
    for name, (axis, place) in objective.interfaces.places.items():
        points = batch_of(objective)["points"][name].numpy()
        assert len(points) >= 5
        assert (points[:, axis] == place).all()
        assert domain.contains(points).all()


@pytest.mark.parametrize("axis", [0, 1])
def test_where_the_boundary_lies_in_an_interface_nothing_is_asked(axis: int) -> None:
    """Of an L that is cut where its corner is: on half of the plane the network beyond lies outside."""
    problem = LShapedPoisson()
    objective = PhysicsInformed(problem)
    objective.join(parts(problem, [2, 2]))
    found = batch_of(objective)["points"]["xy"[axis] + "=0"].numpy()
    beyond = np.zeros(2)
    beyond[axis] = 1e-3
    assert len(found) >= 5
    for side in (found - beyond, found + beyond):
        assert problem.domain.contains(side).all()


def test_interfaces_are_told_apart_far_from_the_origin() -> None:
    class Far(SinePoisson):
        domain = Box(x=(1e6, 1e6 + 4.0))

    problem = Far(1)
    problem.domain = Far.domain
    objective = PhysicsInformed(problem, hard=False)
    objective.join(parts(problem, [4]))
    assert [place for _, place in objective.interfaces.places.values()] == [1e6 + 1, 1e6 + 2, 1e6 + 3]
    assert len(objective.interfaces.statements) == 6


def test_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    state = assert_resumed_is_whole(
        lambda: PhysicsInformed(HeatedRod(), hard=True, balance=NTKWeights(every=3)),
        LevenbergMarquardt,
        tmp_path,
        network=lambda: parts(HeatedRod(), [2, 2]).float(),
    )
    assert state["objective.balance.weights"].shape == (4,)  # inside, two in x, one in t
    assert (state["objective.balance.weights"] != 1).all()


def test_interfaces_in_time_stay_where_they_are() -> None:
    objective = PhysicsInformed(HeatedRod(), time_course=GrowingTime(steps=2, stages=4))
    field = objective.constrain(parts(HeatedRod(), [2, 2]))
    objective.begin_step(field, 0)
    batch = batch_of(objective)["points"]
    placed = objective.placed(batch)
    assert torch.equal(placed["t=0.5"], batch["t=0.5"])
    assert placed["x=0.5"][:, 1].max() <= 0.25 < batch["x=0.5"][:, 1].max()


def test_the_condition_number_knows_of_interfaces() -> None:
    """Of an interface in the middle between ends of which nothing is asked."""

    class Open(SinePoisson):
        conditions = ()

    problem = Open(1)
    problem.conditions = ()
    assert pdeflow.condition_number(problem, parts(problem, [2], (2,))).sides.abs().max() > 1e-3
    assert pdeflow.condition_number(problem, MLP([0.0], [1.0], widths=[4]).double()).sides.abs().max() == 0


def test_a_program_has_the_same_values() -> None:
    field = parts(SinePoisson(), [2, 3])
    points = torch.rand(9, 2, dtype=torch.float64)
    rows = {0: torch.export.Dim("points", min=2)}
    program = torch.export.export(_At(field), (points,), dynamic_shapes=(rows,)).module()
    more = torch.rand(30, 2, dtype=torch.float64)
    torch.testing.assert_close(program(more), field.at(more))


class _At(torch.nn.Module):
    def __init__(self, field: Field) -> None:
        super().__init__()
        self.field = field

    def forward(self, points: Tensor) -> Tensor:
        return self.field.at(points)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (
            lambda: Subdomains([0.0, 0.0], [1.0, 1.0], subdomains=[2]),
            r"model.subdomains: got \[2\], expected 2",
        ),
        (lambda: Subdomains([0.0, 0.0], [1.0, 1.0], subdomains=[1, 1]), "One subdomain is an MLP"),
        (lambda: Subdomains(subdomains=[0]), "model.subdomains: got 0, expected at least 1"),
        (lambda: Subdomains(subdomains=[2.5]), "model.subdomains: got 2.5, expected a whole number of parts"),
        (lambda: LayeredConduction(below=0.0), "problem.below: got 0.0, expected a positive number"),
        (lambda: PhysicsInformed(Jumping()), "got 'DiracDelta.*(?s:.*)Interface where they meet"),
        (lambda: Subdomains(subdomains=[[0.5, 0.2]]), r"model.subdomains: got \[0.5, 0.2\], expected places"),
        (lambda: Subdomains(subdomains=[[2.0]]), "above -1 and below 1"),
        (lambda: Jump(MLP()), "model: got 'MLP', expected Subdomains"),
        (
            lambda: PhysicsInformed(LayeredConduction()).constrain(MLP([0.0] * 2, [1.0] * 2)),
            "model: got 'a field that is not cut at x = 0.5', expected one that is: layered_conduction",
        ),
        (lambda: _stated(Interface("z", 0.5)), "Interface.axis: got 'z'"),
        (
            lambda: _stated(Interface("x", 1.5)),
            "Interface.place: got 1.5, expected a number above 0 and below 1",
        ),
        (lambda: _stated(Interface("x", 0.5, below=0.0)), "Interface.below: got 0.0, expected a positive"),
        (lambda: SinePoisson().domain.across(0, 2.0, 9, lambda n, d: np.zeros((n, d))), "place: got 'x = 2'"),
        (lambda: _points_of_cut(Islands(), [2, 1]), "model.subdomains: got 'x = 1.5', expected a plane that"),
        (
            lambda: LayeredConduction().discretise(LayeredConduction().grid(9), {}),
            "(?s)conditions: got 'Interface, u continuous and 1 du-/dx = 10 du.*PhysicsInformed",
        ),
    ],
)
def test_what_is_wrong_is_named(make: Any, word: str) -> None:
    with pytest.raises(InvalidInput, match=word):
        make()


def test_parts_are_stored_as_numbers_that_files_know() -> None:
    field = Subdomains([0.0] * 2, [1.0] * 2, subdomains=[np.int64(2), np.array([0.25]).tolist()])
    assert field.settings["subdomains"] == [2, [0.25]]
    assert type(field.settings["subdomains"][0]) is int


def _points_of_cut(problem: Problem, subdomains: Any) -> Any:
    objective = PhysicsInformed(problem, hard=False)
    objective.constrain(parts(problem, subdomains))
    return batch_of(objective)


def _stated(interface: Interface) -> Any:
    problem = LayeredConduction()
    problem.conditions = (*problem.conditions, interface)
    return PhysicsInformed(problem).constrain(parts(problem, [2, 1]))


def test_statements_tell_interfaces_apart() -> None:
    one, other = (LayeredConduction(above=10.0).statement(), LayeredConduction(above=11.0).statement())
    assert one["conditions"][3] == [[], "interface", "x", 0.5, 1.0, 10.0]
    assert other["conditions"][3] != one["conditions"][3]
    assert (
        "u continuous and 1 du-/dx = 10 du+/dx on x = 0.5" in LayeredConduction().describe()["conditions"][3]
    )
