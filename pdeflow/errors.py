"""The errors that a user can mend, worded the same everywhere.

Every message names the argument or key, what it got, what it expected, and what to try next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """The names nearest to one that is not among them, at most three, best first; case does not count."""
    spellings: dict[str, list[str]] = {}
    for entry in known:
        spellings.setdefault(entry.lower(), []).append(entry)
    near = difflib.get_close_matches(name.lower(), spellings, n=3, cutoff=0.5)
    return [spelling for entry in near for spelling in spellings[entry]][:3]


class PdeflowError(Exception):
    """Base of every error that pdeflow raises on purpose; the command line prints it without a traceback."""


class InvalidInput(PdeflowError, ValueError):
    """An argument, key or array that cannot be used.

    Parameters
    ----------
    name
        The argument or key, as the user wrote it (``"data.resolution"``).
    got
        The offending value; long values are cut.
    expected
        What would have been accepted, as a noun phrase.
    hint
        The next thing to try, as a sentence.
    choices
        Known names; the ones nearest to ``got`` are offered.
    """

    def __init__(
        self, name: str, got: object, expected: str, hint: str = "", *, choices: Iterable[str] = ()
    ) -> None:
        self.name, self.got, self.expected, self.hint = name, got, expected, hint
        self.choices = tuple(choices)
        shown = repr(got)
        shown = shown if len(shown) <= 120 else shown[:117] + "..."
        lines = [f"{name}: got {shown}, expected {expected}."]
        known = sorted(self.choices)
        near = nearest(str(got), known)
        if near:
            lines.append(f"Nearest: {', '.join(near)}.")
        elif known:
            lines.append(f"Known: {', '.join(known[:12])}{', ...' if len(known) > 12 else ''}.")
        if hint:
            lines.append(hint)
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[Any, ...]:
        """As it stands: a worker process sends it to the one that waits for it."""
        return _remade, (type(self), self.args, self.__dict__)


def _remade(kind: type[InvalidInput], arguments: tuple[Any, ...], state: dict[str, Any]) -> InvalidInput:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(state)
    return error


class CorruptFile(PdeflowError, OSError):
    """A file that is truncated, damaged, or not of the format its name says."""


class NoSuchFile(CorruptFile):
    """A data file that is not there; ``path`` says where it was looked for, where that is known."""

    path: str = ""


class UnsafeFile(PdeflowError, OSError):
    """A file that asks for something a data file must not do: run code, or reach into other files."""


class WriteFailed(PdeflowError, OSError):
    """The operating system refused to write (disk full, no permission); the old file, if any, is intact."""


class NumericalFailure(PdeflowError, ArithmeticError):
    """A computation that did not give a usable answer (no convergence, NaN, breakdown)."""


class MissingDependency(PdeflowError, ImportError):
    """An optional package is needed and absent; the message says what to install."""
