"""Colours of pictures: a scale from the least to the largest value, one colour where nothing varies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colorbar import Colorbar
    from matplotlib.figure import Figure

COLOURS = "viridis"

ROUNDING = 4 * float(np.finfo(np.float32).eps)
"""A range this small against the largest value is that of a constant which was stored in float32."""


def colour_scale(values: np.ndarray) -> dict[str, Any]:
    """Limits and colour map of an image of these values, as Matplotlib's keywords; NaN is left out."""
    import matplotlib
    from matplotlib.colors import ListedColormap

    finite = values[np.isfinite(values)].astype(np.float64)
    if not finite.size:
        return {"vmin": 0.0, "vmax": 1.0, "cmap": COLOURS}
    low, high = float(finite.min()), float(finite.max())
    largest = max(abs(low), abs(high))
    if high - low > ROUNDING * largest:
        return {"vmin": low, "vmax": high, "cmap": COLOURS}
    # Around the value, because Matplotlib makes limits of its own where they are equal.
    value, room = (low + high) / 2, largest or 1.0
    one = ListedColormap([matplotlib.colormaps[COLOURS](0.5)])
    return {"vmin": value - room, "vmax": value + room, "cmap": one}


def add_colour_bar(figure: Figure, image: ScalarMappable, **place: Any) -> Colorbar:
    """The colour bar of an image with a `colour_scale`; of a single colour it says the value alone."""
    bar = figure.colorbar(image, **place)
    if image.get_cmap().N == 1:
        low, high = image.get_clim()
        value = (low + high) / 2
        bar.set_ticks([value], labels=[f"{value:.4g}"])
    return bar
