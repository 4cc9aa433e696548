r"""The Levenberg-Marquardt method, with geodesic acceleration.

K. Levenberg, "A method for the solution of certain non-linear problems in least squares", Quart. Appl. Math.
2 (1944); D. W. Marquardt, SIAM J. Appl. Math. 11 (1963). M. K. Transtrum, J. P. Sethna, "Improvements to the
Levenberg-Marquardt algorithm for nonlinear least-squares minimization", arXiv:1201.5885 (2012).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from pdeflow.errors import InvalidInput
from pdeflow.training.optimisers.gauss_newton import NormalEquations
from pdeflow.training.optimisers.least_squares import LeastSquares, ResidualOptimiser
from pdeflow.training.optimisers.vector_optimiser import NO_STEP, NOT_FACTORED, NOT_FINITE

TRIES = 20
"""Dampings that are tried in a step before it counts as stalled."""

PROBE = 0.1
"""Part of a step after which the residuals tell how they bend along it."""


class LevenbergMarquardt(ResidualOptimiser):
    r"""Steps that are taken only if they make the loss smaller, along a parabola to where the residuals lead:

    .. math:: \delta = -(J^T J + \lambda I)^{-1} J^T r, \qquad a = -(J^T J + \lambda I)^{-1} J^T r'', \qquad
              \theta \leftarrow \theta + \delta + \tfrac12 a,

    where :math:`r''` is the second derivative of the residuals along :math:`\delta`, which costs one more
    evaluation of them, and no factor. In the narrow curved valleys of networks steps can so be longer. Where
    the loss is lower without a, which may be far away, the step is :math:`\delta` alone.

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
        loss = float(r.square().sum())
        system = NormalEquations(J, r)
        if not math.isfinite(system.mean_square + loss):
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
                self.place(start - PROBE * direction)
                probed = least_squares.residuals()
                bent = 2.0 / PROBE * ((probed - r) / PROBE + J @ direction)
                correction = system.solve_again(bent)
                ends = (start - direction, start - direction - correction / 2.0)
                losses = [self._loss(least_squares, end) for end in ends]
                best = losses.index(min(losses))
                if losses[best] < loss:
                    self.place(ends[best])
                    group["damping"] = max(damping / group["fall"], smallest)
                    return result
            damping *= group["grow"]
        self.place(start)
        self.stalled, self.cause = True, NO_STEP if factored else NOT_FACTORED
        return result

    def _loss(self, least_squares: LeastSquares, vector: Tensor) -> float:
        """Of the parameters (P,), which stay there; infinity where it is not finite."""
        self.place(vector)
        loss = float(least_squares.residuals().square().sum())
        return loss if math.isfinite(loss) else math.inf
