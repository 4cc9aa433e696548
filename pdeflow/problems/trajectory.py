"""What every method in time gives: solutions at equidistant instants."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from pdeflow.errors import InvalidInput


@dataclass(frozen=True)
class Trajectory:
    """Solutions at equidistant instants.

    Parameters
    ----------
    u
        (n, instants, *grid.shape), of several unknowns (n, instants, fields, *grid.shape), float64,
        extrapolated from the last two or three runs; of a sample that failed, what the last ones gave.
    times
        The instants, from 0 to the end, on the CPU.
    error
        (n,), an estimate of the error in time, relative, in L2, the largest over the instants: the last
        correction, which is that of what was corrected, and more than that of ``u``. Of several unknowns
        that of the worst, relative to its own largest norm over the instants, since one may pass through 0.
    steps
        (n,), steps from 0 to the end of the run with the most.
    status
        (n,), values of `pdeflow.linalg.Status`: CONVERGED; MAX_ITERATIONS where the estimate is still above
        the tolerance with ``MOST_STEPS`` steps; BREAKDOWN where the solution is not finite with so many.
    """

    u: Tensor
    times: Tensor
    error: Tensor
    steps: Tensor
    status: Tensor


def check_times(stop: float, instants: int, rtol: float) -> None:
    """Raise InvalidInput where one of them is out of range."""
    if not (math.isfinite(stop) and stop > 0):
        raise InvalidInput("stop", stop, "a positive time")
    if instants < 2:
        raise InvalidInput("instants", instants, "at least 2, the start and the end")
    if not 0 < rtol < 1:
        raise InvalidInput("rtol", rtol, "a number between 0 and 1")
