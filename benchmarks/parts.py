"""The file of a benchmark that is run in parts, as hours without other work come.

A part is what ``--rows`` asks for by name; its rows have that name in ``case``, or begin with it and a comma.
Onto a file that is there, a run replaces the rows of its own parts, and the summary is made of all rows.
``parts`` in the file tells of each part with which command, at which commit and when it was measured, on
which machine and with which versions; ``missing`` which ones no run has measured. At the top stands what the
last run had.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.result import ROOT, command, finish, machine, versions, write


@functools.cache
def commit() -> str:
    """What is checked out, as it was when first asked; with a plus where files differ from it.

    Results and the README that is made of them do not count.
    """

    def told(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    made = (":(exclude)benchmarks/results", ":(exclude)README.md")
    try:
        differs = told("status", "--porcelain", "--", ".", *made)
        return told("rev-parse", "--short", "HEAD").strip() + ("+" if differs else "")
    except (OSError, subprocess.CalledProcessError):
        return "not known"


def part_of(row: dict[str, Any]) -> str:
    """The name of the part that a row belongs to."""
    return str(row["case"]).split(",")[0]


class Parts:
    """The rows of a run, and of the runs before it that its file is of.

    Parameters
    ----------
    path
        The file, or None.
    names
        Of all parts that there are, in the order of the file.
    settings
        What all parts of a file have in common, such as ``quick``.

    Raises
    ------
    SystemExit
        If the file is of other settings, or has parts that there are no more.
    """

    def __init__(self, path: Path | None, names: Sequence[str], **settings: Any) -> None:
        self.path, self.names, self.settings = path, names, settings
        self.rows: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        """What the file had."""
        self.parts: dict[str, dict[str, Any]] = {}
        self._run = {
            "command": command(),
            "commit": commit(),
            "machine": machine(),
            "versions": versions(),
            "load_average": os.getloadavg(),
        }
        if path is not None and path.is_file():
            self._read(path, json.loads(path.read_text()))

    def _read(self, path: Path, held: dict[str, Any]) -> None:
        self.rows, self.summary = held["rows"], held["summary"]
        of_file = {**self.summary, **held}
        for name, value in self.settings.items():
            if (other := of_file.get(name, value)) != value:
                raise SystemExit(f"{path} is of {name} {other}, this run of {value}: name another file")
        if gone := {part_of(row) for row in self.rows} - set(self.names):
            raise SystemExit(f"{path} has rows of {', '.join(sorted(gone))}, which are no more: remove them")
        # A file from before there were parts tells of all of its rows at the top.
        whole = {key: value for key, value in held.items() if key not in ("rows", "summary", *self.settings)}
        self.parts = held["parts"] if "parts" in held else {part_of(row): whole for row in self.rows}

    def add(self, name: str, rows: Sequence[dict[str, Any]], **more: Any) -> None:
        """Take the rows of a part, in place of those that it had, and what there is to tell of them."""
        kept = [*(row for row in self.rows if part_of(row) != name), *rows]
        self.rows = sorted(kept, key=lambda row: self.names.index(part_of(row)))
        self.parts[name] = {"date": time.strftime("%Y-%m-%d"), **self._run, **more}

    @property
    def missing(self) -> list[str]:
        """Names of the parts that were not measured."""
        return [name for name in self.names if name not in self.parts]

    def _told(self, more: dict[str, Any]) -> dict[str, Any]:
        parts = {name: self.parts[name] for name in self.names if name in self.parts}
        return {**self.settings, **more, "missing": self.missing, "parts": parts}

    def write(self, summary: dict[str, Any], **more: Any) -> None:
        """Write what is there, so that it is kept if a later part ends the run."""
        if self.path is not None:
            write(self.path, self.rows, summary, **self._told(more))

    def finish(self, summary: dict[str, Any], **more: Any) -> None:
        """Print all rows and the summary, and write the file."""
        finish(self.path, self.rows, summary, **self._told(more))
        if self.missing:
            print(f"not measured: {', '.join(self.missing)}")
