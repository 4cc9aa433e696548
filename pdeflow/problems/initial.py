"""Initial conditions of equations that are stated on a domain with a time axis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pdeflow.errors import InvalidInput
from pdeflow.problems.conditions import TIME, Condition


@dataclass(frozen=True)
class Initial(Condition):
    """The unknown, or its first derivative by time, at the lower end of the axis ``t``.

    Parameters
    ----------
    value
        A number, or a formula of ``at`` and the parameters, as of `Dirichlet`.
    order
        0, or 1 for the derivative.
    of
        As of `Dirichlet`.
    """

    value: float | Callable[[Any, Any], Any] = 0.0
    order: int = 0
    on: str | tuple[str, ...] = f"{TIME}-"
    of: str | tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.order not in (0, 1):
            raise InvalidInput("Initial.order", self.order, "0 or 1")
        if self.on != f"{TIME}-":
            raise InvalidInput("Initial.on", self.on, f"'{TIME}-'")

    def __str__(self) -> str:
        value = "a given function" if callable(self.value) else f"{self.value}"
        return f"Initial{' slope' if self.order else ''}, {value}"
