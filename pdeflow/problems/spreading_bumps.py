"""Nonlinear diffusion of three bumps, with a reference solution."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import torch
from scipy.interpolate import NdBSpline, make_interp_spline
from torch import Tensor
from torch.nn.functional import pad

from pdeflow.problems.calculus import D, Names, exp
from pdeflow.problems.conditions import Dirichlet
from pdeflow.problems.domain import Box
from pdeflow.problems.initial import Initial
from pdeflow.problems.problem import Problem

ALPHA = 0.05
BUMPS = ((0.25, 10.0, 0.3, 0.2), (0.4, 15.0, -0.5, -0.1), (0.3, 20.0, 0.0, -0.5))
"""Height, inverse square of the width, centre."""

NODES, INSTANTS = 101, 41
"""Of the reference along each axis."""


class SpreadingBumps(Problem):
    r""":math:`u_t = \alpha (|\nabla u|^2 + u \Delta u)`, alpha = 0.05, on :math:`[-1, 1]^2 \times [0, T]`.

    u = 0 around the square, which the three Gaussians that it starts from reach but for at most 1e-2: a thin
    layer begins there. J. Cho et al., "Separable physics-informed neural networks", NeurIPS 2023.

    Parameters
    ----------
    stop
        T.
    """

    name = "spreading_bumps"

    def __init__(self, stop: float = 1.0) -> None:
        self.domain = Box(x=(-1.0, 1.0), y=(-1.0, 1.0), t=(0.0, stop))
        self.conditions = (Dirichlet(0.0), Initial(lambda at, p: bumps(at)))

    def exact(self, at: Any, p: Any) -> Any:
        """The reference, of tensors: cubic splines between its nodes."""
        x, y, t = torch.broadcast_tensors(*(torch.as_tensor(c) for c in (at.x, at.y, at.t)))
        stop = self.domain.upper[2]
        places = torch.stack([c.flatten() for c in (x, y, t)], dim=1).cpu().double()
        values = reference(stop)(places.numpy())
        solution = torch.from_numpy(values).to(x).reshape(x.shape)
        around = torch.maximum(x.abs(), y.abs()) >= 1
        return torch.where(around, 0.0, torch.where(t > 0, solution, bumps(at)))

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        """``u_t - alpha (u_x^2 + u_y^2 + u (u_xx + u_yy))``."""
        slopes = D(u, "x") ** 2 + D(u, "y") ** 2
        return D(u, "t") - ALPHA * (slopes + u * (D(u, "x", 2) + D(u, "y", 2)))


def bumps(at: Any) -> Any:
    """What it starts from."""
    return sum(a * exp(-b * ((at.x - x) ** 2 + (at.y - y) ** 2)) for a, b, x, y in BUMPS)


@functools.cache
def reference(stop: float) -> NdBSpline:
    """Cubic splines of (x, y, t) through what `march` gives, extrapolated from two grids."""
    coarse, fine = march(NODES, stop), march(2 * NODES - 1, stop)[:, ::2, ::2]
    coefficients, knots = (fine + (fine - coarse) / 3).movedim(0, -1).numpy(), []
    line = np.linspace(-1, 1, NODES)
    for k, nodes in enumerate((line, line, np.linspace(0, stop, INSTANTS))):
        along = make_interp_spline(
            nodes, coefficients, k=3, axis=k
        )  # whose coefficients have that axis first
        coefficients = np.moveaxis(along.c, 0, k)
        knots.append(along.t)
    return NdBSpline(tuple(knots), coefficients, 3)


def march(nodes: int, stop: float) -> Tensor:
    r"""Values (instants, x, y), float64, by the five-point Laplacian of :math:`\alpha u^2 / 2`.

    Steps are those of the classical method of Runge and Kutta, stable for :math:`u \le 1/2`.
    """
    line = torch.linspace(-1, 1, nodes, dtype=torch.float64)
    x, y = torch.meshgrid(line, line, indexing="ij")
    start = bumps(Names("coordinate", {"x": x, "y": y}))
    u, h = start[1:-1, 1:-1], 2 / (nodes - 1)

    def rate(u: Tensor) -> Tensor:
        v = pad(u * u, (1, 1, 1, 1))
        around = v[2:, 1:-1] + v[:-2, 1:-1] + v[1:-1, 2:] + v[1:-1, :-2]
        return ALPHA / (2 * h * h) * (around - 4 * v[1:-1, 1:-1])

    steps = math.ceil(stop * 4 * ALPHA / (2.5 * h * h) / (INSTANTS - 1))
    dt = stop / (INSTANTS - 1) / steps
    found = [u]
    for _ in range(INSTANTS - 1):
        for _ in range(steps):
            k1 = rate(u)
            k2 = rate(u + dt / 2 * k1)
            k3 = rate(u + dt / 2 * k2)
            u = u + dt / 6 * (k1 + 2 * k2 + 2 * k3 + rate(u + dt * k3))
        found.append(u)
    return pad(torch.stack(found), (1, 1, 1, 1))
