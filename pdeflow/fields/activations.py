"""Activation functions together with their Taylor coefficients."""

from __future__ import annotations

import functools
import math

import numpy as np
import torch
from torch import Tensor

from pdeflow.fields.taylor_series import Coefficients


@functools.cache
def _tanh_polynomials(highest: int) -> tuple[tuple[float, ...], ...]:
    """Of ``tanh^(k) / k!``, k >= 1, the polynomial in tanh over 1 - tanh^2, lowest power first."""
    whole, found = np.polynomial.Polynomial([1.0, 0.0, -1.0]), []
    rest = np.polynomial.Polynomial([1.0])
    for k in range(1, highest + 1):
        found.append(tuple((rest / math.factorial(k)).coef.tolist()))
        # d/dz of (1 - t^2) q(t) is (1 - t^2) ((1 - t^2) q)'.
        rest = (whole * rest).deriv()
    return tuple(found)


def tanh(z: Tensor, highest: int) -> list[Tensor]:
    """Taylor coefficients of tanh."""
    t = torch.tanh(z)
    if not highest:
        return [t]
    slope = 1.0 - t * t
    found = [t, slope]
    for polynomial in _tanh_polynomials(highest)[1:]:
        value = torch.full_like(t, polynomial[-1])
        for coefficient in polynomial[-2::-1]:
            value = value * t + coefficient if coefficient else value * t
        found.append(slope * value)
    return found


def sin(z: Tensor, highest: int) -> list[Tensor]:
    """Taylor coefficients of the sine."""
    s, c = torch.sin(z), torch.cos(z) if highest else None
    found = [s]
    for k in range(1, highest + 1):
        assert c is not None
        value = c if k % 2 else s
        found.append(value * ((-1) ** (k // 2) / math.factorial(k)))
    return found


def cos(z: Tensor, highest: int) -> list[Tensor]:
    """Taylor coefficients of the cosine."""
    return sin(z + math.pi / 2, highest)


def exp(z: Tensor, highest: int) -> list[Tensor]:
    """Taylor coefficients of the exponential function."""
    value = torch.exp(z)
    return [value / math.factorial(k) if k > 1 else value for k in range(highest + 1)]


ACTIVATIONS: dict[str, Coefficients] = {"tanh": tanh, "sin": sin}
