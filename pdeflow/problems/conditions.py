"""Boundary conditions. Periodicity is a property of the domain: ``Box(..., periodic=("x",))``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from pdeflow.errors import InvalidInput
from pdeflow.problems.domain import Box


def sides(domain: Box) -> tuple[str, ...]:
    """Names of the sides of a box, ``"x-"``, ``"x+"``, ...; periodic axes have none."""
    bounded = (axis for axis, wraps in zip(domain.axes, domain.periodic) if not wraps)
    return tuple(axis + end for axis in bounded for end in "-+")


class Condition:
    """What holds on some sides of a box; of two conditions on one side, the later one holds."""

    on: str | tuple[str, ...]

    def sides(self, domain: Box) -> tuple[str, ...]:
        """The sides it holds on.

        Raises
        ------
        InvalidInput
            If the box has no such side.
        """
        known = sides(domain)
        chosen = known if self.on == "all" else (self.on,) if isinstance(self.on, str) else tuple(self.on)
        for side in chosen:
            if side not in known:
                name = f"{type(self).__name__}.on"
                raise InvalidInput(name, side, "'all' or sides of the domain", choices=known)
        return chosen

    @property
    def where(self) -> str:
        """The sides, in words."""
        named = self.on if isinstance(self.on, str) else ", ".join(self.on)
        return f"on {'the whole boundary' if named == 'all' else named}"


@dataclass(frozen=True)
class Dirichlet(Condition):
    """The unknown equals ``value`` on one or several sides.

    Where two of them meet, in an edge or a corner, the later one holds.

    Parameters
    ----------
    value
        A number, or a formula of ``at``: ``Dirichlet(lambda at: sin(at.x))``.
    on
        ``"all"``, or names of sides: ``"x-"`` is the lower end of x, ``"x+"`` the upper.
    """

    value: float | Callable[[Any], Any] = 0.0
    on: str | tuple[str, ...] = "all"

    def __str__(self) -> str:
        value = f"{self.value:g}" if isinstance(self.value, (int, float)) else "a given function"
        return f"Dirichlet, {value} {self.where}"


@dataclass(frozen=True)
class Robin(Condition):
    r""":math:`\partial u / \partial n + c u = g` on sides of a steady problem, n pointing outwards.

    The nodes of such a side are unknowns; the equation there is that of the half of a cell which lies inside,
    with the derivative across the side taken from the condition. Where a side with a Dirichlet condition is
    met, in an edge or a corner, that one holds. The impedance condition, through which waves
    :math:`u e^{-i \omega t}` leave, is ``Robin(lambda at, p: -i_times(p.k))``; see `ImpedanceHelmholtz`.

    Parameters
    ----------
    coefficient
        Of c: a number, or a formula of ``at`` and the parameters, ``Robin(lambda at, p: p.a * at.x)``.
    value
        Of g, likewise.
    on
        As of :class:`Dirichlet`.
    """

    coefficient: complex | Callable[[Any, Any], Any]
    value: complex | Callable[[Any, Any], Any] = 0.0
    on: str | tuple[str, ...] = "all"


@dataclass(frozen=True)
class Neumann(Robin):
    r""":math:`\partial u / \partial n = g` on one or several sides; :class:`Robin` with c = 0.

    If it is all that a problem has, and the equation has no term in u itself, u is determined up to a
    constant only, and there is none unless what the source brings leaves through the sides. The operator,
    tagged ``Tag.CONSTANT_NULL_SPACE`` by its ``retagged``, then is solved for the u whose mean over the nodes
    is 0.
    """

    coefficient: complex | Callable[[Any, Any], Any] = field(default=0.0, init=False)


def by_side(conditions: Iterable[Condition], domain: Box) -> dict[str, Condition]:
    """The condition that holds on each side of the box; InvalidInput if one names no side of it."""
    return {side: condition for condition in conditions for side in condition.sides(domain)}
