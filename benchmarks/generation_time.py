"""The half of ``benchmarks.generation`` that is in time: exponax and torchfsm at the same error.

The recipes that ship, on other grids. The reference is ours with a tolerance 30 times finer than the error
that is asked for; a peer's finest solution has to come within a fifth of that error of it
(``reference gap``), so that both sides agree on what is right. Each peer takes the fewest steps, the number
format (float64 or float32) and the batch that are fastest within the error on a few shared samples, and two
processes or one with two threads, whichever is foreseen to be faster on all samples, from a run of two and
one of ``trial``; ours takes the largest ``rtol`` whose true error on the shared samples is as small. Peers
keep their step for all samples; ours checks every one.

Initial fields have wave numbers up to n / 4, which the peers, who cut off aliases by the 2/3 rule on the n
nodes, keep as well as ours does. Kuramoto-Sivashinsky is chaotic, with a largest exponent near 0.1: up to
time 50 a difference grows by some hundreds, and errors mean something.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.generation_run import FOLDER, Ours, Run, timed
from benchmarks.peers.evolution import largest_error
from benchmarks.result import ROOT
from pdeflow import problems
from pdeflow.problems import Evolution, GaussianField

FINER, AGREEMENT = 30.0, 0.2
SHARED_SAMPLES, SHARED_SEED = 4, 5
LOOSER = (8192.0, 4096.0, 1024.0, 256.0, 64.0, 16.0, 8.0, 4.0, 3.0, 2.0, 1.4, 1.0, 0.7, 0.5, 0.25)
"""Tolerances of ours to try, in units of the error that is asked for; what is returned has a smaller one,
by orders where stability asks for more steps than accuracy."""
BATCHES = (1, 4, 16, 64)
"""Small ones stay in the processor's cache, large ones spread the cost of a call."""
LAYOUTS = {"two processes": (2, {}), "two threads": (1, {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"})}
JAX = {
    "JAX_PLATFORMS": "cpu",
    "JAX_COMPILATION_CACHE_DIR": str(FOLDER / "jax"),
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
}
"""XLA's programs are kept, as our C loops are; by itself JAX keeps none, and then only what took a second."""
UNCACHED = {"JAX_ENABLE_COMPILATION_CACHE": "false"}


@dataclass(frozen=True)
class Case:
    """A family on a grid: the recipe that ships, with other nodes, samples and initial fields."""

    name: str
    family: str
    n: int
    samples: int
    tolerance: float
    trial: int
    """Samples from which the time of all is foreseen, with processes and with threads."""
    chain: int
    """Samples that ours steps together."""
    peers: tuple[str, ...] = ("exponax", "torchfsm")


CASES = (
    Case("burgers_1024", "burgers", 1024, 1500, 1e-6, 128, 125),
    Case("ks_256", "kuramoto_sivashinsky", 256, 200, 1e-6, 32, 50),
    Case("ns_64", "navier_stokes", 64, 400, 1e-5, 32, 40),
)


class Shared:
    """What is to be solved, and the samples that every contender is checked on."""

    def __init__(self, case: Case) -> None:
        self.case, self.recipe = case, Ours(case.family, {}).recipe
        usual = problems.__dict__[self.recipe["problem"]["class_path"]]()
        (name,) = usual.initials
        field = usual.parameters[name].distribution
        self.field: GaussianField = dataclasses.replace(field, modes=case.n // 2 + 1)
        self.problem: Evolution = type(usual)(initial=self.field)
        self.path, self.initial = FOLDER / "shared.npz", name

    @property
    def job(self) -> dict[str, Any]:
        """What the peers are told."""
        (low,), (high,) = {*self.problem.domain.lower}, {*self.problem.domain.upper}
        nu = self.problem.parameters.get("nu")
        return {
            "family": self.case.family,
            "n": self.case.n,
            "length": high - low,
            "law": {key: getattr(self.field, key) for key in ("alpha", "tau", "std", "modes")},
            "viscosity": nu and nu.distribution.value,
            "stop": self.recipe["stop"],
            "instants": self.recipe["instants"],
            "tolerance": self.case.tolerance,
            "shared": str(self.path),
            "batches": BATCHES,
            "seed": 0,
        }

    def ours(self, rtol: float) -> np.ndarray:
        """The shared samples at all instants."""
        torch.set_num_threads(1)
        grid = self.problem.grid(self.case.n)
        drawn = self.problem.sample(range(SHARED_SAMPLES), grid, seed=SHARED_SEED)
        times = self.recipe["stop"], self.recipe["instants"]
        # `generate` begins so, by the first samples of its own.
        fewest = self.problem.fewest_steps(grid, drawn, *times, rtol=rtol, device="cpu")
        path = self.problem.evolve(grid, drawn, *times, rtol=rtol, fewest=fewest, device="cpu")
        return path.u.numpy()

    @functools.cached_property
    def reference(self) -> np.ndarray:
        """By ours; written for the peers."""
        u = self.ours(self.case.tolerance / FINER)
        FOLDER.mkdir(parents=True, exist_ok=True)
        np.savez(self.path, u0=u[:, 0], u=u)
        return u


@functools.lru_cache(maxsize=1)
def shared_by(case: Case) -> Shared:
    """Everyone in the case, so that the reference is worked out once."""
    return Shared(case)


def ours(case: Case, device: str = "cpu") -> Ours:
    """``pdeflow generate`` with the largest tolerance that gives the error that is asked for."""
    shared = shared_by(case)
    for factor in LOOSER:
        rtol = factor * case.tolerance
        if (error := largest_error(shared.ours(rtol), shared.reference)) <= case.tolerance:
            break
    else:
        raise SystemExit(f"{case.name}: ours has an error of {error:g} at rtol {rtol:g}")
    initial = {"class_path": "GaussianField", "init_args": dataclasses.asdict(shared.field)}
    recipe = shared.recipe["problem"]
    problem = recipe | {"init_args": recipe.get("init_args", {}) | {"initial": initial}}
    changes = {"resolution": case.n, "rtol": rtol, "problem": problem, "chain": case.chain}
    made = Ours(case.family, changes, ("--device", device))
    made.run.error, made.run.setting = error, f"rtol {rtol:g}, chain {case.chain}"
    return made


class Peer:
    """A pool around a library, with the settings that were fastest within the error."""

    def __init__(self, shared: Shared, library: str) -> None:
        self.shared, self.library, self.run = shared, library, Run(library)
        self.setting: dict[str, Any] = {}
        self.layout = next(iter(LAYOUTS))

    def ask(self, job: dict[str, Any], environment: dict[str, str]) -> tuple[float, dict[str, Any]]:
        """Seconds, and the answer."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        path = Path(FOLDER, "job.json")
        path.write_text(json.dumps(self.shared.job | job))
        command = [sys.executable, "-m", f"benchmarks.peers.{self.library}_pool", path]
        seconds, told = timed(command, {"PYTHONPATH": str(ROOT)} | JAX | environment)
        return seconds, json.loads(told)

    def generate(self, samples: int, more: dict[str, str] | None = None) -> float:
        """Seconds; ``more`` goes into the environment."""
        workers, environment = LAYOUTS[self.layout]
        out = FOLDER / "peer.h5"
        job = {"task": "generate", "samples": samples, "workers": workers, "out": str(out)}
        return self.ask(job | self.setting, environment | (more or {}))[0]

    def prepare(self, samples: int) -> None:
        """Choose the settings, and time the start with compiled code and without."""
        if importlib.util.find_spec(self.library) is None:
            self.run.failure = "not installed"
            return
        assert self.shared.reference is not None  # written
        try:
            answer = self.ask({"task": "choose"}, {})[1]
            if "failure" in answer:
                self.run.failure = answer["failure"]
                return
            if not answer["reference_gap"] <= AGREEMENT * self.shared.case.tolerance:
                self.run.failure = f"references differ by {answer['reference_gap']:.1e}"
                return
            self.setting = {key: answer[key] for key in ("steps", "dtype", "batch")}
            # The choice has filled the cache of what is compiled.
            starts, foreseen, trial = {}, {}, self.shared.case.trial
            for self.layout in LAYOUTS:
                starts[self.layout] = start = self.generate(2)
                foreseen[self.layout] = start + (self.generate(trial) - start) * samples / trial
            self.layout = min(foreseen, key=lambda name: foreseen[name])
            self.run.start = starts[self.layout]
            self.run.compiling = max(0.0, self.generate(2, UNCACHED) - self.run.start)
        except RuntimeError as error:
            self.run.failure = str(error)
            return
        self.run.error = answer["error"]
        told = "{steps} steps an instant, {dtype}, batch {batch}".format(**self.setting)
        self.run.setting = f"{told}, {self.layout}, reference gap {answer['reference_gap']:.1e}"


def peers(case: Case) -> list[Peer]:
    """Both libraries."""
    shared = shared_by(case)
    return [Peer(shared, library) for library in case.peers]
