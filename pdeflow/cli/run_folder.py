"""The folder of a training run: its name, and the files in it that the verbs use."""

from __future__ import annotations

import json
import os
from pathlib import Path

from pdeflow.cli.failure import UsageError
from pdeflow.errors import CorruptFile

RUNS = Path("runs")
# Set by the first process of a distributed run before it starts the others, which then share its folder.
SHARED = "PDEFLOW_RUN_FOLDER"


class RunFolder:
    """Paths inside ``runs/<name>``; see `claim` for a new one and `open` for one that exists.

    Parameters
    ----------
    path
        The folder.
    ensemble
        The folder of the run, where this one is of one of its members: the config is there.
    """

    def __init__(self, path: Path, ensemble: RunFolder | None = None) -> None:
        self.path, self.ensemble = path, ensemble
        self.config = ensemble.config if ensemble else path / "config.yaml"
        self.checkpoints = path / "checkpoints"
        self.last = self.checkpoints / "last.ckpt"
        self.best = self.checkpoints / "best.ckpt"
        self.test = path / "test"
        self.metrics = self.test / "metrics.json"
        self.report = path / "report.html"
        self.ended = path / "ended.json"

    def __str__(self) -> str:
        try:
            return str(self.path.resolve().relative_to(Path.cwd()))
        except ValueError:
            return str(self.path)

    @classmethod
    def claim(cls, name: str) -> tuple[RunFolder, bool]:
        """Make the folder of a new run and say whether ``name`` was free.

        A name without a separator lies in ``runs/``. A folder that is there already is never written into:
        ``-2``, ``-3``, ... is appended, and ``mkdir`` decides between two runs that start at once.
        """
        if SHARED in os.environ:
            return cls(Path(os.environ[SHARED])), True
        wanted = Path(name) if len(Path(name).parts) > 1 or Path(name).is_absolute() else RUNS / name
        path, number = wanted, 1
        while True:
            try:
                path.mkdir(parents=True)
                break
            except FileExistsError:
                if path == wanted and path.is_dir() and not any(path.iterdir()):
                    break
                number += 1
                path = wanted.with_name(f"{wanted.name}-{number}")
        os.environ[SHARED] = str(path.resolve())
        return cls(path), path == wanted

    def members(self, count: int) -> list[RunFolder]:
        """Where each member of an ensemble of ``count`` has its checkpoints; itself for a single model."""
        if count == 1:
            return [self]
        return [RunFolder(self.path / "members" / str(number), self) for number in range(1, count + 1)]

    def discard_if_empty(self) -> None:
        """Remove the folder if nothing was written into it, so that a run that never began takes no name."""
        if self.path.is_dir() and not any(self.path.iterdir()):
            self.path.rmdir()

    @classmethod
    def open(cls, name: str) -> RunFolder:
        """The folder of a run that exists, given by its path or by its name under ``runs/``.

        Raises
        ------
        UsageError
            If there is no such folder or it holds no config; the nearest runs are named.
        """
        for path in (Path(name), RUNS / name):
            if (path / "config.yaml").is_file():
                return cls(path)
        here = sorted(RUNS.glob("*/config.yaml"), key=lambda path: path.stat().st_mtime, reverse=True)
        runs = [str(path.parent) for path in here]
        what = "a run folder (it has no config.yaml)" if Path(name).is_dir() else "the folder of a run"
        hint = "Give one of these." if runs else "Train one first: pdeflow fit -c configs/darcy_fno.yaml"
        raise UsageError("RUN", name, what, hint, choices=runs)

    def checkpoint(self, which: str) -> Path:
        """The checkpoint ``best``, ``last``, or a file.

        Raises
        ------
        UsageError
            If it does not exist.
        CorruptFile
            If it is empty.
        """
        path = {"best": self.best, "last": self.last}.get(which, Path(which))
        if not path.is_file():
            here = sorted(self.checkpoints.glob("*.ckpt"))
            # Of an ensemble no file can be given, for it would be one member's.
            present = [file.stem if self.ensemble else str(file) for file in here]
            expected = "best or last, of every member" if self.ensemble else "best, last, or a .ckpt file"
            names = [file.stem if file in (self.best, self.last) else str(file) for file in here]
            hint = f"Give --ckpt {' or --ckpt '.join(names)}." if present else self._nothing_saved()
            raise UsageError("checkpoint", str(path), expected, hint, choices=present)
        if path.stat().st_size == 0:
            raise CorruptFile(
                f"{path}: the checkpoint is empty.\nTry the other one: --ckpt last, or --ckpt best."
            )
        return path

    def was_validated(self) -> bool:
        """Whether an epoch was validated, by its history; true where there is none that can be read."""
        try:
            rows = json.loads((self.path / "history.json").read_text(encoding="utf-8"))
            return any(name.startswith("valid/") for row in rows for name in row)
        except (OSError, ValueError, TypeError, AttributeError):
            return True

    def _nothing_saved(self) -> str:
        if self.ensemble:
            return f"The ensemble is not trained to its end. Go on with: pdeflow fit --resume {self.ensemble}"
        return f"Nothing was saved yet. Train again: pdeflow fit -c {self.config}"
