"""What a file of samples on meshes holds: a summary in text, and a picture of a few samples."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pdeflow.data.colour_scale import add_colour_bar, colour_scale
from pdeflow.data.mesh_reader import MeshReader
from pdeflow.data.plain_equation import plain_equation
from pdeflow.errors import InvalidInput
from pdeflow.triangle_mesh import BOUNDARY_PARTS

_MOST_COLUMNS = 4


@dataclass(frozen=True)
class MeshSummary:
    """What :func:`summarise_meshes` found.

    ``nodes`` and ``triangles`` are those of each sample; ``ranges`` holds, for every array by name, its role,
    least value, mean, largest value, and how many values are not finite.
    """

    path: Path
    name: str
    n: int
    nodes: np.ndarray
    triangles: np.ndarray
    ranges: dict[str, tuple[str, float, float, float, int]]
    attributes: dict[str, Any]

    def text(self) -> str:
        """Aligned lines for a terminal."""
        lines = [
            ("file", str(self.path)),
            ("format", "meshes (HDF5)"),
            ("name", self.name),
            ("samples", str(self.n)),
            ("nodes", f"{self.nodes.min()} to {self.nodes.max()} a sample, {self.nodes.sum()} in all"),
            ("triangles", f"{self.triangles.min()} to {self.triangles.max()} a sample"),
            *(
                (key, plain_equation(str(value)) if key == "equation" else str(value))
                for key, value in self.attributes.items()
                if key != "steady"
            ),
        ]
        width = max(len(label) for label, _ in lines)
        text = [f"{label:<{width}}  {value}" for label, value in lines]
        text += ["", f"{'array':<12}{'role':<16}{'min':>12}{'mean':>12}{'max':>12}"]
        for name, (role, low, mean, high, bad) in self.ranges.items():
            text.append(f"{name:<12}{role:<16}{low:>12.4g}{mean:>12.4g}{high:>12.4g}")
            if bad:
                text.append(f"WARNING: {name!r} holds {bad} values that are NaN or infinite.")
        return "\n".join(text)


def summarise_meshes(path: str | os.PathLike[str]) -> MeshSummary:
    """Read all of a file in the layout of :mod:`pdeflow.data.mesh_layout`.

    Raises
    ------
    CorruptFile, UnsafeFile
        If the file is damaged or unsafe.
    """
    with MeshReader(path) as reader:
        roles = {
            **dict.fromkeys(reader.constant_fields, "constant field"),
            **dict.fromkeys(reader.fields, "field"),
            **dict.fromkeys(reader.scalars, "scalar"),
            **dict.fromkeys(reader.diagnostics, "diagnostic"),
        }
        ranges = {}
        for name, role in roles.items():
            values = reader.read(name, slice(None)).astype(np.float64)
            finite = values[np.isfinite(values)]
            numbers = (finite.min(), finite.mean(), finite.max()) if len(finite) else (np.nan,) * 3
            ranges[name] = (role, *map(float, numbers), len(values) - len(finite))
        meshes = [reader.mesh(i) for i in range(reader.n)]
        return MeshSummary(
            path=reader.path,
            name=reader.name,
            n=reader.n,
            nodes=np.array([len(mesh.positions) for mesh in meshes]),
            triangles=np.array([len(mesh.triangles) for mesh in meshes]),
            ranges=ranges,
            attributes=reader.attributes,
        )


def plot_meshes(
    path: str | os.PathLike[str], png: str | os.PathLike[str], samples: Sequence[int] | None = None
) -> Path:
    """Draw samples: rows samples, columns the mesh, then fields; by default the first three samples.

    Raises
    ------
    InvalidInput
        If there is no such sample.
    """
    from matplotlib.figure import Figure

    with MeshReader(path) as reader:
        rows = list(range(min(3, reader.n)) if samples is None else samples)
        if not rows or min(rows) < 0 or max(rows) >= reader.n:
            raise InvalidInput("samples", rows, f"samples of 0..{reader.n - 1}")
        names = (*reader.constant_fields, *reader.fields)[: _MOST_COLUMNS - 1]
        figure = Figure(figsize=(0.4 + 3.0 * (1 + len(names)), 0.9 + 2.6 * len(rows)), layout="constrained")
        panels = figure.subplots(len(rows), 1 + len(names), squeeze=False, sharex=True, sharey=True)
        for r, row in enumerate(rows):
            mesh = reader.mesh(row)
            x, y = mesh.positions.T
            panels[r, 0].triplot(x, y, mesh.triangles, linewidth=0.3, color="gray")
            for part in range(1, len(BOUNDARY_PARTS)):
                on = mesh.boundary == part
                panels[r, 0].plot(x[on], y[on], ".", markersize=2)
            panels[r, 0].set_ylabel(f"sample {row}\ny")
            for c, name in enumerate(names, 1):
                values = np.ma.masked_invalid(reader.read(name, row).astype(np.float64))
                if values.count() == len(values):
                    image = panels[r, c].tripcolor(
                        x, y, mesh.triangles, values, shading="gouraud", **colour_scale(values.data)
                    )
                    add_colour_bar(figure, image, ax=panels[r, c], shrink=0.85)
        for c, title in enumerate(("mesh", *names)):
            panels[0, c].set_title(title)
            panels[-1, c].set_xlabel("x")
        for panel in panels.flat:
            panel.set_aspect("equal")
    figure.savefig(png, dpi=120)
    return Path(png)
