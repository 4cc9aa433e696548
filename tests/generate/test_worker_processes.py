"""Workers that import while their parent does."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time

import pytest

from pdeflow import worker_processes


def test_what_was_started_early_is_taken_once() -> None:
    worker_processes.start_early(2, "json")
    early = {child.pid for child in multiprocessing.active_children()}
    with worker_processes.pool(2, "json") as pool:
        assert {pool.submit(os.getpid).result(), pool.submit(os.getpid).result()} <= early
    with worker_processes.pool(2, "json") as pool:
        assert pool.submit(os.getpid).result() not in early


def test_what_is_not_taken_is_ended_at_once() -> None:
    worker_processes.start_early(2, "time")
    children = multiprocessing.active_children()
    worker_processes.discard()
    for child in children:
        child.join(10)
        assert not child.is_alive()


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
