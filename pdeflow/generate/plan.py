"""What is decided once for a data set before its chains are solved: their order, and the method."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from pdeflow.atomic_file import write_json
from pdeflow.errors import CorruptFile, InvalidInput
from pdeflow.generate.recipe import Recipe
from pdeflow.generate.similarity import low_frequencies, similar_order, standardised
from pdeflow.linalg import Auto, Candidate, LinearOperator, Sequence, default_candidates
from pdeflow.problems import Evolution, NotLinear

PIECE = 64  # samples whose parameters are drawn together for the order
STEPPED = 4  # samples by which the fewest steps are found: compiled loops take four at once


@dataclass(frozen=True)
class Plan:
    """The samples in the order in which they are solved, and what a pilot has chosen.

    Parameters
    ----------
    recipe
        The data set.
    order
        Sample numbers, cut into chains of ``recipe.chain``; None for the order of the numbers.
    method
        The name of the candidate that a pilot chose; None where the recipe decides.
    trials
        What the pilot saw, a line a candidate.
    fewest
        Of an equation stepped by ETDRK4: steps between two instants with which the first samples are stable,
        from which all begin, so that they are not tried with fewer in vain.
    """

    recipe: Recipe
    order: list[int] | None = None
    method: str | None = None
    trials: list[dict[str, Any]] = field(default_factory=list)
    fewest: int | None = None

    @classmethod
    def make(cls, recipe: Recipe, device: torch.device | str = "cpu") -> Plan:
        """Order the samples, and hold the pilots that there are."""
        return cls.ordered(recipe, device).piloted(device)

    @classmethod
    def ordered(cls, recipe: Recipe, device: torch.device | str = "cpu") -> Plan:
        """Order the samples."""
        return cls(recipe, _similar(recipe, device) if recipe.order == "similar" else None)

    def indices(self, chain: int) -> list[int]:
        """The sample numbers of one chain, in the order in which they are solved."""
        places = self.recipe.indices(chain)
        return list(places) if self.order is None else self.order[places.start : places.stop]

    def candidate(self, A: LinearOperator) -> Candidate:
        """The solver and the preconditioner for systems like A."""
        solver = self.recipe.solver
        if not isinstance(solver, Auto):
            return self.recipe.method(A)
        for candidate in _competitors(self.recipe, solver, A):
            if candidate.name == self.method:
                return candidate
        hint = "Generate anew with overwrite=True, or name a solver in the recipe."
        raise InvalidInput("method", self.method, "a candidate that suits the systems", hint)

    def piloted(self, device: torch.device | str = "cpu") -> Plan:
        """The plan with what the first samples tell: the fastest method if it is asked for, stable steps."""
        solver, problem, grid = self.recipe.solver, self.recipe.problem, self.recipe.grid
        if not isinstance(solver, Auto):
            return dataclasses.replace(self, fewest=_fewest(self.recipe, device))
        indices = self.indices(0)[: solver.pilot]
        parameters = problem.sample(indices, grid, seed=self.recipe.seed, device=device)
        try:
            system = problem.discretise(grid, parameters).made_solvable()
        except NotLinear as error:
            hint = "Leave solver out: every step of Newton's method then has one that suits its systems."
            expected = f"a solver by its name, because {problem.name} is not linear"
            raise InvalidInput("solver", "Auto", expected, hint) from error
        competitors = _competitors(self.recipe, solver, system.operator)
        chain, choice = Sequence(Auto(competitors, solver.pilot)), None
        for A, b in zip(system.operator.pieces(1), system.rhs.split(1)):
            choice = chain.solve(A, b, rtol=self.recipe.tolerance, on_failure="return").choice
        assert choice is not None
        if choice.name == "none":
            raise InvalidInput(
                "solver", "Auto", "a candidate that solves the first systems", f"{choice}\nName a solver."
            )
        trials = [dataclasses.asdict(trial) for trial in choice.trials]
        return dataclasses.replace(self, method=choice.name, trials=trials)

    def save(self, path: Path) -> None:
        """Write it, atomically."""
        write_json(path, self.describe() | {"order": self.order})

    def describe(self) -> dict[str, Any]:
        """What a record says of it."""
        return {"method": self.method, "trials": self.trials, "fewest": self.fewest}

    @classmethod
    def load(cls, path: Path, recipe: Recipe) -> Plan:
        """Read what `save` has written.

        Raises
        ------
        CorruptFile
            If it is no plan for the recipe.
        """
        try:
            held = json.loads(path.read_text())
            order = held["order"]
            if order is not None and sorted(order) != list(range(recipe.samples)):
                raise ValueError("the order does not name every sample once")
            fewest = held["fewest"] if _is_stepped(recipe) else None
            return cls(recipe, order, held["method"], held["trials"], fewest)
        except (ValueError, TypeError, KeyError) as error:
            raise CorruptFile(
                f"{path}: not a plan of this version ({error}).\n"
                f"Remove {path.parent} and run the same command again."
            ) from error


def _is_stepped(recipe: Recipe) -> bool:
    """Whether ETDRK4 steps it."""
    return isinstance(recipe.problem, Evolution) and type(recipe.problem).evolve is Evolution.evolve


def _fewest(recipe: Recipe, device: torch.device | str) -> int | None:
    """Of equations that are stepped by ETDRK4; by the first samples, whatever the order and their number."""
    problem = recipe.problem
    if not isinstance(problem, Evolution) or not _is_stepped(recipe):
        return None
    assert recipe.stop is not None
    first = problem.sample(range(STEPPED), recipe.grid, seed=recipe.seed, device=device)
    return problem.fewest_steps(recipe.grid, first, recipe.stop, recipe.instants, rtol=recipe.tolerance)


def _competitors(recipe: Recipe, solver: Auto, A: LinearOperator) -> tuple[Candidate, ...]:
    """The candidates of the pilot: where the samples of a chain are solved together, none that carries."""
    candidates = solver.candidates or default_candidates(A)
    kept = tuple(c for c in candidates if recipe.order == "similar" or not c.carries)
    names = [candidate.name for candidate in kept]
    if not kept:
        hint = "Add order: similar, or a candidate that needs no system before."
        raise InvalidInput(
            "solver.candidates", [c.name for c in candidates], "one that carries nothing", hint
        )
    if len(set(names)) < len(names):
        raise InvalidInput("solver.candidates", names, "candidates of different names", "Leave one out.")
    return kept


def _similar(recipe: Recipe, device: torch.device | str) -> list[int]:
    """All samples, neighbours with similar parameters."""
    problem, grid = recipe.problem, recipe.grid
    parts = []
    varying = [n for n, p in problem.parameters.items() if p.distribution.fixed is None]
    if not varying:
        return list(range(recipe.samples))
    for start in range(0, recipe.samples, PIECE):
        indices = range(start, min(start + PIECE, recipe.samples))
        parameters = problem.sample(indices, grid, seed=recipe.seed, device=device)
        parts.append(low_frequencies({n: parameters[n] for n in varying}, grid.dim))
    return similar_order(standardised(parts))
