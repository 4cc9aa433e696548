"""The Allen-Cahn equation that makes fronts of a cosine, with a reference solution."""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from torch import Tensor

from pdeflow.problems.allen_cahn import AllenCahn
from pdeflow.problems.calculus import D, cos
from pdeflow.problems.distributions import Constant
from pdeflow.problems.domain import Box
from pdeflow.problems.initial import Initial
from pdeflow.problems.problem import Problem

DIFFUSIVITY, REACTION = 1e-4, 5.0

NODES, INSTANTS = 1024, 201
"""Of the reference; twice as many change it by 9e-8 in relative L2, by 5e-7 anywhere from t = 0.01 on."""

CHUNK = 8192
"""Points at which the reference is evaluated together."""


class CosineAllenCahn(Problem):
    r""":math:`u_t = 10^{-4} u_{xx} + 5 u - 5 u^3` on :math:`[-1, 1] \times [0, T]`, which wraps around in x.

    It starts from :math:`x^2 \cos \pi x`, whose slope jumps at the ends: u is smooth there only for t > 0. A
    benchmark of physics-informed training since M. Raissi, P. Perdikaris, G. E. Karniadakis, J. Comput. Phys.
    378 (2019).

    Parameters
    ----------
    stop
        T.
    """

    name = "cosine_allen_cahn"
    conditions = (Initial(lambda at, p: at.x**2 * cos(math.pi * at.x)),)

    def __init__(self, stop: float = 1.0) -> None:
        self.domain = Box(x=(-1.0, 1.0), t=(0.0, stop), periodic=["x"])

    def exact(self, at: Any, p: Any) -> Any:
        """The reference, of tensors: Fourier series by ETDRK4, cubic between its instants."""
        x, t = torch.broadcast_tensors(torch.as_tensor(at.x), torch.as_tensor(at.t))
        stop = self.domain.upper[1]
        values, rates = (part.to(x) for part in cosine_coefficients(stop))
        k = math.pi * torch.arange(values.shape[1], dtype=x.dtype, device=x.device)
        h = stop / (INSTANTS - 1)
        found = []
        for places, times in zip(x.flatten().split(CHUNK), t.flatten().split(CHUNK)):
            left = (times / h).long().clamp(0, INSTANTS - 2)
            s = (times / h - left)[:, None]
            series = (
                (1 + 2 * s) * (1 - s) ** 2 * values[left]
                + s**2 * (3 - 2 * s) * values[left + 1]
                + h * s * (1 - s) ** 2 * rates[left]
                + h * s**2 * (s - 1) * rates[left + 1]
            )
            found.append((series * torch.cos((places[:, None] + 1) * k)).sum(1))
        solution = torch.cat(found).reshape(x.shape)
        return torch.where(t > 0, solution, x**2 * torch.cos(math.pi * x))

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        """``u_t - 1e-4 u_xx - 5 u + 5 u^3``."""
        return D(u, "t") - DIFFUSIVITY * D(u, "x", 2) - REACTION * (u - u**3)


@functools.cache
def cosine_coefficients(stop: float) -> tuple[Tensor, Tensor]:
    """Coefficients (instants, modes) of ``cos(pi k (x + 1))`` at equidistant instants, and rates.

    float64. What is solved is `AllenCahn` on the unit interval, whose time is 5 t.
    """
    width = math.sqrt(DIFFUSIVITY / REACTION) / 2
    problem = AllenCahn(dim=1, width=Constant(width))
    grid = problem.grid(NODES)
    weights = torch.full((NODES // 2 + 1,), 2.0 / NODES, dtype=torch.float64)
    weights[0] = weights[-1] = 1.0 / NODES
    start = torch.fft.irfft(_initial_coefficients(NODES // 2 + 1) / weights, n=NODES)
    solution = problem.evolve(grid, {"u0": start[None]}, REACTION * stop, INSTANTS, rtol=1e-8)
    rate = REACTION * problem.rate_on_grid(solution.u[0], grid, {})
    values, rates = (torch.fft.rfft(part).real * weights for part in (solution.u[0], rate))
    return values, rates


def _initial_coefficients(modes: int) -> Tensor:
    """Those of the initial field, exact: from its nodes they would err by the square of the spacing."""
    k = torch.arange(-1, modes + 1, dtype=torch.float64)
    square = 4.0 / (math.pi * torch.where(k == 0, 1.0, k)) ** 2
    square[1] = 2.0 / 3.0  # of x^2 cos(pi k x), up to its sign, which that of cos(pi k (x + 1)) takes away
    coefficients = -(square[:-2] + square[2:]) / 2
    coefficients[0] /= 2
    return coefficients
