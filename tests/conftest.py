"""Shared by every test: one thread a process, derandomised property tests, small files of meshes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

settings.register_profile("derandomised", derandomize=True, deadline=None)
settings.load_profile("derandomised")
# Two threads inside one small kernel are slower than one; pytest-xdist runs a process a core.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def write_squares() -> Callable[..., Path]:
    """``write_squares(path, sizes)``: samples on unit squares of n by n nodes, inner ones moved at random.

    Each field is a smooth function of place and sample; those of ``constant_fields`` are other ones.
    """

    def write(
        path: Path,
        sizes: Sequence[int],
        *,
        fields: Sequence[str] = ("u",),
        constant_fields: Sequence[str] = ("a",),
        change: Callable[[dict[str, list[np.ndarray]]], None] = lambda values: None,
    ) -> Path:
        from pdeflow.data import write_meshes
        from pdeflow.triangle_mesh import TriangleMesh

        rng = np.random.default_rng(0)
        meshes: list[TriangleMesh] = []
        values: dict[str, list[np.ndarray]] = {name: [] for name in (*fields, *constant_fields)}
        for n in sizes:
            x, y = np.meshgrid(*[np.linspace(0.0, 1.0, n)] * 2, indexing="ij")
            rim = ((x == 0) | (x == 1) | (y == 0) | (y == 1)).ravel()
            places = np.stack([x, y], axis=2).reshape(-1, 2)
            places = places + np.where(rim[:, None], 0.0, rng.uniform(-0.2, 0.2, places.shape) / n)
            corners = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
            halves = [
                np.stack([corners, corners + a, corners + b], axis=1) for a, b in ((n, n + 1), (n + 1, 1))
            ]
            meshes.append(TriangleMesh(places, np.concatenate(halves), np.where(rim, 1, 0)))
            level = rng.uniform(1.0, 2.0)
            for k, columns in enumerate(values.values()):
                columns.append(level * (1.5 + np.sin(3 * places[:, 0] + k) * np.cos(2 * places[:, 1])))
        change(values)
        joined = {name: np.concatenate(columns) for name, columns in values.items()}
        path.parent.mkdir(parents=True, exist_ok=True)
        write_meshes(
            path,
            name="squares",
            meshes=meshes,
            fields={name: joined[name] for name in fields},
            constant_fields={name: joined[name] for name in constant_fields},
            attributes={"steady": True},
        )
        return path

    return write
