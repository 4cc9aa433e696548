r"""Newton's method for steady equations that are not linear, a batch of samples at a time.

A step solves :math:`J(u)\, d = -R(u)`, where R is the residual on the grid and J its exact Jacobian:
derivatives of R along directions, by forward-mode automatic differentiation, are read as a stencil by
coloured probing (:mod:`~pdeflow.problems.coloured_probing`). The linear systems are solved to a relative
residual that falls with that of the equation: S. C. Eisenstat, H. F. Walker, "Choosing the forcing terms in
an inexact Newton method", SIAM J. Sci. Comput. 17 (1996), choice 2. Steps are shortened until R falls enough
(backtracking): by the same, "Globally convergent inexact Newton methods", SIAM J. Optim. 4 (1994).
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.linalg import Preconditioner, Solver, Status, StencilOperator, default_method, solve
from pdeflow.problems.closed_grid import closed_grid, interior
from pdeflow.problems.coloured_probing import check_width, patterns, read_stencil, rough_function
from pdeflow.problems.discretise import batch_size, boundary_extension, check_size, check_values
from pdeflow.problems.grid_function import GridFunction, node_function
from pdeflow.problems.staggered_term import Term
from pdeflow.problems.stencil_structure import tagged_stencil

if TYPE_CHECKING:
    from pdeflow.problems.problem import Problem

FORCING = 1e-2
"""Largest relative residual of a linear system: looser ones save less than the steps cost that they add."""

FORCING_FACTOR = 0.9
"""Gamma of choice 2: the forcing term is gamma times the square of the reduction in the step before."""

SUFFICIENT = 1e-4
"""Share of the reduction that the linear model promises, with which backtracking is content."""

SHORTENINGS = 30
"""Times that a step is shortened, after which a sample is given up."""

STAGE_RTOL = 1e-2
"""Relative residual of the easier equations of :meth:`Problem.continuation`."""


@dataclass(frozen=True)
class NonlinearSolution:
    """Solutions of R(u) = 0.

    Attributes
    ----------
    u
        (n, *grid.shape) float64, boundary nodes included; of a sample that failed, the last iterate.
    status
        (n,) int8, values of `pdeflow.linalg.Status`: CONVERGED; MAX_ITERATIONS; STAGNATED where no step in
        Newton's direction, however short, makes R smaller; NONFINITE_INPUT where R is not finite at the
        start; BREAKDOWN where the Jacobian is not finite; else that of a linear solve that gave no direction.
    iterations
        (n,) int64, Newton steps, those of the easier equations of a continuation included.
    linear_iterations
        (n,) int64, iterations of the linear solver in all of these steps.
    residual_norm
        (n,) float64, ``||R(u)|| / ||R(u_0)||``, where u_0 has the boundary values, and 0 inside; ``||R(u)||``
        where R(u_0) is 0.
    history
        (steps + 1, n) float64: the same ratio at the start and after every step, without those of the easier
        equations. A sample that has ended repeats its last.
    """

    u: Tensor
    status: Tensor
    iterations: Tensor
    linear_iterations: Tensor
    residual_norm: Tensor
    history: Tensor

    @property
    def converged(self) -> Tensor:
        """(n,) bool."""
        return self.status == int(Status.CONVERGED)


@torch.no_grad()
def newton(
    problem: Problem,
    grid: Grid,
    parameters: Mapping[str, Any],
    *,
    guess: Tensor | None = None,
    solver: Solver | None = None,
    preconditioner: Preconditioner | None = None,
    rtol: float = 1e-8,
    max_iterations: int = 50,
) -> NonlinearSolution:
    """Solve ``problem.residual_on_grid(u) == 0`` until ``||R(u)|| <= rtol ||R(u_0)||``, sample by sample.

    Samples are independent of each other: one that has ended takes no part in further steps, and one that
    fails says so in its status.

    Parameters
    ----------
    problem
        A steady equation of at most second order; a linear one takes a few steps.
    grid
        Of the problem's domain; at least 3 points an axis.
    parameters
        As in :meth:`Problem.parameters_on_grid`. Everything is computed in float64, where they are.
    guess
        (n or 1, *grid.shape), where to start; its boundary nodes are not looked at. Without it, the start has
        the boundary values and 0 inside, and :meth:`Problem.continuation` may lead through easier equations.
    solver, preconditioner
        Of the linear systems; by default what suits them, step by step: `pdeflow.linalg.default_method`.
    rtol
        See above. Where R(u_0) is 0, a bound for ``||R(u)||`` itself.
    max_iterations
        Newton steps, for each equation of a continuation.

    Raises
    ------
    InvalidInput
        If a side has no condition, the stencil is too wide, the guess has another shape, a parameter is
        missing, has another shape, is not finite, or not positive where it has to be; or if the solver does
        not suit the Jacobian.
    """
    if not 0 < rtol < 1:
        raise InvalidInput("rtol", rtol, "a number between 0 and 1")
    if max_iterations < 1:
        raise InvalidInput("max_iterations", max_iterations, "a whole number of at least 1")
    problem.check_grid(grid)
    check_size(grid)
    grid = closed_grid(problem, grid)
    device = next((value.device for value in parameters.values() if isinstance(value, Tensor)), None)
    functions = problem.parameters_on_grid(grid, parameters, torch.float64, device)
    check_values(problem, functions)
    batch = batch_size(functions)
    if guess is not None and (tuple(guess.shape[1:]) != grid.shape or len(guess) not in (1, batch)):
        raise InvalidInput("shape of guess", tuple(guess.shape), f"({batch} or 1, *{grid.shape})")
    boundary = boundary_extension(problem, grid, functions, device)
    u = boundary.expand(batch, *grid.shape).clone()
    if guess is not None:
        inside = interior(grid)
        u[inside] = guess.to(u)[inside]
    stages = problem.continuation(functions) if guess is None else [functions]
    equations = [Equation(problem, grid, stage) for stage in stages]
    found: list[NonlinearSolution] = []
    for equation in equations:
        tolerance = rtol if equation is equations[-1] else max(rtol, STAGE_RTOL)
        found.append(_solved(equation, u, boundary, tolerance, max_iterations, solver, preconditioner))
        u = found[-1].u
    steps, linear = (
        torch.stack([getattr(part, name) for part in found]).sum(dim=0)
        for name in ("iterations", "linear_iterations")
    )
    return dataclasses.replace(found[-1], iterations=steps, linear_iterations=linear)


class Equation:
    """The residual of some samples, and its Jacobian."""

    def __init__(self, problem: Problem, grid: Grid, functions: Mapping[str, GridFunction]) -> None:
        self.problem, self.grid, self.functions = problem, grid, functions
        # A Jacobian that outgrew a pattern may fit it by chance again: what is given up stays given up.
        device = next((function.values.device for function in functions.values()), None)
        self.patterns = patterns(grid, device)
        self.trial = rough_function(grid, device)
        self.name = f"{type(problem).__name__}.residual"

    def rows(self, rows: Tensor) -> Equation:
        """That of the samples with these numbers."""
        part = copy.copy(self)
        part.functions = {name: _rows(function, rows) for name, function in self.functions.items()}
        return part

    def residual(self, u: Tensor) -> Tensor:
        """(n, *unknowns) of u, (n, *grid.shape)."""
        return self.problem.evaluate_residual(node_function(u, self.grid), self.functions)

    def jacobian(self, u: Tensor) -> StencilOperator:
        """The derivative at u, (n, *grid.shape)."""

        def along(direction: Tensor) -> Tensor:
            return torch.func.jvp(self.residual, (u,), (direction.expand_as(u),))[1]

        response = along(self.trial)
        pattern, stencil = read_stencil(self.name, along, self.patterns, self.grid, len(u), response)
        del self.patterns[: self.patterns.index(pattern)]
        return tagged_stencil(pattern.offsets, stencil, self.grid.periodic)


def _rows(function: GridFunction, rows: Tensor) -> GridFunction:
    """The samples with these numbers, where the function is not the same for all."""
    terms = function.terms
    return GridFunction(
        [Term(t.values if len(t.values) == 1 else t.values[rows], t.grid, t.first) for t in terms]
    )


def _solved(
    equation: Equation,
    u: Tensor,
    boundary: Tensor,
    rtol: float,
    max_iterations: int,
    solver: Solver | None,
    preconditioner: Preconditioner | None,
) -> NonlinearSolution:
    """One equation, from u on, which is changed in place."""
    n, inside = len(u), interior(equation.grid)
    value = equation.residual(u).clone()
    check_width(equation.name, value, equation.grid)
    norm, unit = _norms(value), _norms(equation.residual(boundary)).expand(n)
    unit = torch.where(unit == 0, 1.0, unit)
    status = torch.full((n,), int(Status.MAX_ITERATIONS), dtype=torch.int8, device=u.device)
    status[norm <= rtol * unit] = int(Status.CONVERGED)
    status[~torch.isfinite(norm / unit)] = int(Status.NONFINITE_INPUT)
    active = status == int(Status.MAX_ITERATIONS)
    iterations = torch.zeros(n, dtype=torch.int64, device=u.device)
    linear_iterations, forcing = torch.zeros_like(iterations), torch.full_like(norm, FORCING)
    history = [norm / unit]
    for _ in range(max_iterations):
        rows = torch.nonzero(active).flatten()
        if not len(rows):
            break
        before, goal = norm[rows], rtol * unit[rows]
        jacobian = equation.rows(rows).jacobian(u[rows])
        # Choice 2, but no closer than what the equation itself needs.
        allowed = torch.maximum(forcing[rows], 0.5 * goal / before).clamp(max=FORCING) * before
        usual = default_method(jacobian)
        # solve() has one tolerance for all: scaled like this, each system has its own.
        solution = solve(
            jacobian,
            -value[rows] / _column(allowed, value),
            solver=solver or usual.solver,
            preconditioner=preconditioner or usual.preconditioner,
            rtol=0.0,
            atol=1.0,
            on_failure="return",
        )
        iterations[rows] += 1
        linear_iterations[rows] += solution.iterations
        # What is left of R to first order: a descent direction wherever it is below 1.
        left_over = solution.residual_norm
        useless = ~(left_over < 1)
        direction = torch.zeros_like(u[rows])
        direction[inside] = solution.x * _column(allowed, value)

        length, searching = torch.ones_like(before), ~useless
        for _ in range(SHORTENINGS):
            mine = torch.nonzero(searching).flatten()
            if not len(mine):
                break
            trial = u[rows[mine]] + _column(length[mine], u) * direction[mine]
            there = equation.rows(rows[mine]).residual(trial)
            ratio = _norms(there) / before[mine]
            enough = ratio <= 1 - SUFFICIENT * length[mine] * (1 - left_over[mine])
            taken = rows[mine[enough]]
            u[taken], value[taken], norm[taken] = trial[enough], there[enough], _norms(there[enough])
            searching[mine[enough]] = False
            length[mine] = torch.where(enough, length[mine], _shorter(length[mine], ratio))

        forcing[rows] = (FORCING_FACTOR * (norm[rows] / before) ** 2).clamp(max=FORCING)
        broken = solution.status == int(Status.NONFINITE_INPUT)  # R was finite, so the Jacobian is not
        no_direction = solution.status.masked_fill(broken, int(Status.BREAKDOWN))
        status[rows[useless]] = no_direction[useless]
        status[rows[searching]] = int(Status.STAGNATED)
        reached = norm[rows] <= goal
        status[rows[reached]] = int(Status.CONVERGED)
        active[rows[useless | searching | reached]] = False
        history.append(norm / unit)
    return NonlinearSolution(u, status, iterations, linear_iterations, norm / unit, torch.stack(history))


def _shorter(length: Tensor, ratio: Tensor) -> Tensor:
    """Where the parabola through ||R||^2, with its slope at 0, is least, from a tenth to half the length."""
    least = length**2 / (ratio**2 - 1 + 2 * length)
    return torch.clamp(torch.nan_to_num(least, nan=0.0), 0.1 * length, 0.5 * length)


def _norms(values: Tensor) -> Tensor:
    return values.flatten(1).norm(dim=1)


def _column(numbers: Tensor, like: Tensor) -> Tensor:
    """One number a sample, in a shape that multiplies ``like``."""
    return numbers.reshape(-1, *(1,) * (like.ndim - 1))
