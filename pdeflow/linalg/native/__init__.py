"""Loops in C for the CPU, compiled on first use and kept; whoever calls them has an eager form as well.

``library("multigrid")`` compiles ``multigrid.c`` of this folder with the machine's C compiler (``CC``, else
``cc``) for the processor at hand, and loads it through ctypes, which releases the GIL. The library is kept
in ``$PDEFLOW_CACHE``, by default ``~/.cache/pdeflow``, under a name that changes with the source, the flags,
the compiler and the processor, so that a compilation is paid once a machine: about two seconds, shown by
``pdeflow doctor``. The name ends with the size of the file, by which one that was cut short is found out.

Where there is no compiler, ``library`` warns once, with the reason, and gives None; the eager form then does
the same work, slower, to the same numbers up to rounding. ``PDEFLOW_NATIVE=0`` chooses the eager forms.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
import threading
import time
import warnings
from pathlib import Path

SOURCES = Path(__file__).resolve().parent
FLAGS = ("-std=c11", "-O3", "-fopenmp-simd", "-ffp-contract=fast", "-fno-math-errno", "-fPIC", "-shared")
TUNED = ("-march=native",)

compile_seconds: dict[str, float] = {}
"""What this process spent on compiling, by library; a library from the cache is not in it."""

_loaded: dict[str, ctypes.CDLL | None] = {}
_loading = threading.Lock()  # threads that meet at the first solve compile once


def enabled() -> bool:
    """Whether the compiled loops may be used: ``PDEFLOW_NATIVE`` is not 0."""
    return os.environ.get("PDEFLOW_NATIVE", "1") != "0"


def _load(name: str) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(str(compiled(name)))
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
    if not enabled():
        return None
    if name not in _loaded:
        with _loading:
            if name not in _loaded:
                _loaded[name] = _load(name)
    return _loaded[name]


def cache_folder() -> Path:
    """Where compiled libraries are kept; made if need be, for this user alone.

    Raises
    ------
    OSError
        If there is no home folder, or the folder belongs to, or can be written by, somebody else: what lies
        in it gets executed.
    """
    home = os.environ.get("PDEFLOW_CACHE") or os.environ.get("XDG_CACHE_HOME")
    if not home:
        try:
            home = Path.home() / ".cache"
        except RuntimeError as error:  # HOME is not set, and the system does not know the user
            message = "there is no home folder to keep them in; name another folder in PDEFLOW_CACHE"
            raise FileNotFoundError(message) from error
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


def compiler() -> tuple[str, ...]:
    """The C compiler: its path and the arguments that ``CC`` has for it, as in ``CC="ccache gcc"``.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    wanted = os.environ.get("CC", "").strip() or "cc"
    whole = shutil.which(wanted)  # a path may hold spaces
    if whole is not None:
        return (whole,)
    with contextlib.suppress(ValueError):  # a quotation that does not end
        program, *arguments = shlex.split(wanted)
        found = shutil.which(program)
        if found is not None:
            return (found, *arguments)
    raise FileNotFoundError(f"no C compiler ({wanted!r} is not on the PATH)")


@functools.cache
def _machine(command: tuple[str, ...]) -> str:
    """What code is made for: compiler and processor."""
    version = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True).stdout
    info = Path("/proc/cpuinfo")
    features = processor_features(info.read_text()) if info.exists() else ""
    return "\n".join((*command[1:], version, platform.machine(), platform.processor(), features))


def processor_features(cpuinfo: str) -> str:
    """The line of ``/proc/cpuinfo`` with the instruction sets: ``flags`` on x86, ``Features`` on ARM."""
    lines = cpuinfo.splitlines()
    return next((line for line in lines if line.startswith(("flags", "Features"))), "")


def _kept(folder: Path, stem: str) -> Path | None:
    """The library of this name, if it is whole; what a full disk or a crash cut short is deleted."""
    for path in folder.glob(f"{stem}-*.so"):
        if path.stem == f"{stem}-{path.stat().st_size}":
            return path
        path.unlink(missing_ok=True)
    return None


def compiled(name: str) -> Path:
    """The library made from ``name.c``, compiled unless the cache has it."""
    source = SOURCES / f"{name}.c"
    command = compiler()
    text = "".join(path.read_text() for path in (source, *sorted(SOURCES.glob("*.h"))))
    identity = "\0".join((text, *FLAGS, *TUNED, _machine(command)))
    folder, stem = cache_folder(), f"{name}-{hashlib.sha256(identity.encode()).hexdigest()[:24]}"
    kept = _kept(folder, stem)
    if kept is not None:
        return kept
    start = time.perf_counter()
    handle, made = tempfile.mkstemp(suffix=".so", dir=folder)
    os.close(handle)
    try:
        base = [*command, *FLAGS]
        tail = [str(source), "-o", made, "-lm"]
        done = subprocess.run([*base, *TUNED, *tail], capture_output=True, text=True, check=False)
        if done.returncode:  # a compiler that does not know the processor
            subprocess.run([*base, *tail], capture_output=True, text=True, check=True)
        target = folder / f"{stem}-{Path(made).stat().st_size}.so"
        os.replace(made, target)
    finally:
        Path(made).unlink(missing_ok=True)
    compile_seconds[name] = time.perf_counter() - start
    return target
