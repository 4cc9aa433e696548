"""Errors as the user sees them: at most five lines on stderr, an exit code, no traceback."""

from __future__ import annotations

import os
import sys
import textwrap
import traceback
from collections.abc import Sequence

from pdeflow.errors import InvalidInput, NoSuchFile, PdeflowError

MAX_LINES = 5
USAGE, FAILURE, INTERRUPTED = 2, 1, 130


class UsageError(InvalidInput):
    """The command itself is wrong: an unknown verb, option, key, class or config name."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with the sentence that says how to go on."""


def explain(error: BaseException, arguments: Sequence[str]) -> int:
    """Print ``error`` in at most five lines and return the exit code for it."""
    if os.environ.get("PDEFLOW_TRACEBACK", "0") not in ("", "0"):
        traceback.print_exception(type(error), error, error.__traceback__)
    code, lines = _describe(error, arguments)
    print("\n".join(_fit("pdeflow: " + lines[0], lines[1:])), file=sys.stderr)
    return code


def _fit(first: str, rest: Sequence[str]) -> list[str]:
    """Keep the first line, then the last ones (what to do next) rather than the middle."""
    lines = [line for text in (first, *rest) for line in text.splitlines() if line.strip()]
    lines = [textwrap.shorten(line, 400, placeholder=" ...") if len(line) > 400 else line for line in lines]
    return lines if len(lines) <= MAX_LINES else [*lines[:3], *lines[-2:]]


def _describe(error: BaseException, arguments: Sequence[str]) -> tuple[int, list[str]]:
    # The library names an argument as Python does.
    text = str(error).strip().replace("overwrite=True", "--overwrite")
    if isinstance(error, Interrupted):
        return INTERRUPTED, text.splitlines()
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, ["interrupted.", _resume_hint(arguments)]
    if isinstance(error, InvalidInput):
        return USAGE, text.splitlines()
    if isinstance(error, NoSuchFile) and (command := _making(error.path)):
        return FAILURE, [f"{error.path}: no such file. Check the path, or make the file:", command]
    if isinstance(error, PdeflowError):
        return FAILURE, (text or type(error).__name__).splitlines()
    if isinstance(error, OSError):
        return FAILURE, _describe_os(error)
    kind = type(error).__name__
    if isinstance(error, MemoryError) or kind == "OutOfMemoryError":
        smaller = "grid (--resolution) or chain" if _verb(arguments) == "generate" else "batch, grid or model"
        return FAILURE, ["out of memory.", f"Try a smaller {smaller}."]
    if kind == "MisconfigurationException":  # Lightning's own word for options that cannot work together
        return USAGE, [*text.splitlines()[:3], f"Run: pdeflow {_verb(arguments)} --help"]
    first = text.splitlines()[0] if text else "no message"
    return FAILURE, [
        f"{kind}: {first}",
        "This is not an error pdeflow knows, so it may be a bug in pdeflow.",
        f"Run again with --traceback to see where it comes from: pdeflow {_verb(arguments)} ... --traceback",
    ]


def _describe_os(error: OSError) -> list[str]:
    import errno

    where = error.filename if error.filename is not None else str(error)
    if isinstance(error, FileNotFoundError):
        command = _making(str(where))
        made = f"To make it: {command}" if command else ""
        return [f"{where}: no such file or folder.", _near_files(where), made]
    if isinstance(error, IsADirectoryError):
        return [f"{where}: is a folder, a file was expected."]
    if isinstance(error, PermissionError):
        return [f"{where}: permission denied.", "Choose another place, or run: pdeflow doctor"]
    if error.errno == errno.ENOSPC:
        return [
            f"{where}: the disk is full.",
            "Nothing already written is lost. Free some space, then run the same command again.",
        ]
    return [f"{where}: {error.strerror or error}"]


def _near_files(where: object) -> str:
    """Names in the same folder that look like the missing one."""
    import difflib
    from pathlib import Path

    path = Path(str(where))
    try:
        present = [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return f"The folder {path.parent} does not exist either."
    near = difflib.get_close_matches(path.name, present, n=3, cutoff=0.5)
    return f"Nearest: {', '.join(str(path.parent / name) for name in near)}." if near else ""


def _making(path: str) -> str:
    """The command that makes a data file, where a shipped config or recipe says which one does."""
    from pdeflow.cli.lookup import making

    return making(path)


def _verb(arguments: Sequence[str]) -> str:
    return arguments[0] if arguments and not arguments[0].startswith("-") else ""


def _resume_hint(arguments: Sequence[str]) -> str:
    if _verb(arguments) == "generate":
        return "What was generated is kept: run the same command again to go on from there."
    return ""
