"""Poisson's equation with a known solution."""

from __future__ import annotations

import math
from typing import Any

from pdeflow.problems.calculus import D, sin
from pdeflow.problems.conditions import Dirichlet
from pdeflow.problems.domain import unit_box
from pdeflow.problems.problem import Problem


class SinePoisson(Problem):
    r""":math:`-\Delta u = d \pi^2 \prod_k \sin \pi x_k` on the unit box, u = 0 on its boundary.

    The solution is :math:`\prod_k \sin \pi x_k`.

    Parameters
    ----------
    dim
        1, 2 or 3.
    """

    name = "sine_poisson"
    conditions = (Dirichlet(0.0),)

    def __init__(self, dim: int = 2) -> None:
        self.domain = unit_box(dim)

    def exact(self, at: Any, p: Any) -> Any:
        """The product of sines."""
        product = 1.0
        for axis in self.domain.axes:
            product = product * sin(math.pi * getattr(at, axis))
        return product

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        """``-div(grad u) - f``."""
        source = self.domain.dim * math.pi**2 * self.exact(at, p)
        return -sum(D(u, axis, 2) for axis in self.domain.axes) - source
