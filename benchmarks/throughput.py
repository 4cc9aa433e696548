"""How a batch, its memory and its iterations grow: multigrid-preconditioned CG on Darcy {3, 12}."""

from __future__ import annotations

import ctypes
import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.result import NOT_MEASURED
from pdeflow import linalg
from pdeflow.problems import Darcy
from pdeflow.problems.discretise import System


def _systems(dim: int, n: int, batch: int, device: str) -> System:
    problem = Darcy(dim=dim)
    grid = problem.grid(n + 2)
    return problem.discretise(grid, problem.sample(range(batch), grid, seed=1, device=device))


def _solve(system: System) -> tuple[float, linalg.Solution]:
    on_gpu = system.rhs.device.type == "cuda"
    if on_gpu:
        torch.cuda.synchronize()
    start = time.perf_counter()
    solution = linalg.solve(
        system.operator, system.rhs, solver=linalg.CG(), preconditioner=linalg.Multigrid(), rtol=1e-8
    )
    if on_gpu:
        torch.cuda.synchronize()
    return time.perf_counter() - start, solution


def throughput(batches: Sequence[int], device: str, n: int = 128, repeats: int = 5) -> list[dict[str, Any]]:
    """Milliseconds and memory a system for batches of n x n systems."""
    everything = _systems(2, n, max(batches), device)
    rows = []
    for batch in batches:
        operator = everything.operator.pieces(batch)[0]
        system = System(operator, everything.rhs[:batch], everything.boundary, everything.interior)
        extra = _memory(system)
        seconds = statistics.median(_solve(system)[0] for _ in range(repeats))
        rows.append(
            {
                "batch": batch,
                "ms_per_system": 1e3 * seconds / batch,
                "systems_per_second": batch / seconds,
                "extra_mib_per_system": extra if isinstance(extra, str) else extra / batch / 2**20,
            }
        )
    return rows


def growth(dim: int, sizes: Sequence[int], device: str, repeats: int = 3) -> list[dict[str, Any]]:
    """Milliseconds and iterations of single systems of n^dim unknowns."""
    rows = []
    for n in sizes:
        system = _systems(dim, n, 1, device)
        _solve(system)
        runs = [_solve(system) for _ in range(repeats)]
        rows.append(
            {
                "dim": dim,
                "n": n,
                "unknowns": n**dim,
                "ms": 1e3 * statistics.median(seconds for seconds, _ in runs),
                "iterations": int(runs[0][1].iterations.max()),
                "residual": float(runs[0][1].residual_norm.max()),
            }
        )
    return rows


def slope(rows: Sequence[dict[str, Any]]) -> float:
    """The least-squares slope of log milliseconds against log unknowns."""
    x = [math.log(row["unknowns"]) for row in rows]
    return statistics.linear_regression(x, [math.log(row["ms"]) for row in rows]).slope


def _memory(system: System) -> float | str:
    """Bytes that a solve takes at its peak beyond the systems themselves."""
    if system.rhs.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        _solve(system)
        return torch.cuda.max_memory_allocated() - before
    reset = Path("/proc/self/clear_refs")
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if not reset.exists() or trim is None:
        return NOT_MEASURED
    trim(0)
    reset.write_text("5")  # the peak starts anew from what is resident now
    before = _resident("VmRSS")
    _solve(system)
    return _resident("VmHWM") - before


def _resident(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {name}")
