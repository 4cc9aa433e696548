"""Numbers in the dtype of a file."""

from __future__ import annotations

import numpy as np

from pdeflow.errors import InvalidInput


def narrowed(key: str, values: np.ndarray, dtype: np.dtype | str) -> np.ndarray:
    """Values in another dtype.

    Raises
    ------
    InvalidInput
        If a finite one would become infinite.
    """
    if values.dtype == dtype:
        return values
    with np.errstate(over="ignore"):
        narrow = values.astype(dtype)
    if values.dtype.kind == "f" and np.any(np.isinf(narrow) & np.isfinite(values)):
        hint = 'Write with dtype="float64".'
        raise InvalidInput(key, float(np.abs(values).max()), f"numbers that fit in {dtype}", hint)
    return narrow
