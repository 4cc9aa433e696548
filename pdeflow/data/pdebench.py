"""PDEBench's HDF5 files (Takamoto et al. 2022), in the four layouts that its data sets use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np

from pdeflow.data.foreign import AXES, Foreign, Wishes, box_grid, grid_of_nodes
from pdeflow.data.hdf5_safety import explain_read_errors, get_dataset, get_group, open_checked
from pdeflow.errors import CorruptFile, InvalidInput
from pdeflow.grid import Grid

_VELOCITIES = ("Vx", "Vy", "Vz")
_CFD = ("density", "pressure", *_VELOCITIES)


def is_pdebench(file: h5py.File) -> bool:
    """Whether the top level looks like one of PDEBench's layouts."""
    return "tensor" in file or "density" in file or bool(_seeds(file))


def open_pdebench(path: Path, wishes: Wishes) -> Foreign:
    """Describe a PDEBench file.

    - Darcy: ``tensor (N, 1, X, Y)`` becomes the field ``u``, ``nu (N, X, Y)`` the constant field ``a``.
    - One scalar in time: ``tensor (N, T, X, ...)`` becomes ``u``.
    - Compressible flow: ``density``, ``pressure (N, T, X, ...)``, and ``Vx, Vy, Vz`` as one vector
      ``velocity``.
    - One group a seed: ``0000/data (T, X, ..., C)`` becomes ``u``, or ``u0, u1, ...``.

    The files do not say which axes are periodic: ``wishes.periodic`` does.

    Raises
    ------
    CorruptFile, UnsafeFile
        If the file is damaged or not self-contained.
    InvalidInput
        If shapes and coordinates do not fit together, or names are asked for.
    """
    if wishes.inputs or wishes.targets or wishes.dim or wishes.time:
        raise InvalidInput(
            "inputs, targets, dim, time", "given", "none of them: PDEBench files name their arrays"
        )
    with open_checked(path) as file, explain_read_errors(path, "the layout of PDEBench"):
        if _seeds(file):
            return _seeded(path, file, wishes)
        return _batched(path, file, wishes)


def _batched(path: Path, file: h5py.File, wishes: Wishes) -> Foreign:
    constant: dict[str, str] = {}
    if "tensor" in file:
        arrays = {"u": "tensor"}
        if "nu" in file:
            constant = {"a": "nu"}
    else:
        arrays = {name: name for name in _CFD if name in file}
    steady = bool(constant)
    lead = next(iter(arrays.values()))
    shape = get_dataset(file, lead).shape
    for name in (*arrays.values(), *constant.values()):
        expected = (shape[0], *shape[2:]) if name in constant.values() else shape
        data = get_dataset(file, name)
        if data.shape != expected or data.dtype.kind not in "fiu" or len(shape) < 3:
            raise CorruptFile(
                f"{path}: {name!r} has shape {data.shape}, expected {expected} of real numbers."
            )
    if steady and shape[1] != 1:
        raise CorruptFile(f"{path}: {lead!r} has shape {shape}, expected (N, 1, X, Y) beside 'nu'.")
    space = shape[2:]
    nodes = _nodes(file, len(space), "{}-coordinate")
    times = np.array([0.0, 1.0]) if steady else _times(file, "t-coordinate", shape[1])
    velocity = tuple(name for name in _VELOCITIES if name in arrays)
    vector = velocity == _VELOCITIES[: len(space)]
    fields = {name: 0 for name in arrays if not (vector and name in velocity)}

    def blocks(k: int) -> Iterator[dict[str, np.ndarray]]:
        with open_checked(path) as again:
            for start in range(0, shape[0], k):
                part = {}
                with explain_read_errors(path, f"the samples from {start} on"):
                    for name, key in {**arrays, **constant}.items():
                        part[name] = get_dataset(again, key)[start : start + k]
                if steady:
                    part["u"] = part["u"][:, 0]
                if vector:
                    part["velocity"] = np.stack([part.pop(name) for name in velocity], axis=-1)
                yield part

    return Foreign(
        name=path.stem,
        grid=_grid(path, nodes, space, wishes),
        n=shape[0],
        times=times,
        steady=steady,
        fields={**fields, "velocity": 1} if vector else fields,
        constant_fields=dict.fromkeys(constant, 0),
        attributes=_attributes(file),
        blocks=blocks,
    )


def _seeded(path: Path, file: h5py.File, wishes: Wishes) -> Foreign:
    seeds = _seeds(file)
    shape = get_dataset(file, f"{seeds[0]}/data").shape
    for seed in seeds:
        data = get_dataset(file, f"{seed}/data")
        if data.shape != shape or len(shape) < 3 or data.dtype.kind not in "fiu":
            raise CorruptFile(
                f"{path}: {seed}/data has shape {data.shape}, expected {shape} of real numbers."
            )
    steps, *space, channels = shape
    first = get_group(file, seeds[0])
    nodes = _nodes(first, len(space), "grid/{}")
    names = ("u",) if channels == 1 else tuple(f"u{c}" for c in range(channels))

    def blocks(k: int) -> Iterator[dict[str, np.ndarray]]:
        with open_checked(path) as again:
            for start in range(0, len(seeds), k):
                group = []
                for seed in seeds[start : start + k]:
                    with explain_read_errors(path, f"{seed}/data"):
                        group.append(get_dataset(again, f"{seed}/data")[()])
                together = np.stack(group)
                yield {name: together[..., c] for c, name in enumerate(names)}

    return Foreign(
        name=path.stem,
        grid=_grid(path, nodes, space, wishes),
        n=len(seeds),
        times=_times(first, "grid/t", steps),
        steady=False,
        fields=dict.fromkeys(names, 0),
        constant_fields={},
        attributes=_attributes(file),
        blocks=blocks,
    )


def _seeds(file: h5py.File) -> list[str]:
    return sorted(key for key in map(str, file) if key.isdigit() and f"{key}/data" in file)


def _nodes(parent: h5py.Group, dim: int, name: str) -> dict[str, np.ndarray]:
    """The coordinates that are there, under names such as ``x-coordinate``."""
    found = {axis: name.format(axis) for axis in AXES[:dim]}
    return {axis: get_dataset(parent, key)[()] for axis, key in found.items() if key in parent}


def _grid(path: Path, nodes: dict[str, np.ndarray], space: Sequence[int], wishes: Wishes) -> Grid:
    if len(nodes) == len(space):
        return grid_of_nodes(nodes, space, wishes, str(path))
    return box_grid(space, wishes)


def _times(parent: h5py.Group, name: str, steps: int) -> np.ndarray:
    """The first ``steps`` instants; PDEBench often stores one more, the end of the last step."""
    if name not in parent:
        return np.arange(steps, dtype=np.float64)
    values = np.asarray(get_dataset(parent, name)[()], dtype=np.float64)
    if values.ndim != 1 or len(values) < steps:
        raise CorruptFile(f"{parent.file.filename}: {name} has shape {values.shape} for {steps} steps.")
    return values[:steps]


def _attributes(file: h5py.File) -> dict[str, str | float | bool]:
    kept: dict[str, str | float | bool] = {}
    for key, value in file.attrs.items():
        plain = value.item() if isinstance(value, (np.generic, np.ndarray)) and np.size(value) == 1 else value
        if isinstance(plain, (str, int, float)):
            kept[f"pdebench_{key}"] = plain
    return kept
