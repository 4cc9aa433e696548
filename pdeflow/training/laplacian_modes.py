"""Functions on a grid in the eigenvectors of the discrete Laplacian: sines, cosines or Fourier modes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from pdeflow.linalg.trigonometric import Ends, eigenpairs


def laplacian_modes(values: Tensor, ends: Sequence[Ends], spacing: Sequence[float]) -> tuple[Tensor, Tensor]:
    r"""Coefficients in the orthonormal eigenvectors of :math:`-\Delta_h`, and the eigenvalues.

    Parameters
    ----------
    values
        (..., *points), float64, multiplied by the roots of the cells' shares (1/2 at a ``neumann`` end),
        which makes the matrix symmetric.
    ends
        Of each axis, as in :mod:`pdeflow.linalg.trigonometric`.
    spacing
        Of each axis.

    Returns
    -------
    tuple of Tensor
        The coefficients, shaped like ``values``, and the eigenvalues, (*points), which are the squares of the
        wave numbers up to the second order in the spacing. That of a constant is 0 up to rounding.
    """
    dim = len(ends)
    modes = values
    eigenvalues = values.new_zeros((1,) * dim)
    for k, (pair, h) in enumerate(zip(ends, spacing)):
        n = values.shape[k - dim]
        # What is kept must not be a tensor of inference, which no later training may read.
        with torch.inference_mode(False):
            spectrum, vectors = eigenpairs(pair, n, values.dtype, values.device)
        modes = modes.movedim(-dim, -1) @ vectors  # the axis that is done goes to the end
        along = [1] * dim
        along[k] = n
        eigenvalues = eigenvalues + spectrum.view(along) / h**2
    return modes, eigenvalues
