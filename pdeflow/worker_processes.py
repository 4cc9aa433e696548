"""Processes that solve, started before there is anything to solve.

A worker imports torch, and so does the process that starts it. Started first, the workers do so meanwhile;
for that, this module imports nothing heavy.
"""

from __future__ import annotations

import concurrent.futures
import importlib
import multiprocessing
import os
import threading

_early: dict[int, concurrent.futures.ProcessPoolExecutor] = {}


def start_early(workers: int, module: str) -> None:
    """Start so many processes, which import a module, for the `pool` of so many that comes later."""
    _early[workers] = pool = _new(workers, module)
    for _ in range(workers):
        pool.submit(int)  # a process is started when there is something for it to do


def pool(workers: int, module: str) -> concurrent.futures.ProcessPoolExecutor:
    """Those that were started early, or new ones; for the caller to shut down."""
    return _early.pop(workers, None) or _new(workers, module)


def discard() -> None:
    """End what was started early and not taken, without waiting for its imports."""
    while _early:
        _, waiting = _early.popitem()
        waiting.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.kill()


def _new(workers: int, module: str) -> concurrent.futures.ProcessPoolExecutor:
    # spawn: a fork of a process that has run torch threads can deadlock.
    context = multiprocessing.get_context("spawn")
    return concurrent.futures.ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(module,))


def _begin(module: str) -> None:
    """End this worker when the process that started it ends, however that happens (kill -9 included)."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    importlib.import_module(module)
