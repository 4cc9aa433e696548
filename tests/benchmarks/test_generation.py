"""The benchmark of data generation itself, in time: draws, the choice of a step, the peers, the table."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest

from benchmarks import generation, generation_time, readme
from benchmarks.generation_run import Ours, measure
from benchmarks.peers import evolution

CASES = {
    "burgers": generation_time.Case("b", "burgers", 256, 4, 1e-5, 2),
    "kuramoto_sivashinsky": generation_time.Case("k", "kuramoto_sivashinsky", 128, 4, 1e-4, 2),
    "navier_stokes": generation_time.Case("n", "navier_stokes", 32, 4, 1e-3, 2),
}


def decay(job):
    """A library that solves u_t = -u with an error of steps^-4, and of 1e-3 in float32."""
    times = np.linspace(0.0, job["stop"], job["instants"])
    error = {"float64": 0.0, "float32": 1e-3}[job["dtype"]]

    def solve(u0):
        wrong = 1 + error + float(job["steps"]) ** -4
        return u0[:, None] * (wrong * np.exp(-times)).reshape(1, -1, *[1] * (u0.ndim - 1))

    return solve


def job_of(name: str):
    return generation_time.Shared(CASES[name]).job | {"seed": 3}


@pytest.mark.parametrize("name", CASES)
def test_peers_draw_the_fields_that_the_recipe_draws(name: str) -> None:
    shared = generation_time.Shared(CASES[name])
    theirs = evolution.fields(job_of(name), range(400))
    ours = shared.problem.sample(range(400), shared.problem.grid(CASES[name].n), seed=0)[shared.initial]
    axes = tuple(range(1, theirs.ndim))
    spectra = [np.abs(np.fft.rfftn(u, axes=axes)) ** 2 for u in (theirs, ours.numpy())]
    a, b = (spectrum.mean(axis=0) for spectrum in spectra)
    kept = b > 1e-20 * b.max()
    assert np.array_equal(kept, a > 1e-20 * a.max())
    # The mean of 400 squares of a normal number has a standard deviation of 7%, of a complex one 5%.
    assert np.all(np.abs(np.log(a[kept] / b[kept])) < 0.5)
    assert np.abs(np.log(a[kept] / b[kept])).mean() < 0.1


def test_the_fewest_steps_are_found_and_a_floor_ends_the_search() -> None:
    asked: list[int] = []

    def error(steps: int, floor: float = 0.0) -> float:
        asked.append(steps)
        return np.inf if steps < 3 else floor + steps**-4

    steps, found = evolution.fewest(error, 10.0**-4)
    assert steps == 10
    assert found <= 1e-4
    assert evolution.fewest(lambda steps: error(steps, 1e-3), 1e-4) is None
    assert max(asked) <= 32


def test_errors_that_are_not_finite_are_infinite() -> None:
    reference = np.ones((2, 3, 4))
    u = reference + 0.1
    assert evolution.largest_error(u, reference) == pytest.approx(0.1)
    u[1, 2, 0] = np.nan
    assert evolution.largest_error(u, reference) == np.inf


def test_the_choice_and_the_file(tmp_path) -> None:
    job = {**job_of("burgers"), "shared": str(tmp_path / "s.npz"), "tolerance": 1.001e-4, "batches": [3]}
    u0 = evolution.fields(job, range(2))
    np.savez(job["shared"], u0=u0, u=decay(job | {"steps": 10**6, "dtype": "float64"})(u0))
    chosen = evolution.choose(job, decay)
    assert (chosen["steps"], chosen["dtype"], chosen["batch"]) == (10, "float64", 3)
    assert chosen["reference_gap"] == pytest.approx(40.0**-4, rel=1e-3)
    assert "failure" in evolution.choose(job | {"tolerance": 1e-20}, decay)
    out = tmp_path / "peer.h5"
    evolution.generate(job | chosen | {"samples": 7, "workers": 1, "out": str(out)}, decay)
    with h5py.File(out) as file:
        assert file["u"].shape == (7, job["instants"], 256)
        expected = decay(job | chosen)(evolution.fields(job, range(7)))
        np.testing.assert_allclose(file["u"][:], expected, rtol=1e-6)


@pytest.mark.parametrize("library", ["exponax", "torchfsm"])
@pytest.mark.parametrize("name", CASES)
def test_peers_solve_the_same_equations(library: str, name: str) -> None:
    pytest.importorskip(library)
    pool = pytest.importorskip(f"benchmarks.peers.{library}_pool")
    shared, case = generation_time.Shared(CASES[name]), CASES[name]
    shared.recipe |= {"stop": 0.2 if name == "burgers" else 2.0, "instants": 3}
    reference = shared.ours(1e-8)
    solve = pool.make(shared.job | {"steps": 200, "dtype": "float64"})
    assert evolution.largest_error(solve(reference[:, 0]), reference) < case.tolerance


@pytest.mark.slow
def test_a_peer_that_is_absent_says_so_and_ours_is_measured(monkeypatch, tmp_path) -> None:
    case = CASES["burgers"]
    ours = generation_time.ours(case)
    assert ours.run.error <= case.tolerance
    absent = generation_time.Peer(generation_time.shared_by(case), "no_such_library")
    rows, numbers = measure("burgers_1024", ours, [absent], 4, 1)
    assert [row["peer_s"] for row in rows][1] == "not installed"
    assert rows[0]["pdeflow_value"] > 0
    assert numbers["speedup"] > 0
    assert generation.summarise(rows, {"burgers_1024": numbers})["burgers_ratio"] == "not measured"


def test_the_table_names_the_fastest_peer(monkeypatch, tmp_path) -> None:
    def row(peer: str, ratio: float | str) -> dict[str, object]:
        return {
            "case": "ks_256",
            "peer": peer,
            "samples": 10,
            "peer_value": 5.0,
            "pdeflow_value": 10.0,
            "ratio": ratio,
            "start_s": 1.5,
        }

    rows = [row("pdeflow", 1.0), row("exponax", 2.0), row("torchfsm", 3.0), row("absent", "not measured")]
    summary = generation.summarise(rows, {"ks_256": {"speedup": 1.9, "share": 0.9}})
    assert (summary["ks_ratio"], summary["burgers_ratio"]) == (2.0, "not measured")
    (tmp_path / "generation.json").write_text(json.dumps({"rows": rows, "summary": summary}))
    monkeypatch.setattr(readme, "RESULTS", tmp_path)
    text = readme.generation()
    assert "| `ks_256` | 10 | 5, exponax | 10 | 2.0 | 1.5 s | 1.5 s |" in text
    assert "Two processes over one: 1.90 times." in text


def test_recipes_that_ship_have_what_the_benchmark_changes() -> None:
    for case in generation_time.CASES:
        assert {"resolution", "rtol", "problem", "stop", "instants"} <= set(Ours(case.family, {}).recipe)
