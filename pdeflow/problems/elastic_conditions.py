"""Conditions on the boundary of an elastic body in the plane."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pdeflow.problems.conditions import Condition


@dataclass(frozen=True)
class Displacement(Condition):
    """The displacement (ux, uy) equals (x, y).

    Parameters
    ----------
    x, y
        A number, or a formula of ``at`` and the parameters: ``Displacement(y=lambda at, p: at.x**2)``.
    on
        ``"outer"``, the whole outer boundary, ``"holes"``, or both by default.
    """

    x: float | Callable[[Any, Any], Any] = 0.0
    y: float | Callable[[Any, Any], Any] = 0.0
    on: str | tuple[str, ...] = "all"


@dataclass(frozen=True)
class Traction(Condition):
    r""":math:`\sigma n = (x, y) - \text{pressure} \cdot n`: the force on a length of the boundary.

    n points out of the body, into a hole: a positive pressure pushes against the body. It is a force on the
    body, so where the displacement is given as well, that holds. Of a problem written by hand, sigma is what
    stands under the outer derivatives of a residual ``-div sigma - f``.

    Reference: S. P. Timoshenko, J. N. Goodier, "Theory of Elasticity", McGraw-Hill, 1951.

    Parameters
    ----------
    x, y, pressure
        A number, or a formula of ``at`` and the parameters: ``Traction(y=lambda at, p: p.fy * at.x)``.
    on
        As of :class:`Displacement`.
    """

    x: float | Callable[[Any, Any], Any] = 0.0
    y: float | Callable[[Any, Any], Any] = 0.0
    pressure: float | Callable[[Any, Any], Any] = 0.0
    on: str | tuple[str, ...] = "all"
