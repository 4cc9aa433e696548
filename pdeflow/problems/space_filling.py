"""Points that fill the unit cube."""

from __future__ import annotations

from typing import Literal

import numpy as np

SpaceFilling = Literal["sobol", "halton", "lhs", "uniform", "grid"]


def space_filling(kind: SpaceFilling, n: int, dim: int, seed: np.random.SeedSequence) -> np.ndarray:
    """Points (n, dim) float64 of the unit cube, a function of the arguments alone.

    Parameters
    ----------
    kind
        ``"sobol"`` and ``"halton"``, scrambled (A. B. Owen, "Scrambling Sobol' and Niederreiter-Xing points",
        J. Complex. 14, 1998); ``"lhs"``, a Latin hypercube (M. D. McKay, R. J. Beckman, W. J. Conover,
        Technometrics 21, 1979); ``"uniform"``, independent ones; ``"grid"``, centres of equal cells, as many
        along each axis, which makes about n.
    n, dim
        Numbers of points and of coordinates, each at least 1.
    seed
        Of the random numbers; a grid needs none.
    """
    from scipy.stats import qmc  # slow to import, and most problems draw no points

    rng = np.random.default_rng(seed)
    if kind == "grid":
        each = max(1, round(n ** (1 / dim)))
        centres = np.meshgrid(*[(np.arange(each) + 0.5) / each] * dim, indexing="ij")
        return np.stack([c.ravel() for c in centres], axis=1)
    if kind == "uniform":
        return rng.random((n, dim))
    if kind == "sobol":  # balanced in powers of two: the first n of the next one
        return qmc.Sobol(dim, rng=rng).random_base2(max(0, (n - 1).bit_length()))[:n]
    return (qmc.Halton(dim, rng=rng) if kind == "halton" else qmc.LatinHypercube(dim, rng=rng)).random(n)
