"""Boundary conditions. Periodicity is a property of the domain: ``Box(..., periodic=("x",))``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pdeflow.errors import InvalidInput
from pdeflow.problems.domain import Box


def sides(domain: Box) -> tuple[str, ...]:
    """Names of the sides of a box, ``"x-"``, ``"x+"``, ...; periodic axes have none."""
    bounded = (axis for axis, wraps in zip(domain.axes, domain.periodic) if not wraps)
    return tuple(axis + end for axis in bounded for end in "-+")


@dataclass(frozen=True)
class Dirichlet:
    """The unknown equals ``value`` on one or several sides.

    Where two conditions meet, in an edge or a corner, the later one holds.

    Parameters
    ----------
    value
        A number, or a formula of ``at``: ``Dirichlet(lambda at: sin(at.x))``.
    on
        ``"all"``, or names of sides: ``"x-"`` is the lower end of x, ``"x+"`` the upper.
    """

    value: float | Callable[[Any], Any] = 0.0
    on: str | tuple[str, ...] = "all"

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
                raise InvalidInput("Dirichlet.on", side, "'all' or sides of the domain", choices=known)
        return chosen

    def __str__(self) -> str:
        value = f"{self.value:g}" if isinstance(self.value, (int, float)) else "a given function"
        where = self.on if isinstance(self.on, str) else ", ".join(self.on)
        return f"Dirichlet, {value} on {'the whole boundary' if where == 'all' else where}"
