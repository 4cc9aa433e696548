"""From a chain of sample indices to arrays: draw the parameters, solve or step in time, check."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pdeflow.generate.plan import Plan
from pdeflow.generate.recipe import Recipe
from pdeflow.linalg import Candidate, Sequence, Solution, Status, default_method, solve
from pdeflow.problems import (
    Constant,
    Evolution,
    MeshProblem,
    NonlinearSolution,
    NotLinear,
    ParabolicEquation,
    System,
    newton,
)
from pdeflow.problems.unknowns import parted, stored_parts
from pdeflow.triangle_mesh import TriangleMesh


@dataclass(frozen=True)
class Outputs:
    """Which arrays a recipe stores, by the group of the file they go to."""

    fields: tuple[str, ...]
    constant_fields: tuple[str, ...]
    shared_fields: tuple[str, ...]
    scalars: tuple[str, ...]
    attributes: dict[str, float]

    @classmethod
    def of(cls, recipe: Recipe) -> Outputs:
        """What is random is stored a sample; of the rest, numbers as attributes and fields once.

        All but the attributes only if it is among the recipe's outputs.
        """
        constant_fields, shared_fields, scalars, attributes = [], [], [], {}
        problem = recipe.problem
        for name, parameter in problem.parameters.items():
            if isinstance(problem, Evolution) and name in problem.initials:
                continue  # the first instant of the unknown
            distribution = parameter.distribution
            if isinstance(distribution, Constant):
                attributes[name] = distribution.value
            elif not recipe.stores(name):
                continue
            elif distribution.is_field:
                (constant_fields if distribution.fixed is None else shared_fields).append(name)
            else:
                scalars.append(name)
        fields = tuple(name for name in problem.stored_fields if recipe.stores(name))
        return cls(fields, tuple(constant_fields), tuple(shared_fields), tuple(scalars), attributes)


DIAGNOSTICS = {"residual": "float64", "iterations": "int32", "status": "int8", "sample": "int64"}


@dataclass(frozen=True)
class SolvedChain:
    """The arrays of one chain and what solving it cost.

    ``arrays`` maps every name of `Outputs` and of ``DIAGNOSTICS`` to an array whose first axis is the
    sample. ``residual`` is the true relative residual ``||R(u)|| / ||R(boundary values alone)||`` of the
    *statement* on the grid, in float64, before the fields are cast to the storage dtype. Of an equation that
    is not linear, ``iterations`` counts the steps of Newton's method. Of an equation in time, ``residual`` is
    the relative error in time, as estimated, the largest of several unknowns, and ``iterations`` counts the
    steps; where finite volumes solve it, ``residual`` is the relative L1
    difference to the solution on half as many cells. Of a problem on meshes,
    ``meshes`` has one a sample, and the fields are those of all samples one after the other; ``residual`` is
    ``||b - A x|| / ||b||`` of its linear system.
    """

    arrays: dict[str, np.ndarray]
    seconds: float
    meshes: list[TriangleMesh] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """Samples whose status is not CONVERGED."""
        return int((self.arrays["status"] != int(Status.CONVERGED)).sum())


def solve_chain(
    recipe: Recipe, chain: int, device: torch.device | str = "cpu", plan: Plan | None = None
) -> SolvedChain:
    """Draw and solve one chain: by steps in time, as linear systems, or by Newton's method.

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
    indices, outputs = plan.indices(chain), Outputs.of(recipe)
    if isinstance(recipe.problem, MeshProblem):
        arrays, meshes = _on_meshes(recipe, recipe.problem, indices)
        return SolvedChain(arrays, time.perf_counter() - start, meshes)
    parameters = recipe.problem.sample(indices, recipe.grid, seed=recipe.seed, device=device)
    solved = (
        _evolved(plan, parameters) if isinstance(recipe.problem, Evolution) else _steady(plan, parameters)
    )
    problem = recipe.problem
    stored = stored_parts(parted(problem.fields, solved.u, dim=2))
    arrays = {
        name: u.cpu().numpy() for name, u in zip(problem.stored_fields, stored) if name in outputs.fields
    }
    for name in (*outputs.constant_fields, *outputs.scalars):
        arrays[name] = parameters[name].cpu().numpy()
    arrays["residual"] = solved.residual.cpu().numpy()
    arrays["iterations"] = solved.iterations.cpu().numpy().astype(np.int32)
    arrays["status"] = solved.status.cpu().numpy().astype(np.int8)
    arrays["sample"] = np.asarray(indices, dtype=np.int64)
    return SolvedChain(arrays, time.perf_counter() - start)


@dataclass(frozen=True)
class _Solved:
    """Fields, NaN where solving failed, and what it said of each sample, (n,).

    ``u`` is (n, instants, *grid.shape), of several unknowns (n, instants, fields, *grid.shape).
    """

    u: Tensor
    residual: Tensor
    iterations: Tensor
    status: Tensor


def _evolved(plan: Plan, parameters: dict[str, Tensor]) -> _Solved:
    """Stepped in time."""
    recipe = plan.recipe
    problem, stop = recipe.problem, recipe.stop
    assert isinstance(problem, Evolution)
    assert stop is not None
    method: dict[str, Any] = {}
    if isinstance(problem, ParabolicEquation):
        method = {"solver": recipe.solver, "preconditioner": recipe.preconditioner}
    elif plan.fewest is not None:
        method = {"fewest": plan.fewest}
    path = problem.evolve(recipe.grid, parameters, stop, recipe.instants, rtol=recipe.tolerance, **method)
    # The start of a sample that failed stays: it is an input.
    u = torch.cat([path.u[:, :1], _or_nan(path.u[:, 1:], path.status)], dim=1)
    return _Solved(u, path.error, path.steps, path.status)


def _steady(plan: Plan, parameters: dict[str, Tensor]) -> _Solved:
    """Discretised and solved; stored as two times, the zero guess, then the solution."""
    recipe = plan.recipe
    problem, grid = recipe.problem, recipe.grid
    try:
        system = problem.discretise(grid, parameters)
    except NotLinear:
        return _nonlinear(recipe, parameters)
    system = system.made_solvable()
    method = plan.candidate(system.operator)
    solve_all = _in_sequence if recipe.order == "similar" else _at_once
    solution = solve_all(system, method, recipe)
    if plan.method is not None:
        solution = _tried_again(system, solution, recipe)
    u = system.embed(solution.x)
    residual = system.solvable(problem.residual_on_grid(u, grid, parameters)).reshape(len(u), -1).norm(dim=1)
    size = system.rhs.reshape(len(u), -1).norm(dim=1)
    residual = torch.where(size > 0, residual / size, residual)
    return _Solved(_with_guess(u, solution.status), residual, solution.iterations, solution.status)


def _nonlinear(recipe: Recipe, parameters: dict[str, Tensor]) -> _Solved:
    """By Newton's method; stored like what is linear."""

    def solved(some: dict[str, Tensor], guess: Tensor | None = None) -> NonlinearSolution:
        return newton(
            recipe.problem,
            recipe.grid,
            some,
            guess=guess,
            solver=recipe.solver,
            preconditioner=recipe.preconditioner,
            rtol=recipe.tolerance,
        )

    if recipe.order == "index":
        parts = [solved(parameters)]
    else:
        parts, guess = [], None
        for i in range(max((len(values) for values in parameters.values()), default=1)):
            one = {name: values[i : i + 1] for name, values in parameters.items()}
            part = solved(one, guess)
            if guess is not None and not bool(part.converged.all()):
                part = solved(one)
            parts.append(part)
            if recipe.guess == "neighbour" and bool(part.converged.all()):
                guess = part.u
    names = ("u", "residual_norm", "iterations", "status")
    u, residual, iterations, status = (torch.cat([getattr(part, name) for part in parts]) for name in names)
    return _Solved(_with_guess(u, status), residual, iterations, status)


def _on_meshes(
    recipe: Recipe, problem: MeshProblem, indices: list[int]
) -> tuple[dict[str, np.ndarray], list[TriangleMesh]]:
    """Meshed, assembled and solved one by one, on the CPU."""
    outputs, meshes = Outputs.of(recipe), []
    parts: dict[str, list[np.ndarray]] = {}
    for index in indices:
        mesh = problem.mesh(index, recipe.grid, seed=recipe.seed)
        parameters = problem.sample_on_mesh(index, mesh, recipe.grid, seed=recipe.seed)
        system = problem.assemble(mesh, parameters)
        solution = system.solve(
            solver=recipe.solver,
            preconditioner=recipe.preconditioner,
            rtol=recipe.tolerance,
            on_failure="return",
        )
        u = _or_nan(system.embed(solution.x)[None], solution.status)[0]
        size = system.rhs.norm()
        residual = (system.rhs - system.operator(solution.x)).norm()
        values = {
            **{name: u[:, k] for k, name in enumerate(problem.fields) if name in outputs.fields},
            **{name: parameters[name] for name in (*outputs.constant_fields, *outputs.scalars)},
            "residual": residual / size if size > 0 else residual,
            "iterations": solution.iterations.to(torch.int32),
            "status": solution.status.to(torch.int8),
            "sample": torch.tensor(index, device="cpu"),
        }
        for name, value in values.items():
            parts.setdefault(name, []).append(np.atleast_1d(value.numpy()))
        meshes.append(mesh)
    return {name: np.concatenate(several) for name, several in parts.items()}, meshes


def _or_nan(u: Tensor, status: Tensor) -> Tensor:
    """NaN in place of the samples that did not converge."""
    failed = status != int(Status.CONVERGED)
    return u.masked_fill(failed.reshape(-1, *[1] * (u.ndim - 1)), torch.nan) if bool(failed.any()) else u


def _with_guess(u: Tensor, status: Tensor) -> Tensor:
    """Two times, the zero guess and the solution, (n, 2, ...); NaN where it failed."""
    both = u.new_zeros((len(u), 2, *u.shape[1:]))
    both[:, 1] = u
    return _or_nan(both, status)


def _at_once(system: System, method: Candidate, recipe: Recipe) -> Solution:
    """All systems as one batch."""
    return solve(
        system.operator,
        system.rhs,
        solver=method.solver,
        preconditioner=method.preconditioner,
        rtol=recipe.tolerance,
        on_failure="return",
    )


def _in_sequence(system: System, method: Candidate, recipe: Recipe) -> Solution:
    """One system after the other, each with what the one before has left."""
    chain, guess, parts = Sequence(method.solver, method.preconditioner), None, []
    for A, b in zip(system.operator.pieces(1), system.rhs.split(1)):
        parts.append(chain.solve(A, b, x0=guess, rtol=recipe.tolerance, on_failure="return"))
        if recipe.guess == "neighbour" and bool(parts[-1].converged.all()):
            guess = parts[-1].x
    return Solution.concatenate(parts)


def _tried_again(system: System, solution: Solution, recipe: Recipe) -> Solution:
    """What the method of a pilot, which has seen other samples, did not solve, by the usual one."""
    x, status, iterations = solution.x.clone(), solution.status.clone(), solution.iterations.clone()
    pieces, usual = system.operator.pieces(1), default_method(system.operator)
    for i in torch.nonzero(status != int(Status.CONVERGED)).flatten().tolist():
        one = dataclasses.replace(system, operator=pieces[i], rhs=system.rhs[i : i + 1])
        again = _at_once(one, usual, recipe)
        x[i], status[i], iterations[i] = again.x[0], again.status[0], again.iterations[0]
    return dataclasses.replace(solution, x=x, status=status, iterations=iterations)
