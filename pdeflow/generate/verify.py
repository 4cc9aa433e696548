"""Whether a generated file is still what its record says, and still solves its equation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pdeflow.data import MeshReader, WellReader, open_samples
from pdeflow.errors import CorruptFile, InvalidInput
from pdeflow.generate.engine import manifest_path, read_record
from pdeflow.generate.manifest import sha256
from pdeflow.generate.rebuild import NotRebuilt, rebuild_problem
from pdeflow.grid import Grid
from pdeflow.linalg import Status
from pdeflow.problems import Constant, Evolution, MeshProblem, NotLinear, Problem
from pdeflow.problems.closed_grid import closed_grid, interior
from pdeflow.problems.discretise import System, boundary_extension
from pdeflow.problems.unknowns import parted

SUBSET = 16
# Rounding errors of stored values count this many times: a bound for half a unit in the last place of all of
# them, with a reserve for the arithmetic of the residual itself.
ROUNDING = 4.0


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Parameters
    ----------
    name
        ``record``, ``checksum``, ``parameters``, ``residual`` or ``solution``.
    passed
        None where it could not be checked.
    text
        What was found.
    """

    name: str
    passed: bool | None
    text: str


@dataclass(frozen=True)
class Verification:
    """What `verify` found."""

    checks: tuple[Check, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing differs; what could not be checked does not count."""
        return all(check.passed is not False for check in self.checks)

    def text(self) -> str:
        """A line a check."""
        words = {True: "ok", False: "DIFFERS", None: "not checked"}
        return "\n".join(f"  {c.name:<11} {words[c.passed]}: {c.text}" for c in self.checks)


def verify(path: str | Path, samples: int = SUBSET) -> Verification:
    """Compare a file with its record, and some of its samples with the equation.

    The bytes are compared with the checksum in ``PATH.manifest.json``. Samples chosen at random, other ones
    every time, are drawn again from the recorded seed and compared with the stored parameters, and the
    residual of their stored solutions is computed anew: it may exceed the recorded one by what the rounding
    to the storage format explains. Of an equation in time, which has no residual, a few samples are stepped
    again and compared with what is stored. A sample that failed must be NaN.

    Parameters
    ----------
    path
        A file that `generate` wrote.
    samples
        How many samples to look at; of an equation in time a quarter of that.

    Raises
    ------
    CorruptFile
        If the file or its record cannot be read.
    """
    path = Path(path)
    record_path = manifest_path(path)
    if not record_path.exists():
        return Verification((Check("record", None, f"there is no {record_path.name} beside the file"),))
    record = read_record(record_path)
    same = sha256(path) == record["sha256"]
    says = "the bytes are those of" if same else "the bytes are not those of"
    checks = [Check("checksum", same, f"{says} {record_path.name}")]
    with open_samples(path) as file:
        text = json.dumps(record["recipe"], sort_keys=True)
        if file.attributes.get("recipe") != hashlib.sha256(text.encode()).hexdigest():
            checks.append(Check("record", False, "its recipe is not the one that the file was made from"))
            return Verification(tuple(checks))
        try:
            problem = rebuild_problem(record["recipe"])
        except NotRebuilt as error:
            checks.append(Check("residual", None, str(error)))
            return Verification(tuple(checks))
        in_time = isinstance(problem, Evolution)
        count = -(-samples // 4) if in_time else samples
        rows = np.sort(np.random.default_rng().permutation(file.n)[:count])
        if isinstance(file, MeshReader):
            checks += _mesh_checks(file, problem, record["recipe"], rows)
        else:
            look = _step_again if in_time else _sample_checks
            checks += look(file, problem, record["recipe"], rows)
    return Verification(tuple(checks))


def _sample_checks(
    file: WellReader, problem: Problem, recipe: dict[str, Any], rows: np.ndarray
) -> list[Check]:
    """The parameters and the residual of some samples."""
    try:
        grid = problem.grid(recipe["resolution"])
        numbers = [int(i) for i in file.read("sample", rows)]
        parameters = problem.sample(numbers, grid, seed=recipe["seed"], device="cpu")
        parts = [
            torch.as_tensor(file.read(name, rows)[:, 1], dtype=torch.float64, device="cpu")
            for name in _stored(problem.stored_fields, recipe)
        ]
        status, recorded = file.read("status", rows), file.read("residual", rows)
        names = _stored(_random(problem), recipe)
        stored = {name: np.asarray(file.read(name, rows), dtype=np.float64) for name in names}
        eps = float(np.finfo(recipe["dtype"]).eps)
    except (KeyError, InvalidInput) as error:
        raise CorruptFile(f"{file.path}: lacks what its record speaks of ({error}).") from error
    checks = [_parameters(stored, parameters, numbers, eps)]
    if len(parts) < len(problem.stored_fields):
        return [*checks, _without_residual(problem, recipe)]

    u = torch.complex(*parts) if problem.complex_valued else parts[0]
    system = _system(problem, grid, parameters)
    solvable = system.solvable if system is not None else lambda residual: residual
    good = torch.as_tensor(status == int(Status.CONVERGED), device="cpu")
    finite = u.isfinite().flatten(1).all(dim=1)
    functions = problem.parameters_on_grid(grid, parameters, torch.float64, u.device)
    bare = boundary_extension(problem, grid, functions, u.device)
    size = _norm(solvable(problem.residual_on_grid(bare, grid, parameters)))
    size = torch.where(size > 0, size, 1.0)
    found = _norm(solvable(problem.residual_on_grid(u, grid, parameters))) / size
    rounding = _norm(_response(problem, u, grid, parameters, eps / 2)) / size
    allowed = 1.01 * torch.as_tensor(recorded, device="cpu") + ROUNDING * rounding
    # Of the values that conditions give, and of a mean that is 0, rounding is all that is allowed.
    given = torch.ones(grid.shape, dtype=torch.bool, device="cpu")
    given[interior(closed_grid(problem, grid))[1:]] = False
    missed = ((u - bare).abs() * given).flatten(1).amax(dim=1)
    held = missed <= 2 * eps * bare.abs().flatten(1).amax(dim=1)
    if system is not None and system.shares is not None:
        mean = (u[system.interior] * system.shares).flatten(1).sum(dim=1) / system.shares.sum()
        held &= mean.abs() <= 2 * eps * u.abs().flatten(1).amax(dim=1)
    wrong = torch.where(good, ~((found <= allowed) & held), finite)
    return [*checks, _residuals(recipe, file.n, numbers, found, allowed, wrong, good)]


def _residuals(
    recipe: dict[str, Any],
    n: int,
    numbers: list[int],
    found: torch.Tensor,
    allowed: torch.Tensor,
    wrong: torch.Tensor,
    good: torch.Tensor,
) -> Check:
    """What is said of the residuals of some samples of n, (samples,) each."""
    if bool(wrong.any()):
        i = int(wrong.nonzero()[0])
        what = f"{found[i]:.1e}, at most {allowed[i]:.1e} expected" if good[i] else "a value where it failed"
        if good[i] and found[i] <= allowed[i]:
            what = "not the values, or the mean, that its conditions give"
        text = f"{int(wrong.sum())} of {len(numbers)} samples, the first is number {numbers[i]}: {what}"
        return Check("residual", False, text)
    solved = int(good.sum())
    failed = f"{len(numbers) - solved} hold NaN, as their status says that solving them failed"
    if solved == 0:
        return Check("residual", None, f"of {len(numbers)} of {n} samples {failed}")
    largest = float(found[good].max())
    text = f"{solved} of {n} samples, largest {largest:.1e} of the stored {recipe['dtype']} values"
    return Check("residual", True, text if solved == len(numbers) else f"{text}; {failed}")


def _mesh_checks(file: MeshReader, problem: Problem, recipe: dict[str, Any], rows: np.ndarray) -> list[Check]:
    """The parameters and the residual of some samples on the meshes that are stored."""
    assert isinstance(problem, MeshProblem)
    checks: list[Check] = []
    numbers, found, allowed, wrong, good = [], [], [], [], []
    stored: dict[str, np.ndarray] = {}
    eps = float(np.finfo(recipe["dtype"]).eps)
    for row in map(int, rows):
        try:
            mesh, grid = file.mesh(row), problem.grid(recipe["resolution"])
            number = int(file.read("sample", row))
            parameters = problem.sample_on_mesh(number, mesh, grid, seed=recipe["seed"])
            parts = [file.read(name, row) for name in _stored(problem.fields, recipe)]
            recorded = float(file.read("residual", row))
            converged = int(file.read("status", row)) == int(Status.CONVERGED)
            names = _stored(_random(problem), recipe)
            stored = {n: np.asarray(file.read(n, row), dtype=np.float64)[None] for n in names}
        except (KeyError, InvalidInput) as error:
            raise CorruptFile(f"{file.path}: lacks what its record speaks of ({error}).") from error
        checks.append(_parameters(stored, {n: v[None] for n, v in parameters.items()}, [number], eps))
        numbers.append(number)
        if len(parts) < len(problem.fields):
            continue
        system = problem.assemble(mesh, parameters)
        values = torch.from_numpy(np.stack(parts, axis=1)).to(torch.float64)
        x = values[system.free].reshape(1, -1)
        size = system.rhs.norm()
        size = torch.where(size > 0, size, 1.0)
        # Of the held values rounding is all that is allowed; they count like a residual.
        held = (values - system.boundary)[~system.free].norm() / system.boundary.norm().clamp(min=1e-300)
        rounding = system.operator.absolute(x.abs()).norm() * (eps / 2) / size
        found.append((system.rhs - system.operator(x)).norm() / size)
        allowed.append(1.01 * recorded + ROUNDING * rounding)
        good.append(converged)
        sound = bool(found[-1] <= allowed[-1]) and bool(held <= eps)
        wrong.append(not sound if converged else bool(values.isfinite().any()))
    first = next((check for check in checks if not check.passed), None)
    if first is None:
        first = checks[0] if not stored else Check("parameters", True, _as_drawn(len(numbers)))
    if not found:
        return [first, _without_residual(problem, recipe)]
    together = [torch.stack(found), torch.stack(allowed)]
    flags = [torch.tensor(values, device="cpu") for values in (wrong, good)]
    return [first, _residuals(recipe, file.n, numbers, *together, *flags)]


def _step_again(file: WellReader, problem: Problem, recipe: dict[str, Any], rows: np.ndarray) -> list[Check]:
    """The parameters of some samples, and their way through time."""
    assert isinstance(problem, Evolution)
    try:
        grid, times = problem.grid(recipe["resolution"]), recipe["times"]
        numbers = [int(i) for i in file.read("sample", rows)]
        parameters = problem.sample(numbers, grid, seed=recipe["seed"], device="cpu")
        fields = {
            name: torch.as_tensor(file.read(name, rows), device="cpu")
            for name in _stored(problem.fields, recipe)
        }
        status = torch.as_tensor(file.read("status", rows), device="cpu")
        names = _stored([n for n in _random(problem) if n not in problem.initials], recipe)
        stored = {name: np.asarray(file.read(name, rows), dtype=np.float64) for name in names}
        eps = float(np.finfo(recipe["dtype"]).eps)
    except (KeyError, InvalidInput) as error:
        raise CorruptFile(f"{file.path}: lacks what its record speaks of ({error}).") from error
    checks = [_parameters(stored, parameters, numbers, eps)]

    path = problem.evolve(grid, parameters, times[-1], len(times), rtol=recipe["rtol"])
    good = status == int(Status.CONVERGED)
    worst = torch.zeros(len(rows), dtype=torch.float64, device="cpu")
    finite = torch.zeros(len(rows), dtype=torch.bool, device="cpu")
    for name, found in zip(problem.fields, parted(problem.fields, path.u, 2)):
        if name not in fields:
            continue
        held = fields[name]
        size = found.flatten(2).norm(dim=2).amax(1)
        difference = (held.to(torch.float64) - found).flatten(2).norm(dim=2).amax(1)
        worst = torch.maximum(worst, torch.where(size > 0, difference / size, difference))
        finite |= held[:, 1:].isfinite().flatten(1).any(dim=1)
    # Both are within the tolerance of the truth, from other numbers of steps perhaps.
    allowed = 2 * recipe["rtol"] + 8 * eps
    wrong = torch.where(good, ~(worst <= allowed), finite)
    if bool(wrong.any()):
        i = int(wrong.nonzero()[0])
        what = f"{worst[i]:.1e}, at most {allowed:.1e} expected" if good[i] else "a value where it failed"
        text = f"{int(wrong.sum())} of {len(rows)} samples, the first is number {numbers[i]}: {what}"
    else:
        largest = float(worst[good].max()) if bool(good.any()) else 0.0
        text = f"{len(rows)} of {file.n} samples stepped again, largest relative difference {largest:.1e}"
    return [*checks, Check("solution", not bool(wrong.any()), text)]


def _random(problem: Problem) -> list[str]:
    """The parameters that a file has arrays of."""
    return [n for n, p in problem.parameters.items() if not isinstance(p.distribution, Constant)]


def _stored(names: Iterable[str], recipe: dict[str, Any]) -> list[str]:
    """Those of the names that the recipe stores; a record from before there were outputs stores all."""
    outputs = recipe.get("outputs")
    return [name for name in names if outputs is None or name in outputs]


def _without_residual(problem: Problem, recipe: dict[str, Any]) -> Check:
    """That it cannot be computed, and why."""
    stored = _stored(problem.stored_fields, recipe)
    missing = ", ".join(name for name in problem.stored_fields if name not in stored)
    return Check("residual", None, f"it takes {missing} too, which the recipe's outputs leave out")


def _system(problem: Problem, grid: Grid, parameters: dict) -> System | None:
    """That of the first sample, which tells what was made of all (`System.solvable`); None if not linear."""
    try:
        return problem.discretise(grid, {name: values[:1] for name, values in parameters.items()})
    except NotLinear:
        return None


def _as_drawn(samples: int) -> str:
    return f"{samples} samples are what the recorded seed gives"


def _parameters(
    stored: dict[str, np.ndarray], drawn: dict[str, torch.Tensor], numbers: list[int], eps: float
) -> Check:
    """Whether the stored parameters are those of the seed, up to rounding."""
    for name, values in stored.items():
        ours = drawn[name].numpy()
        slack = 8 * eps * max(1e-300, float(np.abs(ours).max()))
        wrong = ~(np.abs(values - ours) <= slack).reshape(len(numbers), -1).all(axis=1)
        if wrong.any():
            number = numbers[int(wrong.argmax())]
            text = f"{name} of sample {number} is not what the recorded seed gives"
            return Check("parameters", False, text)
    if not stored:
        return Check("parameters", True, "none are stored")
    return Check("parameters", True, _as_drawn(len(numbers)))


def _response(problem: Problem, u: torch.Tensor, grid: Grid, parameters: dict, half: float) -> torch.Tensor:
    """What rounding of u by a factor 1 +- ``half`` does to the residual, at worst.

    Stencils of elliptic equations have neighbours of one sign and a centre of the other, so that errors of
    alternating sign add up.
    """
    signs = sum(torch.meshgrid(*[torch.arange(n, device="cpu") for n in grid.shape], indexing="ij"))
    change = u.abs() * half * (1 - 2 * (signs % 2))
    moved = problem.residual_on_grid(u + change, grid, parameters)
    return moved - problem.residual_on_grid(u, grid, parameters)


def _norm(values: torch.Tensor) -> torch.Tensor:
    return values.flatten(1).norm(dim=1)
