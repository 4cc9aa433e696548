"""Burgers' equation that makes a front of a sine wave, with its solution."""

from __future__ import annotations

import math
from typing import Any

import torch
from scipy.special import roots_hermite

from pdeflow.problems.calculus import D, sin
from pdeflow.problems.conditions import Dirichlet
from pdeflow.problems.distributions import Constant
from pdeflow.problems.domain import Box
from pdeflow.problems.initial import Initial
from pdeflow.problems.parameter import Parameter
from pdeflow.problems.problem import Problem

NODES = 256
"""Of the quadrature; half as many change the default problem's solution by less than 1e-12."""


class SineBurgers(Problem):
    r""":math:`u_t + u u_x = \nu u_{xx}` on :math:`[-1, 1] \times [0, T]`, 0 at the ends.

    It starts from :math:`-\sin \pi x`. The transformation of Cole and Hopf makes it the heat equation, so
    that with :math:`f(y) = \exp(-\cos(\pi y) / (2 \pi \nu))` and :math:`y = x - 2 z \sqrt{\nu t}`

    .. math:: u = -\frac{\int \sin(\pi y) f(y) e^{-z^2} dz}{\int f(y) e^{-z^2} dz},

    which Gauss-Hermite quadrature evaluates: C. Basdevant et al., "Spectral and finite difference solutions
    of the Burgers equation", Comput. Fluids 14 (1986). The benchmark of M. Raissi, P. Perdikaris, G. E.
    Karniadakis, J. Comput. Phys. 378 (2019).

    Parameters
    ----------
    viscosity
        Nu, positive.
    stop
        T.
    """

    name = "sine_burgers"
    conditions = (Dirichlet(0.0, on=("x-", "x+")), Initial(lambda at, p: -sin(math.pi * at.x)))

    def __init__(self, viscosity: float = 0.01 / math.pi, stop: float = 1.0) -> None:
        self.domain = Box(x=(-1.0, 1.0), t=(0.0, stop))
        self.nu = Parameter(Constant(viscosity), positive=True, argument="viscosity")

    def exact(self, at: Any, p: Any) -> Any:
        """The quadrature, of tensors."""
        x, t = torch.broadcast_tensors(torch.as_tensor(at.x), torch.as_tensor(at.t))
        nu = torch.as_tensor(p.nu, dtype=x.dtype, device=x.device)
        x, t, nu = (part[..., None] for part in torch.broadcast_tensors(x, t, nu))
        nodes, weights = (
            torch.as_tensor(part, dtype=x.dtype, device=x.device) for part in roots_hermite(NODES)
        )
        y = math.pi * (x - 2 * nodes * (nu * t).sqrt())
        exponent = -torch.cos(y) / (2 * math.pi * nu)
        # The largest is taken out, as e^(1 / (2 pi nu)) soon overflows.
        share = torch.softmax(exponent + weights.clamp_min(1e-300).log(), dim=-1)
        return -(torch.sin(y) * share).sum(-1)

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        """``u_t + u u_x - nu u_xx``."""
        return D(u, "t") + u * D(u, "x") - p.nu * D(u, "x", 2)
