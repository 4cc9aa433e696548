"""What decides the bytes of a generated sample, and nothing else."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Any, Literal

import pdeflow
from pdeflow.errors import InvalidInput
from pdeflow.grid import Grid
from pdeflow.linalg import Auto, Candidate, LinearOperator, Preconditioner, Solver, default_method
from pdeflow.problems import (
    Constant,
    Evolution,
    MeshProblem,
    MethodOfLines,
    ParabolicEquation,
    Problem,
)
from pdeflow.problems.method_of_lines import has_time_axis


@dataclass(frozen=True)
class Recipe:
    """A data set stated: a pure function of (recipe, root seed, chain index) to a shard of samples.

    Parameters
    ----------
    problem
        The equation with the distributions of its parameters, for example ``Darcy``. A statement that has
        time among the axes of its box becomes a `MethodOfLines`.
    resolution
        Nodes along each axis (one number), or one number an axis. The ends of a bounded axis count. On
        polygons the edges of the triangles are about as long as the spacing of these nodes.
    samples
        How many samples the data set has.
    seed
        Root seed. Sample ``i`` draws from ``SeedSequence(seed, spawn_key=(i, k))`` for parameter ``k``.
    chain
        Samples solved together, written as one shard, and lost together if the run is killed.
    solver
        Krylov solver of the linear systems; by default the one that suits their tags: CG, GMRES or BiCGStab.
        Those of an equation that is not linear are the steps of Newton's method; it does not take ``Auto``.
        Of equations in time only parabolic ones have systems, those of their steps, without ``Auto``.
    preconditioner
        Preconditioner of the solver; by default the one that suits the tags.
    order
        ``"index"``: the samples of a chain follow each other by number and are solved together, as a batch.
        ``"similar"``: all samples are ordered so that neighbours have similar parameters, and a chain is
        solved one by one, each system with what the solver and the preconditioner carry over from the one
        before (``GCRODR``, ``DeflatedCG``, ``Frozen``). The file has the samples by number in both cases.
        Newton's method carries nothing over but the guess.
    guess
        ``"zero"``, or ``"neighbour"``: in the order ``"similar"`` a system starts from the solution of the
        one before.
    rtol
        Relative residual at which a system counts as solved. Of an equation in time: relative error in
        time, as estimated, at which it counts as solved. Of a conservation law:
        residual of an implicit step, relative to the largest value of the solution; a hyperbolic system has
        none. By default 1e-4 of a parabolic equation, whose steps are of second order, and 1e-8 of others.
    stop
        Last instant of an equation in time; none for a steady one. By default the end of the time where
        that is an axis of the statement.
    instants
        How many instants of an equation in time are stored, at equal distances from 0 to ``stop``, both
        included.
    outputs
        Names of the arrays to store: unknowns, at least one of them, and parameters that are not one number
        for all samples (`known_outputs`). All by default. Such numbers, residuals, iterations and statuses
        are stored in any case.
    dtype
        Number format of the stored fields. Systems are always solved in float64.
    name
        Name of the data set; that of the problem by default.

    Raises
    ------
    InvalidInput
        If a number is out of its range, or a key does not belong to the kind of equation.
    """

    problem: Problem
    resolution: int | list[int] = 64
    samples: int = 1000
    seed: int = 0
    chain: int = 32
    solver: Solver | None = None
    preconditioner: Preconditioner | None = None
    order: Literal["index", "similar"] = "index"
    guess: Literal["zero", "neighbour"] = "zero"
    rtol: float | None = None
    stop: float | None = None
    instants: int = 2
    outputs: list[str] | None = None
    dtype: Literal["float32", "float64"] = "float32"
    name: str | None = None

    def __post_init__(self) -> None:
        self._march()
        for key in ("samples", "chain"):
            if getattr(self, key) < 1:
                raise InvalidInput(key, getattr(self, key), "a whole number of at least 1")
        if self.seed < 0:
            raise InvalidInput("seed", self.seed, "a whole number of at least 0")
        if not (math.isfinite(self.tolerance) and 0.0 < self.tolerance < 1.0):
            hint = f"Left out, it is {self._usual_rtol:g}."
            raise InvalidInput("rtol", self.rtol, "a number between 0 and 1", hint)
        if self.dtype not in ("float32", "float64"):
            raise InvalidInput("dtype", self.dtype, "'float32' or 'float64'")
        for key, known in (("order", ("index", "similar")), ("guess", ("zero", "neighbour"))):
            if getattr(self, key) not in known:
                raise InvalidInput(key, getattr(self, key), f"one of {known}", choices=known)
        if isinstance(self.solver, Auto) and self.preconditioner is not None:
            hint = "Leave it out: the candidates of Auto bring their own."
            raise InvalidInput("preconditioner", type(self.preconditioner).__name__, "none with Auto", hint)
        if self.guess == "neighbour" and self.order == "index":
            hint = "Add order: similar, or leave guess out."
            raise InvalidInput("guess", "neighbour", "zero in the order of the index", hint)
        if self.outputs is not None:
            self._check_outputs(self.outputs)
        self._check_times()
        self._check_nodes()
        if isinstance(self.problem, MeshProblem):
            self._check_meshes()
        self.problem.check_resolution(self.grid)

    def _march(self) -> None:
        """A statement with time among its coordinates is marched, by default to its end."""
        if has_time_axis(self.problem):
            object.__setattr__(self, "problem", MethodOfLines(self.problem))
        if not isinstance(self.problem, MethodOfLines):
            return
        end = self.problem.end
        if self.stop is None:
            object.__setattr__(self, "stop", end)
        elif self.stop > end:
            expected = f"at most {end:g}, where the time of {self.problem.name} ends"
            raise InvalidInput("stop", self.stop, expected, "Leave it out, or state the problem for longer.")

    def _check_outputs(self, outputs: list[str]) -> None:
        """Names of arrays, each once, one of them an unknown."""
        known, unknowns = self.known_outputs, self.problem.stored_fields
        for name in outputs:
            if name not in known:
                raise InvalidInput("outputs", name, f"arrays of {self.problem.name}", choices=known)
            if outputs.count(name) > 1:
                raise InvalidInput("outputs", outputs, f"every name once, and not {name!r} again")
        if not set(outputs) & set(unknowns):
            hint = "The parameters alone are drawn faster by problem.sample()."
            raise InvalidInput("outputs", outputs, f"at least one unknown: {', '.join(unknowns)}", hint)

    def _check_nodes(self) -> None:
        """One number, or one an axis, each enough for an inside and two ends."""
        axes, given = self.problem.domain.axes, self.resolution
        counts = [given] if isinstance(given, int) else list(given)
        if not isinstance(given, int) and len(counts) != len(axes):
            expected = f"one number, or {len(axes)}, one for each of {', '.join(axes)}"
            raise InvalidInput("resolution", given, expected)
        if min(counts) < 3:
            raise InvalidInput("resolution", given, "at least 3 nodes along each axis")

    def _check_times(self) -> None:
        """Steady equations have no instants, equations in time no systems but those of implicit steps."""
        if not isinstance(self.problem, Evolution):
            if self.stop is not None or self.instants != 2:
                name, got = ("stop", self.stop) if self.stop is not None else ("instants", self.instants)
                raise InvalidInput(
                    name, got, f"nothing, because {self.problem.name} is steady", f"Leave {name} out."
                )
            return
        if self.stop is None or not (math.isfinite(self.stop) and self.stop > 0):
            hint = "For example stop: 1.0."
            raise InvalidInput(
                "stop", self.stop, f"a positive time, up to which {self.problem.name} runs", hint
            )
        if self.instants < 2:
            raise InvalidInput("instants", self.instants, "at least 2, the start and the end")
        implicit = isinstance(self.problem, ParabolicEquation)
        if implicit and isinstance(self.solver, Auto):
            hint = "Name a solver, or leave it out."
            raise InvalidInput("solver", "Auto", "one method for all steps", hint)
        none = "has its samples stepped together" if implicit else "has no linear systems"
        for key, usual in (("solver", None), ("preconditioner", None), ("order", "index")):
            if getattr(self, key) != usual and not (implicit and key != "order"):
                raise InvalidInput(
                    key,
                    getattr(self, key),
                    f"nothing, because {self.problem.name} is stepped in time and {none}",
                    f"Leave {key} out.",
                )

    def _check_meshes(self) -> None:
        """Samples on meshes are solved one by one, in the order of their numbers."""
        why = f"because every sample of {self.problem.name} has a mesh of its own"
        if self.order != "index":
            raise InvalidInput("order", self.order, f"'index', {why}", "Leave order out.")
        if isinstance(self.solver, Auto):
            hint = "Name a solver, or leave it out."
            raise InvalidInput("solver", "Auto", f"one method for all, {why}", hint)

    @property
    def tolerance(self) -> float:
        """``rtol``, or what it is by default."""
        return self._usual_rtol if self.rtol is None else self.rtol

    @property
    def _usual_rtol(self) -> float:
        return 1e-4 if isinstance(self.problem, ParabolicEquation) else 1e-8

    @property
    def times(self) -> tuple[float, ...]:
        """The instants that are stored; of a steady problem 0, a zero guess, and 1, the solution."""
        if self.stop is None:
            return (0.0, 1.0)
        return tuple(self.stop * k / (self.instants - 1) for k in range(self.instants))

    @property
    def known_outputs(self) -> tuple[str, ...]:
        """The arrays that there are: unknowns, and parameters that are not one number for all samples.

        The initial field of an equation in time is the first instant of its unknown.
        """
        problem = self.problem
        initials = problem.initials if isinstance(problem, Evolution) else ()
        drawn = [
            name
            for name, parameter in problem.parameters.items()
            if name not in initials and not isinstance(parameter.distribution, Constant)
        ]
        return (*problem.stored_fields, *drawn)

    def stores(self, name: str) -> bool:
        """Whether an array is among the outputs."""
        return self.outputs is None or name in self.outputs

    @property
    def grid(self) -> Grid:
        """The grid that the samples live on."""
        return self.problem.grid(self.resolution)

    @property
    def title(self) -> str:
        """Name of the data set."""
        return self.name or self.problem.name

    def method(self, A: LinearOperator) -> Candidate:
        """The solver and the preconditioner that run for systems like A."""
        usual = default_method(A)
        if isinstance(self.solver, Auto):
            return Candidate(self.solver, self.preconditioner)
        return Candidate(self.solver or usual.solver, self.preconditioner or usual.preconditioner)

    @property
    def chains(self) -> int:
        """Number of chains."""
        return math.ceil(self.samples / self.chain)

    def indices(self, chain: int) -> range:
        """The sample indices of one chain."""
        return range(chain * self.chain, min((chain + 1) * self.chain, self.samples))

    def describe(self) -> dict[str, Any]:
        """Everything that decides a sample's bytes, as plain JSON values."""
        grid = self.grid
        return {
            "pdeflow": pdeflow.__version__,
            "problem": self.problem.describe(),
            "statement": self.problem.statement(),
            "distributions": {n: repr(p.distribution) for n, p in self.problem.parameters.items()},
            "resolution": list(grid.points),
            "samples": self.samples,
            "seed": self.seed,
            "chain": self.chain,
            "solver": repr(self.solver),
            "preconditioner": repr(self.preconditioner),
            "order": self.order,
            "guess": self.guess,
            "rtol": self.tolerance,
            "times": list(self.times),
            **({} if self.outputs is None else {"outputs": sorted(self.outputs)}),
            "dtype": self.dtype,
            "name": self.title,
        }

    def fingerprint(self) -> str:
        """SHA-256 of `describe`: two outputs belong to one recipe when this agrees."""
        text = json.dumps(self.describe(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()
