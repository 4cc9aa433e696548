"""What operators are told of the ends of axes agrees with the grid of the data, or is refused."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from toy import toy_trainer

from pdeflow import operators, problems
from pdeflow.data import GridData, SparseTrajectoryData, WellWriter
from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.operators import FNO, GNO, LNO, DeepONet, MeanVariance, MgNO, Operator, UNet
from pdeflow.operators.periodicity import check_file_periodicity, check_periodicity
from pdeflow.training import TrainingTask

ROOT = Path(__file__).parents[2]
AROUND, ENDS, CHANNEL = ({"x": a, "y": b} for a, b in ((True, True), (False, False), (True, False)))


def fno(positions: Any, **settings: Any) -> FNO:
    return FNO(modes=[4, 4], width=2, layers=1, positions=positions, **settings)


def mgno(boundary: Any) -> MgNO:
    return MgNO(mesh=[8, 8], width=2, layers=1, levels=2, boundary=boundary)


@pytest.mark.parametrize(
    ("model", "wraps", "said"),
    [
        (fno("bounded"), AROUND, "(?s)positions: got 'bounded'.*x and y wrap around.*Set .* to periodic"),
        (fno("periodic"), ENDS, "(?s)positions: got 'periodic'.*x and y end at sides.*Set .* to bounded"),
        (MeanVariance(fno("bounded", out_channels=2)), AROUND, "model.positions"),
        (LNO(dim=2, width=2, layers=1), AROUND, "model.positions"),
        (DeepONet(sensors=[8], width=2, layers=1), {"x": True}, "x wraps around.\nSet model.positions"),
        (UNet(dim=2, width=2, depth=1), AROUND, "Set model.periodic to true"),
        (UNet(dim=2, width=2, depth=1, periodic=True), ENDS, "Set model.periodic to false"),
        (mgno("neumann"), AROUND, "Set model.boundary to periodic"),
        (mgno("periodic"), ENDS, r"Set model.boundary to \[dirichlet or neumann, dirichlet or neumann\]"),
        (
            mgno("dirichlet"),
            CHANNEL,
            r"(?s)x wraps around, and y ends at sides.*\[periodic, dirichlet or neu",
        ),
        (mgno(["neumann", "periodic"]), CHANNEL, "model.boundary"),
    ],
)
def test_a_contradiction_is_refused_with_what_to_set(
    model: Operator, wraps: dict[str, bool | None], said: str
) -> None:
    with pytest.raises(InvalidInput, match=said):
        check_periodicity(model, wraps)


@pytest.mark.parametrize(
    ("model", "wraps"),
    [
        (fno("periodic"), AROUND),
        (fno("bounded"), ENDS),
        (fno(None), AROUND),
        (fno(None), ENDS),
        # One value stands for both axes: neither is wrong of both.
        (fno("bounded"), CHANNEL),
        (fno("periodic"), CHANNEL),
        # Not known of one axis, or of both.
        (fno("periodic"), {"x": False, "y": None}),
        (fno("periodic"), {"x": None, "y": None}),
        (mgno("periodic"), {"x": None, "y": None}),
        (mgno(["periodic", "dirichlet"]), CHANNEL),
        (UNet(dim=2, width=2, depth=1, periodic=True), AROUND),
    ],
)
def test_what_agrees_or_says_nothing_is_taken(model: Operator, wraps: dict[str, bool | None]) -> None:
    check_periodicity(model, wraps)


@pytest.mark.parametrize(
    ("model", "wraps", "said"),
    [
        (
            fno("bounded"),
            AROUND,
            "d.h5: got 'axes of which x and y wrap around', expected what the operator is trained for "
            "(model.positions is 'bounded'): x and y end at sides.\n"
            "Give data whose axes are so, or train on such data with model.positions: periodic.",
        ),
        (
            UNet(dim=2, width=2, depth=1, periodic=True),
            ENDS,
            "(model.periodic is True): x and y wrap around.",
        ),
        (
            mgno(["neumann", "periodic"]),
            CHANNEL,
            "(model.boundary is ['neumann', 'periodic']): y wraps around,",
        ),
    ],
)
def test_a_file_that_contradicts_a_trained_model_is_named(
    model: Operator, wraps: dict[str, bool | None], said: str
) -> None:
    with pytest.raises(InvalidInput, match=re.escape(said)):
        check_file_periodicity(model, wraps, Path("d.h5"))


def test_a_file_that_says_nothing_is_taken() -> None:
    for wraps in ({}, {"x": None, "y": None}, ENDS):
        check_file_periodicity(fno("bounded"), wraps, Path("d.h5"))


def written(path: Path, periodic: tuple[bool, bool], boundary: dict[str, str], times: int = 2) -> str:
    """Eight samples of functions on 8 x 8 nodes."""
    grid = Grid(("x", "y"), (0.0, 0.0), (1.0, 1.0), (8, 8), periodic)
    rng = np.random.default_rng(0)
    with WellWriter(
        path,
        name="made",
        grid=grid,
        n=8,
        fields={"u": 0},
        constant_fields={"a": 0},
        times=np.arange(float(times)),
        boundary=boundary,
    ) as writer:
        values = rng.uniform(1.0, 2.0, (8, times, 8, 8))
        writer.write(0, {"u": values, "a": values[:, 0]})
    return str(path)


def test_what_files_say_of_the_ends(tmp_path: Path) -> None:
    walls = {side: "WALL" for side in ("y-", "y+")}
    for name, periodic, boundary, known in (
        ("around", (True, True), {}, AROUND),
        ("channel", (True, False), walls, CHANNEL),
        ("unknown", (True, False), {}, {"x": True, "y": None}),
        ("silent", (False, False), {}, {"x": None, "y": None}),
    ):
        data = GridData(written(tmp_path / f"{name}.h5", periodic, boundary), ["a"], ["u"], batch_size=2)
        assert data.wraps == known


def test_training_is_refused_and_a_test_is_not(tmp_path: Path) -> None:
    """A model that is trained already is as good as it is."""
    data = GridData(written(tmp_path / "around.h5", (True, True), {}), ["a"], ["u"], batch_size=2)
    task = TrainingTask(fno("bounded"), normalisation=data.normalisation)
    with pytest.raises(InvalidInput, match=r"Set model\.positions to periodic"):
        toy_trainer(tmp_path, callbacks=[]).fit(task, datamodule=data)
    toy_trainer(tmp_path, callbacks=[]).test(task, datamodule=data, verbose=False)


def test_operators_on_nodes_are_told_nothing_of_ends(tmp_path: Path) -> None:
    path = written(tmp_path / "around.h5", (True, True), {}, times=3)
    data = SparseTrajectoryData(path, ["u"], nodes=20)
    check_periodicity(GNO(0.5), data.wraps)


GENERATED = re.compile(r"pdeflow generate -c (datasets/\S+\.yaml)")
CONFIGS = {
    path.stem: (path, found.group(1))
    for path in sorted((ROOT / "configs").glob("*.yaml"))
    if (found := GENERATED.search(path.read_text())) and "polygon" not in found.group(1)
}


@pytest.mark.parametrize("name", CONFIGS)
def test_shipped_configs_agree_with_what_their_data_are_generated_from(name: str) -> None:
    path, recipe = CONFIGS[name]
    chosen = yaml.safe_load(path.read_text())["model"]
    stated = yaml.safe_load((ROOT / recipe).read_text())["problem"]
    assert "periodic" not in stated["init_args"]  # which would change the domain that is looked at here
    domain = getattr(problems, stated["class_path"])().domain
    model = getattr(operators, chosen["class_path"])(**chosen["init_args"])
    if not isinstance(model, operators.GraphOperator):
        assert model.dim == len(domain.axes)
    check_periodicity(model, dict(zip(domain.axes, domain.periodic)))
