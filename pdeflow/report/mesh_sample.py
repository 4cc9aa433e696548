"""A sample of a test that has nodes of its own: on a mesh, or at a few nodes of a grid."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pdeflow.errors import CorruptFile

_COLUMNS = ("nodes", "input", "target", "prediction")


@dataclass(frozen=True)
class MeshSample:
    """What a test kept of one sample, float64 and in physical units.

    Attributes
    ----------
    rank
        What the sample is: ``"best"``, ``"median"`` or ``"worst"``.
    number
        Its number in the data set.
    error
        Its relative L2 error; of a trajectory that of the last state, which is the one kept.
    nodes
        (nodes, dim).
    triangles
        (triangles, 3) node numbers; None where the file has none.
    input, target, prediction
        (nodes, channels).
    """

    rank: str
    number: int
    error: float
    nodes: np.ndarray
    triangles: np.ndarray | None
    input: np.ndarray
    target: np.ndarray
    prediction: np.ndarray


def read_mesh_samples(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    ranks: Sequence[str],
    errors: np.ndarray | None,
    index: np.ndarray | None,
    marched: bool,
) -> tuple[MeshSample, ...]:
    """The samples of ``test/<name>.npz`` that have nodes of their own; none where it has none.

    Parameters
    ----------
    path
        The file, for messages.
    arrays
        What it holds; see `TestResults`.
    ranks
        What the samples are.
    errors, index
        (n,) relative L2 error and number of every test sample.
    marched
        Whether the errors are those of all steps of a trajectory.

    Raises
    ------
    CorruptFile
        If an array is missing, or of another shape than the others ask for.
    """
    if "number" not in arrays:
        return ()
    numbers = arrays["number"]
    if numbers.shape != (len(ranks),) or numbers.dtype.kind != "i":
        raise CorruptFile(
            f"{path}: array 'number' is {numbers.dtype} {numbers.shape}, not one for each of {ranks}."
        )
    found = []
    for rank, number in zip(ranks, numbers.tolist()):
        columns = [_numbers(path, arrays, f"{rank}_{name}") for name in _COLUMNS]
        nodes, _, target, prediction = columns
        if len({len(column) for column in columns}) > 1 or target.shape != prediction.shape:
            shapes = {name: column.shape for name, column in zip(_COLUMNS, columns)}
            raise CorruptFile(f"{path}: the {rank} sample has {shapes}, expected rows for the same nodes.")
        triangles = arrays.get(f"{rank}_triangles")
        if triangles is not None and not _joins(triangles, len(nodes)):
            raise CorruptFile(f"{path}: array '{rank}_triangles' is no (triangles, 3) of {len(nodes)} nodes.")
        own = errors[index == number] if errors is not None and index is not None and not marched else []
        norm = math.sqrt(np.square(target).sum())
        last = math.sqrt(np.square(prediction - target).sum()) / norm if norm else math.nan
        found.append(
            MeshSample(rank, number, float(own[0]) if len(own) else last, nodes, triangles, *columns[1:])
        )
    return tuple(found)


def _numbers(path: Path, arrays: Mapping[str, np.ndarray], key: str) -> np.ndarray:
    array = arrays.get(key)
    if array is None or array.ndim != 2 or 0 in array.shape or array.dtype.kind not in "fiu":
        got = "missing" if array is None else f"{array.dtype} {array.shape}"
        raise CorruptFile(f"{path}: array {key!r} is {got}, expected numbers (nodes, columns). Test again.")
    return array.astype(np.float64)


def _joins(triangles: np.ndarray, nodes: int) -> bool:
    """Whether these are three node numbers each."""
    if triangles.dtype.kind != "i" or triangles.ndim != 2 or triangles.shape[1] != 3 or not len(triangles):
        return False
    return bool(triangles.min() >= 0 and triangles.max() < nodes)
