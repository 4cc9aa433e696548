"""Dividing samples into training, validation and test sets that share none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pdeflow.errors import InvalidInput


@dataclass(frozen=True)
class Split:
    """Sample indices of the three sets, each increasing; together they are ``0..n-1``, once each."""

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray


def split_samples(n: int, fractions: Sequence[float], seed: int) -> Split:
    """Draw a split at random, the same for the same ``(n, fractions, seed)``.

    Parameters
    ----------
    n
        Number of samples.
    fractions
        Shares of training, validation and test; they add up to 1. The sizes are rounded so that they add up
        to ``n`` (largest remainders).
    seed
        Root of the random order.

    Raises
    ------
    InvalidInput
        If the fractions are not three, negative, do not add up to 1, or one above 0 gets no sample.
    """
    shares = tuple(float(f) for f in fractions)
    if len(shares) != 3 or not all(math.isfinite(f) and f >= 0 for f in shares):
        raise InvalidInput("split", fractions, "three shares (train, valid, test), none negative")
    if abs(sum(shares) - 1) > 1e-6:
        raise InvalidInput("split", fractions, f"shares that add up to 1, not {sum(shares):g}")
    exact = [f * n for f in shares]
    # A share such as 0.7 * 10 = 7.000000000000001 must not be rounded by its last bit.
    sizes = [math.floor(size + 1e-6) for size in exact]
    for k in sorted(range(3), key=lambda k: sizes[k] - exact[k])[: n - sum(sizes)]:
        sizes[k] += 1
    for name, share, size in zip(("train", "valid", "test"), shares, sizes):
        if share > 0 and size == 0:
            raise InvalidInput(
                "split",
                fractions,
                f"at least one sample for {name!r} out of {n}",
                f"Give {name!r} a larger share, or 0 to do without it, or use more data.",
            )
    order = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,))).permutation(n)
    train, valid, test = (np.sort(part) for part in np.split(order, np.cumsum(sizes)[:-1]))
    return Split(train, valid, test)
