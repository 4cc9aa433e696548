"""Burgers' equation whose viscosity is to be found from measurements."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from pdeflow.errors import InvalidInput
from pdeflow.problems.calculus import D, Names
from pdeflow.problems.distributions import LogUniform
from pdeflow.problems.observed import Observed
from pdeflow.problems.parameter import Parameter
from pdeflow.problems.problem import Problem
from pdeflow.problems.sine_burgers import SineBurgers


class ObservedBurgers(Problem):
    r"""`SineBurgers`, :math:`u_t + u u_x = \nu u_{xx}`, of which u was measured but nu is not known.

    Start and ends are known too. Measurements are at points drawn evenly, with normal errors. M. Raissi, P.
    Perdikaris, G. E. Karniadakis, J. Comput. Phys. 378 (2019), who do without start and ends.

    Parameters
    ----------
    viscosity
        That with which the measurements are made, within the bounds of nu.
    measurements
        How many there are.
    noise
        Standard deviation of their errors; u lies between -1 and 1. Of 200 measurements, few of which are in
        the front, ten times as much leaves nu open to 2.5 % (the bound of Cramer and Rao).
    seed
        Of points and errors.

    Raises
    ------
    InvalidInput
        If there is no measurement, the noise is negative, or nu is bound not to be the viscosity.
    """

    name = "observed_burgers"
    nu = Parameter(LogUniform(1e-4, 1.0), positive=True)

    def __init__(
        self, viscosity: float = 0.01 / math.pi, measurements: int = 200, noise: float = 1e-3, seed: int = 0
    ) -> None:
        if measurements < 1:
            raise InvalidInput("problem.measurements", measurements, "at least 1")
        low, high = self.parameters["nu"].distribution.bounds
        if not low < viscosity < high:
            expected = f"a number above {low:g} and below {high:g}, the bounds of nu"
            raise InvalidInput("problem.viscosity", viscosity, expected)
        if not 0 <= noise < math.inf:
            raise InvalidInput("problem.noise", noise, "a number of at least 0")
        true = SineBurgers(viscosity)
        self.domain = true.domain
        rng = np.random.default_rng(seed)
        points = self.domain.inside(measurements, lambda n, dim: rng.random((n, dim)))
        at = Names("coordinate", dict(zip(self.domain.axes, torch.from_numpy(points).unbind(1))))
        p = Names("parameter", true.complete_parameters({}))
        values = true.exact(at, p).numpy() + noise * rng.standard_normal(measurements)
        self.conditions = (*true.conditions, Observed(points, values))

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        """``u_t + u u_x - nu u_xx``."""
        return D(u, "t") + u * D(u, "x") - p.nu * D(u, "x", 2)
