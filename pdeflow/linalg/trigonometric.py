"""Eigenvectors of second differences on one axis: the matrices behind DST, DCT and Fourier transforms.

With unit spacing and coefficient, the matrices are ``T = tridiag(-1, 2, -1)`` but for the ends:

===================  ==================================================  ========  =========
end                  where the boundary lies                             T[0, 0]   T[0, 1]
===================  ==================================================  ========  =========
``dirichlet``        one spacing outside, where the value is eliminated  2         -1
``dirichlet cell``   half a spacing outside                              3         -1
``neumann``          on the point itself, whose cell is a half           2         -sqrt(2)
``neumann cell``     half a spacing outside                              1         -1
===================  ==================================================  ========  =========

The row of a half cell, (1, -1), is half as heavy as the others; with W the widths of the cells, T is the
symmetric ``W^-1/2 (...) W^-1/2``. Continued by its symmetry at the boundary, odd or even, every eigenvector
is a sine or a cosine, sampled at distances from the boundary that are 1, 1/2 or 0 more than an integer: that
is DST-I (``dirichlet`` twice), DCT-I (``neumann``), DST-II and DCT-II (cells), DST-III and its likes where
the two ends differ.

Reference: G. Strang, "The discrete cosine transform", SIAM Review 41 (1999).
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

Ends = tuple[str, str]

PERIODIC: Ends = ("periodic", "periodic")
# Of each end: is the continuation odd, and how far from the boundary is the last point?
ENDS = {
    "dirichlet": (True, 1.0),
    "dirichlet cell": (True, 0.5),
    "neumann": (False, 0.0),
    "neumann cell": (False, 0.5),
}
DIAGONAL = {"dirichlet": 2.0, "dirichlet cell": 3.0, "neumann": 2.0, "neumann cell": 1.0, "periodic": 2.0}


def widths(ends: Ends, n: int) -> Tensor:
    """The cells of the points as multiples of the spacing: 1, but 1/2 at a ``neumann`` end."""
    width = torch.ones(n, dtype=torch.float64, device="cpu")
    for end, at in zip(ends, (0, -1)):
        width[at] *= 0.5 if end == "neumann" else 1.0
    return width


def diagonal(ends: Ends, n: int) -> Tensor:
    """The diagonal of T."""
    values = torch.full((n,), 2.0, dtype=torch.float64, device="cpu")
    for end, at in zip(ends, (0, -1)):
        values[at] += DIAGONAL[end] - 2.0
    return values


@functools.lru_cache(maxsize=64)
def eigenpairs(ends: Ends, n: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Eigenvalues ``(n,)``, in float64, and orthonormal eigenvectors, the columns of ``(n, n)``, of T."""
    point = torch.arange(n, dtype=torch.float64, device="cpu")
    if ends == PERIODIC:
        # The discrete Hartley transform: real, symmetric, and it diagonalises symmetric circulants.
        angle = torch.outer(point, point).remainder(n) * (2 * math.pi / n)
        vectors, half_angle = angle.cos() + angle.sin(), point * (math.pi / n)
    else:
        (left_odd, before), (right_odd, after) = (ENDS[end] for end in ends)
        length = before + n - 1 + after
        wave = point + (0.5 if left_odd != right_odd else float(left_odd))
        # The products are multiples of 1/4, so the remainder is exact and the angles stay small.
        angle = torch.outer(point + before, wave).remainder(2 * length) * (math.pi / length)
        vectors = (angle.sin() if left_odd else angle.cos()) * widths(ends, n).sqrt()[:, None]
        half_angle = wave * (math.pi / (2 * length))
    vectors = vectors / torch.linalg.vector_norm(vectors, dim=0)
    return (4 * half_angle.sin() ** 2).to(device), vectors.to(device=device, dtype=dtype)
