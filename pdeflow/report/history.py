"""What the history of a training says: series by epoch, the best epoch, the time it took."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np


def series(history: Sequence[dict[str, Any]], name: str) -> tuple[np.ndarray, np.ndarray]:
    """(epochs, values) of the rows with a number under ``name``; infinite values become NaN.

    Epochs count from 1 here, as the command line prints them; ``history.json`` counts them from 0.
    """
    epochs, values = [], []
    for row_number, row in enumerate(history):
        value = row.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            epoch = row.get("epoch")
            epochs.append(1 + (epoch if isinstance(epoch, (int, float)) else row_number))
            values.append(value if math.isfinite(value) else math.nan)
    return np.asarray(epochs, dtype=float), np.asarray(values, dtype=float)


def best_epoch(
    history: Sequence[dict[str, Any]], monitor: str = "valid/l2"
) -> tuple[float, float, str] | None:
    """(epoch, value, name) of the smallest value of what was monitored, or else of ``valid/loss``.

    The epoch counts from 1.
    """
    for name in (monitor, "valid/loss"):
        epochs, values = series(history, name)
        if np.isfinite(values).any():
            k = int(np.nanargmin(values))
            return float(epochs[k]), float(values[k]), name
    return None


def train_seconds(history: Sequence[dict[str, Any]]) -> float | None:
    """Wall time of the training, interruptions left out: ``seconds`` counts from its start."""
    _, seconds = series(history, "seconds")
    return float(np.nanmax(seconds)) if np.isfinite(seconds).any() else None
