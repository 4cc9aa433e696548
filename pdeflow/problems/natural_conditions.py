"""The unknown of a grid together with its derivatives at the ends where a condition gives them."""

from __future__ import annotations

import functools
import operator
from typing import TYPE_CHECKING, Any

import torch

from pdeflow.problems.closed_grid import ClosedGrid
from pdeflow.problems.conditions import Robin, by_side
from pdeflow.problems.grid_function import GridFunction, constant_function, node_term
from pdeflow.problems.staggered_term import End, Term

if TYPE_CHECKING:
    from pdeflow.problems.problem import Problem


def with_conditions(u: GridFunction, problem: Problem, at: Any, p: Any) -> GridFunction:
    """The unknown, known at all nodes, with ``du/dn = g - c u`` at the ends that are closed."""
    grid = u.grid
    if not isinstance(grid, ClosedGrid):
        return u
    given: dict[End, tuple[Term, Term]] = {}
    for side, condition in by_side(problem.conditions, problem.domain).items():
        if isinstance(condition, Robin):
            end = grid.axes.index(side[:-1]), int(side[-1] == "+")
            c, g = (_at_end(part, end, u, at, p) for part in (condition.coefficient, condition.value))
            given[end] = c, g
    (term,) = u.terms
    # Twice, because where closed ends meet the derivative across one has a derivative across the other.
    for _ in range(2):
        slopes = {end: functools.partial(_slope, term, end, *parts) for end, parts in given.items()}
        term = term.with_slopes(slopes)
    return GridFunction([term])


def _at_end(part: Any, end: End, u: GridFunction, at: Any, p: Any) -> Term:
    """A coefficient of a condition on the nodes of one side."""
    value = part(at, p) if callable(part) else part
    if not isinstance(value, GridFunction):
        like = u.terms[0].values
        dtype = like.dtype.to_complex() if isinstance(value, complex) else like.dtype
        value = constant_function(torch.as_tensor(value, dtype=dtype, device=like.device), u.grid)
    return node_term(value, margin=0).at(*end)


def _slope(u: Term, end: End, c: Term, g: Term) -> Term:
    """The derivative along the axis, which at a lower end points inwards."""
    outwards = (-c.combine(u.at(*end), operator.mul)).combine(g, operator.add)
    return outwards if end[1] else -outwards
