"""Benchmarks that are run in parts: what a run replaces in its file, what it keeps, what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import operators, operators_cases, parts, physics
from benchmarks.operators_models import OURS
from benchmarks.parts import Parts, commit
from benchmarks.physics_cases import CASES

NAMES = ("first", "steps", "last")


def row(case: str, value: float) -> dict[str, Any]:
    return {"case": case, "value": value}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with one part."""
    found = tmp_path / "results" / "some.json"
    made = Parts(found, NAMES, quick=False)
    made.add("steps", [row("steps, a", 1.0), row("steps, b", 2.0)], budget_s=7.0)
    made.write({"sum": 3.0}, threads=1)
    return found


def test_a_run_replaces_its_own_rows_and_keeps_the_others(path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(parts, "commit", lambda: "abc1234")
    made = Parts(path, NAMES, quick=False)
    assert made.summary == {"sum": 3.0}
    made.add("last", [row("last", 9.0)])
    made.add("first", [row("first", 4.0)])
    made.write({"sum": 16.0})
    held = json.loads(path.read_text())
    assert [r["case"] for r in held["rows"]] == ["first", "steps, a", "steps, b", "last"]
    assert held["summary"] == {"sum": 16.0}
    assert held["missing"] == []
    assert list(held["parts"]) == list(NAMES)
    assert held["parts"]["first"]["commit"] == "abc1234"
    assert held["parts"]["steps"]["commit"] == commit()
    assert held["parts"]["steps"]["budget_s"] == 7.0
    assert set(held["parts"]["last"]) >= {"command", "date", "machine", "versions", "load_average"}
    again = Parts(path, NAMES, quick=False)
    again.add("steps", [row("steps, a", 5.0)])
    assert [r["value"] for r in again.rows] == [4.0, 5.0, 9.0]


def test_what_was_not_measured_is_said(path: Path, capsys: Any) -> None:
    made = Parts(path, NAMES, quick=False)
    assert json.loads(path.read_text())["missing"] == made.missing == ["first", "last"]
    made.finish({"sum": 3.0})
    assert "not measured: first, last" in capsys.readouterr().out


def test_a_file_of_other_settings_or_of_parts_that_are_no_more_is_refused(path: Path) -> None:
    with pytest.raises(SystemExit, match="is of quick False, this run of True"):
        Parts(path, NAMES, quick=True)
    with pytest.raises(SystemExit, match="has rows of steps"):
        Parts(path, ("first", "last"), quick=False)


def test_a_file_from_before_there_were_parts_tells_of_all_its_rows(path: Path) -> None:
    held = json.loads(path.read_text())
    del held["parts"], held["missing"], held["quick"]
    held |= {"date": "2020-01-01", "note": "a clean clone"}
    held["summary"]["quick"] = False
    path.write_text(json.dumps(held))
    with pytest.raises(SystemExit, match="quick"):
        Parts(path, NAMES, quick=True)
    made = Parts(path, NAMES, quick=False)
    made.add("first", [row("first", 4.0)])
    made.write({})
    told = json.loads(path.read_text())
    assert "note" not in told
    assert told["parts"]["steps"]["note"] == "a clean clone"
    assert told["parts"]["steps"]["date"] == "2020-01-01"
    assert told["parts"]["first"]["date"] == told["date"] != "2020-01-01"


def test_the_commit_has_a_plus_where_files_differ(tmp_path: Path, monkeypatch: Any) -> None:
    def git(*words: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)

    monkeypatch.setattr(parts, "ROOT", tmp_path)
    asked = commit.__wrapped__
    assert asked() == "not known"
    git("init")
    (tmp_path / "code.py").write_text("1")
    git("add", ".")
    git("commit", "-m", "first")
    clean = asked()
    assert clean.isalnum()
    (tmp_path / "benchmarks" / "results").mkdir(parents=True)
    (tmp_path / "benchmarks" / "results" / "some.json").write_text("{}")
    assert asked() == clean
    (tmp_path / "code.py").write_text("2")
    assert asked() == f"{clean}+"


def test_operators_are_measured_in_parts(tmp_path: Path, monkeypatch: Any) -> None:
    """One case after another, and the refiner, which is in the summary alone."""

    def ask(job: dict[str, Any], code: str) -> dict[str, Any]:
        told = {"parameters": 7, "seconds": 10.0, "steps": 20, "step_s": 0.5, "errors": [0.5, 0.6]}
        return told | {"refined": {"factor": 4.0, "seconds": 9.0}}

    path = tmp_path / "operators.json"

    def run(rows: str, *more: str) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", ["operators", "--rows", rows, "--json", str(path), *more])
        operators.main()
        return json.loads(path.read_text())

    monkeypatch.setattr(operators, "ask", ask)
    monkeypatch.setattr(operators_cases.Case, "files", lambda self: [])
    assert run("refiner")["summary"]["refiner_factor"] == 4.0
    assert "rough" in run("darcy_longer")["missing"]
    held = run("steps")
    assert held["summary"]["refiner_factor"] == 4.0
    assert held["summary"]["mgno_over_fno_darcy"] == 1.0
    assert held["summary"]["fno_step_ratio"] == 1.0
    assert list(held["parts"]) == ["darcy_longer", "steps", "refiner"]
    assert held["parts"]["darcy_longer"]["budget_s"] == 900.0
    monkeypatch.setattr(operators, "ask", lambda job, code: {"failure": "killed"})
    again = run("refiner")
    assert again["summary"]["refiner_factor"] == "not measured"
    assert {r["error"] for r in again["rows"] if r["code"] == OURS and r["case"] == "refiner"} == {"killed"}
    with pytest.raises(SystemExit, match="quick"):
        run("darcy", "--quick")


def test_statements_are_measured_in_parts(tmp_path: Path, monkeypatch: Any) -> None:
    def measured(case: Any, seconds: float, seeds: Any, pool: Any) -> dict[str, Any]:
        error = case.reach * (2.0 if case.name == "heat" else 0.5)
        told = {"curve": [(1.0, error)], "seconds": 2.0, "error": error, "parameters": 9}
        return {"pdeflow": [told] * len(seeds), "PINA": [{"failure": "not installed"}]}

    path = tmp_path / "physics.json"

    def run(rows: str) -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", ["physics", "--rows", rows, "--json", str(path)])
        physics.main()
        return json.loads(path.read_text())

    monkeypatch.setattr(physics, "measured", measured)
    monkeypatch.setattr(physics, "FOLDER", tmp_path / "work")
    monkeypatch.setattr(physics, "kappas", lambda: (3e7, 1.0))
    assert run("heat")["summary"]["worst_reach"] == pytest.approx(2.0)
    held = run("poisson,burgers")
    assert [(r["case"], r["by"]) for r in held["rows"]] == [
        (name, by) for name in ("poisson", "heat", "burgers") for by in ("pdeflow", "PINA")
    ]
    assert held["summary"]["worst_reach"] == pytest.approx(2.0)
    assert held["summary"]["poisson_error"] == pytest.approx(5e-7)
    assert held["summary"]["kappa_ratio"] == 3e7
    assert held["seeds"] == 3
    assert held["parts"]["heat"]["curves"]["pdeflow"] == [[[1.0, 2e-6]]] * 3
    assert len(held["missing"]) == len(CASES) - 3
