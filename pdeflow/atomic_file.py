"""A file that appears under its name only when it is whole: write ``*.partial``, check, fsync, rename."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from pdeflow.errors import PdeflowError, WriteFailed

_REASONS = {
    errno.ENOSPC: ("the disk is full", "Free some space"),
    errno.EDQUOT: ("the disk quota is used up", "Free some space, or ask for a larger quota"),
    errno.EFBIG: ("the file exceeds the size that this system allows", "Raise the limit (ulimit -f)"),
    errno.EACCES: ("there is no permission to write there", "Choose a folder that you can write to"),
    errno.EROFS: ("the file system is read-only", "Choose a folder that you can write to"),
    errno.ENOENT: ("the folder does not exist", "Create the folder"),
    errno.EEXIST: ("a file lies where a folder is needed", "Choose another folder"),
    errno.ENOTDIR: ("a file lies where a folder is needed", "Choose another folder"),
    errno.EPERM: ("there is no permission to write there", "Choose a folder that you can write to"),
    errno.EAGAIN: ("another process is writing this file", "Wait for it to end"),
}


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A stream for the new content of ``path``, which takes the place of the old when the block ends.

    After an error, or a kill, ``path`` is what it was before.

    Raises
    ------
    WriteFailed
        If the operating system refuses.
    """
    try:
        with explain_write_errors(path), partial_path(path).open("wb") as stream:
            yield stream
        publish(path)
    except BaseException:
        discard(path)
        raise


def write_bytes(path: str | os.PathLike[str], content: bytes) -> None:
    """Replace the content of a file; see :func:`replacing`."""
    with replacing(path) as stream:
        stream.write(content)


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Replace a file by a JSON value, keys in their order; see :func:`replacing`."""
    write_bytes(path, (json.dumps(value, indent=1) + "\n").encode())


def partial_path(path: str | os.PathLike[str]) -> Path:
    """Where the file lies while it is being written: the same folder, ``.partial`` appended."""
    path = Path(path)
    return path.with_name(path.name + ".partial")


@contextlib.contextmanager
def explain_write_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn an error of the operating system, or of HDF5 about it, into :class:`WriteFailed`."""
    try:
        yield
    except PdeflowError:
        raise
    except (OSError, RuntimeError) as error:
        reason = _reason(error)
        if reason is None and not isinstance(error, OSError):
            raise
        what, hint = reason or (str(error), "Mend this")
        raise WriteFailed(
            f"{path}: cannot be written, because {what}.\n"
            "What was written and recorded before is intact; the unfinished file was not given this name.\n"
            f"{hint}, then run the same command again."
        ) from error


def publish(path: str | os.PathLike[str]) -> Path:
    """Flush ``path.partial`` to the disk, then give it the name ``path`` in one step.

    The folder is flushed too, so that after a power cut either the old or the whole new file is there.

    Raises
    ------
    WriteFailed
        If the operating system refuses.
    """
    final, partial = Path(path), partial_path(path)
    with explain_write_errors(final):
        with open(partial, "rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(partial, final)
        folder = os.open(final.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    return final


def discard(path: str | os.PathLike[str]) -> None:
    """Remove ``path.partial`` if it is there."""
    with contextlib.suppress(FileNotFoundError):
        partial_path(path).unlink()


def _reason(error: BaseException) -> tuple[str, str] | None:
    number = getattr(error, "errno", None)
    if number in _REASONS:
        return _REASONS[number]
    # HDF5 reports a failed flush as a RuntimeError that carries the number only in its text.
    text = str(error)
    return next((why for code, why in _REASONS.items() if os.strerror(code) in text), None)
