"""``pdeflow generate``: a recipe becomes a closed, verified file, and nothing recorded is ever lost."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from pdeflow.atomic_file import write_json
from pdeflow.data import open_samples
from pdeflow.device import check_device
from pdeflow.errors import CorruptFile, InvalidInput, UnsafeFile
from pdeflow.generate.executors import ExecutorName, check_executor, solve_chains
from pdeflow.generate.manifest import Manifest, differing_key, sha256
from pdeflow.generate.plan import Plan
from pdeflow.generate.recipe import Recipe
from pdeflow.generate.shards import merge
from pdeflow.generate.slurm_array import check_folder
from pdeflow.problems import CellEvolution, Evolution, Problem


@dataclass(frozen=True)
class GenerationReport:
    """What a run of `generate` did.

    Parameters
    ----------
    output
        The file.
    samples, failed
        How many samples it holds, and how many of them carry a status other than CONVERGED.
    resumed
        Samples that an earlier, interrupted run had recorded already.
    solve_seconds, seconds
        Time in drawing and solving (summed over workers); wall time of this run.
    iterations, residual
        Mean iterations and largest residual over the samples that converged; of an equation in time, mean
        steps and the largest error, as estimated.
    statuses
        Samples by the name of their status.
    method
        Solver and preconditioner that a pilot chose; None where the recipe decided.
    measure
        What ``residual`` is: ``"residual"``, or of equations in time ``"estimated error in time"``, where
        finite volumes solve them ``"estimated error in space"``.
    """

    output: Path
    samples: int
    failed: int
    resumed: int
    solve_seconds: float
    seconds: float
    iterations: float
    residual: float
    statuses: dict[str, int]
    method: str | None = None
    measure: str = "residual"

    def text(self) -> str:
        """The summary that the command line prints."""
        count = "iterations" if self.measure == "residual" else "steps"
        of = " that did not fail" if self.failed else ""
        told = f"{self.iterations:.1f} {count} a sample{of}, largest {self.measure} {self.residual:.1e}"
        if self.failed == self.samples:
            told = "all of them failed"
        lines = [
            f"{self.output}: {self.samples} sample{'s' * (self.samples != 1)}, {self.seconds:.1f} s"
            + (f" ({self.resumed} were there already)" if self.resumed else ""),
            f"  solving {self.solve_seconds:.1f} s, {told}",
        ]
        if self.method:
            lines.append(f"  {self.method}, which a pilot has chosen")
        if self.failed:
            counts = ", ".join(f"{n} {name}" for name, n in self.statuses.items() if name != "CONVERGED")
            lines.append(f"  {self.failed} samples failed and are stored as NaN with their status: {counts}")
            lines.append(
                "  Running it again keeps them; --overwrite with a larger --rtol, say, makes all anew."
            )
        return "\n".join(lines)


def manifest_path(output: Path) -> Path:
    """Where the record of a finished output lies."""
    return output.with_name(output.name + ".manifest.json")


def generate(
    recipe: Recipe,
    output: str | Path,
    *,
    device: str = "cpu",
    workers: int = 1,
    executor: ExecutorName = "processes",
    scheduler: str | None = None,
    cluster: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    progress: bool = True,
) -> GenerationReport:
    """Generate the data set of a recipe into one file of The Well's layout.

    Chains of samples are drawn and solved as batches. Each becomes a shard in ``OUTPUT.parts``, written
    under a temporary name, verified, synced and renamed, then recorded with its checksum. Meanwhile they
    are merged, each in its turn, into ``OUTPUT``, which gets its name in the same manner; then
    ``OUTPUT.manifest.json`` is written, and the shards go. Killed at any moment, the same call goes on where
    it was, and the file is the same to the byte as that of an uninterrupted run, with any number of workers.

    Parameters
    ----------
    recipe
        What to generate.
    output
        The HDF5 file to write.
    device
        Where to sample and solve, for example ``"cpu"`` or ``"cuda"``.
    workers
        Processes, dask workers, or tasks of a SLURM array.
    executor
        What runs the workers: ``"processes"``, here, one thread each; ``"dask"``; ``"dask-slurm"``, dask
        workers in jobs of SLURM; or ``"slurm"``, an array job whose tasks write into the folder of the
        output, which the nodes must share and nobody else may write to, because its library reads pickles
        there. A worker that is killed costs only its chain; of ``"processes"`` it also ends the run.
    scheduler
        Address of a running dask scheduler, whose workers are used; without one, dask starts ``workers``
        processes on this machine. The workers need no access to the output's folder.
    cluster
        Settings of the SLURM jobs, passed on as they are: keywords of ``dask_jobqueue.SLURMCluster`` for
        ``"dask-slurm"`` (``{"cores": 1, "memory": "4GB", "walltime": "01:00:00"}``, one process a core unless
        ``processes`` says otherwise), or of submitit's ``update_parameters`` for ``"slurm"``
        (``{"timeout_min": 60, "mem_gb": 4, "slurm_partition": "cpu"}``).
    overwrite
        Replace an output that lies there. It stays until the new one is whole; shards that an interrupted
        call of the same recipe has recorded are used.
    progress
        Show a progress bar on standard error.

    Raises
    ------
    InvalidInput
        If the output belongs to another recipe or another process writes it, or the device is absent; or with
        ``"slurm"`` everybody may write into its folder.
    CorruptFile
        If a shard has changed since it was recorded; the same call solves its chain again.
    OSError
        If a file cannot be written; what is recorded stays, and the same call goes on.
    PdeflowError
        If a worker process dies, SLURM refuses the jobs, or workers cannot import what the recipe needs.
    MissingDependency
        If the package of an executor is asked for and not installed.
    """
    start = time.perf_counter()
    output = Path(output)
    if output.suffix not in (".h5", ".hdf5"):
        raise InvalidInput("output", str(output), "a file name that ends in .h5 or .hdf5")
    check_executor(executor, workers, scheduler, cluster)
    check_device(device)
    manifest = Manifest(output, recipe)
    with manifest.locked():
        if executor == "slurm":
            check_folder(output)
        done = None if overwrite else _finished(output, recipe, manifest)
        if done is None:
            manifest.open(overwrite)
            manifest.adopt()
            plan = _plan(recipe, manifest, device)
            todo = manifest.missing()
            resumed = recipe.samples - sum(len(recipe.indices(c)) for c in todo)
            solving = solve_chains(plan, manifest, todo, device, workers, executor, scheduler, cluster)
            # Closed after Ctrl-C too: jobs and workers end here.
            with (
                contextlib.closing(solving) as rows,
                contextlib.closing(merge(output, plan, manifest)) as merging,
            ):
                merged = _record(rows, plan, manifest, set(todo), merging, progress)
                _finish(output, plan, manifest, merging, merged, progress)
            rows, method = [manifest.rows[chain] for chain in range(recipe.chains)], plan.method
        else:
            rows, resumed, method = done["chains"], recipe.samples, done.get("plan", {}).get("method")
        manifest.discard()
    return _report(output, recipe, rows, resumed, time.perf_counter() - start, method)


def _finished(output: Path, recipe: Recipe, manifest: Manifest) -> dict[str, Any] | None:
    """The record of a finished output of this recipe; None if there is work to do."""
    record = manifest_path(output)
    if not output.exists():
        record.unlink(missing_ok=True)
        return None
    if manifest.path.exists() and _fingerprint(output) == recipe.fingerprint():
        return None  # killed between the rename of the file and the end: merge again
    if not record.exists():
        raise InvalidInput(
            "output",
            str(output),
            "a new file, or one made by `pdeflow generate` (its .manifest.json is missing)",
            "Choose another output, or replace it with overwrite=True.",
        )
    done = read_record(record)
    ours = json.loads(json.dumps(recipe.describe()))
    if done["recipe"] != ours:
        raise InvalidInput(
            "output",
            str(output),
            f"an output of this recipe; {differing_key(ours, done['recipe'])}",
            "Choose another output, or replace it with overwrite=True.",
        )
    if sha256(output) != done["sha256"]:
        raise InvalidInput(
            "output",
            str(output),
            f"the file that {record.name} describes; its bytes have changed",
            "Generate it again with overwrite=True.",
        )
    return done


def _fingerprint(output: Path) -> object:
    """The fingerprint of the recipe that a file says it was made from; None if it is no such file."""
    try:
        with open_samples(output) as file:
            return file.attributes.get("recipe")
    except (CorruptFile, UnsafeFile):
        return None


def read_record(record: Path) -> dict[str, Any]:
    """What `generate` has written beside a finished output.

    Raises
    ------
    CorruptFile
        If it is something else.
    """
    try:
        done = json.loads(record.read_text())
        if not {"recipe", "sha256", "chains"} <= set(done):
            raise ValueError("a key is missing")
    except (ValueError, TypeError) as error:
        raise CorruptFile(
            f"{record}: not a record of `pdeflow generate` ({error}).\nGenerate again with overwrite=True."
        ) from error
    return done


def _plan(recipe: Recipe, manifest: Manifest, device: str) -> Plan:
    """The plan that the run before has made, or a new one, which is recorded before anything is solved."""
    if manifest.plan.exists():
        return Plan.load(manifest.plan, recipe)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        plan = Plan.make(recipe, device)
    finally:
        torch.set_num_threads(threads)
    plan.save(manifest.plan)
    return plan


def _record(
    rows: Iterable[dict[str, Any]],
    plan: Plan,
    manifest: Manifest,
    todo: set[int],
    merging: Iterator[int],
    progress: bool,
) -> int:
    """Record chains as they finish, merge those whose turn it is meanwhile, and show how it goes.

    Returns the number of samples that are merged.
    """
    recipe, merged, turn = plan.recipe, 0, 0
    bar = tqdm(
        total=recipe.samples,
        initial=recipe.samples - sum(len(recipe.indices(c)) for c in todo),
        desc=f"solving {recipe.title}",
        unit="sample",
        disable=not progress,
    )
    worst, failed, iterations, samples = 0.0, 0, 0, 0
    with bar:
        for row in rows:
            manifest.record(row)
            worst = max(worst, row["residual"])
            samples += row["statuses"].get("CONVERGED", 0)
            failed += row["samples"] - row["statuses"].get("CONVERGED", 0)
            iterations += row["iterations"]
            bar.set_postfix(
                iterations=f"{iterations / max(samples, 1):.1f}", residual=f"{worst:.1e}", failed=failed
            )
            bar.update(row["samples"])
            todo.discard(row["chain"])
            while turn < recipe.chains and turn not in todo:
                merged += next(merging)
                turn += 1
    return merged


def _finish(
    output: Path, plan: Plan, manifest: Manifest, merging: Iterator[int], merged: int, progress: bool
) -> None:
    """Merge the rest, and write the record."""
    recipe = plan.recipe
    with tqdm(
        total=recipe.samples,
        initial=merged,
        desc=f"writing {output.name}",
        unit="sample",
        disable=not progress,
    ) as bar:
        for samples in merging:
            bar.update(samples)
    record = {
        "recipe": recipe.describe(),
        "fingerprint": recipe.fingerprint(),
        "plan": plan.describe(),
        "sha256": sha256(output),
        "chains": [manifest.rows[chain] for chain in range(recipe.chains)],
    }
    write_json(manifest_path(output), record)


def _report(
    output: Path,
    recipe: Recipe,
    rows: list[dict[str, Any]],
    resumed: int,
    seconds: float,
    method: str | None,
) -> GenerationReport:
    statuses: dict[str, int] = {}
    for row in rows:
        for name, count in row["statuses"].items():
            statuses[name] = statuses.get(name, 0) + count
    good = statuses.get("CONVERGED", 0)
    return GenerationReport(
        output=output,
        samples=recipe.samples,
        failed=recipe.samples - good,
        resumed=resumed,
        solve_seconds=sum(row["seconds"] for row in rows),
        seconds=seconds,
        iterations=sum(row["iterations"] for row in rows) / max(good, 1),
        residual=max(row["residual"] for row in rows),
        statuses=statuses,
        method=method,
        measure=_measure(recipe.problem),
    )


def _measure(problem: Problem) -> str:
    if not isinstance(problem, Evolution):
        return "residual"
    return f"estimated error in {'space' if isinstance(problem, CellEvolution) else 'time'}"
