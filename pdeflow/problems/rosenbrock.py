r"""A Rosenbrock method of second order for parabolic equations, a batch of samples at a time.

The nodes' equations are ``M u' = G(u)``, M the share of a whole cell around each node, G by the compact
differences of the statement. With J the Jacobian of G and gamma = 1 - 1/sqrt(2), a step of length h is

    (M - gamma h J) k1 = G(u)
    (M - gamma h J) k2 = G(u + h k1) - 2 M k1
    u_new = u + h (3 k1 + k2) / 2,

of order 2 and L-stable: ROS2 of J. G. Verwer, E. J. Spee, J. G. Blom, W. Hundsdorfer, "A second-order
Rosenbrock method applied to photochemical dispersion problems", SIAM J. Sci. Comput. 20 (1999). There is no
Newton iteration: two linear systems with one matrix make a step, and all of a run make a sequence, in which
each starts from what the ones before lead to and the preconditioner is kept. Of a linear rate the matrix is
the same for all, and of any rate the order is 2 whatever J is, so that a Jacobian serves for several steps.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pdeflow.grid import Grid
from pdeflow.linalg import (
    Candidate,
    Frozen,
    Preconditioner,
    Sequence,
    Solver,
    Status,
    StencilOperator,
    default_method,
)
from pdeflow.linalg.operator import column
from pdeflow.problems.closed_grid import cell_shares, closed_grid, interior
from pdeflow.problems.discretise import (
    NotLinear,
    batch_size,
    boundary_extension,
    check_size,
    check_values,
    discretise,
)
from pdeflow.problems.newton import Equation
from pdeflow.problems.problem import Problem
from pdeflow.problems.richardson import extrapolated
from pdeflow.problems.stencil_structure import tagged_stencil
from pdeflow.problems.trajectory import Trajectory, check_times

if TYPE_CHECKING:
    from pdeflow.problems.parabolic_equation import ParabolicEquation

GAMMA = 1 - math.sqrt(0.5)

ORDER = 2

FIRST = 2
"""Steps between two instants in the first run."""

MOST_STEPS = 2**14
"""Steps from time 0 to the end, after which a sample is given up."""

KEPT = 4
"""Steps with one Jacobian of a nonlinear rate: the order is 2 with any matrix in its place."""

LINEAR = 1e-3
"""Relative residual of the linear systems, in units of the tolerance in time."""

SMALLEST = 1e-13
"""What the linear systems are solved to at most."""


@dataclass(frozen=True)
class ImplicitTrajectory(Trajectory):
    """As `Trajectory`, u on the nodes of a bounded grid; ``error`` is about 4 times that of ``u``, or more.

    Parameters
    ----------
    linear_iterations
        (n,), iterations of the linear solver, all steps of the last attempt together.
    """

    linear_iterations: Tensor


class RightHandSide(Problem):
    """The steady equation ``-rate(u, p) = 0`` of an equation in time."""

    def __init__(self, problem: ParabolicEquation) -> None:
        self.problem = problem
        self.domain, self.fields, self.conditions = problem.domain, problem.fields, problem.conditions
        for name, parameter in problem.parameters.items():
            if name not in problem.initials:
                setattr(self, name, parameter)

    def residual(self, u: Any, at: Any, p: Any) -> Any:
        """``-rate``."""
        return -self.problem.rate(u, p)


class SemiDiscrete:
    """``M x' = G(x)`` of n samples, x (n, *unknowns of the grid).

    Raises
    ------
    InvalidInput
        If a side has no condition, the stencil is too wide, or a parameter is none of the grid.
    """

    def __init__(self, problem: ParabolicEquation, grid: Grid, parameters: Mapping[str, Any], n: int) -> None:
        steady = RightHandSide(problem)
        device = _device(parameters)
        self.grid = closed_grid(steady, grid)
        self.inside = interior(self.grid)
        self.shares = cell_shares(self.grid, torch.float64, device)
        functions = steady.parameters_on_grid(grid, parameters, torch.float64, device)
        boundary = boundary_extension(steady, self.grid, functions, device)
        self.boundary = boundary.expand(n, *self.grid.shape)
        self.operator: StencilOperator | None = None
        self.n = n
        try:
            system = discretise(steady, grid, parameters)
        except NotLinear:
            check_values(steady, functions)
            self.equation = Equation(steady, self.grid, functions)
        else:
            A = system.operator.to(torch.float64)
            self.operator = A if A.batch == n else _rows(A, torch.zeros(n, dtype=torch.int64, device=device))
            self.rhs = system.rhs.to(torch.float64).expand(n, *A.shape)

    def rows(self, rows: Tensor) -> SemiDiscrete:
        """That of the samples with these numbers."""
        part = copy.copy(self)
        part.n, part.boundary = len(rows), self.boundary[rows]
        if self.operator is None:
            part.equation = self.equation.rows(rows)
        else:
            part.operator, part.rhs = _rows(self.operator, rows), self.rhs[rows]
        return part

    def embed(self, x: Tensor) -> Tensor:
        """(m, *grid.shape), with the boundary values, of x (m, *unknowns): as many of each sample in turn."""
        u = self.boundary.repeat_interleave(len(x) // self.n, dim=0)
        u[self.inside] = x
        return u

    def __call__(self, x: Tensor) -> Tensor:
        """``G(x)``."""
        if self.operator is not None:
            return self.rhs - self.operator.apply(x)
        return -self.equation.residual(self.embed(x))

    def stage(self, x: Tensor, h: float) -> StencilOperator:
        """``M - gamma h J(x)``."""
        A = self.operator if self.operator is not None else self.equation.jacobian(self.embed(x))
        coefficients = GAMMA * h * A.coefficients
        coefficients[:, A.offsets.index((0,) * self.grid.dim)] += self.shares
        return tagged_stencil(A.offsets, coefficients, self.grid.periodic)


def _rows(A: StencilOperator, rows: Tensor) -> StencilOperator:
    return StencilOperator(A.offsets, A.coefficients[rows], A.periodic, A.tags)


class Stepper:
    """Steps of one length, whose linear systems are one sequence.

    Parameters
    ----------
    equations
        Of the samples.
    h
        The length.
    tolerance
        Relative residual of the systems.
    solver, preconditioner
        By default what suits the matrices: `pdeflow.linalg.default_method`.

    Attributes
    ----------
    iterations
        (n,), of the linear solver, all steps so far together.
    """

    def __init__(
        self,
        equations: SemiDiscrete,
        h: float,
        tolerance: float,
        solver: Solver | None = None,
        preconditioner: Preconditioner | None = None,
    ) -> None:
        self.equations, self.h, self.tolerance = equations, h, tolerance
        self.solver, self.preconditioner = solver, preconditioner
        self.iterations = torch.zeros(equations.n, dtype=torch.int64, device=equations.shares.device)
        self.matrix: StencilOperator | None = None
        self.method: Candidate | None = None
        self.sequence: Sequence | None = None
        self.taken = 0
        self.stages: list[tuple[Tensor, Tensor]] = []

    def _next(self, x: Tensor) -> tuple[StencilOperator, Sequence]:
        """The matrix of the step from x on, and the sequence that goes on with it."""
        due = self.equations.operator is None and self.taken % KEPT == 0
        self.taken += 1
        if self.matrix is None or self.sequence is None or due:
            self.matrix = self.equations.stage(x, self.h)
            usual = default_method(self.matrix)
            method = Candidate(self.solver or usual.solver, self.preconditioner or usual.preconditioner)
            # A Jacobian may lose what the method relies on, as where a reaction begins to grow.
            if self.sequence is None or method != self.method:
                self.method, self.sequence = method, self._sequence(method)
        return self.matrix, self.sequence

    def _sequence(self, method: Candidate) -> Sequence:
        """One that makes the preconditioner anew when the matrices have moved away from it."""
        if self.equations.operator is not None or method.preconditioner is None:
            return Sequence(method.solver, method.preconditioner, refresh="frozen")
        return Sequence(method.solver, Frozen(method.preconditioner))

    def _solved(self, A: StencilOperator, sequence: Sequence, b: Tensor, guess: Tensor | None) -> Tensor:
        """NaN where the solver has failed."""
        solution = sequence.solve(A, b, x0=guess, rtol=self.tolerance, on_failure="return")
        self.iterations += solution.iterations
        failed = solution.status != int(Status.CONVERGED)
        return solution.x.masked_fill(column(failed, solution.x), torch.nan)

    def __call__(self, x: Tensor) -> Tensor:
        """x after the step; of a sample that is not finite any more, NaN."""
        alive = column(torch.isfinite(x).flatten(1).all(dim=1), x)
        x = torch.where(alive, x, 0.0)
        A, sequence = self._next(x)
        first = self._solved(A, sequence, self.equations(x), self._guess(0))
        there = self.equations(x + self.h * torch.nan_to_num(first)) - 2 * self.equations.shares * first
        second = self._solved(A, sequence, torch.nan_to_num(there), self._guess(1))
        self.stages = [(first, second), *self.stages[:1]]
        return torch.where(alive, x + self.h * (1.5 * first + 0.5 * second), torch.nan)

    def _guess(self, k: int) -> Tensor | None:
        """What the last two steps say of stage k; of a sample that failed, 0."""
        if not self.stages:
            return None
        last, before = self.stages[0][k], self.stages[-1][k]
        return torch.nan_to_num(2 * last - before)


def fixed_steps(stepper: Stepper, x: Tensor, instants: int, steps: int) -> Tensor:
    """The unknowns at the instants, (n, instants, *unknowns), with so many steps between neighbours."""
    stored = [x]
    for _ in range(instants - 1):
        for _ in range(steps):
            x = stepper(x)
        stored.append(x)
    return torch.stack(stored, dim=1)


@torch.no_grad()
def evolve(
    problem: ParabolicEquation,
    grid: Grid,
    parameters: Mapping[str, Any],
    stop: float,
    instants: int = 2,
    *,
    rtol: float = 1e-4,
    solver: Solver | None = None,
    preconditioner: Preconditioner | None = None,
    device: torch.device | str | None = None,
) -> ImplicitTrajectory:
    """Solve from time 0, with more and more steps until their error is estimated to be below a tolerance.

    Each sample has the steps that it needs, and is extrapolated from its last runs; see
    :mod:`pdeflow.problems.richardson`. The error of the grid is not estimated. At time 0 the sides with
    Dirichlet conditions have their values already.

    Parameters
    ----------
    problem
        What to solve.
    grid
        Of the problem's domain; at least 3 points an axis.
    parameters
        As in :meth:`~pdeflow.problems.problem.Problem.parameters_on_grid`, the initial field among them.
        Everything is computed in float64.
    stop
        The last instant, positive.
    instants
        How many are returned, 0 and ``stop`` included, at equal distances.
    rtol
        Largest relative error in time, as estimated.
    solver, preconditioner
        Of the linear systems; by default what suits them.
    device
        Where to compute; by default where the parameters are.

    Raises
    ------
    InvalidInput
        If a number is out of range, a side has no condition, a parameter is none of the grid, not finite, or
        not positive where it has to be, or the solver does not suit the systems.
    """
    check_times(stop, instants, rtol)
    problem.check_grid(grid)
    check_size(grid)
    device = torch.device(device) if device is not None else _device(parameters)
    parameters = {
        # Rounded to float32, the rows of the stencil of a constant would not add up to 0.
        name: value.to(device, torch.float64) if isinstance(value, Tensor) else _number(value, device)
        for name, value in parameters.items()
    }
    known = closed_grid(problem, grid)
    functions = problem.parameters_on_grid(grid, parameters, torch.float64, device)
    check_values(problem, functions)
    n = batch_size(functions)
    start = problem.initial_field(known, functions).expand(n, *grid.shape)[interior(known)].contiguous()
    others = {name: value for name, value in parameters.items() if name not in problem.initials}
    equations = SemiDiscrete(problem, grid, others, n)

    interval, tolerance = stop / (instants - 1), max(LINEAR * rtol, SMALLEST)
    iterations = torch.zeros(n, dtype=torch.int64, device=start.device)

    def run(rows: Tensor, steps: int) -> Tensor:
        stepper = Stepper(equations.rows(rows), interval / steps, tolerance, solver, preconditioner)
        found = fixed_steps(stepper, start[rows], instants, steps)
        iterations[rows] = stepper.iterations
        return found

    def relative(difference: Tensor, solution: Tensor) -> Tensor:
        far, scale = _norms(difference), _norms(solution)
        return torch.where(scale > 0, far / scale, far).amax(dim=1)

    nothing = torch.full_like(start, torch.nan)
    found = extrapolated(
        run,
        relative,
        torch.stack([start, *[nothing] * (instants - 1)], dim=1),
        torch.full((n,), float(FIRST), dtype=torch.float64, device=start.device),
        first=1.0,
        most=MOST_STEPS // (instants - 1),
        order=ORDER,
        rtol=rtol,
    )
    x, status = found.u, found.status
    status[~torch.isfinite(x).flatten(1).all(dim=1)] = int(Status.BREAKDOWN)
    u = equations.embed(x.flatten(0, 1)).unflatten(0, (n, instants))
    times = torch.linspace(0.0, stop, instants, dtype=torch.float64, device="cpu")
    return ImplicitTrajectory(u, times, found.error, found.steps * (instants - 1), status, iterations)


def _number(value: Any, device: torch.device | None) -> Any:
    """A number as a tensor, which says on which device it is; anything else as it is."""
    if isinstance(value, (int, float)):
        return torch.tensor([value], dtype=torch.float64, device=device or "cpu")
    return value


def _device(parameters: Mapping[str, Any]) -> torch.device | None:
    return next((value.device for value in parameters.values() if isinstance(value, Tensor)), None)


def _norms(x: Tensor) -> Tensor:
    """(n, instants)."""
    return x.flatten(2).norm(dim=2)
