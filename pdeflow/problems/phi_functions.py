"""The functions that exponential integrators are made of.

M. Hochbruck, A. Ostermann, "Exponential integrators", Acta Numerica 19 (2010).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

TAYLOR_TERMS = 18
"""Of phi_3 within the unit circle, where 1 / 20! is below rounding."""


def phi_functions(z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``phi_k(z) = (e^z - sum_{j<k} z^j / j!) / z^k`` for k = 1, 2, 3, of real or complex numbers.

    Within the unit circle phi_3 by its Taylor series and the others by ``phi_k = 1 / k! + z phi_{k+1}``;
    outside by that rule the other way round, where at most a few units of rounding are lost.
    """
    series = torch.full_like(z, 1 / math.factorial(TAYLOR_TERMS + 2))
    for j in reversed(range(TAYLOR_TERMS - 1)):
        series = series * z + 1 / math.factorial(j + 3)
    near = z.abs() < 1
    away = torch.where(near, 1.0, z)
    one = (torch.exp(away) - 1) / away
    two = (one - 1) / away
    three = torch.where(near, series, (two - 0.5) / away)
    two = torch.where(near, 0.5 + z * three, two)
    return torch.where(near, 1.0 + z * two, one), two, three
