"""The C++ example is built, and gives what the surrogate gives in Python."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from pdeflow.exported_program import export
from pdeflow.grid import Grid
from pdeflow.operators import FNO
from pdeflow.surrogate import Surrogate

EXAMPLE = Path(__file__).parents[2] / "solvers/cpp_surrogate"
MISSING = [tool for tool in ("cmake", "g++") if shutil.which(tool) is None]


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"{' and '.join(MISSING)} not installed")
def test_it_gives_what_python_gives_and_refuses_another_shape(tmp_path: Path) -> None:
    torch.manual_seed(0)
    surrogate = Surrogate(
        FNO(modes=[4, 4], width=4, layers=1, in_channels=2, out_channels=1),
        grid=Grid(("x", "y"), (0.0, 0.0), (1.0, 2.0), (8, 9)),
    )
    package = export(surrogate, tmp_path / "model.pt2", compiled=True)
    build = tmp_path / "build"
    configure = ["cmake", "-S", EXAMPLE, "-B", build, f"-DCMAKE_PREFIX_PATH={torch.utils.cmake_prefix_path}"]
    for command in (configure, ["cmake", "--build", build]):
        subprocess.run(command, check=True, capture_output=True, timeout=300)

    def run(inputs: np.ndarray, package: Path = package) -> subprocess.CompletedProcess[str]:
        inputs.tofile(tmp_path / "input.bin")
        command = [build / "cpp_surrogate", package, tmp_path / "input.bin", tmp_path / "output.bin"]
        return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)

    def told_otherwise(metadata: dict[str, str]) -> Path:
        """The same package with other metadata."""
        path = tmp_path / "other.pt2"
        with zipfile.ZipFile(package) as old, zipfile.ZipFile(path, "w") as new:
            for item in old.infolist():
                held = old.read(item)
                if item.filename.endswith("_metadata.json"):
                    kept = {k: v for k, v in json.loads(held).items() if not k.startswith("pdeflow")}
                    held = json.dumps(kept | metadata).encode()
                new.writestr(item, held)
        return path

    for batch in (1, 5):
        x = np.random.default_rng(batch).standard_normal((batch, 2, 8, 9)).astype("f4")
        done = run(x)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[0])["points"] == [8, 9]
        found, wanted = np.fromfile(tmp_path / "output.bin", "f4").reshape(batch, 1, 8, 9), surrogate(x)
        assert np.abs(found - wanted).max() < 1e-6 * np.abs(wanted).max()
    done = run(np.zeros(100, "f4"))
    assert done.returncode == 1
    assert "whole samples of 144 numbers, got 100" in done.stderr
    # As a simulation code would that has its axes the other way round.
    done = run(np.zeros(144, "f4"), told_otherwise({"pdeflow": "{}", "pdeflow_shape": "2 9 8"}))
    assert done.returncode == 1
    assert "unmatched dim value at 2, expected: 8, but got: 9" in done.stderr
    done = run(np.zeros(144, "f4"), told_otherwise({}))
    assert done.returncode == 1
    assert 'no "pdeflow"' in done.stderr
