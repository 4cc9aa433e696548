"""Pictures of samples that have nodes of their own: triangles in the colours of their corners, or points."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from pdeflow.report.fields import (
    ERROR_MAP,
    INPUT_MAP,
    MAX_CHANNELS,
    SOLUTION_MAP,
    Panel,
    Sample,
    colour_bar,
    limits_of,
    symmetric_limits,
    value_range,
)
from pdeflow.report.figure import new_figure, png_bytes, style, svg_uri
from pdeflow.report.mesh_sample import MeshSample

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.tri import Triangulation

_LONGEST = 3.0
_SIDE = 2.2  # inches
_Limits = tuple[float, float]


def count_mesh_panels(samples: Sequence[MeshSample]) -> int:
    """How many pictures :func:`mesh_panels` makes."""
    return sum(
        min(one.input.shape[1], MAX_CHANNELS) + 3 * min(one.target.shape[1], MAX_CHANNELS) for one in samples
    )


def triangulation(sample: MeshSample) -> Triangulation | None:
    """The triangles of a sample in the plane; None where there are none, as in 1D, in 3D and on a line.

    Where the file has none they are Delaunay's of the nodes, without those that have a side longer than three
    times the median of all longest sides: they bridge what is no part of the domain.
    """
    from matplotlib.tri import Triangulation

    if sample.nodes.shape[1] != 2:
        return None
    x, y = sample.nodes.T
    if sample.triangles is not None:
        return Triangulation(x, y, sample.triangles)
    try:
        made = Triangulation(x, y)
    except (RuntimeError, ValueError):  # of fewer than three nodes, or of nodes on a line
        return None
    corners = sample.nodes[made.triangles]
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2).max(axis=1)
    made.set_mask(longest > _LONGEST * np.median(longest))
    return made


def mesh_panels(
    samples: Sequence[MeshSample],
    name: str,
    input_names: Sequence[str],
    target_names: Sequence[str],
    pixels: int,
) -> list[Sample]:
    """The pictures of every sample kept of one test set.

    Truth and prediction share one colour scale; the error, prediction minus truth, has its own, symmetric
    about zero. At most `MAX_CHANNELS` inputs and targets are drawn, with ``pixels`` a side.
    """
    shown = []
    with style():
        for sample in samples:
            panel = partial(_panel, sample, triangulation(sample), name, pixels)
            rows = [
                [
                    panel(f"{name}, input", f"Input {name}", values, limits_of(values), INPUT_MAP)
                    for values, name in zip(sample.input.T[:MAX_CHANNELS], input_names)
                ]
            ]
            pairs = zip(sample.target.T[:MAX_CHANNELS], sample.prediction.T, target_names)
            for truth, guess, unknown in pairs:
                limits, error = limits_of(truth, guess), guess - truth
                rows.append(
                    [
                        panel(f"{unknown}, truth", f"True {unknown}", truth, limits, SOLUTION_MAP),
                        panel(f"{unknown}, prediction", f"Predicted {unknown}", guess, limits, SOLUTION_MAP),
                        panel(
                            f"{unknown}, error", f"Error of {unknown}, prediction minus truth,",
                            error, symmetric_limits(error), ERROR_MAP,
                        ),
                    ]
                )  # fmt: skip
            if len(rows) == 2 and len(rows[0]) == 1:
                rows = [rows[0] + rows[1]]
            shown.append(Sample(sample.rank, sample.number, sample.error, rows))
    return shown


def mesh_overview_png(
    samples: Sequence[MeshSample], input_names: Sequence[str], target_names: Sequence[str]
) -> bytes:
    """Input, truth, prediction and error of each sample as a PNG, a row for each unknown of a sample.

    The first `MAX_CHANNELS` unknowns, beside each the input channel of its number, where there is one.
    """
    unknowns = min(samples[0].target.shape[1], MAX_CHANNELS)
    gap, below, left, top = 0.2, 0.75, 0.6, 0.35
    width, height = left + 4 * (_SIDE + gap), top + len(samples) * unknowns * (_SIDE + below)
    with style():
        figure = new_figure(width, height)
        for k, sample in enumerate(samples):
            surface = triangulation(sample)
            for j in range(unknowns):
                truth, guess, name = sample.target[:, j], sample.prediction[:, j], target_names[j]
                limits, error = limits_of(truth, guess), guess - truth
                cells = [(f"{name}, truth", truth, limits, SOLUTION_MAP)]
                cells += [("prediction", guess, limits, SOLUTION_MAP)]
                cells += [("prediction − truth", error, symmetric_limits(error), ERROR_MAP)]
                if j < sample.input.shape[1]:
                    field = sample.input[:, j]
                    cells.insert(0, (f"{input_names[j]}, input", field, limits_of(field), INPUT_MAP))
                bottom = height - top - (k * unknowns + j) * (_SIDE + below) - _SIDE
                for column, (title, values, scale, colours) in enumerate(cells, 4 - len(cells)):
                    x = left + column * (_SIDE + gap)
                    axes = figure.add_axes((x / width, bottom / height, _SIDE / width, _SIDE / height))
                    drawn = _draw(axes, sample, surface, values, scale, colours)
                    axes.set_title(title, fontsize=10, parse_math=False)
                    bar = (x + 0.1 * _SIDE, bottom - 0.15, 0.8 * _SIDE, 0.08)
                    box = (bar[0] / width, bar[1] / height, bar[2] / width, bar[3] / height)
                    colour_bar(figure, drawn, figure.add_axes(box))
            middle = height - top - (k + 0.5) * unknowns * (_SIDE + below) + below / 2
            label = f"{sample.rank}, sample {sample.number}\nrelative L2 error {sample.error:.3g}"
            figure.text(
                0.3 / width, middle / height, label, rotation=90, ha="center", va="center", parse_math=False
            )
        return png_bytes(figure)


def _panel(
    sample: MeshSample,
    surface: Triangulation | None,
    name: str,
    pixels: int,
    caption: str,
    alt: str,
    values: np.ndarray,
    limits: _Limits,
    colours: str,
) -> Panel:
    words = f"{alt} of the {sample.rank} sample of {name}: {value_range(values)}."
    return Panel(caption, words, _picture(sample, surface, values, limits, colours, pixels))


def _picture(
    sample: MeshSample,
    surface: Triangulation | None,
    values: np.ndarray,
    limits: _Limits,
    colours: str,
    pixels: int,
) -> str:
    """One function with its colour bar below."""
    bar = 0.5
    width, height = _SIDE + 0.1, _SIDE + bar + 0.05
    figure = new_figure(width, height)
    figure.set_dpi(1.5 * pixels / _SIDE)  # of the picture inside: triangles one by one would take megabytes
    axes = figure.add_axes((0.05 / width, bar / height, _SIDE / width, _SIDE / height))
    drawn = _draw(axes, sample, surface, values, limits, colours)
    strip = (0.06 * width, 0.28, 0.88 * width, 0.1)
    box = (strip[0] / width, strip[1] / height, strip[2] / width, strip[3] / height)
    colour_bar(figure, drawn, figure.add_axes(box))
    return svg_uri(figure)


def _draw(
    axes: Axes,
    sample: MeshSample,
    surface: Triangulation | None,
    values: np.ndarray,
    limits: _Limits,
    colours: str,
) -> ScalarMappable:
    import matplotlib

    options = {
        "cmap": matplotlib.colormaps[colours].with_extremes(bad="#888888"),
        "vmin": limits[0],
        "vmax": limits[1],
        "rasterized": True,
    }
    if surface is not None:
        drawn = axes.tripcolor(surface, values, edgecolors="none", antialiased=False, **options)
    else:
        x = sample.nodes[:, 0]
        y = sample.nodes[:, 1] if sample.nodes.shape[1] > 1 else np.zeros_like(x)
        drawn = axes.scatter(x, y, c=values, s=6, linewidths=0, plotnonfinite=True, **options)
    axes.set_aspect("equal")
    axes.set_axis_off()
    return drawn
