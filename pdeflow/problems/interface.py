"""What holds where two materials meet."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pdeflow.errors import InvalidInput
from pdeflow.problems.conditions import Condition
from pdeflow.problems.domain import Domain

if TYPE_CHECKING:
    from pdeflow.problems.problem import Problem


@dataclass(frozen=True)
class Interface(Condition):
    r"""On a plane inside, u is continuous and so is the flux: :math:`k^- \partial u^- = k^+ \partial u^+`.

    The derivative is that across the plane; u itself has a kink there, unless k is the same on both sides. It
    is asked of points, and of a field that is cut at the plane (:class:`~pdeflow.fields.Subdomains`).

    Parameters
    ----------
    axis, place
        The plane: where on which axis.
    below, above
        k on either side, positive.
    of
        As of `Dirichlet`.
    """

    axis: str
    place: float
    below: float = 1.0
    above: float = 1.0
    on: tuple[str, ...] = ()
    of: str | tuple[str, ...] = ()

    def check(self, domain: Domain) -> None:
        """Raise InvalidInput unless the plane crosses the domain, and both numbers are positive."""
        if self.axis not in domain.axes:
            raise InvalidInput("Interface.axis", self.axis, "an axis of the domain", choices=domain.axes)
        k = domain.axes.index(self.axis)
        low, high = domain.lower[k], domain.upper[k]
        if not low < self.place < high:
            raise InvalidInput("Interface.place", self.place, f"a number above {low:g} and below {high:g}")
        for name, value in (("below", self.below), ("above", self.above)):
            if not 0 < value < math.inf:
                raise InvalidInput(f"Interface.{name}", value, "a positive number")

    def __str__(self) -> str:
        flux = f"{self.below:g} du-/d{self.axis} = {self.above:g} du+/d{self.axis}"
        return f"Interface, u continuous and {flux} on {self.axis} = {self.place:g}"


def interfaces(problem: Problem) -> Iterator[Interface]:
    """The interfaces among the conditions of a problem."""
    return (condition for condition in problem.conditions if isinstance(condition, Interface))
