"""What stands in the README runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pdeflow.cli.main import VERBS

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_python_runs_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shared: dict[str, object] = {"__name__": "readme"}
    run = 0
    for block in blocks("python"):
        if "pdeflow.load" in block:
            continue  # needs a training; tests/cli runs these lines on a run of its own
        # The size of the data set is all that is changed.
        exec(block.replace("samples=1000", "samples=8").replace("resolution=65", "resolution=17"), shared)
        run += 1
    assert run == 3
    assert tuple(shared["u"].shape) == (8, 65, 65)  # type: ignore[attr-defined]
    assert (tmp_path / "data" / "screened.h5").exists()


def test_commands_name_verbs_and_files_that_exist() -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    verbs = [line.split()[1] for line in lines if line.startswith("pdeflow ")]
    assert verbs
    assert set(verbs) <= set(VERBS)
    named = re.findall(r"(?:configs|datasets)/[\w/]+\.(?:yaml|md)", README)
    assert named
    for name in named:
        assert (ROOT / name).is_file(), name
    for target in re.findall(r"`?make ([a-z-]+)", README):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target
