"""Our config and neuraloperator's own Trainer on the FNO authors' small Darcy set, in one run.

Both are given the same 1000 samples at 16x16 (pdeflow sets 50 of them aside for validation and trains on
950) and are tested, once, on the same 50 samples at 16x16 and 50 at 32x32. Both use the same number of
threads. Seconds are those of training alone; start-up and data loading have columns of their own.
neuraloperator runs its own recipe, and again with its epochs raised until it has had at least our seconds.
``python -m benchmarks.darcy_small --json FILE``
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

from benchmarks.result import ROOT, WORK, finish, parser

DATA = WORK / "darcy_small"
FILES = ("darcy_train_16.pt", "darcy_test_16.pt", "darcy_test_32.pt")
THREADS = 2
PDEFLOW = [sys.executable, "-m", "pdeflow"]


def fetch() -> Path:
    """The set out of the wheel that ships it; nothing of the wheel is installed."""
    if not all((DATA / name).exists() for name in FILES):
        DATA.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(DATA)]
        subprocess.run([*command, "neuraloperator==0.3.0"], check=True)
        with zipfile.ZipFile(next(DATA.glob("neuraloperator-0.3.0*.whl"))) as wheel:
            for name in FILES:
                (DATA / name).write_bytes(wheel.read(f"neuralop/datasets/data/{name}"))
    return DATA


def environment() -> dict[str, str]:
    # Threads that spin only shortly while they wait, on both sides: as the command line of pdeflow sets it.
    threads = {"OMP_NUM_THREADS": str(THREADS), "GOMP_SPINCOUNT": "20000"}
    return {**os.environ, **threads, "PYTHONPATH": str(ROOT)}


def run_pdeflow(seed: int, quick: bool) -> dict[str, Any]:
    """Train and test from ``configs/darcy_small_fno.yaml`` through the command line."""
    for name in FILES:
        target = WORK / "data" / "darcy_small" / name.removeprefix("darcy_").replace(".pt", ".h5")
        command = [*PDEFLOW, "convert", str(DATA / name), "-o", str(target), "--overwrite"]
        subprocess.run(command, check=True, env=environment(), cwd=WORK)
    run = WORK / f"darcy_small_{seed}"
    shutil.rmtree(run, ignore_errors=True)
    start = time.perf_counter()
    fit = [*PDEFLOW, "fit", "-c", "configs/darcy_small_fno.yaml", "--run", str(run)]
    fit += ["--seed_everything", str(seed)]
    if quick:
        fit += ["--trainer.max_epochs", "10"]
    # The config names its data relative to the working directory, which is the benchmark's own.
    subprocess.run(fit, check=True, env=environment(), cwd=WORK)
    wall = time.perf_counter() - start
    subprocess.run([*PDEFLOW, "test", str(run)], check=True, env=environment(), cwd=WORK)
    metrics = json.loads((run / "test" / "metrics.json").read_text())
    history = json.loads((run / "history.json").read_text())
    return {
        "case": "configs/darcy_small_fno.yaml",
        "code": "pdeflow",
        "seed": seed,
        "epochs": len(history),
        "l2_16": metrics["16x16"]["l2"],
        "l2_32": metrics["32x32"]["l2"],
        "seconds": history[-1]["seconds"],
        "start_seconds": wall - history[-1]["seconds"],
    }


def run_neuralop(seed: int, epochs: int, case: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.darcy_small_neuralop", str(DATA), str(epochs), str(seed)]
    start = time.perf_counter()
    done = subprocess.run(command, check=True, env=environment(), cwd=ROOT, stdout=subprocess.PIPE, text=True)
    wall = time.perf_counter() - start
    measured = json.loads(done.stdout.splitlines()[-1])
    return {
        "case": case,
        "code": "neuraloperator",
        "seed": seed,
        "epochs": epochs,
        **measured,
        "start_seconds": wall - measured["seconds"],
    }


def main() -> None:
    options = parser(__doc__ or "").parse_args()
    fetch()
    seeds = (0,) if options.quick else (0, 1, 2)
    rows: list[dict[str, Any]] = []
    for seed in seeds:
        ours = run_pdeflow(seed, options.quick)
        own = run_neuralop(seed, 5 if options.quick else 20, "own recipe")
        epochs = max(own["epochs"], round(own["epochs"] * ours["seconds"] / own["seconds"]))
        rows += [ours, own, run_neuralop(seed, epochs, "own recipe, our seconds")]

    def mean(case: str, key: str) -> float:
        return statistics.mean(row[key] for row in rows if row["case"] == case)

    config = "configs/darcy_small_fno.yaml"
    summary = {
        "pdeflow_l2_16": mean(config, "l2_16"),
        "neuralop_l2_16": mean("own recipe", "l2_16"),
        "neuralop_l2_16_our_seconds": mean("own recipe, our seconds", "l2_16"),
        "pdeflow_l2_32": mean(config, "l2_32"),
        "neuralop_l2_32": mean("own recipe", "l2_32"),
        "neuralop_l2_32_our_seconds": mean("own recipe, our seconds", "l2_32"),
        "pdeflow_seconds": mean(config, "seconds"),
        "neuralop_seconds": mean("own recipe", "seconds"),
        "neuralop_our_seconds": mean("own recipe, our seconds", "seconds"),
        "seeds": len(seeds),
        "threads": THREADS,
        "quick": options.quick,
    }
    finish(options.json, rows, summary)


if __name__ == "__main__":
    main()
