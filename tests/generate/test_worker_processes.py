"""Workers that import while their parent does."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pdeflow import worker_processes


def test_what_was_started_early_is_taken_once() -> None:
    worker_processes.start_early(2, "json")
    early = worker_processes._early[2]
    with worker_processes.pool(2, "json") as pool:
        assert pool is early
        assert pool.submit(os.getpid).result() != os.getpid()
    with worker_processes.pool(2, "json") as pool:
        assert pool is not early


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forks of a server on Linux only")
def test_workers_are_forks_of_one_process_that_is_not_this_one() -> None:
    with worker_processes.pool(2, "json") as pool, worker_processes.pool(2, "json") as other:
        parents = {p.submit(os.getppid).result() for p in (pool, other)}
    assert len(parents) == 1
    assert parents != {os.getpid()}


def test_workers_have_the_environment_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    with worker_processes.pool(1, "json") as pool:
        assert pool.submit(os.getenv, "PDEFLOW_TEST_NOW").result() is None
    monkeypatch.setenv("PDEFLOW_TEST_NOW", "1")
    with worker_processes.pool(1, "json") as pool:
        assert pool.submit(os.getenv, "PDEFLOW_TEST_NOW").result() == "1"


def test_what_is_not_taken_is_ended() -> None:
    worker_processes.start_early(2, "time")
    worker_processes.discard()
    assert not worker_processes._early
    for child in multiprocessing.active_children():
        child.join(10)
        assert not child.is_alive()


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_nothing_outlives_a_command_that_was_wrong() -> None:
    mark = f"PDEFLOW_TEST_MARK={os.getpid()}"
    command = [sys.executable, "-m", "pdeflow", "generate", "-c", "darcy", "--samples=0", "-o", "x.h5"]
    environment = os.environ | dict([mark.split("=")])
    subprocess.run([*command, "--workers", "2"], env=environment, capture_output=True, check=False)

    def alive() -> bool:
        for process in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if mark.encode() in process.read_bytes():
                    return True
        return False

    end = time.monotonic() + 60
    while alive():
        assert time.monotonic() < end, "a process outlived the command"
        time.sleep(0.1)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is of glibc")
def test_a_worker_takes_no_new_pages_for_the_arrays_that_it_makes_again() -> None:
    with worker_processes.pool(1, "numpy") as pool:
        assert pool.submit(_new_pages).result() < 100  # of 8192 a round


def _new_pages() -> int:
    """Page faults in making an array of 32 MiB five times, once it has been made."""
    before = 0
    for turn in range(6):
        if turn == 1:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        np.ones(1 << 22)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_a_module_that_is_not_there_breaks_the_pool() -> None:
    with (
        worker_processes.pool(1, "no_such_module_anywhere") as pool,
        pytest.raises(Exception, match="terminated"),
    ):
        pool.submit(os.getpid).result()


def test_the_command_does_not_wait_for_them_to_say_what_is_wrong() -> None:
    command = ["generate", "-c", "darcy", "--samples=0", "-o", "x.h5"]
    times = []
    for extra in ([], ["--workers", "2"]):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "pdeflow", *command, *extra], capture_output=True, text=True, check=False
        )
        times.append(time.perf_counter() - start)
        assert "samples" in done.stderr
    assert times[1] < 3 * times[0] + 5
