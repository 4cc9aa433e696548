"""``pdeflow predict`` for operators on meshes: a mesh file in, a mesh file out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from torch_geometric.data import Data
from tqdm import tqdm

from pdeflow.cli.predict import compare_equations
from pdeflow.data import MeshGraphs, open_samples, write_meshes
from pdeflow.data.mesh_graphs import BOUNDARY, BOUNDARY_CHANNELS
from pdeflow.data.mesh_reader import MeshReader
from pdeflow.errors import InvalidInput
from pdeflow.surrogate import Surrogate


def predict_meshes(surrogate: Surrogate, path: Path, output: Path) -> int:
    """Apply a surrogate to every mesh of a file, and write the meshes with the predictions at their nodes.

    Of a model that gives a variance the standard deviations are there too, by the names NAME_std.

    Returns
    -------
    int
        How many meshes there were.

    Raises
    ------
    InvalidInput
        If the files are not files of meshes, an input is missing, or a mesh is one that the operator
        cannot take.
    """
    if path.suffix not in (".h5", ".hdf5") or not isinstance(open_samples(path), MeshReader):
        hint = "This surrogate is of an operator on meshes; `pdeflow generate` makes such files for polygons."
        if surrogate.time_step is not None:
            hint = "This surrogate marches on nodes: in Python, pdeflow.load(RUN).rollout or .rollout_at."
        raise InvalidInput("FILE", str(path), "a file of meshes (.h5)", hint)
    if output.suffix not in (".h5", ".hdf5"):
        raise InvalidInput("-o/--output", str(output), "OUT.h5, which holds the meshes too")
    wanted = surrogate.input_names
    names = dict.fromkeys(BOUNDARY if name in BOUNDARY_CHANNELS else name for name in wanted)
    # A sample whose solve failed has inputs like any other.
    graphs = MeshGraphs(path, list(names), [], keep_failed=True)
    if graphs.input_names != wanted:
        raise InvalidInput("FILE", graphs.input_names, f"the inputs {wanted}, in this order")
    compare_equations(surrogate, graphs.reader)
    progress = tqdm(range(len(graphs)), unit="mesh", desc="predicting")
    values = np.concatenate([_values(surrogate, graphs[row]) for row in progress])
    names = (*surrogate.target_names, *surrogate.std_names)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_meshes(
        output,
        name=output.stem,
        meshes=[graphs.reader.mesh(row) for row in graphs.rows],
        fields={name: values[:, k] for k, name in enumerate(names)},
        attributes={"steady": True},
    )
    return len(graphs)


def _values(surrogate: Surrogate, graph: Data) -> np.ndarray:
    """The solution on one mesh, (nodes, channels), and its deviations as further channels."""
    if surrogate.std_names:
        return np.concatenate([part.numpy() for part in surrogate.predict_with_std(graph)], axis=1)
    return surrogate(graph).numpy()
