"""From a chain of sample indices to arrays: draw the parameters, discretise, solve, check."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch

from pdeflow.generate.plan import Plan
from pdeflow.generate.recipe import Recipe
from pdeflow.linalg import Candidate, Sequence, Solution, Status, solve
from pdeflow.problems import Constant, System


@dataclass(frozen=True)
class Outputs:
    """Which arrays a recipe stores, by the group of the file they go to."""

    fields: tuple[str, ...]
    constant_fields: tuple[str, ...]
    scalars: tuple[str, ...]
    attributes: dict[str, float]

    @classmethod
    def of(cls, recipe: Recipe) -> Outputs:
        """Random fields are stored a sample, random scalars a sample, constants once as attributes."""
        constant_fields, scalars, attributes = [], [], {}
        for name, parameter in recipe.problem.parameters.items():
            distribution = parameter.distribution
            if isinstance(distribution, Constant):
                attributes[name] = distribution.value
            elif distribution.is_field:
                constant_fields.append(name)
            else:
                scalars.append(name)
        return cls(recipe.problem.fields, tuple(constant_fields), tuple(scalars), attributes)


DIAGNOSTICS = {"residual": "float64", "iterations": "int32", "status": "int8", "sample": "int64"}


@dataclass(frozen=True)
class SolvedChain:
    """The arrays of one chain and what solving it cost.

    ``arrays`` maps every name of `Outputs` and of ``DIAGNOSTICS`` to an array whose first axis is the
    sample. ``residual`` is the true relative residual ``||R(u)|| / ||R(boundary values alone)||`` of the
    *statement* on the grid, in float64, before the fields are cast to the storage dtype.
    """

    arrays: dict[str, np.ndarray]
    seconds: float

    @property
    def failed(self) -> int:
        """Samples whose status is not CONVERGED."""
        return int((self.arrays["status"] != int(Status.CONVERGED)).sum())


def solve_chain(
    recipe: Recipe, chain: int, device: torch.device | str = "cpu", plan: Plan | None = None
) -> SolvedChain:
    """Draw, discretise and solve one chain, as one batch or one system after the other.

    A sample that fails is kept with its status and NaN in its fields; it is never redrawn.

    Parameters
    ----------
    recipe
        The data set.
    chain
        Which chain, counted from 0.
    device
        Where the fields are sampled and the systems solved.
    plan
        The order of the samples and the method; made here if there is none.
    """
    start = time.perf_counter()
    plan = plan or Plan.make(recipe, device)
    problem, grid, indices = recipe.problem, recipe.grid, plan.indices(chain)
    outputs = Outputs.of(recipe)
    parameters = problem.sample(indices, grid, seed=recipe.seed, device=device)
    system = problem.discretise(grid, parameters)
    method = plan.candidate(system.operator)
    solve_all = _in_sequence if recipe.order == "similar" else _at_once
    solution = solve_all(system, method, recipe)
    full = system.embed(solution.x)
    batch = len(indices)
    residual = problem.residual_on_grid(full, grid, parameters).reshape(batch, -1).norm(dim=1)
    size = system.rhs.reshape(batch, -1).norm(dim=1)
    residual = torch.where(size > 0, residual / size, residual)
    usable = (solution.status == int(Status.CONVERGED)).reshape(batch, *[1] * grid.dim)
    u = torch.where(usable, full, torch.nan)

    # A steady problem is stored as two times: the zero guess, then the solution.
    arrays: dict[str, np.ndarray] = {}
    arrays[problem.fields[0]] = torch.stack([torch.zeros_like(u), u], dim=1).cpu().numpy()
    for name in (*outputs.constant_fields, *outputs.scalars):
        arrays[name] = parameters[name].cpu().numpy()
    arrays["residual"] = residual.cpu().numpy()
    arrays["iterations"] = solution.iterations.cpu().numpy().astype(np.int32)
    arrays["status"] = solution.status.cpu().numpy().astype(np.int8)
    arrays["sample"] = np.asarray(indices, dtype=np.int64)
    return SolvedChain(arrays, time.perf_counter() - start)


def _at_once(system: System, method: Candidate, recipe: Recipe) -> Solution:
    """All systems as one batch."""
    return solve(
        system.operator,
        system.rhs,
        solver=method.solver,
        preconditioner=method.preconditioner,
        rtol=recipe.rtol,
        on_failure="return",
    )


def _in_sequence(system: System, method: Candidate, recipe: Recipe) -> Solution:
    """One system after the other, each with what the one before has left."""
    chain, guess, parts = Sequence(method.solver, method.preconditioner), None, []
    for A, b in zip(system.operator.pieces(1), system.rhs.split(1)):
        parts.append(chain.solve(A, b, x0=guess, rtol=recipe.rtol, on_failure="return"))
        if recipe.guess == "neighbour" and bool(parts[-1].converged.all()):
            guess = parts[-1].x
    return Solution.concatenate(parts)
