"""Data that the operator is not made for: of another equation, another grid, on meshes, along fewer axes."""

from __future__ import annotations

import numpy as np
import pytest

import pdeflow as package
from pdeflow.data import MeshData, MeshReader, Normalisation, WellWriter, write_meshes
from pdeflow.grid import Grid
from pdeflow.operators import FNO, GNO

HEAT, DARCY = r"\frac{\partial}{\partial t} u = k \Delta u", r"- \Delta u = f"


def write(path, equation: str | None, dim: int = 2) -> None:
    """40 samples on 17 nodes an axis."""
    a = np.random.default_rng(0).uniform(1.0, 2.0, (40, *(17,) * dim))
    with WellWriter(
        path,
        name=path.stem,
        grid=Grid(tuple("xy"[:dim]), (0.0,) * dim, (1.0,) * dim, (17,) * dim),
        n=40,
        fields={"u": 0},
        constant_fields={"a" if dim == 2 else "b": 0},
        times=(0.0, 1.0),
        attributes={"steady": True} | ({"equation": equation} if equation else {}),
    ) as writer:
        writer.write(0, {"a" if dim == 2 else "b": a, "u": np.stack([0 * a, a], axis=1)})


def warning(name: str) -> str:
    return f"{name} holds another equation than the training data did: d/dt u = k Delta u, not - Delta u = f."


def test_data_of_another_equation_are_told_of(pdeflow, tmp_path, tiny):
    for name, equation in (("mine", DARCY), ("other", HEAT), ("silent", None)):
        write(tmp_path / f"{name}.h5", equation)
    options = ("--data.path=mine.h5", *tiny, "--trainer.max_epochs=1")
    assert pdeflow("fit", "-c", "darcy_fno", *options).code == 0
    assert package.load("runs/darcy_fno").equation == DARCY
    assert "- data of - Delta u = f" in (tmp_path / "runs/darcy_fno/surrogate/README.md").read_text()
    for name, told in (("mine", False), ("other", True), ("silent", False)):
        result = pdeflow("predict", "darcy_fno", f"{name}.h5", "-o", f"of_{name}.h5")
        assert result.code == 0, result.err
        lines = [line for line in result.err.splitlines() if line.startswith("Warning: ")]
        assert len(lines) == told
        assert (warning("other.h5") in result.err) is told


def test_meshes_of_another_equation_are_told_of(pdeflow, write_squares, tmp_path):
    read = MeshReader(write_squares(tmp_path / "squares.h5", [9, 10, 9, 10]))
    values = {name: np.concatenate([read.read(name, row) for row in range(4)]) for name in ("u", "a")}
    for name, equation in (("mine", DARCY), ("other", HEAT)):
        write_meshes(
            tmp_path / f"{name}.h5",
            name=name,
            meshes=[read.mesh(row) for row in range(4)],
            fields={"u": values["u"]},
            constant_fields={"a": values["a"]},
            attributes={"equation": equation},
        )
    equation = MeshData("mine.h5", ["a"], ["u"]).equation
    assert equation == DARCY
    assert MeshData("squares.h5", ["a"], ["u"]).equation is None
    model = GNO(radius=0.4, width=4, kernel_width=4, layers=1, in_channels=1)
    package.save(model, "kept", Normalisation(("a",), ("u",), *[(1.0,)] * 4), equation=equation)
    for name in ("mine", "other"):
        result = pdeflow("predict", "kept", f"{name}.h5", "-o", f"of_{name}.h5")
        assert result.code == 0, result.err
        assert (warning("other.h5") in result.err) is (name == "other")


@pytest.mark.parametrize("name", ["darcy_mgno", "darcy_local_no"])
def test_a_mesh_that_is_not_the_grid_of_training(pdeflow, darcy_file, name):
    fit = ("fit", "-c", name, f"--data.path={darcy_file}", "--data.resolution=17", "--model.width=4")
    fit += ("--data.test_resolutions=[17]", "--trainer.fast_dev_run=true")
    fit += ("--model.levels=4",) if name == "darcy_mgno" else ("--model.modes=[8,8]",)
    result = pdeflow(*fit)
    assert result.code == 0, result.err
    assert "model.init_args.mesh is [33, 33], but the grid of the training data is [17, 17]" in result.err
    assert "--model.init_args.mesh=[17,17]" in result.err
    result = pdeflow(*fit, "--model.init_args.mesh=[17,17]")
    assert result.code == 0, result.err
    assert "mesh" not in result.err


def test_meshes_for_what_is_on_grids(pdeflow, write_squares, tmp_path, tiny):
    write_squares(tmp_path / "squares.h5", [9, 10])
    result = pdeflow("fit", "-c", "darcy_fno", "--data.path=squares.h5", *tiny)
    assert (result.code, result.is_short) == (1, True)
    for word in ("`data: MeshData`", "GNO", "configs/polygon_diffusion_gno.yaml"):
        assert word in result.err
    package.save(FNO([4, 4], width=4, layers=1), "kept", Normalisation(("a",), ("u",), *[(1.0,)] * 4))
    result = pdeflow("predict", "kept", "squares.h5", "-o", "out.h5")
    assert (result.code, result.is_short) == (2, True)
    assert "this run is of grids" in result.err
    assert "a run on MeshData" in result.err


def test_grids_for_what_is_on_meshes(pdeflow, darcy_file):
    result = pdeflow("fit", "-c", "polygon_diffusion_gno", f"--data.path={darcy_file}")
    assert (result.code, result.is_short) == (1, True)
    assert "`data: GridData`" in result.err


def test_axes_and_names_are_looked_at_before_the_resolution(pdeflow, tmp_path, tiny):
    write(tmp_path / "line.h5", None, dim=1)
    result = pdeflow("fit", "-c", "darcy_fno", "--data.path=line.h5", *tiny, "--data.resolution=33")
    assert (result.code, result.is_short) == (2, True)
    told = "model.init_args.modes: got [8, 8], expected a model of 1 axis, as many as the data have (line.h5)"
    assert told in result.err
    assert "Give data with other axes, or modes with 1 number" in result.err
    result = pdeflow(
        "fit", "-c", "darcy_fno", "--data.path=line.h5", *tiny, "--data.resolution=33", "--model.modes=[8]"
    )
    assert (result.code, result.is_short) == (2, True)
    assert "inputs: got 'a'" in result.err
    assert "resolution" not in result.err
