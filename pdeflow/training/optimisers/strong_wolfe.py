r"""Lengths of steps that meet the strong Wolfe conditions.

J. Nocedal, S. J. Wright, "Numerical Optimization", 2nd edition, Springer 2006, algorithms 3.5 and 3.6.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

DECREASE, CURVATURE = 1e-4, 0.9
"""c1 and c2."""

TRIALS = 25
"""Lengths that are tried."""

EXPANSION = (2.0, 10.0)
"""By how much a length may grow that is still too short."""

MARGIN = 0.1
"""How near to its ends an interval may be cut, in units of its length."""


@dataclass(frozen=True)
class Trial:
    """At one length along a direction the loss, its gradient (P,) and its derivative by the length."""

    length: float
    loss: float
    gradient: Tensor
    slope: float

    @property
    def finite(self) -> bool:
        """Whether there is anything to interpolate."""
        return math.isfinite(self.loss) and math.isfinite(self.slope)


def strong_wolfe(evaluate: Callable[[float], Trial], start: Trial, length: float) -> Trial | None:
    r"""The first length found with

    .. math:: f(x + \alpha d) \le f(x) + c_1 \alpha\, g \cdot d, \qquad
              |g(x + \alpha d) \cdot d| \le c_2 |g \cdot d|.

    Lengths grow until an interval is known to hold one; that is cut where a cubic through both ends has its
    minimum. A loss that is not finite counts as too large.

    Parameters
    ----------
    evaluate
        The loss and its derivatives at a length.
    start
        At length 0.
    length
        To try first.

    Returns
    -------
    Trial or None
        Where rounding or a kink leaves no such length, the best that meets the first condition; None if none
        does, or if the loss does not fall along the direction at all.
    """
    if not start.slope < 0:
        return None
    # `low` is the best length so far that meets the first condition, `high` the other end of the interval.
    low, high = start, None
    for _ in range(TRIALS):
        new = evaluate(length)
        if not new.finite or new.loss > start.loss + DECREASE * length * start.slope or new.loss >= low.loss:
            high = new
        else:
            if abs(new.slope) <= -CURVATURE * start.slope:
                return new
            uphill = new.slope * (1.0 if high is None else high.length - low.length) >= 0
            low, high, before = new, low if uphill else high, low
            if high is None:
                least, most = (factor * new.length for factor in EXPANSION)
                length = min(max(_cubic_minimum(before, new), least), most)
                continue
        width = high.length - low.length
        inside = _cubic_minimum(low, high) if high.finite else low.length + MARGIN * width
        ends = sorted((low.length + MARGIN * width, high.length - MARGIN * width))
        length = min(max(inside, ends[0]), ends[1])
    return low if low is not start else None


def _cubic_minimum(a: Trial, b: Trial) -> float:
    """Where the cubic with the losses and slopes of two lengths has its minimum; their middle if it has none.

    Nocedal & Wright, equation 3.59.
    """
    width = b.length - a.length
    mean = a.slope + b.slope - 3 * (b.loss - a.loss) / width
    square = mean**2 - a.slope * b.slope
    if square < 0:
        return a.length + width / 2
    root = math.copysign(math.sqrt(square), width)
    bottom = b.slope - a.slope + 2 * root
    return b.length - width * (b.slope + root - mean) / bottom if bottom else a.length + width / 2
