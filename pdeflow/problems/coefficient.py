"""Functions that an equation depends on and that are to be found, from measurements of its solution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pdeflow.errors import InvalidInput

if TYPE_CHECKING:
    from pdeflow.problems.problem import Problem


@dataclass(frozen=True)
class Coefficient:
    r"""An unknown of a statement that has no equation of its own, such as k in :math:`-(k u')' = f`.

    It is the last of the problem's ``fields``, or one of the last::

        fields = ("u", "k")
        coefficients = (Coefficient("k", lower=0.0),)
        conditions = (Dirichlet(0.0, of="u"), Observed(points, values, of="u"))

        def residual(self, w, at, p):
            return -D(w.k * D(w.u, "x"), "x") - 1.0

    and is learned from the statement together with the others: a function of all coordinates, or of the first
    ones if its part of `JoinedFields` has no more, as k(x) beside u(x, t). Conditions may be of it too, where
    it is known on a side, or was measured. Whether all of these determine it is not checked: where they do
    not, what is found is one of many functions that fit. So it is with k above if :math:`u'` vanishes on an
    interval, or nowhere: then :math:`k u'` is known up to a constant.

    Measurements count as much as ``objective.weight`` says: where the terms of the equation are large beside
    what was measured, the usual 10 is too little, and u strays from the measurements at little cost.

    Parameters
    ----------
    name
        That which it has among the ``fields``.
    lower, upper
        Between which numbers it lies, kept by its form (:mod:`pdeflow.fields.bounds`); infinite for none. It
        starts in the middle of two bounds, or about 1 away from a single one. Near a bound its slopes by what
        is learned vanish, and a step without damping may end there for good: `LevenbergMarquardt` damps, and
        `EnergyNaturalGradient` does with ``damping: 1.0e-4``.

    Raises
    ------
    InvalidInput
        If there is no number between the bounds.
    """

    name: str
    lower: float = -math.inf
    upper: float = math.inf

    def __post_init__(self) -> None:
        if not self.lower < self.upper:
            key, got = f"bounds of Coefficient {self.name!r}", (self.lower, self.upper)
            raise InvalidInput(key, got, "a lower bound, and an upper one above it")

    def __str__(self) -> str:
        low, high = math.isfinite(self.lower), math.isfinite(self.upper)
        if low and high:
            return f"a function to be found, from {self.lower:g} to {self.upper:g}"
        above = f", above {self.lower:g}" * low
        return f"a function to be found{above}" + f", below {self.upper:g}" * high


def check_coefficients(problem: Problem) -> None:
    """Raise InvalidInput unless the coefficients of a problem are the last of its unknowns, but not all."""
    fields, names = tuple(problem.fields), tuple(coefficient.name for coefficient in problem.coefficients)
    count = len(fields) - len(names)
    if names and (count < 1 or fields[count:] != names):
        key, expected = f"coefficients of {problem.name}", f"the last of its fields {', '.join(fields)}"
        hint = 'Say fields = ("u", "k"), coefficients = (Coefficient("k"),): u has an equation, k has none.'
        raise InvalidInput(key, ", ".join(names), expected, hint)
