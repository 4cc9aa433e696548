"""Our side of the pipe to a peer's process."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.result import ROOT

ONE_THREAD = {
    name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS")
}
PETSC_PYTHON = ROOT / ".venv-peers" / "bin" / "python"
PETSC_BUILDS = Path("/usr/lib/petscdir")


class Absent(Exception):
    """The peer is not on this machine."""


class Worker:
    """A process that is started on the first request, and again after it died or was stopped."""

    def __init__(self, command: Sequence[str | Path], environment: dict[str, str]) -> None:
        self.command, self.environment = [str(part) for part in command], environment
        self._process: subprocess.Popen[str] | None = None
        self._loaded: Path | None = None

    def _start(self) -> subprocess.Popen[str]:
        if not Path(self.command[0]).exists():
            raise Absent
        variables = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        return subprocess.Popen(
            self.command,
            cwd=ROOT,
            env=variables | ONE_THREAD | self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, request: dict[str, Any], limit: float) -> dict[str, Any]:
        """The answer; ``{"error": ...}`` where the peer failed, died, or took more than ``limit`` seconds."""
        if self._process is None:
            self._process = self._start()
            if self._loaded is not None and "load" not in request:
                self._exchange({"load": str(self._loaded)}, 120)
        return self._exchange(request, limit)

    def load(self, path: Path) -> None:
        """Give the peer a set of systems, in a fresh process."""
        self.stop()
        self._loaded = path
        answer = self.ask({"load": str(path)}, 120)
        if "error" in answer:
            raise RuntimeError(f"{self.command}: {answer['error']}")

    def _exchange(self, request: dict[str, Any], limit: float) -> dict[str, Any]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        except BrokenPipeError:
            self.stop()
            return {"error": "its process died"}
        # There is never more than one answer under way, so nothing hides in the text buffer.
        if not select.select([process.stdout], [], [], limit)[0]:
            self.stop()
            return {"error": f"more than {limit:.0f} s"}
        line = process.stdout.readline()
        if not line:
            self.stop()
            return {"error": "its process died"}
        return json.loads(line)

    def stop(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def python_worker() -> Worker:
    """SciPy, PyAMG and torch-sla, with the NumPy, SciPy and torch that pdeflow runs with."""
    return Worker([sys.executable, "-m", "benchmarks.peers.python_worker"], {})


def scipy_worker() -> Worker:
    """SciPy's Krylov methods on sequences, with pdeflow's preconditioners."""
    return Worker([sys.executable, "-m", "benchmarks.peers.scipy_worker"], {"PYTHONPATH": str(ROOT)})


def petsc_worker(scalar: str = "real") -> Worker:
    """PETSc, in the environment that ``make peers`` makes; ``scalar`` is ``real`` or ``complex``."""
    build = next(iter(sorted(PETSC_BUILDS.glob(f"petsc*/*-{scalar}"))), None)
    command = [PETSC_PYTHON if build else Path("no build of PETSc"), "-m", "benchmarks.peers.petsc_worker"]
    return Worker(command, {"PETSC_DIR": str(build)})
