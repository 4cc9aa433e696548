"""The recycling benchmark itself, on one tiny sequence."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import scipy.sparse.linalg

from benchmarks import contenders, readme, recycling, sequences
from benchmarks.peers.own_preconditioners import prepare
from benchmarks.peers.worker import Worker, scipy_worker
from pdeflow import linalg

FAMILY = sequences.Family(
    "helmholtz_2d_12_k6", 2, lambda count: sequences.helmholtz(2, 12, 6.0, count), ("none",)
)


@pytest.fixture
def workers():
    absent = Worker(["no such python"], {})
    found = {"scipy": scipy_worker(), "real": absent, "complex": absent}
    yield found
    for worker in found.values():
        worker.stop()


def test_everyone_has_a_row_and_an_absent_peer_says_so(workers) -> None:
    rows = recycling.measure(FAMILY, 3, workers, 20.0, 20.0, "cpu")
    assert {row["contest"] for row in rows} == {recycling.SAME, recycling.BEST}
    for row in rows:
        if row["peer"].startswith("PETSc"):
            assert (row["peer_ms"], row["ratio"]) == ("not installed", "not measured")
        else:
            assert (row["systems"], row["failed"]) == (3, 0)
            assert row["peer_residual"] <= 1e-8
    summary = recycling.summarise(rows)
    assert summary["helmholtz_vs_gcrotmk"] > 0
    assert summary["best_vs_best_2d"] > 0
    assert summary["best_vs_best_3d"] == "not measured"


def test_lockstep_solves_every_system_once() -> None:
    sequence = FAMILY.make(7)
    chain = contenders.Chain("", sequence, sequence.arrays(), linalg.GMRES(40), None, device="cpu", chains=3)
    assert sorted(index for step in chain.steps for index in step) == list(range(7))
    chain.turn(4)
    assert 4 <= len(chain.tally.seconds) < 7
    chain.turn(7)
    assert (len(chain.tally.seconds), chain.tally.failed) == (7, 0)


def test_complex_systems_are_judged_by_their_complex_residual() -> None:
    sequence = sequences.helmholtz(2, 8, 6.0, 2, damping=0.1)
    chain = contenders.Chain("", sequence, sequence.arrays(), linalg.GMRES(40), None, device="cpu")
    chain.turn(2)
    assert (len(chain.tally.seconds), chain.tally.failed) == (2, 0)
    assert 0 < chain.tally.residual <= 1e-8


def test_a_failure_of_ours_counts_as_zero() -> None:
    row = {
        "contest": recycling.BEST,
        "case": "x",
        "dim": 3,
        "preconditioner": "best",
        "peer": "SuperLU",
        "failed": 0,
        "pdeflow_failed": 1,
        "ratio": 2.0,
    }
    assert recycling.summarise([row])["best_vs_best_3d"] == 0
    assert recycling.summarise([{**row, "pdeflow_failed": 0}])["best_vs_best_3d"] == 2


def test_scipy_is_given_our_preconditioner() -> None:
    sequence = sequences.convection(9, 1.0, 2, "unrelated")
    b = sequence.b[1].numpy().ravel()
    M = prepare("ilu", sequence.arrays(), 1)()
    A, right = sequence.pick([1])
    ours = linalg.ILU().init(A).apply(right).numpy().ravel()
    assert M @ b == pytest.approx(ours, rel=1e-12)


def test_tally_tells_failures_from_answers() -> None:
    tally = contenders.Tally()
    tally.add(1.0, 5, 1e-9)
    tally.add(3.0, 7, math.nan)
    assert (tally.failed, tally.residual, tally.ms, tally.iterations) == (1, 1e-9, 2000.0, 6.0)


def test_recycled_scipy_methods_reach_the_residual() -> None:
    from benchmarks.peers.scipy_worker import METHODS

    sequence = sequences.helmholtz(2, 10, 5.0, 3)
    for name, method in METHODS.items():
        kept: list[object] = []
        for i in range(3):
            A, b = sequence.operator.to_scipy(i), sequence.b[i].numpy().ravel()
            more = {} if name == "gmres" else {"carry": True}
            x = method(scipy.sparse.linalg.aslinearoperator(A), b, None, kept, **more)
            assert np.linalg.norm(b - A @ x) <= 1e-8 * np.linalg.norm(b)
        assert bool(kept) == (name != "gmres")


def test_a_run_goes_on_with_the_families_that_its_file_lacks(tmp_path, monkeypatch) -> None:
    done = []

    def measure(family, *_):
        done.append(family.name)
        return [
            {
                "contest": recycling.BEST,
                "case": family.name,
                "dim": 2,
                "preconditioner": "best",
                "peer": "PETSc, direct",
                "failed": 0,
                "pdeflow_failed": 0,
                "peer_ms": 6.0,
                "ratio": 2.0,
            }
        ]

    path = tmp_path / "r.json"
    names = [family.name for family in sequences.FAMILIES[:3]]
    monkeypatch.setattr(recycling, "measure", measure)
    for rows, resume in ((names[:2], []), (names, ["--resume"])):
        monkeypatch.setattr("sys.argv", ["recycling", "--rows", ",".join(rows), "--json", str(path), *resume])
        recycling.main()
    assert done == names
    held = json.loads(path.read_text())
    assert [row["case"] for row in held["rows"]] == names
    assert [run["families"] for run in held["runs"]] == [names[:2], names[2:]]
    monkeypatch.setattr("sys.argv", ["recycling", "--quick", "--json", str(path), "--resume"])
    with pytest.raises(SystemExit, match="choose another file"):
        recycling.main()


def test_the_readme_counts_all_sequences() -> None:
    assert len(sequences.FAMILIES) == readme.FAMILY_COUNT
