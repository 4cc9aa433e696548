r"""Energy natural gradient descent.

J. Muller, M. Zeinhofer, "Achieving high accuracy with PINNs via energy natural gradient descent", ICML 2023.
Kernel form, momentum and sketches: A. Guzman-Cordero, F. Dangel, G. Goldshlager, M. Zeinhofer, "Improving
energy natural gradient descent through Woodbury, momentum, and randomization", 2025; the momentum is
SPRING's, G. Goldshlager, N. Abrahamsen, L. Lin, J. Comput. Phys. 516 (2024).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from pdeflow.errors import InvalidInput
from pdeflow.training.messages import inform
from pdeflow.training.optimisers.gauss_newton import NormalEquations, NystromEquations
from pdeflow.training.optimisers.least_squares import LeastSquares, ResidualOptimiser
from pdeflow.training.optimisers.vector_optimiser import NO_STEP, NOT_FACTORED, NOT_FINITE

HALVINGS = 30
"""Lengths 1, 1/2, 1/4, ... that are tried in a step before it counts as stalled."""

ENLARGEMENTS = 12
"""Times that the damping is multiplied by ten where rounding has made the system indefinite."""


class EnergyNaturalGradient(ResidualOptimiser):
    r"""Steps along the natural gradient of the energy, of a sum of squares the direction of Gauss-Newton:

    .. math:: d_k = \mu d_{k-1} + (J^T J + \lambda I)^{-1} J^T (r - \mu J d_{k-1}), \qquad
              \theta \leftarrow \theta - \eta d_k.

    The length :math:`\eta` is the best of 1, 1/2, 1/4, ... up to where the loss grows again. The damping is a
    fixed share of the mean of the diagonal of :math:`J^T J`, unlike that of Levenberg-Marquardt, which
    follows success; in a step in which rounding has made the system indefinite it is larger.

    Parameters
    ----------
    params
        The parameters.
    damping
        Lambda, relative to that mean.
    momentum
        Mu.
    rank
        Of a sketch by which the system is solved iteratively, for thousands of parameters and of points; by
        default it is solved by factors, in the parameter form or the kernel form.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        damping: float = 1e-8,
        momentum: float = 0.0,
        rank: int | None = None,
    ) -> None:
        if not damping > 0:
            raise InvalidInput("optimizer.damping", damping, "a positive number")
        if not 0 <= momentum < 1:
            raise InvalidInput("optimizer.momentum", momentum, "a number from 0 to below 1")
        if rank is not None and rank < 1:
            raise InvalidInput("optimizer.rank", rank, "at least 1, or null")
        super().__init__(params, {"damping": damping, "momentum": momentum, "rank": rank})

    @torch.no_grad()
    def step(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, closure: Callable[[], Any], least_squares: LeastSquares
    ) -> Any:
        """See `ResidualOptimiser.step`."""
        with torch.enable_grad():
            result = closure()
        r, J = least_squares.linearised()
        if not math.isfinite(float(r.square().sum() + J.square().sum())):
            self.stalled, self.cause = True, NOT_FINITE
            return result
        start, loss = self.vector(), float(r.square().sum())
        memory = self.memory
        # Numbers the sketches, so that a resumed run draws those of the whole one.
        memory["steps"] = memory.get("steps", 0) + 1
        for before in (memory.get("direction"), None) if "direction" in memory else (None,):
            direction = self._direction(r, J, before)
            length = None if direction is None else self._length(least_squares, start, direction, loss)
            if direction is not None and length is not None:
                self.place(start - length * direction)
                if self.param_groups[0]["momentum"]:
                    memory["direction"] = direction
                return result
            self.cause = NOT_FACTORED if direction is None else NO_STEP
        self.place(start)
        self.stalled = True
        return result

    def _direction(self, r: Tensor, J: Tensor, before: Tensor | None) -> Tensor | None:
        """d (P,); None where rounding leaves the system indefinite with every damping that is tried."""
        group = self.param_groups[0]
        carried = None if before is None else group["momentum"] * before
        left = r if carried is None else r - J @ carried
        if group["rank"]:
            system = NystromEquations(J, left, group["rank"], seed=self.memory.get("steps", 0))
        else:
            system = NormalEquations(J, left)
        damping, found = max(group["damping"] * system.mean_square, system.rounding), None
        for _ in range(ENLARGEMENTS):
            found = system.solve(damping)
            if found is not None:
                break
            if not self.memory.get("indefinite"):
                self.memory["indefinite"] = True  # said once in a run
                name = type(self).__name__
                inform(f"Rounding makes the system of {name} indefinite: it is damped more there.")
            damping *= 10
        return found if found is None or carried is None else found + carried

    def _length(
        self, least_squares: LeastSquares, start: Tensor, direction: Tensor, loss: float
    ) -> float | None:
        """The best of the lengths up to where the loss grows again; None if all of them make it larger."""
        best, best_loss, length = None, loss, 1.0
        for _ in range(HALVINGS):
            self.place(start - length * direction)
            new = float(least_squares.residuals().square().sum())
            if new < best_loss:
                best, best_loss = length, new
            elif best is not None:
                break
            length /= 2
        return best
