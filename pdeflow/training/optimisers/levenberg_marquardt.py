r"""The Levenberg-Marquardt method.

K. Levenberg, "A method for the solution of certain non-linear problems in least squares", Quart. Appl. Math.
2 (1944); D. W. Marquardt, SIAM J. Appl. Math. 11 (1963).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from pdeflow.errors import InvalidInput
from pdeflow.training.optimisers.gauss_newton import NormalEquations
from pdeflow.training.optimisers.least_squares import LeastSquares, ResidualOptimiser
from pdeflow.training.optimisers.vector_optimiser import NO_STEP, NOT_FACTORED, NOT_FINITE

TRIES = 20
"""Dampings that are tried in a step before it counts as stalled."""


class LevenbergMarquardt(ResidualOptimiser):
    r"""Steps :math:`-(J^T J + \lambda I)^{-1} J^T r` that are taken only if they make the loss smaller.

    The damping falls after a step that is taken and grows until one is. It multiplies the identity and not
    the diagonal of :math:`J^T J`: with the latter, parameters that nothing depends on (widths of Gaussians
    far away) move without limit. The system is solved in the smaller of its two forms
    (:mod:`~pdeflow.training.optimisers.gauss_newton`).

    Parameters
    ----------
    params
        The parameters.
    damping
        Lambda at the start, relative to the mean of the diagonal of :math:`J^T J`.
    fall, grow
        By what it is divided and multiplied.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        damping: float = 1e-3,
        fall: float = 3.0,
        grow: float = 4.0,
    ) -> None:
        if not damping > 0:
            raise InvalidInput("optimizer.damping", damping, "a positive number")
        for name, factor in (("fall", fall), ("grow", grow)):
            if not factor > 1:
                raise InvalidInput(f"optimizer.{name}", factor, "a number above 1")
        super().__init__(params, {"damping": None, "relative": damping, "fall": fall, "grow": grow})

    @torch.no_grad()
    def step(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, closure: Callable[[], Any], least_squares: LeastSquares
    ) -> Any:
        """See `ResidualOptimiser.step`."""
        with torch.enable_grad():
            result = closure()
        group = self.param_groups[0]
        r, J = least_squares.linearised()
        loss = r.square().sum()
        system = NormalEquations(J, r)
        if not math.isfinite(system.mean_square + float(loss)):
            self.stalled, self.cause = True, NOT_FINITE
            return result
        if group["damping"] is None:
            group["damping"] = group["relative"] * system.mean_square
        smallest = system.rounding
        damping = max(group["damping"], smallest)
        start, factored = self.vector(), False
        for _ in range(TRIES):
            direction = system.solve(damping)
            if direction is not None:
                factored = True
                self.place(start - direction)
                new = least_squares.residuals().square().sum()
                if bool(new < loss):
                    group["damping"] = max(damping / group["fall"], smallest)
                    return result
            damping *= group["grow"]
        self.place(start)
        self.stalled, self.cause = True, NO_STEP if factored else NOT_FACTORED
        return result
