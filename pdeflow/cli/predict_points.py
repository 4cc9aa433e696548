"""``pdeflow predict`` for fields: points in, values of the solution out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pdeflow.atomic_file import replacing
from pdeflow.cli.predict import mapped
from pdeflow.data.npz_arrays import read_arrays
from pdeflow.errors import InvalidInput
from pdeflow.field_surrogate import FieldSurrogate


def predict_points(surrogate: FieldSurrogate, path: Path, output: Path) -> int:
    """Evaluate a solution at the points of a file, and write an array for each unknown.

    Parameters
    ----------
    surrogate
        The field.
    path
        An .npz with an array for each coordinate, by name, all of one shape, or an .npy (..., dim).
    output
        The .npz; its arrays have the shape of the coordinates.

    Returns
    -------
    int
        How many points there were.

    Raises
    ------
    InvalidInput
        If the file is another one, a coordinate is missing, or a point lies outside.
    """
    names = surrogate.input_names
    if path.suffix not in (".npz", ".npy"):
        hint = f"This surrogate is the solution itself, a function of {', '.join(names)}."
        expected = (
            f"an .npz with the coordinates {', '.join(names)} of the points, or an .npy (..., {len(names)})"
        )
        raise InvalidInput("FILE", str(path), expected, hint)
    if output.suffix != ".npz":
        raise InvalidInput("-o/--output", str(output), "OUT.npz, with an array for each unknown")
    points = np.array(mapped(path)) if path.suffix == ".npy" else _columns(path, names)
    values = surrogate(points)
    parts = [values] if len(surrogate.target_names) == 1 else list(np.moveaxis(values, -1, 0))
    arrays: dict[str, Any] = dict(zip(surrogate.target_names, parts))
    output.parent.mkdir(parents=True, exist_ok=True)
    with replacing(output) as stream:
        np.savez_compressed(stream, **arrays)
    return points[..., 0].size


def _columns(path: Path, names: tuple[str, ...]) -> np.ndarray:
    """The points (..., dim) from one array a coordinate."""
    arrays = read_arrays(path)
    for name in names:
        if name not in arrays:
            raise InvalidInput("FILE", name, f"a coordinate that {path} holds", choices=arrays)
    shapes = {name: arrays[name].shape for name in names}
    if len(set(shapes.values())) > 1:
        hint = "numpy.meshgrid makes arrays of a grid from its axes."
        raise InvalidInput("FILE", shapes, "arrays of one shape", hint)
    return np.stack([arrays[name] for name in names], axis=-1)
