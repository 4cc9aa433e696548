"""Processes that solve, started before there is anything to solve.

On Linux a process of its own imports torch while this one does, and the workers are forks of it, which share
what it has imported; elsewhere each of them imports it. Started first, that happens meanwhile; for that, this
module imports nothing heavy.
"""

from __future__ import annotations

import concurrent.futures
import ctypes
import importlib
import multiprocessing
import os
import sys
import threading
from multiprocessing import forkserver

GENERATING = ("pdeflow.generate.executors", "pdeflow.problems.symbolic")
"""What those who generate import: the module of what they are told to call, and what describes a recipe."""
_early: dict[int, concurrent.futures.ProcessPoolExecutor] = {}
_FORKS = sys.platform == "linux"
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
"""Parameters of glibc's ``mallopt``."""


def start_early(workers: int, *modules: str) -> None:
    """Start what imports modules, for the `pool` of so many workers that comes later."""
    _early[workers] = pool = _new(workers, modules)
    if _FORKS:
        forkserver.ensure_running()
        return
    for _ in range(workers):
        pool.submit(int)  # a process is started when there is something for it to do


def pool(workers: int, *modules: str) -> concurrent.futures.ProcessPoolExecutor:
    """Those that were started early, or new ones; for the caller to shut down."""
    return _early.pop(workers, None) or _new(workers, modules)


def discard() -> None:
    """End what was started early and not taken, without waiting for its imports.

    A server that still imports ends by itself once it has, with this process.
    """
    while _early:
        _, waiting = _early.popitem()
        waiting.shutdown(wait=False, cancel_futures=True)
        for child in () if _FORKS else multiprocessing.active_children():
            child.kill()


def keep_memory() -> None:
    """Have this process keep what it frees for its next arrays, where the C library is glibc.

    By default large arrays are mapped and unmapped each time, and the system fills every new page with zeros.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if _FORKS else None
    if mallopt is not None:
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def _new(workers: int, modules: tuple[str, ...]) -> concurrent.futures.ProcessPoolExecutor:
    # Never a fork of this process: one that has run torch threads can deadlock. The server only imports.
    context = multiprocessing.get_context("forkserver" if _FORKS else "spawn")
    if _FORKS:
        forkserver.set_forkserver_preload(list(modules))
    # The server has the environment of the moment when it was started; the workers are to have today's.
    given = (modules, dict(os.environ))
    return concurrent.futures.ProcessPoolExecutor(workers, context, initializer=_begin, initargs=given)


def _begin(modules: tuple[str, ...], environment: dict[str, str]) -> None:
    """End this worker when the process that started it ends, however that happens (kill -9 included)."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    os.environ.clear()
    os.environ.update(environment)
    keep_memory()
    for module in modules:
        importlib.import_module(module)
