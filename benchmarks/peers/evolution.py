"""What the pools of exponax and torchfsm share: initial fields, the choice of the step, processes, the file.

``python -m benchmarks.peers.exponax_pool JOB.json`` (or ``torchfsm_pool``) does the job's ``task``.
``generate`` draws initial fields, steps them and writes a float32 HDF5 file of all instants. ``choose`` looks
for the settings to do that with, on shared fields with a reference: the fewest steps between two instants
whose largest relative L2 error stays within ``tolerance``, in float64 and in float32, and of these the number
format and the batch that take the least time a sample.

A job has ``family``, ``n``, ``length``, ``law`` (of the Gaussian initial field), ``viscosity``, ``stop``,
``instants``; to generate also ``samples``, ``seed``, ``workers``, ``steps``, ``dtype``, ``batch`` and
``out``; to choose, ``shared`` (an .npz of ``u0`` and ``u``), ``tolerance`` and ``batches``.
"""

from __future__ import annotations

import json
import multiprocessing
import multiprocessing.queues
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Job = dict[str, Any]
Solve = Callable[[np.ndarray], np.ndarray]
"""From initial fields (batch, *shape) to all instants, (batch, instants, *shape)."""
Make = Callable[[Job], Solve]
DIMENSIONS = {"burgers": 1, "kuramoto_sivashinsky": 1, "navier_stokes": 2}
MOST_STEPS = 1024
FLOOR = 1e-2
"""Below this error, half the step has to bring something, or rounding has taken over."""
TIMED = 4
"""Samples, at least, that a batch size is timed on."""


def fields(job: Job, indices: range) -> np.ndarray:
    """Samples of N(0, c^2 (-Laplace + tau^2)^-alpha), mean 0, wave numbers up to modes // 2, by FFT."""
    law, n, dim = job["law"], job["n"], DIMENSIONS[job["family"]]
    axes, k = tuple(range(-dim, 0)), np.fft.fftfreq(n, 1 / n)
    waves = np.meshgrid(*[k] * (dim - 1), k[: n // 2 + 1], indexing="ij")
    squares = sum((2 * np.pi / job["length"] * wave) ** 2 for wave in waves)
    kept = np.all([np.abs(wave) <= law["modes"] // 2 for wave in waves], axis=0) & (squares > 0)
    amplitude = np.where(kept, squares + law["tau"] ** 2, np.inf) ** (-law["alpha"] / 2)
    # rfftn holds one of each mode and its mirror image, but in the plane 0 of the last axis both.
    both = np.where(waves[-1] == 0, 1, 2)
    scale = law["std"] * n ** (dim / 2) / np.sqrt(np.sum(both * amplitude**2))
    noise = np.stack(
        [np.random.default_rng((job["seed"], index)).standard_normal((n,) * dim) for index in indices]
    )
    return scale * np.fft.irfftn(
        amplitude * np.fft.rfftn(noise, axes=axes, norm="ortho"), (n,) * dim, axes, norm="ortho"
    )


def forcing(job: Job) -> np.ndarray:
    """Of the flow, at the nodes: the FNO paper's."""
    x = job["length"] / job["n"] * np.arange(job["n"])
    phase = 2 * np.pi * (x[:, None] + x)
    return 0.1 * (np.sin(phase) + np.cos(phase))


def largest_error(u: np.ndarray, reference: np.ndarray) -> float:
    """Relative, in L2, over samples and instants, both (n, instants, *shape); infinite if not finite."""
    axes = tuple(range(2, u.ndim))
    difference = np.sqrt(np.sum((u.astype(np.float64) - reference) ** 2, axis=axes))
    relative = difference / np.sqrt(np.sum(reference**2, axis=axes))
    return float(np.nan_to_num(relative, nan=np.inf).max())


def fewest(error: Callable[[int], float], tolerance: float) -> tuple[int, float] | None:
    """The fewest steps whose error is within the tolerance, by doubling and bisection; None if none are."""
    high, before = 1, np.inf
    while (found := error(high)) > tolerance:
        if high >= MOST_STEPS or (before < FLOOR and found > before / 2):
            return None
        high, before = 2 * high, found
    low = high // 2
    while high - low > max(1, high // 16):
        middle = (low + high) // 2
        if (there := error(middle)) <= tolerance:
            high, found = middle, there
        else:
            low = middle
    return high, found


def choose(job: Job, make: Make) -> dict[str, Any]:
    """The fastest settings within the tolerance, and how near the finest solution comes to the reference."""
    with np.load(job["shared"]) as held:
        u0, reference = held["u0"], held["u"]

    def error(steps: int, dtype: str) -> float:
        with np.errstate(over="ignore", invalid="ignore"):
            return largest_error(make(job | {"steps": steps, "dtype": dtype})(u0), reference)

    tried = []
    for dtype in ("float64", "float32"):
        found = fewest(lambda steps, dtype=dtype: error(steps, dtype), job["tolerance"])
        if found is None:
            continue
        for batch in job["batches"]:
            setting = {"steps": found[0], "dtype": dtype, "batch": batch, "error": found[1]}
            solve, drawn = make(job | setting), fields(job | {"seed": 1}, range(batch))
            solve(drawn)  # compiles
            runs = max(1, TIMED // batch)
            begin = time.perf_counter()
            for _ in range(runs):
                solve(drawn)
            tried.append(setting | {"sample_s": (time.perf_counter() - begin) / (runs * batch)})
    if not tried:
        return {"failure": f"missed {job['tolerance']:g}"}
    finest = max(setting["steps"] for setting in tried) * 4
    return {**min(tried, key=lambda s: s["sample_s"]), "reference_gap": error(finest, "float64")}


_state: dict[str, Any] = {}


def start(job: Job, make: Make, cores: multiprocessing.queues.SimpleQueue[int]) -> None:
    """Of a worker, which has a core of its own."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {cores.get()})
    _state.update(job=job, solve=make(job))


def chunk(indices: range) -> tuple[range, np.ndarray]:
    """Samples and all their instants; a short last batch is filled up, for one shape compiles once."""
    job = _state["job"]
    full = range(indices.start, indices.start + job["batch"])
    u = _state["solve"](fields(job, full))[: len(indices)]
    return indices, u.astype(np.float32)


def generate(job: Job, make: Make) -> dict[str, Any]:
    """The file."""
    shape = (job["n"],) * DIMENSIONS[job["family"]]
    chunks = [range(i, min(i + job["batch"], job["samples"])) for i in range(0, job["samples"], job["batch"])]
    with h5py.File(job["out"], "w") as file:
        file["time"] = np.linspace(0.0, job["stop"], job["instants"])
        u = file.create_dataset("u", (job["samples"], job["instants"], *shape), np.float32)
        if job["workers"] == 1:
            _state.update(job=job, solve=make(job))
            for indices, part in map(chunk, chunks):
                u[indices.start : indices.stop] = part
            return {}
        context = multiprocessing.get_context("spawn")
        cores = context.SimpleQueue()
        for core in sorted(os.sched_getaffinity(0))[: job["workers"]]:
            cores.put(core)
        with context.Pool(job["workers"], start, (job, make, cores)) as pool:
            for indices, part in pool.imap_unordered(chunk, chunks):
                u[indices.start : indices.stop] = part
    return {}


def main(make: Make) -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    print(json.dumps((choose if job["task"] == "choose" else generate)(job, make)))
