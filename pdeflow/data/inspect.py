"""What a data file holds: a summary in text, and a picture of a few samples."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pdeflow.data.colour_scale import add_colour_bar, colour_scale
from pdeflow.data.convert import FORMATS, detect_format
from pdeflow.data.foreign import Wishes
from pdeflow.data.hdf5_safety import open_checked
from pdeflow.data.mesh_summary import MeshSummary, plot_meshes, summarise_meshes
from pdeflow.data.open_samples import holds_meshes, is_hdf5
from pdeflow.data.plain_equation import plain_equation
from pdeflow.data.well_layout import FIELD_GROUPS
from pdeflow.data.well_reader import WellReader
from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid

_MOST_COLUMNS = 6
_WELL = "The Well (HDF5)"


@dataclass(frozen=True)
class Array:
    """One named array: what it is, its sample's shape, and statistics over the samples that were read."""

    name: str
    role: str
    shape: tuple[int, ...]
    dtype: str
    minimum: float
    mean: float
    maximum: float
    std: float
    nonfinite_samples: int


@dataclass(frozen=True)
class Summary:
    """What :func:`inspect` found.

    ``sampled`` is the number of samples that the statistics of ``arrays`` are over; ``grid`` is ``None``
    where the nodes are not equally spaced.
    """

    path: Path
    format: str
    name: str
    n: int
    axes: tuple[str, ...]
    shape: tuple[int, ...]
    grid: Grid | None
    times: tuple[float, ...]
    steady: bool
    boundary: Mapping[str, str]
    arrays: tuple[Array, ...]
    attributes: Mapping[str, Any]
    sampled: int
    bytes_on_disk: int

    def text(self) -> str:
        """Aligned lines for a terminal."""
        lines = [
            ("file", f"{self.path} ({size_text(self.bytes_on_disk)})"),
            ("format", self.format),
            ("name", self.name),
            ("samples", str(self.n)),
            ("grid", _grid_text(self)),
            ("time", _time_text(self)),
        ]
        if self.boundary:
            lines.append(("boundary", ", ".join(f"{side} {kind}" for side, kind in self.boundary.items())))
        lines += [
            (str(key), plain_equation(str(value)) if key == "equation" else _cut(str(value)))
            for key, value in self.attributes.items()
            if key != "steady"
        ]
        width = max(len(label) for label, _ in lines)
        text = [f"{label:<{width}}  {value}" for label, value in lines]

        of = "all samples" if self.sampled == self.n else f"{self.sampled} of {self.n} samples"
        header = ("array", "role", "shape of a sample", "dtype", "min", "mean", "max", "std")
        rows = [
            (
                entry.name,
                entry.role,
                "x".join(map(str, entry.shape)) or "1",
                entry.dtype,
                *(f"{v:.4g}" for v in (entry.minimum, entry.mean, entry.maximum, entry.std)),
            )
            for entry in self.arrays
        ]
        text += ["", f"over {of}:", *_table([header, *rows])]
        text += [
            f"WARNING: {entry.name!r} holds NaN or infinity in {entry.nonfinite_samples} of these samples."
            for entry in self.arrays
            if entry.nonfinite_samples
        ]
        return "\n".join(text)


def inspect(path: str | os.PathLike[str], samples: int = 64) -> Summary | MeshSummary:
    """Summarise a file in The Well's layout, one of samples on meshes, or one that ``convert`` reads.

    Parameters
    ----------
    path
        The file.
    samples
        Statistics are taken over so many samples at most: spread over the file, or its first ones in formats
        that can only be read in order.

    Raises
    ------
    CorruptFile, UnsafeFile, InvalidInput
        If the file is damaged, unsafe, or in no known format.
    """
    path = Path(path)
    if samples < 1:
        raise InvalidInput("samples", samples, "at least 1")
    if holds_meshes(path):
        return summarise_meshes(path)
    if path.is_dir() or _is_well(path):
        with WellReader(path) as reader:
            return _summary_of_well(reader, samples)
    return _summary_of_foreign(path, samples)


def check_picture_name(png: str | os.PathLike[str]) -> None:
    """Refuse a file name whose ending is no format that Matplotlib writes.

    Raises
    ------
    InvalidInput
        Naming the endings.
    """
    from matplotlib.figure import Figure

    known = sorted(Figure().canvas.get_supported_filetypes())
    if Path(png).suffix[1:].lower() not in known:
        expected = "a file name that ends in .png, .pdf, .svg or another format of Matplotlib"
        raise InvalidInput("plot", str(png), expected, f"They are: {', '.join(known)}.")


def plot(
    path: str | os.PathLike[str], png: str | os.PathLike[str], samples: Sequence[int] | None = None
) -> Path:
    """Draw samples of a file in The Well's layout: rows samples, columns fields.

    By default these are the first three samples, or all of a file with fewer.
    Fields that depend on time are drawn at the first, a middle and the last instant, or without the middle
    where there are many fields; 1D as curves, 2D as images with one colour scale a column, 3D as the middle
    slice of the last axis.

    Raises
    ------
    InvalidInput
        If there is no such sample, or the file name's ending is no picture's.
    """
    from matplotlib.figure import Figure

    check_picture_name(png)
    if holds_meshes(Path(path)):
        return plot_meshes(path, png, samples)
    with WellReader(path) as reader:
        rows = list(range(min(3, reader.n)) if samples is None else samples)
        if not rows or min(rows) < 0 or max(rows) >= reader.n:
            raise InvalidInput("samples", rows, f"samples of 0..{reader.n - 1}")
        columns = dict(itertools.islice(_columns(reader, rows), _MOST_COLUMNS))
        grid = reader.grid
    figure = Figure(figsize=(0.4 + 3.0 * len(columns), 0.9 + 2.6 * len(rows)), layout="constrained")
    panels = figure.subplots(
        len(rows), len(columns), squeeze=False, sharex=True, sharey="col" if grid.dim == 1 else True
    )
    for c, (title, values) in enumerate(columns.items()):
        panels[0, c].set_title(title)
        scale = colour_scale(values)
        for r, row in enumerate(rows):
            panel = panels[r, c]
            if grid.dim == 1:
                panel.plot(grid.coordinates()[0].numpy(), values[r], linewidth=1.2)
                panel.grid(alpha=0.3)
            else:
                image = panel.imshow(
                    values[r].T,
                    origin="lower",
                    extent=(grid.lower[0], grid.upper[0], grid.lower[1], grid.upper[1]),
                    **scale,
                )
            if r == len(rows) - 1:
                panel.set_xlabel(grid.axes[0])
            if c == 0:
                panel.set_ylabel(f"sample {row}" + (f"\n{grid.axes[1]}" if grid.dim > 1 else ""))
        if grid.dim > 1:
            strip = {"location": "bottom", "shrink": 0.85, "aspect": 30, "pad": 0.02}
            add_colour_bar(figure, image, ax=panels[:, c].tolist(), **strip)
    figure.savefig(png, dpi=120)
    return Path(png)


def _columns(reader: WellReader, rows: list[int]) -> Iterable[tuple[str, np.ndarray]]:
    """Channels to draw: title and values ``(rows, *S)``, cut to two dimensions."""
    steps = reader.times.shape[-1]
    changing, constant = (
        sum(len(reader.axes) ** order for order in orders.values())
        for orders in (reader.fields, reader.constant_fields)
    )
    few = 3 * changing + constant <= _MOST_COLUMNS
    drawn_at = (-1,) if reader.steady else (0, steps // 2, -1) if steps > 2 and few else (0, -1)
    instants = dict.fromkeys(reader.fields, drawn_at)
    drawn = [
        (name, order, step)
        for name, order in {**reader.constant_fields, **reader.fields}.items()
        for step in instants.get(name, (None,))
    ]
    for name, order, step in drawn:
        values = reader.read(name, rows, step=step)
        in_time = step is not None and not reader.steady
        instant = f", t = {np.ravel(reader.times)[step]:.4g}" if in_time else ""
        where = ""
        if len(reader.axes) == 3:
            middle = reader.shape[2] // 2
            values = values[:, :, :, middle]
            where = f", {reader.axes[2]} = {float(reader.grid.coordinates()[2][middle]):.3g}"
        values = values.reshape(len(rows), *reader.shape[:2], -1)
        parts = ["".join(p) for p in itertools.product(reader.axes, repeat=order)]
        for k, part in enumerate(parts):
            yield f"{name}{f'_{part}' if part else ''}{instant}{where}", values[..., k]


def _is_well(path: Path) -> bool:
    if not is_hdf5(path):
        return False
    with open_checked(path) as file:
        return set(FIELD_GROUPS) <= set(file)


def _summary_of_well(reader: WellReader, samples: int) -> Summary:
    rows = np.unique(np.linspace(0, reader.n - 1, min(samples, reader.n)).astype(int))
    roles = {
        **dict.fromkeys(reader.constant_fields, "constant field"),
        **dict.fromkeys(reader.fields, "field"),
        **dict.fromkeys(reader.scalars, "scalar"),
        **dict.fromkeys(reader.diagnostics, "diagnostic"),
    }
    arrays = tuple(
        # Numbers are few: all of them are read, so that the largest residual is the largest.
        _array(
            name,
            role,
            (_solution(reader, name, row) for row in rows)
            if "field" in role
            else [reader.read(name, slice(None))],
        )
        for name, role in roles.items()
    )
    try:
        grid = reader.grid
    except InvalidInput:
        grid = None
    return Summary(
        path=reader.path,
        format=_WELL,
        name=reader.name,
        n=reader.n,
        axes=reader.axes,
        shape=reader.shape,
        grid=grid,
        times=tuple(np.ravel(reader.times).tolist()) if reader.times.ndim == 1 else (),
        steady=reader.steady,
        boundary=reader.boundary,
        arrays=arrays,
        attributes=reader.attributes,
        sampled=len(rows),
        bytes_on_disk=reader.path.stat().st_size,
    )


def _solution(reader: WellReader, name: str, row: int) -> np.ndarray:
    """One sample; of a steady field the solution alone, without the zeros before it."""
    return reader.read(name, [row], step=-1 if reader.steady and name in reader.fields else None)


def _summary_of_foreign(path: Path, samples: int) -> Summary:
    detected = detect_format(path)
    foreign = FORMATS[detected](path, Wishes())
    block = next(foreign.blocks(min(samples, foreign.n)))
    roles = {
        **dict.fromkeys(foreign.constant_fields, "constant field"),
        **dict.fromkeys(foreign.fields, "field"),
        **dict.fromkeys(foreign.scalars, "scalar"),
    }
    return Summary(
        path=path,
        format=detected,
        name=foreign.name,
        n=foreign.n,
        axes=foreign.grid.axes,
        shape=foreign.grid.shape,
        grid=foreign.grid,
        times=tuple(foreign.times.tolist()),
        steady=foreign.steady,
        boundary={},
        arrays=tuple(_array(name, role, [block[name]]) for name, role in roles.items()),
        attributes=foreign.attributes,
        sampled=min(samples, foreign.n),
        bytes_on_disk=path.stat().st_size,
    )


def _array(name: str, role: str, blocks: Iterable[np.ndarray]) -> Array:
    """Statistics over blocks ``(k, ...)``, merged in float64; what is not finite is left out and counted."""
    count, total, squares, low, high, bad = 0, 0.0, 0.0, np.inf, -np.inf, 0
    shape: tuple[int, ...] = ()
    dtype = ""
    mean = 0.0
    for block in blocks:
        shape, dtype = block.shape[1:], str(block.dtype)
        values = block.reshape(len(block), -1).astype(np.float64)
        finite = np.isfinite(values)
        bad += int((~finite.all(axis=1)).sum())
        values = values[finite]
        if not values.size:
            continue
        low, high = min(low, values.min()), max(high, values.max())
        own = values.mean()
        together = count + values.size
        squares += ((values - own) ** 2).sum() + (own - mean) ** 2 * count * values.size / together
        total += values.sum()
        count = together
        mean = total / count
    if not count:
        low = mean = high = std = float("nan")
    else:
        std = float(np.sqrt(squares / count))
    return Array(name, role, shape, dtype, float(low), float(mean), float(high), std, bad)


def _grid_text(summary: Summary) -> str:
    grid = summary.grid
    size = " x ".join(map(str, summary.shape))
    if grid is None:
        return f"{size} nodes along {', '.join(summary.axes)}, not equally spaced"
    spans = (
        f"{axis} in [{low:g}, {high:g}{')' if wraps else ']'}{' periodic' if wraps else ''}"
        for axis, low, high, wraps in zip(grid.axes, grid.lower, grid.upper, grid.periodic)
    )
    return f"{size} nodes, {', '.join(spans)}"


def _time_text(summary: Summary) -> str:
    if summary.steady and summary.format != _WELL:
        return "steady"
    if summary.steady:
        return "steady: of two instants, a guess of 0 and the solution, the second is shown"
    if not summary.times:
        return "instants of its own for each sample"
    return f"{len(summary.times)} instants from {summary.times[0]:g} to {summary.times[-1]:g}"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    # Names to the left, numbers to the right.
    return [
        "  ".join(
            f"{cell:<{w}}" if k < 4 else f"{cell:>{w}}" for k, (cell, w) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]


def size_text(size: float) -> str:
    """Bytes in the largest unit that leaves a number of at least one."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            break
        size /= 1024
    return f"{size:.4g} {unit}"


def _cut(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 90 else text[:87] + "..."
