r"""Functions that stay within bounds: smooth maps of functions that may have any value.

.. math:: k = \frac{a + b}2 + \frac{b - a}2 \tanh N, \quad k = a + e^N, \quad k = b - e^N, \quad k = N

for two bounds, a lower one, an upper one, and none; the first is one of logarithms where a is positive and b
at least `FAR` times a. None of them turns back at a bound, as the sine does by which a number that is learned
stays within two: a function would be folded there.
"""

from __future__ import annotations

import math

import sympy

FAR = 10.0
"""Positive bounds of at least this ratio are of a magnitude: what lies between goes by logarithms."""


def of_magnitude(low: float, high: float) -> bool:
    """Whether what lies between two bounds goes by logarithms."""
    return low > 0 and math.isfinite(high) and high >= FAR * low


def bounded(free: sympy.Expr, low: float, high: float) -> sympy.Expr:
    """k from N, both of them expressions.

    Parameters
    ----------
    free
        N.
    low, high
        The bounds, infinite where there is none.
    """
    if math.isfinite(low) and math.isfinite(high):
        if of_magnitude(low, high):
            return sympy.exp(_between(free, math.log(low), math.log(high)))
        return _between(free, low, high)
    if math.isfinite(low):
        return low + sympy.exp(free)
    return high - sympy.exp(free) if math.isfinite(high) else free


def freed(value: sympy.Expr, low: float, high: float) -> sympy.Expr:
    """N from k, which lies between the bounds: the inverse of `bounded`."""
    if math.isfinite(low) and math.isfinite(high):
        if of_magnitude(low, high):
            return _within(sympy.log(value), math.log(low), math.log(high))
        return _within(value, low, high)
    if math.isfinite(low):
        return sympy.log(value - low)
    return sympy.log(high - value) if math.isfinite(high) else value


def _between(free: sympy.Expr, low: float, high: float) -> sympy.Expr:
    return (low + high) / 2 + (high - low) / 2 * sympy.tanh(free)


def _within(value: sympy.Expr, low: float, high: float) -> sympy.Expr:
    return sympy.log((value - low) / (high - value)) / 2
