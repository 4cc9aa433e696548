"""Values that are known at points inside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pdeflow.errors import InvalidInput
from pdeflow.problems.conditions import Condition
from pdeflow.problems.domain import Domain

if TYPE_CHECKING:
    from pdeflow.problems.problem import Problem


@dataclass(frozen=True)
class Observed(Condition):
    """The unknown has values at points: one that fixes what the equation leaves open, or measurements.

    Parameters
    ----------
    points
        (N, d), their coordinates in the order of the axes of the domain.
    values
        (N,).
    of
        As of `Dirichlet`.
    """

    points: Sequence[Sequence[float]] | np.ndarray
    values: Sequence[float] | np.ndarray
    on: tuple[str, ...] = ()
    of: str | tuple[str, ...] = ()

    @property
    def table(self) -> np.ndarray:
        """(N, d + 1) float64, coordinates and values."""
        points, values = np.asarray(self.points, dtype=float), np.asarray(self.values, dtype=float)
        if points.ndim != 2 or values.shape != points.shape[:1]:
            got = (points.shape, values.shape)
            raise InvalidInput("shape of Observed", got, "points (N, d) and values (N,)")
        return np.concatenate([points, values[:, None]], axis=1)

    def check(self, domain: Domain) -> None:
        """Raise InvalidInput unless all numbers are finite, and no point lies outside."""
        table = self.table
        if table.shape[1] != domain.dim + 1 or not len(table):
            expected = f"(N, {domain.dim}), coordinates {', '.join(domain.axes)}"
            raise InvalidInput("shape of Observed.points", np.shape(self.points), expected)
        for name, part in (("points", table[:, :-1]), ("values", table[:, -1])):
            wrong = np.flatnonzero(~np.isfinite(part).reshape(len(part), -1).all(axis=1))
            if len(wrong):
                expected = f"finite numbers; {len(wrong)} of {len(part)} are not"
                raise InvalidInput(f"Observed.{name}[{wrong[0]}]", part[wrong[0]].tolist(), expected)
        wrong = np.flatnonzero(~domain.reaches(table[:, :-1]))
        if len(wrong):
            expected = f"points of {domain}; {len(wrong)} of {len(table)} lie outside"
            raise InvalidInput(f"Observed.points[{wrong[0]}]", table[wrong[0], :-1].tolist(), expected)

    def __str__(self) -> str:
        count = len(self.table)
        return f"Observed at {count} point{'s' if count > 1 else ''}"


def observations(problem: Problem) -> Iterator[tuple[str, Observed]]:
    """The observations among the conditions of a problem, by ``"observed 0"``, ``"observed 1"``, ..."""
    stated = (condition for condition in problem.conditions if isinstance(condition, Observed))
    for number, observed in enumerate(stated):
        yield f"observed {number}", observed
