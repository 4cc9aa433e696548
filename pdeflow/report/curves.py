"""The line pictures of a report: learning curves, error histogram, error by wavenumber; and the equation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pdeflow.report.fields import Panel
from pdeflow.report.figure import BLUE, FAINT, GREEN, INK, ORANGE, complete_labels, new_figure, style, svg_uri
from pdeflow.report.history import best_epoch, series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def learning_curves(history: Sequence[dict[str, Any]], monitor: str = "valid/l2") -> Panel | None:
    """Training loss and validation error by epoch, the best epoch marked; ``None`` without any."""
    named = [
        ("train/loss", BLUE, "-", "training loss"),
        ("valid/loss", GREEN, ":", "validation loss"),
        ("valid/l2", ORANGE, "-", "validation relative L2"),
    ]
    drawn = [(*series(history, key), *look) for key, *look in named]
    drawn = [entry for entry in drawn if np.isfinite(entry[1]).any()]
    if not drawn:
        return None
    best = best_epoch(history, monitor)
    with style():
        figure = new_figure(4.2, 3.2)
        axes = figure.subplots()
        for epochs, values, colour, dashes, label in drawn:
            marker = "o" if len(epochs) == 1 else None
            axes.plot(epochs, values, dashes, color=colour, label=label, marker=marker, markersize=4)
        finite = np.concatenate([values[np.isfinite(values)] for _, values, *_ in drawn])
        if finite.min() > 0 and finite.max() > 4 * finite.min():  # less than that holds too few ticks
            axes.set_yscale("log")
            _plain_log_ticks(axes)
        else:
            complete_labels(axes.yaxis)
        if best:
            axes.axvline(best[0], color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
            axes.plot([best[0]], [best[1]], "o", color=INK, markersize=4, label=f"best, epoch {best[0]:g}")
        axes.legend(fontsize=8.5, ncols=2, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.1,
                    columnspacing=1.2, handlelength=1.6)  # fmt: skip
        _finish_epochs(figure, axes, "loss, error")
        source = svg_uri(figure)
    described = ", ".join(
        f"{label} from {values[0]:.3g} to {values[-1]:.3g}" for _, values, _, _, label in drawn
    )
    marked = f"; smallest {best[2]} {best[1]:.4g} at epoch {best[0]:g}" if best else ""
    return Panel("Loss and error by epoch", f"Learning curves: {described}{marked}.", source)


def learning_rate(history: Sequence[dict[str, Any]]) -> Panel | None:
    """The learning rate by epoch; ``None`` if it was not recorded."""
    epochs, rates = series(history, "lr")
    if not np.isfinite(rates).any():
        return None
    with style():
        figure = new_figure(4.2, 3.2)
        axes = figure.subplots()
        axes.plot(epochs, rates, color=BLUE, marker="o" if len(epochs) == 1 else None, markersize=4)
        axes.set_ylim(bottom=0)
        complete_labels(axes.yaxis)
        _finish_epochs(figure, axes, "learning rate")
        source = svg_uri(figure)
    alt = f"Learning rate by epoch: from {rates[0]:.3g} to {rates[-1]:.3g}, at most {np.nanmax(rates):.3g}."
    return Panel("Learning rate by epoch", alt, source)


def error_histogram(errors: np.ndarray | None, where: str) -> Panel | None:
    """How many test samples have which relative L2 error; mean and median marked."""
    finite = np.empty(0) if errors is None else errors[np.isfinite(errors)]
    if not finite.size:
        return None
    from matplotlib.ticker import MaxNLocator

    mean, median = float(finite.mean()), float(np.median(finite))
    bins = int(np.clip(2 * finite.size ** (1 / 2), 5, 40))
    with style():
        figure = new_figure(4.2, 2.7)
        axes = figure.subplots()
        axes.hist(finite, bins=bins, color=BLUE, alpha=0.75)
        axes.axvline(mean, color=ORANGE, label=f"mean {mean:.3g}")
        axes.axvline(median, color=INK, linestyle="--", label=f"median {median:.3g}")
        axes.set_xlabel("relative L2 error of a sample")
        axes.set_ylabel("samples")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.locator_params(axis="x", nbins=6)
        complete_labels(axes.xaxis)
        axes.legend(fontsize=8.5, ncols=2, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.1)
        figure.set_layout_engine("constrained")
        source = svg_uri(figure)
    left_out = f" {errors.size - finite.size} samples without a finite error are left out." if (
        errors is not None and errors.size > finite.size) else ""  # fmt: skip
    alt = (
        f"Histogram of the relative L2 error of {finite.size} test samples at {where}: "
        f"from {finite.min():.4g} to {finite.max():.4g}, mean {mean:.4g}, median {median:.4g}.{left_out}"
    )
    return Panel(f"Error of the {finite.size} test samples.{left_out}", alt, source)


def error_spectrum(error: np.ndarray | None, truth: np.ndarray | None, where: str) -> Panel | None:
    """Energy of the error against that of the truth by wavenumber, and their ratio below."""
    if error is None or truth is None or not error.size:
        return None
    wavenumber = np.arange(len(error))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(truth > 0, error / truth, np.nan)
    if not np.isfinite(ratio).any():
        return None
    with style():
        figure = new_figure(4.2, 2.7)
        grid = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
        positive = [np.where(values > 0, values, np.nan) for values in (truth, error)]
        grid[0].plot(wavenumber, positive[0], color=BLUE, label="truth")
        grid[0].plot(wavenumber, positive[1], color=ORANGE, label="error")
        grid[1].plot(wavenumber, np.where(ratio > 0, ratio, np.nan), color=INK)
        grid[1].axhline(1.0, color=FAINT)
        for axes, label in zip(grid, ("energy", "error / truth")):
            axes.set_yscale("log")
            axes.set_ylabel(label)
            axes.locator_params(axis="x", nbins=8, integer=True)
        grid[0].legend(fontsize=8.5)
        grid[1].set_xlabel("wavenumber")
        figure.align_ylabels()
        figure.set_layout_engine("constrained")
        source = svg_uri(figure)
    worst = int(np.nanargmax(ratio))
    alt = (
        f"Energy of the error and of the truth by wavenumber at {where}; their ratio is largest, "
        f"{ratio[worst]:.3g}, at wavenumber {worst}."
    )
    return Panel("Error by wavenumber; a ratio of 1 means that nothing of that scale is right.", alt, source)


def error_by_step(error: np.ndarray | None, drift: np.ndarray | None, where: str) -> Panel | None:
    """The errors of trajectories by the step that they have reached; ``None`` where there are none."""
    if error is None or drift is None or not error.size or not np.isfinite(error).any():
        return None
    steps = np.arange(1, len(error) + 1)
    with style():
        figure = new_figure(4.2, 2.7)
        axes = figure.subplots()
        marker = "o" if len(error) == 1 else None
        for values, colour, dashes, label in (
            (error, ORANGE, "-", "relative L2"),
            (drift, BLUE, "--", "drift of the mean"),
        ):
            drawn = np.where(values > 0, values, np.nan)
            if not np.isfinite(drawn).any():  # what is conserved exactly has no drift
                continue
            axes.plot(steps, drawn, dashes, color=colour, label=label, marker=marker, markersize=4)
        axes.set_yscale("log")
        axes.set_xlabel("step")
        axes.set_ylabel("error")
        axes.locator_params(axis="x", nbins=8, integer=True)
        axes.legend(fontsize=8.5)
        figure.set_layout_engine("constrained")
        source = svg_uri(figure)
    alt = (
        f"Errors by step at {where}: relative L2 from {error[0]:.3g} to {error[-1]:.3g}, drift of the mean "
        f"from {drift[0]:.3g} to {drift[-1]:.3g}."
    )
    return Panel("Mean error of the state after so many steps of the model's own.", alt, source)


def calibration_curve(coverage: np.ndarray | None, where: str) -> Panel | None:
    """Share of values inside central intervals against their probability; ``None`` without a variance."""
    if coverage is None or not coverage.size:
        return None
    levels = np.arange(1, len(coverage) + 1) / (len(coverage) + 1)
    with style():
        figure = new_figure(4.2, 2.7)
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], "--", color=FAINT, label="as it says")
        axes.plot(levels, coverage, color=BLUE, marker="o", markersize=3, label="this model")
        axes.set_xlabel("probability of the predicted interval")
        axes.set_ylabel("share of values inside")
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.legend(fontsize=8.5)
        figure.set_layout_engine("constrained")
        source = svg_uri(figure)
    widest = int(np.abs(coverage - levels).argmax())
    alt = (
        f"Share of values inside predicted intervals at {where}; the largest difference is at probability "
        f"{levels[widest]:.2g}, where {coverage[widest]:.3g} are inside."
    )
    return Panel("Below the diagonal the model is too sure of itself, above it too careful.", alt, source)


def equation(latex: str) -> Panel | None:
    r"""The equation, lines ended by ``\\``, typeset by Matplotlib; ``None`` for LaTeX unknown there."""
    body = latex.strip().strip("$").strip()
    lines = [line.strip() for line in body.split(r"\\") if line.strip()]
    if not lines or "$" in body or len(body) > 1000:
        return None
    with style(glyphs_as_paths=True):
        figure = new_figure(6.0, 0.6)
        figure.text(0.0, 0.5, "\n".join(f"${line}$" for line in lines), fontsize=17)
        try:
            source = svg_uri(figure, tight=True)
        except ValueError:  # Matplotlib's parser names what it does not know
            return None
    return Panel("", f"Equation, in LaTeX: {body}", source)


def _finish_epochs(figure: Figure, axes: Axes, label: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    axes.grid(True, axis="y")
    figure.set_layout_engine("constrained")


def _plain_log_ticks(axes: Axes) -> None:
    """Labels such as 0.02 on an axis of less than a decade or two, where powers of ten alone say little."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axes.get_ylim()
    subs = (1.0, 2.0, 5.0) if high / low < 1000 else (1.0,)
    axes.yaxis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
