"""Convective fluxes of second order without new extrema: MUSCL with van Leer's limiter and the HLLE flux.

B. van Leer, "Towards the ultimate conservative difference scheme V", J. Comput. Phys. 32 (1979); the limiter
is the harmonic mean of its part II, J. Comput. Phys. 14 (1974). A. Harten, P. D. Lax, B. van Leer, "On
upstream differencing and Godunov-type schemes for hyperbolic conservation laws", SIAM Review 25 (1983), with
the speeds of B. Einfeldt, "On Godunov-type methods for gas dynamics", SIAM J. Numer. Anal. 25 (1988).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Pointwise = Callable[[Tensor], Tensor]
"""A function of u, entry by entry; its values broadcast against u's."""


def value_and_slope(function: Pointwise, u: Tensor) -> tuple[Tensor, Tensor]:
    """``function(u)`` and its derivative, both shaped like u."""
    with torch.enable_grad():
        v = u.detach().requires_grad_()
        value = function(v).expand_as(v)
        (slope,) = torch.autograd.grad(value.sum(), v)
    return value.detach(), slope


def extended(u: Tensor, left: Tensor, right: Tensor, periodic: bool) -> Tensor:
    """(n, cells + 2): the cells, and beyond each end the boundary value or the cell round the seam."""
    return torch.cat([u[:, -1:], u, u[:, :1]] if periodic else [left, u, right], dim=1)


TINY = torch.finfo(torch.float64).tiny
"""Added to what is not negative, it changes nothing but a 0, which may then be divided by."""


def van_leer_rise(u: Tensor, dim: int = 1) -> Tensor:
    """From the mean of a cell to the end of its linear profile along ``dim``: half a harmonic mean.

    The mean is that of the differences to both neighbours, 0 at an extremum, so that the profile stays
    between the means of the neighbours. The first cell and the last are there for their neighbours and get
    none: (..., cells + 2, ...) gives (..., cells, ...).
    """
    steps = u.diff(dim=dim)
    cells = steps.shape[dim] - 1
    left, right = steps.narrow(dim, 0, cells), steps.narrow(dim, 1, cells)
    product, total = left * right, left + right
    return torch.where(product > 0, product / total, 0.0)


def hlle_flux(flux: Pointwise, left: Tensor, right: Tensor) -> Tensor:
    """The flux between two states, of Harten, Lax, van Leer and Einfeldt.

    The waves that part the two go at the speeds f' of the states where they open a fan, at the speed of the
    shock where the states run into each other; upwind where all of them go one way. For f convex or concave.
    """
    f_left, c_left = value_and_slope(flux, left)
    f_right, c_right = value_and_slope(flux, right)
    jump = right - left
    shock = torch.where(jump == 0, c_left, (f_right - f_left) / jump)
    low = torch.minimum(c_left, shock).clamp(max=0.0)
    high = torch.maximum(c_right, shock).clamp(min=0.0)
    width = high - low
    fan = (high * f_left - low * f_right + low * high * jump) / width
    return torch.where(width > 0, fan, (f_left + f_right) / 2)


def muscl_flux(flux: Pointwise, u: Tensor, left: Tensor, right: Tensor, periodic: bool) -> Tensor:
    """The fluxes through all faces.

    Parameters
    ----------
    flux
        The convective flux f.
    u
        (n, cells), cell averages.
    left, right
        (n, 1), the states beyond the ends; an end where everything flows out does not see its own.
    periodic
        Whether the first cell and the last are neighbours; ``left`` and ``right`` are then not read.

    Returns
    -------
    Tensor
        (n, cells + 1), positive to the right; where it wraps, the first and the last are the same face.
    """
    rise = van_leer_rise(extended(u, left, right, periodic))
    lower, upper = u - rise, u + rise
    if periodic:
        left, right = upper[:, -1:], lower[:, :1]
    return hlle_flux(flux, torch.cat([left, upper], dim=1), torch.cat([lower, right], dim=1))
