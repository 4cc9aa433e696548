"""Loops in C for the CPU, compiled on first use and kept; whoever calls them has an eager form as well.

``library("multigrid")`` compiles ``multigrid.c`` of this folder with the machine's C compiler (``CC``, else
``cc``) for the processor at hand, and loads it through ctypes, which releases the GIL. The library is kept
in ``$PDEFLOW_CACHE``, by default ``~/.cache/pdeflow``, under a name that changes with the source, the flags,
the compiler and the processor, so that a compilation is paid once a machine: about two seconds, shown by
``pdeflow doctor``.

Where there is no compiler, ``library`` warns once, with the reason, and gives None; the eager form then does
the same work, slower, to the same numbers up to rounding. ``PDEFLOW_NATIVE=0`` chooses the eager forms.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import stat
import subprocess
import tempfile
import time
import warnings
from pathlib import Path

SOURCES = Path(__file__).resolve().parent
FLAGS = ("-std=c11", "-O3", "-fopenmp-simd", "-ffp-contract=fast", "-fno-math-errno", "-fPIC", "-shared")
TUNED = ("-march=native",)

compile_seconds: dict[str, float] = {}
"""What this process spent on compiling, by library; a library from the cache is not in it."""


def enabled() -> bool:
    """Whether the compiled loops may be used: ``PDEFLOW_NATIVE`` is not 0."""
    return os.environ.get("PDEFLOW_NATIVE", "1") != "0"


@functools.cache
def _load(name: str) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(str(_compiled(name)))
    except (OSError, subprocess.SubprocessError) as error:
        reason = getattr(error, "stderr", None) or str(error)
        warnings.warn(
            f"The compiled loops of pdeflow.linalg ({name}.c) are not used: {reason.strip()[:500]}\n"
            "Solves are several times slower. Install a C compiler, or name one in CC; PDEFLOW_NATIVE=0 "
            "silences this.",
            RuntimeWarning,
            stacklevel=3,
        )
        return None


def library(name: str) -> ctypes.CDLL | None:
    """The library compiled from ``name.c``, or None where that cannot be or is not wanted."""
    return _load(name) if enabled() else None


def cache_folder() -> Path:
    """Where compiled libraries are kept; made if need be, for this user alone.

    Raises
    ------
    OSError
        If the folder belongs to, or can be written by, somebody else: what lies in it gets executed.
    """
    home = os.environ.get("PDEFLOW_CACHE") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(home) / ("native" if os.environ.get("PDEFLOW_CACHE") else "pdeflow/native")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if os.name == "posix":
        found = folder.stat()
        if found.st_uid != os.getuid() or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise PermissionError(
                f"{folder} can be written by others, and what lies in it would be executed. "
                f"Run: chmod 700 {folder} (or name another folder in PDEFLOW_CACHE)"
            )
    return folder


def compiler() -> str:
    """The path of the C compiler.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    wanted = os.environ.get("CC", "cc")
    found = shutil.which(wanted)
    if found is None:
        raise FileNotFoundError(f"no C compiler ({wanted!r} is not on the PATH)")
    return found


@functools.cache
def _machine(command: str) -> str:
    """What code is made for: compiler and processor."""
    version = subprocess.run([command, "--version"], capture_output=True, text=True, check=True).stdout
    info = Path("/proc/cpuinfo")
    flags = (
        next((s for s in info.read_text().splitlines() if s.startswith("flags")), "") if info.exists() else ""
    )
    return "\n".join((version, platform.machine(), platform.processor(), flags))


def _compiled(name: str) -> Path:
    source = SOURCES / f"{name}.c"
    command = compiler()
    text = "".join(path.read_text() for path in (source, *sorted(SOURCES.glob("*.h"))))
    identity = "\0".join((text, *FLAGS, *TUNED, _machine(command)))
    target = cache_folder() / f"{name}-{hashlib.sha256(identity.encode()).hexdigest()[:24]}.so"
    if target.exists():
        return target
    start = time.perf_counter()
    handle, made = tempfile.mkstemp(suffix=".so", dir=target.parent)
    os.close(handle)
    try:
        base = [command, *FLAGS]
        tail = [str(source), "-o", made, "-lm"]
        done = subprocess.run([*base, *TUNED, *tail], capture_output=True, text=True, check=False)
        if done.returncode:  # a compiler that does not know the processor
            subprocess.run([*base, *tail], capture_output=True, text=True, check=True)
        os.replace(made, target)
    finally:
        Path(made).unlink(missing_ok=True)
    compile_seconds[name] = time.perf_counter() - start
    return target
