"""What has been generated so far: one checked line a shard, appended and synced."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import stat
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from pdeflow.atomic_file import explain_write_errors
from pdeflow.errors import CorruptFile, InvalidInput
from pdeflow.generate.recipe import Recipe

# What each line after the first says of a shard.
_ROW = ("chain", "samples", "sha256", "seconds", "iterations", "residual", "statuses")


def sha256(path: Path) -> str:
    """Hex digest of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def differing_key(ours: dict[str, Any], theirs: dict[str, Any]) -> str:
    """The first key in which two recipe descriptions differ, with both values."""
    for key in sorted(set(ours) | set(theirs)):
        if ours.get(key) != theirs.get(key):
            return f"{key} = {theirs.get(key)!r} there, {ours.get(key)!r} here"
    return "nothing that is named"


def _damaged(shard: Path, why: str) -> CorruptFile:
    hint = "Run the same command again: it solves this chain again, and keeps the rest."
    return CorruptFile(f"{shard}: is damaged ({why}).\n{hint}")


class Manifest:
    """The folder ``OUTPUT.parts``: shards that are whole, and ``manifest.jsonl`` that lists them.

    The first line of the list is the recipe; each further line is one shard with its checksum, and is
    appended only after the shard lies under its final name. A line cut short by a kill is dropped on
    opening, so a shard is either recorded or generated again.

    Tasks of a SLURM array put their shards, each with its line beside it, into a folder ``array-*`` of their
    own; `collect` takes them over.
    """

    def __init__(self, output: Path, recipe: Recipe) -> None:
        self.folder = output.with_name(output.name + ".parts")
        self.path = self.folder / "manifest.jsonl"
        self.plan = self.folder / "plan.json"
        self.recipe = recipe
        self.rows: dict[int, dict[str, Any]] = {}

    def shard(self, chain: int) -> Path:
        """Where the shard of a chain lies."""
        return self.folder / f"chain-{chain:06d}.shard"

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder alone; a second process on the same output is told so.

        What fails before a shard is written leaves no folder.

        Raises
        ------
        InvalidInput
            If another process generates into the same output.
        """
        file = self._lock()
        with file:
            try:
                yield
            except BaseException:
                self._discard_if_empty()
                raise

    def _lock(self) -> IO[str]:
        lock = self.folder / "lock"
        while True:
            with explain_write_errors(self.folder):
                self.folder.mkdir(parents=True, exist_ok=True)
                file = lock.open("w")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                file.close()
                raise InvalidInput(
                    "output",
                    str(self.folder),
                    "a folder that no other process is writing",
                    "Wait for the other `pdeflow generate`, or choose another output.",
                ) from None
            # The process before may have removed the folder between our opening and our locking.
            if lock.exists() and os.path.samestat(os.fstat(file.fileno()), lock.stat()):
                return file
            file.close()

    def _discard_if_empty(self) -> None:
        left = {entry.name for entry in self.folder.glob("*") if not entry.name.startswith("gone-")}
        if left <= {"lock", self.path.name, self.plan.name}:
            shutil.rmtree(self.folder, ignore_errors=True)

    def open(self, overwrite: bool = False) -> None:
        """Read what is recorded, or start the list.

        Parameters
        ----------
        overwrite
            Discard shards of another recipe. Those of this recipe stay: they are what an interrupted
            ``--overwrite`` has done so far.

        Raises
        ------
        InvalidInput
            If the folder belongs to another recipe; the message names the key that differs.
        CorruptFile
            If the list cannot be read.
        """
        self._remove_ended()
        lines = self._whole_lines(overwrite)
        ours = json.loads(json.dumps(self.recipe.describe()))
        if lines and lines[0] != {"recipe": ours}:
            if not overwrite:
                raise InvalidInput(
                    "output",
                    str(self.folder),
                    f"an unfinished output of this recipe; {differing_key(ours, lines[0].get('recipe', {}))}",
                    "Go on with the old recipe, choose another output, or discard it with overwrite=True.",
                )
            lines = []
        if not lines:
            for shard in self.folder.glob("chain-*"):
                shard.unlink()
            for array in self._arrays():
                self.end_array(array)
            self.plan.unlink(missing_ok=True)
            with self.path.open("w") as file:
                self._append(file, {"recipe": ours})
        self.rows = {row["chain"]: row for row in lines[1:]}

    def _whole_lines(self, overwrite: bool) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        text = self.path.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        if len(whole) < len(text):
            with self.path.open("r+b") as file:
                file.truncate(len(whole))
        try:
            lines = [json.loads(line) for line in whole.splitlines()]
            if not all(isinstance(line, dict) for line in lines):
                raise ValueError("a line is no object")
            if not all(set(_ROW) <= set(line) for line in lines[1:]):
                raise ValueError(f"a line lacks one of {', '.join(_ROW)}")
        except ValueError as error:
            if overwrite:
                return []
            raise CorruptFile(
                f"{self.path}: not a list of shards ({error}).\nDiscard it with overwrite=True."
            ) from error
        return lines

    def _append(self, file: Any, row: dict[str, Any]) -> None:
        file.write(json.dumps(row, sort_keys=True) + "\n")
        file.flush()
        os.fsync(file.fileno())

    def record(self, row: dict[str, Any]) -> None:
        """Append one shard to the list."""
        with self.path.open("a") as file:
            self._append(file, row)
        self.rows[row["chain"]] = row

    def adopt(self) -> None:
        """Record what tasks of an array have left behind, and end that array, which may still run."""
        for array in self._arrays():
            for row in self.collect(array):
                # A kill between the record and the end of `collect` leaves a line that is recorded already.
                if self.rows.get(row["chain"], {}).get("sha256") != row["sha256"]:
                    self.record(row)
            self.end_array(array)

    def new_array(self) -> Path:
        """A folder for the tasks of an array, which only its owner can write to, replace, or look into.

        The tasks read pickles from there.

        Raises
        ------
        InvalidInput
            If the folder of the parts is somebody else's, who could put another one in its place.
        """
        try:
            self.folder.chmod(self.folder.stat().st_mode & ~(stat.S_IWGRP | stat.S_IWOTH))
        except PermissionError as error:
            raise InvalidInput(
                "output",
                str(self.folder),
                f"a folder that is yours ({error.strerror}): the tasks of an array read pickles from there, "
                "which can run any code",
                "Let its owner go on with it or remove it, or choose another output.",
            ) from error
        array = self.folder / f"array-{uuid.uuid4().hex[:8]}"
        array.mkdir(mode=0o700)
        return array

    def _arrays(self) -> list[Path]:
        return sorted(self.folder.glob("array-*"))

    def collect(self, array: Path) -> Iterator[dict[str, Any]]:
        """Put the shards that are whole in an array's folder into their places, and yield their lines."""
        for line in sorted(array.glob("chain-*.json")):
            row = json.loads(line.read_text())
            shard, place = line.with_suffix(".shard"), self.shard(row["chain"])
            # A kill between the replacement and the end leaves the line, and the shard in its place.
            lies = shard if shard.exists() else place
            if lies.exists() and sha256(lies) == row["sha256"]:
                os.replace(lies, place)
                yield row
            line.unlink()

    def end_array(self, array: Path) -> None:
        """Remove the folder of an array; a task that still runs finds it gone, and ends."""
        # In one step, so that a task cannot put a file into a folder that is being emptied.
        os.replace(array, array.with_name(f"gone-{array.name}"))
        self._remove_ended()

    def _remove_ended(self) -> None:
        # A task may still hold a file open in there, which NFS keeps: what is left goes the next time.
        for gone in self.folder.glob("gone-*"):
            shutil.rmtree(gone, ignore_errors=True)

    def discard(self) -> None:
        """Remove the folder of a finished output; what cannot be removed is no shard of a later run."""
        self.path.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def missing(self) -> list[int]:
        """The chains still to do: not recorded, or recorded with a shard that is gone or damaged."""
        todo = []
        for chain in range(self.recipe.chains):
            row = self.rows.get(chain)
            shard = self.shard(chain)
            if row is None or not shard.exists() or sha256(shard) != row["sha256"]:
                todo.append(chain)
        return todo

    def read(self, chain: int) -> bytes:
        """The shard of a recorded chain, its bytes compared with the checksum.

        Raises
        ------
        CorruptFile
            If it is gone, or its bytes are not those that were recorded.
        """
        shard = self.shard(chain)
        try:
            content = shard.read_bytes()
        except OSError as error:
            raise _damaged(shard, str(error)) from error
        if hashlib.sha256(content).hexdigest() != self.rows[chain]["sha256"]:
            raise _damaged(shard, "its bytes are not those of its checksum")
        return content
