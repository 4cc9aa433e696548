"""What both halves of ``benchmarks.generation`` share: a run of ours, the clock, the rounds, the rows."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import yaml

from benchmarks.peers.worker import ONE_THREAD
from benchmarks.result import NOT_MEASURED, ROOT, WORK

FOLDER = WORK / "generation"
FAR_BEHIND = 2.0
"""Peers that take so many times as long as the fastest are timed in the first round only."""


@dataclass
class Run:
    """What a contender did: wall-clock seconds of each round."""

    name: str
    seconds: list[float] = field(default_factory=list)
    start: float = 0.0
    compiling: float = 0.0
    error: float | str = NOT_MEASURED
    failure: str = ""
    setting: str = ""

    @property
    def median(self) -> float | str:
        return self.failure or statistics.median(self.seconds)


def timed(command: Sequence[Any], environment: dict[str, str]) -> tuple[float, str]:
    """Wall-clock seconds of a process, and the last line that it printed."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    begin = time.perf_counter()
    done = subprocess.run(
        list(map(str, command)),
        cwd=ROOT,
        env=variables | ONE_THREAD | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - begin
    if done.returncode:
        raise RuntimeError(done.stderr.strip().split("\n")[-1][:100])
    return seconds, done.stdout.strip().split("\n")[-1]


class Ours:
    """``pdeflow generate`` of a recipe that ships, with other values under some of its keys."""

    def __init__(self, family: str, changes: dict[str, Any], options: Sequence[str] = ()) -> None:
        self.run, self.options = Run("pdeflow"), options
        recipe = yaml.safe_load((ROOT / "datasets" / family / "recipe.yaml").read_text())
        self.recipe: dict[str, Any] = recipe | changes
        self.solving = self.residual = 0.0

    def generate(self, samples: int, workers: int = 2, environment: dict[str, str] | None = None) -> float:
        """Seconds; ``solving`` of them, over all processes, went into drawing and solving."""
        FOLDER.mkdir(parents=True, exist_ok=True)
        path = FOLDER / "recipe.yaml"
        path.write_text(yaml.safe_dump(self.recipe | {"samples": samples}))
        command = [sys.executable, "-m", "pdeflow", "generate", "-c", path, "-o", FOLDER / "ours.h5"]
        command += ["--workers", workers, "--overwrite", *self.options]
        seconds, _ = timed(command, {"PYTHONPATH": str(ROOT)} | (environment or {}))
        record = json.loads((FOLDER / "ours.h5.manifest.json").read_text())
        self.residual = max(row["residual"] for row in record["chains"])
        failed = samples - sum(row["statuses"].get("CONVERGED", 0) for row in record["chains"])
        if failed:
            self.run.failure = f"{failed} samples failed"
        self.solving = sum(row["seconds"] for row in record["chains"])
        return seconds

    def prepare(self) -> float:
        """Fill the cache of compiled code and time the start with it and without; seconds before solving.

        What is returned is of one process; a run of two samples.
        """
        self.generate(2)
        with tempfile.TemporaryDirectory(dir=FOLDER) as empty:
            cold = self.generate(2, environment={"PDEFLOW_CACHE": empty})
        self.run.start = self.generate(2)
        self.run.compiling = max(0.0, cold - self.run.start)
        return self.generate(2, workers=1) - self.solving


class Peer(Protocol):
    """Someone else's way to the same data set."""

    run: Run

    def generate(self, samples: int) -> float:
        """Seconds."""
        ...

    def prepare(self, samples: int) -> None:
        """Check that the answers are right, choose settings for so many samples, and time the start.

        ``run`` says if it fails.
        """
        ...


def measure(
    case: str, ours: Ours, peers: Sequence[Peer], samples: int, rounds: int
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The rows of a case, and what the summary takes from it."""
    before = ours.prepare()
    for peer in peers:
        peer.prepare(samples)
    alone, shares, over_solving = [], [], {1: [], 2: []}
    for _ in range(rounds):
        ours.run.seconds.append(ours.generate(samples))
        shares.append(ours.solving / (2 * ours.run.seconds[-1]))
        over_solving[2].append(2 * (ours.run.seconds[-1] - before) / ours.solving)
        alone.append(ours.generate(samples, workers=1))
        over_solving[1].append((alone[-1] - before) / ours.solving)
        for peer in (peer for peer in peers if not peer.run.failure):
            running = [p.run.seconds for p in peers if p.run.seconds and not p.run.failure]
            fastest = min(map(min, running), default=0.0)
            if peer.run.seconds and min(peer.run.seconds) > FAR_BEHIND * fastest:
                continue
            try:
                peer.run.seconds.append(peer.generate(samples))
            except RuntimeError as error:
                peer.run.failure = str(error)
    if ours.run.failure:
        raise SystemExit(f"{case}: {ours.run.failure}")
    if ours.run.error == NOT_MEASURED:
        ours.run.error = ours.residual
    mine = statistics.median(ours.run.seconds)
    rows = []
    for run in (ours.run, *(peer.run for peer in peers)):
        took = run.median
        rows.append(
            {
                "case": case,
                "peer": run.name,
                "samples": samples,
                "peer_value": samples / took if isinstance(took, float) else took,
                "pdeflow_value": samples / mine,
                "ratio": took / mine if isinstance(took, float) else NOT_MEASURED,
                "peer_s": took,
                "rounds": len(run.seconds),
                "start_s": run.start,
                "compile_s": run.compiling,
                "error": run.error,
                "setting": run.setting,
            }
        )
    return rows, {
        "speedup": statistics.median(alone) / mine,
        "share": statistics.median(shares),
        "over_solving": max(statistics.median(found) for found in over_solving.values()),
    }


def unmeasured(case: str, names: Sequence[str], samples: int) -> list[dict[str, Any]]:
    """The rows of a case on a device that is not there."""
    blank = ("peer_value", "pdeflow_value", "ratio", "peer_s", "start_s", "compile_s", "error", "setting")
    return [
        {"case": case, "peer": name, "samples": samples, "rounds": 0, **dict.fromkeys(blank, NOT_MEASURED)}
        for name in names
    ]
