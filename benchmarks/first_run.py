"""How long a newcomer waits: every step of ``make demo``, imports and help pages.

``python -m benchmarks.first_run --json FILE``. The demo's steps are read from the Makefile's own list
(``make --dry-run demo``), so that what is timed is what a user types. Imports and help pages are medians
of repeats in fresh processes, with the file cache warm. ``--quick`` leaves the demo out.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from typing import Any

from benchmarks.result import ROOT, finish, parser

PYTHON = sys.executable
SMALL = {
    "import pdeflow": [PYTHON, "-c", "import pdeflow"],
    "import pdeflow.linalg": [PYTHON, "-c", "import pdeflow.linalg"],
    "import pdeflow.problems": [PYTHON, "-c", "import pdeflow.problems"],
    "import pdeflow.data": [PYTHON, "-c", "import pdeflow.data"],
    "import torch (alone)": [PYTHON, "-c", "import torch"],
    "import lightning.pytorch (alone)": [PYTHON, "-c", "import lightning.pytorch"],
    "pdeflow --help": [PYTHON, "-m", "pdeflow", "--help"],
    "pdeflow doctor --help": [PYTHON, "-m", "pdeflow", "doctor", "--help"],
    "pdeflow generate --help": [PYTHON, "-m", "pdeflow", "generate", "--help"],
    "pdeflow fit --help": [PYTHON, "-m", "pdeflow", "fit", "--help"],
}


def seconds(command: list[str] | str, *, quiet: bool) -> float:
    sink = subprocess.DEVNULL if quiet else None
    start = time.perf_counter()
    subprocess.run(command, check=True, cwd=ROOT, stdout=sink, stderr=sink, shell=isinstance(command, str))
    return time.perf_counter() - start


def demo_steps() -> list[str]:
    """The shell lines that ``make demo`` runs once the install is there."""
    done = subprocess.run(
        ["make", "--dry-run", "demo"], check=True, cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    return [line for line in done.stdout.splitlines() if "pdeflow " in line]


def main() -> None:
    options = parser(__doc__ or "").parse_args()
    repeats = 3 if options.quick else 5
    rows: list[dict[str, Any]] = []
    for name, command in SMALL.items():
        seconds(command, quiet=True)  # warms the file cache
        times = [seconds(command, quiet=True) for _ in range(repeats)]
        rows.append({"step": name, "seconds": statistics.median(times), "repeats": repeats})
    summary: dict[str, Any] = {
        "help_seconds": next(r["seconds"] for r in rows if r["step"] == "pdeflow --help"),
        "doctor_help_seconds": next(r["seconds"] for r in rows if r["step"] == "pdeflow doctor --help"),
        "fit_help_seconds": next(r["seconds"] for r in rows if r["step"] == "pdeflow fit --help"),
        "cores": os.cpu_count(),
        "quick": options.quick,
    }
    if not options.quick:
        for leftover in ("runs/demo", "data/demo"):
            shutil.rmtree(ROOT / leftover, ignore_errors=True)
        steps = demo_steps()
        times = [seconds(step, quiet=False) for step in steps]
        rows += [{"step": s, "seconds": t, "repeats": 1} for s, t in zip(steps, times)]
        summary = {"demo_seconds": sum(times), **summary}
    finish(options.json, rows, summary)


if __name__ == "__main__":
    main()
