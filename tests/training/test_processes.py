"""Runs in processes of their own: killed and resumed, and two sharing the work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from grid_run import write_data

SCRIPT = Path(__file__).with_name("grid_run.py")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "toy.h5"
    write_data(path)
    return path


def start(data: Path, folder: Path, epochs: int, processes: int = 1, resume: Path | None = None) -> Any:
    arguments = [str(argument) for argument in (SCRIPT, data, folder, epochs, processes)]
    command = [sys.executable, "-W", "ignore", *arguments]
    command += [str(resume)] if resume else []
    pipe, out = subprocess.PIPE, subprocess.STDOUT
    return subprocess.Popen(command, env=ENVIRONMENT, stdout=pipe, stderr=out, text=True)


def finish(process: Any, timeout: float = 300) -> None:
    output, _ = process.communicate(timeout=timeout)
    assert process.returncode == 0, output


def rows(folder: Path) -> list[dict[str, float]]:
    """The history without what a clock decides."""
    history = json.loads((folder / "history.json").read_text())
    return [{k: v for k, v in row.items() if k != "seconds"} for row in history]


@pytest.mark.slow
def test_kill_minus_nine_and_resume(data: Path, tmp_path: Path) -> None:
    epochs = 60
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finish(start(data, whole, epochs))
    process = start(data, killed, epochs)
    for wanted in (5, 20):
        deadline = time.monotonic() + 120
        while not (killed / "history.json").is_file() or len(rows(killed)) < wanted:
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert len(rows(killed)) < epochs
        process = start(data, killed, epochs, resume=killed / "checkpoints/last.ckpt")
    finish(process)
    assert rows(killed) == rows(whole)
    assert (killed / "logged.json").read_text() == (whole / "logged.json").read_text()
    assert not list(killed.rglob("*.partial"))


@pytest.mark.slow
def test_two_processes_measure_what_one_does(data: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    finish(start(data, one, 2))
    finish(start(data, two, 2, processes=2))
    logged = [json.loads((folder / "logged.json").read_text()) for folder in (one, two)]
    assert set(logged[0]) == set(logged[1])
    for name, value in logged[0].items():
        # The same samples in the same batches; sums are taken in another order, in float32 in training.
        assert logged[1][name] == pytest.approx(value, rel=2e-4), name
    for name in ("9x9", "5x5"):
        with np.load(one / f"test/{name}.npz") as a, np.load(two / f"test/{name}.npz") as b:
            assert a["index"].tolist() == b["index"].tolist()
            np.testing.assert_allclose(a["l2"], b["l2"], rtol=2e-4)
            assert len(set(a["index"].tolist())) == len(a["index"])
