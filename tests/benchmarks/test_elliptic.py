"""The solver benchmark itself, on one tiny case."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import elliptic
from benchmarks.peers.elliptic import PEERS
from benchmarks.peers.protocol import RTOL
from benchmarks.peers.worker import Worker, python_worker

CASE = elliptic.Case("darcy", 2, 24, 2)


@pytest.fixture
def workers():
    found = {"python": python_worker(), "petsc": Worker(["no such python"], {})}
    yield found
    for worker in found.values():
        worker.stop()


def test_every_peer_has_a_row_and_an_absent_one_says_so(workers) -> None:
    # PyAMG and torch-sla need not be there either; SciPy always is.
    peers = tuple(p for p in PEERS if p.worker == "petsc" or p.method in ("superlu", "fast_poisson"))
    rows = elliptic.measure(CASE, workers, rounds=1, peers=peers)
    assert [row["peer"] for row in rows] == [peer.name for peer in peers]
    for row in rows:
        assert row["pdeflow_residual"] <= 1e-8
        if row["peer"].startswith("PETSc"):
            assert (row["peer_ms"], row["ratio"]) == ("not installed", "not measured")
        else:
            assert row["peer_residual"] <= 1e-8
            assert row["ratio"] == pytest.approx(row["peer_ms"] / row["pdeflow_ms"])
    summary = elliptic.summarise(rows)
    assert summary["min_ratio_2d"] == rows[0]["ratio"]
    assert summary["min_ratio_3d"] == "not measured"


def test_peers_get_the_matrices_that_we_solve() -> None:
    system = elliptic.make_systems(CASE)
    arrays = elliptic.csr_arrays(system)
    x = np.random.default_rng(0).standard_normal((2, 24, 24))
    for i in range(2):
        ours = (system.rhs - system.operator(system.rhs.new_tensor(x)))[i].norm() / system.rhs[i].norm()
        assert elliptic.true_residual(arrays, i, x[i].ravel()) == pytest.approx(float(ours), rel=1e-12)


def test_a_missed_residual_is_a_failure() -> None:
    measured = elliptic.Measured()
    measured.add(1.0, 3, RTOL)
    assert measured.ms == 1000.0
    measured.add(1.0, 3, float("nan"))
    assert measured.ms == "missed 1e-08"


def test_a_peer_that_dies_or_hangs_is_reported(tmp_path: Path) -> None:
    dies = Worker([sys.executable, "-c", "input()"], {})
    assert dies.ask({"versions": True}, 10) == {"error": "its process died"}
    hangs = Worker([sys.executable, "-c", "import time; time.sleep(60)"], {})
    assert hangs.ask({"versions": True}, 0.1) == {"error": "more than 0 s"}
