"""Points on a grid in a box: their axes come along, and fields evaluate them by these."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from pdeflow.fields import MLP, Field, Gaussians, Separable
from pdeflow.fields.field import product_points
from pdeflow.problems import (
    ConvectedSine,
    HeatedRod,
    KleinGordon,
    LShapedPoisson,
    Problem,
    SineHelmholtz,
)
from pdeflow.training import Collocation, PhysicsInformed


def batch_of(problem: Problem, **settings: Any) -> dict[str, Any]:
    data = Collocation(problem, **({"inside": 60, "on_sides": 16, "sampler": "grid"} | settings))
    return next(iter(data.train_dataloader()))


@pytest.mark.parametrize("problem", [HeatedRod(), ConvectedSine(), KleinGordon()], ids=lambda p: p.name)
def test_points_are_the_product_of_their_axes(problem: Problem) -> None:
    batch = batch_of(problem)
    assert set(batch["axes"]) == {"inside", *problem.domain.sides}
    for name, axes in batch["axes"].items():
        torch.testing.assert_close(product_points(axes), batch["points"][name], rtol=0, atol=0)
        assert sum(len(axis) == 1 for axis in axes) == (name != "inside")


@pytest.mark.parametrize(
    ("problem", "sampler"), [(SineHelmholtz(), "sobol"), (LShapedPoisson(), "grid")], ids=["sobol", "no box"]
)
def test_other_points_have_no_axes(problem: Problem, sampler: str) -> None:
    assert set(batch_of(problem, sampler=sampler)) == {"points"}


@pytest.mark.parametrize("problem", [SineHelmholtz(), KleinGordon()], ids=lambda p: p.name)
@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize("kind", [MLP, Gaussians, Separable])
def test_residuals_and_their_slopes_are_those_at_the_points(
    kind: type[Field], hard: bool, problem: Problem
) -> None:
    torch.manual_seed(0)
    objective, batch = PhysicsInformed(problem, hard=hard).double(), batch_of(problem)
    domain = problem.domain
    field = objective.constrain(kind(lower=domain.lower, upper=domain.upper).double())
    parameters = {f"field.{name}": p for name, p in field.named_parameters()}
    scattered = {"points": batch["points"]}
    found, expected = (objective.linearised(field, parameters, b) for b in (batch, scattered))
    for a, b in zip(found, expected):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9 * float(b.abs().max()))
    r = objective.weighted(field, batch)
    torch.testing.assert_close(r, objective.weighted(field, scattered), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(r, found[0], rtol=1e-9, atol=1e-9)
    slopes = torch.autograd.grad(r.square().sum(), list(parameters.values()))
    flat = torch.cat([slope.flatten() for slope in slopes])
    by_rows = 2 * found[1].T @ found[0]
    torch.testing.assert_close(flat, by_rows, rtol=1e-8, atol=1e-9 * float(flat.abs().max()))


def test_nodes_are_not_evaluated_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the form that meets conditions too."""
    sizes: list[int] = []
    derivatives = MLP.derivatives

    def counted(self: MLP, points: Tensor, wanted: Any) -> Any:
        sizes.append(len(points))
        return derivatives(self, points, wanted)

    monkeypatch.setattr(MLP, "derivatives", counted)
    problem = SineHelmholtz()
    objective = PhysicsInformed(problem).double()
    field = objective.constrain(Separable([-1.0, -1.0], [1.0, 1.0]).double())
    assert objective.weighted(field, batch_of(problem, inside=400)).shape == (400,)
    assert sizes == [20, 20]
