"""Where chains are solved: in this process, in processes of this machine, or on a dask cluster.

A chain is a pure function of the plan and its number, so the shards, and the file they become, are the same
to the byte wherever they were made.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import hashlib
import multiprocessing
import os
import pickle
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch

from pdeflow.atomic_file import write_bytes
from pdeflow.errors import InvalidInput, MissingDependency, PdeflowError
from pdeflow.generate.chain import solve_chain
from pdeflow.generate.manifest import Manifest, sha256
from pdeflow.generate.plan import Plan
from pdeflow.generate.shards import write_shard
from pdeflow.linalg import Status

ExecutorName = Literal["processes", "dask"]
CONNECT_SECONDS = 20


def check_executor(executor: str, workers: int, scheduler: str | None) -> None:
    """Refuse what does not go together, and a missing package, before any work.

    Raises
    ------
    InvalidInput
        If a number or name is wrong, or a scheduler is given that nothing would use.
    MissingDependency
        If dask is asked for and absent.
    """
    if workers < 1:
        raise InvalidInput("workers", workers, "at least 1")
    if executor not in ("processes", "dask"):
        raise InvalidInput("executor", executor, "'processes' or 'dask'", choices=("processes", "dask"))
    if scheduler is not None and executor != "dask":
        raise InvalidInput(
            "scheduler", scheduler, "nothing without the executor 'dask'", "Add executor: dask."
        )
    if scheduler is not None and workers > 1:
        hint = "Leave workers out: the scheduler has workers of its own."
        raise InvalidInput("workers", workers, "nothing beside a scheduler", hint)
    if executor == "dask":
        _distributed()


def solve_chains(
    plan: Plan,
    manifest: Manifest,
    chains: list[int],
    device: str,
    workers: int,
    executor: ExecutorName = "processes",
    scheduler: str | None = None,
) -> Iterator[dict[str, Any]]:
    """Solve chains, put each shard in its place, and yield its line of the manifest, as they finish.

    Parameters
    ----------
    plan, manifest, chains
        What to solve, where the shards go, and the numbers of the chains.
    device
        Where to sample and solve.
    workers
        Processes on this machine, one thread each. One, with ``"processes"``, is this process.
    executor
        ``"processes"``, or ``"dask"``.
    scheduler
        Address of a running dask scheduler; without one, ``workers`` processes become a local cluster.

    Raises
    ------
    PdeflowError
        If workers die, or cannot import what the recipe needs. What has been yielded is whole.
    """
    if not chains:
        return
    if executor == "dask":
        yield from _on_dask(plan, manifest, chains, device, workers, scheduler)
    elif workers == 1:
        threads = torch.get_num_threads()
        try:
            for chain in chains:
                yield run_chain(plan, chain, manifest.shard(chain), device)
        finally:
            torch.set_num_threads(threads)
    else:
        yield from _in_processes(plan, manifest, chains, device, workers)


def run_chain(plan: Plan, chain: int, shard: Path, device: str) -> dict[str, Any]:
    """Solve one chain, write its shard, and return its line of the manifest."""
    # Two threads inside one small kernel are slower than one; parallelism is a process a core.
    torch.set_num_threads(1)
    solved = solve_chain(plan.recipe, chain, device, plan)
    write_shard(shard, plan.recipe, solved)
    arrays = solved.arrays
    good = arrays["status"] == int(Status.CONVERGED)
    codes = arrays["status"].tolist()
    return {
        "chain": chain,
        "samples": len(good),
        "sha256": sha256(shard),
        "seconds": round(solved.seconds, 4),
        "iterations": int(arrays["iterations"][good].sum()),
        "residual": float(arrays["residual"][good].max(initial=0.0)),
        "statuses": {Status(code).name: codes.count(code) for code in sorted(set(codes))},
    }


def _packed(plan: Plan) -> bytes:
    """The plan as the workers of this run get it."""
    try:
        return pickle.dumps(plan)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise InvalidInput(
            "problem",
            plan.recipe.problem.name,
            f"classes that workers can import ({error})",
            "Put the classes of the recipe at the top of a module, or use one worker.",
        ) from error


@functools.lru_cache(maxsize=1)
def _unpacked(packed: bytes) -> Plan:
    """The plan in a worker, from the process that started the run; never from a file."""
    return pickle.loads(packed)


def _fingerprint(packed: bytes) -> str:
    """What a worker takes the recipe for: a trial of whether it can import everything."""
    return _unpacked(packed).recipe.fingerprint()


def _cannot_import(error: BaseException) -> PdeflowError:
    what = str(error).splitlines()[-1] if str(error) else repr(error)
    return PdeflowError(
        f"The workers cannot import what the recipe needs: {what}\n"
        "Put its classes in a module on PYTHONPATH (not in a notebook or the script itself), install\n"
        "this version of pdeflow where the workers run, or use one worker."
    )


def _end_with_parent() -> None:
    """End this worker when the process that started it ends, however that happens (kill -9 included)."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _run_packed(packed: bytes, chain: int, shard: Path, device: str) -> dict[str, Any]:
    return run_chain(_unpacked(packed), chain, shard, device)


def _in_processes(
    plan: Plan, manifest: Manifest, chains: list[int], device: str, workers: int
) -> Iterator[dict[str, Any]]:
    packed = _packed(plan)
    # spawn: a fork of a process that has run torch threads can deadlock.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, context, initializer=_end_with_parent) as pool:
        try:
            pool.submit(_fingerprint, packed).result()
        except concurrent.futures.process.BrokenProcessPool as error:
            raise PdeflowError(
                "The worker processes ended before they had begun: they cannot import "
                "pdeflow or the script.\n"
                'In a script, call generate under `if __name__ == "__main__":`, or use one worker.'
            ) from error
        except (ImportError, AttributeError) as error:
            raise _cannot_import(error) from error
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


def _distributed() -> Any:
    """dask.distributed, which is an optional extra."""
    try:
        import distributed  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingDependency(
            "The executor dask needs the package dask.distributed, which is not installed.\n"
            "Run: pip install 'pdeflow[dask]'"
        ) from error
    return distributed


def _run_away(packed: bytes, chain: int, device: str) -> tuple[dict[str, Any], bytes]:
    """A chain's line and the bytes of its shard, for a worker that may not see the folder of the output."""
    with tempfile.TemporaryDirectory() as folder:
        shard = Path(folder, "chain.h5")
        row = run_chain(_unpacked(packed), chain, shard, device)
        return row, shard.read_bytes()


def _on_dask(
    plan: Plan, manifest: Manifest, chains: list[int], device: str, workers: int, scheduler: str | None
) -> Iterator[dict[str, Any]]:
    """Shards come home as bytes, and this process alone writes them: no shared file system is needed.

    A worker that dies costs its chain, which the scheduler gives to another. Only a few more chains than
    there are workers are in flight, so that the results do not pile up.
    """
    distributed, packed = _distributed(), _packed(plan)
    with contextlib.ExitStack() as stack:
        client = _client(stack, distributed, workers, scheduler)
        _try_import(client, packed, plan.recipe.fingerprint())
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


def _client(stack: contextlib.ExitStack, distributed: Any, workers: int, scheduler: str | None) -> Any:
    """A client of the given scheduler, or of a cluster on this machine; both end with the stack."""
    address: Any = scheduler
    if scheduler is None:
        import dask  # pyright: ignore[reportMissingImports]

        # Nothing but this machine listens, and nothing is spilled into the working folder.
        stack.enter_context(dask.config.set({"temporary-directory": tempfile.gettempdir()}))
        address = stack.enter_context(
            distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                silence_logs="CRITICAL",
            )
        )
    try:
        client = stack.enter_context(distributed.Client(address, timeout=CONNECT_SECONDS))
    except (OSError, ValueError) as error:
        raise InvalidInput(
            "scheduler",
            scheduler,
            "the address of a running dask scheduler, such as tcp://10.0.0.5:8786",
            "Start one with: dask scheduler, and workers with: dask worker ADDRESS",
        ) from error
    try:
        client.wait_for_workers(1, timeout=CONNECT_SECONDS)
    except TimeoutError as error:
        raise PdeflowError(
            f"The dask scheduler {scheduler or ''} has no workers.\nStart some with: dask worker ADDRESS"
        ) from error
    return client


def _try_import(client: Any, packed: bytes, fingerprint: str) -> None:
    """Refuse workers that lack the package, a class of the recipe, or this version of them."""
    try:
        theirs = client.submit(_fingerprint, packed, pure=False).result()
    except Exception as error:  # whatever the worker's import raised, as dask wraps it
        raise _cannot_import(error.__cause__ or error) from error
    if theirs != fingerprint:
        raise _cannot_import(
            ImportError("their version of pdeflow, or of a class, describes it differently.")
        )
