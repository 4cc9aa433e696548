"""One field for a range of a parameter: it is asked what each member is, and is its solution."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import torch
from statement_run import Decay
from torch import Tensor

import pdeflow
from pdeflow.errors import InvalidInput
from pdeflow.fields import MLP, Field, FourierFeatures, Lagrangian, Separable, TimeWindows
from pdeflow.problems import (
    Box,
    Burgers,
    ComplexHelmholtz,
    Constant,
    D,
    Dirichlet,
    HeatedRod,
    Neumann,
    ObservedBurgers,
    Parameter,
    ParametricFamily,
    PoissonWithHoles,
    PolygonDiffusion,
    Problem,
    Robin,
    Uniform,
)
from pdeflow.report import write_report
from pdeflow.report.page import _overview
from pdeflow.report.run_folder import read_run
from pdeflow.training import (
    Collocation,
    EnergyNaturalGradient,
    LevenbergMarquardt,
    PhysicsInformed,
    SSBroyden,
    TimeMarching,
    TrainingTask,
)
from pdeflow.training.callbacks import FieldResults, default_callbacks
from pdeflow.training.condition_number import condition_number


class CooledPlate(Problem):
    """(k u_x)_x + k u_yy = b x, which cools by h through x+, where h b k flows in; 1 on x-."""

    domain = Box(x=(0.0, 1.0), y=(0.0, 2.0))
    conditions = (
        Dirichlet(1.0, on="x-"),
        Robin(lambda at, p: p.h * at.y, lambda at, p: p.h * p.b * p.k, on="x+"),
        Neumann(lambda at, p: p.k, on=("y-", "y+")),
    )
    k = Parameter(Uniform(1.0, 4.0), positive=True)

    def __init__(self, h: float = 0.5, b: float = 3.0) -> None:
        self.h, self.b = Parameter(Constant(h)), Parameter(Constant(b))

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        return D(p.k * D(u, "x"), "x") + p.k * D(u, "y", 2) - p.b * at.x


class Member(Field):
    """A field of a family at one value of each parameter."""

    def __init__(self, whole: Field, values: Sequence[float]) -> None:
        dim = whole.dim - len(values)
        super().__init__({}, lower=whole.lower[:dim], upper=whole.upper[:dim])
        self.whole, self.values = whole, tuple(values)

    def derivatives(self, points: Tensor, wanted: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], Tensor]:
        none = (0,) * len(self.values)
        found = self.whole.derivatives(lifted(points, self.values), [(*index, *none) for index in wanted])
        return {index: found[(*index, *none)] for index in wanted}


def lifted(points: Tensor, values: Sequence[float]) -> Tensor:
    """Points of a member as those of the family."""
    return torch.cat([points, points.new_tensor(values).expand(len(points), -1)], dim=1)


def rod(low: float = 0.1, high: float = 1.0) -> ParametricFamily:
    return ParametricFamily(HeatedRod(), {"a": (low, high)})


@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize("value", [0.15, 0.4, 0.9])
def test_a_family_asks_of_a_member_what_its_own_statement_asks(hard: bool, value: float) -> None:
    torch.manual_seed(0)
    network = MLP([0.0, 0.0, 0.1], [1.0, 1.0, 1.0], widths=(7,)).double()
    of_family, of_member = PhysicsInformed(rod(), hard=hard), PhysicsInformed(HeatedRod(value), hard=hard)
    # The form of the family's field at the value is that of the member's.
    field = of_family.constrain(network)
    member = of_member.constrain(Member(network, [value]))
    points = Collocation(HeatedRod(), inside=20, on_sides=6).points(0, 20)
    asked = of_family.piecewise(field, {name: lifted(some, [value]) for name, some in points.items()})
    expected = of_member.piecewise(member, points)
    assert (
        set(asked)
        == set(expected)
        == ({"inside"} if hard else {"inside", "x-:value", "x+:value", "t-:value"})
    )
    torch.testing.assert_close(asked, expected, rtol=1e-12, atol=1e-12)
    assert float(expected["inside"].detach().norm()) > 0.01


def test_conditions_read_the_parameters_of_the_point() -> None:
    torch.manual_seed(0)
    family = ParametricFamily(CooledPlate(b=3.0), {"h": (0.0, 2.0), "k": (1.0, 4.0)})
    assert family.coordinates == ("x", "y", "h", "k")
    assert family.domain.sides == ("x-", "x+", "y-", "y+")
    network = MLP(family.domain.lower, family.domain.upper, widths=(7,)).double()
    points = Collocation(CooledPlate(), inside=20, on_sides=6).points(0, 20)
    for h, k in ((0.0, 1.0), (0.7, 2.5), (2.0, 4.0)):
        plain = ParametersFixed(CooledPlate(h, b=3.0), k)
        expected = PhysicsInformed(plain, hard=False).piecewise(Member(network, [h, k]), points)
        at_points = {name: lifted(some, [h, k]) for name, some in points.items()}
        asked = PhysicsInformed(family, hard=False).piecewise(network, at_points)
        assert set(asked) == {"inside", "x-:value", "x+:slope", "y-:slope", "y+:slope"}
        torch.testing.assert_close(asked, expected, rtol=1e-12, atol=1e-12)
    # And so does automatic differentiation.
    values = torch.tensor([0.7, 2.5]).double()
    inside = lifted(points["inside"], values.tolist())
    found = family.residual_at_points(lambda x: network.at(x)[:, 0], inside, {})
    asked = PhysicsInformed(family).residual(network, inside)[:, 0]
    torch.testing.assert_close(found, asked, rtol=1e-10, atol=1e-10)


class ParametersFixed(CooledPlate):
    """A cooled plate with a number for k."""

    def __init__(self, plate: CooledPlate, k: float) -> None:
        self.h, self.b, self.k = plate.h, plate.b, Parameter(Constant(k), positive=True)


@pytest.mark.parametrize("sampler", ["sobol", "halton", "lhs", "uniform", "grid"])
def test_points_are_spread_over_the_range(sampler: Any) -> None:
    data = Collocation(rod(), inside=512, on_sides=64, sampler=sampler)
    points = next(iter(data.train_dataloader()))["points"]
    assert set(points) == {"inside", "x-", "x+", "t-", "t+"}
    for name, some in points.items():
        values = some[:, 2]
        assert 0.1 < float(values.min()) < 0.25
        assert 0.85 < float(values.max()) < 1.0
        assert float(values.mean()) == pytest.approx(0.55, abs=0.03 if name == "inside" else 0.12)
    assert float(points["t-"][:, 1].abs().max()) == 0.0


def test_grids_are_products_of_axes_and_ranges() -> None:
    objective, data = PhysicsInformed(rod()), Collocation(rod(), inside=60, on_sides=9, sampler="grid")
    torch.manual_seed(0)
    field = objective.constrain(Separable(**data.model_arguments, widths=(5,), rank=3).double())
    batch = next(iter(data.train_dataloader()))
    assert [len(axis) for axis in batch["axes"]["inside"]] == [4, 4, 4]
    by_axes = objective.piecewise(field, batch["points"], batch["axes"])
    torch.testing.assert_close(by_axes, objective.piecewise(field, batch["points"]), rtol=1e-10, atol=1e-12)


def fitted(
    problem: Problem, optimizer: Any, folder: Path | None = None, epochs: int = 8, **settings: Any
) -> tuple[TrainingTask, lightning.Trainer, Collocation]:
    torch.manual_seed(0)
    data = Collocation(problem, inside=250, held_back=200, test_resolutions=(21,), **settings)
    task = TrainingTask(MLP(**data.model_arguments, widths=(10, 10)), PhysicsInformed(problem), optimizer)
    trainer = lightning.Trainer(
        max_epochs=epochs, precision="64-true", accelerator="cpu", logger=False, default_root_dir=folder,
        callbacks=default_callbacks(folder) if folder else [], enable_checkpointing=folder is not None,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(task, datamodule=data)
    return task, trainer, data


def error_at(task: TrainingTask, value: float) -> float:
    """Relative L2 against the solution, written out here."""
    x, t = torch.meshgrid(*[torch.linspace(0.0, 1.0, 41).double()] * 2, indexing="ij")
    exact = torch.exp(-value * math.pi**2 * t) * torch.sin(math.pi * x)
    points = torch.stack([x, t, torch.full_like(x, value)], dim=-1).reshape(-1, 3)
    with torch.no_grad():
        found = task.model.at(points).reshape(x.shape)
    return float((found - exact).norm() / exact.norm())


@pytest.mark.parametrize(
    ("optimizer", "epochs"), [(LevenbergMarquardt, 10), (EnergyNaturalGradient, 10), (SSBroyden, 8)]
)
def test_every_member_is_solved(optimizer: Any, epochs: int) -> None:
    task, trainer, _ = fitted(rod(0.2, 0.6), optimizer, epochs=epochs)
    found = [error_at(task, value) for value in (0.2, 0.37, 0.6)]
    assert max(found) < 1e-2
    assert float(trainer.callback_metrics["valid/l2"]) < 1e-2


def test_a_run_of_a_family_is_tested_and_used_over_its_range(tmp_path: Path) -> None:
    task, _, data = fitted(rod(0.2, 0.6), LevenbergMarquardt, tmp_path, epochs=3)
    lightning.Trainer(
        accelerator="cpu", precision="64-true", logger=False, callbacks=[FieldResults(tmp_path)],
        enable_progress_bar=False,
    ).test(task, datamodule=data, verbose=False)  # fmt: skip
    table = json.loads((tmp_path / "test" / "metrics.json").read_text())
    assert list(table) == ["points", "21x21-lowest", "21x21-middle", "21x21-highest"]
    for where, value in (("lowest", 0.2), ("middle", 0.4), ("highest", 0.6)):
        stored = np.load(tmp_path / "test" / f"21x21-{where}.npz")
        x, t = np.meshgrid(np.linspace(0, 1, 21), np.linspace(0, 1, 21), indexing="ij")
        exact = np.exp(-value * np.pi**2 * t) * np.sin(np.pi * x)
        np.testing.assert_allclose(stored["target"][0, 0], exact, atol=1e-6)
        assert stored["axes"].tolist() == ["x", "t"]
        assert stored["rank"].tolist() == [f"solution for a = {value:g}"]
        np.testing.assert_allclose(stored["residual"].shape, (1, 1, 21, 21))
    points = data.test_dataloader()[0].batches[0]["points"]["inside"].numpy()
    exact = np.exp(-points[:, 2] * np.pi**2 * points[:, 1]) * np.sin(np.pi * points[:, 0])
    surrogate = pdeflow.load(tmp_path)
    assert surrogate.input_names == ("x", "t", "a")
    found = surrogate(points)
    error = np.linalg.norm(found - exact) / np.linalg.norm(exact)
    assert error == pytest.approx(table["points"]["l2"], rel=1e-4)
    assert error < 0.1
    with pytest.raises(InvalidInput, match=r"points: got 'a = 0\.7', expected a from 0\.2 to 0\.6"):
        surrogate(np.array([[0.5, 0.5, 0.7]]))
    told = json.loads((tmp_path / "test" / "statement.json").read_text())
    assert told["parameters"] == {"a": "all from 0.2 to 0.6"}
    (tmp_path / "config.yaml").write_text("objective: {class_path: PhysicsInformed}\n")
    page = write_report(tmp_path).read_text()
    shown = _overview(read_run(tmp_path))
    assert shown is not None
    assert shown.ranks == tuple(f"solution for a = {value}" for value in (0.2, 0.4, 0.6))
    assert all(f"Solution for a = {value}" in page for value in (0.2, 0.4, 0.6))
    for k, where in enumerate(("lowest", "middle", "highest")):
        stored = np.load(tmp_path / "test" / f"21x21-{where}.npz")
        for name in ("target", "prediction", "residual"):
            np.testing.assert_array_equal(getattr(shown, name)[k], stored[name][0])


def test_a_problem_in_one_dimension_has_members_to_look_at() -> None:
    data = Collocation(ParametricFamily(Decay(), {"k": (1.0, 3.0)}), test_resolutions=(9, 17))
    assert data.test_names[1:4] == ["9-lowest", "9-middle", "9-highest"]
    middle = data.test_dataloader()[2].batches[0]["input"]
    assert middle.shape == (1, 2, 9)
    assert middle[0, 1].tolist() == [2.0] * 9
    assert "target" not in data.test_dataloader()[2].batches[0]


def test_condition_and_preconditioner_of_a_family() -> None:
    family = rod()
    torch.manual_seed(0)
    field = FourierFeatures(
        list(family.domain.lower),
        list(family.domain.upper),
        periodic=list(family.domain.periodic),
        modes=[2, 2, 1],
    ).double()
    known = condition_number(family, field)
    assert bool((known.eigenvalues > -1e-9 * known.eigenvalues[-1]).all())
    PhysicsInformed(family, hard=False, precondition=True).constrain(field)
    assert condition_number(family, field).kappa < known.kappa


@pytest.mark.parametrize(
    ("statement", "ranges", "told"),
    [
        (HeatedRod(), {"b": (0.1, 1.0)}, "problem.ranges: got 'b', expected a parameter of heated_rod"),
        (HeatedRod(), {"a": (1.0, 0.1)}, r"problem.ranges.a: got \[1.0, 0.1\], expected a lower end"),
        (HeatedRod(), {"a": (0.5, 0.5)}, r"problem.ranges.a: got \[0.5, 0.5\], expected a lower end"),
        (HeatedRod(), {"a": (0.5, math.inf)}, "problem.ranges.a(?s:.*)finite"),
        (HeatedRod(), {"a": (math.nan, 0.5)}, "problem.ranges.a(?s:.*)finite"),
        (HeatedRod(), {"a": (0.0, 0.5)}, "problem.ranges.a(?s:.*)above 0"),
        (HeatedRod(), {}, "problem.ranges: got {}, expected at least one"),
        (rod(), {"a": (0.1, 0.5)}, "problem.statement: got 'ParametricFamily'(?s:.*)all ranges at once"),
        (ObservedBurgers(), {"nu": (0.1, 0.5)}, "problem.statement(?s:.*)Observed"),
        (Burgers(), {"nu": (0.1, 0.5)}, "problem.statement: got 'Burgers'"),
        (PolygonDiffusion(), {"a": (0.1, 0.5)}, "problem.statement: got 'PolygonDiffusion'"),
        (ComplexHelmholtz(), {"k": (0.1, 0.5)}, "problem.statement(?s:.*)real unknown"),
        (PoissonWithHoles(), {"f": (0.1, 0.5)}, "problem.statement(?s:.*)expected an equation on a Box"),
    ],
)
def test_what_is_wrong_with_a_family_is_named(
    statement: Problem, ranges: Mapping[str, Any], told: str
) -> None:
    with pytest.raises(InvalidInput, match=told):
        ParametricFamily(statement, ranges)


def test_a_parameter_has_a_name_of_its_own() -> None:
    class Named(Problem):
        domain = Box(x=(0.0, 1.0))
        conditions = (Dirichlet(1.0, on="x-"),)

        def __init__(self) -> None:
            self.x = Parameter(Constant(1.0))

        def residual(self, u: Any, at: Any, p: Any) -> Any:
            return D(u, "x") + p.x * u

    with pytest.raises(InvalidInput, match=r"problem.ranges: got 'x'(?s:.*)coordinate or an unknown"):
        ParametricFamily(Named(), {"x": (1.0, 2.0)})


def test_what_a_family_cannot_be_used_for_is_named() -> None:
    family = rod()
    with pytest.raises(InvalidInput, match=r"objective.unknown: got 'a'(?s:.*)coordinate of the family"):
        PhysicsInformed(family, unknown={"a": 0.3})
    with pytest.raises(InvalidInput, match="problem: got 'ParametricFamily of heated_rod'"):
        family.residual_on_grid(torch.zeros(1, 5, 5), family.grid(5), {})
    box = {"lower": list(family.domain.lower), "upper": list(family.domain.upper)}
    with pytest.raises(InvalidInput, match="got 'x, t, a', expected t as the last"):
        PhysicsInformed(family).constrain(Lagrangian(**box))
    with pytest.raises(InvalidInput, match="which has the coordinates x, t, a"):
        PhysicsInformed(family, time_course=TimeMarching(10)).constrain(TimeWindows(**box))


def test_other_parameters_may_be_unknown() -> None:
    family = ParametricFamily(CooledPlate(), {"h": (0.0, 2.0)})
    objective = PhysicsInformed(family, unknown={"k": 2.0})
    assert set(objective.found()) == {"k"}
    with pytest.raises(InvalidInput, match="parameter 'k' of cooledplate"):
        PhysicsInformed(family)
