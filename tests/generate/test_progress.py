"""What the bar of ``pdeflow generate`` shows while samples are solved."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pdeflow.generate import Recipe, engine, generate
from pdeflow.problems import Darcy

BAR = re.compile(
    r"solving darcy: +\d+%\|.*\| (?P<done>\d+)/6 "
    r"\[\d\d:\d\d<(?P<left>\d\d:\d\d|\?), +(?P<rate>[\d.]+|\?)(?P<unit>sample/s|s/sample)"
    r"(?:, failed=(?P<failed>\d+), iterations=(?P<iterations>[\d.]+), residual=(?P<residual>\S+))?\]"
)


def states(text: str) -> list[dict[str, str]]:
    """What the bar showed, one after the other."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", text)]
    found = {line: BAR.fullmatch(line) for line in lines if line.startswith("solving")}
    assert all(found.values()), list(found)
    return [match.groupdict() for match in found.values() if match]


def test_the_bar_shows_rate_time_left_iterations_worst_residual_and_failures(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three chains of two samples; of the second one sample is said to have failed, the other to be poor."""
    recipe = Recipe(Darcy(), resolution=17, samples=6, chain=2, seed=3)
    solve, rows = engine.solve_chains, []

    def one_fails(*arguments: Any) -> Iterator[dict[str, Any]]:
        for row in solve(*arguments):
            if len(rows) == 1:
                row |= {"statuses": {"CONVERGED": 1, "MAX_ITERATIONS": 1}, "residual": 0.25}
            rows.append(row)
            yield row

    monkeypatch.setattr(engine, "solve_chains", one_fails)
    report = generate(recipe, tmp_path / "d.h5")
    seen = states(capsys.readouterr().err)
    numbers = [(state["failed"], state["iterations"], state["residual"]) for state in seen]
    per_sample = [sum(row["iterations"] for row in rows[:k]) / n for k, n in ((1, 2), (2, 3), (3, 5))]
    first = ("0", f"{per_sample[0]:.1f}", f"{rows[0]['residual']:.1e}")
    others = [("1", f"{mean:.1f}", "2.5e-01") for mean in per_sample[1:]]
    assert [number for number in dict.fromkeys(numbers) if number[0] is not None] == [first, *others]
    assert report.failed == 1
    assert seen[-1]["done"] == "6"
    assert float(seen[-1]["rate"]) > 0
    assert re.fullmatch(r"\d\d:\d\d", seen[-1]["left"])


def test_without_progress_nothing_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    generate(Recipe(Darcy(), resolution=17, samples=2), tmp_path / "d.h5", progress=False)
    assert capsys.readouterr().err == ""
