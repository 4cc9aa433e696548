"""Chains on dask workers: of this machine, of a running scheduler, or in jobs of SLURM."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pdeflow.atomic_file import write_bytes
from pdeflow.errors import InvalidInput, MissingDependency, PdeflowError
from pdeflow.generate.manifest import Manifest
from pdeflow.generate.plan import Plan
from pdeflow.generate.worker import cannot_import, pack, run_chain, unpack, why_not

CONNECT_SECONDS = 20
# How often a wait for jobs in the queue looks whether they are still there.
QUEUE_SECONDS = 30
# Looks at the queue before a first job must have been submitted.
PATIENCE = 4


def import_distributed() -> Any:
    """dask.distributed, which is an optional extra."""
    try:
        import distributed  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingDependency(
            "The executor dask needs the package dask.distributed, which is not installed.\n"
            "Run: pip install 'pdeflow[dask]'"
        ) from error
    return distributed


def import_jobqueue() -> Any:
    """dask-jobqueue, which is an optional extra."""
    try:
        import dask_jobqueue  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingDependency(
            "The executor dask-slurm needs the package dask-jobqueue, which is not installed.\n"
            "Run: pip install 'pdeflow[slurm]'"
        ) from error
    return dask_jobqueue


def on_local_cluster(
    plan: Plan, manifest: Manifest, chains: list[int], device: str, workers: int
) -> Iterator[dict[str, Any]]:
    """Solve chains on dask workers of this machine, one thread each; see `executors.solve_chains`."""
    distributed, packed = import_distributed(), pack(plan)
    import dask  # pyright: ignore[reportMissingImports]

    # Nothing but this machine listens, and nothing is spilled into the working folder.
    with (
        dask.config.set({"temporary-directory": tempfile.gettempdir()}),
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs="CRITICAL",
        ) as cluster,
        distributed.Client(cluster, timeout=CONNECT_SECONDS) as client,
    ):
        yield from _solve(distributed, client, plan, packed, manifest, chains, device)


def on_scheduler(
    plan: Plan, manifest: Manifest, chains: list[int], device: str, address: str
) -> Iterator[dict[str, Any]]:
    """Solve chains on the workers of a running scheduler; see `executors.solve_chains`."""
    distributed, packed = import_distributed(), pack(plan)
    with contextlib.ExitStack() as stack:
        try:
            client = stack.enter_context(distributed.Client(address, timeout=CONNECT_SECONDS))
        except (OSError, ValueError) as error:
            raise InvalidInput(
                "scheduler",
                address,
                "the address of a running dask scheduler, such as tcp://10.0.0.5:8786",
                "Start one with: dask scheduler, and workers with: dask worker ADDRESS",
            ) from error
        try:
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except TimeoutError as error:
            raise PdeflowError(
                f"The dask scheduler {address} has no workers.\nStart some with: dask worker ADDRESS"
            ) from error
        yield from _solve(distributed, client, plan, packed, manifest, chains, device)


def on_slurm_jobs(
    plan: Plan,
    manifest: Manifest,
    chains: list[int],
    device: str,
    workers: int,
    cluster: Mapping[str, Any],
) -> Iterator[dict[str, Any]]:
    """Solve chains on dask workers in jobs of SLURM; see `executors.solve_chains`.

    A job whose time is over, or that is killed, is followed by another, so that there are always ``workers``.
    """
    distributed, jobqueue, packed = import_distributed(), import_jobqueue(), pack(plan)
    # One thread a worker, where the settings do not say otherwise.
    settings = {"processes": cluster["cores"], **cluster} if "cores" in cluster else dict(cluster)
    with contextlib.ExitStack() as stack:
        try:
            slurm = stack.enter_context(jobqueue.SLURMCluster(**settings))
        except (TypeError, ValueError) as error:
            raise InvalidInput(
                "cluster",
                dict(cluster),
                "arguments of dask_jobqueue.SLURMCluster",
                f"It says: {str(error).splitlines()[0]}",
            ) from error
        _try_submitting(slurm.job_script())
        slurm.adapt(minimum=workers, maximum=workers)
        client = stack.enter_context(distributed.Client(slurm, timeout=CONNECT_SECONDS))
        _wait_for_a_job(client, slurm)
        yield from _solve(distributed, client, plan, packed, manifest, chains, device)


def _try_submitting(script: str) -> None:
    """Have SLURM look at the script of a job; what it refuses later, dask would only log."""
    tried = subprocess.run(["sbatch", "--test-only"], input=script, capture_output=True, text=True)
    if tried.returncode:
        words = tried.stderr.strip().splitlines() or [f"exit code {tried.returncode}"]
        raise PdeflowError(
            f"SLURM refuses the jobs: {words[-1]}\nMend the settings in --cluster (partition, time, memory)."
        )


def _wait_for_a_job(client: Any, slurm: Any) -> None:
    """Wait until a job has left the queue and reports, however long that takes."""
    for look in itertools.count(1):
        try:
            return client.wait_for_workers(1, timeout=QUEUE_SECONDS)
        except TimeoutError as error:
            jobs = [job.job_id for job in slurm.workers.values() if job.job_id]
            if _in_queue(jobs) if jobs else look < PATIENCE:
                continue
            raise PdeflowError(
                f"No job is left in the queue ({len(jobs)} were submitted), and no worker has reported: they "
                "cannot reach this machine, or cannot import dask.\n"
                "See the logs of the jobs (log_directory in --cluster)."
            ) from error


def _in_queue(jobs: list[str]) -> bool:
    """Whether SLURM knows of one of the jobs as waiting or running."""
    asked = subprocess.run(["squeue", "-h", "-j", ",".join(jobs)], capture_output=True, text=True)
    return bool(asked.stdout.strip())


def _run_away(packed: bytes, chain: int, device: str) -> tuple[dict[str, Any], bytes]:
    """A chain's line and the bytes of its shard, for a worker that may not see the folder of the output."""
    with tempfile.TemporaryDirectory() as folder:
        shard = Path(folder, "chain.h5")
        row = run_chain(unpack(packed), chain, shard, device)
        return row, shard.read_bytes()


def _solve(
    distributed: Any,
    client: Any,
    plan: Plan,
    packed: bytes,
    manifest: Manifest,
    chains: list[int],
    device: str,
) -> Iterator[dict[str, Any]]:
    """Shards come home as bytes, and this process alone writes them: no shared file system is needed.

    A worker that dies costs its chain, which the scheduler gives to another. Only a few more chains than
    there are workers are in flight, so that the results do not pile up.
    """
    try:
        words = client.submit(why_not, packed, plan.recipe.fingerprint(), pure=False).result()
    except Exception as error:  # a worker without pdeflow cannot even read the question
        raise cannot_import(error.__cause__ or error) from error
    if words is not None:
        raise cannot_import(words)
    todo, running = iter(chains), distributed.as_completed()
    in_flight = 0

    def submit() -> None:
        nonlocal in_flight
        room = 2 * max(1, sum(client.nthreads().values()))
        while in_flight < room and (chain := next(todo, None)) is not None:
            running.add(client.submit(_run_away, packed, chain, device, pure=False))
            in_flight += 1

    submit()
    while in_flight:
        future = next(running)
        in_flight -= 1
        try:
            row, content = future.result()
        except distributed.scheduler.KilledWorker as error:
            raise PdeflowError(
                "A chain has ended several dask workers (killed, or out of memory). "
                "What was recorded is kept.\n"
                "Run the same command again to go on, with a smaller --chain or more memory a worker."
            ) from error
        future.release()
        submit()
        if hashlib.sha256(content).hexdigest() != row["sha256"]:
            raise PdeflowError(
                f"The shard of chain {row['chain']} was damaged on its way.\nRun the same command again."
            )
        write_bytes(manifest.shard(row["chain"]), content)
        yield row
