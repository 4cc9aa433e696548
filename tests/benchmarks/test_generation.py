"""The benchmark of data generation itself: draws, the choice of settings, the peers, the clock, the table."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from benchmarks import generation, generation_elliptic, generation_time, readme
from benchmarks.generation_run import Ours, Run, measure
from benchmarks.peers import evolution

CASES = {
    "burgers": generation_time.Case("b", "burgers", 256, 4, 1e-5, 2, 4),
    "kuramoto_sivashinsky": generation_time.Case("k", "kuramoto_sivashinsky", 128, 4, 1e-4, 2, 4),
    "navier_stokes": generation_time.Case("n", "navier_stokes", 32, 4, 1e-3, 2, 4),
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


def test_the_batch_that_takes_the_least_time_a_sample_is_taken(monkeypatch, tmp_path) -> None:
    job = {**job_of("burgers"), "shared": str(tmp_path / "s.npz"), "tolerance": 1.001e-4}
    u0 = evolution.fields(job, range(2))
    np.savez(job["shared"], u0=u0, u=decay(job | {"steps": 10**6, "dtype": "float64"})(u0))
    now = [0.0]
    monkeypatch.setattr(evolution.time, "perf_counter", lambda: now[0])

    def with_a_cache_of_four(job):
        solve = decay(job)

        def timed(u0):
            now[0] += 2.0 + len(u0) * (1.0 if len(u0) <= 4 else 3.0)
            return solve(u0)

        return timed

    assert job["batches"] == (1, 4, 16, 64)
    chosen = evolution.choose(job, with_a_cache_of_four)
    assert (chosen["batch"], chosen["sample_s"]) == (4, 1.5)


@pytest.mark.parametrize(("samples", "layout"), [(10, "two threads"), (1000, "two processes")])
def test_processes_that_start_late_are_taken_where_there_is_much_to_do(monkeypatch, samples, layout) -> None:
    def ask(self, job, environment):
        if job["task"] == "choose":
            return 1.0, {"steps": 4, "dtype": "float64", "batch": 1, "error": 1e-6, "reference_gap": 1e-9}
        start, rate = (5.0, 0.1) if job["workers"] == 2 else (2.0, 0.2)
        return start + rate * job["samples"] + (
            9.0 if "JAX_ENABLE_COMPILATION_CACHE" in environment else 0.0
        ), {}

    monkeypatch.setattr(generation_time.Peer, "ask", ask)
    monkeypatch.setattr(generation_time.Shared, "reference", np.zeros(1))
    case = dataclasses.replace(CASES["burgers"], trial=32)
    peer = generation_time.Peer(generation_time.Shared(case), "exponax")
    monkeypatch.setattr(generation_time.importlib.util, "find_spec", lambda name: name)
    peer.prepare(samples)
    assert (peer.layout, peer.run.failure) == (layout, "")
    assert peer.run.start == pytest.approx(5.2 if samples == 1000 else 2.4)
    assert peer.run.compiling == pytest.approx(9.0)


@pytest.mark.slow
def test_programs_of_jax_are_kept_for_all_processes(monkeypatch, tmp_path) -> None:
    pytest.importorskip("exponax")
    monkeypatch.setitem(generation_time.JAX, "JAX_COMPILATION_CACHE_DIR", str(tmp_path / "jax"))
    peer = generation_time.Peer(generation_time.shared_by(CASES["burgers"]), "exponax")
    peer.setting = {"steps": 2, "dtype": "float64", "batch": 1}

    def programs() -> set[str]:
        return {path.name for path in Path(tmp_path, "jax").glob("*-cache")}

    peer.generate(2, generation_time.UNCACHED)
    assert not programs()
    peer.layout = "two threads"
    peer.generate(2)
    found = programs()
    assert any(name.startswith("jit_rollout") for name in found)
    assert len(found) > 5  # those that take no second to compile, too
    peer.layout = "two processes"
    peer.generate(2)
    assert programs() == found


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


def test_the_fastest_setting_that_reaches_the_residual_is_taken(monkeypatch) -> None:
    answers = {
        "dies": RuntimeError("no such solver"),
        "inexact": {"residual": 2e-8, "sample_s": 0.1},
        "slow": {"residual": 1e-9, "sample_s": 0.4},
        "fast": {"residual": 1e-10, "sample_s": 0.3},
    }

    def ask(self, samples, check=False):
        answer = answers[self.setting]
        if isinstance(answer, RuntimeError):
            raise answer
        return 5.0, answer

    monkeypatch.setattr(generation_elliptic.Peer, "ask", ask)
    case = generation_elliptic.Case("d", "darcy", 16, 4, ())
    peer = generation_elliptic.Peer(case, "peer", "superlu", tuple(answers))
    peer.prepare(100)
    assert (peer.setting, peer.run.setting, peer.run.error, peer.run.start) == ("fast", "fast", 1e-10, 5.0)
    none = generation_elliptic.Peer(case, "peer", "superlu", ("dies", "inexact"))
    none.prepare(100)
    assert none.run.median == "no such solver"


def test_an_elliptic_peer_solves_and_tells_what_a_sample_took() -> None:
    case = generation_elliptic.Case("h", "helmholtz", 20, 4, generation_elliptic.INDEFINITE)
    generation_elliptic.FOLDER.mkdir(parents=True, exist_ok=True)
    seconds, told = generation_elliptic.peers(case)[0].ask(9, check=True)
    assert 0 < told["residual"] < 1e-8
    assert 0 < told["sample_s"] < seconds


def test_rounds_are_summed_up_by_their_medians() -> None:
    class Scripted:
        """Rounds of 3, 4 and 10 s on two processes, 8 s on one; 1 s before solving."""

        run = Run("pdeflow", start=2.0, compiling=7.0)
        residual, solving = 1e-9, 0.0
        seconds, shares = iter((3.0, 4.0, 10.0)), iter((0.9, 0.5, 0.8))

        def prepare(self) -> float:
            return 1.0

        def generate(self, samples: int, workers: int = 2) -> float:
            if workers == 1:
                self.solving = 5.0
                return 8.0
            seconds = next(self.seconds)
            self.solving = 2 * seconds * next(self.shares)
            return seconds

    class Timed:
        """Always takes the same time, and is ready."""

        def __init__(self, name: str, seconds: float) -> None:
            self.run, self.seconds = Run(name), seconds

        def prepare(self, samples: int) -> None:
            pass

        def generate(self, samples: int) -> float:
            return self.seconds

    peers = [Timed("far behind", 21.0), Timed("fastest", 10.0), Timed("near", 20.0)]
    (row, *others), numbers = measure("ks_256", Scripted(), peers, 12, 3)
    assert [other["rounds"] for other in others] == [1, 3, 3]
    assert [other["ratio"] for other in others] == [5.25, 2.5, 5.0]
    assert (row["peer_s"], row["start_s"], row["compile_s"], row["error"]) == (4.0, 2.0, 7.0, 1e-9)
    assert numbers == {"speedup": 2.0, "share": pytest.approx(0.8), "over_solving": pytest.approx(1.4)}
    summary = generation.summarise([row], {"ks_256": numbers, "ns_64": {**numbers, "over_solving": 1.1}})
    assert summary["generation_over_solving"] == pytest.approx(1.4)
    assert summary["generation_over_solving_ns_64"] == 1.1


def test_without_a_gpu_its_rows_are_not_measured(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(generation, "FOLDER", tmp_path / "work")
    path = tmp_path / "generation.json"
    monkeypatch.setattr(sys, "argv", ["generation", "--quick", "--device", "cuda", "--json", str(path)])
    generation.main()
    held = json.loads(path.read_text())
    assert {row["case"] for row in held["rows"]} == set(generation.QUICK)
    assert {row["ratio"] for row in held["rows"]} == {"not measured"}
    numbers = {key: value for key, value in held["summary"].items() if key != "quick"}
    assert set(numbers.values()) == {"not measured"}
    assert held["device"] == "cuda"


@pytest.mark.slow
def test_ours_tells_what_compiling_costs() -> None:
    case = generation_elliptic.Case("d", "darcy", 32, 4, ())
    ours = generation_elliptic.ours(case)
    before = ours.prepare()
    assert before > 0
    assert ours.run.compiling > 0


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
    numbers = {"ks_256": {"speedup": 1.9, "share": 0.9, "over_solving": 1.1}}
    summary = generation.summarise(rows, numbers)
    assert (summary["ks_ratio"], summary["burgers_ratio"]) == (2.0, "not measured")
    (tmp_path / "generation.json").write_text(json.dumps({"rows": rows, "summary": summary}))
    monkeypatch.setattr(readme, "RESULTS", tmp_path)
    text = readme.generation()
    assert "| `ks_256` | 10 | 5, exponax | 10 | 2.0 | 1.5 s | 1.5 s |" in text
    assert "Two processes over one: 1.90 times." in text


def test_recipes_that_ship_have_what_the_benchmark_changes() -> None:
    for case in generation_time.CASES:
        assert {"resolution", "rtol", "problem", "stop", "instants"} <= set(Ours(case.family, {}).recipe)
