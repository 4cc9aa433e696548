"""How the model of a run is used: lines of Python that run as they stand, and a sentence below them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pdeflow.report.run_folder import Run


def snippet(run: Run) -> tuple[str, str]:
    """The lines, and what to know of them; empty where the run has no surrogate.

    A grid is filled with ones, and so are the nodes of one: who has a function puts it there. Samples on
    meshes are read from the data file that the config names.
    """
    if not run.surrogate:
        return "", ""
    load = f"surrogate = pdeflow.load({str(run.path)!r})"
    if run.is_field:
        return _at_points(run, load)
    if run.data_class == "MeshData":
        return _on_meshes(run, load)
    if run.data_class == "SparseTrajectoryData":
        return _at_nodes(run, load)
    return _on_grids(run, load)


def channel_names(run: Run, part: str) -> list[str]:
    """The names of the ``input`` or ``target`` channels, as the surrogate has them; else empty."""
    statistics = run.surrogate.get("normalisation")
    names = statistics.get(f"{part}_names") if isinstance(statistics, Mapping) else None
    return [str(name) for name in names] if isinstance(names, list) else []


def _at_points(run: Run, load: str) -> tuple[str, str]:
    told = "Points are (..., coordinates), NumPy or torch; values have the shape without the last axis."
    settings = run.surrogate.get("settings", {})
    parts = [part["init_args"] for part in settings.get("parts", ())]  # of JoinedFields
    box = max([settings, *parts], key=lambda some: len(some.get("lower", ())))
    middle = [0.5 * (low + high) for low, high in zip(box.get("lower", ()), box.get("upper", ()))]
    if not middle:  # the surrogate does not tell where it is defined
        return f"import pdeflow\n{load}\nprediction = surrogate(points)", told
    points = f"points = np.array([{middle}])  # (points, coordinates): put yours here"
    lines = ["import numpy as np", "import pdeflow", load, points, "prediction = surrogate(points)"]
    return "\n".join(lines), told


def _on_grids(run: Run, load: str) -> tuple[str, str]:
    names = channel_names(run, "input")
    tested = next((one for one in run.tests if one.prediction is not None), None)
    shape = _points(run) or (tested.prediction.shape[2:] if tested and tested.prediction is not None else ())
    if not names and tested is not None and tested.inputs is not None:
        names = [f"a{k}" for k in range(tested.inputs.shape[1])]
    name = names[0] if len(names) == 1 and names[0].isidentifier() else "inputs"
    if not names or not shape:  # neither the surrogate nor a test tells how large a sample is
        return f"import pdeflow\n{load}\nprediction = surrogate(inputs)", _GRIDS
    lines = [
        "import numpy as np",
        "import pdeflow",
        load,
        f"{name} = np.ones({(1, len(names), *shape)})  # (samples, channels, *grid): put yours here",
    ]
    told = f"The input channels are {', '.join(names)}. {_GRIDS}"
    if run.surrogate.get("time_step") is None:
        return "\n".join([*lines, f"prediction = surrogate({name})"]), told
    lines += [
        f"following = surrogate({name})  # the state one time step later",
        f"trajectory = surrogate.rollout({name}, steps=10)  # (samples, steps, channels, *grid)",
    ]
    return "\n".join(lines), told


_GRIDS = "Arrays are (samples, *grid) or (samples, channels, *grid), in physical units both ways."


def _on_meshes(run: Run, load: str) -> tuple[str, str]:
    path = run.setting("data", "path")
    inputs, targets = (_listed(run.setting("data", key)) for key in ("inputs", "targets"))
    lines = [
        "import pdeflow",
        "from pdeflow.data import MeshGraphs",
        load,
        f"graph = MeshGraphs({path!r}, {inputs}, {targets})[0]  # or a graph of your own",
        "prediction = surrogate(graph)  # (nodes, channels)",
        "points, inputs = graph.pos[:5], graph.x[:5]  # or any points, and the inputs there",
        "there = surrogate.query(graph, points, inputs)  # (points, channels)",
    ]
    names = ", ".join(channel_names(run, "input") or inputs)
    return "\n".join(lines), (
        f"A graph is a torch_geometric.data.Data with pos (nodes, coordinates) and x (nodes, channels), the "
        f"channels being {names}; values are in physical units both ways. Without inputs a query takes those "
        f"of the nodes around."
    )


def _at_nodes(run: Run, load: str) -> tuple[str, str]:
    names = channel_names(run, "input")
    grid = run.surrogate.get("grid")
    box = grid if isinstance(grid, Mapping) else {"lower": (0.0, 0.0), "upper": (1.0, 1.0)}
    low, high = (list(box[key]) for key in ("lower", "upper"))
    size = [b - a for a, b in zip(low, high)]
    nodes = run.setting("data", "nodes")
    nodes = nodes if isinstance(nodes, int) else 1000
    lines = [
        "import pdeflow",
        "import torch",
        "from torch_geometric.data import Data",
        load,
        f"nodes = torch.tensor({low}) + torch.tensor({size}) * torch.rand({nodes}, {len(low)})",
        f"state = Data(x=torch.ones({nodes}, {len(names)}), pos=nodes)  # put your values at the nodes in x",
        "trajectory = surrogate.rollout(state, steps=10)  # (steps, nodes, channels)",
        "points = nodes[:5]  # or any points near nodes, as many as you like",
        "last = surrogate.rollout_at(state, 10, points)  # (points, channels): the last state there",
    ]
    return "\n".join(lines), (
        "The model takes a graph: a few nodes pos (nodes, coordinates), and x (nodes, channels), whose "
        f"channels are {', '.join(names)}; values are in physical units both ways. rollout marches on these "
        "nodes, and rollout_at gives the last state at any points; surrogate.query does so after one step."
    )


def _points(run: Run) -> tuple[int, ...]:
    grid = run.surrogate.get("grid")
    points = grid.get("points") if isinstance(grid, Mapping) else None
    return tuple(points) if isinstance(points, list) else ()


def _listed(value: Any) -> list[str]:
    return [str(name) for name in value] if isinstance(value, list) else [str(value)]
