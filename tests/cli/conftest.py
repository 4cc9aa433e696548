"""A tiny data set, and the command line called inside the test process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
# What makes the shipped Darcy configs fit the tiny data set.
TINY = (
    "--data.resolution=17",
    "--data.test_resolutions=[9,17]",
    "--data.batch_size=8",
    "--model.modes=[8,8]",
    "--model.width=8",
)


@dataclass(frozen=True)
class Result:
    """Exit code and what was printed."""

    code: int
    out: str
    err: str

    @property
    def is_short(self) -> bool:
        """Whether stderr has one to five lines and no traceback."""
        return 1 <= len(self.err.strip().splitlines()) <= 5 and "Traceback" not in self.err


@pytest.fixture(scope="session")
def tiny() -> tuple[str, ...]:
    """Options that make the shipped Darcy configs fit the tiny data set."""
    return TINY


@pytest.fixture
def pdeflow(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Result]:
    """``pdeflow(*arguments) -> Result``, run in an empty folder."""
    from pdeflow.cli.main import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PDEFLOW_TRACEBACK", raising=False)
    monkeypatch.delenv("PDEFLOW_ALLOW", raising=False)

    def call(*arguments: object) -> Result:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Result(code, out, err)

    return call


@pytest.fixture
def shell(tmp_path: Path) -> Callable[..., Result]:
    """``shell(*arguments) -> Result``, in a process of its own."""

    def call(*arguments: object, env: dict[str, str] | None = None) -> Result:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **(env or {})}
        command = [sys.executable, "-m", "pdeflow", *map(str, arguments)]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        return Result(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture(scope="session")
def darcy_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 samples of a made-up steady problem on 17 x 17: u = a sin(pi x) sin(pi y)."""
    from pdeflow.data import WellWriter
    from pdeflow.grid import Grid

    path = tmp_path_factory.mktemp("data") / "darcy.h5"
    grid = Grid(("x", "y"), (0.0, 0.0), (1.0, 1.0), (17, 17))
    points = np.linspace(0.0, 1.0, 17)
    bump = np.sin(np.pi * points)[:, None] * np.sin(np.pi * points)[None, :]
    a = np.random.default_rng(0).uniform(1.0, 2.0, (40, 1, 1)) * np.ones((40, 17, 17))
    u = np.stack([0 * a, a * bump], axis=1)
    with WellWriter(
        path,
        name="darcy",
        grid=grid,
        n=40,
        fields={"u": 0},
        constant_fields={"a": 0},
        times=(0.0, 1.0),
        boundary=dict.fromkeys(("x-", "x+", "y-", "y+"), "WALL"),
        attributes={"steady": True},
    ) as writer:
        writer.write(0, {"a": a, "u": u})
    return path
