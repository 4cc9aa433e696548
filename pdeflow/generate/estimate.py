"""What a data set will cost in time, disk and memory, from a pilot of its first samples."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from pdeflow.data.inspect import size_text
from pdeflow.device import check_device
from pdeflow.errors import InvalidInput, PdeflowError
from pdeflow.generate.chain import solve_chain
from pdeflow.generate.plan import Plan
from pdeflow.generate.recipe import Recipe
from pdeflow.generate.shards import write_alone, write_shard
from pdeflow.worker_processes import keep_memory

# The pilot grows to the whole first chain, or until it has solved for so many seconds. Where one sample takes
# as long, it is solved once, and two together.
FIRST, ENOUGH_SECONDS = 8, 2.0


@dataclass(frozen=True)
class Pilot:
    """What a process like a worker's saw of the first samples.

    Parameters
    ----------
    samples
        How many, at most a chain and at least two.
    seconds, bytes, memory
        Time to solve and write, size of the shard, peak resident memory: of one sample, and of ``samples``.
    order_seconds, method_seconds
        Time to order one sample; time in which candidates raced, once for all samples.
    """

    samples: int
    seconds: tuple[float, float]
    bytes: tuple[int, int]
    memory: tuple[int, int]
    order_seconds: float
    method_seconds: float


@dataclass(frozen=True)
class Estimate:
    """What `generate` will need, extrapolated from a pilot.

    Parameters
    ----------
    samples, pilot
        Samples of the data set, and how many of them the pilot solved.
    workers
        Processes that can work at the same time: no more than asked for, than chains, and than cores.
    rate
        Samples a second, of all workers together.
    seconds
        Time in ordering, drawing, solving and writing.
    bytes
        Size of the file; while it is written, its shards take as much again.
    memory
        Peak resident memory of one worker, in bytes.
    """

    samples: int
    pilot: int
    workers: int
    rate: float
    seconds: float
    bytes: int
    memory: int

    def text(self) -> str:
        """The lines that the command line prints."""
        samples = f"{self.samples} sample{'s' * (self.samples != 1)}"
        working = "1 worker" if self.workers == 1 else f"{self.workers} workers at a time"
        return "\n".join(
            [
                f"Estimate for {samples}, from a pilot of {self.pilot}; nothing was written.",
                f"  time    {_duration(self.seconds)}, {self.rate:.3g} samples/s with {working}",
                f"  disk    {size_text(self.bytes)}, and as much again for the shards until the end",
                f"  memory  {size_text(self.memory)} at the peak of a worker",
            ]
        )


def estimate(recipe: Recipe, *, device: str = "cpu", workers: int = 1) -> Estimate:
    """Estimate what `generate` needs, from a pilot of the first chain in a process like a worker's.

    The pilot's shards go to the system's folder for temporary files and are deleted. The time of a chain is
    taken as a constant and a part that grows with its samples, and so are its memory and its bytes. In the
    order ``"similar"`` the pilot's samples lie further apart than those of the whole set will, so that the
    time is an upper bound where the solver recycles.

    Parameters
    ----------
    recipe
        What would be generated.
    device
        Where to sample and solve.
    workers
        Processes that would run.

    Raises
    ------
    InvalidInput
        If the number of workers is not positive, or the device is absent.
    PdeflowError
        If the pilot's process dies, as it does where memory is too small.
    """
    if workers < 1:
        raise InvalidInput("workers", workers, "at least 1")
    check_device(device)
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context, initializer=keep_memory) as pool:
        try:
            pilot = pool.submit(run_pilot, recipe, device).result()
        except concurrent.futures.process.BrokenProcessPool as error:
            raise PdeflowError(
                "The process of the pilot died (killed, or out of memory).\n"
                "Try a coarser grid (--resolution), or a smaller --chain."
            ) from error
    return extrapolate(recipe, pilot, workers)


def run_pilot(recipe: Recipe, device: str) -> Pilot:
    """Solve one sample, then more of the first chain, in this process, and say what each cost."""
    torch.set_num_threads(1)
    chain = max(2, min(recipe.chain, recipe.samples))
    first = dataclasses.replace(recipe, samples=chain, chain=chain)
    start = time.perf_counter()
    plan = Plan.ordered(first, device)
    ordered = time.perf_counter()
    plan = plan.piloted(device)
    planning = ((ordered - start) / chain, time.perf_counter() - ordered)
    with tempfile.TemporaryDirectory() as folder:
        shard = Path(folder, "pilot.h5")
        one = _cost(plan, 1, device, shard)
        slow = one[0] > ENOUGH_SECONDS
        if not slow:  # the first solve on a machine compiles loops and fills caches
            one = _cost(plan, 1, device, shard)
        samples = min(2 if slow else FIRST, chain)
        more = _cost(plan, samples, device, shard)
        while samples < chain and more[0] < ENOUGH_SECONDS:
            samples = min(2 * samples, chain)
            more = _cost(plan, samples, device, shard)
        if more[0] < ENOUGH_SECONDS:  # the first arrays of a size touch new memory
            more = _cost(plan, samples, device, shard)
        if slow and more[0] < one[0]:  # it was the compiler that was slow
            one = _cost(plan, 1, device, shard)
    return Pilot(samples, (one[0], more[0]), (one[1], more[1]), (one[2], more[2]), planning[0], planning[1])


def _cost(plan: Plan, samples: int, device: str, shard: Path) -> tuple[float, int, int]:
    """Seconds of a chain of so many samples, bytes of a file of them, and the peak memory so far."""
    part = dataclasses.replace(plan.recipe, samples=samples, chain=samples)
    start = time.perf_counter()
    solved = solve_chain(part, 0, device, dataclasses.replace(plan, recipe=part))
    write_shard(shard, part, solved)
    seconds, memory = time.perf_counter() - start, _peak_memory()
    write_alone(shard, part, solved)
    return seconds, shard.stat().st_size, memory


def extrapolate(recipe: Recipe, pilot: Pilot, workers: int) -> Estimate:
    """From the pilot's two numbers of samples to the whole data set."""
    chain = min(recipe.chain, recipe.samples)
    busy = max(1, min(workers, recipe.chains, os.cpu_count() or 1))
    seconds = pilot.method_seconds
    if recipe.order == "similar":
        seconds += recipe.samples * pilot.order_seconds  # drawing every sample's parameters
    rounds = recipe.samples / chain if busy == 1 else -(-recipe.chains // busy)
    seconds += rounds * _line(pilot.samples, pilot.seconds, chain)
    return Estimate(
        samples=recipe.samples,
        pilot=pilot.samples,
        workers=busy,
        rate=recipe.samples / seconds,
        seconds=seconds,
        bytes=round(_line(pilot.samples, pilot.bytes, recipe.samples)),
        memory=round(_line(pilot.samples, pilot.memory, chain)),
    )


def _line(samples: int, values: tuple[float, float], x: int) -> float:
    """The line through the values at one sample and at more, at x; it never falls."""
    return values[1] + max(0.0, values[1] - values[0]) / (samples - 1) * (x - samples)


def _peak_memory() -> int:
    """Largest resident set of this process so far, in bytes."""
    try:
        # Linux: ru_maxrss would include the process that started this one.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _duration(seconds: float) -> str:
    """Seconds, minutes or hours, in two digits or so."""
    if seconds < 120:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
