"""A SLURM of one machine: ``install(folder)`` makes sbatch, srun, sacct, squeue, scancel.

Jobs are process groups; what is known of them lies in the folder ``FAKE_SLURM``. It knows just what submitit
and dask-jobqueue ask of a SLURM.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = ("sbatch", "srun", "sacct", "squeue", "scancel")


def install(folder: Path) -> dict[str, str]:
    """Put the commands into a folder, and return the environment in which they are found."""
    bin = folder / "bin"
    bin.mkdir(parents=True)
    for name in COMMANDS:
        script = bin / name
        script.write_text(f'#!/bin/sh\nexec {sys.executable} -S {Path(__file__)} {name} "$@"\n')
        script.chmod(0o755)
    (folder / "jobs").mkdir()
    return {"PATH": f"{bin}{os.pathsep}{os.environ['PATH']}", "FAKE_SLURM": str(folder / "jobs")}


def groups() -> dict[str, int]:
    """Process group of every job, ``ID`` or ``ID_TASK``."""
    return {path.name: int(path.read_text()) for path in Path(os.environ["FAKE_SLURM"]).glob("*[0-9]")}


def runs(group: int) -> bool:
    """Whether a process of a group is alive; the dead that nobody has waited for do not count."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] not in "ZX":
            return True
    return False


def sbatch(words: list[str]) -> int:
    """Start every task of a script at once."""
    text = sys.stdin.read() if words == ["--test-only"] else Path(words[-1]).read_text()
    if "partition=nowhere" in text or "-p nowhere" in text:
        print("sbatch: error: invalid partition specified: nowhere", file=sys.stderr)
        return 1
    if words == ["--test-only"]:
        return 0
    home = Path(os.environ["FAKE_SLURM"])
    number = 100 + len(list(home.glob("*.sh")))
    script = home / f"{number}.sh"
    script.write_text(text)
    array = re.search(r"--array=0-(\d+)", text)
    for task in range(int(array[1]) + 1) if array else [None]:
        name = f"{number}" if task is None else f"{number}_{task}"
        variables = {"SLURM_JOB_ID": str(number)}
        if task is not None:
            variables |= {"SLURM_ARRAY_JOB_ID": str(number), "SLURM_ARRAY_TASK_ID": str(task)}
        with (home / f"{name}.out").open("wb") as out:
            process = subprocess.Popen(
                ["bash", script], env={**os.environ, **variables},
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        (home / name).write_text(str(process.pid))
    print(f"Submitted batch job {number}")
    return 0


def srun(words: list[str]) -> int:
    """Run a command, its output in files."""
    out, error = (words[words.index(key) + 1] for key in ("--output", "--error"))
    command = words[words.index("--error") + 2 :]
    number, task = os.environ["SLURM_JOB_ID"], os.environ.get("SLURM_ARRAY_TASK_ID", "")
    paths = [p.replace("%j", number).replace("%A", number).replace("%a", task) for p in (out, error)]
    with open(paths[0], "a") as stdout, open(paths[1], "a") as stderr:
        return subprocess.run(command, stdout=stdout, stderr=stderr).returncode


def sacct(words: list[str]) -> int:
    """The state of all jobs."""
    print("JobID|State")
    for name, group in groups().items():
        print(f"{name}|{'RUNNING' if runs(group) else 'COMPLETED'}")
    return 0


def squeue(words: list[str]) -> int:
    """The jobs that run, among those that are asked for."""
    asked = words[words.index("-j") + 1].split(",")
    for name, group in groups().items():
        if name in asked and runs(group):
            print(name)
    return 0


def scancel(words: list[str]) -> int:
    """End jobs."""
    for name, group in groups().items():
        if name in words and runs(group):
            os.killpg(group, signal.SIGTERM)
            end = time.monotonic() + 2
            while runs(group) and time.monotonic() < end:
                time.sleep(0.05)
            if runs(group):
                os.killpg(group, signal.SIGKILL)
    return 0


if __name__ == "__main__":
    sys.exit(globals()[sys.argv[1]](sys.argv[2:]))
