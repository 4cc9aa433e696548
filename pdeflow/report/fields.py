"""Pictures of input, truth, prediction and error of the best, median and worst sample, in 1D, 2D and 3D."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pdeflow.report.figure import (
    BLUE,
    FAINT,
    INK,
    ORANGE,
    complete_labels,
    new_figure,
    png_bytes,
    style,
    svg_uri,
)
from pdeflow.report.run_folder import RANKS, TestedResolution

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

# Input, solution and error keep their colour map throughout. All are perceptually ordered; that of the
# error diverges from zero, so that the sign of the error can be seen.
INPUT_MAP, SOLUTION_MAP, ERROR_MAP = "cividis", "viridis", "RdBu_r"
MAX_CHANNELS = 5
_Series = tuple[np.ndarray, str, str, str]  # values, colour, dashes, label
_Lines = tuple[list[_Series], bool]  # whether 0 is marked
_Image = tuple[np.ndarray, tuple[float, float], str]  # values, limits, colour map
_Cell = tuple[str, _Lines, _Image | None]  # title; an image, or else lines
_MAX_POINTS = 2000
_BYTES_OF_ALL_PANELS = 2.0e6


@dataclass(frozen=True)
class Panel:
    """One picture with its caption and its text for those who cannot see it."""

    caption: str
    alt: str
    src: str


@dataclass(frozen=True)
class Sample:
    """All panels of one sample, row by row."""

    rank: str
    number: int
    error: float
    rows: list[list[Panel]]


def pixels_for(panels: int) -> int:
    """Nodes along the longest side of a picture that keep ``panels`` of them inside the size of a page."""
    # noise through a colour map takes about 3 bytes a pixel after PNG and base64 twice; 6 kB are the frame
    room = _BYTES_OF_ALL_PANELS / max(panels, 1) - 6000.0
    return int(min(max(math.sqrt(max(room, 0.0) / 3.0), 32.0), 160.0))


def count_panels(tested: TestedResolution) -> int:
    """How many pictures :func:`sample_panels` makes of this resolution, with three slices a picture in 3D."""
    if tested.prediction is None:
        return 0
    more = (tested.inputs, tested.residual, tested.estimate)
    others = [array.shape[1] for array in more if array is not None]
    of_each = 1 if tested.target is None else 3
    each = of_each * min(tested.prediction.shape[1], MAX_CHANNELS) + sum(min(n, MAX_CHANNELS) for n in others)
    return len(tested.prediction) * each * (3 if tested.prediction.ndim == 5 else 1)


def sample_panels(
    tested: TestedResolution, input_names: Sequence[str], target_names: Sequence[str], pixels: int
) -> list[Sample]:
    """The pictures of every sample kept at one resolution.

    Truth and prediction of a sample share one colour scale (or one axis in 1D), from the smallest to the
    largest value of the two; the error, prediction minus truth, has its own, symmetric about zero. So has the
    residual, where it was recorded; where the truth is not known, the prediction stands alone, or beside an
    estimate of its error.
    Fields with more nodes than ``pixels`` a side are thinned by a whole stride.
    """
    if tested.prediction is None:
        return []
    samples = []
    with style():
        for k, (rank, (number, error)) in enumerate(zip(tested.ranks, tested.shown)):
            whose = f"{rank} {'sample ' if rank in RANKS else ''}at {tested.name}"
            rows = []
            if tested.inputs is not None:
                rows.append(
                    [
                        _input_panel(values, name, whose, pixels, tested.axes)
                        for values, name in zip(tested.inputs[k][:MAX_CHANNELS], input_names)
                    ]
                )
            for j, (guess, name) in enumerate(zip(tested.prediction[k][:MAX_CHANNELS], target_names)):
                if tested.target is None:
                    rows.append([_prediction_panel(guess, name, whose, pixels, tested.axes)])
                    if tested.estimate is not None:
                        wrong = tested.estimate[k][j]
                        rows[-1].append(_estimate_panel(wrong, name, whose, pixels, tested.axes))
                else:
                    rows.append(
                        _solution_panels(tested.target[k][j], guess, name, whose, pixels, tested.axes)
                    )
            if tested.residual is not None:
                residuals = tested.residual[k][:MAX_CHANNELS]
                count = len(residuals)
                names = [f"equation {j + 1}" for j in range(count)] if count > 1 else ["the equation"]
                rows.append(
                    [_residual_panel(*pair, whose, pixels, tested.axes) for pair in zip(residuals, names)]
                )
            if len(rows) == 2 and 1 in (len(rows[0]), len(rows[1])):
                rows = [rows[0] + rows[1]]
            samples.append(Sample(rank, number, error, rows))
    return samples


def overview_png(tested: TestedResolution, input_names: Sequence[str], target_names: Sequence[str]) -> bytes:
    """What was kept of each sample as a PNG, a row for each unknown of a sample.

    Input, truth, prediction and error; where the truth is not known the prediction, with the estimate of its
    error if there is one; and the residual, where it was recorded. The first `MAX_CHANNELS` unknowns, and
    beside each the input channel and the equation of its number, where there is one. In 3D every picture is
    the middle slice across the last axis.
    """
    assert tested.prediction is not None
    line = tested.prediction.ndim == 3
    unknowns = min(tested.prediction.shape[1], MAX_CHANNELS)
    samples = range(len(tested.prediction))
    cells = [_overview_row(tested, k, j, input_names, target_names) for k in samples for j in range(unknowns)]
    columns, rows = max(map(len, cells)), len(cells)
    wide, high = (3.2, 1.7) if line else (2.1, 2.1 * _shape_ratio(_middle(tested.prediction[0, 0])))
    gap, below, left, top = (0.65, 0.5, 1.05, 0.35) if line else (0.2, 0.5, 0.6, 0.35)
    below += 0.25 * (unknowns > 1)  # every row has titles then
    width, height = left + columns * (wide + gap), top + rows * (high + below)
    pixels = int(512 * min(1.0, 12 / (rows * columns)))
    with style():
        figure = new_figure(width, height)
        for number, row in enumerate(cells):
            bottom = height - top - number * (high + below) - high
            for column, (title, series, image) in enumerate(row):
                x = left + (columns - len(row) + column) * (wide + gap)
                axes = figure.add_axes((x / width, bottom / height, wide / width, high / height))
                if image is None:
                    _lines(axes, *series)
                else:
                    drawn = _show(axes, *image, pixels)
                    bar = (x + 0.1 * wide, bottom - 0.15, 0.8 * wide, 0.08)
                    strip = figure.add_axes(
                        (bar[0] / width, bar[1] / height, bar[2] / width, bar[3] / height)
                    )
                    colour_bar(figure, drawn, strip)
                if unknowns > 1 or number == 0:
                    axes.set_title(title, fontsize=10, parse_math=False)
        for k, (rank, (number, error)) in enumerate(zip(tested.ranks, tested.shown)):
            above = height - top - k * unknowns * (high + below)
            label = rank + (f", sample {number}" if number >= 0 else "")
            label += "" if tested.target is None else f"\nrelative L2 error {error:.3g}"
            middle = above - (unknowns * (high + below) - below) / 2
            figure.text(
                0.3 / width, middle / height, label, rotation=90, ha="center", va="center", parse_math=False
            )
        return png_bytes(figure)


def _overview_row(
    tested: TestedResolution, k: int, j: int, input_names: Sequence[str], target_names: Sequence[str]
) -> list[_Cell]:
    """The pictures of unknown j of sample k: title, and arguments of :func:`_lines` or :func:`_show`."""

    def part(array: np.ndarray | None) -> np.ndarray | None:
        return None if array is None or j >= array.shape[1] else _middle(array[k, j])

    field, truth, guess = part(tested.inputs), part(tested.target), part(tested.prediction)
    assert guess is not None
    line, name = guess.ndim == 1, target_names[j]
    titles = [] if field is None else [f"{input_names[j]}, input"]
    if truth is None:
        titles += [f"{name}, prediction"]
    else:
        titles += [f"{name}, truth and prediction"] if line else [f"{name}, truth", "prediction"]
        titles += ["prediction − truth"]
    lines = _line_cells(field, truth, guess) if line else []
    images = [] if line else _image_cells(field, truth, guess)
    more = {"estimated error": part(tested.estimate), "residual": part(tested.residual)}
    for title, values in more.items():
        if values is not None:
            titles.append(title)
            colour = INK if title == "residual" else ORANGE
            lines.append(([(values, colour, "-", "")], True))
            images.append((values, symmetric_limits(values), ERROR_MAP))
    return [
        (title, lines[n], None) if line else (title, ([], False), images[n]) for n, title in enumerate(titles)
    ]


def _line_cells(field: np.ndarray | None, truth: np.ndarray | None, guess: np.ndarray) -> list[_Lines]:
    """Arguments of :func:`_lines`: input if there, truth with prediction, error; or the prediction alone."""
    if truth is None:
        cells: list[_Lines] = [([(guess, ORANGE, "-", "")], False)]
    else:
        both = [(truth, BLUE, "-", "truth"), (guess, ORANGE, "--", "prediction")]
        cells = [(both, False), ([(guess - truth, ORANGE, "-", "")], True)]
    return cells if field is None else [([(field, INK, "-", "")], False), *cells]


def _image_cells(field: np.ndarray | None, truth: np.ndarray | None, guess: np.ndarray) -> list[_Image]:
    """Arguments of :func:`_show`: input if there, truth, prediction, error; or the prediction alone."""
    if truth is None:
        cells: list[_Image] = [(guess, limits_of(guess), SOLUTION_MAP)]
    else:
        limits, error = limits_of(truth, guess), guess - truth
        cells = [(truth, limits, SOLUTION_MAP), (guess, limits, SOLUTION_MAP)]
        cells.append((error, symmetric_limits(error), ERROR_MAP))
    return cells if field is None else [(field, limits_of(field), INPUT_MAP), *cells]


def _prediction_panel(values: np.ndarray, name: str, whose: str, pixels: int, axes: Sequence[str]) -> Panel:
    alt = f"Predicted {name} of the {whose}: {value_range(values)}."
    if values.ndim == 1:
        return Panel(f"{name}, prediction", alt, _line_picture([(values, ORANGE, "-", "")]))
    return Panel(f"{name}, prediction", alt, _picture(values, limits_of(values), SOLUTION_MAP, pixels, axes))


def _estimate_panel(values: np.ndarray, name: str, whose: str, pixels: int, axes: Sequence[str]) -> Panel:
    alt = f"Estimated error of {name}, prediction minus truth, for the {whose}: {value_range(values)}."
    return _signed_panel(f"{name}, estimated error", alt, values, ORANGE, pixels, axes)


def _residual_panel(values: np.ndarray, name: str, whose: str, pixels: int, axes: Sequence[str]) -> Panel:
    alt = f"Residual of {name} for the {whose}: {value_range(values)}."
    return _signed_panel(f"residual of {name}", alt, values, INK, pixels, axes)


def _signed_panel(
    title: str, alt: str, values: np.ndarray, colour: str, pixels: int, axes: Sequence[str]
) -> Panel:
    """Of what is best 0."""
    if values.ndim == 1:
        return Panel(title, alt, _line_picture([(values, colour, "-", "")], zero=True))
    return Panel(title, alt, _picture(values, symmetric_limits(values), ERROR_MAP, pixels, axes))


def _input_panel(values: np.ndarray, name: str, whose: str, pixels: int, axes: Sequence[str]) -> Panel:
    alt = f"Input {name} of the {whose}: {value_range(values)}."
    if values.ndim == 1:
        return Panel(f"{name}, input", alt, _line_picture([(values, INK, "-", "")]))
    return Panel(f"{name}, input", alt, _picture(values, limits_of(values), INPUT_MAP, pixels, axes))


def _solution_panels(
    truth: np.ndarray, guess: np.ndarray, name: str, whose: str, pixels: int, axes: Sequence[str]
) -> list[Panel]:
    truth_alt = f"True {name} of the {whose}: {value_range(truth)}."
    guess_alt = f"Predicted {name} of the {whose}: {value_range(guess)}."
    error_alt = f"Error of {name}, prediction minus truth, of the {whose}: {value_range(guess - truth)}."
    if truth.ndim == 1:
        alts = [f"{truth_alt} {guess_alt}", error_alt]
        captions = [f"{name}, truth and prediction", f"{name}, error"]
        pictures = [_line_picture(*cell) for cell in _line_cells(None, truth, guess)]
    else:
        alts = [truth_alt, guess_alt, error_alt]
        captions = [f"{name}, truth", f"{name}, prediction", f"{name}, error"]
        pictures = [_picture(*cell, pixels, axes) for cell in _image_cells(None, truth, guess)]
    return [Panel(*panel) for panel in zip(captions, alts, pictures)]


def _line_picture(series: Sequence[_Series], zero: bool = False) -> str:
    figure = new_figure(3.6, 2.2)
    _lines(figure.add_axes((0.19, 0.16, 0.78, 0.78)), series, zero=zero)
    return svg_uri(figure)


def _lines(axes: Axes, series: Sequence[_Series], zero: bool = False) -> None:
    if zero:
        axes.axhline(0.0, color=FAINT, linewidth=1.0)
    for values, colour, dashes, label in series:
        stride = -(-len(values) // _MAX_POINTS)
        where = np.arange(0, len(values), stride)
        shown = np.ma.masked_invalid(values).filled(np.nan)
        axes.plot(where, shown[where], dashes, color=colour, label=label)
    axes.set_xlabel("node", labelpad=1)
    axes.locator_params(nbins=5)
    axes.margins(x=0.01)
    complete_labels(axes.yaxis)
    if len(series) > 1:
        axes.legend(fontsize=8, loc="best", handlelength=1.6, borderaxespad=0.2)


def _picture(
    values: np.ndarray, limits: tuple[float, float], cmap: str, pixels: int, names: Sequence[str]
) -> str:
    """One field with its colour bar below: an image in 2D, the three middle slices in 3D."""
    slices = (
        [values]
        if values.ndim == 2
        else [np.take(values, n // 2, axis=k) for k, n in enumerate(values.shape)]
    )
    side, gap, bar = (2.2, 0.0, 0.5) if len(slices) == 1 else (1.55, 0.12, 0.8)
    shapes = [_extent(image) for image in slices]
    tallest = max(height for _, height in shapes) * side
    width, height = side * len(slices) + gap * (len(slices) - 1) + 0.1, tallest + bar + 0.05
    figure = new_figure(width, height)
    drawn = []
    for k, (image, (wide, high)) in enumerate(zip(slices, shapes)):
        left = 0.05 + k * (side + gap) + (1 - wide) * side / 2
        box = (
            left / width,
            (bar + tallest - high * side) / height,
            wide * side / width,
            high * side / height,
        )
        axes = figure.add_axes(box)
        drawn.append(_show(axes, image, limits, cmap, pixels))
        if len(slices) > 1:
            axes.annotate(
                f"middle of {names[k]}", (0.5, 0), xytext=(0, -4), xycoords="axes fraction",
                textcoords="offset points", ha="center", va="top",
            )  # fmt: skip
    long = min(side * len(slices), 3.4) * 0.88
    strip = figure.add_axes(((width - long) / 2 / width, 0.28 / height, long / width, 0.1 / height))
    colour_bar(figure, drawn[0], strip)
    return svg_uri(figure)


def _show(axes: Axes, image: np.ndarray, limits: tuple[float, float], cmap: str, pixels: int) -> AxesImage:
    import matplotlib

    stride = max(-(-max(image.shape) // pixels), 1)
    thin = image[::stride, ::stride]
    outside = np.ma.getmaskarray(thin)
    drawn = axes.imshow(
        np.ma.masked_invalid(thin).T,
        origin="lower",
        interpolation="none",
        cmap=matplotlib.colormaps[cmap].with_extremes(bad="#888888"),
        vmin=limits[0],
        vmax=limits[1],
        aspect="auto",
        alpha=np.where(outside, 0.0, 1.0).T if outside.any() else None,
    )
    axes.set_axis_off()
    return drawn


def colour_bar(figure: Figure, drawn: Any, strip: Axes) -> None:
    """The colours of what was drawn, with three numbers, in axes of their own."""
    from matplotlib.ticker import MaxNLocator

    bar = figure.colorbar(drawn, cax=strip, orientation="horizontal")
    bar.locator = MaxNLocator(nbins=3, symmetric=drawn.get_cmap().name == ERROR_MAP)
    bar.outline.set_visible(False)
    strip.tick_params(labelsize=9, length=2, pad=2)
    bar.update_ticks()
    complete_labels(strip.xaxis)


def _middle(values: np.ndarray) -> np.ndarray:
    """The field itself in 1D and 2D, its middle slice across the last axis in 3D."""
    return values[:, :, values.shape[2] // 2] if values.ndim == 3 else values


def _extent(image: np.ndarray) -> tuple[float, float]:
    """Width and height of a picture of the field, at most one; strips are widened to a quarter."""
    longest = max(image.shape)
    return max(image.shape[0] / longest, 0.25), max(image.shape[1] / longest, 0.25)


def _shape_ratio(image: np.ndarray) -> float:
    """Height over width of a picture of the field."""
    wide, high = _extent(image)
    return high / wide


def _finite(values: np.ndarray) -> np.ndarray:
    """The finite ones (n,) of those that are not masked."""
    shown = np.ma.compressed(values)
    return shown[np.isfinite(shown)]


def limits_of(*fields: np.ndarray) -> tuple[float, float]:
    """Least and largest finite value of all of them, apart from each other."""
    values = np.concatenate([_finite(field) for field in fields])
    if not values.size:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    return (low, high) if low < high else (low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0))


def symmetric_limits(error: np.ndarray) -> tuple[float, float]:
    """Limits of what is best zero."""
    finite = np.abs(_finite(error))
    largest = float(finite.max()) if finite.size and finite.max() > 0 else 1.0
    return -largest, largest


def value_range(values: np.ndarray) -> str:
    """The finite values in words, for those who do not see the picture."""
    finite = _finite(values)
    if not finite.size:
        return "no finite value"
    text = f"values from {finite.min():.4g} to {finite.max():.4g}"
    missing = np.ma.count(values) - finite.size  # nodes outside of the domain are masked
    return f"{text}, {missing} not finite" if missing else text
