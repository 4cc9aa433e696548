"""Matplotlib figures without pyplot, as data URIs that follow the light or dark scheme of the page."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# Figures are drawn in these colours; in an SVG each becomes a CSS variable with a light and a dark value.
INK, FAINT, BLUE, ORANGE, GREEN = "#010201", "#010202", "#010203", "#010204", "#010205"
_SCHEME = {
    INK: ("--ink", "#24292f", "#d5dbe1"),
    FAINT: ("--faint", "#d0d7de", "#3d444d"),
    BLUE: ("--blue", "#0b63b6", "#6cb6ff"),
    ORANGE: ("--orange", "#c2410c", "#ff9d5c"),
    GREEN: ("--green", "#15803d", "#5fd38d"),
}
_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "mathtext.fontset": "dejavuserif",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.grid": False,
    "axes.unicode_minus": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.5,
    "text.color": INK,
    "text.usetex": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.bbox": None,
    "svg.hashsalt": "pdeflow",
    "path.simplify": True,
}


@contextmanager
def style(*, glyphs_as_paths: bool = False) -> Iterator[None]:
    """The look of every figure; the caller's own settings of Matplotlib come back afterwards.

    ``glyphs_as_paths`` keeps the shapes of the fonts (for equations); otherwise text stays text and a
    picture a few kilobytes.
    """
    import matplotlib

    with matplotlib.rc_context({**_STYLE, "svg.fonttype": "path" if glyphs_as_paths else "none"}):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches on an Agg canvas, outside pyplot's list of figures."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def svg_uri(figure: Figure, *, tight: bool = False) -> str:
    """The figure as a ``data:image/svg+xml`` URI with a transparent ground."""
    buffer = io.BytesIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    figure.savefig(
        buffer, format="svg", metadata=nothing, transparent=True, bbox_inches="tight" if tight else None
    )
    text = buffer.getvalue().decode()
    for colour, (variable, _, _) in _SCHEME.items():
        text = text.replace(colour, f"var({variable})")
    light, dark = (
        "".join(f"{values[0]}:{values[which]};" for values in _SCHEME.values()) for which in (1, 2)
    )
    rules = f":root{{{light}}}@media (prefers-color-scheme: dark){{:root{{{dark}}}}}text{{fill:var(--ink)}}"
    text = text.replace('<style type="text/css">', f'<style type="text/css">{rules}', 1)
    # Matplotlib lists its fallback fonts in full at every label
    text = re.sub(r"font-family: [^;\"]*", "font-family: system-ui, 'DejaVu Sans', sans-serif", text)
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font: \1 system-ui, 'DejaVu Sans', sans-serif", text)
    return "data:image/svg+xml;base64," + base64.b64encode(text.encode()).decode()


def png_bytes(figure: Figure, *, dpi: float = 110.0) -> bytes:
    """The figure as a PNG on white."""
    for artist in figure.findobj(lambda artist: hasattr(artist, "get_color")):
        colour = artist.get_color()  # type: ignore[attr-defined]
        if isinstance(colour, str) and colour in _SCHEME:
            artist.set_color(_SCHEME[colour][1])  # type: ignore[attr-defined]
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white", metadata={"Software": None})
    return buffer.getvalue()


def complete_labels(axis: Axis) -> None:
    """Tick labels with their exponent in each: one set apart at the end of the axis is overlooked."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}".replace("-", "−")))
