"""Files of every family that is shipped open in the readers they are meant for.

On grids that is The Well's own; samples on meshes open as torch-geometric graphs.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from the_well.data import WellDataset
from torch_geometric.data import Data

from pdeflow.cli.generate import parse_recipe
from pdeflow.data import MeshGraphs, MeshReader, WellReader
from pdeflow.errors import InvalidInput
from pdeflow.generate import Recipe, generate
from pdeflow.generate.chain import Outputs
from pdeflow.problems import HeatConduction, HyperbolicSystem, ImpedanceHelmholtz, MeshProblem

DATASETS = Path(__file__).parents[2] / "datasets"
RECIPES = sorted(DATASETS.glob("*/recipe*.yaml"))
MESHES = [path for path in RECIPES if path.parent.name.startswith("polygon_")]
GRIDS = [path for path in RECIPES if path not in MESHES]
KINDS = {"wall": 0, "open": 1, "periodic": 2}


def name(path: Path) -> str:
    return f"{path.parent.name}{path.stem.removeprefix('recipe')}"


def smallest(path: Path) -> Recipe:
    """Two samples at the least resolution that is allowed, of equations in time the start alone."""
    recipe = parse_recipe(["-c", str(path)])
    stop = None if recipe.stop is None else recipe.stop / 200
    short = {"samples": 2, "stop": stop, "instants": 2 if stop is None else 4}
    for resolution in range(8, 200):
        try:
            return dataclasses.replace(recipe, resolution=resolution, **short)
        except InvalidInput as refused:
            if refused.name != "resolution":
                raise
    raise AssertionError("no resolution below 200 is allowed")


def test_every_family_has_a_recipe_and_a_card() -> None:
    assert len(GRIDS) >= 20
    assert len(MESHES) >= 2
    for folder in DATASETS.iterdir():
        assert (folder / "recipe.yaml").is_file()
        assert (folder / "card.md").is_file()


@pytest.mark.parametrize("path", GRIDS, ids=name)
def test_a_grid_family_opens_in_the_well(path: Path, tmp_path: Path) -> None:
    recipe = smallest(path)
    assert not isinstance(recipe.problem, MeshProblem)
    assert generate(recipe, tmp_path / "d.h5", progress=False).failed == 0
    grid, outputs, times = recipe.grid, Outputs.of(recipe), recipe.times
    dataset = WellDataset(path=str(tmp_path), normalize_time_grid=False)
    about = dataset.metadata
    assert about.dataset_name == recipe.title
    assert (about.n_spatial_dims, tuple(about.spatial_resolution)) == (grid.dim, grid.points)
    assert about.field_names == {0: list(outputs.fields), 1: [], 2: []}
    constants = [*outputs.constant_fields, *outputs.shared_fields]
    assert {order: sorted(names) for order, names in about.constant_field_names.items()} == {
        0: sorted(constants), 1: [], 2: []
    }  # fmt: skip
    assert about.constant_scalar_names == list(outputs.scalars)
    assert about.scalar_names == []
    assert about.n_trajectories_per_file == [2]
    assert about.n_steps_per_trajectory == [len(times)]
    assert len(dataset) == 2 * (len(times) - 1)
    with WellReader(tmp_path / "d.h5") as file:
        fields = np.stack([file.read(field, slice(None)) for field in outputs.fields], axis=-1)
        order = about.constant_field_names[0]
        constant = [file.read(field, slice(None)) for field in order]
        scalars = [file.read(number, slice(None)) for number in outputs.scalars]
    wrapping = dict(zip(grid.axes, grid.periodic))
    ends = recipe.problem.ends if isinstance(recipe.problem, HyperbolicSystem) else {}
    if isinstance(recipe.problem, ImpedanceHelmholtz):
        ends = dict.fromkeys(("x-", "x+", "y-", "y+"), "open")
    if isinstance(recipe.problem, HeatConduction):
        ends = {"x+": "open"}  # it cools there
    kinds = [
        [KINDS["periodic" if wrapping[axis] else ends.get(f"{axis}{end}", "wall")] for end in "-+"]
        for axis in grid.axes
    ]
    mesh = np.stack([x.numpy() for x in grid.mesh().values()], axis=-1)
    for i in range(len(dataset)):
        row, step = divmod(i, len(times) - 1)
        sample = dataset[i]
        np.testing.assert_array_equal(sample["input_fields"], fields[row, step : step + 1])
        np.testing.assert_array_equal(sample["output_fields"], fields[row, step + 1 : step + 2])
        np.testing.assert_allclose(sample["input_time_grid"], times[step : step + 1], rtol=1e-6)
        np.testing.assert_allclose(sample["output_time_grid"], times[step + 1 : step + 2], rtol=1e-6)
        np.testing.assert_array_equal(sample["boundary_conditions"], kinds)
        np.testing.assert_allclose(sample["space_grid"], mesh, rtol=0, atol=1e-6 * np.abs(mesh).max())
        if order:
            np.testing.assert_array_equal(
                sample["constant_fields"], np.stack([values[row] for values in constant], axis=-1)
            )
        if scalars:
            np.testing.assert_allclose(
                sample["constant_scalars"], [values[row] for values in scalars], rtol=1e-6
            )


@pytest.mark.parametrize("path", MESHES, ids=name)
def test_a_mesh_family_opens_as_graphs(path: Path, tmp_path: Path) -> None:
    pytest.importorskip("skfem", reason="needs scikit-fem: pip install 'pdeflow[meshes]'")
    recipe = smallest(path)
    assert isinstance(recipe.problem, MeshProblem)
    assert generate(recipe, tmp_path / "m.h5", progress=False).failed == 0
    with MeshReader(tmp_path / "m.h5") as file:
        inputs, targets = [*file.constant_fields, *file.scalars], list(file.fields)
        sizes = [len(file.mesh(i).positions) for i in range(2)]
        values = [np.stack([file.read(field, i) for field in targets], axis=1) for i in range(2)]
    assert targets == list(recipe.problem.fields)
    graphs = MeshGraphs(tmp_path / "m.h5", inputs, targets)
    assert len(graphs) == 2
    for graph, nodes, truth in zip(graphs, sizes, values):
        assert isinstance(graph, Data)
        graph.validate()
        assert (graph.num_nodes, graph.pos.shape) == (nodes, (nodes, 2))
        assert graph.x.shape == (nodes, len(inputs))
        np.testing.assert_array_equal(graph.y, truth)
        assert graph.edge_index.max() == nodes - 1
