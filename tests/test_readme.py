"""What README.md shows can be copied: its Python runs, and its commands name what exists."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

import pdeflow
from pdeflow.cli.main import VERBS
from pdeflow.data import Normalisation
from pdeflow.fields import MLP
from pdeflow.generate import Recipe, generate
from pdeflow.operators import FNO, GINO
from pdeflow.problems import Darcy

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
# The one change to the Python of the README: a smaller data set.
SMALLER = ("samples=1000", "samples=8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_python_runs_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All blocks in order, in one namespace; data and a run lie where the commands before put them."""
    monkeypatch.chdir(tmp_path)
    generate(Recipe(Darcy(), resolution=65, samples=8), _path("data/darcy.h5"), progress=False)
    pdeflow.save(FNO(modes=[4, 4], width=4, layers=1), "runs/darcy_fno")
    latent = {"grid": [24, 24], "lower": [0.0, 0.0], "upper": [1.0, 1.0], "modes": [4, 4]}
    step = GINO(**latent, in_radius=0.08, out_radius=0.06, width=4, kernel_width=4, layers=1, in_channels=2)
    statistics = Normalisation(("u", "a"), ("u",), (0.0, 0.0), (1.0, 1.0), (0.0,), (1.0,))
    pdeflow.save(step, "runs/heat_conduction_sparse_gino", statistics)
    pdeflow.save(MLP([0.0, 0.0], [1.0, 1.0]), "runs/sine_poisson_mlp")
    shown = blocks("python")
    assert sum(SMALLER[0] in block for block in shown) == 1
    names: dict[str, object] = {"__name__": "readme"}
    for block in shown:
        exec(compile(block.replace(*SMALLER), "README.md", "exec"), names)
    assert names["solution"].x.shape == (8, 63, 63)  # type: ignore[attr-defined]
    assert names["u"].shape == (8, 65, 65)  # type: ignore[attr-defined]
    assert names["values"].shape == (10_000,)  # type: ignore[attr-defined]
    assert len(names["answers"]) == 8  # type: ignore[arg-type]
    assert names["states"].shape == (10, 1000, 1)  # type: ignore[attr-defined]
    assert names["everywhere"].shape == (100_000, 1)  # type: ignore[attr-defined]


def _path(name: str) -> Path:
    Path(name).parent.mkdir(parents=True)
    return Path(name)


def test_commands_name_what_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    # What the commands make: data files by -o, pictures by --plot, the environment by make demo.
    made = {".venv/bin/activate"}
    for line in "".join(blocks("sh")).splitlines():
        program, *words = shlex.split(line, comments=True)
        if program == "make":
            assert set(words) <= targets, line
            continue
        assert program in ("pdeflow", "source"), line
        verb = words.pop(0) if program == "pdeflow" else ""
        assert not verb or verb in VERBS, line
        for option, value in pairwise(words):
            if option in ("-o", "--plot"):
                assert value not in made, f"{line}: replaces what an earlier command made"
                made.add(value)
            if (verb, option) == ("fit", "-c"):
                made.add(f"runs/{Path(value).stem}")
        for word in words:
            if "/" in word and word not in made:
                assert (ROOT / word).is_file(), f"{line}: {word}"


def test_the_demo_takes_as_long_in_the_readme_as_in_the_makefile() -> None:
    assert "about two minutes on two idle cores after the install" in README
    assert "(about two minutes on two idle cores after the install)" in (ROOT / "Makefile").read_text()
