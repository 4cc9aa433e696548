"""Conditions that an equation needs and a statement does not give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
from lightning.pytorch.utilities import rank_zero_warn

from pdeflow.problems import Problem
from pdeflow.problems.compiled_statement import CompiledStatement
from pdeflow.problems.domain import Domain
from pdeflow.problems.initial import TIME
from pdeflow.problems.observed import observations
from pdeflow.problems.space_filling import space_filling
from pdeflow.training.statements import in_order

_PLACES, _ALONG = 16, 1e-6
"""Points of a side at which its normal is looked at, and components of it that are rounding."""


def warn_of_missing(problem: Problem, residual: CompiledStatement) -> None:
    """Warn of sides without a condition where the equation needs one, and of a start with too few.

    That is a side across which there are second derivatives of an unknown, and a start with fewer conditions
    than derivatives by time. Of first order across a side, there may rightly be none: what flows out needs no
    value. An unknown with several observed values is left out: these may take the place of conditions.

    Parameters
    ----------
    problem
        The statement.
    residual
        Its residual, compiled.
    """
    observed: Counter[str] = Counter()
    for _, values in observations(problem):
        observed.update({unknown: len(values.table) for unknown in values.unknowns(problem.fields)})
    for number, unknown in enumerate(problem.fields):
        if observed[unknown] > 1:
            continue
        orders = {
            axis: max((index[k] for of, index in residual.needs if of == number), default=0)
            for k, axis in enumerate(problem.domain.axes)
        }
        for told in _told(problem, unknown, orders):
            rank_zero_warn(f"conditions of {problem.name}: {told}")


def _told(problem: Problem, unknown: str, orders: dict[str, int]) -> Iterator[str]:
    """What is missing of an unknown with derivatives of such orders."""
    domain, several = problem.domain, len(problem.fields) > 1
    given = Counter(side for side, of, _ in in_order(problem) if of == unknown)
    start, stop = f"{TIME}-", f"{TIME}+"
    bare = [
        side
        for side in domain.sides
        if side not in (start, stop)
        and not given[side]
        and any(orders[axis] > 1 for axis in _across(domain, side))
    ]
    of = f", of={unknown!r}" if several else ""
    if bare:
        yield (
            f"none on {', '.join(bare)}, across which the equation has second derivatives of {unknown}. "
            f"There are many solutions then: say Dirichlet(value, on={bare[0]!r}{of}), or "
            f"Neumann(0.0, on={bare[0]!r}{of}) if nothing flows through."
        )
    known, needed = given[start] + given[stop], orders.get(TIME, 0)
    if start in domain.sides and known < needed:
        said = f"Initial(slope, order=1{of})" if given[start] else f"Initial(value{of})"
        yield (
            f"{known or 'none'} at the start, where the equation needs {needed}, its order in {TIME}, of "
            f"{unknown}. There are many solutions then: say {said}."
        )


def _across(domain: Domain, side: str) -> list[str]:
    """The axes of space that a side is not along."""
    normals = np.abs(domain.on_side(side, _PLACES, _spread)[1]).max(axis=0)
    return [axis for axis, part in zip(domain.axes, normals) if axis != TIME and part > _ALONG]


def _spread(n: int, dim: int) -> np.ndarray:
    return space_filling("halton", n, dim, np.random.SeedSequence(0))
