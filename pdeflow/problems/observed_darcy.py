"""Darcy's equation whose permeability is to be found from measurements."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from pdeflow.errors import InvalidInput
from pdeflow.problems.calculus import D, Names, cos, sin
from pdeflow.problems.coefficient import Coefficient
from pdeflow.problems.conditions import Dirichlet
from pdeflow.problems.domain import Box
from pdeflow.problems.observed import Observed
from pdeflow.problems.problem import Problem


class ObservedDarcy(Problem):
    r"""`Darcy`, :math:`-\nabla \cdot (a \nabla u) = f`, of which u was measured but a(x, y) is not known.

    On the unit square, with

    .. math::

        u = \sin \pi x \sin \pi y, \qquad a = 1 + \tfrac12 \sin 2 \pi x \cos \pi y,

    the f that belongs to both, which is known, as is u = 0 on all sides. Measurements are at points drawn
    evenly, with normal errors. To a the equation is one of first order along the slopes of u. All of these
    start at the maximum of u, where :math:`a = -f / \Delta u`: so u determines a, of which nothing has to be
    known on the sides. G. R. Richter, "An inverse problem for the steady state diffusion equation", SIAM J.
    Appl. Math. 41 (1981).

    Parameters
    ----------
    measurements
        How many there are.
    noise
        Standard deviation of their errors; u lies between 0 and 1.
    seed
        Of points and errors.

    Raises
    ------
    InvalidInput
        If there is no measurement, or the noise is negative.
    """

    name = "observed_darcy"
    domain = Box(x=(0.0, 1.0), y=(0.0, 1.0))
    fields = ("u", "a")
    coefficients = (Coefficient("a", lower=0.0),)

    def __init__(self, measurements: int = 400, noise: float = 1e-3, seed: int = 0) -> None:
        if measurements < 1:
            raise InvalidInput("problem.measurements", measurements, "at least 1")
        if not 0 <= noise < math.inf:
            raise InvalidInput("problem.noise", noise, "a number of at least 0")
        rng = np.random.default_rng(seed)
        points = rng.random((measurements, 2))
        at = Names("coordinate", dict(zip(self.domain.axes, torch.from_numpy(points).unbind(1))))
        values = self.exact(at, None)[0].numpy() + noise * rng.standard_normal(measurements)
        self.conditions = (Dirichlet(0.0, of="u"), Observed(points, values, of="u"))

    def exact(self, at: Any, p: Any) -> Any:
        """The u and the a above."""
        u = sin(math.pi * at.x) * sin(math.pi * at.y)
        return u, 1 + sin(2 * math.pi * at.x) * cos(math.pi * at.y) / 2

    def source(self, at: Any) -> Any:
        """The f that belongs to them."""
        x, y = math.pi * at.x, math.pi * at.y
        u, a = self.exact(at, None)
        along_x = cos(2 * x) * cos(y) * cos(x) * sin(y)
        along_y = sin(2 * x) * sin(y) * sin(x) * cos(y) / 2
        return math.pi**2 * (2 * a * u - along_x + along_y)

    def residual(self, w: Any, at: Any, p: Any) -> Any:
        """``-div(a grad u) - f``."""
        return -sum(D(w.a * D(w.u, axis), axis) for axis in self.domain.axes) - self.source(at)
