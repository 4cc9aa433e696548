"""What SLURM's queue says of jobs."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

# How often a wait for jobs asks whether they are still there.
QUEUE_SECONDS = 30


def in_queue(jobs: Sequence[str]) -> bool:
    """Whether one of the jobs waits or runs; also while SLURM gives no answer."""
    states = "PENDING,RUNNING,SUSPENDED,COMPLETING,CONFIGURING"
    command = ["squeue", "--noheader", f"--states={states}", f"--jobs={','.join(jobs)}"]
    asked = subprocess.run(command, capture_output=True, text=True)
    if asked.returncode and "Invalid job id" not in asked.stderr:
        return True
    return bool(asked.stdout.strip())
