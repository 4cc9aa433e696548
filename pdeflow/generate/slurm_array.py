"""Chains in a SLURM array job, through submitit: its tasks take one after the other until none is left.

submitit hands tasks their work, and this process their answers, as pickles in the folder of the array: who
writes there can run code as the user. So that folder is open to its owner alone, and the folder of the output
must not be open to others, who could put another one in its place (`check_folder`).
"""

from __future__ import annotations

import os
import re
import stat
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pdeflow.atomic_file import write_json
from pdeflow.errors import InvalidInput, MissingDependency, PdeflowError
from pdeflow.generate import slurm_queue
from pdeflow.generate.manifest import Manifest
from pdeflow.generate.plan import Plan
from pdeflow.generate.worker import cannot_import, pack, run_chain, unpack, why_not

POLL_SECONDS = 1.0


def array_executor(folder: Path, cluster: Mapping[str, Any]) -> Any:
    """submitit's executor of SLURM arrays with the user's settings.

    Raises
    ------
    MissingDependency
        If submitit is absent.
    InvalidInput
        If a setting is unknown to it.
    """
    try:
        import submitit  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingDependency(
            "The executor slurm needs the package submitit, which is not installed.\n"
            "Run: pip install 'pdeflow[slurm]'"
        ) from error
    executor = submitit.AutoExecutor(folder, cluster="slurm")
    try:
        executor.update_parameters(**cluster)
    except (AssertionError, NameError, TypeError, ValueError) as error:
        raise InvalidInput(
            "cluster",
            dict(cluster),
            "settings of submitit's update_parameters, such as {slurm_partition: cpu, timeout_min: 60}",
            f"It says: {str(error).splitlines()[0]}",
        ) from error
    return executor


def check_settings(cluster: Mapping[str, Any]) -> None:
    """Refuse settings that submitit does not know; see `array_executor`."""
    with tempfile.TemporaryDirectory() as folder:
        array_executor(Path(folder), cluster)


def check_folder(output: Path) -> None:
    """Look whether others may write into the folder of an output, and so replace what lies in it.

    Warns
    -----
    UserWarning
        If the folder's group may.

    Raises
    ------
    InvalidInput
        If everybody may; a folder with the sticky bit, such as /tmp, lets nobody replace the files of others.
    """
    for folder in output.absolute().parents:
        _check_mode(folder, output)


def _check_mode(folder: Path, output: Path) -> None:
    """Of one folder: who may rename what is in it may put something else in its place."""
    mode = folder.stat().st_mode
    if mode & stat.S_ISVTX:
        return
    if mode & stat.S_IWOTH:
        raise InvalidInput(
            "output",
            str(output),
            f"a folder that not everybody may write to (its mode is {stat.filemode(mode)}): the tasks of an "
            "array read pickles from there, which can run any code",
            f"Run: chmod o-w {folder}, or choose another folder.",
        )
    if mode & stat.S_IWGRP:
        warnings.warn(
            f"The group of {folder} may write to it, and so could run code as you: the tasks of an array "
            f"read pickles from there. Unless you trust all of its members, run: chmod g-w {folder}",
            stacklevel=2,
        )


def on_slurm_array(
    plan: Plan,
    manifest: Manifest,
    chains: list[int],
    device: str,
    workers: int,
    cluster: Mapping[str, Any],
) -> Iterator[dict[str, Any]]:
    """Solve chains in array jobs of ``workers`` tasks; see `executors.solve_chains`.

    What a task has in hand when it is killed, or when its time is over, is solved by a further array, as long
    as every array solves something.
    """
    packed, left = pack(plan), set(chains)
    while left:
        for row in _one_array(plan, packed, manifest, sorted(left), device, workers, cluster):
            left.discard(row["chain"])
            yield row


def _one_array(
    plan: Plan,
    packed: bytes,
    manifest: Manifest,
    chains: list[int],
    device: str,
    workers: int,
    cluster: Mapping[str, Any],
) -> Iterator[dict[str, Any]]:
    # Absolute, for the tasks; under a name of its own, so that no task of an earlier array writes there.
    folder = manifest.new_array().absolute()
    executor = array_executor(folder / "jobs", cluster)
    try:
        jobs = _submit(executor, packed, plan, chains, min(workers, len(chains)), folder, device)
    except BaseException:
        manifest.end_array(folder)  # nothing runs in it
        raise
    running, solved, words = list(jobs), 0, []
    asked = time.monotonic()
    try:
        while running and solved < len(chains):
            time.sleep(POLL_SECONDS)
            gone = False
            if time.monotonic() > asked + slurm_queue.QUEUE_SECONDS:
                gone, asked = not slurm_queue.in_queue(_array_ids(jobs)), time.monotonic()
            while running and (gone or running[0].paths.result_pickle.exists()):
                words += _complaints(running.pop(0))
            for row in manifest.collect(folder):
                solved += 1
                yield row
    finally:  # after Ctrl-C, and where the queue still holds tasks for which nothing is left
        for job in jobs:
            if not job.paths.result_pickle.exists():
                job.cancel(check=False)
    if not solved:
        why = words[0] if words else "they found nothing to do"
        raise PdeflowError(
            f"None of the {len(jobs)} tasks of the SLURM array has solved a chain: {why}\n"
            f"Their logs: {folder / 'jobs'}\n"
            "What was recorded is kept. Mend this, then run the same command again to go on."
        )
    manifest.end_array(folder)


def _submit(
    executor: Any, packed: bytes, plan: Plan, chains: list[int], tasks: int, folder: Path, device: str
) -> list[Any]:
    # Every task may take every chain, but begins elsewhere, so that they seldom want the same one.
    starts = [len(chains) * task // tasks for task in range(tasks)]
    orders = [chains[start:] + chains[:start] for start in starts]
    same = [[value] * tasks for value in (packed, plan.recipe.fingerprint(), folder, device)]
    try:
        return executor.map_array(solve_share, orders, *same)
    except RuntimeError as error:  # as submitit calls what sbatch says
        said = str(error).strip().splitlines() or [repr(error)]
        raise PdeflowError(
            f"SLURM refuses the array: {said[-1]}\nMend the settings in --cluster (partition, time, memory)."
        ) from error


def _array_ids(jobs: list[Any]) -> list[str]:
    """The jobs as the queue calls them, without the tasks."""
    return sorted({job.job_id.split("_")[0] for job in jobs})


def _complaints(job: Any) -> list[str]:
    """What went wrong in a task that has ended, in a line; nothing if all went well.

    Raises
    ------
    PdeflowError
        If the task could not import what the recipe needs.
    """
    if not job.paths.result_pickle.exists():
        return [f"task {job.job_id} was killed, or ran out of time or memory."]
    error = job.exception()
    if error is None:
        words = job.result()
        if words is not None:
            raise cannot_import(words)
        return []
    # A traceback in a frame of submitit's own words.
    raised = [line for line in str(error).splitlines() if re.match(r"[\w.]+: ", line)]
    last = raised[-1] if raised else str(error).splitlines()[0]
    if last.startswith(("ModuleNotFoundError", "ImportError")):
        raise cannot_import(last)
    return [f"{last} (task {job.job_id})"]


def solve_share(chains: list[int], packed: bytes, expected: str, folder: Path, device: str) -> str | None:
    """What one task does: take a chain that no other has taken, solve it, until none is left.

    A shard and then, beside it, its line of the manifest appear whole in the folder. The folder is gone once
    a later run has taken over, which ends the task.

    Returns
    -------
    str or None
        Why this task must not solve anything, see `worker.why_not`; None if it has done its work.
    """
    words = why_not(packed, expected)
    if words is not None:
        return words
    for chain in chains:
        shard = folder / f"chain-{chain:06d}.shard"
        try:
            os.close(os.open(shard.with_suffix(".taken"), os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        except FileNotFoundError:
            break
        write_json(shard.with_suffix(".json"), run_chain(unpack(packed), chain, shard, device))
    return None
