"""Where chains are solved: in this process, in processes of this machine, on dask workers, in SLURM jobs.

A chain is a pure function of the plan and its number, so the shards, and the file they become, are the same
to the byte wherever they were made.
"""

from __future__ import annotations

import concurrent.futures
import shutil
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from pdeflow import worker_processes
from pdeflow.errors import InvalidInput, PdeflowError
from pdeflow.generate import dask_workers, slurm_array
from pdeflow.generate.manifest import Manifest
from pdeflow.generate.plan import Plan
from pdeflow.generate.worker import cannot_import, pack, run_chain, solve, store, unpack, why_not

ExecutorName = Literal["processes", "dask", "dask-slurm", "slurm"]
_SLURM = ("dask-slurm", "slurm")


def check_executor(
    executor: str, workers: int, scheduler: str | None, cluster: Mapping[str, Any] | None = None
) -> None:
    """Refuse what does not go together, and a missing package, before any work.

    Raises
    ------
    InvalidInput
        If a number or name is wrong, a scheduler or settings are given that nothing would use, or this
        machine submits no jobs to SLURM.
    MissingDependency
        If the package of the executor is absent.
    """
    if workers < 1:
        raise InvalidInput("workers", workers, "at least 1")
    known = get_args(ExecutorName)
    if executor not in known:
        raise InvalidInput("executor", executor, f"one of {', '.join(known)}", choices=known)
    if scheduler is not None and executor != "dask":
        raise InvalidInput(
            "scheduler", scheduler, "nothing without the executor 'dask'", "Add executor: dask."
        )
    if scheduler is not None and workers > 1:
        hint = "Leave workers out: the scheduler has workers of its own."
        raise InvalidInput("workers", workers, "nothing beside a scheduler", hint)
    if cluster is not None and executor not in _SLURM:
        hint = "Add executor: slurm, or dask-slurm."
        raise InvalidInput("cluster", dict(cluster), "nothing without an executor of SLURM jobs", hint)
    if executor in ("dask", "dask-slurm"):
        dask_workers.import_distributed()
    if executor == "dask-slurm":
        dask_workers.import_jobqueue()
    if executor in _SLURM and shutil.which("sbatch") is None:
        hint = "Run it on a login node of the cluster, or take the executor 'processes'."
        raise InvalidInput("executor", executor, "a machine with SLURM's sbatch", hint)
    if executor == "slurm":
        slurm_array.check_settings(cluster or {})


def solve_chains(
    plan: Plan,
    manifest: Manifest,
    chains: list[int],
    device: str,
    workers: int,
    executor: ExecutorName = "processes",
    scheduler: str | None = None,
    cluster: Mapping[str, Any] | None = None,
) -> Generator[dict[str, Any], None, None]:
    """Solve chains, put each shard in its place, and yield its line of the manifest, as they finish.

    Parameters
    ----------
    plan, manifest, chains
        What to solve, where the shards go, and the numbers of the chains.
    device
        Where to sample and solve.
    workers
        Processes on this machine, one thread each; dask workers; or tasks of the array. One, with
        ``"processes"``, is this process.
    executor
        ``"processes"``; ``"dask"``; ``"dask-slurm"``, dask workers in jobs of SLURM; ``"slurm"``, an array.
    scheduler
        Address of a running dask scheduler; without one, ``workers`` processes become a local cluster.
    cluster
        Settings of the SLURM jobs, as the library behind the executor takes them.

    Raises
    ------
    PdeflowError
        If workers die, or cannot import what the recipe needs. What has been yielded is whole.
    """
    if not chains:
        return
    if executor == "dask" and scheduler is not None:
        yield from dask_workers.on_scheduler(plan, manifest, chains, device, scheduler)
    elif executor == "dask":
        yield from dask_workers.on_local_cluster(plan, manifest, chains, device, workers)
    elif executor == "dask-slurm":
        yield from dask_workers.on_slurm_jobs(plan, manifest, chains, device, workers, cluster or {})
    elif executor == "slurm":
        yield from slurm_array.on_slurm_array(plan, manifest, chains, device, workers, cluster or {})
    elif workers == 1:
        threads = torch.get_num_threads()
        try:
            yield from _here(plan, manifest, chains, device)
        finally:
            torch.set_num_threads(threads)
    else:
        yield from _in_processes(plan, manifest, chains, device, workers)


def _here(plan: Plan, manifest: Manifest, chains: list[int], device: str) -> Iterator[dict[str, Any]]:
    """In this process; a thread packs and writes a chain while the next is being solved."""
    with concurrent.futures.ThreadPoolExecutor(1) as writer:
        writing = None
        for chain in chains:
            try:
                solved = solve(plan, chain, device)
            except BaseException:
                if writing is not None:
                    yield writing.result()
                raise
            if writing is not None:
                yield writing.result()
            writing = writer.submit(store, plan, chain, solved, manifest.shard(chain))
        if writing is not None:
            yield writing.result()


def _run_packed(packed: bytes, chain: int, shard: Path, device: str) -> dict[str, Any]:
    return run_chain(unpack(packed), chain, shard, device)


def _in_processes(
    plan: Plan, manifest: Manifest, chains: list[int], device: str, workers: int
) -> Iterator[dict[str, Any]]:
    packed = pack(plan)
    with worker_processes.pool(workers, *worker_processes.GENERATING) as pool:
        try:
            words = pool.submit(why_not, packed, plan.recipe.fingerprint()).result()
        except concurrent.futures.process.BrokenProcessPool as error:
            raise PdeflowError(
                "The worker processes ended before they had begun: they cannot import "
                "pdeflow or the script.\n"
                'In a script, call generate under `if __name__ == "__main__":`, or use one worker.'
            ) from error
        if words is not None:
            raise cannot_import(words)
        futures = [pool.submit(_run_packed, packed, c, manifest.shard(c), device) for c in chains]
        try:
            for future in concurrent.futures.as_completed(futures):
                yield future.result()
        except concurrent.futures.process.BrokenProcessPool as error:
            raise PdeflowError(
                "A worker process died (killed, or out of memory). What was recorded is kept.\n"
                "Run the same command again to go on, with fewer --workers if memory was short."
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
